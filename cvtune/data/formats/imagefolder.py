"""Hugging Face's imagefolder: ``metadata.jsonl`` or ``metadata.csv`` beside the images, with a column `objects`.

`objects` is an object of lists (``{"bbox": [[x, y, w, h], ...], "categories": [...]}``) or a list of objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.box_layout import BoxNumbers
from cvtune.data.formats.entries import Entry, assemble
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.imagefolder_write import write
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.object_lists import BOXES, CLASSES, MASKS, Item, categories_of, items_of, shape_of
from cvtune.data.formats.tables import read_table, table_head
from cvtune.data.formats.texts import read_lines, whole
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write"]

NAMES = ("metadata.jsonl", "metadata.csv")
KNOWN = frozenset({"file_name", "objects", "width", "height", "image_id"})


@dataclass(frozen=True)
class _Line:
    where: str
    file: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class _Picture:
    line: _Line
    items: list[Item]
    path: Path | None
    called: str
    size_wh: tuple[int, int] | None


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
    """Read boxes, or polygons. Sizes are stated, or those of the images.

    Boxes are left, top, width, height in pixels unless the numbers of the whole set show that they are something else.

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
    boxes, given = BoxNumbers(), set[int | str]()
    pictures: list[_Picture] = []
    first, objects, classed = 1, 0, False
    for file in files:
        label = FileSet(root, ()).label(file)
        chosen = source.subset in {None, file.parent.name}
        lines = list(_lines(file, label, receipt if chosen else Receipt()))
        finders = Finders(root, source.images, [str(line.record.get("file_name")) for line in lines])
        for line in lines:
            picture = _picture(line, finders, root, source.images is None)
            for item in picture.items:
                objects += 1
                classed |= item.classed
                if item.given is not None:
                    given.add(item.given)
                if item.numbers is not None:
                    boxes.add(item.numbers, picture.size_wh, item.area, item.named)
            if chosen:
                pictures.append(picture)
            elif not pictures:
                first += 1
        if chosen:
            receipt.files.append(file)
    layout, one_class = boxes.layout(), bool(objects) and not classed
    if objects:
        receipt.note("box-layout-found", str(source.path), layout.describe())
    categories = categories_of(given, one_class)
    if one_class:
        receipt.note("class-assumed", str(source.path), f"no object names one; all are {categories[0].name!r}")
    entries = (
        Entry(
            picture.line.where,
            picture.called,
            picture.size_wh,
            picture.path,
            [
                shape_of(item, f"{picture.line.where} object {i}", layout, picture.size_wh, one_class=one_class)
                for i, item in enumerate(picture.items)
            ],
            {key: value for key, value in picture.line.record.items() if key not in KNOWN | {*BOXES, *CLASSES, *MASKS}},
        )
        for picture in pictures
    )
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first, sized=False)


def _picture(line: _Line, finders: Finders, root: Path, around: bool) -> _Picture:
    """Find the image of a line, beside its file first where images are looked for `around` the annotations."""
    name = line.record.get("file_name")
    text = name if isinstance(name, str) else ""
    own = line.file.parent / text
    inside = around and text and ".." not in Path(text).parts and own.is_file()
    path, called = (own, own.relative_to(root).as_posix()) if inside else finders.find(text, line.file)
    size = (whole(line.record.get("width")), whole(line.record.get("height")))
    return _Picture(line, items_of(_objects(line.record)), path, called, size if all(size) else known_size(path))


def _objects(record: dict[str, Any]) -> Any:
    """What holds the objects of a line: `objects`, or lists of its own (`bbox`, `label`)."""
    if "objects" in record:
        return record["objects"]
    return {key: value for key, value in record.items() if key in {*BOXES, *CLASSES, *MASKS}}


def _root(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name in NAMES and _is_metadata(path) else []
    for pattern in ("", "*/", "*/*/", "*/*/*/"):
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
    return isinstance(record, dict) and "file_name" in record and bool({"objects", *BOXES} & set(record))


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
