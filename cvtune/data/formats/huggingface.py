"""Hugging Face's `datasets` in Parquet, or as `save_to_disk` leaves them in Arrow: images inside, objects in lists.

``data/train-00000-of-00001.parquet``, ``train/*.parquet``, shards or not; splits by the names of files and folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.arrow_tables import ArrowFile, has_pyarrow, open_arrow
from cvtune.data.formats.box_layout import BoxLayout, BoxNumbers
from cvtune.data.formats.entries import Entry, assemble
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.huggingface_columns import ImageColumns, find_image_columns, part_of, table_files
from cvtune.data.formats.huggingface_names import class_names
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.object_lists import categories_of, items_of, shape_of
from cvtune.data.formats.texts import whole
from cvtune.data.image_names import has_suffix, unique_name
from cvtune.data.images import size_of_content
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError, nearest

__all__ = ["detect", "embedded_images", "read", "subsets", "write"]

Size = tuple[int, int]
# Rows that are held at a time where their images are read too.
FEW, MANY = 32, 1024


@dataclass(frozen=True)
class _Table:
    file: ArrowFile
    label: str
    part: str
    columns: ImageColumns


@dataclass(frozen=True)
class _Scan:
    """What all tables of a set say together; `sizes_wh` are those of each table's images."""

    tables: tuple[_Table, ...]
    sizes_wh: tuple[list[Size | None], ...]
    names: tuple[str, ...]
    names_file: Path | None
    layout: BoxLayout
    categories: tuple[Category, ...]
    one_class: bool


def detect(path: Path) -> str | None:
    """Evidence that `path` holds tables of images with a list of objects each."""
    if not has_pyarrow():  # Parquet is claimed by `csv`, which says what is missing too
        arrow = next((file for file in table_files(path) if file.suffix.lower() == ".arrow"), None)
        return None if arrow is None else f"{arrow.name}, an Arrow table (pyarrow is not installed)"
    try:
        tables = _tables(path, damaged=True)
    except DataError as error:
        return str(error) if "several configurations" in str(error) else None  # reading says what to do
    if not tables:
        return None
    more = f" and {len(tables) - 1} more" if len(tables) > 1 else ""
    return f"{tables[0].label}{more} with the columns {tables[0].columns.describe()}"


def subsets(path: Path) -> tuple[str, ...]:
    """The splits, by the names of files and folders; none where there is one."""
    found = (
        dict.fromkeys(table.part for table in _tables(path, damaged=True)) if path.is_dir() and has_pyarrow() else {}
    )
    return tuple(found) if len(found) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes, or polygons, of every image. Images inside the tables stay there; `embedded_images` takes them out.

    Category ids are the numbers in the tables, which count from 0, with the names of the schema or of the data set's
    card; classes that are names are numbered 1, 2, ... in alphabetical order. What the four numbers of a box are is
    decided over all tables.

    Raises:
        DataError: there is no such table, one is damaged, the subset is unknown, or several configurations are there.
        MissingDependencyError: pyarrow is not installed.
    """
    key = ("huggingface", source.path)
    if key not in source.shared:
        source.shared[key] = _scan(source.path)
    scan: _Scan = source.shared[key]
    chosen = _chosen(scan.tables, source)
    if any(scan.sizes_wh):
        receipt.note("box-layout-found", str(source.path), scan.layout.describe())
    if scan.one_class:
        receipt.note("class-assumed", str(source.path), f"no column of classes; all are {scan.categories[0].name!r}")
    for table in chosen:
        if table.columns.unread:
            receipt.note("attributes-lost", table.label, f"the columns {', '.join(table.columns.unread)}")
    receipt.files += [table.file.path for table in chosen]
    if scan.names_file is not None:
        receipt.files.append(scan.names_file)
    before = scan.tables.index(chosen[0])
    return assemble(
        _entries(chosen, scan, source),
        scan.categories,
        receipt,
        source=source.path,
        first_image_id=1 + sum(map(len, scan.sizes_wh[:before])),
        sized=False,
    )


def embedded_images(source: ReadSource) -> Iterator[tuple[str, bytes]]:
    """(the name that `read` gave it, its content) of every image inside the tables, some at a time.

    Raises:
        DataError: a table is damaged.
    """
    taken: set[str] = set()
    for table in _chosen(_tables(source.path), source):
        if table.columns.content is not None:
            for _, name, row in _named(table, taken, content=True):
                if isinstance(content := row[table.columns.content], bytes):
                    yield name, content


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: the tables hold the images, which are not copied."""
    raise UnsupportedError("format: 'huggingface' is read only; write `imagefolder`, which `datasets` loads")


def _tables(path: Path, damaged: bool = False) -> list[_Table]:
    """The tables of images with objects, split by split, those left out that are `damaged`, where that is borne.

    Raises:
        DataError: a table is damaged, or the folder holds several configurations, which would give every image several
            times.
    """
    root = path if path.is_dir() else path.parent
    found = []
    for file in table_files(path):
        try:
            opened = open_arrow(file)
        except DataError:
            if not damaged:
                raise
            continue
        columns = find_image_columns(opened.schema)
        if columns is not None:
            found.append(_Table(opened, FileSet(root, ()).label(file), part_of(file, root), columns))
    homes: dict[str, set[Path]] = {}
    for table in found:
        homes.setdefault(table.part, set()).add(table.file.path.parent)
    several = next((folders for folders in homes.values() if len(folders) > 1), None)
    if several is not None:
        names = ", ".join(sorted(folder.relative_to(root).as_posix() for folder in several))
        raise DataError(f"{path}: holds several configurations ({names}); give the path of one of them")
    return sorted(found, key=lambda table: list(homes).index(table.part))


