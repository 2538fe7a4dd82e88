"""Finding images by the names that annotations give."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtune.data.image_files import ImageFinder, image_folders
from cvtune.errors import DataError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one / "a.jpg", one / "B.JPG", one / "sub" / "deep.png", two / "a.jpg", two / "only.two.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "secret.jpg").touch()
    return one, two


@pytest.mark.parametrize(
    ("name", "any_suffix", "expected"),
    [
        ("a.jpg", False, "one/a.jpg"),
        ("sub/deep.png", False, "one/sub/deep.png"),
        ("sub\\deep.png", False, "one/sub/deep.png"),
        ("other/a.jpg", False, "one/a.jpg"),
        ("b.jpg", False, "one/B.JPG"),
        ("/home/me/a.jpg", False, "one/a.jpg"),
        ("C:\\pictures\\a.jpg", False, "one/a.jpg"),
        ("a.png", False, None),
        ("a.png", True, "one/a.jpg"),
        ("a", True, "one/a.jpg"),
        ("b", True, "one/B.JPG"),
        ("only.two", True, "two/only.two.png"),
        ("../secret.jpg", False, None),
        ("sub/../../secret.jpg", True, None),
        ("..", True, None),
        ("", True, None),
    ],
)
def test_names_are_found_inside_the_folders_alone(
    tmp_path: Path, folders: tuple[Path, Path], name: str, any_suffix: bool, expected: str | None
) -> None:
    found = ImageFinder([*folders, tmp_path / "missing"]).find(name, any_suffix)
    assert (found[0].relative_to(tmp_path).as_posix() if found else None) == expected


def test_folders_around_a_coco_file(tmp_path: Path) -> None:
    file = tmp_path / "annotations" / "instances_train2017.json"
    folders = image_folders(file, None)
    for expected in ("annotations", "annotations/images", "images", "images/train2017", "train2017", "train", "."):
        assert tmp_path / expected in folders
    with pytest.raises(DataError, match=r"nowhere.*no such folder"):
        image_folders(file, tmp_path / "nowhere")
