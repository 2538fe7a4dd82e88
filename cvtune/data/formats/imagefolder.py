"""Hugging Face's imagefolder: ``metadata.jsonl`` or ``metadata.csv`` beside the images, with a column `objects`.

`objects` is an object of lists (``{"bbox": [[x, y, w, h], ...], "categories": [...]}``) or a list of objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cvtune.data.coco import Category, Dataset, Id
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.imagefolder_write import write
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.tables import read_table, table_head
from cvtune.data.formats.texts import number, read_lines, whole
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write"]

NAMES = ("metadata.jsonl", "metadata.csv")
BOXES = ("bbox", "bboxes", "boxes")
CLASSES = ("categories", "category", "labels", "label", "category_id", "class", "classes")
KNOWN = frozenset({"file_name", "objects", "width", "height", "image_id"})


@dataclass(frozen=True)
class _Line:
    where: str
    file: Path
    record: dict[str, Any]


def detect(path: Path) -> str | None:
    """Evidence that `path` is an imagefolder with objects: metadata with file_name and objects."""
    files = _files(path)
    if not files:
        return None
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{FileSet(_root(path), ()).label(files[0])}{more} with file_name and objects"


def subsets(path: Path) -> tuple[str, ...]:
    """The folders that have metadata of their own, or, with one for all, none."""
    files = _files(path) if path.is_dir() else []
    return tuple(file.parent.name for file in files) if len(files) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes as left, top, width, height in pixels. Sizes are stated, or those of the images.

    Classes that are numbers keep them as category ids and are called by them (their names are in the data set's card,
    which holds no annotations); classes that are names are numbered 1, 2, ... in alphabetical order.

    Raises:
        DataError: there is no such metadata, an unknown subset, or no image has a size.
    """
    files = _files(source.path)
    if not files:
        raise DataError(f"{source.path}: no metadata.jsonl or metadata.csv with file_name and objects")
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    root = _root(source.path)
    entries: list[Entry] = []
    values: set[str | int] = set()
    first = 1
    for file in files:
        label = FileSet(root, ()).label(file)
        chosen = source.subset in {None, file.parent.name}
        lines = list(_lines(file, label, receipt if chosen else Receipt()))
        finders = Finders(root, source.images, [str(line.record.get("file_name")) for line in lines])
        for line in lines:
            shapes, found = _shapes(line)
            values |= found
            if not chosen:
                first += 0 if entries else 1
                continue
            name = line.record.get("file_name")
            text = name if isinstance(name, str) else ""
            own = file.parent / text
            inside = source.images is None and text and ".." not in Path(text).parts and own.is_file()
            path, called = (own, own.relative_to(root).as_posix()) if inside else finders.find(text, file)
            size = (whole(line.record.get("width")), whole(line.record.get("height")))
            extra = {key: value for key, value in line.record.items() if key not in KNOWN}
            known = size if all(size) else known_size(path)
            entries.append(Entry(line.where, called, known, path, shapes, extra))
        if chosen:
            receipt.files.append(file)
    categories = _categories(values)
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first, sized=False)


def _root(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name in NAMES and _is_metadata(path) else []
    for pattern in ("", "*/", "*/*/"):
        found = [file for name in NAMES for file in sorted(path.glob(pattern + name)) if _is_metadata(file)]
        if found:
            return sorted(found)
    return []


def _is_metadata(file: Path) -> bool:
    if file.suffix == ".csv":
        head = table_head(file)
        return head is not None and {"file_name", "objects"} <= set(head.columns)
    try:
        line = next((line for line in read_lines(file) if line.strip("\ufeff")), "")
        record = msgspec.json.decode(line.strip("\ufeff").encode())
    except (DataError, msgspec.DecodeError, UnicodeError):
        return False
    return isinstance(record, dict) and {"file_name", "objects"} <= set(record)


def _lines(file: Path, label: str, receipt: Receipt) -> Iterator[_Line]:
    if file.suffix == ".csv":
        table = read_table(file, receipt, label)
        for row in table.rows:
            record = dict(zip(table.columns, row.cells, strict=True))
            try:
                record["objects"] = json.loads(record.get("objects") or "{}")
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file}: line {row.line}: 'objects' is not valid JSON: {error}; mend it") from error
            yield _Line(f"{label} line {row.line}", file, {k: v for k, v in record.items() if v != ""})
        return
    for number_of_line, line in enumerate(read_lines(file, receipt, label), start=1):
        text = line.strip("\ufeff")
        if not text:
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{file}: line {number_of_line} is not valid JSON: {reason}; mend it") from error
        if not isinstance(record, dict) or not isinstance(record.get("file_name"), str):
            raise DataError(f"{file}: line {number_of_line}: expected an object with 'file_name', a string")
        yield _Line(f"{label} line {number_of_line}", file, record)


def _shapes(line: _Line) -> tuple[list[Shape], set[str | int]]:
    """(the objects of an image, the classes that they name)."""
    objects = line.record.get("objects")
    rows: list[dict[str, Any]] = []
    if isinstance(objects, dict):
        columns = {key: value for key, value in objects.items() if isinstance(value, list)}
        for i in range(max(map(len, columns.values()), default=0)):
            rows.append({key: value[i] for key, value in columns.items() if i < len(value)})
    elif isinstance(objects, list):
        rows = [item if isinstance(item, dict) else {"": item} for item in objects]
    shapes: list[Shape] = []
    values: set[str | int] = set()
    for i, row in enumerate(rows):
        where = f"{line.where} object {i}"
        given = next((row[key] for key in CLASSES if key in row), None)
        name = str(given) if type(given) in {str, int} and given != "" else None
        if name is not None:
            values.add(given if isinstance(given, int) else name)
        extra = {k: v for k, v in row.items() if k not in {*BOXES, *CLASSES, "iscrowd", "area"} and v is not None}
        crowd = row.get("iscrowd") in (1, True, "1")
        box = next((row[key] for key in BOXES if key in row), None)
        numbers = [number(v) for v in box] if isinstance(box, list) and len(box) == 4 else []
        if not numbers or not all(map(math.isfinite, numbers)):
            code = "box-missing" if box is None else "box-not-numeric"
            shapes.append(Shape(where, name, fault=(code, f"bbox={box!r:.100}"), iscrowd=crowd, extra=extra))
            continue
        x, y, w, h = numbers
        shapes.append(Shape(where, name, (x, y, x + w, y + h), iscrowd=crowd, extra=extra))
    return shapes, values


def _categories(values: set[str | int]) -> tuple[Category, ...]:
    whole_numbers = sorted(value for value in values if isinstance(value, int))
    if len(whole_numbers) == len(values):
        ids: list[Id] = list(whole_numbers)
        return tuple(Category(i, str(i)) for i in ids)
    return alphabetical(str(value) for value in values)
