"""Mask images: layouts, exactness, and what is wrong with single files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Dataset, Rle
from cvtune.data.formats import ReadSource, cityscapes, detect_format, load_format, masks
from cvtune.data.formats.mask_images import read_values
from cvtune.data.geometry import rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError


def save(path: Path, values: Any, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Pillow.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path)


def disc(width: int = 20, height: int = 10, value: int = 255) -> np.ndarray:
    values = np.zeros((height, width), np.uint8)
    values[2:6, 3:9] = value
    return values


def read(path: Path, module: Any = masks, **options: Any) -> tuple[Dataset, Receipt]:
    receipt = Receipt()
    dataset = module.read(ReadSource(path, **options), receipt)
    names = {c.id: c.name for c in dataset.categories}
    receipt.count_out(len(dataset.images), Counter(names[a.category_id] for a in dataset.annotations))
    receipt.check_sums()
    return dataset, receipt


def drops(receipt: Receipt) -> list[tuple[str, str]]:
    return [(e.code, e.where) for e in receipt.events if e.kind == "drop"]


def test_masks_are_exact_with_holes(tmp_path: Path) -> None:
    values = disc()
    values[3, 5] = 0
    save(tmp_path / "i" / "images" / "i.png", np.zeros((10, 20, 3), np.uint8))
    save(tmp_path / "i" / "masks" / "m.png", values)
    dataset, _ = read(tmp_path)
    [annotation] = dataset.annotations
    assert isinstance(annotation.segmentation, Rle)
    assert np.array_equal(rle_to_mask(annotation.segmentation), values > 0)
    assert (annotation.bbox_xywh, annotation.area) == ((3, 2, 6, 4), 23)
    assert dataset.images[0].file_name == "i/images/i.png"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (np.zeros((10, 20), np.uint8), "mask-empty"),
        (disc(19, 10), "mask-size-differs"),
        (disc(10, 20), "mask-size-differs"),
        (b"\x89PNG\r\n\x1a\n broken", "mask-invalid"),
        (b"", "mask-invalid"),
        (np.zeros((10, 20), np.float32), "mask-invalid"),
    ],
)
def test_bad_masks_are_dropped_by_file(tmp_path: Path, values: Any, code: str) -> None:
    save(tmp_path / "i" / "images" / "i.png", np.zeros((10, 20, 3), np.uint8))
    save(tmp_path / "i" / "masks" / "a.png", disc())
    bad = tmp_path / "i" / "masks" / ("b.tif" if getattr(values, "dtype", None) == np.float32 else "b.png")
    bad.write_bytes(values) if isinstance(values, bytes) else save(bad, values)
    dataset, receipt = read(tmp_path)
    assert len(dataset.annotations) == 1
    assert drops(receipt) == [(code, f"i/masks/{bad.name}")]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_any_mode_of_pixels(tmp_path: Path, mode: str) -> None:
    save(tmp_path / "i" / "images" / "i.png", np.zeros((10, 20, 3), np.uint8))
    values = disc().astype(np.uint16) * 200 if mode == "I;16" else disc()
    save(tmp_path / "i" / "masks" / "a.png", values, None if mode == "I;16" else mode)
    dataset, _ = read(tmp_path)
    assert dataset.annotations[0].area == 24


def test_overlap_is_said_and_kept_and_grey_edges_are_cut(tmp_path: Path) -> None:
    save(tmp_path / "i" / "images" / "i.png", np.zeros((10, 20, 3), np.uint8))
    save(tmp_path / "i" / "masks" / "a.png", disc())
    grey = disc()
    grey[6, 3:9] = (10, 60, 100, 130, 200, 250)
    save(tmp_path / "i" / "masks" / "b.png", grey)
    dataset, receipt = read(tmp_path)
    assert [a.area for a in dataset.annotations] == [24, 27]
    details = {e.code: e.detail for e in receipt.events}
    assert details["masks-overlap"] == "24 pixels belong to several of its 2 masks"
    assert details["mask-thresholded"].startswith("8 values up to 255")


def test_an_image_without_masks_and_masks_without_an_image(tmp_path: Path) -> None:
    save(tmp_path / "a" / "images" / "a.png", np.zeros((10, 20, 3), np.uint8))
    (tmp_path / "a" / "masks").mkdir()
    save(tmp_path / "b" / "masks" / "1.png", disc())
    dataset, receipt = read(tmp_path)
    assert [(i.file_name, i.width, i.height, i.path is None) for i in dataset.images] == [
        ("a/images/a.png", 20, 10, False),
        ("b/images/b.png", 20, 10, True),
    ]
    assert [e.detail for e in receipt.events if e.code == "image-missing"] == ["1 of 2, the first: b/images/b.png"]


def test_folders_are_classes_and_splits_subsets(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        save(tmp_path / split / name / "images" / "x.png", np.zeros((10, 20, 3), np.uint8))
        save(tmp_path / split / name / "masks" / f"kind {name}" / "1.png", disc())
    assert masks.subsets(tmp_path) == ("train", "val")
    val, receipt = read(tmp_path, subset="val")
    assert [(i.id, i.file_name) for i in val.images] == [(3, "val/c/images/x.png")]
    assert [c.name for c in val.categories] == ["kind a", "kind b", "kind c"]
    assert "class-assumed" not in receipt.counts
    with pytest.raises(DataError, match="no subset 'vla'; allowed: train, val; did you mean 'val'"):
        read(tmp_path, subset="vla")


@pytest.mark.parametrize(("dtype", "mode"), [(np.uint8, None), (np.uint8, "P"), (np.uint16, None)])
def test_a_mask_of_ids_an_image(tmp_path: Path, dtype: Any, mode: str | None) -> None:
    values = np.zeros((10, 20), dtype)
    values[1:3, 1:4], values[5:9, 10:14] = 1, 7
    save(tmp_path / "images" / "a.jpg", np.zeros((10, 20, 3), np.uint8))
    image = Pillow.fromarray(values)
    if mode:
        image = Pillow.frombytes("P", image.size, values.tobytes())
        image.putpalette([i // 3 for i in range(768)])
    (tmp_path / "masks").mkdir()
    image.save(tmp_path / "masks" / "a_mask.png")
    dataset, receipt = read(tmp_path)
    assert [a.area for a in dataset.annotations] == [6, 16]
    assert dataset.images[0].file_name == "a.jpg"
    assert "mask-values" in receipt.counts


def test_the_border_of_voc_is_no_object(tmp_path: Path) -> None:
    values = disc(value=1)
    values[6, 3:9], values[8, 0] = 255, 2
    save(tmp_path / "images" / "a.png", np.zeros((10, 20, 3), np.uint8))
    save(tmp_path / "masks" / "a.png", values)
    dataset, receipt = read(tmp_path)
    assert [a.area for a in dataset.annotations] == [24, 1]
    assert receipt.counts["mask-void"] == 1


def test_colours_are_values(tmp_path: Path) -> None:
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[0, 0], colours[1, 1] = (1, 2, 3), (7, 7, 7)
    save(tmp_path / "m.png", colours)
    assert sorted(np.unique(read_values(tmp_path / "m.png")).tolist()) == [0, 0x010203, 0x070707]


def test_same_names_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    for n, name in enumerate(("a", "b"), start=1):
        save(tmp_path / name / "images" / "same.png", np.zeros((10 * n, 20, 3), np.uint8))
        save(tmp_path / name / "masks" / "same1.png", disc(20, 10 * n))
    dataset, _ = read(tmp_path)
    assert [(i.path, i.height) for i in dataset.images] == [
        (tmp_path / "a" / "images" / "same.png", 10),
        (tmp_path / "b" / "images" / "same.png", 20),
    ]


def test_cityscapes_classes_crowds_and_surfaces(tmp_path: Path) -> None:
    values = np.full((10, 20), 7, np.uint16)
    values[0:2, 0:3], values[3:5, 0:3], values[6:8, 0:3] = 24000, 24001, 26
    save(tmp_path / "gtFine/val/x/x_1_2_gtFine_instanceIds.png", values)
    save(tmp_path / "leftImg8bit/val/x/x_1_2_leftImg8bit.png", np.zeros((10, 20, 3), np.uint8))
    dataset, receipt = read(tmp_path, cityscapes)
    assert [(a.category_id, a.iscrowd, a.bbox_xywh) for a in dataset.annotations] == [
        (26, True, (0, 6, 3, 2)),
        (24, False, (0, 0, 3, 2)),
        (24, False, (0, 3, 3, 2)),
    ]
    assert dataset.images[0].file_name == "leftImg8bit/val/x/x_1_2_leftImg8bit.png"
    assert dataset.images[0].path is not None
    assert receipt.counts["surfaces-not-read"] == 1


def test_cityscapes_polygons_are_painted_as_its_makers_do(tmp_path: Path) -> None:
    square = [[0, 0], [6, 0], [6, 6], [0, 6]]
    objects = [
        {"label": "car", "polygon": square},
        {"label": "bus", "polygon": [[8, 0], [10, 0], [10, 2], [8, 2]]},
        {"label": "person", "polygon": [[3, 0], [20, 0], [20, 6], [3, 6]]},
        {"label": "car", "polygon": square, "deleted": 1},
        {"label": "license plate", "polygon": [[15, 0], [17, 0], [17, 2], [15, 2]]},
        {"label": "sky", "polygon": [[0, 8], [2, 8], [2, 9]]},
        {"label": "rickshaw", "polygon": [[5, 8], [7, 8], [7, 9]]},
        {"label": "sky", "polygon": [[0, float("inf")], [2, 8], [2, 9]]},
    ]
    folder = tmp_path / "gtFine/train/x"
    folder.mkdir(parents=True)
    record = {"imgHeight": 10, "imgWidth": 20, "objects": objects}
    (folder / "x_1_2_gtFine_polygons.json").write_text(json.dumps(record))
    dataset, receipt = read(tmp_path, cityscapes)
    names = {c.id: c.name for c in dataset.categories}
    assert [(names[a.category_id], a.area) for a in dataset.annotations] == [("person", 17 * 7), ("car", 21)]
    assert [code for code, _ in drops(receipt)] == ["mask-hidden"]
    assert receipt.classes_in["bus"] == 1
    said = {event.code: event.detail for event in receipt.events if event.kind == "note"}
    assert said["surfaces-not-read"] == "2 regions: sky 2"
    assert said["class-unknown"].endswith("left out: rickshaw 1")


@pytest.mark.real
def test_nuclei(real_data: Path) -> None:
    dataset, receipt = read(real_data / "nuclei")
    assert (len(dataset.images), len(dataset.annotations)) == (98, 2375)
    assert receipt.counts["masks-overlap"] == 3
    assert all(image.path is not None for image in dataset.images)
    image = dataset.images[0]
    assert image.path is not None
    files = sorted((image.path.parent.parent / "masks").glob("*.png"))
    own = [a for a in dataset.annotations if a.image_id == image.id]
    for file, annotation in zip(files, own, strict=True):
        assert isinstance(annotation.segmentation, Rle)
        assert np.array_equal(rle_to_mask(annotation.segmentation), np.asarray(Pillow.open(file)) > 0)


@pytest.mark.parametrize(
    "layout", ["{split}/images {split}/masks", "images/{split} masks/{split}", "{split}_images {split}_masks"]
)
def test_folders_of_splits(tmp_path: Path, read: Any, layout: str) -> None:
    for split, side in (("train", 6), ("val", 9)):
        images, masks = (tmp_path / part for part in layout.format(split=split).split())
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        values = np.zeros((40, 60), np.uint8)
        values[3 : 3 + side, 4 : 4 + side] = 1
        values[20:30, 20:30] = 2
        Pillow.new("RGB", (60, 40), (90, 120, 60)).save(images / "a.jpg")
        Pillow.fromarray(values).save(masks / "a.png")
    assert detect_format(tmp_path)[0] == "masks"
    assert load_format("masks").subsets(tmp_path) == ("train", "val")
    for split, side in (("train", 6), ("val", 9)):
        dataset, _ = read("masks", tmp_path, subset=split)
        assert [image.file_name for image in dataset.images] == [f"{split}/a.jpg"]
        assert [annotation.area for annotation in dataset.annotations] == [side * side, 100]
    assert len({annotation.image_id for annotation in read("masks", tmp_path)[0].annotations}) == 2


def two() -> np.ndarray:
    """Values 1 and 2, of 24 and 12 pixels."""
    values = disc(value=1)
    values[7:9, 12:18] = 2
    return values


# Layout -> (file of a mask -> its values, the images, the objects as (class, pixels)).
LAYOUTS: dict[str, tuple[dict[str, np.ndarray], tuple[str, ...], list[tuple[str, int]]]] = {
    "Penn-Fudan": (
        {"PedMasks/a_mask.png": two(), "PedMasks/b_mask.png": disc(value=1)},
        ("PNGImages/a.png", "PNGImages/b.png"),
        [("object", 24), ("object", 12), ("object", 24)],
    ),
    "images and labels": ({"labels/a.png": two()}, ("images/a.jpg",), [("object", 24), ("object", 12)]),
    "images and annotations": ({"annotations/a.png": two()}, ("img/a.jpg",), [("object", 24), ("object", 12)]),
    "annotations of splits": (
        {"annotations/training/a.png": two(), "annotations/validation/b.png": disc(value=1)},
        ("images/training/a.jpg", "images/validation/b.jpg"),
        [("object", 24), ("object", 12), ("object", 24)],
    ),
    "train and train_masks": ({"train_masks/a_mask.gif": disc()}, ("train/a.jpg",), [("object", 24)]),
    "a folder an image": (
        {"a/mask_0.png": disc(), "a/mask_1.png": two(), "b/mask_0.png": disc()},
        ("a/a.jpg", "b/photo.jpg"),
        [("object", 24), ("object", 36), ("object", 24)],
    ),
    "a folder beside each image": (
        {"a/0.png": disc(), "b/cat/0.png": disc()},
        ("a.jpg", "b.jpg"),
        [("object", 24), ("cat", 24)],
    ),
    "a mask beside each image": (
        {"a_mask.png": disc(), "b-mask.png": disc()},
        ("a.jpg", "b.jpg"),
        [("object", 24)] * 2,
    ),
    "splits of masks beside images": (
        {"train/a_mask.png": disc(), "valid/a_mask.png": disc()},
        ("train/a.jpg", "valid/a.jpg"),
        [("object", 24)] * 2,
    ),
    "several masks beside an image, in folders of kinds": (
        {
            "set/benign/a (1)_mask.png": disc(),
            "set/benign/a (1)_mask_1.png": disc(),
            "set/normal/b_mask.png": np.zeros((10, 20), np.uint8),
        },
        ("set/benign/a (1).png", "set/normal/b.png"),
        [("object", 24)] * 2,
    ),
    "images that say it": (
        {"A1/p_label.png": two(), "A1/q_label.png": disc(value=1)},
        ("A1/p_rgb.png", "A1/q_rgb.png"),
        [("object", 24), ("object", 12), ("object", 24)],
    ),
    "input and ground truth": (
        {"Task1_Training_GroundTruth/a_segmentation.png": disc()},
        ("Task1-2_Training_Input/a.jpg",),
        [("object", 24)],
    ),
    "folders of classes": (
        {"masks/cat/a.png": two(), "masks/dog/a.png": disc(), "masks/dog/b.png": disc()},
        ("images/a.jpg", "images/b.jpg"),
        [("cat", 24), ("cat", 12), ("dog", 24), ("dog", 24)],
    ),
}


@pytest.mark.parametrize(("files", "images", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path: Path, files: Any, images: Any, expected: Any) -> None:
    for name, values in files.items():
        save(tmp_path / name, values)
    for name in images:
        save(tmp_path / name, np.zeros((10, 20, 3), np.uint8))
    assert detect_format(tmp_path)[0] == "masks"
    dataset, receipt = read(tmp_path)
    names = {c.id: c.name for c in dataset.categories}
    assert [(names[a.category_id], a.area) for a in dataset.annotations] == expected
    assert {i.path for i in dataset.images} == {tmp_path / name for name in images}
    assert ("class-assumed" in receipt.counts) == (set(names.values()) == {"object"})
    splits = {name.rsplit("/", 1)[0].rsplit("/", 1)[-1] for name in images}
    assert masks.subsets(tmp_path) == (tuple(sorted(splits)) if splits & {"valid", "validation"} else ())


@pytest.mark.parametrize(
    "names",
    [
        ("train/_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, dog\n"),
        ("classes.txt", "background\ncat\ndog\n"),
        ("labels.txt", "__ignore__\n_background_\ncat\ndog\n"),
    ],
)
def test_values_with_names_are_classes_and_their_parts_objects(tmp_path: Path, names: tuple[str, str]) -> None:
    values = two()
    values[0, 0], values[9, 19], values[9, 0] = 1, 9, 255
    save(tmp_path / "train" / "a_mask.png", values)
    save(tmp_path / "train" / "a.jpg", np.zeros((10, 20, 3), np.uint8))
    (tmp_path / names[0]).write_text(names[1])
    dataset, receipt = read(tmp_path)
    listed = {c.id: c.name for c in dataset.categories}
    assert listed == {1: "cat", 2: "dog"}
    assert [(listed[a.category_id], a.area, a.bbox_xywh) for a in dataset.annotations] == [
        ("cat", 1, (0, 0, 1, 1)),
        ("cat", 24, (3, 2, 6, 4)),
        ("dog", 12, (12, 7, 6, 2)),
    ]
    assert drops(receipt) == [("class-unknown", "train/a_mask.png value 9")]
    assert receipt.counts["mask-classes"] == 1


def test_photographs_in_png_are_no_masks(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    for name in ("a.png", "b.png", "train/c.png", "images/d.png", "labels/e.png"):
        save(tmp_path / name, noise)
    assert masks.detect(tmp_path) is None


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_edges_drawn_smoothly_and_noise_are_no_objects(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((80, 100, 3), np.uint8))
    values = np.zeros((80, 100), np.uint8)
    values[10:50, 20:70] = 255
    smooth = np.asarray(Pillow.fromarray(values).resize((50, 40), Pillow.Resampling.BICUBIC).resize((100, 80)))
    save(tmp_path / "masks" / f"a{suffix}", smooth)
    dataset, receipt = read(tmp_path)
    [annotation] = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx((20, 10, 50, 40), abs=1)
    assert receipt.counts["mask-thresholded"] == 1


def test_ids_and_a_white_border_stay_ids(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((40, 50, 3), np.uint8))
    values = np.zeros((40, 50), np.uint8)
    for number in range(1, 7):
        values[10:20, 6 * number : 6 * number + 5] = number
    values[0, :] = 255
    save(tmp_path / "masks" / "a.png", values)
    dataset, receipt = read(tmp_path)
    assert len(dataset.annotations) == 6
    assert receipt.counts["mask-void"] == 1
