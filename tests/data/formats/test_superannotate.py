"""SuperAnnotate's vector JSON: shapes, holes, groups, classes by name and by id, names of images."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.formats import detect_format, load_format
from cvtune.errors import DataError

BOX = {"type": "bbox", "points": {"x1": 1.5, "x2": 11, "y1": 2, "y2": 12}}
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]
CORNERS = {"x1": 20, "y1": 10, "x2": 30, "y2": 20, "x3": 20, "y3": 30, "x4": 10, "y4": 20}


def project(root: Path, *instances: Any, file: str = "a.jpg.json", name: Any = "a.jpg", **more: Any) -> Path:
    metadata = {"name": name, "width": 60, "height": 40}
    root.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps({"metadata": metadata, "instances": list(instances)} | more))
    return root


@pytest.mark.parametrize(
    ("instance", "bbox", "area"),
    [
        (BOX, (1.5, 2, 9.5, 10), 95),
        ({"type": "polygon", "points": SQUARE}, (10, 10, 10, 10), 100),
        (
            {"type": "polygon", "points": SQUARE, "exclude": [[12, 12, 16, 12, 16, 16, 12, 16], [1]]},
            (10, 10, 10, 10),
            84,
        ),
        ({"type": "rbbox", "points": CORNERS}, (10, 10, 20, 20), 200),
        ({"type": "ellipse", "cx": 30, "cy": 20, "rx": 20, "ry": 10, "angle": 90}, (20, 0, 20, 40), math.pi * 200),
    ],
)
def test_shapes(instance: Any, bbox: Any, area: float, tmp_path: Path, read: Any) -> None:
    dataset, receipt = read("superannotate", project(tmp_path, {"className": "x", **instance}))
    (annotation,) = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx(bbox, abs=0.05)
    assert annotation.area == pytest.approx(area, rel=0.01)
    assert not receipt.classes_dropped


@pytest.mark.parametrize(
    ("instance", "code"),
    [
        ({"type": "polyline", "points": [1, 2, 3, 4]}, "shape-without-area"),
        ({"type": "point", "x": 1, "y": 2}, "shape-without-area"),
        ({"type": "template", "points": [{"x": 1, "y": 2}]}, "shape-without-area"),
        ({"type": "cuboid", "points": {}}, "shape-unknown"),
        ({"type": "bbox", "points": [1, 2]}, "shape-unknown"),
        ({"type": "bbox", "points": {"x1": 1}}, "box-not-numeric"),
        ({"type": "polygon", "points": [1, 2, 3]}, "mask-degenerate"),
        ({"type": "polygon", "points": None}, "mask-degenerate"),
        ({"type": "polygon", "points": SQUARE, "exclude": [SQUARE]}, "mask-empty"),
        ({"type": "ellipse", "cx": 1}, "mask-degenerate"),
        ({"parts": [{"color": "#000447"}]}, "mask-not-read"),
        ({"meta": {"className": "x", "type": "bbox"}, "parameters": []}, "shape-unknown"),
        (BOX | {"className": None, "classId": 4}, "class-missing"),
        (7, "value-malformed"),
    ],
)
def test_what_is_no_object_is_dropped(instance: Any, code: str, tmp_path: Path, read: Any, codes: Any) -> None:
    given = {"className": "x", **instance} if isinstance(instance, dict) else instance
    dataset, receipt = read("superannotate", project(tmp_path, {"className": "x", **BOX}, given))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]


def test_polygons_of_one_class_and_group_are_one_object(tmp_path: Path, read: Any) -> None:
    parts = [{"className": "x", "groupId": group, "type": "polygon"} for group in (1, 1, 0, 0)]
    points = [SQUARE, [30, 0, 40, 0, 40, 10, 30, 10], SQUARE, SQUARE]
    instances = [part | {"points": p} for part, p in zip(parts, points, strict=True)]
    dataset, _ = read("superannotate", project(tmp_path, *instances))
    assert [len(annotation.segmentation) for annotation in dataset.annotations] == [2, 1, 1]


def test_fields_are_kept_and_tags_noted(tmp_path: Path, read: Any, codes: Any) -> None:
    attributes = [
        {"groupName": "doors", "name": 2},
        {"groupName": "lamps", "name": "l"},
        {"groupName": "lamps", "name": "r"},
    ]
    said = {"trackingId": "t", "probability": 70, "attributes": [*attributes, {"id": 1, "groupId": 2}, 5]}
    dataset, receipt = read("superannotate", project(tmp_path, {"className": "x", **BOX, **said}, tags=["night"]))
    kept = {"track_id": "t", "probability": 70, "attributes": {"doors": 2, "lamps": ["l", "r"]}}
    assert dict(dataset.annotations[0].extra) == kept
    assert "image-tags-lost" in codes(receipt, "note")


def test_classes_by_name_or_by_the_id_of_the_list(tmp_path: Path, read: Any) -> None:
    project(
        tmp_path,
        {"className": "ant", "classId": 5, **BOX},
        {"classId": 5, **BOX},
        {"className": " ", "classId": 3, **BOX},
    )
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "classes.json").write_text('[{"id": 5, "name": "zebra"}, {"id": 3, "name": "cow"}]')
    dataset, receipt = read("superannotate", tmp_path)
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "zebra"), (2, "cow"), (3, "ant")]
    assert [a.category_id for a in dataset.annotations] == [3, 1, 2]
    assert tmp_path / "classes" / "classes.json" in receipt.files


@pytest.mark.parametrize("file", ["b.jpg.json", "b.jpg___objects.json", "b.json"])
def test_an_image_without_a_stated_name(file: str, tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"b.jpg": (60, 40)})
    dataset, _ = read("superannotate", project(tmp_path, {"className": "x", **BOX}, file=file, name=None))
    assert dataset.images[0].path == tmp_path / "b.jpg"


def test_the_first_version_is_a_list(tmp_path: Path, read: Any, codes: Any) -> None:
    meta = {"type": "meta", "name": "imageAttributes", "width": 60, "height": 40, "status": "Completed"}
    line = {"className": "y", "type": "polyline"}
    listed = [{"type": "comment", "x": 1, "y": 2}, {"className": "x", **BOX}, line, meta]
    (tmp_path / "a.jpg___objects.json").write_text(json.dumps(listed))
    assert detect_format(tmp_path)[0] == "superannotate"
    dataset, receipt = read("superannotate", tmp_path)
    assert [(i.file_name, i.width, i.height) for i in dataset.images] == [("a.jpg", 60, 40)]
    assert [a.bbox_xywh for a in dataset.annotations] == [(1.5, 2, 9.5, 10)]
    assert codes(receipt, "drop") == ["shape-without-area"]


def test_splits_and_other_json(tmp_path: Path, read: Any) -> None:
    for split in ("train", "val"):
        project(tmp_path / split, {"className": split, **BOX})
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "classes.json").write_text("[]")
    assert detect_format(tmp_path)[0] == "superannotate"
    assert load_format("superannotate").subsets(tmp_path) == ("train", "val")
    dataset, _ = read("superannotate", tmp_path, subset="val")
    assert [c.name for c in dataset.categories] == ["train", "val"]
    assert len(dataset.annotations) == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.json").write_text('{"metadata": {}, "instances": [1]}')
    with pytest.raises(DataError, match="is of SuperAnnotate"):
        read("superannotate", tmp_path / "other")