def _chosen(tables: Iterable[_Table], source: ReadSource) -> list[_Table]:
    found = list(tables)
    if not found:
        raise DataError(f"{source.path}: no Parquet or Arrow table of images with a list of boxes each")
    if source.subset is None:
        return found
    allowed = tuple(dict.fromkeys(table.part for table in found))
    chosen = [table for table in found if table.part == source.subset]
    if not chosen or len(allowed) < 2:
        listed = ", ".join(allowed) if len(allowed) > 1 else "none"
        raise DataError(
            f"{source.path}: no subset {source.subset!r}; allowed: {listed}{nearest(source.subset, allowed)}"
        )
    return chosen


def _scan(path: Path) -> _Scan:
    """Look at the objects, and no more, of every table."""
    tables = _tables(path)
    if not tables:
        _chosen(tables, ReadSource(path))
    names, names_file = class_names(tables[0].file.schema, path if path.is_dir() else path.parent)
    boxes, given, objects = BoxNumbers(), set[int | str](), 0
    classed = False
    sizes: list[list[Size | None]] = []
    for table in tables:
        sizes.append([])
        measured = [table.columns.content] if table.columns.content and not table.columns.size else []
        for row in _rows(table, [*table.columns.objects, *table.columns.size, *measured]):
            size = _size(row, table.columns)
            sizes[-1].append(size)
            for item in items_of(table.columns.objects_of(row)):
                objects += 1
                classed |= item.classed
                if item.given is not None:
                    given.add(item.given)
                if item.numbers is not None:
                    boxes.add(item.numbers, size, item.area, item.named)
    one_class = bool(objects) and not classed
    categories = categories_of(given, one_class)
    # Numbers beyond the list, and -1, are no classes; names in the tables need no list of them.
    if names and all(isinstance(value, int) for value in given):
        categories = tuple(Category(i, name) for i, name in enumerate(names))
        one_class = False
    else:
        names, names_file = (), None
    return _Scan(tuple(tables), tuple(sizes), names, names_file, boxes.layout(), categories, one_class)


def _entries(tables: Iterable[_Table], scan: _Scan, source: ReadSource) -> Iterator[Entry]:
    root = source.path if source.path.is_dir() else source.path.parent
    finders = Finders(root, source.images)
    sizes_of = {table.label: sizes for table, sizes in zip(scan.tables, scan.sizes_wh, strict=True)}
    taken: set[str] = set()
    for table in tables:
        columns, sizes = table.columns, sizes_of[table.label]
        inside = columns.content is not None
        for number, called, row in _named(table, taken, content=False):
            where = f"{table.label} row {number}"
            path, name = finders.find(called, table.file.path) if source.images or not inside else (None, called)
            size = sizes[number - 1] or known_size(path)
            shapes = [
                shape_of(item, f"{where} object {i}", scan.layout, size, scan.names, scan.one_class)
                for i, item in enumerate(items_of(columns.objects_of(row)))
            ]
            extra = {key: row[key] for key in columns.rest if row[key] is not None}
            yield Entry(where, name if path else called, size, path, shapes, extra, embedded=inside)


def _named(table: _Table, taken: set[str], content: bool) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(its number from 1, the image's name, columns by name) of each row; images' content where it is asked for.

    Images inside the table are called by the last part of their path, or else by the split and their number, and get
    other names than those `taken`, which grows.
    """
    columns = table.columns
    wanted = [*columns.objects, *columns.size, *columns.rest, *columns.name]
    # Only the content tells the suffix of a name that has none.
    first = next(_rows(table, columns.name, 1), {})
    looked = columns.content is not None and not has_suffix(_called(first, columns))
    if columns.content is not None and (content or looked):
        wanted.append(columns.content)
    for number, row in enumerate(_rows(table, wanted), start=1):
        name = _called(row, columns)
        if columns.content is not None:
            name = name.rpartition("/")[2] or f"{table.part}_{number:06d}"
            name = unique_name(name, row.get(columns.content) if looked else None, taken)
        yield number, name, row


def _called(row: dict[str, Any], columns: ImageColumns) -> str:
    name = next((str(row[key]) for key in columns.name if row.get(key) not in (None, "")), "")
    return name.strip().replace("\\", "/")


def _rows(table: _Table, columns: Iterable[str], rows: int | None = None) -> Iterator[dict[str, Any]]:
    """The rows, some columns of them; few are held at a time where they hold images."""
    listed = list(dict.fromkeys(columns))
    for batch in table.file.batches(listed, rows or (FEW if table.columns.content in listed else MANY)):
        for values in zip(*(batch[column] for column in listed), strict=True):
            yield dict(zip(listed, values, strict=True))


def _size(row: dict[str, Any], columns: ImageColumns) -> Size | None:
    """Width and height as the table says them, or else the image inside it."""
    content = row.get(columns.content or "")
    if isinstance(content, bytes) and not columns.size:
        return size_of_content(content)
    stated = [whole(row[key]) for key in columns.size]
    return (stated[0], stated[1]) if stated and all(stated) else None
