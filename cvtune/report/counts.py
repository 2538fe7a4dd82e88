"""How many detections are right and wrong at every threshold, per class: what the page's slider shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.report.matching import Objects
from cvtune.report.mistakes import IGNORED, MISTAKES, RIGHT

__all__ = ["STEPS", "Counts", "Tally", "count_all", "whole_scores"]

STEPS = 100
"""Thresholds are hundredths: 0, 0.01, ..., 1."""
CODES = IGNORED + 1
MOST_CLASSES = 200


@dataclass(frozen=True)
class Tally:
    """Found objects, false detections and missed objects at one threshold; `mistakes`: code -> false detections."""

    right: int
    false: int
    missed: int
    mistakes: Mapping[int, int]

    @property
    def f1(self) -> float:
        """2 right / (2 right + false + missed), in 0..1; 0 where there is nothing."""
        total = 2 * self.right + self.false + self.missed
        return 2 * self.right / total if total else 0.0


@dataclass(frozen=True, eq=False)
class Counts:
    """`table`: int64 [classes, STEPS + 1, codes], detections by class, hundredth of their score and code.

    `objects`: int64 [classes], crowds not counted.
    """

    table: NDArray[np.int64]
    objects: NDArray[np.int64]

    def at(self, step: int, class_index: int | None = None) -> Tally:
        """The tally of detections with a score of at least `step` hundredths, of one class or of all."""
        rows = slice(None) if class_index is None else slice(class_index, class_index + 1)
        codes = self.table[rows, step:].sum((0, 1))
        objects, right = int(self.objects[rows].sum()), int(codes[RIGHT])
        mistakes = {code: int(codes[code]) for code in MISTAKES}
        return Tally(right, sum(mistakes.values()), objects - right, mistakes)

    def best_step(self) -> int | None:
        """The hundredth at which F1 over all classes is best (the highest of equals); None where nothing was found."""
        codes = self.table.sum(0)[::-1].cumsum(0)[::-1]
        right, false = codes[:, RIGHT], codes[:, list(MISTAKES)].sum(1)
        if not right[0]:
            return None
        f1 = 2 * right / (right + false + self.objects.sum())
        return int(STEPS - np.argmax(f1[::-1]))

    def to_json(self) -> dict[str, Any]:
        """For the page: `classes`, a record a class, and `rest`, the classes beyond the 200 with most objects.

        A record: `index` (-1 for the rest), `objects`, `bins`: [hundredth, detections of code 0, 1, ...] by rising
        hundredth, without empty ones.
        """
        most = np.argsort(-self.objects, kind="stable")
        listed, rest = sorted(most[:MOST_CLASSES].tolist()), most[MOST_CLASSES:]
        records = [_record(i, int(self.objects[i]), self.table[i]) for i in listed]
        if len(rest):
            records.append(_record(-1, int(self.objects[rest].sum()), self.table[rest].sum(0)))
        return {"classes": records}


def whole_scores(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Scores in ten-thousandths, rounded down: what page and table compare with a threshold. Within 0..10,000."""
    return np.clip(np.floor(score * 10_000 + 1e-6), 0, 10_000).astype(np.int64)


def count_all(truth: Objects, found: Objects, codes: NDArray[np.int8], classes: int) -> Counts:
    """Count every detection by class, hundredth of its score and code (see `find_mistakes`)."""
    table = np.zeros((classes, STEPS + 1, CODES), np.int64)
    np.add.at(table, (found.category, whole_scores(found.score) // 100, codes.astype(np.int64)), 1)
    return Counts(table, np.bincount(truth.category[~truth.crowd], minlength=classes))


def _record(index: int, objects: int, table: NDArray[np.int64]) -> dict[str, Any]:
    filled = np.flatnonzero(table.any(1)).tolist()
    return {"index": index, "objects": objects, "bins": [[step, *table[step].tolist()] for step in filled]}
