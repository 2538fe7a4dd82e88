"""Open Images' CSV and KITTI's text files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Annotation, Category, Dataset, Image, Rle
from cvtune.data.formats import kitti, openimages
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

Files = Callable[..., Path]
HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
MASK_HEAD = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"


def mask_png(path: Path, size: tuple[int, int] = (50, 50)) -> None:
    values = np.zeros((size[1], size[0]), np.uint8)
    values[: size[1] // 2, : size[0] // 2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(values).save(path)


def test_boxes_groups_flags_and_names(tmp_path: Path, files: Files, read: Any) -> None:
    rows = "i,x,/m/b,1,0.1,0.5,0.2,0.6,1,0,1,0,-1\ni,x,/m/a,1,0,1,0,1,0,0,0,0,0\n"
    files(
        tmp_path,
        {
            "train-annotations-bbox.csv": f"{HEAD}\n{rows}",
            "oidv7-class-descriptions-boxable.csv": "LabelName,DisplayName\n/m/b,Bee\n/m/u,Unused\n",
            "train/i.jpg": (100, 50),
        },
    )
    dataset, _ = read("openimages", tmp_path)
    assert [(c.id, c.name, c.extra["label_name"]) for c in dataset.categories] == [
        (1, "Bee", "/m/b"),
        (2, "Unused", "/m/u"),
        (3, "/m/a", "/m/a"),
    ]
    bee = dataset.annotations[0]
    assert bee.bbox_xywh == pytest.approx((10, 10, 40, 20))
    assert bee.iscrowd
    assert bee.extra == {"IsOccluded": 1, "IsTruncated": 0, "IsDepiction": 0, "IsInside": -1, "Confidence": 1.0}
    assert dataset.images[0].file_name == "i.jpg"


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("labels/detections.csv", "metadata/classes.csv"),  # FiftyOne
        ("annotations/train-annotations-bbox.csv", "annotations/class-descriptions.csv"),
        ("annotations/train-annotations-bbox.csv", "oidv6-class-descriptions.csv"),
    ],
)
def test_names_of_classes_beside_the_tables_or_above(
    tmp_path: Path, files: Files, read: Any, table: str, names: str
) -> None:
    content = {table: f"{HEAD}\ni,x,/m/b,1,0.1,0.5,0.2,0.6,1,0,1,0,-1\n", names: "/m/b,Bee\n", "data/i.jpg": (100, 50)}
    files(tmp_path, content)
    for path in (tmp_path, tmp_path / table):
        assert [c.name for c in read("openimages", path)[0].categories] == ["Bee"]


def test_masks_go_to_their_boxes_and_are_scaled(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    files(
        tmp_path,
        {
            "b.csv": f"{HEAD}\ni,x,/m/b,1,0,0.5,0,0.5,1,0,0,0,0\n",
            "m.csv": f"{MASK_HEAD}\nm.png,i,/m/b,q,0.000000,0.500000,0,0.5,0.9,\nn.png,i,/m/b,q,0.1,0.2,0,0.5,0.9,\n",
            "i.jpg": (100, 50),
        },
    )
    mask_png(tmp_path / "m.png")
    dataset, receipt = read("openimages", tmp_path)
    [annotation] = dataset.annotations
    assert isinstance(annotation.segmentation, Rle)
    assert (annotation.bbox_xywh, annotation.area) == ((0, 0, 50, 25), 1250)
    assert annotation.extra["IsOccluded"] == 1
    assert codes(receipt, "repair") == ["mask-resized"]
    assert [(e.code, e.where) for e in receipt.events if e.kind == "drop"] == [("mask-missing-file", "m.csv line 3")]


def test_parts_of_open_images_are_subsets_and_images_are_needed(tmp_path: Path, files: Files, read: Any) -> None:
    for part in ("train", "validation"):
        files(tmp_path, {f"{part}-boxes.csv": f"{HEAD}\n{part[0]},x,/m/b,1,0,0.5,0,0.5,1,0,0,0,0\n"})
    assert openimages.subsets(tmp_path) == ("train", "validation")
    with pytest.raises(DataError, match="give the folder of the images with `images`"):
        read("openimages", tmp_path)
    files(tmp_path, {"validation/v.jpg": (10, 10)})
    dataset, receipt = read("openimages", tmp_path)
    assert [i.file_name for i in dataset.images] == ["v.jpg"]
    assert receipt.to_json()["annotations"] == {"in": 2, "out": 1, "dropped": 1}


LINE = "Car 0.00 1 -1.57 10 20 30.5 40 1.5 1.6 3.9 1.0 1.5 20.1 0.5"
IGNORE = "DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10"


def test_kitti_fields_and_regions_to_ignore(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    files(tmp_path, {"label_2/1.txt": f"{LINE}\n{IGNORE}\n", "label_2/2.txt": "", "image_2/1.png": (100, 50)})
    files(tmp_path, {"image_2/2.png": (100, 50)})
    dataset, receipt = read("kitti", tmp_path)
    [car] = dataset.annotations
    assert car.bbox_xywh == (10, 20, 20.5, 20)
    assert car.extra == {
        "truncated": 0, "occluded": 1, "alpha": -1.57, "dimensions": [1.5, 1.6, 3.9], "location": [1, 1.5, 20.1],
        "rotation_y": 0.5,
    }  # fmt: skip
    assert [i.extra for i in dataset.images] == [{"ignore_regions": [[1, 2, 2, 2]]}, {}]
    assert receipt.counts["ignore-region"] == 1
    assert [c.name for c in dataset.categories] == ["Car"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("Car 0 1", "row-malformed"),
        (LINE.replace(" 10 ", " x "), "box-not-numeric"),
        (LINE.replace(" 10 ", " inf "), "box-not-numeric"),
        (LINE.replace(" 10 ", " 90 "), "box-inverted"),
        (LINE.replace(" 10 20 30.5 40", " 300 20 400 40"), "box-outside"),
    ],
)
def test_bad_lines_of_kitti(tmp_path: Path, files: Files, read: Any, codes: Any, line: str, code: str) -> None:
    files(tmp_path, {"label_2/1.txt": f"{LINE}\n{LINE}\n\n{line}\n", "image_2/1.png": (100, 50)})
    _, receipt = read("kitti", tmp_path)
    assert [(e.code, e.where) for e in receipt.events if e.kind == "drop"] == [(code, "label_2/1.txt line 4")]


def test_kitti_keeps_its_own_fields_when_written(tmp_path: Path, files: Files, read: Any) -> None:
    files(tmp_path, {"label_2/1.txt": f"{LINE} 0.75\n{IGNORE}\n", "image_2/1.png": (100, 50)})
    before, _ = read("kitti", tmp_path)
    receipt = Receipt()
    kitti.write(before, tmp_path / "out", receipt)
    after, _ = read("kitti", tmp_path / "out", images=tmp_path / "image_2")
    assert (after.annotations, after.categories) == (before.annotations, before.categories)
    assert after.images[0].extra == before.images[0].extra
    assert [e.code for e in receipt.events] == ["images-not-written"]


def test_names_that_kitti_cannot_hold(tmp_path: Path, read: Any) -> None:
    images = (Image(1, "s/a.jpg", 9, 9), Image(2, "s_a.jpg", 9, 9))
    boxes = tuple(Annotation(i, 1, i, (1, 1, 4, 4), 16) for i in (1, 2))
    receipt = Receipt()
    receipt.count_out(2, {"two words": 1, "DontCare": 1})
    files = kitti.write(Dataset(images, boxes, (Category(1, "two words"), Category(2, "DontCare"))), tmp_path, receipt)
    assert [f.name for f in files] == ["s_a.txt", "s_a.jpg.txt"]
    assert files[0].read_text().startswith("two_words -1 -1 -10 1 1 5 5 -1")
    assert {"class-respelled", "class-missing", "image-renamed"} <= set(receipt.counts)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("traffic light 0.00 0 0.00 1 2 5 8 0 0 0 0 0 0 0", "traffic light"),
        ("a red car 0 0 0 1 2 5 8 0 0 0 0 0 0 0 0.5", "a red car"),
        ("Car nan 0 0.00 1 2 5 8 0 0 0 0 0 0 0", "Car"),
        ("0 7 traffic light 0 0 0 1 2 5 8 0 0 0 0 0 0 0", "traffic light"),
    ],
)
def test_names_of_several_words_in_kitti(tmp_path: Path, files: Files, read: Any, line: str, name: str) -> None:
    files(tmp_path, {"image_2/a.png": (20, 10), "image_2/a/000000.png": (20, 10), "label_2/a.txt": f"{line}\n"})
    dataset, _ = read("kitti", tmp_path)
    assert [category.name for category in dataset.categories] == [name]
    assert dataset.annotations[0].bbox_xywh == (1, 2, 4, 6)
