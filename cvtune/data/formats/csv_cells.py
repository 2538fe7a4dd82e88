"""Cells of a table that hold more than a number: a box, or all boxes of an image."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cvtune.data.formats.csv_columns import IN_ONE_CELL, Columns
from cvtune.data.formats.tables import Row, Table
from cvtune.data.formats.texts import number
from cvtune.data.formats.yolo_config import NAME_FILES, listed_names

__all__ = ["box_of", "is_empty", "row_a_box", "text_of", "with_names"]

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# As NumPy prints what it holds.
WRAPPED = re.compile(r"(?:np|numpy)\.\w+\(([^()]*)\)")
WORDS = re.compile(r"\b(?:array|tensor|dtype=\w+)\b")
GROUP = re.compile(r"[\[(]([^\[\]()]*)[\])]")
NAMES = re.compile(r"'([^']*)'|\"([^\"]*)\"|([^\s,;'\"\[\]]+)")
# Longer texts are something else.
LONGEST = 1 << 18
Numbers = tuple[float, float, float, float]


def text_of(value: Any) -> str:
    """A cell as text; of a missing value none."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value).strip()


def box_of(cell: Any) -> Numbers | None:
    """The four finite numbers of the one box in a cell, however they are set apart."""
    if isinstance(cell, str):
        boxes = _boxes(cell)
        return boxes[0] if boxes is not None and len(boxes) == 1 else None
    if not isinstance(cell, list | tuple) or len(cell) != 4:
        return None
    a, b, c, d = map(number, cell)
    return (a, b, c, d) if math.isfinite(a + b + c + d) else None


def is_empty(cell: Any) -> bool:
    """Whether a cell says that there is no box: nothing, [], no_box."""
    return not text_of(cell) or (isinstance(cell, str) and _boxes(cell) == [])


def row_a_box(rows: Sequence[Row], columns: Columns) -> Iterator[Row]:
    """The rows, those of several boxes in one cell ("1 2 3 4;5 6 7 8", "[[1, 2, 3, 4], [5, 6, 7, 8]]") as one for each.

    Classes may be as many, in a cell of their own.
    """
    place = columns.at["bbox"] if columns.kind in IN_ONE_CELL.values() else None
    named = columns.at.get("class")
    for row in rows:
        cell = row.cells[place] if place is not None else None
        boxes = _boxes(cell) if isinstance(cell, str) else None
        if place is None or boxes is None or len(boxes) < 2:
            yield row
            continue
        classes = _listed(row.cells[named]) if named is not None else []
        if classes and len(classes) != len(boxes):
            yield row
            continue
        for i, box in enumerate(boxes):
            cells = list(row.cells)
            cells[place] = list(box)
            if named is not None and classes:
                cells[named] = classes[i]
            yield Row(row.line, tuple(cells))


def with_names(table: Table, columns: Columns, folder: Path) -> tuple[Table, Columns]:
    """A table without a header whose classes are numbers, with their names where a list lies beside it."""
    lists = [file for name in ("_classes.txt", *NAME_FILES) if (file := folder / name).is_file()]
    if not table.headless or not lists or "class" not in columns.at:
        return table, columns
    known = {str(i): name for i, name in enumerate(listed_names(lists[0])) if name}
    place = columns.at["class"]
    if not all(row.cells[place] in known for row in table.rows if row.cells[place]):
        return table, columns
    rows = [
        Row(row.line, (*row.cells[:place], known.get(cell, ""), *row.cells[place + 1 :], cell))
        for row in table.rows
        for cell in (row.cells[place],)
    ]
    names = (*columns.names, "class_id")
    return replace(table, columns=names, rows=rows), replace(columns, names=names, rest=(*columns.rest, len(names) - 1))


def _listed(cell: Any) -> list[str]:
    """The names of a list in a cell; none where it is no list."""
    text = text_of(cell)
    if not text.startswith("["):
        return []
    return ["".join(found).strip() for found in NAMES.findall(text)]


def _boxes(cell: str) -> list[Numbers] | None:
    """The boxes in a text, none of "no_box" and the like; None where it is something else."""
    text = WORDS.sub("", WRAPPED.sub(r"\1", cell[: LONGEST + 1]))
    if len(text) > LONGEST:
        return None
    if not any(letter.isdigit() for letter in text):
        return []
    if re.search(r"[A-Za-z:{}]", NUMBER.sub("", text)):
        return None
    groups = [NUMBER.findall(group) for group in GROUP.findall(text) or text.split(";")]
    groups = [group for group in groups if group]
    if len(groups) == 2 and len(groups[0]) == len(groups[1]) == 2:  # two points
        groups = [groups[0] + groups[1]]
    boxes = [tuple(map(float, group)) for group in groups]
    if not all(len(box) == 4 and math.isfinite(sum(box)) for box in boxes):
        return None
    return [(box[0], box[1], box[2], box[3]) for box in boxes]
