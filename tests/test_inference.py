"""Which images `cvtune predict` takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvtune.errors import DataError
from cvtune.inference import collect_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.jpg", "a.PNG", "c d.jpeg"):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_folders_files_and_globs_are_joined_without_doubles(photos: Path) -> None:
    found = collect_images([str(photos), str(photos / "b.jpg"), str(photos / "*.jp*g")])
    assert [image.path.name for image in found] == ["a.PNG", "b.jpg", "c d.jpeg"]
    assert [image.id for image in found] == [1, 2, 3]


def test_a_coco_file_gives_its_own_ids(photos: Path, tmp_path: Path) -> None:
    images = [{"id": "x7", "file_name": "b.jpg", "width": 6, "height": 4}]
    path = photos / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}))
    [image] = collect_images([str(path)])
    assert (image.id, image.path.name) == ("x7", "b.jpg")
    with pytest.raises(DataError, match="not both"):
        collect_images([str(path), str(photos / "b.jpg")])


@pytest.mark.parametrize(
    ("argument", "fragment"),
    [("missing.jpg", "no such image"), ("*.nothing", "no match as a glob"), (".", "no image in this folder")],
)
def test_an_argument_that_matches_nothing_is_named(
    argument: str, fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        collect_images([argument])
    assert fragment in str(caught.value)
