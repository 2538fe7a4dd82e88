"""DOTA: ``labelTxt/<image>.txt`` beside ``images``, one oriented box a line.

A line is x1, y1, ..., x4, y4, class, difficult; before them may come ``imagesource:...`` and ``gsd:...``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.dota_write import write
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.label_folders import Beside, known_size, label_files
from cvtune.data.formats.texts import number, read_lines
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["detect", "read", "subsets", "write"]

BESIDE = ("images", "image", "img")
HEADER = re.compile(r"(imagesource|gsd|acquisition dates)\s*:\s*(.*)", re.IGNORECASE)


def detect(path: Path) -> str | None:
    """Evidence that `path` is DOTA: text files whose lines are eight numbers, a word and a flag."""
    files = label_files(path, _is_dota)
    return f"{len(files.files):,} .txt files of DOTA's eight coordinates, class and difficult" if files.files else None


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below that hold labels, where there are several."""
    return label_files(path, _is_dota).splits if path.is_dir() else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read oriented boxes as polygons with the upright box around them; sizes are those of the images.

    `difficult` is in `Annotation.extra`; imagesource and gsd are in `Image.extra`. Tiles cut through objects:
    what sticks out of the image is clipped.

    Raises:
        DataError: there are no labels, an unknown subset, or no image was found.
    """
    files = label_files(source.path, _is_dota)
    if not files.files:
        raise DataError(f"{source.path}: no .txt file of DOTA's lines; give the folder of labelTxt")
    chosen = files.of_subset(source.subset)
    inside = set(chosen)
    beside = Beside(files, source.images, BESIDE)
    names: set[str | None] = set()
    entries = []
    for file in files.files:
        label = files.label(file)
        extra, shapes = _objects(file, label, receipt if file in inside else None)
        names |= {shape.name for shape in shapes}
        if file in inside:
            path, name = beside.find(file)
            entries.append(Entry(label, name, known_size(path), path, shapes, extra))
    turned = sum(shape.fault is None for entry in entries for shape in entry.shapes)
    if turned:
        detail = f"{turned:,} oriented boxes became polygons, with the upright boxes around them"
        receipt.note("rotation-as-polygon", str(source.path), detail)
    hard = sum(shape.extra.get("difficult") == 1 for entry in entries for shape in entry.shapes)
    if hard:
        receipt.note("difficult-kept", str(source.path), f"{hard:,} objects")
    receipt.files += chosen
    first = files.files.index(chosen[0]) + 1
    return assemble(entries, alphabetical(names), receipt, source=source.path, first_image_id=first, sized=False)


def _is_dota(lines: Sequence[str]) -> bool | None:
    body = [line for line in lines if not HEADER.match(line)][:20]
    if not body:
        return None  # an image without objects
    return 2 * sum(_fields(line) is not None for line in body) > len(body)


def _fields(line: str) -> list[str] | None:
    fields = line.replace(",", " ").split()
    if len(fields) not in {9, 10} or math.isfinite(number(fields[8])):
        return None
    # One coordinate that is no number is its object's fault, more are another format's.
    return fields if sum(math.isfinite(number(field)) for field in fields[:8]) >= 6 else None


def _objects(file: Path, label: str, receipt: Receipt | None) -> tuple[dict[str, Any], list[Shape]]:
    """(what the header says, the objects)."""
    extra: dict[str, Any] = {}
    shapes: list[Shape] = []
    for line_number, line in enumerate(read_lines(file, receipt, label), start=1):
        if not line:
            continue
        if header := HEADER.match(line):
            value = header[2].strip()
            if value and value.lower() not in {"null", "none"}:
                found = number(value)
                extra[header[1].lower().replace(" ", "_")] = found if math.isfinite(found) else value
            continue
        where = f"{label} line {line_number}"
        fields = _fields(line)
        if fields is None:
            detail = f"expected eight numbers, a class and a flag, got {line[:80]!r}"
            shapes.append(Shape(where, None, fault=("row-malformed", detail)))
            continue
        points = np.array([number(field) for field in fields[:8]], np.float64)
        flag = fields[9] if len(fields) == 10 else ""
        difficult = {"difficult": int(flag)} if re.fullmatch(r"[0-9]", flag) else {}
        if not np.isfinite(points).all():
            shapes.append(Shape(where, fields[8], fault=("box-not-numeric", line[:100]), extra=difficult))
            continue
        shapes.append(Shape(where, fields[8], polygons=(points,), extra=difficult))
    return extra, shapes
