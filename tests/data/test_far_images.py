"""Images that lie in none of the usual places, and addresses instead of names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from cvtune.data.coco import load_coco
from cvtune.data.far_images import FarImages, without_address
from cvtune.data.image_files import IMAGE_SUFFIXES, ImageFinder
from cvtune.data.split_set import split_set
from cvtune.spec import SplitSpec


@pytest.mark.parametrize(
    ("there", "annotations", "stated", "found"),
    [
        (["photos/a.jpg"], "x.json", "a.jpg", "photos/a.jpg"),
        (["b/c/d/A.JPG"], "x.json", "other/a.jpg", "b/c/d/A.JPG"),
        (["photos/a.png"], "x.json", "a.jpg", None),
        # Of several none is chosen by chance.
        (["b/a.jpg", "c/a.jpg"], "x.json", "a.jpg", None),
        (["b/a.jpg", "c/a.jpg"], "x.json", "c/a.jpg", "c/a.jpg"),
        (["b/a.jpg", "a.jpg", "c/d/a.jpg"], "x.json", "a.jpg", "a.jpg"),
        (["e/b/a.jpg", "b/a.jpg"], "x.json", "b/a.jpg", "b/a.jpg"),
        # The stated folder is there, and has none.
        (["e/cam1/b.jpg", "e/cam2/a.jpg"], "x.json", "cam1/a.jpg", None),
        (["e/cam1/b.jpg", "e/cam2/a.jpg"], "x.json", "cam3/a.jpg", "e/cam2/a.jpg"),
        # Parts call their images alike.
        (["photos/train/a.jpg"], "val.json", "a.jpg", None),
        (["photos/train2017/a.jpg", "photos/val2017/a.jpg"], "instances_val2017.json", "a.jpg", "photos/val2017/a.jpg"),
        (["photos/train/a.jpg"], "x.json", "a.jpg", "photos/train/a.jpg"),
        (["training_images/a.jpg", "testing_images/a.jpg"], "train_boxes.csv", "a.jpg", "training_images/a.jpg"),
        (["validation/data/a.jpg", "test/data/a.jpg"], "validation/labels/x.csv", "a.jpg", "validation/data/a.jpg"),
    ],
)
def test_only_what_can_be_meant_is_taken(
    tmp_path: Path, there: list[str], annotations: str, stated: str, found: str | None
) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    far = FarImages(tmp_path, Path(annotations))
    expected = None if found is None else tmp_path / found
    assert far.find(stated.split("/"), IMAGE_SUFFIXES, any_suffix=False) == expected
    assert ImageFinder([], far).find(stated) == (None if expected is None else (expected, tmp_path))


def test_folders_of_annotations_have_their_images_beside_them(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "photos" / "loop").symlink_to(tmp_path)
    far = FarImages(tmp_path / "Annotations")
    assert far.find(["a.png"], IMAGE_SUFFIXES, any_suffix=True) == tmp_path / "photos" / "a.jpg"


@pytest.mark.parametrize(("split", "found"), [("train", True), ("val", False), ("xmls", True)])
def test_folders_of_annotations_of_one_split(tmp_path: Path, split: str, found: bool) -> None:
    for name in (f"annotations/{split}/a.xml", "images/train/a.jpg", "annotations/trimaps/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    far = FarImages(tmp_path / "annotations" / split, Path("a.xml"))
    expected = tmp_path / "images" / "train" / "a.jpg" if found else None
    assert far.find(["a.jpg"], IMAGE_SUFFIXES, any_suffix=True) == expected


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("https://x.org/b/a%20b.jpg?Expires=1&Signature=2", "/b/a b.jpg"),
        ("s3://bucket/b/a.jpg", "/b/a.jpg"),
        ("https://[x", "https://[x"),
        ("a?b.jpg", "a?b.jpg"),
    ],
)
def test_of_an_address_the_path_counts(name: str, path: str) -> None:
    assert without_address(name) == path


def test_an_address_is_looked_for_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a b.jpg").touch()
    assert ImageFinder([tmp_path]).find("https://x.org/c/a%20b.jpg?t=1") == (tmp_path / "a b.jpg", tmp_path)


def test_what_cvtune_made_finds_the_images_of_what_it_was_made_from(tmp_path: Path, monkeypatch: Any) -> None:
    objects = {"annotations": [], "categories": [{"id": 1, "name": "x"}]}
    files = [{"id": i, "file_name": f"{i}.png", "width": 9, "height": 8} for i in range(1, 9)]
    (tmp_path / "set" / "photos").mkdir(parents=True)
    for i in range(1, 9):
        Pillow.new("RGB", (9, 8)).save(tmp_path / "set" / "photos" / f"{i}.png")
    (tmp_path / "set" / "all.json").write_text(json.dumps({"images": files, **objects}))
    monkeypatch.chdir(tmp_path)
    split_set(Path("set"), Path("out"), SplitSpec(val=0.5))
    monkeypatch.chdir("/")
    for name in ("train", "val"):
        found = load_coco(tmp_path / "out" / f"{name}.json").images
        assert found
        assert {image.path for image in found} <= {tmp_path / "set" / "photos" / f"{i}.png" for i in range(1, 9)}
    (tmp_path / "out" / "receipt.json").write_text('{"from": [{"path": "/none"}, 7, {"path": 8}]}')
    assert all(image.path is None for image in load_coco(tmp_path / "out" / "train.json").images)
