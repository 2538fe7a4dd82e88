"""Sets in JSON as their owners keep them: folders, file names and keys that tools and people make of the formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.formats import detect_format
from cvtune.data.parts import read_parts

PICTURE = (64, 48)


def coco(*names: str, **changes: Any) -> dict[str, Any]:
    """A set of one object an image."""
    return {
        "images": [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 10, 10], "segmentation": []}
            for i in range(len(names))
        ],
        "categories": [{"id": 1, "name": "cat"}],
        **changes,
    }


def via(**regions: Any) -> dict[str, Any]:
    """Version 2: images a.jpg, ... with a rectangle for each of their lists of attributes."""
    return {
        f"{name}.jpg1": {
            "filename": f"{name}.jpg", "size": 1, "file_attributes": {},
            "regions": [{"shape_attributes": {"name": "rect", "x": 5 * n, "y": 2, "width": 8, "height": 9},
                         "region_attributes": attributes} for n, attributes in enumerate(listed)],
        }
        for name, listed in regions.items()
    }  # fmt: skip


# Files, format, the objects of each class in each part, the codes of the receipt's events.
SETS: dict[str, tuple[dict[str, Any], str, dict[str | None, dict[str, int]], set[str]]] = {
    "COCO, named one level too high": (
        {"COCO/train.json": coco("a.png"), "COCO/test.json": coco("b.png", "c.png"),
         "PNG/a.png": PICTURE, "PNG/b.png": PICTURE, "PNG/c.png": PICTURE},
        "coco", {"test": {"cat": 2}, "train": {"cat": 1}}, set(),
    ),
    "COCO, the whole beside its parts": (
        {"annotations.json": coco("a.jpg", "b.jpg", "c.jpg"), "test.json": coco("b.jpg", "c.jpg"),
         "train.json": coco("a.jpg"), **{f"images/{name}.jpg": PICTURE for name in "abc"}},
        "coco", {"test": {"cat": 2}, "train": {"cat": 1}}, {"subset-covered"},
    ),
    "COCO, several files in each folder": (
        {"one/x.json": coco("a.jpg"), "one/y.json": coco("b.jpg"), "two/z.json": coco("c.jpg"),
         "one/a.jpg": PICTURE, "one/b.jpg": PICTURE, "two/c.jpg": PICTURE},
        "coco", {"one_x": {"cat": 1}, "one_y": {"cat": 1}, "two": {"cat": 1}}, set(),
    ),
    "COCO, instances and stuff": (
        {f"annotations/{kind}_val2017.json": coco("a.jpg") for kind in ("instances", "stuff", "person_keypoints")}
        | {"val2017/a.jpg": PICTURE},
        "coco", {None: {"cat": 1}}, {"file-skipped"},
    ),
    "COCO, records under their ids": (
        {"a.json": coco("a.jpg", annotations={"7": {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}},
                        categories={"1": "cat", "2": "dog"}), "a.jpg": PICTURE},
        "coco", {None: {"cat": 1}}, {"value-repaired"},
    ),
    "COCO, an image listed for each of its objects": (
        {"a.json": coco("a.jpg", images=[{"id": 0, "file_name": "a.jpg", "width": 64, "height": 48}] * 2),
         "a.jpg": PICTURE},
        "coco", {None: {"cat": 1}}, {"value-repaired"},
    ),
    "VIA, project, export and table": (
        {"data/train/via_project.json": {"_via_settings": {}, "_via_img_metadata": via(a=[{"type": "cup"}], b=[])},
         "data/train/via_region_data.json": via(a=[{"type": "cup"}], b=[]),
         "data/train/via_region_data.csv": "filename,file_size,file_attributes,region_count,region_id,"
         "region_shape_attributes,region_attributes\n",
         "data/train/a.jpg": PICTURE, "data/train/b.jpg": PICTURE,
         "data/val/via_region_data.json": via(a=[{"type": "cup"}]), "data/val/a.jpg": PICTURE},
        "via", {"train": {"cup": 1}, "val": {"cup": 1}}, {"file-skipped", "class-found"},
    ),
    "VIA, a file for each part": (
        {"annotations/via_train.json": via(a=[{"label": "cup"}]), "annotations/via_val.json": via(b=[{"label": "cup"}]),
         "images/train/a.jpg": PICTURE, "images/val/b.jpg": PICTURE},
        "via", {"train": {"cup": 1}, "val": {"cup": 1}}, {"class-found"},
    ),
    "VIA, the tool's own attributes": (
        {"a.json": via(a=[{"name": "not_defined", "type": kind, "image_quality": {"good": True}} for kind in
                          ("cup", "bird")]), "a.jpg": PICTURE},
        "via", {None: {"bird": 1, "cup": 1}}, {"class-found"},
    ),
    "VIA, an attribute without values": (
        {"a.json": via(a=[{"Pigeon": {}}, {"Pigeon": {}}]), "a.jpg": PICTURE},
        "via", {None: {"Pigeon": 2}}, {"class-found"},
    ),
    "VIA, an attribute for each class": (
        {"a.json": via(a=[{"Car": "1"}, {"Van": "yes"}, {"Van": "yes", "iscrowd": "0"}]), "a.jpg": PICTURE},
        "via", {None: {"Car": 1, "Van": 2}}, {"class-found"},
    ),
    "VIA, an attribute that was forgotten": (
        {"a.json": via(a=[{"label": ""}]), "a.jpg": PICTURE}, "via", {None: {"object": 1}}, {"class-assumed"},
    ),
    "VIA, an image that was added twice": (
        {"a.json": via(a=[{"label": "cup"}]) | {"a.jpg2": {**via(a=[{"label": "hat"}])["a.jpg1"], "size": 2}},
         "a.jpg": PICTURE},
        "via", {None: {"cup": 1, "hat": 1}}, {"class-found", "image-doubled"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SETS)
def test_sets_as_their_owners_keep_them(case: str, tmp_path: Path, files: Any) -> None:
    content, format, classes, codes = SETS[case]
    files(tmp_path, {n: v if isinstance(v, str | tuple) else json.dumps(v) for n, v in content.items()})
    assert detect_format(tmp_path)[0] == format
    source = read_parts(tmp_path)
    found: dict[str | None, dict[str, int]] = {}
    for part in source.parts:
        names = {category.id: category.name for category in part.dataset.categories}
        counted = found.setdefault(part.name, {})
        for annotation in part.dataset.annotations:
            counted[names[annotation.category_id]] = counted.get(names[annotation.category_id], 0) + 1
        assert all(image.path is not None for image in part.dataset.images)
    assert found == classes
    receipts = [source.rest, *(part.receipt for part in source.parts)]
    assert {event.code for receipt in receipts for event in receipt.events} == codes


def test_a_part_that_is_named_as_a_split_is_kept_whatever_the_others_hold(tmp_path: Path, files: Any) -> None:
    content = {"train.json": coco("a.jpg", "b.jpg"), "fold_0.json": coco("a.jpg"), "fold_1.json": coco("b.jpg")}
    files(tmp_path, {**{name: json.dumps(value) for name, value in content.items()}, "a.jpg": (64, 48)})
    assert [part.name for part in read_parts(tmp_path).parts] == ["fold_0", "fold_1", "train"]
