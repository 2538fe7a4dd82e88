"""DOTA, VisDrone, WIDER FACE and MOT: text files of one object a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.formats import detect_format, dota, mot, visdrone, wider_face
from cvtune.data.parts import read_parts
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

Files = Callable[..., Path]


def test_dota_polygons_header_and_difficult(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    text = "imagesource:GoogleEarth\ngsd:0.5\n10 2 14 6 10 10 6 6 small-vehicle 1\n30 1 60 1 60 5 30 5 ship\n"
    files(tmp_path, {"labelTxt/P1.txt": text, "images/P1.png": (50, 20)})
    dataset, receipt = read("dota", tmp_path)
    vehicle, ship = dataset.annotations
    assert isinstance(vehicle.segmentation, tuple)
    assert vehicle.segmentation[0].tolist() == [10, 2, 14, 6, 10, 10, 6, 6]
    assert (vehicle.bbox_xywh, vehicle.extra) == ((6, 2, 8, 8), {"difficult": 1})
    assert ship.bbox_xywh == (30, 1, 20, 4)
    assert dataset.images[0].extra == {"imagesource": "GoogleEarth", "gsd": 0.5}
    assert codes(receipt, "repair") == ["mask-clipped"]
    assert {"rotation-as-polygon", "difficult-kept"} <= set(codes(receipt, "note"))


@pytest.mark.parametrize(
    ("form", "line", "code"),
    [
        ("dota", "1 2 3 4 5", "row-malformed"),
        ("dota", "10 2 14 6 10 nan 6 6 ship 0", "box-not-numeric"),
        ("dota", "90 2 94 6 90 10 86 6 ship 0", "box-outside"),
        ("dota", "9 2 9 2 9 2 9 2 ship 0", "mask-empty"),
        ("visdrone", "1,2,3", "row-malformed"),
        ("visdrone", "1,2,x,4,1,3,0,0", "box-not-numeric"),
        ("visdrone", "1,2,-3,4,1,3,0,0", "box-inverted"),
        ("visdrone", "1,2,0,4,1,3,0,0", "box-zero-area"),
        ("visdrone", "90,2,3,4,1,3,0,0", "box-outside"),
        ("oidv4", "Cat 1 2 3", "row-malformed"),
        ("oidv4", "Cat 1 x 3 4", "row-malformed"),
        ("oidv4", "Cat 1 2 1 4", "box-zero-area"),
        ("oidv4", "Cat 9 2 1 4", "box-inverted"),
        ("oidv4", "Cat 90 2 93 4", "box-outside"),
    ],
)
def test_bad_lines(tmp_path: Path, files: Files, read: Any, form: str, line: str, code: str) -> None:
    good = {"dota": "10 2 14 6 10 10 6 6 ship 0", "visdrone": "1,2,3,4,1,4,0,0", "oidv4": "Cat 1 2 4 6"}[form]
    other = {"dota": "20 2 24 6 20 10 16 6 ship 0", "visdrone": "9,2,3,4,1,4,0,0", "oidv4": "Cat 9 2 12 6"}[form]
    files(tmp_path, {"labels/a.txt": f"{good}\n{other}\n{line}\n", "images/a.png": (50, 20)})
    dataset, receipt = read(form, tmp_path)
    assert len(dataset.annotations) == 2
    assert [(e.code, e.where) for e in receipt.events if e.kind == "drop"] == [(code, "labels/a.txt line 3")]


def test_same_names_in_splits_are_told_apart_and_a_missing_image_is_named(
    tmp_path: Path, files: Files, read: Any
) -> None:
    line = "10 2 14 6 10 10 6 6 ship 0\n"
    for part, size in (("train", (50, 20)), ("val", (40, 30))):
        files(tmp_path, {f"{part}/labelTxt/a.txt": line, f"{part}/images/a.png": size})
    files(tmp_path, {"val/labelTxt/gone.txt": line})
    assert dota.subsets(tmp_path) == ("train", "val")
    dataset, receipt = read("dota", tmp_path)
    assert [(i.file_name, i.width) for i in dataset.images] == [("train/images/a.png", 50), ("val/images/a.png", 40)]
    assert [(e.code, e.where) for e in receipt.events if e.kind == "drop"] == [
        ("image-missing", "val/labelTxt/gone.txt")
    ]
    val, _ = read("dota", tmp_path, subset="val")
    assert [(i.id, i.width) for i in val.images] == [(2, 40)]
    for part, size in (("train", (50, 20)), ("val", (40, 30))):
        files(tmp_path / "elsewhere", {f"{part}/a.png": size})
        (tmp_path / part / "images" / "a.png").unlink()
    moved, _ = read("dota", tmp_path, images=tmp_path / "elsewhere")
    assert [(i.file_name, i.width) for i in moved.images] == [("train/a.png", 50), ("val/a.png", 40)]


def test_dota_writes_the_smallest_rotated_box_of_other_masks(tmp_path: Path) -> None:
    five = np.array([10.0, 2, 14, 6, 10, 10, 6, 6, 8, 4])
    image = Image(1, "a b.png", 50, 20, extra={"gsd": 0.5})
    annotations = (
        Annotation(1, 1, 1, (6, 2, 8, 8), 32, False, (five,)),
        Annotation(2, 1, 1, (1, 2, 3, 4), 12, False, None, {"difficult": 1}),
    )
    receipt = Receipt()
    [file] = dota.write(Dataset((image,), annotations, (Category(1, "big ship"),)), tmp_path, receipt)
    lines = file.read_text().splitlines()
    assert lines[0] == "gsd:0.5"
    corners = np.array(lines[1].split()[:8], float).reshape(-1, 2)
    assert sorted(corners.tolist()) == [[6, 6], [10, 2], [10, 10], [14, 6]]
    assert lines[2] == "1 2 4 2 4 6 1 6 big_ship 1"
    assert {"mask-as-rotated-box", "box-as-polygon", "class-respelled"} <= set(receipt.counts)


def test_visdrone_classes_and_regions_to_ignore(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    files(
        tmp_path,
        {"annotations/a.txt": "1,2,3,4,1,4,0,1\n5,5,9,9,0,0,0,0,\n7,2,3,4,0,11,2,2\n", "images/a.jpg": (50, 20)},
    )
    dataset, receipt = read("visdrone", tmp_path)
    assert [(a.category_id, a.bbox_xywh) for a in dataset.annotations] == [(4, (1, 2, 3, 4)), (11, (7, 2, 3, 4))]
    assert dataset.annotations[0].extra == {"score": 1, "truncation": 0, "occlusion": 1}
    assert dataset.images[0].extra == {"ignore_regions": [[5, 5, 9, 9]]}
    assert len(dataset.categories) == 11
    assert codes(receipt, "note") == ["ignore-region", "ignore-flag-kept"]
    assert visdrone.detect(tmp_path) == "1 .txt files of VisDrone's eight columns"


def test_wider_face_counts_zeros_and_flags(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    text = "s/a.jpg\n3\n1 2 3 4 0 0 0 1 0 0\n5 5 0 9 0 0 0 0 0 0\n"
    text += "s/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0\ns/gone.jpg\n1\n1 1 2 2\n"
    files(tmp_path, {"wider_face_split/wider_face_val_bbx_gt.txt": text})
    files(tmp_path, {f"WIDER_val/images/s/{name}.jpg": (50, 20) for name in "ab"})
    dataset, receipt = read("wider_face", tmp_path)
    assert [i.file_name for i in dataset.images] == ["s/a.jpg", "s/b.jpg"]
    [face] = dataset.annotations
    assert face.bbox_xywh == (1, 2, 3, 4)
    assert face.extra["invalid"] == 1
    assert codes(receipt, "drop") == ["box-zero-area", "image-missing"]
    assert {"count-differs", "ignore-flag-kept"} <= set(codes(receipt, "note"))
    assert wider_face.subsets(tmp_path) == ()


def test_mot_frames_tracks_and_pixels_from_one(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    info = "[Sequence]\nname=S\nimDir=img1\nimWidth=50\nimHeight=20\nimExt=.jpg\n"
    gt = "1,7,1,1,10,5,1,1,0.5\n3,7,2,1,10,5,0,3,1\n1,8,1,1,10,5,1,99,1\nbad\n"
    files(
        tmp_path,
        {"S/seqinfo.ini": info, "S/gt/gt.txt": gt, "S/img1/000001.jpg": (50, 20), "S/img1/000002.jpg": (50, 20)},
    )
    dataset, receipt = read("mot", tmp_path)
    assert [(i.file_name, i.path is not None) for i in dataset.images] == [
        ("S/img1/000001.jpg", True), ("S/img1/000002.jpg", True), ("S/img1/000003.jpg", False),
    ]  # fmt: skip
    walker, car = dataset.annotations
    assert (walker.bbox_xywh, walker.category_id) == ((0, 0, 10, 5), 1)
    assert walker.extra == {"track_id": 7, "flag": 1, "visibility": 0.5}
    assert (car.category_id, car.extra["flag"]) == (3, 0)
    assert dataset.images[0].extra == {"sequence": "S", "frame": 1}
    assert sorted(codes(receipt, "drop")) == ["class-unknown", "row-malformed"]
    zero, _ = read("mot", tmp_path, origin=0)
    assert zero.annotations[0].bbox_xywh == (1, 1, 10, 5)


def test_mot_of_2015_has_pedestrians_alone_and_splits_are_subsets(tmp_path: Path, files: Files, read: Any) -> None:
    for part in ("train", "test"):
        files(tmp_path, {f"{part}/A/gt/gt.txt": "1,1,2,2,5,5,1,-1,-1,-1\n", f"{part}/A/img1/000001.jpg": (50, 20)})
    assert mot.subsets(tmp_path) == ("test", "train")
    train, _ = read("mot", tmp_path, subset="train")
    assert [(i.id, i.file_name) for i in train.images] == [(2, "train/A/img1/000001.jpg")]
    assert train.annotations[0].category_id == 1
    files(tmp_path, {"train/A/seqinfo.ini": "no section"})
    with pytest.raises(DataError, match=r"seqinfo\.ini: not valid"):
        read("mot", tmp_path)


@pytest.mark.parametrize("place", ["gt/labels.txt", "labels.txt"])
def test_mot_with_a_list_of_other_classes(tmp_path: Path, files: Any, read: Any, place: str) -> None:
    files(tmp_path, {"gt/gt.txt": "1,1,11,21,3,4,1,2,1.0\n1,2,0,0,3,4,1,3,1.0\n", place: "cat\ndog\n"})
    files(tmp_path, {"img1/000001.PNG": (60, 40)})
    dataset, receipt = read("mot", tmp_path)
    assert [(category.id, category.name) for category in dataset.categories] == [(1, "cat"), (2, "dog")]
    [annotation] = dataset.annotations
    assert (annotation.category_id, annotation.bbox_xywh) == (2, (11, 21, 3, 4))
    assert receipt.counts["class-unknown"] == 1
    [shifted] = read("mot", tmp_path, origin=1)[0].annotations
    assert shifted.bbox_xywh == (10, 20, 3, 4)


def test_mot_sequences_that_list_different_classes_are_refused(tmp_path: Path, files: Any, read: Any) -> None:
    for name, listed in (("a", "cat"), ("b", "dog")):
        files(tmp_path / name, {"gt/gt.txt": "1,1,11,21,3,4,1,1,1.0\n", "gt/labels.txt": listed})
    with pytest.raises(DataError, match="list different classes"):
        read("mot", tmp_path)


KITTI = "Car 0 0 -1.5 1 2 11 12 1.5 1.6 3.9 1 1.5 20 0.5\n"
# A set, how to name it wrongly, the subsets, and images with objects.
LEVELS: dict[str, tuple[str, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "dota, from above": (
        "dota", {f"{s}/{n}": v for s in ("train", "val") for n, v in {
            "labelTxt/a.txt": "1 2 11 2 11 12 1 12 ship 0\n", "images/a.png": (40, 30)}.items()},
        ("", "..", "../.."), ("train", "val"),
    ),
    "kitti, splits below": (
        "kitti", {f"{n}": v for s in ("train", "val") for n, v in {
            f"label_2/{s}/a.txt": KITTI, f"image_2/{s}/a.png": (40, 30)}.items()},
        ("", ".."), ("train", "val"),
    ),
    "kitti, one split": (
        "kitti", {f"{n}": v for s in ("train", "val") for n, v in {
            f"label_2/{s}/a.txt": KITTI, f"image_2/{s}/a.png": (40, 30)}.items()},
        ("label_2/val", "label_2/train"), (),
    ),
    "kitti, scenes are no splits": (
        "kitti", {f"{n}": v for s in ("s1", "s2") for n, v in {
            f"label_2/{s}/{s}.txt": KITTI, f"image_2/{s}/{s}.png": (40, 30)}.items()},
        ("", ".."), (),
    ),
    "mot": (
        "mot", {"MOT/train/S/gt/gt.txt": "1,1,1,2,10,10,1,1,1\n", "MOT/train/S/img1/000001.jpg": (40, 30)},
        ("", "..", "MOT", "MOT/train", "MOT/train/S", "MOT/train/S/gt", "MOT/train/S/gt/gt.txt"), (),
    ),
    "wider_face": (
        "wider_face", {"split/wider_face_train_bbx_gt.txt": "0--P/a.jpg\n1\n4 3 12 14 0 0 0 0 0 0 \n",
                       "WIDER_train/images/0--P/a.jpg": (40, 30)},
        ("", "..", "split", "split/wider_face_train_bbx_gt.txt"), (),
    ),
    "oidv4": (
        "oidv4", {f"OID/Dataset/{s}/Cat/{n}": v for s in ("train", "test") for n, v in {
            "Label/a.txt": "Cat 1 2 11 12\n", "a.jpg": (40, 30)}.items()},
        ("", "..", "OID", "OID/Dataset"), ("train", "test"),
    ),
}  # fmt: skip


def test_a_list_of_images_with_a_box_each_is_not_taken_for_labels(tmp_path: Path, files: Files) -> None:
    files(
        tmp_path,
        {"list.txt": "1\nimage_id x_1 y_1 width height\n1.jpg 9 7 20 30\n2.jpg 9 7 20 30\n", "1.jpg": (40, 30)},
    )
    with pytest.raises(DataError, match="not annotations of a known format"):
        detect_format(tmp_path)


@pytest.mark.parametrize("case", LEVELS)
def test_a_folder_too_high_or_too_low_will_do(tmp_path: Path, files: Files, case: str) -> None:
    format, content, named, subsets = LEVELS[case]
    root = files(tmp_path / "above" / "set", content)
    for path in named:
        assert detect_format((root / path).resolve())[0] == format
        source = read_parts((root / path).resolve())
        assert sorted(part.name for part in source.parts if part.name) == sorted(subsets), path
        for part in source.parts:
            assert len(part.dataset.images) == len(part.dataset.annotations) > 0, path
            assert all(image.path is not None for image in part.dataset.images), path
