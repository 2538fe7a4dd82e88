"""VOC's PNG masks, rotated boxes and ImageNet's folders."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Rle
from cvtune.data.formats import detect_format
from cvtune.data.formats.voc_masks import match_masks
from cvtune.data.formats.voc_objects import InstanceMask
from cvtune.data.geometry import mask_to_rle, rle_to_mask

Files = Callable[..., Path]


def xml(objects: str, name: str = "a.jpg") -> str:
    size = "<size><width>20</width><height>10</height></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def thing(name: str, x0: float, y0: float, x1: float, y1: float) -> str:
    box = f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def indexed(path: Path, *boxes: tuple[int, int, int, int, int], size: tuple[int, int] = (20, 10)) -> None:
    """A palette PNG with VOC's colours."""
    values = np.zeros((size[1], size[0]), np.uint8)
    for x0, y0, x1, y1, value in boxes:
        values[y0:y1, x0:x1] = value
    image = Pillow.frombytes("P", size, values.tobytes())
    palette = []
    for number in range(256):
        bits = [(number >> i) & 1 for i in range(8)]
        palette += [sum(bits[3 * i + c] << (7 - i) for i in range(3) if 3 * i + c < 8) for c in range(3)]
    image.putpalette(palette)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def test_masks_go_to_the_objects_that_they_fit(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    objects = thing("cat", 1, 1, 5, 5) + thing("dog", 11, 1, 15, 5) + thing("dog", 1, 8, 2, 10)
    files(tmp_path, {"Annotations/a.xml": xml(objects), "JPEGImages/a.jpg": (20, 10)})
    indexed(tmp_path / "SegmentationObject/a.png", (10, 0, 15, 5, 2), (0, 0, 5, 4, 1), (18, 0, 20, 10, 255))
    dataset, receipt = read("voc", tmp_path)
    cat, dog, bare = dataset.annotations
    assert isinstance(cat.segmentation, Rle)
    assert isinstance(dog.segmentation, Rle)
    assert (cat.area, cat.bbox_xywh, rle_to_mask(cat.segmentation).sum()) == (20, (0, 0, 5, 5), 20)
    assert rle_to_mask(dog.segmentation)[0:5, 10:15].all()
    assert bare.segmentation is None
    note = next(e for e in receipt.events if e.code == "mask-matched")
    assert note.detail == "2 objects, 2 of them by their place in the XML, the lowest IoU of boxes 0.80; 1 have none"


def test_a_mask_without_an_object_is_one_where_its_class_is_known(
    tmp_path: Path, files: Files, read: Any, codes: Any
) -> None:
    files(tmp_path, {"Annotations/a.xml": xml(thing("cat", 1, 1, 5, 5)), "JPEGImages/a.jpg": (20, 10)})
    indexed(tmp_path / "SegmentationObject/a.png", (0, 0, 5, 5, 1), (10, 0, 15, 5, 7), (10, 6, 15, 9, 8))
    indexed(tmp_path / "SegmentationClass/a.png", (0, 0, 5, 5, 8), (10, 0, 15, 5, 12))
    dataset, receipt = read("voc", tmp_path)
    assert [c.name for c in dataset.categories] == ["cat", "dog"]
    assert [(a.category_id, a.bbox_xywh) for a in dataset.annotations] == [(1, (0, 0, 5, 5)), (2, (10, 0, 5, 5))]
    assert codes(receipt, "repair") == ["box-from-mask"]
    assert [(e.code, e.where) for e in receipt.events if e.kind == "drop"] == [
        ("class-missing", "SegmentationObject/a.png value 8")
    ]


@pytest.mark.parametrize(
    ("label", "expected"),
    [("cat:128,0,0::", ["cat"]), ("cow:128,0,0::\ncat:1,2,3::", ["cow"]), ("# nothing\nx:a,b,c::", [])],
)
def test_labelmap_says_what_colours_mean(
    tmp_path: Path, files: Files, read: Any, label: str, expected: list[str]
) -> None:
    files(tmp_path, {"Annotations/a.xml": xml(""), "JPEGImages/a.jpg": (20, 10), "labelmap.txt": label})
    for folder in ("SegmentationObject", "SegmentationClass"):
        indexed(tmp_path / folder / "a.png", (0, 0, 5, 5, 1))
    assert [c.name for c in read("voc", tmp_path)[0].categories] == expected


def test_masks_of_another_size_and_damaged_ones_are_said(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    for name in ("a", "b"):
        files(tmp_path, {f"Annotations/{name}.xml": xml(thing("cat", 1, 1, 5, 5), f"{name}.jpg")})
    indexed(tmp_path / "SegmentationObject/a.png", (0, 0, 5, 5, 1), size=(10, 20))
    files(tmp_path, {"SegmentationObject/b.png": b"\x89PNG\r\n"})
    dataset, receipt = read("voc", tmp_path)
    assert all(a.segmentation is None for a in dataset.annotations)
    assert {"mask-size-differs", "mask-invalid"} <= set(codes(receipt, "note"))


def mask(value: int, name: str | None, x: int, y: int, w: int, h: int) -> InstanceMask:
    inside = np.zeros((10, 20), np.bool_)
    inside[y : y + h, x : x + w] = True
    return InstanceMask(value, f"value {value}", name, mask_to_rle(inside), (x, y, w, h))


SQUARE, AT = mask(2, None, 0, 0, 4, 4), ("a", (0, 0, 4, 4))


@pytest.mark.parametrize(
    ("masks", "boxes", "expected", "rest"),
    [
        ([mask(9, None, 0, 0, 4, 4)], {1: ("a", (0, 0, 4, 4))}, {1: 9}, []),
        ([mask(9, "b", 0, 0, 4, 4)], {1: ("a", (0, 0, 4, 4))}, {}, [9]),
        ([mask(9, None, 0, 0, 4, 4)], {1: ("a", (3, 0, 4, 4))}, {}, [9]),
        # The place decides between equals, the overlap otherwise.
        ([SQUARE, mask(1, None, 0, 0, 4, 4)], {1: AT, 2: AT}, {1: 1, 2: 2}, []),
        ([mask(8, None, 0, 0, 4, 4), mask(9, None, 1, 0, 4, 4)], {1: ("a", (1, 0, 4, 4)), 2: AT}, {1: 9, 2: 8}, []),
    ],
)  # fmt: skip
def test_matching(masks: Any, boxes: Any, expected: dict[int, int], rest: list[int]) -> None:
    match = match_masks(masks, boxes)
    assert {index: found.value for index, (found, _) in match.masks.items()} == expected
    assert [found.value for found in match.rest] == rest


@pytest.mark.parametrize(
    ("angle", "expected"),
    [(0, (5, 4, 10, 2)), (math.pi / 2, (9, 0, 2, 10)), (math.pi / 4, (5.757, 0.757, 8.485, 8.485))],
)
def test_rotated_boxes_are_polygons_with_the_box_around(
    tmp_path: Path, files: Files, read: Any, codes: Any, angle: float, expected: tuple[float, ...]
) -> None:
    box = f"<robndbox><cx>10</cx><cy>5</cy><w>10</w><h>2</h><angle>{angle}</angle></robndbox>"
    files(tmp_path, {"a.xml": xml(f"<object><type>robndbox</type><name>ship</name>{box}</object>")})
    dataset, receipt = read("voc", tmp_path)
    [annotation] = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx(expected, abs=1e-3)
    assert codes(receipt, "repair") == ["rotation-as-polygon"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (("x", 5, 10, 2, 0), "box-not-numeric"),
        ((10, 5, "nan", 2, 0), "box-not-numeric"),
        ((10, 5, -10, 2, 0), "box-inverted"),
        ((10, 5, 0, 2, 0), "box-zero-area"),
        ((100, 5, 10, 2, 0), "box-outside"),
    ],
)
def test_bad_rotated_boxes_are_dropped(
    tmp_path: Path, files: Files, read: Any, codes: Any, values: tuple[Any, ...], code: str
) -> None:
    inner = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("cx", "cy", "w", "h", "angle"), values, strict=True))
    files(tmp_path, {"a.xml": xml(f"<object><name>ship</name><robndbox>{inner}</robndbox></object>")})
    dataset, receipt = read("voc", tmp_path)
    assert not dataset.annotations
    assert codes(receipt, "drop") == [code]


