"""V7's Darwin JSON: which part of an annotation counts, holes, raster layers, slots, images in folders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.geometry import rle_to_mask, segmentation_to_rle

BOX = {"x": 1.5, "y": 2, "w": 9.5, "h": 10}
SLOT = {"type": "image", "slot_name": "0", "width": 60, "height": 40}


def ring(*corners: tuple[float, float]) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in corners]


def square(x: float, y: float, side: float) -> list[dict[str, float]]:
    return ring((x, y), (x + side, y), (x + side, y + side), (x, y + side))


def item(root: Path, *annotations: Any, slots: Any = (SLOT,), path: str = "/") -> Path:
    content = {"version": "2.0", "item": {"name": "a.jpg", "path": path, "slots": list(slots)}}
    (root / "a.json").write_text(json.dumps(content | {"annotations": list(annotations)}))
    return root


@pytest.mark.parametrize(
    ("annotation", "bbox", "area"),
    [
        ({"bounding_box": BOX}, (1.5, 2, 9.5, 10), 95),
        ({"bounding_box": BOX, "polygon": {"paths": [square(10, 10, 5)]}}, (10, 10, 5, 5), 25),
        ({"polygon": {"path": square(10, 10, 5)}}, (10, 10, 5, 5), 25),
        ({"polygon": {"path": [square(10, 10, 5), square(20, 10, 5)]}}, (10, 10, 15, 5), 50),
        ({"polygon": {"path": square(10, 10, 5), "additional_paths": [square(20, 10, 5)]}}, (10, 10, 15, 5), 50),
        ({"polygon": {"paths": [square(10, 10, 10), square(12, 12, 4)]}}, (10, 10, 10, 10), 84),
        ({"polygon": {"paths": [square(-5, -5, 20), square(2, 3, 4), square(3, 4, 2)]}}, (0, 0, 15, 15), 213),
        ({"polygon": {"paths": [square(10, 10, 5), square(10, 10, 5)]}}, (10, 10, 5, 5), 25),
        ({"ellipse": {"center": {"x": 30, "y": 20}, "radius": {"x": 20, "y": 10}, "angle": 0}, "bounding_box": BOX},
         (10, 10, 40, 20), math.pi * 200),
        ({"ellipse": {"center": {"x": 30, "y": 20}, "radius": {"x": 20, "y": 10}, "angle": math.pi / 2}},
         (20, 0, 20, 40), math.pi * 200),
    ],
)  # fmt: skip
def test_shapes(annotation: Any, bbox: Any, area: float, tmp_path: Path, read: Any) -> None:
    dataset, receipt = read("darwin", item(tmp_path, {"name": "x", **annotation}))
    (found,) = dataset.annotations
    assert found.bbox_xywh == pytest.approx(bbox, abs=0.05)
    assert found.area == pytest.approx(area, rel=0.01)
    assert not receipt.classes_dropped


@pytest.mark.parametrize(
    ("annotation", "code"),
    [
        ({"name": "x", "keypoint": {"x": 1, "y": 2}}, "shape-without-area"),
        ({"name": "x", "line": {"path": []}}, "shape-without-area"),
        ({"name": "x", "skeleton": {"nodes": []}}, "shape-without-area"),
        ({"name": "x", "cuboid": {}}, "shape-unknown"),
        ({"name": "x", "id": "1"}, "shape-unknown"),
        ({"name": "x", "id": "1", "mask": {}}, "mask-invalid"),
        ({"name": " ", "bounding_box": BOX}, "class-missing"),
        ({"name": "x", "bounding_box": {"x": 1}}, "box-not-numeric"),
        ({"name": "x", "polygon": {"paths": [[]]}}, "mask-degenerate"),
        ({"name": "x", "polygon": {"paths": [[{"x": 1}] * 3]}}, "mask-degenerate"),
        ({"name": "x", "ellipse": {"center": {"x": 1, "y": 2}, "radius": 3}}, "mask-degenerate"),
        ("x", "value-malformed"),
    ],
)
def test_what_is_no_object_is_dropped(annotation: Any, code: str, tmp_path: Path, read: Any, codes: Any) -> None:
    dataset, receipt = read("darwin", item(tmp_path, {"name": "x", "bounding_box": BOX}, annotation))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]


def test_masks_are_the_values_of_a_raster_layer(tmp_path: Path, read: Any) -> None:
    values = np.zeros((40, 60), np.int64)
    values[5:9, 7:20] = 2
    values[8:30, 40:50] = 1
    cuts = np.flatnonzero(np.diff(values.ravel())) + 1
    runs = [int(n) for part in np.split(values.ravel(), cuts) for n in (part[0], len(part))]
    layer = {"dense_rle": runs, "mask_annotation_ids_mapping": {"i": 1, "j": 2, "k": 3}, "total_pixels": 2400}
    masks = [{"name": name, "id": key, "mask": {}} for name, key in (("x", "j"), ("y", "i"), ("y", "k"))]
    dataset, receipt = read("darwin", item(tmp_path, {"name": "__raster_layer__", "raster_layer": layer}, *masks))
    names = {c.id: c.name for c in dataset.categories}
    assert [names[a.category_id] for a in dataset.annotations] == ["x", "y"]
    for annotation, value in zip(dataset.annotations, (2, 1), strict=True):
        mask = rle_to_mask(segmentation_to_rle(annotation.segmentation, (40, 60)))
        assert (mask == (values == value)).all()
    assert [event.code for event in receipt.events if event.kind == "drop"] == ["mask-empty"]


@pytest.mark.parametrize("runs", [[0, 5], [0, 2400, 1], "x", [0, 2**50], [0, -5], [True, 2400]])
def test_a_broken_raster_layer_drops_its_masks(runs: Any, tmp_path: Path, read: Any, codes: Any) -> None:
    layer = {"dense_rle": runs, "mask_annotation_ids_mapping": {"i": 1}}
    mask = {"name": "x", "id": "i", "mask": {}}
    good = {"name": "x", "bounding_box": BOX}
    _, receipt = read("darwin", item(tmp_path, mask, good, {"name": "r", "raster_layer": layer}))
    assert codes(receipt, "drop") == ["mask-invalid"]


def test_fields_are_kept(tmp_path: Path, read: Any) -> None:
    said = {"instance_id": {"value": 3}, "attributes": ["big"], "text": {"text": "t"}, "inference": {"confidence": 0.5}}
    dataset, _ = read("darwin", item(tmp_path, {"name": "x", "bounding_box": BOX, "properties": [], **said}))
    kept = {"instance_id": 3, "attributes": ["big"], "text": "t", "inference": {"confidence": 0.5}}
    assert dict(dataset.annotations[0].extra) == kept


def test_each_slot_is_an_image_and_a_video_none(tmp_path: Path, read: Any, codes: Any) -> None:
    slots = [
        SLOT | {"source_files": [{"file_name": "l.jpg"}]},
        {"type": "image", "slot_name": "1", "width": 9, "height": 8, "source_files": [{"file_name": "r.jpg"}]},
        {"type": "video", "slot_name": "v", "width": 9, "height": 8, "source_files": [{"file_name": "v.mp4"}]},
    ]
    small = {"x": 1, "y": 1, "w": 2, "h": 2}
    annotations = [
        {"name": "x", "bounding_box": BOX, "slot_names": ["0"]},
        {"name": "y", "bounding_box": small, "slot_names": ["1"]},
        {"name": "z", "frames": {"0": {"bounding_box": small}}, "slot_names": ["v"]},
    ]
    dataset, receipt = read("darwin", item(tmp_path, *annotations, slots=slots, path="/d/e"))
    assert [(i.file_name, i.width) for i in dataset.images] == [("d/e/l.jpg", 60), ("d/e/r.jpg", 9)]
    assert [(a.image_id, a.bbox_xywh) for a in dataset.annotations] == [(1, (1.5, 2, 9.5, 10)), (2, (1, 1, 2, 2))]
    assert codes(receipt, "drop") == ["shape-unknown"]
    assert dict(receipt.classes_dropped) == {"z": 1}


def test_images_of_one_name_in_two_folders(tmp_path: Path, read: Any, files: Any) -> None:
    for folder in ("p", "q"):
        item(tmp_path, {"name": "x", "bounding_box": BOX}, path=f"/{folder}")
        (tmp_path / "releases" / "annotations").mkdir(parents=True, exist_ok=True)
        (tmp_path / "a.json").rename(tmp_path / "releases" / "annotations" / f"{folder}.json")
    files(tmp_path, {"images/p/a.jpg": (60, 40), "images/q/a.jpg": (60, 40)})
    dataset, _ = read("darwin", tmp_path)
    assert [image.path for image in dataset.images] == [tmp_path / f"images/{folder}/a.jpg" for folder in "pq"]
