"""Datumaro, LVIS and Supervisely: JSON of whole projects."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.coco import Rle
from cvtune.data.formats import coco, datumaro, lvis, supervisely
from cvtune.data.formats.mask_images import png_of_mask
from cvtune.data.geometry import rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

Files = Callable[..., Path]


def datumaro_file(annotations: list[Any], **item: Any) -> str:
    labels = [{"name": "cat"}, {"name": "dog"}]
    image = {"id": "a", "annotations": annotations, "image": {"path": "a.jpg", "size": [10, 20]}, **item}
    return json.dumps({"categories": {"label": {"labels": labels}}, "items": [image]})


def shape(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "label_id": 0, "attributes": {}, "group": 0, "z_order": 0, **fields}


def test_datumaro_kinds_ids_and_attributes(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    annotations = [
        shape("bbox", bbox=[1, 2, 3, 4], label_id=1, attributes={"is_crowd": True, "colour": "red"}, z_order=3),
        shape("rotated_bbox", bbox=[10, 5, 6, 2, 90]),
        shape("label"),
        shape("points", points=[1, 2]),
        shape("polyline", points=[1, 2, 3, 4]),
        shape("hexagon"),
    ]
    files(tmp_path, {"annotations/train.json": datumaro_file(annotations, attr={"frame": 3}), "images/a.jpg": (20, 10)})
    dataset, receipt = read("datumaro", tmp_path)
    assert [(c.id, c.name) for c in dataset.categories] == [(0, "cat"), (1, "dog")]
    box, turned = dataset.annotations
    assert (box.category_id, box.bbox_xywh, box.iscrowd) == (1, (1, 2, 3, 4), True)
    assert box.extra == {"attributes": {"colour": "red"}, "z_order": 3}
    assert turned.bbox_xywh == pytest.approx((9, 2, 2, 6))
    assert codes(receipt, "drop") == ["shape-without-area", "shape-without-area", "shape-unknown"]
    assert "image-tags-lost" in receipt.counts
    assert dataset.images[0].extra == {"attr": {"frame": 3}}
    assert dataset.images[0].path == tmp_path / "images" / "a.jpg"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([("polygon", 1), ("polygon", 1)], 1),
        ([("polygon", 1), ("bbox", 1)], 1),
        ([("polygon", 0), ("polygon", 0)], 2),
        ([("polygon", 1), ("polygon", 2)], 2),
        ([("bbox", 1), ("bbox", 1)], 2),
        ([("polygon", 1), ("bbox", 1), ("bbox", 1)], 3),
    ],
)
def test_datumaro_groups_are_one_object_where_they_can_be(
    tmp_path: Path, files: Files, read: Any, groups: list[tuple[str, int]], expected: int
) -> None:
    annotations = [
        shape(kind, group=group, bbox=[1 + i, 1, 4, 4], points=[1 + i, 1, 5 + i, 1, 5 + i, 5])
        for i, (kind, group) in enumerate(groups)
    ]
    files(tmp_path, {"a.json": datumaro_file(annotations), "a.jpg": (20, 10)})
    assert len(read("datumaro", tmp_path)[0].annotations) == expected


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"bbox": [1, 2, 3]}, "box-not-numeric"),
        ({"bbox": [1, 2, -3, 4]}, "box-inverted"),
        ({"bbox": [1, 2, 0, 4]}, "box-zero-area"),
        ({"bbox": [1, 2, 3, 4], "label_id": 9}, "class-missing"),
        ({"bbox": [1, 2, 3, 4], "label_id": "x"}, "class-missing"),
        ({"type": "polygon", "points": [1, 2, 3, 4]}, "mask-degenerate"),
        ({"type": "mask", "rle": {"size": [9, 9], "counts": [81]}}, "mask-invalid"),
        ({"type": "mask", "rle": {"size": [10, 20], "counts": [200]}}, "mask-empty"),
        ({"type": "mask"}, "mask-invalid"),
    ],
)
def test_bad_shapes_of_datumaro(
    tmp_path: Path, files: Files, read: Any, codes: Any, fields: dict[str, Any], code: str
) -> None:
    files(tmp_path, {"a.json": datumaro_file([{**shape("bbox"), **fields}]), "a.jpg": (20, 10)})
    dataset, receipt = read("datumaro", tmp_path)
    assert not dataset.annotations
    assert codes(receipt, "drop") == [code]


def test_datumaro_files_are_subsets(tmp_path: Path, files: Files, read: Any) -> None:
    text = datumaro_file([shape("bbox", bbox=[1, 2, 3, 4])])
    files(tmp_path, {"annotations/train.json": text, "annotations/val.json": text})
    files(tmp_path, {"images/train/a.jpg": (20, 10), "images/val/a.jpg": (20, 10)})
    assert datumaro.subsets(tmp_path) == ("train", "val")
    val, _ = read("datumaro", tmp_path, subset="val")
    assert [(i.id, i.path) for i in val.images] == [(2, tmp_path / "images/val/a.jpg")]


def lvis_file(**image: Any) -> str:
    whole = {"image_id": 3, "category_id": 1}
    return json.dumps(
        {
            "images": [{"id": 3, "width": 20, "height": 10, "neg_category_ids": [2], **image}],
            "annotations": [
                {**whole, "id": 1, "bbox": [1, 2, 3, 4], "area": 12, "segmentation": [[1, 2, 4, 2, 4, 6]]},
                {**whole, "id": 2, "bbox": [1, 2, -3, 4]},
            ],
            "categories": [{"id": 1, "name": "a", "frequency": "c"}, {"id": 2, "name": "b", "frequency": "r"}],
        }
    )  # fmt: skip


def test_lvis_names_by_url_and_keeps_what_was_checked(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    text = lvis_file(coco_url="http://x/val2017/a.jpg", not_exhaustive_category_ids=[1])
    files(tmp_path, {"lvis_val.json": text, "val2017/a.jpg": (20, 10)})
    assert lvis.detect(tmp_path) == "lvis_val.json with LVIS's frequency and neg_category_ids"
    assert coco.detect(tmp_path) is None
    dataset, receipt = read("lvis", tmp_path)
    [image] = dataset.images
    assert (image.file_name, image.path) == ("val2017/a.jpg", tmp_path / "val2017" / "a.jpg")
    assert image.extra["not_exhaustive_category_ids"] == [1]
    assert dataset.categories[0].extra["frequency"] == "c"
    assert codes(receipt, "drop") == ["box-inverted"]
    assert "1 of 1 images" in next(e.detail for e in receipt.events if e.code == "classes-checked")


def test_lvis_is_written_with_counts_where_there_are_none(tmp_path: Path, files: Files, read: Any) -> None:
    files(tmp_path, {"x.json": lvis_file(file_name="a.jpg").replace('"neg_category_ids": [2], ', "")})
    dataset, _ = read("coco", tmp_path)
    receipt = Receipt()
    [file] = lvis.write(dataset, tmp_path / "out", receipt)
    record = json.loads(file.read_text())
    assert record["images"][0]["neg_category_ids"] == []
    assert [c["frequency"] for c in record["categories"]] == ["c", "r"]
    assert record["categories"][0]["instance_count"] == 1
    assert receipt.counts["classes-checked"] == 1
    again, _ = read("lvis", tmp_path / "out")
    assert [a.bbox_xywh for a in again.annotations] == [a.bbox_xywh for a in dataset.annotations]


def ann(objects: list[Any], **more: Any) -> str:
    return json.dumps({"size": {"height": 10, "width": 20}, "objects": objects, "tags": [], **more})


def bitmap(mask: Any, origin: Any, junk: bool = False) -> dict[str, Any]:
    content = zlib.compress(b"no png" if junk else png_of_mask(mask))
    return {
        "classTitle": "cat",
        "geometryType": "bitmap",
        "bitmap": {"data": base64.b64encode(content).decode(), "origin": origin},
    }


def test_supervisely_bitmaps_holes_tags_and_ids(tmp_path: Path, files: Files, read: Any) -> None:
    mask = np.array([[1, 1, 0], [1, 0, 0]], np.bool_)
    square = [[10, 1], [18, 1], [18, 9], [10, 9]]
    polygon = {
        "classTitle": "dog",
        "geometryType": "polygon",
        "points": {"exterior": square, "interior": [[[12, 3], [14, 3], [14, 5], [12, 5]]]},
        "tags": [{"name": "iscrowd"}, {"name": "seen", "value": 2}],
    }
    meta = json.dumps({"classes": [{"title": "dog", "id": 70}, {"title": "cat", "id": 60}]})
    files(
        tmp_path, {"meta.json": meta, "d/ann/a.jpg.json": ann([bitmap(mask, [2, 3]), polygon]), "d/img/a.jpg": (20, 10)}
    )
    dataset, _ = read("supervisely", tmp_path)
    assert [(c.id, c.name) for c in dataset.categories] == [(70, "dog"), (60, "cat")]
    cat, dog = dataset.annotations
    assert isinstance(cat.segmentation, Rle)
    assert np.array_equal(rle_to_mask(cat.segmentation)[3:5, 2:5], mask)
    assert (dog.area, dog.iscrowd, dog.extra) == (60, True, {"tags": [{"name": "seen", "value": 2}]})
    assert dataset.images[0].path == tmp_path / "d/img/a.jpg"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (bitmap(np.ones((2, 2), np.bool_), [0, 0], junk=True), "mask-invalid"),
        (bitmap(np.ones((2, 2), np.bool_), [0, "x"]), "mask-invalid"),
        (bitmap(np.zeros((2, 2), np.bool_), [0, 0]), "mask-empty"),
        (bitmap(np.ones((2, 2), np.bool_), [90, 0]), "mask-empty"),
        ({"classTitle": "cat", "geometryType": "bitmap", "bitmap": {"data": "!!", "origin": [0, 0]}}, "mask-invalid"),
        ({"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[1, 2]]}}, "box-not-numeric"),
        ({"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": [[1, 2], [3, 4]]}}, "mask-degenerate"),
        ({"classTitle": "cat", "geometryType": "line", "points": {}}, "shape-without-area"),
        ({"classTitle": "cat", "geometryType": "blob"}, "shape-unknown"),
        ({"geometryType": "rectangle", "points": {"exterior": [[1, 2], [3, 4]]}}, "class-missing"),
        (7, "value-malformed"),
    ],
)
def test_bad_objects_of_supervisely(tmp_path: Path, files: Files, read: Any, codes: Any, item: Any, code: str) -> None:
    files(tmp_path, {"ann/a.jpg.json": ann([item]), "img/a.jpg": (20, 10)})
    dataset, receipt = read("supervisely", tmp_path)
    assert not dataset.annotations
    assert codes(receipt, "drop") == [code]


def test_supervisely_datasets_share_names_but_not_images(tmp_path: Path, files: Files, read: Any) -> None:
    box = {"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[9, 8], [1, 2]]}}
    for name in ("one", "two"):
        files(tmp_path, {f"{name}/ann/a.jpg.json": ann([box]), f"{name}/img/a.jpg": (20, 10)})
    assert supervisely.subsets(tmp_path) == ("one", "two")
    dataset, _ = read("supervisely", tmp_path)
    assert [i.file_name for i in dataset.images] == ["one/img/a.jpg", "two/img/a.jpg"]
    assert dataset.annotations[0].bbox_xywh == (1, 2, 8, 6)
    two, _ = read("supervisely", tmp_path, subset="two")
    assert [(i.id, i.file_name) for i in two.images] == [(2, "two/img/a.jpg")]
    with pytest.raises(DataError, match="no subset 'tow'"):
        read("supervisely", tmp_path, subset="tow")
