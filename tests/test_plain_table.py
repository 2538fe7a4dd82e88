from __future__ import annotations

import unicodedata

from cvtune.plain_table import WIDEST, plain_table


def test_a_row_is_a_line_and_columns_stand_below_each_other() -> None:
    lines = plain_table(["name", "n"], [["a", "1"], ["longer", "23"]], [False, True]).splitlines()
    assert lines == ["name      n", "\u2500" * 11, "a         1", "longer   23"]


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