def test_imagenet_folders_lists_and_names_without_suffix(tmp_path: Path, files: Files, read: Any) -> None:
    for split, name in (("train/n1", "n1_1"), ("val", "v_1"), ("val", "v_2")):
        files(
            tmp_path,
            {
                f"Annotations/DET/{split}/{name}.xml": xml(
                    thing("n02084071", 1, 1, 5, 5), "%s" if name == "v_2" else name
                ),
                f"Data/DET/{split}/{name}.JPEG": (20, 10),
            },
        )
    files(tmp_path, {"ImageSets/DET/val.txt": "v_1 1\nv_2 2\n", "ImageSets/DET/train.txt": "train/n1/n1_1 7\n"})
    dataset, _ = read("voc", tmp_path, subset="val")
    assert [i.file_name for i in dataset.images] == ["DET/val/v_1.JPEG", "DET/val/v_2.JPEG"]
    assert all(i.path is not None and i.path.is_file() for i in dataset.images)
    assert dataset.categories[0].name == "n02084071"
    assert len(read("voc", tmp_path, subset="train")[0].images) == 1


@pytest.mark.real
def test_ellipses_that_cvat_wrote_as_masks_alone_are_those_of_its_coco_export(real_data: Path, read: Any) -> None:
    found = read("voc", real_data / "one_set_nine_formats" / "voc1.1")[0].annotations
    coco = read("coco", real_data / "one_set_nine_formats" / "coco1.0")[0].annotations
    masks = sorted(a.segmentation.counts for a in found if a.segmentation is not None)
    assert masks == sorted(a.segmentation.counts for a in coco if isinstance(a.segmentation, Rle))
    assert len(masks) == 2


def test_masks_without_xml_as_cvat_exports_them(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    files(tmp_path, {"labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n"})
    files(tmp_path, {"ImageSets/Segmentation/default.txt": "a\n", "JPEGImages/a.jpg": (20, 10)})
    indexed(tmp_path / "SegmentationObject/a.png", (10, 0, 15, 5, 2), (0, 0, 5, 4, 1))
    indexed(tmp_path / "SegmentationClass/a.png", (10, 0, 15, 5, 1), (0, 0, 5, 4, 1))
    assert detect_format(tmp_path)[0] == "voc"
    dataset, receipt = read("voc", tmp_path)
    [image] = dataset.images
    assert (image.file_name, image.width, image.height) == ("a.jpg", 20, 10)
    assert [(a.bbox_xywh, a.area) for a in dataset.annotations] == [((0, 0, 5, 4), 20), ((10, 0, 5, 5), 25)]
    assert [category.name for category in dataset.categories] == ["cat"]
    assert codes(receipt, "drop") == []
