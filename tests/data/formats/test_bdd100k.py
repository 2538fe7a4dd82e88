"""BDD100K's and Scalabel's JSON: which part of a label counts, curves, crowds, edges, names of images and classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.formats import detect_format, load_format
from cvtune.data.geometry import mask_to_rle, rle_to_mask, segmentation_to_rle

SQUARE = [[10, 10], [20, 10], [20, 30], [10, 30]]


def box(*corners: float) -> dict[str, float]:
    return dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True))


def poly(vertices: Any, types: str = "LLLL", closed: bool | None = True) -> dict[str, Any]:
    return {"vertices": vertices, "types": types} | ({} if closed is None else {"closed": closed})


def frames(path: Path, *labels: Any, **more: Any) -> Path:
    frame = {"name": "a.jpg", "size": {"width": 60, "height": 40}, "labels": list(labels), **more}
    (path / "a.json").write_text(json.dumps([frame]))
    return path


@pytest.mark.parametrize(
    ("label", "bbox", "area"),
    [
        ({"box2d": box(1.5, 2, 11, 12)}, (1.5, 2, 9.5, 10), 95),
        ({"box2d": box(1.5, 2, 11, 12), "poly2d": None, "rle": None}, (1.5, 2, 9.5, 10), 95),
        ({"poly2d": [poly(SQUARE)]}, (10, 10, 10, 20), 200),
        ({"box2d": box(1.5, 2, 11, 12), "poly2d": [poly(SQUARE)]}, (10, 10, 10, 20), 200),
        ({"poly2d": [poly(SQUARE, closed=None)]}, (10, 10, 10, 20), 200),
        ({"poly2d": [poly(SQUARE), poly([[30, 0], [40, 0], [40, 5], [30, 5]])]}, (10, 0, 30, 30), 250),
        ({"poly2d": [poly(SQUARE), poly([[0, 0], [5, 5]], "LL", False)]}, (10, 10, 10, 20), 200),
        ({"poly2d": [[*corner, "L"] for corner in SQUARE]}, (10, 10, 10, 20), 200),
        ({"box2d": box(1.5, 2, 11, 12), "poly2d": [poly(SQUARE, closed=False)]}, (1.5, 2, 9.5, 10), 95),
    ],
)  # fmt: skip
def test_labels(label: Any, bbox: Any, area: float, tmp_path: Path, read: Any) -> None:
    dataset, receipt = read("bdd100k", frames(tmp_path, {"category": "x", **label}))
    (annotation,) = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx(bbox)
    assert annotation.area == pytest.approx(area)
    assert not receipt.classes_dropped


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ({"category": "lane", "poly2d": [poly([[0, 0], [9, 9]], "LL", False)]}, "shape-without-area"),
        ({"category": "lane/road curb", "poly2d": [[0, 0, "L"], [9, 9, "L"], [9, 5, "L"]]}, "shape-without-area"),
        ({"category": "x", "graph": {"nodes": []}}, "shape-without-area"),
        ({"category": "x", "box3d": {"alpha": 1}}, "shape-unknown"),
        ({"category": "x"}, "box-missing"),
        ({"box2d": box(1, 2, 11, 12)}, "class-missing"),
        ({"category": "x", "box2d": {"x1": 1, "y1": None, "x2": 3, "y2": 9}}, "box-not-numeric"),
        ({"category": "x", "rle": {"counts": "11", "size": [40, 60]}}, "mask-invalid"),
        ({"category": "x", "rle": {"counts": "11", "size": [10**6, 10**6]}}, "mask-invalid"),
        ({"category": "x", "poly2d": [poly([[1, 2]])]}, "mask-degenerate"),
        ({"category": "x", "poly2d": [poly([[1e308, -1e308]] * 4, "LCCC")]}, "box-outside"),
        ("x", "value-malformed"),
    ],
)
def test_what_is_no_object_is_dropped(label: Any, code: str, tmp_path: Path, read: Any, codes: Any) -> None:
    good = {"category": "x", "box2d": box(1.5, 2, 11, 12)}
    dataset, receipt = read("bdd100k", frames(tmp_path, good, label))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]


def test_curves_are_those_that_scalabel_draws(tmp_path: Path, read: Any) -> None:
    """Two control points and the next corner, or three C of which the last is the end, or the first corner again."""
    quarter = 20 * 0.5522847498
    circle = [(40, 20), (40, 20 - quarter), (20 + quarter, 0), (20, 0), (0, 0), (0, 40), (20, 40),
              (20 + quarter, 40), (40, 20 + quarter)]  # fmt: skip
    whole = 20 * 40 + np.pi * 400 / 2
    for types in ("LCCLLLLCC", "LCCCLLLCC"):
        dataset, _ = read("bdd100k", frames(tmp_path, {"category": "x", "poly2d": [poly(circle, types)]}))
        (annotation,) = dataset.annotations
        assert annotation.area == pytest.approx(whole, abs=2)
        assert annotation.bbox_xywh == pytest.approx((0, 0, 40, 40))


@pytest.mark.parametrize(
    ("boxes", "ends"),
    [
        ([(1, 2, 10, 12), (5, 5, 6, 9)], 11),  # whole numbers: the last pixels
        ([(1, 2, 10, 12), (5, 5, 6.5, 9)], 10),  # drawn: edges
        ([(1, 2, 10, 12), (5, 5, 60, 9)], 10),  # one ends at the image's edge
        ([(1, 2, 10, 12), (5.5, 5, 59, 9), (1, 2, 3, 39)], 11),  # some at the last pixel
    ],
)
def test_the_last_pixel_is_in_the_box_or_not(boxes: Any, ends: float, tmp_path: Path, read: Any) -> None:
    dataset, receipt = read("bdd100k", frames(tmp_path, *({"category": "x", "box2d": box(*b)} for b in boxes)))
    x, _, w, _ = dataset.annotations[0].bbox_xywh
    assert x + w == ends
    assert "box-layout-found" in {event.code for event in receipt.events}
    assert "box-clipped" not in {event.code for event in receipt.events}


def test_a_mask_comes_before_polygon_and_box(tmp_path: Path, read: Any) -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[5:9, 7:20] = True
    rle = mask_to_rle(mask)
    label = {"category": "x", "rle": {"counts": rle.counts.decode(), "size": [40, 60]}, "poly2d": [poly(SQUARE)]}
    dataset, _ = read("bdd100k", frames(tmp_path, label | {"box2d": box(7, 5, 19, 8)}))
    (annotation,) = dataset.annotations
    assert annotation.bbox_xywh == (7, 5, 13, 4)
    assert (rle_to_mask(segmentation_to_rle(annotation.segmentation, (40, 60))) == mask).all()


@pytest.mark.parametrize("key", ["crowd", "Crowd", "ignored"])
def test_attributes(key: str, tmp_path: Path, read: Any) -> None:
    labels = [
        {
            "id": i,
            "category": "x",
            "score": 0.5,
            "box2d": box(1.5, 2, 11, 12),
            "attributes": {key: i == 1, "tall": True},
        }
        for i in range(2)
    ]
    dataset, _ = read("bdd100k", frames(tmp_path, *labels, videoName="v", frameIndex=3, attributes={"scene": "city"}))
    assert [a.iscrowd for a in dataset.annotations] == [False, True]
    assert dict(dataset.annotations[0].extra) == {"track_id": 0, "score": 0.5, "attributes": {"tall": True}}
    assert dict(dataset.images[0].extra) == {"video": "v", "frame": 3, "attributes": {"scene": "city"}}


def test_classes_are_the_leaves_of_the_list_then_the_others(tmp_path: Path, read: Any) -> None:
    categories = [{"name": "vehicle", "subcategories": [{"name": "truck"}, {"name": "car"}]}, {"name": "sign"}]
    labels = [{"category": name, "box2d": box(1.5, 2, 11, 12)} for name in ("car", "zebra", "ant")]
    config = {"categories": categories, "imageSize": {"width": 60, "height": 40}}
    content = {"frames": [{"name": "a.jpg", "labels": labels}], "config": config}
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset, _ = read("bdd100k", tmp_path)
    assert [(c.id, c.name) for c in dataset.categories] == [
        (1, "truck"), (2, "car"), (3, "sign"), (4, "ant"), (5, "zebra"),
    ]  # fmt: skip


def test_frames_of_several_videos_keep_their_own_images(tmp_path: Path, read: Any, files: Any) -> None:
    labels = [{"category": "x", "box2d": box(1.5, 2, 11, 12)}]
    listed = [
        {"name": "1.jpg", "videoName": "v", "labels": labels},
        {"name": "1.jpg", "videoName": "w", "labels": None},
        {"name": "2.jpg", "videoName": "w", "url": "https://x/y/2.jpg"},
        {"name": "https://x/y/3.jpg", "labels": []},
        {"name": "4.jpg", "videoName": "w", "labels": [], "size": {"width": 7, "height": 8}},
    ]
    files(tmp_path, {"images/v/1.jpg": (60, 40), "images/w/1.jpg": (50, 40), "images/2.jpg": (30, 40),
                     "images/3.jpg": (20, 40), "labels/a.json": json.dumps(listed)})  # fmt: skip
    dataset, receipt = read("bdd100k", tmp_path)
    assert [(i.file_name, i.width) for i in dataset.images] == [
        ("v/1.jpg", 60), ("w/1.jpg", 50), ("2.jpg", 30), ("3.jpg", 20), ("4.jpg", 7),
    ]  # fmt: skip
    assert [event.code for event in receipt.events if event.code.startswith("image-")] == ["image-missing"]


def test_files_that_are_called_by_splits_are_subsets_of_one_numbering(tmp_path: Path, read: Any) -> None:
    for name, category in ("det_train", "b"), ("det_val", "a"):
        frame = {"name": f"{name}.jpg", "labels": [{"category": category, "box2d": box(1.5, 2, 11, 12)}]}
        (tmp_path / f"{name}.json").write_text(json.dumps([frame | {"size": {"width": 60, "height": 40}}]))
    assert load_format("bdd100k").subsets(tmp_path) == ("train", "val")
    dataset, receipt = read("bdd100k", tmp_path, subset="val")
    assert [c.name for c in dataset.categories] == ["a", "b"]
    assert [(i.id, i.file_name) for i in dataset.images] == [(2, "det_val.jpg")]
    assert receipt.files == [tmp_path / "det_val.json"]


@pytest.mark.parametrize(
    "content",
    [
        [{"name": "a.jpg", "labels": None, "timestamp": 1}],
        {"name": "a.jpg", "labels": [{"category": "x", "box2d": box(1, 2, 3, 4)}]},
        {"frames": [{"name": "a.jpg", "labels": [{"id": 1, "graph": {}}]}]},
        {"name": "a", "frames": [{"timestamp": 1, "objects": []}]},
        [{"name": "a.jpg", "attributes": {}, "timestamp": 1}, {"name": "b", "labels": [{"box2d": {}}]}],
    ],
)
def test_detected(content: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert detect_format(tmp_path)[0] == "bdd100k"


@pytest.mark.parametrize(
    "content", [[{"name": "a.jpg", "labels": ["cat"]}], {"name": "a", "labels": {}}, {"frames": []}]
)
def test_not_detected(content: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert load_format("bdd100k").detect(tmp_path) is None
