"""Tables of boxes, one a row: TensorFlow's object detection CSV, VoTT's CSV, others with named columns; Parquet too.

Which column is which is told by its name. Boxes are corners, or a corner or the centre with a size, in pixels or
as shares of the image, which is decided once, over the whole set.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.arrow_tables import has_pyarrow
from cvtune.data.formats.box_layout import BoxNumbers
from cvtune.data.formats.csv_cells import box_of, is_empty, row_a_box, text_of, with_names
from cvtune.data.formats.csv_columns import IN_ONE_CELL, Columns, find_columns
from cvtune.data.formats.csv_write import write
from cvtune.data.formats.entries import Corners, Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import FileSet, Finders, find_files
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.listing import kinds_below
from cvtune.data.formats.masks_write import ONE_CLASS
from cvtune.data.formats.tables import MAGIC, SUFFIXES, Row, Table, read_table, table_head
from cvtune.data.formats.texts import number, whole
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.receipt import Receipt
from cvtune.data.split_names import SPLITS
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "tables_of", "write"]

LOOK_AT = 12
MOST_CLASSES = 10**6
# Of other formats, which have tables of their own.
FOREIGN = ({"ImageID", "LabelName"}, {"region_shape_attributes"}, {"MaskPath"}, {"objects"})
Numbers = tuple[float, float, float, float]
# Tables of this suffix are known by their lines alone.
BARE_TEXT = ".txt"


@dataclass(frozen=True)
class _File:
    path: Path
    label: str
    table: Table
    columns: Columns


def detect(path: Path) -> str | None:
    """Evidence that `path` holds tables of boxes: columns of image and box by their names, and numbers in them."""
    files = _tables(path)
    if not files.files:
        return None
    first = files.files[0]
    if first.suffix.lower() == BARE_TEXT and path.is_dir() and "<annotation>" in kinds_below(path):
        return None  # such lists are made from VOC's files
    head = table_head(first)
    if head is None:
        return f"{files.label(first)}, a Parquet table (pyarrow is not installed)"
    columns = _columns(head)
    assert columns is not None
    more = f" and {len(files.files) - 1} more" if len(files.files) > 1 else ""
    return f"{files.label(first)}{more} with the columns {columns.describe()}"


def tables_of(path: Path, stems: Collection[str]) -> str | None:
    """What the tables of a folder are called, where their first rows name images of these stems alone; else None."""
    files = _tables(path)
    for file in files.files:
        head = table_head(file)
        columns = None if head is None else _columns(head)
        if head is None or columns is None:
            return None
        named = [PurePosixPath(text_of(row.cells[columns.at["image"]]).replace("\\", "/")).stem for row in head.rows]
        if not named or not set(named) <= set(stems):
            return None
    return ", ".join(map(files.label, files.files))


def subsets(path: Path) -> tuple[str, ...]:
    """The tables of a folder by their stem, or by their folders where these tell them apart; or one table's splits."""
    files = _tables(path)
    if len(labels := _labels(files)) > 1:
        return tuple(labels)
    head = table_head(files.files[0]) if files.files else None
    columns = None if head is None else _columns(head)
    if columns is None or "split" not in columns.at:
        return ()
    return _splits(_open(files.files[0], files, Receipt()))


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read the table that `subset` names, or all of a folder.

    Category ids are those of a column of class numbers, numbers themselves, or 1, 2, ... over the sorted classes of all
    tables. Other columns are kept in `Annotation.extra` as
    text. A row with no box and no class is an image without objects. Coordinates are taken as they stand, from 0;
    `origin` 1 says that the left and upper edges count from 1.

    Raises:
        DataError: there is no such table, an unknown subset, or no image has a size.
        MissingDependencyError: a table is Parquet, and pyarrow is not installed.
    """
    files = _tables(source.path)
    labels = _labels(files)
    if not files.files:
        raise DataError(f"{source.path}: no {', '.join(SUFFIXES)} file with columns of an image and a box")
    key = ("csv", source.path)
    if key not in source.shared:
        source.shared[key] = [_open(file, files, receipt) for file in files.files]
    # Classes and the kind of coordinates are those of all tables, so that subsets agree.
    every: list[_File] = source.shared[key]
    splits = _splits(every[0]) if len(every) == 1 else ()
    every = [_of_split(every[0], split) for split in splits] or [_without_split(file) for file in every]
    allowed = splits or (tuple(labels) if len(labels) > 1 else ())
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    every = _with_cells_told(every, source, receipt)
    chosen = every if source.subset is None else [every[allowed.index(source.subset)]]
    normalised = _normalised(every)
    for file in chosen:
        unit = "shares of the image" if normalised else "pixels"
        receipt.note("columns-found", file.label, f"{file.columns.describe()}; {unit}")
        if file.table.unread:
            receipt.note("attributes-lost", file.label, f"the columns {', '.join(file.table.unread)}")
        for line in file.table.ragged:
            detail = f"its cells are not the {len(file.columns.names)} of the header; missing ones were taken as empty"
            receipt.note("row-malformed", f"{file.label} line {line}", detail)
    if source.origin != "auto" and any(f.table.rows for f in chosen):
        receipt.note("origin-given", str(source.path), f"{source.origin}-based: as asked")
    if any("class" not in f.columns.at for f in every):
        receipt.note("class-assumed", str(source.path), f"no column of classes; all are {ONE_CLASS!r}")
    first = 1
    for file in every:
        if file is chosen[0]:
            break
        first += len({row.cells[file.columns.at["image"]] for row in file.table.rows})
    entries = list(_entries(chosen, source, normalised, receipt))
    receipt.files += [file.path for file in chosen]
    sized = any("image width" in f.columns.at for f in chosen)
    return assemble(entries, _categories(every), receipt, source=source.path, first_image_id=first, sized=sized)


def _categories(files: Sequence[_File]) -> tuple[Category, ...]:
    """The classes of all tables: numbered by a column of their numbers where each has one of its own, by themselves
    where they are numbers, else 1, 2, ... in alphabetical order."""
    found: dict[str, set[int]] = {}
    for file in files:
        place = file.columns.class_id
        for row in file.table.rows:
            if not _is_boxless(row, file.columns) and (name := _class(row, file.columns)):
                said = number(row.cells[place]) if place is not None else number(name)
                known = 0 <= said <= MOST_CLASSES and said.is_integer()
                found.setdefault(name, set()).add(int(said) if known else -1)
    ids = [min(numbers) for numbers in found.values() if len(numbers) == 1 and min(numbers) >= 0]
    if len(set(ids)) != len(found):
        return alphabetical(found)
    return tuple(Category(i, name) for i, name in sorted(zip(ids, found, strict=True)))


def _tables(path: Path) -> FileSet:
    """The tables of boxes at a path."""
    # Tables that are none of boxes may lie above those that are.
    for suffixes, deep, most in (
        (SUFFIXES, False, LOOK_AT * 20),
        (SUFFIXES, True, LOOK_AT * 20),
        ((BARE_TEXT,), False, LOOK_AT),
    ):
        files = find_files(path, *suffixes, deep=deep)
        tables = tuple(file for file in files.files[:most] if _is_table(file))
        if tables:
            break
    return replace(files, files=tables)


def _is_table(file: Path) -> bool:
    head = table_head(file)
    if head is None:
        return not has_pyarrow() and _is_parquet(file)
    if any(marks <= set(head.columns) for marks in FOREIGN):
        return False
    columns = _columns(head)
    if columns is None or (file.suffix.lower() == BARE_TEXT and not head.headless):
        return False
    boxed = [row for row in row_a_box(head.rows, columns) if not _is_boxless(row, columns)]
    good = sum(_numbers(row, columns) is not None for row in boxed)
    return 2 * good >= len(boxed)


def _columns(table: Table) -> Columns | None:
    """The columns by their names; that of the images by the file names in it where its own (`id`) does not tell."""
    found = find_columns(table.columns)
    if found is not None or not table.rows:
        return found
    first = [text_of(cell).lower().endswith(IMAGE_SUFFIXES) for cell in table.rows[0].cells]
    return find_columns(table.columns, first.index(True)) if True in first else None


def _is_parquet(file: Path) -> bool:
    try:
        with open(file, "rb") as stream:
            return file.suffix.lower() == ".parquet" and stream.read(4) == MAGIC
    except OSError:
        return False


def _labels(files: FileSet) -> dict[str, Path]:
    stems = [file.stem for file in files.files]
    if len(set(stems)) == len(stems):
        return dict(zip(stems, files.files, strict=True))
    return {
        files.label(file).rsplit("/", 1)[0] if "/" in files.label(file) else file.stem: file for file in files.files
    }


def _open(file: Path, files: FileSet, receipt: Receipt) -> _File:
    label = files.label(file)
    table = read_table(file, receipt, label)
    columns = _columns(table)
    if columns is None:
        raise DataError(f"{file}: no columns of an image and a box; got {', '.join(table.columns[:12])}")
    table = replace(table, rows=list(row_a_box(table.rows, columns)))
    table, columns = with_names(table, columns, file.parent)
    return _File(file, label, table, columns)


def _split(row: Row, columns: Columns) -> str:
    return text_of(row.cells[columns.at["split"]]).lower()


def _splits(file: _File) -> tuple[str, ...]:
    """The splits that a table's own column tells, where it holds nothing but names of splits; else none."""
    if "split" not in file.columns.at:
        return ()
    found = dict.fromkeys(_split(row, file.columns) for row in file.table.rows)
    return tuple(found) if len(found) > 1 and found.keys() <= {*SPLITS, "unassigned"} else ()


