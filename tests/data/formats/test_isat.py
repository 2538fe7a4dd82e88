"""ISAT's JSON: groups, crowds, background, boxes alone, the list of classes, images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.formats import detect_format, load_format
from cvtune.errors import DataError

TRIANGLE = [[20, 5], [30, 5], [30, 25]]
SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]


def item(category: Any = "x", polygon: Any = TRIANGLE, group: Any = None, **more: Any) -> dict[str, Any]:
    return {"category": category, "group": group, "segmentation": polygon, "iscrowd": False, "note": ""} | more


def isat(root: Path, *objects: Any, name: str = "a", size: Any = (60, 40)) -> Path:
    info = {"description": "ISAT", "folder": "C:\\x", "name": f"{name}.jpg", "width": size[0], "height": size[1]}
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.json").write_text(json.dumps({"info": info, "objects": list(objects)}))
    return root


def test_polygons_of_one_category_and_group_are_one_object(tmp_path: Path, read: Any) -> None:
    objects = [item(group=1), item("y", group=1), item(polygon=SQUARE, group=1), item(group=2), item(group=0), item()]
    dataset, receipt = read("isat", isat(tmp_path, *objects))
    names = {c.id: c.name for c in dataset.categories}
    found = [(names[a.category_id], len(a.segmentation), a.bbox_xywh) for a in dataset.annotations]
    alone = ("x", 1, (20, 5, 10, 20))
    assert found == [("x", 2, (0, 0, 30, 25)), ("y", 1, (20, 5, 10, 20)), alone, alone, alone]
    assert "parts-joined" in {event.code for event in receipt.events}


def test_crowds_stay_apart_and_fields_are_kept(tmp_path: Path, read: Any) -> None:
    objects = [item(group=1, iscrowd=True, layer=2.0, note="n"), item(group=1, iscrowd="false", polygon=SQUARE)]
    dataset, _ = read("isat", isat(tmp_path, *objects))
    assert [(a.iscrowd, a.bbox_xywh) for a in dataset.annotations] == [(False, (0, 0, 10, 10)), (True, (20, 5, 10, 20))]
    assert dict(dataset.annotations[1].extra) == {"group_id": 1, "layer": 2.0, "note": "n"}


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (item("__background__"), "surfaces-not-read"),
        (item(""), "class-missing"),
        (item(polygon=[]), "box-missing"),
        (item(polygon=[[1, 2], [3, 4]]), "mask-degenerate"),
        (item(polygon=[[1, 2], [3, "a"], 5]), "mask-degenerate"),
        (item(polygon=None, bbox=[1, 2, 3]), "box-missing"),
        ("x", "value-malformed"),
    ],
)
def test_what_is_no_object_is_dropped(record: Any, code: str, tmp_path: Path, read: Any, codes: Any) -> None:
    dataset, receipt = read("isat", isat(tmp_path, item(), record))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]


def test_a_box_alone(tmp_path: Path, read: Any) -> None:
    dataset, _ = read("isat", isat(tmp_path, item(polygon=[], bbox=[1, 2, 11, 14])))
    assert dataset.annotations[0].bbox_xywh == (1, 2, 10, 12)


def test_classes_keep_the_order_of_the_list(tmp_path: Path, read: Any) -> None:
    isat(tmp_path, item("ant"), item("zebra"), item(7))
    (tmp_path / "isat.yaml").write_text("label:\n- name: __background__\n- name: zebra\n- name: cow\n")
    dataset, receipt = read("isat", tmp_path)
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "zebra"), (2, "cow"), (3, "7"), (4, "ant")]
    assert tmp_path / "isat.yaml" in receipt.files


def test_splits_images_and_empty_files(tmp_path: Path, read: Any, files: Any) -> None:
    for split in ("train", "val"):
        isat(tmp_path / split, item() if split == "val" else None, size=(None, None))
        files(tmp_path, {f"{split}/a.jpg": (60, 40)})
    isat(tmp_path / "train", name="a")
    assert detect_format(tmp_path)[0] == "isat"
    assert load_format("isat").subsets(tmp_path) == ("train", "val")
    dataset, _ = read("isat", tmp_path, subset="val")
    assert [image.path for image in dataset.images] == [tmp_path / "val" / "a.jpg"]
    assert read("isat", tmp_path)[0].images[0].file_name == "train/a.jpg"


def test_other_json(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a.json").write_text('{"info": {"name": "x"}, "objects": [{"category": 1}]}')
    assert load_format("isat").detect(tmp_path) is None
    with pytest.raises(DataError, match="is of ISAT"):
        read("isat", tmp_path)
