"""MOTS (KITTI MOTS, MOTS Challenge): ``instances/<sequence>/<frame>.png`` beside ``images/<sequence>/<frame>.*``.

A pixel of these 16-bit images is 1000 * class + track; 1 is car, 2 pedestrian, and 10000 is a region to be ignored,
which is no object here and kept in `Image.extra["ignore_mask"]` as an RLE.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, assemble
from cvtune.data.formats.mask_images import mask_files, parts, read_values
from cvtune.data.geometry import mask_to_rle, rle_to_json
from cvtune.data.image_files import ImageFinder
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

NAMES = {1: "car", 2: "pedestrian"}
IGNORE = 10000
FOLDERS = ("instances", "*/instances", "instances_*", "gt")
IMAGES = ("images", "image_02", "img1", "training/image_02", "train/images")


def detect(path: Path) -> str | None:
    """Evidence that `path` is MOTS: folders of images whose values are 1000 * class + track, or 10000."""
    files = _files(path)
    looked = files[:: max(1, len(files) // 4)][:4]
    hits = sum(map(_is_mots, looked))
    return f"{len(files):,} images of 1000 * class + track" if hits and 2 * hits >= len(looked) else None


def subsets(path: Path) -> tuple[str, ...]:
    """None: sequences are read together."""
    return ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read all frames of all sequences; masks are exact, `track_id` is in `Annotation.extra`.

    Raises:
        DataError: there are no such images, or none can be read.
    """
    files = _files(source.path)
    if not files:
        raise DataError(f"{source.path}: no instances/<sequence>/<frame>.png; give the folder above `instances`")
    if source.subset is not None:
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: none")
    entries = []
    ignored = 0
    for file in files:
        label = file.relative_to(source.path).as_posix()
        path = _image(file, source)
        base = source.images or source.path
        name = path.relative_to(base).as_posix() if path is not None and path.is_relative_to(base) else None
        name = name or f"{file.parent.name}/{file.stem}.png"
        extra: dict[str, object] = {"sequence": file.parent.name}
        try:
            values = read_values(file)
        except DataError as error:
            receipt.note("mask-invalid", label, str(error))
            entries.append(Entry(label, name, None, path, (), extra))
            continue
        shapes = []
        for value, patch in parts(values):
            kind, track = divmod(value, 1000)
            if value == IGNORE:
                ignored += 1
                extra["ignore_mask"] = rle_to_json(mask_to_rle(values == IGNORE))
                continue
            fault = None if kind in NAMES else ("class-unknown", f"value {value}; allowed: 1000 to 2999, and 10000")
            where = f"{label} value {value}"
            shapes.append(Shape(where, NAMES.get(kind), patch=patch, fault=fault, extra={"track_id": track}))
        entries.append(Entry(label, name, (values.shape[1], values.shape[0]), path, shapes, extra))
    if ignored:
        receipt.note("ignore-region", str(source.path), f"in {ignored:,} images, kept in their 'ignore_mask'")
    receipt.files += files
    categories = tuple(Category(number, name) for number, name in NAMES.items())
    return assemble(entries, categories, receipt, source=source.path, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: the classes of MOTS are fixed."""
    raise UnsupportedError("format: 'mots' is read only; write `masks` or `coco`")


def _files(path: Path) -> list[Path]:
    """The instance images, in order."""
    if not path.is_dir():
        return []
    roots = [path] if path.name.startswith("instances") else []
    roots += [folder for pattern in FOLDERS for folder in sorted(path.glob(pattern)) if folder.is_dir()]
    for root in roots:
        found = [f for folder in sorted(root.iterdir()) if folder.is_dir() for f in mask_files(folder)]
        found = [file for file in found or mask_files(root) if file.suffix.lower() == ".png" and file.stem.isdecimal()]
        if found:
            return found
    return []


def _is_mots(file: Path) -> bool:
    try:
        values = np.unique(read_values(file))
    except DataError:
        return False
    known = (values == 0) | (values == IGNORE) | ((values >= 1000) & (values < 3000))
    return bool(known.all() and (values > 0).any())


def _image(file: Path, source: ReadSource) -> Path | None:
    """The photograph of the same sequence and frame."""
    sequence = file.parent.name
    if source.images is not None:
        places = [source.images / sequence, source.images / sequence / "img1", source.images]
    else:
        bases = [source.path, file.parent.parent.parent]
        places = [base / name / sequence for base in bases for name in IMAGES]
    found = ImageFinder(places).find(file.stem, any_suffix=True)
    return found[0] if found else None
