"""Numbers, names and settings as short, harmless text."""

from __future__ import annotations

import pytest

from cvtune.report.text import clean, count, difference, duration, percent, plural, shorten, value_text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.498, "49.8"),
        (0, "0.0"),
        (1.0, "100.0"),
        (-1, "–"),
        (-1.0, "–"),
        (None, "–"),
        ("0.5", "–"),
        (True, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_percent(value: object, expected: str) -> None:
    assert percent(value) == expected


@pytest.mark.parametrize(
    ("value", "base", "expected"),
    [
        (0.51, 0.498, "+1.2"),
        (0.494, 0.498, "−0.4"),
        (0.4981, 0.498, "±0.0"),
        # The difference is that of the numbers shown: 50.1 and 49.9.
        (0.5006, 0.4994, "+0.2"),
        (-1, 0.5, ""),
        (0.5, -1, ""),
        (None, 0.5, ""),
    ],
)
def test_difference(value: object, base: object, expected: str) -> None:
    assert difference(value, base) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (38.4, "38 s"),
        (119, "119 s"),
        (2466, "41 min"),
        (7190, "2 h 00 min"),
        (7500, "2 h 05 min"),
        (None, "–"),
    ],
)
def test_duration(seconds: object, expected: str) -> None:
    assert duration(seconds) == expected


def test_count_and_plural() -> None:
    assert count(41_299_161) == "41,299,161"
    assert count("12") == "–"
    assert plural(1, "image") == "1 image"
    assert plural(1200, "class", "classes") == "1,200 classes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\tc", "a b c"),
        ("a\x00b\x1bc", "a b c"),
        ("safe\u202egpj.exe", "safegpj.exe"),
        ("\u2066a\u2069\u200f", "a"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("חתול", "חתול"),
        ("line\u2028separator", "line separator"),
        ("👩‍🔬", "👩‍🔬"),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_shorten_keeps_both_ends() -> None:
    short = shorten("folder/" + "x" * 10_000 + ".png", 40)
    assert len(short) == 40
    assert short.startswith("folder/x")
    assert short.endswith(".png")
    assert "…" in short
    assert shorten("short", 40) == "short"
    assert len(shorten("a" * 41, 40)) == 40


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (0.0025000000000000005, "0.0025"),
        ("sgd", "sgd"),
        ([7.385, 10.15384615], "[7.385, 10.1538]"),
        ({"metric": "bbox/AP", "patience": 5}, '{"metric": "bbox/AP", "patience": 5}'),
        ({"pending": "probe", "rule": "4 a device"}, "waits for the machine: 4 a device"),
        (float("inf"), '"inf"'),
    ],
)
def test_value_text(value: object, expected: str) -> None:
    assert value_text(value) == expected


def test_a_long_list_is_cut() -> None:
    assert len(value_text(list(range(100_000)))) <= 160
