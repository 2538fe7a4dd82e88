"""Tables with named columns: CSV with any of the usual separators, and Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvtune.data.formats.arrow_tables import open_arrow
from cvtune.data.formats.bare_tables import AUTOML, BARE, bare_columns, lines_of_images, sizes_instead
from cvtune.data.formats.texts import read_text
from cvtune.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from cvtune.data.receipt import Receipt

__all__ = ["SUFFIXES", "Row", "Table", "read_table", "table_head"]

SUFFIXES = (".csv", ".tsv", ".parquet")
SEPARATORS = ",;\t|"
HEAD = 1 << 16  # bytes that are looked at to tell what a table is
MAGIC = b"PAR1"
# As spreadsheets of half the world write numbers, with another separator.
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
MOST_COMMENTS = 100  # lines
LOOK_AT = 100  # rows of Parquet, for the same
MOST_TEXTS = 1 << 14  # that are told from others at a time


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in the file (of Parquet: its number from 1) and its cells, as many as there are columns."""

    line: int
    cells: tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """Names of columns as the file has them, stripped; rows in order; `ragged` are lines with too many or few cells.

    `unread` are columns of Parquet that hold neither numbers nor texts; `headless` says that the file does not name its
    columns.
    """

    columns: tuple[str, ...]
    rows: Sequence[Row]
    ragged: tuple[int, ...] = ()
    unread: tuple[str, ...] = ()
    headless: bool = False


def read_table(path: Path, receipt: Receipt | None = None, label: str | None = None) -> Table:
    """Read a table. Cells of CSV are stripped text; missing ones are empty; of Parquet they are what Arrow says.

    Raises:
        DataError: it cannot be read, or has no header.
        MissingDependencyError: it is Parquet, and pyarrow is not installed.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    return _parse(path, read_text(path, receipt, label))


def table_head(path: Path) -> Table | None:
    """The columns and the first rows of a CSV file, without reading all of it; None where it is none."""
    if path.suffix.lower() == ".parquet":
        try:
            return _read_parquet(path, LOOK_AT)
        except (DataError, MissingDependencyError):
            return None
    try:
        with open(path, "rb") as file:
            content = file.read(HEAD)
        if len(content) < HEAD:
            return _parse(path, read_text(path))
        text = content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig", "replace")
        return _parse(path, text.rsplit("\n", 1)[0])
    except (OSError, DataError):
        return None


def _parse(path: Path, text: str) -> Table:
    text = text.removeprefix("\ufeff")
    if (listed := lines_of_images(text)) is not None:
        return Table(BARE, [Row(line, cells) for line, cells in listed], headless=True)
    text, before = _without_comments(text)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=separator, skipinitialspace=True)
    columns: tuple[str, ...] = ()
    headless = False
    rows: list[Row] = []
    # Classes, flags and image names repeat over millions of rows: each is held once.
    once: dict[str, str] = {}
    ragged: list[int] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = bare_columns(cells)
                headless = bool(columns)
                if not headless:
                    columns = _vertices(cells) or tuple(cell.strip() for cell in (cells[0].lstrip("# "), *cells[1:]))
                    continue
            if len(cells) != len(columns):
                ragged.append(reader.line_num + before)
                cells = (cells + [""] * len(columns))[: len(columns)]
            if len(once) > MOST_TEXTS:
                once.clear()
            plain = [once.setdefault(cell, cell) for cell in map(str.strip, cells)]
            rows.append(Row(reader.line_num + before, tuple(plain)))
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num + before} is not valid CSV: {error}; mend or export it again"
        ) from error
    if not columns:
        raise DataError(f"{path}: the table is empty; expected a line with the names of the columns")
    if separator != "," and any(DECIMAL_COMMA.fullmatch(cell) for row in rows[:LOOK_AT] for cell in row.cells):
        rows = [Row(row.line, tuple([_with_point(cell) for cell in row.cells])) for row in rows]
    if headless:
        columns = sizes_instead(columns, [row.cells for row in rows])
    return Table(columns, rows, tuple(ragged), headless=headless)


def _without_comments(text: str) -> tuple[str, int]:
    """The text from its header on, and how many lines of comments stand before it; a header may begin with # too."""
    lines = text.split("\n", MOST_COMMENTS)
    body = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    if not body or any(lines[body - 1].count(mark) == lines[body].count(mark) > 0 for mark in SEPARATORS):
        return text, 0
    return "\n".join(lines[body:]), body


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell


def _vertices(cells: Sequence[str]) -> tuple[str, ...]:
    """AutoML's columns, where a header names its eight coordinates, some of them twice or not at all; else none."""
    plain = [re.sub(r"[^a-z]", "", cell.lower()) for cell in cells]
    sides = [name if name in {"xmin", "ymin", "xmax", "ymax"} else "" for name in plain[-8:]]
    first, third = sides[:2], sides[4:6]
    if len(plain) not in {len(AUTOML), len(AUTOML) - 1} or first != ["xmin", "ymin"] or third != ["xmax", "ymax"]:
        return ()
    return (*(cell.strip() for cell in cells[:-8]), *AUTOML[-8:])


def _read_parquet(path: Path, most: int | None = None) -> Table:
    """The columns of numbers, texts and lists of them, of images inside the table their paths; `most` rows."""
    file = open_arrow(path)
    wanted, unread = _usable(file.schema)
    rows: list[Row] = []
    once: dict[str, str] = {}
    for batch in file.batches(list(wanted)):
        if len(once) > MOST_TEXTS:
            once.clear()
        for values in zip(*batch.values(), strict=True):
            cells = tuple([_cell(value, once) for value in values])
            rows.append(Row(len(rows) + 1, cells))
        if most is not None and len(rows) >= most:
            break
    return Table(tuple(wanted.values()), rows, unread=unread)


def _usable(schema: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """(what to read -> what to call it, the columns that are left out) of pyarrow's schema."""
    wanted: dict[str, str] = {}
    unread: list[str] = []
    for column in schema:
        kind, name = column.type, str(column.name)
        fields = {field.name for field in kind} if kind.num_fields and str(kind).startswith("struct") else set()
        if "bytes" in fields and "path" in fields:
            wanted[f"{name}.path"] = name
        elif fields or "binary" in str(kind):
            unread.append(name)
        else:
            wanted[name] = name
    return wanted, tuple(unread)


def _cell(value: Any, once: dict[str, str]) -> Any:
    if isinstance(value, str):
        return once.setdefault(value, value)
    # Dates, decimals and the like have no form of their own in JSON.
    return value if value is None or isinstance(value, bool | int | float | list) else str(value)
