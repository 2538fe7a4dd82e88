"""Which images a report shows, a bounded number: the worst, those of each kind of mistake, the best, random ones."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvtune.report.detections import PictureData
from cvtune.report.mistakes import MISTAKES, RIGHT

__all__ = ["Choice", "Seen", "choose_images", "look_at"]

WORST, A_KIND, BEST, RANDOM, SEED = 8, 2, 3, 6, 0


@dataclass(frozen=True)
class Choice:
    """An image's position and why it is shown: worst, mistake, best or random."""

    image: int
    reason: str


@dataclass(frozen=True, eq=False)
class Seen:
    """Numbers of each image at one threshold, int64 [images]; `mistakes`: the same for each code."""

    objects: NDArray[np.int64]
    right: NDArray[np.int64]
    missed: NDArray[np.int64]
    mistakes: Mapping[int, NDArray[np.int64]]

    @property
    def false(self) -> NDArray[np.int64]:
        """False detections of every kind."""
        return np.asarray(sum(self.mistakes.values(), np.zeros_like(self.right)), np.int64)


def look_at(data: PictureData, codes: NDArray[np.int8], shown: NDArray[np.bool_]) -> Seen:
    """Count per image what the detections that are `shown` (bool [detections]) do."""
    images = len(data.paths)
    right = np.bincount(data.found.image[shown & (codes == RIGHT)], minlength=images)
    objects = np.bincount(data.truth.image[~data.truth.crowd], minlength=images)
    mistakes = {c: np.bincount(data.found.image[shown & (codes == c)], minlength=images) for c in MISTAKES}
    return Seen(objects, right, objects - right, mistakes)


def choose_images(seen: Seen) -> list[Choice]:
    """Choose by rising position among equals; the random ones are drawn from the rest with a fixed seed."""
    chosen: dict[int, str] = {}

    def take(by: NDArray[np.int64], most: int, reason: str) -> None:
        for i in np.argsort(-by, kind="stable").tolist():
            if most <= 0 or by[i] <= 0:
                return
            if i not in chosen:
                chosen[i] = reason
                most -= 1

    take(seen.missed + seen.false, WORST, "worst")
    for by in (*seen.mistakes.values(), seen.missed):
        take(by, A_KIND, "mistake")
    clean = (seen.missed + seen.false) == 0
    take(np.where(clean, seen.objects, 0), BEST, "best")
    rest = sorted(set(range(len(seen.objects))) - set(chosen))
    drawn = sorted(random.Random(SEED).sample(rest, min(RANDOM, len(rest))))
    return [Choice(i, reason) for i, reason in chosen.items()] + [Choice(i, "random") for i in drawn]
