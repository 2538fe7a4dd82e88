"""YOLO: layouts, rows, what cannot be held, round trips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.formats import ReadSource, detect_format, load_format, yolo
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

ROW = "1 0.5 0.5 0.2 0.4\n"
AB = "names: [a, b]\n"
BOTH = {"images/x.jpg": 0, "labels/x.txt": ROW}
PICTURED = {**BOTH, "images/x.jpg": (100, 50)}
UTF16 = b"\xff\xfe" + f"{AB}train: images\n".encode("utf-16-le")


@pytest.mark.parametrize(
    ("content", "at"),
    [
        ({"data.yaml": AB + "train: images/train\n", "images/train/x.jpg": 0, "labels/train/x.txt": ROW}, ""),
        # Roboflow: relative to a folder that does not exist.
        ({"data.yaml": AB + "train: ../train/images\n", "train/images/x.jpg": 0, "train/labels/x.txt": ROW}, ""),
        ({"data.yaml": "names: {0: a, 1: b}\npath: .\ntrain: images\n", **BOTH}, ""),
        # `path` of another machine, or of the tool's own folder.
        ({"d.yaml": AB + "path: /no/set\ntrain: images\n", **BOTH}, ""),
        ({"d.yaml": AB + "train: /\n", **BOTH}, ""),
        ({"d.yaml": AB + "path: set\ntrain: images\n", "set/images/x.jpg": 0, "set/labels/x.txt": ROW}, ""),
        ({"d.yaml": AB + "train: t.txt\n", "t.txt": "./images/x.jpg\n", **BOTH}, ""),
        ({"d.yaml": AB + "train: [t.txt]\n", "t.txt": "images\\x.jpg\r\n", **BOTH}, ""),
        ({"d.yaml": AB + "train: images\n", **BOTH}, "d.yaml"),
        ({"obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n", "obj.names": "a\nb\n",
          "train.txt": "data/obj_train_data/x.jpg", "obj_train_data/x.jpg": 0, "obj_train_data/x.txt": ROW}, ""),
        ({"classes.txt": "a\nb", "x.jpg": 0, "x.txt": ROW}, ""),
        ({"classes.txt": "a\r\nb\r\n", **BOTH}, ""),
        ({"labels/classes.txt": "a\nb", **BOTH}, ""),
        ({"classes.txt": "a\nb", "x.jpg": 0, "x.txt": ROW}, "classes.txt"),
        ({"labels.txt": "a\nb", "x.jpg": 0, "x.txt": ROW}, ""),
        # Lists of another machine.
        ({"d.yaml": AB + "train: C:\\u\\set\\t.txt\n", "t.txt": "C:\\u\\set\\images\\x.jpg\r\n", **BOTH}, ""),
        ({"d.yaml": AB + "train: /u/set/t.txt\n", "t.txt": "C:\\u\\v\\set\\x.jpg", "x.jpg": 0, "x.txt": ROW}, ""),
        # The folder above.
        ({"d/data.yaml": AB + "train: ../train/images\n", "d/train/images/x.jpg": 0, "d/train/labels/x.txt": ROW}, ""),
        ({"d/classes.txt": "a\nb", "d/images/x.jpg": 0, "d/labels/x.txt": ROW}, ""),
        ({"c/d/data.yaml": AB + "train: images\n", "c/d/images/x.jpg": 0, "c/d/labels/x.txt": ROW}, ""),
        ({"yolo/custom.yaml": AB + "train: ../no/images\n", **BOTH}, ""),
        ({"config/d.yaml": AB + "path: /content/data\ntrain: train/images\n", "train/images/x.jpg": 0,
          "train/labels/x.txt": ROW}, ""),
        # CVAT's names of parts; any case.
        ({"data.yaml": AB + "path: .\nTrain: Train.txt\n", "Train.txt": "data/images/x.jpg\n", **BOTH}, ""),
        ({"data.yaml": AB + "holdout: holdout.txt\n", "holdout.txt": "data/images/x.jpg\n", **BOTH}, ""),
        # Another machine's folder of a split.
        ({"data.yaml": AB + "train: /content/set/train\n", "train/x.jpg": 0, "train/x.txt": ROW}, ""),
        # Folders of other names, where stems tell; a list of images, or notes, beside.
        ({"images/x.jpg": 0, "my_labels/x.txt": ROW, "my_labels/classes.txt": "a\nb\n"}, ""),
        ({"x.names": "a\nb\n", "images.txt": "x.jpg\n" * 9, "setup.txt": "numpy\n", "x.jpg": 0, "x.txt": ROW}, ""),
        # The list of names among the labels.
        ({"images/train/x.jpg": 0, "labels/train/x.txt": ROW, "labels/train/classes.txt": "a\nb\n"}, "labels/train"),
        # A part of a set: its names are above.
        ({"data.yaml": AB + "train: train/images\n", "train/images/x.jpg": 0, "train/labels/x.txt": ROW}, "train"),
        ({"data.yaml": AB + "val: val/images\n", "val/images/x.jpg": 0, "val/labels/x.txt": ROW}, "val/labels"),
        ({"labels/classes.txt": "a\nb", **BOTH}, "labels/classes.txt"),
        ({"classes.txt": "a\nb", "images/train/x.jpg": 0, "labels/train/x.txt": ROW}, "labels/train"),
        ({"data.yaml": AB + "train: images\n", **BOTH}, "labels"),
        ({"classes.txt": "a\nb", "x.jpg": 0, "x.txt": ROW, "y.jpg": 0, "y.txt": ROW}, "x.txt"),
        ({"data.yaml": UTF16, **BOTH}, ""),
        ({"data.yaml": AB + "train: images\n", "images/x.jpg": 0, "labels/x.txt": b"\xef\xbb\xbf" + ROW.encode()}, ""),
    ],
)  # fmt: skip
def test_layouts(tmp_path: Path, read: Any, files: Any, content: dict[str, Any], at: str) -> None:
    files(tmp_path, {name: (100, 50) if value == 0 else value for name, value in content.items()})
    path = tmp_path / at
    assert detect_format(path)[0] == "yolo"
    dataset, receipt = read("yolo", path)
    [image], [annotation] = dataset.images, dataset.annotations
    assert (image.file_name, image.width, image.height) == ("x.jpg", 100, 50)
    assert image.path is not None
    assert dataset.categories == (Category(0, "a"), Category(1, "b"))
    assert annotation.category_id == 1
    assert annotation.bbox_xywh == pytest.approx((40, 15, 20, 20))
    assert annotation.segmentation is None
    assert [event for event in receipt.events if event.code != "text-encoding"] == []


@pytest.mark.parametrize(
    ("row", "kind", "code"),
    [
        ("9 0.5 0.5 0.2 0.4", "drop", "class-unknown"),
        ("-1 0.5 0.5 0.2 0.4", "drop", "class-unknown"),
        ("a 0.5 0.5 0.2 0.4", "drop", "row-malformed"),
        ("1", "drop", "row-malformed"),
        ("1 0.5 0.5 0.2", "drop", "row-malformed"),
        ("1 0.5 nan 0.2 0.4", "drop", "box-not-numeric"),
        ("1 0.5 x 0.2 0.4", "drop", "box-not-numeric"),
        ("1 0.5 1e300 0.2 0.4", "drop", "box-not-numeric"),
        ("1 0.5 0.5 -0.2 0.4", "drop", "box-inverted"),
        ("1 0.5 0.5 0 0.4", "drop", "box-zero-area"),
        ("1 1.5 0.5 0.2 0.4", "drop", "box-outside"),
        ("1 0.95 0.5 0.2 0.4", "repair", "box-clipped"),
        ("1 0.1 0.1 0.1 inf 0.2 0.2", "drop", "mask-degenerate"),
        ("1 0.5 0.5 1.5 0.5 0.5 0.9", "repair", "mask-clipped"),
        ("1 1.5 0.5 1.6 0.5 1.5 0.9", "drop", "box-outside"),
        ("1 0.1 0.1 0.9 0.9 0.5 0.5", None, ""),
        ("1 0.1 0.1 0.9 0.1 0.5 0.5 0.7", "note", "score-ignored"),
        ("1.0 0.5 0.5 0.2 0.3 0.9", "note", "score-ignored"),
        ("1 0.5 0.5 1.0000005 0.4", None, ""),
    ],
)  # fmt: skip
def test_rows(tmp_path: Path, read: Any, files: Any, codes: Any, row: str, kind: str | None, code: str) -> None:
    files(tmp_path, {"classes.txt": "a\nb", "x.jpg": (100, 50), "x.txt": f"{ROW}\n{row}\n"})
    dataset, receipt = read("yolo", tmp_path)
    assert [code] == codes(receipt, kind) if kind else receipt.events == []
    assert len(dataset.annotations) == (1 if kind == "drop" else 2)
    if kind in {"drop", "repair"}:
        assert receipt.events[0].where == "x.txt line 3"
    for annotation in dataset.annotations:
        x, y, w, h = annotation.bbox_xywh
        assert x >= 0
        assert y >= 0
        assert x + w <= 100
        assert y + h <= 50


def test_parts_of_one_name_stay_apart_and_are_numbered_through(tmp_path: Path, read: Any, files: Any) -> None:
    files(
        tmp_path,
        {
            "data.yaml": AB + "train: [one/images, two/images]\nval: three/images\ntest: gone/images\n",
            "one/images/1.jpg": (10, 10), "one/labels/1.txt": ROW,
            "two/images/1.jpg": (20, 20), "two/labels/1.txt": ROW + ROW,
            "three/images/1.jpg": (30, 30), "three/labels/1.txt": "",
        },
    )  # fmt: skip
    assert yolo.subsets(tmp_path) == ("train", "val")
    train, receipt = read("yolo", tmp_path, subset="train")
    assert [(i.id, i.file_name, i.width) for i in train.images] == [
        (1, "one/images/1.jpg", 10),
        (2, "two/images/1.jpg", 20),
    ]
    assert [a.image_id for a in train.annotations] == [1, 2, 2]
    assert {event.code for event in receipt.events} == {"part-missing", "object-doubled"}
    val, _ = read("yolo", tmp_path, subset="val")
    assert [(i.id, i.file_name) for i in val.images] == [(3, "1.jpg")]
    assert len(read("yolo", tmp_path)[0].images) == 3
    for subset, message in (("vall", "allowed: train, val; did you mean 'val'"), ("test", "gone/images was not found")):
        with pytest.raises(DataError, match=message):
            read("yolo", tmp_path, subset=subset)


def test_images_that_are_missing_or_unlabelled_are_named(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    content = {"classes.txt": "a\nb", "images/x.jpg": (9, 9), "labels/y.txt": ROW, "labels/x.txt": ROW}
    files(tmp_path, content | {"images/z.jpg": (9, 9), "images/w.jpg": b"no image", "labels/w.txt": ROW})
    dataset, receipt = read("yolo", tmp_path)
    assert [i.file_name for i in dataset.images] == ["x.jpg", "z.jpg"]
    assert sorted(codes(receipt, "drop")) == ["image-missing", "image-unreadable"]
    assert receipt.classes_dropped == {"b": 2}
    assert "1 of 4, the first: z.jpg" in next(e.detail for e in receipt.events if e.code == "label-missing")
    with pytest.raises(DataError, match=r"none of its 1 images has a known size.*give the folder of the images"):
        read("yolo", files(tmp_path / "none", {"classes.txt": "a\nb", "labels/y.txt": ROW}))
    given = files(tmp_path / "else", {"y.jpg": (9, 9)})
    assert len(read("yolo", tmp_path / "none", images=given)[0].annotations) == 1


def test_without_a_list_of_names_classes_are_numbered(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    files(tmp_path, {"images/x.jpg": (9, 9), "labels/x.txt": ROW})
    assert detect_format(tmp_path)[0] == "yolo"
    dataset, receipt = read("yolo", tmp_path)
    assert [c.name for c in dataset.categories] == ["class_0", "class_1"]
    assert codes(receipt, "note") == ["class-assumed"]


def test_keypoints_are_left_out(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    head = AB + "train: images\nkpt_shape: [1, 3]\n"
    files(tmp_path, {"d.yaml": head, "images/x.jpg": (100, 50), "labels/x.txt": "1 0.5 0.5 0.2 0.4 0.5 0.5 2"})
    dataset, receipt = read("yolo", tmp_path)
    assert dataset.annotations[0].bbox_xywh == pytest.approx((40, 15, 20, 20))
    assert codes(receipt, "note") == ["keypoints-lost"]


POSE = "1 0.5 0.5 0.2 0.4 0.45 0.5 2 0.55 0.6 1 0 0 0"


@pytest.mark.parametrize(
    ("rows", "poses"),
    [
        ([POSE, POSE], True),
        (["1 0.5 0.5 0.2 0.4 0.5 0.5 2"], True),
        ([POSE, "1 0.1 0.1 0.2 0.1 0.2 0.2"], False),  # of several lengths
        (["1 0.1 0.1 0.9 0.1 0.9 0.9 1 0.9 0.1 0.9 0.1 0"], False),  # the third coordinates are no corners of a pose
        (["1 0.5 0.5 0.2 0.4 0 0 0"], False),  # nothing is visible
        (["1 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4"], False),
    ],
)
def test_poses_are_told_without_a_file_that_says_so(
    tmp_path: Path, read: Any, files: Any, codes: Any, rows: list[str], poses: bool
) -> None:
    files(tmp_path, {"classes.txt": "a\nb", "x.jpg": (100, 50), "x.txt": "\n".join(rows)})
    dataset, receipt = read("yolo", tmp_path)
    assert ("keypoints-lost" in receipt.counts) is poses
    if poses:
        assert all(a.bbox_xywh == pytest.approx((40, 15, 20, 20)) for a in dataset.annotations)
        assert all(a.segmentation is None for a in dataset.annotations)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a\ntrain: x", r"data\.yaml: not valid YAML"),
        ("- a", "must hold keys"),
        ("names: {x: a}\ntrain: y", "names: must be a list"),
        ("names: [a]", "none of its 1 images"),
    ],
)
def test_malformed_yaml_is_one_line(tmp_path: Path, files: Any, text: str, message: str) -> None:
    files(tmp_path, {"data.yaml": text, "classes.txt": "a", "x.txt": ROW})
    for path in (tmp_path, tmp_path / "data.yaml"):
        with pytest.raises(DataError, match=message) as caught:
            yolo.read(ReadSource(path), Receipt())
        assert "\n" not in str(caught.value)


def test_a_round_trip_of_boxes_keeps_them(tmp_path: Path, read: Any, objects: Any, awkward: Dataset) -> None:
    boxes = tuple(a for a in awkward.annotations if a.segmentation is None)
    before = Dataset(awkward.images, boxes, awkward.categories)
    receipt = Receipt()
    written = yolo.write(before, tmp_path / "out", receipt)
    assert [f.relative_to(tmp_path / "out").as_posix() for f in written] == [
        "data.yaml", "train.txt", "labels/a.txt", "labels/sub/a.txt", "labels/e.txt",
    ]  # fmt: skip
    assert {e.code for e in receipt.events} == {"attributes-lost", "images-not-written"}
    pictures(tmp_path / "out" / "images", before)
    after, _ = read("yolo", tmp_path / "out")
    assert objects(after) == objects(before)
    assert [i.file_name for i in after.images] == [i.file_name for i in before.images]
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["names"] == {
        0: '<cow> & calf, "big"',
        1: "ant: é",
    }
    assert yolo.subsets(tmp_path / "out") == ()


def pictures(folder: Path, dataset: Dataset) -> None:
    from PIL import Image as Pillow

    for image in dataset.images:
        (folder / image.file_name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("L", (image.width, image.height)).save(folder / image.file_name)


def test_a_round_trip_of_masks_keeps_what_one_polygon_can_say(
    tmp_path: Path, read: Any, overlap: Any, codes: Any, awkward: Dataset
) -> None:
    receipt = Receipt()
    yolo.write(awkward, tmp_path / "out", receipt)
    assert codes(receipt, "repair") == ["box-as-polygon", "parts-bridged", "holes-filled", "box-as-polygon"]
    bridged = next(e for e in receipt.events if e.code == "parts-bridged")
    assert float(bridged.detail.split("IoU ")[1]) > 0.95
    pictures(tmp_path / "pictures", awkward)
    after, _ = read("yolo", tmp_path / "out", images=tmp_path / "pictures")
    assert [len(a.segmentation) for a in after.annotations] == [1, 1, 2, 1, 1]
    for a, b in zip(awkward.annotations[1:4], after.annotations[1:4], strict=True):
        assert overlap(a, b, awkward.images[0]) > 0.9
        assert np.allclose(a.bbox_xywh, b.bbox_xywh, atol=1e-6)


def test_images_of_one_stem_must_be_renamed_and_the_receipt_says_how(tmp_path: Path, codes: Any) -> None:
    images = tuple(Image(i, name, 9, 9) for i, name in enumerate(["a.jpg", "a.png", "/abs/b.jpg", "../c.jpg"]))
    receipt = Receipt()
    dataset = Dataset(images, (Annotation(1, 0, 0, (-1, 0, 5, 5), 25),), (Category(0, "x"),))
    written = yolo.write(dataset, tmp_path / "out", receipt)
    assert codes(receipt, "repair") == ["box-clipped", "image-renamed", "image-renamed", "image-renamed"]
    assert len(set(written)) == 6
    assert all(f.resolve().is_relative_to(tmp_path / "out") for f in written)
    assert (tmp_path / "out" / "train.txt").read_text().split() == [
        "./images/a.jpg", "./images/a.png.png", "./images/b.jpg", "./images/c.jpg",
    ]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize(("folder", "images", "boxes"), [("yolo", 4, 25), ("yolo1.1", 4, 18), ("phones", 2, 10)])
def test_real_sets(
    real_data: Path, tmp_path: Path, read: Any, objects: Any, folder: str, images: int, boxes: int
) -> None:
    path = real_data / "one_set_nine_formats" / folder
    assert detect_format(path)[0] == "yolo"
    before, receipt = read("yolo", path)
    assert (len(before.images), len(before.annotations)) == (images, boxes)
    assert receipt.events == []
    yolo.write(before, tmp_path, Receipt())
    found = next(image.path.parent for image in before.images if image.path)
    after = yolo.read(ReadSource(tmp_path, images=found), Receipt())
    assert objects(after) == objects(before)
    assert after.categories == before.categories


def test_a_list_that_names_the_root_of_the_file_system_is_survived(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [a]\n")
    (tmp_path / "train.txt").write_text("/\n./\n")
    assert yolo.subsets(tmp_path) in {(), ("train",)}


def test_parts_that_a_bridge_joins_are_parts_again(tmp_path: Path, read: Any, files: Any) -> None:
    joined = "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 0.1 0.1 0.6 0.6 0.8 0.6 0.8 0.8 0.6 0.8 0.6 0.6\n"
    files(tmp_path, {"classes.txt": "cat\n", "images/a.png": (100, 100), "labels/a.txt": joined})
    dataset, receipt = read("yolo", tmp_path)
    assert [len(annotation.segmentation) for annotation in dataset.annotations] == [2]
    assert [event.code for event in receipt.events] == ["parts-split"]
    assert dataset.annotations[0].area == 800


LAYOUTS = ["{split}/images/a.png {split}/labels/a.txt", "images/{split}/a.png labels/{split}/a.txt"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_of_splits_without_a_file_that_describes_them(
    tmp_path: Path, read: Any, files: Any, layout: str
) -> None:
    for split in ("train", "valid"):
        image, label = layout.format(split=split).split()
        files(tmp_path, {image: (100, 100), label: "1 0.5 0.5 0.2 0.2\n"})
    assert detect_format(tmp_path)[0] == "yolo"
    assert load_format("yolo").subsets(tmp_path) == ("train", "valid")
    for split in ("train", "valid"):
        dataset, _ = read("yolo", tmp_path, subset=split)
        (image,) = dataset.images
        assert image.path.as_posix().endswith(f"/{image.file_name}")
        assert image.file_name.startswith(f"{split}/")
        assert len(dataset.annotations) == 1


def test_one_folder_of_images_and_labels_needs_no_list_of_names(tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"a.png": (100, 100), "a.txt": "1 0.5 0.5 0.2 0.2\n"})
    assert detect_format(tmp_path)[0] == "yolo"
    assert [category.name for category in read("yolo", tmp_path)[0].categories] == ["class_0", "class_1"]
    files(tmp_path, {"b.txt": "1 0.5 0.5 0.2 0.2\n"})  # of no image
    with pytest.raises(DataError, match="not annotations of a known format"):
        detect_format(tmp_path)


def test_names_of_roboflow_s_darknet_export(tmp_path: Path, read: Any, files: Any) -> None:
    for split in ("train", "valid"):
        content = {"_darknet.labels": "cat\ndog\n", "a.png": (100, 100), "a.txt": "1 0.5 0.5 0.2 0.2\n"}
        files(tmp_path / split, content)
    files(tmp_path, {"README.roboflow.txt": "made with care\n"})
    assert detect_format(tmp_path)[0] == "yolo"
    dataset, _ = read("yolo", tmp_path, subset="valid")
    assert [category.name for category in dataset.categories] == ["cat", "dog"]


def test_names_are_texts_whatever_yaml_makes_of_them(tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"data.yaml": "train: images\nval: ~\nnames: [no, 1.50, 2024-01-01, 007]\n", **PICTURED})
    dataset, _ = read("yolo", tmp_path)
    assert [category.name for category in dataset.categories] == ["no", "1.50", "2024-01-01", "007"]


def test_names_that_repeat_themselves_without_end_are_refused(tmp_path: Path, files: Any) -> None:
    many = "".join(f"l{i + 1}: &l{i + 1} [{', '.join([f'*l{i}'] * 9)}]\n" for i in range(12))
    files(tmp_path, {"data.yaml": f"l0: &l0 [x, x]\n{many}train: images\nnames: *l12\n", **PICTURED})
    with pytest.raises(DataError, match="an alias of a list"):
        yolo.read(ReadSource(tmp_path), Receipt())


def test_a_broken_row_does_not_hide_the_format(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    files(tmp_path, {"classes.txt": "a\nb", "x.jpg": (100, 50), "x.txt": f"{ROW * 3}1 nan 0.5 0.1 0.1\n-1 0 0 0 0\n"})
    assert detect_format(tmp_path)[0] == "yolo"
    dataset, receipt = read("yolo", tmp_path)
    assert len(dataset.annotations) == 3
    assert codes(receipt, "drop") == ["box-not-numeric", "class-unknown"]


def test_a_stated_number_of_classes_counts_where_none_is_named(tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"data.yaml": "train: images\nnc: 3\n", "images/x.jpg": (100, 50), "labels/x.txt": ROW})
    dataset, _ = read("yolo", tmp_path)
    assert dataset.categories == tuple(Category(i, f"class_{i}") for i in range(3))


def test_a_data_yaml_beside_labels_of_another_format_is_not_yolo(tmp_path: Path, files: Any) -> None:
    line = "10 20 30 20 30 40 10 40 a 0\n"
    sets = {
        f"{s}/{k}": v for s in ("train", "valid") for k, v in {"images/x.jpg": (9, 9), "labelTxt/x.txt": line}.items()
    }
    files(tmp_path, {"data.yaml": f"{AB}train: ../train/images\nval: ../valid/images\n", **sets})
    assert detect_format(tmp_path)[0] == "dota"


@pytest.mark.parametrize(
    "content",
    [{"classes.txt": "a\nb\n"}, {}, {"data.yaml": AB + "train: images\n"}],
    ids=["with a list of names", "without", "with a data.yaml"],
)
def test_a_set_of_backgrounds_alone_is_told_by_its_empty_files(
    tmp_path: Path, read: Any, files: Any, content: dict[str, Any]
) -> None:
    files(
        tmp_path, {**content, "images/x.jpg": (9, 9), "labels/x.txt": "", "images/y.jpg": (9, 9), "labels/y.txt": "\n"}
    )
    assert detect_format(tmp_path)[0] == "yolo"
    dataset, _ = read("yolo", tmp_path)
    assert len(dataset.images) == 2
    assert not dataset.annotations


def test_empty_texts_without_images_are_no_labels(tmp_path: Path, files: Any) -> None:
    files(tmp_path, {"classes.txt": "a\nb\n", "x.txt": "", "y/z.jpg": (9, 9)})
    with pytest.raises(DataError, match="not annotations of a known format"):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("one/d.yaml", "two/d.yaml"), "holds several YOLO sets: .*one/d.yaml, .*two/d.yaml; name one, or merge them"),
        (("one.yaml", "two.yaml"), "several files describe a YOLO set: one.yaml, two.yaml; name one"),
    ],
)
def test_several_sets_in_a_folder_are_not_added_up(
    tmp_path: Path, files: Any, names: tuple[str, ...], message: str
) -> None:
    for part in ("one", "two"):
        files(tmp_path, {f"{part}/images/x.jpg": (9, 9), f"{part}/labels/x.txt": ROW})
    files(tmp_path, dict.fromkeys(names, AB + "train: images\n"))
    with pytest.raises(DataError, match=message):
        detect_format(tmp_path)


def test_labels_behind_many_empty_ones_tell_the_format(tmp_path: Path, files: Any) -> None:
    files(tmp_path, {f"{i:03}.jpg": (9, 9) for i in range(50)} | {f"{i:03}.txt": ROW * (i > 40) for i in range(50)})
    assert "rows of a class" in detect_format(tmp_path)[1]


def test_two_parts_that_lead_to_one_folder_are_read_once(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    files(tmp_path, {"data.yaml": AB + "train: ../train/images\nval: ../valid/images\n", **PICTURED})
    dataset, receipt = read("yolo", tmp_path)
    assert yolo.subsets(tmp_path) == ()
    assert len(dataset.images) == 1
    assert codes(receipt, "note") == ["part-missing"]


def test_a_data_file_without_its_lists_is_read_as_a_folder(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    data = "classes = 2\ntrain = data/train.txt\nvalid = data/test.txt\nnames = data/obj.names\n"
    files(
        tmp_path, {"data/obj.data": data, "data/obj.names": "a\nb\n", "data/obj/x.jpg": (9, 9), "data/obj/x.txt": ROW}
    )
    dataset, receipt = read("yolo", tmp_path)
    assert (len(dataset.images), [c.name for c in dataset.categories]) == (1, ["a", "b"])
    assert codes(receipt, "note") == ["part-missing", "part-missing"]


def test_lists_of_names_in_splits_must_agree(tmp_path: Path, read: Any, files: Any) -> None:
    for names, expected in (("a\n", "ab"), ("b\na\n", None)):
        content = {"train/x.jpg": (9, 9), "train/x.txt": ROW, "train/classes.txt": "a\nb\n", "val/classes.txt": names}
        files(tmp_path, content | {"val/y.jpg": (9, 9), "val/y.txt": ROW.replace("1", "0", 1)})
        if expected is None:
            with pytest.raises(DataError, match="number the classes differently; read the splits one by one"):
                read("yolo", tmp_path)
        else:
            assert [c.name for c in read("yolo", tmp_path)[0].categories] == list(expected)
