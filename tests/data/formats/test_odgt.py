"""CrowdHuman's ODGT: which box counts, what is to be ignored, names of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.formats import load_format
from cvtune.errors import DataError

PERSON = {"tag": "person", "fbox": [2, 3, 10, 12], "vbox": [2, 3, 8, 9], "hbox": [4, 3, 2, 2], "head_attr": {"occ": 0}}


def lines(root: Path, *images: Any, size: bool = True) -> Path:
    stated = {"width": 60, "height": 40} if size else {}
    records = [{"ID": f"{n},ab", "gtboxes": boxes} | stated for n, boxes in enumerate(images)]
    (root / "annotation_train.odgt").write_text("\n".join(map(json.dumps, records)))
    return root


def test_the_whole_body_is_read_and_the_other_boxes_are_kept(tmp_path: Path, read: Any, codes: Any) -> None:
    dataset, receipt = read("odgt", lines(tmp_path, [PERSON | {"fbox": [-5, 3, 20, 12], "extra": {"box_id": 7}}]))
    (annotation,) = dataset.annotations
    assert annotation.bbox_xywh == (0, 3, 15, 12)
    kept = {key: PERSON[key] for key in ("vbox", "hbox", "head_attr")}
    assert dict(annotation.extra) == {"fbox": [-5, 3, 20, 12], **kept, "attributes": {"box_id": 7}}
    assert codes(receipt, "repair") == ["box-clipped"]
    (said,) = (event.detail for event in receipt.events if event.code == "columns-found")
    assert said == "boxes are fbox, the whole body, hidden parts too; vbox, hbox are kept as fields"


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([{"tag": "x", "box": [1, 2, 3, 4]}], [(1, 2, 3, 4)]),
        (
            [{"tag": "x", "vbox": [1, 2, 3, 4], "hbox": [1, 2, 1, 1]}] * 3 + [PERSON],
            [(1, 2, 3, 4)] * 3 + [(2, 3, 8, 9)],
        ),
        ([{"tag": "x", "hbox": [1, 2, 3, 4]}], [(1, 2, 3, 4)]),
    ],
)
def test_the_box_that_most_objects_have(boxes: Any, expected: Any, tmp_path: Path, read: Any) -> None:
    dataset, _ = read("odgt", lines(tmp_path, boxes))
    assert [annotation.bbox_xywh for annotation in dataset.annotations] == expected


def test_what_is_ignored_is_a_crowd(tmp_path: Path, read: Any, codes: Any) -> None:
    boxes = [PERSON, PERSON | {"extra": {"ignore": 1}}, {"tag": "mask", "fbox": [20, 5, 10, 9], "extra": {"ignore": 1}}]
    dataset, receipt = read("odgt", lines(tmp_path, boxes))
    assert [c.name for c in dataset.categories] == ["person"]
    assert [annotation.iscrowd for annotation in dataset.annotations] == [False, True, True]
    assert dataset.annotations[2].extra["tag"] == "mask"
    assert "ignore-flag-kept" in codes(receipt, "note")


def test_regions_among_several_classes_are_no_objects(tmp_path: Path, read: Any, codes: Any) -> None:
    boxes = [PERSON, PERSON | {"tag": "rider"}, {"tag": "mask", "fbox": [20, 5, 10, 9]}]
    dataset, receipt = read("odgt", lines(tmp_path, boxes))
    assert len(dataset.annotations) == 2
    assert dict(dataset.images[0].extra) == {"ignore_regions": [[20, 5, 10, 9]]}
    assert "ignore-region" in codes(receipt, "note")


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ({"tag": "person", "vbox": [1, 2, 3, 4]}, "box-missing"),
        ({"tag": "person", "fbox": [1, 2, 3]}, "box-not-numeric"),
        ({"tag": "person", "fbox": 5}, "box-not-numeric"),
        ({"fbox": [1, 2, 3, 4]}, "class-missing"),
        ({"tag": "person", "fbox": [1, 2, 0, 4]}, "box-zero-area"),
        ("x", "value-malformed"),
    ],
)
def test_what_is_no_object_is_dropped(box: Any, code: str, tmp_path: Path, read: Any, codes: Any) -> None:
    dataset, receipt = read("odgt", lines(tmp_path, [PERSON, PERSON, box]))
    assert len(dataset.annotations) == 2
    assert codes(receipt, "drop") == [code]


def test_images_have_the_id_as_their_name(tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"Images/0,ab.jpg": (60, 40), "Images/1,ab.png": (50, 40)})
    dataset, _ = read("odgt", lines(tmp_path, [PERSON], [PERSON], size=False))
    assert [(i.file_name, i.width) for i in dataset.images] == [("0,ab.jpg", 60), ("1,ab.png", 50)]


def test_splits_and_errors(tmp_path: Path, read: Any) -> None:
    lines(tmp_path, [PERSON], [])
    (tmp_path / "annotation_val.odgt").write_text((tmp_path / "annotation_train.odgt").read_text() + "\n[]\n")
    assert load_format("odgt").subsets(tmp_path) == ("train", "val")
    with pytest.raises(DataError, match=r"annotation_val\.odgt: line 3: expected an object with 'ID' and 'gtboxes'"):
        read("odgt", tmp_path, subset="train")