def _of_split(file: _File, split: str) -> _File:
    rows = [row for row in file.table.rows if _split(row, file.columns) == split]
    lines = {row.line for row in rows} if file.table.ragged else set()
    ragged = tuple(line for line in file.table.ragged if line in lines)
    return replace(file, table=replace(file.table, rows=rows, ragged=ragged))


def _without_split(file: _File) -> _File:
    """The table with its column of splits as one like any other."""
    if "split" not in file.columns.at:
        return file
    at = {key: place for key, place in file.columns.at.items() if key != "split"}
    rest = tuple(sorted((*file.columns.rest, file.columns.at["split"])))
    return replace(file, columns=replace(file.columns, at=at, rest=rest))


def _class(row: Row, columns: Columns) -> str:
    if "class" not in columns.at:
        return ONE_CLASS
    name = text_of(row.cells[columns.at["class"]])
    return "" if name == "[]" else name


def _is_boxless(row: Row, columns: Columns) -> bool:
    """Whether the row says no box at all: its class, if any ("No finding"), is of the whole image."""
    if len(columns.box) == 1:
        return is_empty(row.cells[columns.box[0]])
    return not any(text_of(row.cells[i]) for i in columns.box)


def _is_bare(row: Row, columns: Columns) -> bool:
    """Whether the row is an image without an object."""
    return _is_boxless(row, columns) and not ("class" in columns.at and _class(row, columns))


