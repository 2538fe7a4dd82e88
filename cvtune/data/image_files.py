"""Finding the image file that an annotation names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cvtune.data.far_images import FarImages, without_address
from cvtune.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "ImageFinder", "image_folders"]

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jfif", ".jpe", ".pgm", ".ppm",
)  # fmt: skip


class ImageFinder:
    """Looks a file name up in a list of folders, first folder first.

    In each folder: the name with its own subfolders, the base name alone, the base name whatever its case, and last the
    stem with any image suffix. A name never leads out of a folder: `..` and drive letters are cut off. Of an address
    (https://...) the path counts.
    """

    def __init__(self, folders: Sequence[Path], *far: FarImages) -> None:
        """Remember the folders that exist; `far` are asked, one after another, where none of them has an image."""
        self._far = far
        self.folders = list(dict.fromkeys(folder for folder in folders if folder.is_dir()))
        self._names: dict[Path, dict[str, str]] = {}
        self._lower: dict[Path, dict[str, str]] = {}
        self._stems: dict[Path, dict[str, str]] = {}

    def find(self, name: str, any_suffix: bool = False) -> tuple[Path, Path] | None:
        """(file, the folder it was found in), or None.

        Args:
            name: a file name or relative path as an annotation says it, slashes of either kind.
            any_suffix: also try the stem with any image suffix.
        """
        plain = without_address(name.strip())
        parts = [part for part in plain.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
        if not parts:
            return None
        for folder in self.folders:
            self._list(folder)
            if len(parts) == 1 and parts[0] in self._names[folder]:
                return folder / parts[0], folder
            if len(parts) > 1 and os.path.isfile(path := folder.joinpath(*parts)):
                return path, folder
        for folder in self.folders:
            found = self._names[folder].get(parts[-1]) or self._lower[folder].get(parts[-1].lower())
            if found is None and any_suffix:
                stems = self._stems_of(folder)
                stem = PurePosixPath(parts[-1]).stem if _has_image_suffix(parts[-1]) else parts[-1]
                found = stems.get(stem) or stems.get(stem.lower())
            if found is not None:
                return folder / found, folder
        for far in self._far:
            last = far.find(parts, IMAGE_SUFFIXES, any_suffix)
            if last is not None:
                return last, far.root
        return None

    def describe(self) -> str:
        """The folders, for an error message."""
        return ", ".join(map(str, self.folders)) or "no folder"

    def _list(self, folder: Path) -> None:
        """Index the images of `folder` by name and by name in lower case; of equals the first in order."""
        if folder not in self._names:
            with os.scandir(folder) as entries:
                names = sorted((entry.name for entry in entries if _has_image_suffix(entry.name)), reverse=True)
            self._names[folder] = {name: name for name in names}
            self._lower[folder] = {name.lower(): name for name in names}

    def _stems_of(self, folder: Path) -> dict[str, str]:
        if folder not in self._stems:
            stems = {os.path.splitext(name)[0]: name for name in self._names[folder]}
            self._stems[folder] = {stem.lower(): name for stem, name in stems.items()} | stems
        return self._stems[folder]


def image_folders(annotations: Path, images: Path | None) -> list[Path]:
    """Where the images of an annotation file may lie.

    With `images` only there (and, for a file of one split, in its folder of the split's name); else beside the file, in
    `images` or `data` beside it, `images` one level up, one level up, and in folders named after the split.

    Raises:
        DataError: `images` is not a folder.
    """
    if images is not None and not images.is_dir():
        raise DataError(f"{images}: no such folder of images; correct `images`")
    here = annotations.parent
    bases = (
        [images] if images is not None else [here, here / "images", here / "data", here.parent / "images", here.parent]
    )
    # instances_train2017 -> train2017, train
    tokens = [annotations.stem, annotations.stem.split("_")[-1], annotations.stem.split("_")[-1].rstrip("0123456789")]
    return [folder for base in bases for folder in (base, *(base / token for token in tokens if token))]


def _has_image_suffix(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)
