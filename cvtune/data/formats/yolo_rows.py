"""Lines of YOLO's labels told from those of other text files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cvtune.data.formats.texts import number
from cvtune.data.formats.yolo_config import MOST_CLASSES

__all__ = ["any_numbers", "is_row", "mostly_rows"]

ROW = 5  # values


def is_row(values: Sequence[str]) -> bool:
    """Whether the words of a line are a class and four or more shares of an image."""
    numbers = np.array([number(value) for value in values])
    if len(numbers) < ROW or not np.isfinite(numbers).all():
        return False
    return 0 <= numbers[0] < MOST_CLASSES and float(numbers[0]).is_integer() and bool((abs(numbers[1:]) <= 2).all())


def any_numbers(lines: Sequence[str]) -> bool:
    """Whether a line is as many numbers as a row has, be they shares of an image or not."""
    return any(len(words := line.split()) >= ROW and all(map(_is_finite, words)) for line in lines)


def _is_finite(word: str) -> bool:
    return math.isfinite(number(word))


def mostly_rows(lines: Sequence[str]) -> bool:
    """Whether more than half of some lines are rows: a broken one among others is that object's fault."""
    return 2 * sum(is_row(line.split()) for line in lines) > len(lines)