def _numbers(row: Row, columns: Columns) -> Numbers | None:
    """The four finite numbers of a box, as they stand."""
    cells: Sequence[Any] = [row.cells[i] for i in columns.box]
    if len(cells) == 1:
        return box_of(cells[0])
    a, b, c, d = map(number, cells)
    return (a, b, c, d) if math.isfinite(a + b + c + d) else None


def _normalised(files: Iterable[_File]) -> bool:
    """Whether coordinates are shares: none is above 1, and some are no whole numbers."""
    fractions = False
    for file in files:
        for row in file.table.rows:
            numbers = _numbers(row, file.columns)
            if numbers is None:
                continue
            if max(numbers) > 1.001:
                return False
            fractions = fractions or any(not value.is_integer() for value in numbers)
    return fractions


def _with_cells_told(files: list[_File], source: ReadSource, receipt: Receipt) -> list[_File]:
    """The tables, with what the four numbers of a box in one cell are, which is told over all of them."""
    untold = IN_ONE_CELL.values()
    if not any(file.columns.kind in untold for file in files):
        return files
    boxes = BoxNumbers()
    finders = _finders(files, source)
    for file in files:
        if file.columns.kind not in untold:
            continue
        sizes: dict[str, tuple[int, int] | None] = {}
        for row in file.table.rows:
            name, numbers = text_of(row.cells[file.columns.at["image"]]), _numbers(row, file.columns)
            if numbers is None:
                continue
            if name not in sizes:
                sizes[name] = _size([row], file.columns) or known_size(finders.find(name, file.path)[0])
            boxes.add(numbers, sizes[name])
    layout = boxes.layout()
    receipt.note("box-layout-found", str(source.path), layout.describe())
    return [
        replace(file, columns=replace(file.columns, kind=IN_ONE_CELL[layout.kind]))
        if file.columns.kind in untold
        else file
        for file in files
    ]


