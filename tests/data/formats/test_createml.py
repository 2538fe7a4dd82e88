"""Create ML JSON: centres, names, round trips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Dataset
from cvtune.data.formats import createml, detect_format
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

BOX = {"x": 25, "y": 40.0, "width": 30, "height": 40}


def item(coordinates: Any = BOX, label: Any = "a") -> dict[str, Any]:
    return {"label": label, "coordinates": coordinates}


def text(*items: Any, name: str = "x.jpg", key: str = "image", plural: str = "annotations") -> str:
    return json.dumps([{key: name, plural: list(items)}])


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"x.json": text(item())}, ["a"]),
        ({"x.json": text(item(), key="imagefilename", plural="annotation")}, ["a"]),
        ({"_annotations.createml.json": text(item(label=7))}, ["7"]),
        ({"x.json": text(item(), name="images\\x.jpg").encode("utf-16")}, ["a"]),
    ],
)
def test_boxes_are_read_by_their_centre(
    tmp_path: Path, read: Any, files: Any, content: dict[str, Any], names: list[str]
) -> None:
    root = files(tmp_path, content | {"x.jpg": (100, 80)})
    assert detect_format(root)[0] == "createml"
    dataset, receipt = read("createml", root)
    assert [a.bbox_xywh for a in dataset.annotations] == [(10, 20, 30, 40)]
    assert [c.name for c in dataset.categories] == names
    assert receipt.events == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (item({**BOX, "x": None}), "box-not-numeric"),
        (item({**BOX, "x": float("nan")}), "box-not-numeric"),
        (item({**BOX, "width": -3}), "box-inverted"),
        (item({**BOX, "width": 0}), "box-zero-area"),
        (item({**BOX, "x": 500}), "box-outside"),
        (item([1, 2, 3, 4]), "box-missing"),
        (item(label=None), "class-missing"),
        (5, "value-malformed"),
    ],
)
def test_what_is_dropped(tmp_path: Path, read: Any, files: Any, codes: Any, wrong: Any, code: str) -> None:
    root = files(tmp_path, {"x.json": text(item(), wrong), "x.jpg": (100, 80)})
    dataset, receipt = read("createml", root)
    assert (len(dataset.annotations), codes(receipt, "drop")) == (1, [code])
    assert receipt.events[0].where == "x.json x.jpg annotation 2"


def test_images_of_one_name_in_two_folders(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    record = [{"image": f"{part}/x.jpg", "annotations": [item()]} for part in ("one", "two", "three")]
    files(tmp_path, {"a.json": json.dumps(record), "images/one/x.jpg": (100, 80), "images/x.jpg": (9, 9)})
    files(tmp_path, {"images/two/x.jpg": (90, 80)})
    dataset, receipt = read("createml", tmp_path)
    assert [(i.file_name, i.width) for i in dataset.images] == [("one/x.jpg", 100), ("two/x.jpg", 90)]
    assert codes(receipt, "drop") == ["image-missing"]


def test_folders_are_subsets(tmp_path: Path, read: Any, files: Any) -> None:
    for part in ("train", "valid"):
        files(tmp_path / part, {"_annotations.createml.json": text(item(label=part)), "x.jpg": (100, 80)})
    assert createml.subsets(tmp_path) == ("train", "valid")
    dataset, _ = read("createml", tmp_path, subset="valid")
    assert [i.file_name for i in dataset.images] == ["valid/x.jpg"]
    assert [c.name for c in dataset.categories] == ["train", "valid"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"image": "x.jpg"', "not valid JSON"),
        ("{}", "none of its 1 .json files is of Create ML"),
        ('[{"image": "x.jpg", "annotations": []}, 5]', r"\[1\] must be an object with 'image'"),
        (text(item()), "none of its 1 images has a known size"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, read: Any, files: Any, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read("createml", files(tmp_path, {"x.json": content}))


def test_a_round_trip_keeps_boxes_and_says_what_is_lost(
    tmp_path: Path, read: Any, objects: Any, codes: Any, awkward: Dataset
) -> None:
    receipt = Receipt()
    [written] = createml.write(awkward, tmp_path, receipt)
    assert codes(receipt, "repair") == ["mask-lost"] * 3
    assert [e.detail for e in receipt.events if e.code == "attributes-lost"][:2] == [
        "iscrowd of 1 objects",
        "score of 1 objects",
    ]
    for image in awkward.images:
        (tmp_path / image.file_name).parent.mkdir(exist_ok=True)
        Pillow.new("L", (image.width, image.height)).save(tmp_path / image.file_name)
    after, _ = read("createml", written)
    assert [row[:3] for row in objects(after)] == [row[:3] for row in objects(awkward)]
    assert [i.file_name for i in after.images] == [i.file_name for i in awkward.images]


@pytest.mark.real
def test_the_real_set(real_data: Path, tmp_path: Path, read: Any, objects: Any) -> None:
    path = real_data / "one_set_nine_formats" / "CreateML"
    assert detect_format(path)[0] == "createml"
    before, receipt = read("createml", path)
    assert (len(before.images), len(before.annotations), receipt.events) == (4, 25, [])
    [written] = createml.write(before, tmp_path, Receipt())
    assert objects(read("createml", written, images=path)[0]) == objects(before)
