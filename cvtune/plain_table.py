"""Tables as plain text, for files and pipes: a row is a line, so that grep and awk can read it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

__all__ = ["plain_table"]

WIDEST = 100
"""Longer cells are cut: one absurd name would push every other column out of sight."""


NUMBER = re.compile(r"[+-]?[\d,]+(\.\d+)?|-")


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool] | None = None) -> str:
    """Lines of cells under their titles, with a rule between.

    `right` says which columns are aligned to the right: those of numbers alone where it is left out.
    """
    cells = [[_shown(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(_width, column)) for column in zip_longest(*cells, fillvalue="")]
    if right is None:
        right = [all(map(NUMBER.fullmatch, column)) for column in zip_longest(*rows, fillvalue="-")]
    sides = [*right, *[False] * len(widths)]

    def line(row: Sequence[str]) -> str:
        padding = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False)]
        return "   ".join(p + c if r else c + p for c, p, r in zip(row, padding, sides, strict=False)).rstrip()

    rule = "\u2500" * (sum(widths) + 3 * (len(widths) - 1))
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def _shown(cell: str) -> str:
    """Without line breaks and whatever else moves a terminal's cursor."""
    if not cell.isprintable():
        cell = "".join(letter if letter.isprintable() else " " for letter in cell)
    return cell if len(cell) <= WIDEST else cell[: WIDEST - 1] + "\u2026"


def _width(cell: str) -> int:
    """How many columns of a terminal a text takes: two for Chinese letters and emoji, none for accents apart."""
    if cell.isascii():
        return len(cell)
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in cell
    )