def _finders(files: Sequence[_File], source: ReadSource) -> Finders:
    root = source.path if source.path.is_dir() else source.path.parent
    called_so = {text_of(row.cells[file.columns.at["image"]]) for file in files for row in file.table.rows}
    splits = [name for file in files for name in (file.path.stem, file.path.stem.split("_")[0])]
    beside = [f"{above}{name}" for name in dict.fromkeys(splits) for above in ("", "images/")]
    return Finders(root, source.images, called_so, beside)


def _entries(files: Sequence[_File], source: ReadSource, normalised: bool, receipt: Receipt) -> Iterator[Entry]:
    """The images in the order of the tables, each with the objects of all its rows."""
    finders = _finders(files, source)
    for file in files:
        rows: dict[str, list[Row]] = {}
        unnamed: list[Row] = []
        for row in file.table.rows:
            name = text_of(row.cells[file.columns.at["image"]])
            if name:
                rows.setdefault(name, []).append(row)
            else:
                unnamed.append(row)
        for row in unnamed:
            bare = _is_bare(row, file.columns)
            where, category = f"{file.label} line {row.line}", _class(row, file.columns) or None
            if not bare:
                receipt.count_in(0, {category: 1})
                receipt.drop("image-not-listed", where, "the row names no image", category)
        for name, of_image in rows.items():
            path, called = finders.find(name, file.path)
            size = _size(of_image, file.columns)
            known = size or known_size(path)
            where = f"{file.label} line {of_image[0].line}"
            shapes = [
                _shape(row, file, known if normalised else (1, 1), source.origin)
                for row in of_image
                if not _is_bare(row, file.columns)
            ]
            yield Entry(where, called, size, path, shapes)


def _size(rows: Sequence[Row], columns: Columns) -> tuple[int, int] | None:
    if "image width" not in columns.at:
        return None
    for row in rows:
        width, height = whole(row.cells[columns.at["image width"]]), whole(row.cells[columns.at["image height"]])
        if width and height:
            return width, height
    return None


def _shape(row: Row, file: _File, scale_wh: tuple[int, int] | None, origin: Any) -> Shape:
    columns = file.columns
    where, name = f"{file.label} line {row.line}", _class(row, columns) or None
    extra = {columns.names[i]: row.cells[i] for i in columns.rest if columns.names[i] and text_of(row.cells[i])}
    crowd = "crowd" in columns.at and text_of(row.cells[columns.at["crowd"]]).lower() in {"1", "true", "1.0"}
    numbers = _numbers(row, columns)
    if numbers is None:
        said = ", ".join(f"{columns.names[i]}={text_of(row.cells[i]) or 'missing'}" for i in columns.box)
        code = "box-missing" if _is_boxless(row, columns) else "box-not-numeric"
        return Shape(where, name, fault=(code, said[:200]), iscrowd=crowd, extra=extra)
    box = _corners(numbers, columns.kind)
    # Without a size the image is left out, with all its objects, so that the scale does not matter.
    width, height = scale_wh or (1, 1)
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    if origin == 1:
        x0, y0 = x0 - 1, y0 - 1
    return Shape(where, name, (x0, y0, x1, y1), iscrowd=crowd, extra=extra)


def _corners(numbers: Numbers, kind: str) -> Corners:
    a, b, c, d = numbers
    if kind.startswith("corners"):
        return a, b, c, d
    if kind.startswith("centre and size"):
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, a + c, b + d
