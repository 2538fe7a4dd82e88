"""Values as short, harmless text: numbers, durations, names that anybody may have written."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeGuard

__all__ = ["clean", "count", "difference", "duration", "is_number", "percent", "plural", "shorten", "value_text"]

NOTHING = "–"
# Marks that make a reader see text in another order than it is written: a name may not carry them into the page.
BIDI_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: object) -> str:
    """One line without control characters, lone surrogates and direction overrides; runs of blanks become one."""
    plain = BIDI_MARKS.sub("", str(text))
    # Cc: control, Cs: lone surrogate (not UTF-8), Zl and Zp: line and paragraph separators.
    plain = "".join(" " if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} else c for c in plain)
    return " ".join(plain.split())


def shorten(text: object, limit: int = 80) -> str:
    """`clean` text of at most `limit` characters; the middle gives way, so that a file keeps its suffix."""
    # A 10,000-character name is cut before it is looked at character by character.
    raw = str(text)
    if len(raw) > 4 * limit:
        raw = raw[: 2 * limit] + raw[-2 * limit :]
    plain = clean(raw)
    if len(plain) <= limit and len(str(text)) <= 4 * limit:
        return plain
    tail = limit // 3
    return f"{plain[: limit - tail - 1]}…{plain[-tail:]}"


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is an int or a finite float, and no bool."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
    )


def percent(value: object) -> str:
    """A fraction 0..1 times 100 with one decimal; a dash for COCO's -1 (no ground truth) and for what is no number."""
    return f"{100 * value:.1f}" if is_number(value) and value >= 0 else NOTHING


def difference(value: object, base: object) -> str:
    """``+1.2`` or ``−0.4``: the difference of two fractions times 100; empty where either is missing."""
    if not (is_number(value) and is_number(base)) or value < 0 or base < 0:
        return ""
    points = round(100 * value, 1) - round(100 * base, 1)
    if abs(points) < 0.05:
        return "±0.0"
    return f"{'+' if points > 0 else '−'}{abs(points):.1f}"


def count(value: object) -> str:
    """``1,234``; a dash for what is no number."""
    if not is_number(value):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def plural(number: int, noun: str, several: str = "") -> str:
    """``1 image``, ``2 images``."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def duration(seconds: object) -> str:
    """``38 s``, ``41 min``, ``2 h 05 min``; a dash for what is no number."""
    if not is_number(seconds) or seconds < 0:
        return NOTHING
    whole = round(float(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def value_text(value: object, limit: int = 160) -> str:
    """A setting as it would be written in a spec; long ones are shortened, pending ones say what they wait for."""
    if isinstance(value, Mapping) and value.get("pending"):
        return shorten(f"waits for the machine: {value.get('rule', '')}", limit)
    if isinstance(value, str):
        return shorten(value, limit)
    return shorten(json.dumps(_rounded(value), ensure_ascii=False, default=str), limit)


def _rounded(value: Any) -> Any:
    """Floats at six significant digits: 0.0025000000000000005 is nobody's setting."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if is_number(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _rounded(entry) for key, entry in list(value.items())[:50]}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value[:50]] + (["…"] if len(value) > 50 else [])
    return value
