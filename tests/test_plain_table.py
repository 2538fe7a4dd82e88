from __future__ import annotations

import unicodedata

import pytest

from cvtune.plain_table import WIDEST, plain_table


def test_a_row_is_a_line_and_columns_stand_below_each_other() -> None:
    lines = plain_table(["name", "n"], [["a", "1"], ["longer", "23"]]).splitlines()
    assert lines == ["name      n", "\u2500" * 11, "a         1", "longer   23"]


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (["1", "23"], True),
        (["+1.5", "-", "-12.25"], True),
        (["1,234", "7"], True),
        (["1", "2 px"], False),
        (["1.5 to 2", "1"], False),
        (["a", "1"], False),
    ],
)
def test_columns_of_numbers_are_aligned_to_the_right(cells: list[str], right: bool) -> None:
    lines = plain_table(["title of it", "x"], [[cell, "x"] for cell in cells]).splitlines()[2:]
    placed = [cell.rjust(11) if right else cell.ljust(11) for cell in cells]
    assert [line[:11] for line in lines] == placed


def test_names_of_any_letters_keep_the_columns_in_place() -> None:
    names = ["plain", "\u7ea2\u7ec6\u80de", "e\u0301te\u0301", "two\nlines\x1b[31m", "x" * 10_000]
    lines = plain_table(["name", "n"], [[name, "7"] for name in names]).splitlines()
    assert len(lines) == 2 + len(names)
    assert "\x1b" not in "".join(lines)

    def columns(text: str) -> int:
        return sum((not unicodedata.combining(c)) + (unicodedata.east_asian_width(c) in "WF") for c in text)

    assert {columns(line) for line in lines[2:]} == {WIDEST + 4}


def test_no_columns_no_rows() -> None:
    assert plain_table(["a"], []).splitlines() == ["a", "\u2500"]
