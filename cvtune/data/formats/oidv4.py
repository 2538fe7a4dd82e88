"""Open Images as the OIDv4 toolkit and OIDv6 download it: ``train/<class>/Label/<image>.txt``, images one level up.

A line is a class, of one word or several, and the left, upper, right and lower edge in pixels; tools that measure mAP
have the same in ``ground-truth``, with a word ``difficult`` behind it. An image of several classes lies in the folder
of each, with the objects of that class alone: it is one image here, with all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import FileSet
from cvtune.data.formats.label_folders import Beside, known_size, label_files
from cvtune.data.formats.texts import number, read_lines
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.receipt import Receipt
from cvtune.data.split_names import is_split
from cvtune.errors import DataError, UnsupportedError, nearest

__all__ = ["detect", "read", "subsets", "write"]

BESIDE = ("images", "image", "images-optional")
DIFFICULT = "difficult"
# Shares of the image are another format's.
SHARE = 2.0


def detect(path: Path) -> str | None:
    """Evidence that `path` is of this form: text files whose lines are a class and four edges in pixels."""
    files = label_files(path, _is_oidv4).files
    return f"{len(files):,} .txt files of a class and four edges in pixels" if files else None


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits that labels lie below, where all do and there are several."""
    return tuple(_parts(label_files(path, _is_oidv4))) if path.is_dir() else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes; sizes are those of the images.

    Raises:
        DataError: there are no labels, an unknown subset, or no image was found.
    """
    files = label_files(source.path, _is_oidv4)
    if not files.files:
        raise DataError(f"{source.path}: no .txt file of lines of a class and four edges in pixels")
    parts = _parts(files)
    if source.subset is not None and source.subset not in parts:
        hint = nearest(source.subset, parts)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(parts) or 'none'}{hint}")
    beside = Beside(files, source.images, BESIDE)
    names: set[str | None] = set()
    entries: list[Entry] = []
    first = 1
    for part, of_part in (parts or {"": list(files.files)}).items():
        chosen = source.subset in {None, part}
        images: dict[str, list[Path]] = {}
        for file in of_part:
            images.setdefault(file.stem, []).append(file)
        for stem, doubled in images.items():
            shapes: list[Shape] = []
            for file in doubled:
                shapes += _objects(file, files.label(file), receipt if chosen else None)
            names |= {shape.name for shape in shapes}
            if not chosen:
                continue
            label = files.label(doubled[0])
            found = [beside.find(file) for file in doubled]
            path, name = next((pair for pair in found if pair[0] is not None), found[0])
            if len(doubled) > 1:
                detail = f"{stem} lies in {len(doubled)} folders of classes; it is one image with the objects of all"
                receipt.note("image-doubled", label, detail)
            entries.append(Entry(label, name, known_size(path), path, shapes))
        if chosen:
            receipt.files += of_part
        elif not entries:
            first += len(images)
    return assemble(entries, alphabetical(names), receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError."""
    raise UnsupportedError("format: 'oidv4' is read only; write `csv` or `coco`")


def _parts(files: FileSet) -> dict[str, list[Path]]:
    """Split -> its files, where all lie below folders of splits and there are several; else none."""
    parts: dict[str, list[Path]] = {}
    for file in files.files:
        above = file.relative_to(files.root).parts[:-1]
        split = next((folder for folder in above if is_split(folder)), None)
        if split is None:
            return {}
        parts.setdefault(split, []).append(file)
    return parts if len(parts) > 1 else {}


def _is_oidv4(lines: Sequence[str]) -> bool:
    fields = [found for line in lines[:20] if (found := _fields(line)) is not None]
    good = sum(max(edges) > SHARE for _, edges, _ in fields)
    return 2 * good > len(lines[:20])


def _fields(line: str) -> tuple[str, list[float], bool] | None:
    """(class, edges, whether it is difficult)."""
    words = line.split()
    hard = len(words) > 5 and words[-1] == DIFFICULT
    words = words[:-1] if hard else words
    edges = [number(word) for word in words[-4:]]
    name = words[:-4]
    if (
        not name
        or not all(map(math.isfinite, edges))
        or any(math.isfinite(number(word)) for word in (name[0], name[-1]))
    ):
        return None
    if name[-1].lower().endswith(IMAGE_SUFFIXES):  # a list of images with a box each
        return None
    return " ".join(name), edges, hard


def _objects(file: Path, label: str, receipt: Receipt | None) -> list[Shape]:
    shapes = []
    for line_number, line in enumerate(read_lines(file, receipt, label), start=1):
        if not line:
            continue
        where = f"{label} line {line_number}"
        fields = _fields(line)
        if fields is None:
            detail = f"expected a class and four numbers, got {line[:80]!r}"
            shapes.append(Shape(where, None, fault=("row-malformed", detail)))
            continue
        name, (x0, y0, x1, y1), hard = fields
        if x1 < x0 and y1 < y0:  # the toolkit's first versions began with the right lower corner
            x0, y0, x1, y1 = x1, y1, x0, y0
        extra: dict[str, Any] = {DIFFICULT: 1} if hard else {}
        shapes.append(Shape(where, name, (x0, y0, x1, y1), extra=extra))
    return shapes
