"""Folders of one text file an image, whose lines are objects: KITTI, DOTA, VisDrone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cvtune.data.far_images import FarImages
from cvtune.data.formats.entries import size_of_image
from cvtune.data.formats.file_sets import FileSet, folders_apart
from cvtune.data.formats.listing import folders_in, names_in
from cvtune.data.formats.mask_images import mask_files
from cvtune.data.formats.texts import read_lines
from cvtune.data.image_files import ImageFinder
from cvtune.errors import DataError

__all__ = ["IGNORED", "Beside", "frames_of", "known_size", "label_files"]

LOOK_AT = 8
DEEPEST = 7
IGNORED = "ignore_regions"
"""The key of `Image.extra` with regions that count neither as objects nor as background: [[x, y, w, h], ...]."""


def label_files(path: Path, accept: Callable[[Sequence[str]], bool | None]) -> FileSet:
    """The text files of those folders, seven deep, in which most files that hold anything are what `accept` takes.

    Args:
        path: a folder, or one file.
        accept: whether the lines of a file (stripped, none empty) are of the format; None where they do not tell.
    """
    if path.is_file():
        good = path.suffix.lower() == ".txt" and accept(_filled(path)) is True
        return FileSet(path.parent, (path,) if good else ())
    files: list[Path] = []
    seen: set[str] = set()
    level = [path]
    for _ in range(DEEPEST):
        below: list[Path] = []
        for folder in level:
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            texts = [folder.joinpath(*parts) for parts in names_in(folder, (".txt",))]
            if _mostly(texts, accept):
                files += texts
            names = folders_in(folder)
            # Ultralytics leaves what it converted in folders such as `train_original`.
            left = {f"{name}_original" for name in names}
            below += [folder / name for name in names if not name.startswith(".") and name not in left]
        level = below
    files.sort()
    relative = [file.relative_to(path).parts for file in files]
    depth, tops = folders_apart(relative)
    return FileSet(path.joinpath(*relative[0][:depth]) if relative else path, tuple(files), tops)


class Beside:
    """Finds the image of a file of labels, by its stem: in folders next to the labels' own, or in `images`."""

    def __init__(self, files: FileSet, images: Path | None, names: Sequence[str]) -> None:
        """Look into the folders called `names` first; with `images`, into its folders of the same splits first.

        Raises:
            DataError: `images` is no folder.
        """
        if images is not None and not images.is_dir():
            raise DataError(f"{images}: no such folder of images; correct `images`")
        self._root = files.root
        self._images = images
        self._names = names
        self._several = len({file.parent for file in files.files}) > 1
        self._finders: dict[Path, ImageFinder] = {}

    def find(self, file: Path) -> tuple[Path | None, str]:
        """(the image or None, what it is called): its name, or its path where there are several folders of labels."""
        folder = file.parent
        top = folder.relative_to(self._root).parts[0] if folder != self._root else ""
        if folder not in self._finders:
            if self._images is None:
                near = (folder.parent, folder.parent.parent) if top else (folder.parent,)
                # label_2/train and image_2/train
                places = [folder.parent.parent / name / folder.name for name in self._names]
                places += [base / name for base in near for name in self._names] + [folder, folder.parent]
            else:
                bases = [self._images / top, self._images]
                places = [base / name for base in bases for name in self._names]
                places = [self._images / folder.name, *places] if top else places
                places += bases
            root = self._images if self._images is not None else self._root
            self._finders[folder] = ImageFinder(places, FarImages(root, file.relative_to(self._root)))
        found = self._finders[folder].find(file.stem, any_suffix=True)
        if found is None:
            return None, f"{top}/{file.stem}.png" if self._several and top else f"{file.stem}.png"
        path = found[0]
        if not self._several:
            return path, path.name
        base = self._images if self._images is not None else self._root
        return path, (path.relative_to(base) if path.is_relative_to(base) else Path(top, path.name)).as_posix()


def known_size(path: Path | None) -> tuple[int, int] | None:
    """(width, height) of an image as displayed, or None where it is missing or damaged."""
    try:
        return None if path is None else size_of_image(path)
    except DataError:
        return None


def frames_of(
    file: Path,
    files: FileSet,
    images: Path | None,
    frames: Iterable[int | None],
    beside: Sequence[str],
    missing: str = "{:06d}.png",
) -> dict[int | None, tuple[Path | None, str]]:
    """Of the labels of a video: frame -> (its image or None, what that is called).

    Args:
        file: the labels, called as the video.
        files: the set.
        images: where the images are, if not beside.
        frames: those with objects; those whose image is there are added.
        beside: folders of videos next to that of the labels.
        missing: what an image is called that is not there.
    """
    bases = [images] if images is not None else [file.parent.parent / name for name in beside]
    folder = next((base / file.stem for base in bases if (base / file.stem).is_dir()), None)
    paths = {int(path.stem): path for path in (mask_files(folder) if folder else []) if path.stem.isdecimal()}
    root = images if images is not None else files.root
    found: dict[int | None, tuple[Path | None, str]] = {}
    for frame in sorted({*paths, *(frame for frame in frames if frame is not None)}):
        path = paths.get(frame)
        inside = path is not None and path.is_relative_to(root)
        name = (
            path.relative_to(root).as_posix() if path is not None and inside else f"{file.stem}/{missing.format(frame)}"
        )
        found[frame] = (path, name)
    return found


def _mostly(texts: Sequence[Path], accept: Callable[[Sequence[str]], bool | None]) -> bool:
    looked = hits = 0
    for file in texts:
        lines = _filled(file)
        told = accept(lines) if lines else None
        if told is None:
            continue
        looked += 1
        hits += told
        if looked == LOOK_AT:
            break
    return 2 * hits > looked


def _filled(file: Path) -> list[str]:
    try:
        return [line for line in read_lines(file) if line]
    except DataError:
        return []
