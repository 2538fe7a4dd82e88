"""Folders of one text file an image, whose lines are objects: KITTI, DOTA, VisDrone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from cvtune.data.formats.entries import size_of_image
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.texts import read_lines
from cvtune.errors import DataError

__all__ = ["IGNORED", "finders_of", "known_size", "label_files"]

LOOK_AT = 8
DEEPEST = 4
IGNORED = "ignore_regions"
"""The key of `Image.extra` with regions that count neither as objects nor as background: [[x, y, w, h], ...]."""


def label_files(path: Path, accept: Callable[[Sequence[str]], bool]) -> FileSet:
    """The text files of those folders, four deep, in which most files that hold anything are what `accept` takes.

    Args:
        path: a folder, or one file.
        accept: whether the lines of a file (stripped, none empty) are of the format.
    """
    if path.is_file():
        good = path.suffix.lower() == ".txt" and accept(_filled(path))
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
            try:
                entries = sorted(folder.iterdir())
            except OSError:
                continue
            texts = [entry for entry in entries if entry.suffix.lower() == ".txt" and entry.is_file()]
            if _mostly(texts, accept):
                files += texts
            below += [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        level = below
    files.sort()
    tops = tuple(dict.fromkeys(file.relative_to(path).parts[0] for file in files if file.parent != path))
    return FileSet(path, tuple(files), tops if len(tops) > 1 and all(file.parent != path for file in files) else ())


def finders_of(files: FileSet, images: Path | None, beside: Sequence[str]) -> Finders:
    """A finder of images that also looks into the folders named `beside` next to each folder of labels."""
    parents = dict.fromkeys(file.parent.parent for file in files.files)
    return Finders(files.root, images, beside=[str(parent / name) for parent in parents for name in beside])


def known_size(path: Path | None) -> tuple[int, int] | None:
    """(width, height) of an image as displayed, or None where it is missing or damaged."""
    try:
        return None if path is None else size_of_image(path)
    except DataError:
        return None


def _mostly(texts: Sequence[Path], accept: Callable[[Sequence[str]], bool]) -> bool:
    looked = hits = 0
    for file in texts:
        lines = _filled(file)
        if not lines:
            continue
        looked += 1
        hits += accept(lines)
        if looked == LOOK_AT:
            break
    return 2 * hits > looked


def _filled(file: Path) -> list[str]:
    try:
        return [line for line in read_lines(file) if line]
    except DataError:
        return []
