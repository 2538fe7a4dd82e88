from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvtune.data.coco import Dataset, Rle, load_coco
from cvtune.data.geometry import rle_bbox_xywh, rle_to_mask
from cvtune.data.images import read_rgb

SCRIPT = Path(__file__).resolve().parents[1] / "datasets" / "shapes.py"
SIZE, TRAIN, VAL = 128, 60, 20


@pytest.fixture(scope="module")
def folder(make_shapes: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shapes")
    make_shapes(out, train=TRAIN, val=VAL, size=SIZE, seed=0)
    return out


@pytest.fixture(scope="module")
def train(folder: Path) -> Dataset:
    return load_coco(folder / "train.json", folder / "images/train")


def _masks(dataset: Dataset, image_id: int | str) -> list[Any]:
    rles = [a.segmentation for a in dataset.annotations if a.image_id == image_id]
    return [rle_to_mask(rle) for rle in rles if isinstance(rle, Rle)]


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_files_are_those_that_specs_name(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["images", "train.json", "val.json"]
    for split, count in (("train", TRAIN), ("val", VAL)):
        record = json.loads((folder / f"{split}.json").read_text())
        names = {image["file_name"] for image in record["images"]}
        assert len(names) == len(record["images"]) == count
        assert {path.name for path in (folder / "images" / split).iterdir()} == names
        assert [category["name"] for category in record["categories"]] == ["circle", "square", "triangle"]


def test_images_are_as_large_as_they_say(train: Dataset) -> None:
    for image in train.images:
        assert image.path is not None
        assert read_rgb(image.path).shape == (SIZE, SIZE, 3)
        assert (image.height, image.width) == (SIZE, SIZE)


def test_boxes_and_areas_are_the_masks_own(train: Dataset) -> None:
    for annotation in train.annotations:
        assert isinstance(annotation.segmentation, Rle)
        mask = rle_to_mask(annotation.segmentation)
        assert mask.shape == (SIZE, SIZE)
        assert annotation.area == np.count_nonzero(mask)
        assert annotation.bbox_xywh == rle_bbox_xywh(annotation.segmentation)
        assert not annotation.iscrowd


def test_no_pixel_belongs_to_two_objects(train: Dataset) -> None:
    for image in train.images:
        masks = _masks(train, image.id)
        assert not masks or np.sum(masks, axis=0).max() == 1


def test_objects_are_of_all_classes_few_large_and_sometimes_none(train: Dataset) -> None:
    counts = [len(_masks(train, image.id)) for image in train.images]
    assert max(counts) <= 4
    assert 0 < counts.count(0) < TRAIN / 4
    assert sum(count > 1 for count in counts) > TRAIN / 3
    per_class = np.bincount([int(a.category_id) for a in train.annotations], minlength=4)[1:]
    assert (per_class > len(train.annotations) / 6).all()
    longest = np.array([max(a.bbox_xywh[2:]) for a in train.annotations])
    assert longest.max() <= 60
    assert np.mean(longest >= 25) > 0.9


def test_some_objects_lie_over_others(train: Dataset) -> None:
    touching = 0
    for image in train.images:
        grown = [cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) for mask in _masks(train, image.id)]
        touching += sum((a & b).sum() > 5 for a, b in itertools.combinations(grown, 2))
    assert touching >= 10


def test_every_object_is_brighter_than_the_textured_background(train: Dataset) -> None:
    for image in train.images:
        assert image.path is not None
        rgb = read_rgb(image.path).astype(float)
        masks = _masks(train, image.id)
        background = rgb[~np.any([np.zeros((SIZE, SIZE), bool), *masks], axis=0)]
        assert background.std() > 8
        assert all(rgb[mask].mean() > background.mean() + 50 for mask in masks)
        assert all(rgb[mask].std(axis=0).max() < 15 for mask in masks)


def test_objects_differ_in_colour(train: Dataset) -> None:
    colours = []
    for image in train.images:
        assert image.path is not None
        rgb = read_rgb(image.path)
        colours += [rgb[mask].mean(axis=0) for mask in _masks(train, image.id)]
    assert (np.std(colours, axis=0) > 20).all()


def test_a_seed_decides_every_byte(make_shapes: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_shapes(tmp_path / str(seed), train=TRAIN, val=VAL, size=SIZE, seed=seed)
    assert _hashes(tmp_path / "0") == _hashes(folder)
    other = _hashes(tmp_path / "1")
    assert not set(other.values()) & set(_hashes(folder).values())


def test_no_image_is_in_both_splits(folder: Path) -> None:
    hashes = _hashes(folder / "images")
    assert len(set(hashes.values())) == len(hashes)


def test_the_script_needs_no_cvtune(tmp_path: Path) -> None:
    arguments = ["out", "--train", "3", "--val", "2", "--size", "64", "--seed", "5", "--format", "coco"]
    code = (
        "import sys, runpy\n"
        f"sys.argv = [{str(SCRIPT)!r}, *{arguments!r}]\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "assert not {'cvtune', 'torch', 'albumentations'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    dataset = load_coco(tmp_path / "out/val.json", tmp_path / "out/images/val")
    assert [(image.width, image.height) for image in dataset.images] == [(64, 64), (64, 64)]
    assert all(image.path is not None for image in dataset.images)
