"""Four numbers a box, and what they are: a corner and a size, two corners, or the centre and a size; pixels or shares.

Where a format leaves it open, it is decided once, over all boxes of a set, by evidence.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoxLayout", "BoxNumbers", "find_box_layout"]

Kind = Literal["corner and size", "corners", "centre and size"]
# A box sticks out where it does so by more than this share of the image: annotators draw a little over its edge.
OVER = 0.02
# Stated areas tell where they fit this share of the boxes, to this share of the area.
FITS, NEAR = 0.5, 0.01
# Shares of an image are rounded, so that the largest may be a little above 1.
ONE = 1.001


@dataclass(frozen=True)
class BoxLayout:
    """What the numbers of a set's boxes are, and why it was taken so, for the receipt."""

    kind: Kind
    normalised: bool
    evidence: str

    def corners(self, numbers: Sequence[float], size_wh: tuple[int, int] | None) -> tuple[float, float, float, float]:
        """Left, top, right and lower edge in pixels.

        Without a size shares stay what they are: their image is left out, with all its objects.
        """
        a, b, c, d = numbers
        if self.kind == "corner and size":
            a, b, c, d = a, b, a + c, b + d
        elif self.kind == "centre and size":
            a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
        width, height = size_wh if size_wh and self.normalised else (1, 1)
        return a * width, b * height, c * width, d * height

    def describe(self) -> str:
        """For the receipt: what was taken, and why."""
        return f"{self.kind}, in {'shares of the image' if self.normalised else 'pixels'}: {self.evidence}"


class BoxNumbers:
    """Collects the boxes of a set, seven numbers each, to be judged together."""

    def __init__(self) -> None:
        """Begin empty."""
        self._rows = array("d")
        self._named = False

    def add(
        self, numbers: Sequence[float], size_wh: tuple[int, int] | None, area: float = math.nan, named: bool = False
    ) -> None:
        """A box as the file says it, its image's size where it is known, and the stated area or NaN.

        `named` says that its fields have names, so that it is a corner and a size for certain.
        """
        self._rows.extend((*numbers, *(size_wh or (math.nan, math.nan)), area))
        self._named |= named

    def layout(self) -> BoxLayout:
        """What the numbers are."""
        rows = np.frombuffer(self._rows, np.float64).reshape(-1, 7) if self._rows else np.zeros((0, 7))
        found = find_box_layout(rows[:, :4], rows[:, 4:6], rows[:, 6])
        return BoxLayout("corner and size", found.normalised, "by the names of its fields") if self._named else found


def find_box_layout(boxes: NDArray[Any], sizes_wh: NDArray[Any], areas: NDArray[Any]) -> BoxLayout:
    """Decide what the numbers of all boxes are.

    They are shares where none is above 1 and some are no whole numbers. A stated area tells sizes from corners; else
    the reading counts by which the fewest boxes are turned inside out or stick out of their image, a corner and a size
    where nothing tells, as COCO has it.

    Args:
        boxes: [n, 4]; those that are not finite do not count.
        sizes_wh: [n, 2], of their images, NaN where unknown.
        areas: [n], as stated, NaN where they are not.
    """
    known = np.isfinite(boxes).all(axis=1)
    boxes, sizes_wh, areas = boxes[known], sizes_wh[known], areas[known]
    if not len(boxes):
        return BoxLayout("corner and size", False, "there are no boxes")
    normalised = bool(boxes.max() <= ONE and (boxes != np.round(boxes)).any())
    limits = np.ones_like(sizes_wh) if normalised else sizes_wh
    by_area = _told_by_area(boxes, areas, sizes_wh if normalised else np.ones_like(sizes_wh))
    if by_area is not None:
        return BoxLayout(by_area[0], normalised, by_area[1])
    wrong = {kind: _wrong(boxes, limits, kind) for kind in ("corner and size", "corners", "centre and size")}
    kind: Kind = min(wrong, key=lambda k: wrong[k])  # type: ignore[arg-type]  # of equals the first
    counted = "; ".join(f"read as {k}, {n:,}" for k, n in wrong.items())
    if len(set(wrong.values())) == 1:
        evidence = f"as COCO has it, since none of {len(boxes):,} boxes tells"
    else:
        evidence = f"of {len(boxes):,} boxes are inside out or outside of their image: {counted}"
    return BoxLayout(kind, normalised, evidence)


def _told_by_area(boxes: NDArray[Any], areas: NDArray[Any], scale_wh: NDArray[Any]) -> tuple[Kind, str] | None:
    """(the reading, the evidence) where the boxes' stated areas fit one alone."""
    stated = np.isfinite(areas) & (areas > 0)
    if not stated.any():
        return None
    a, b, c, d = boxes[stated].T
    area, pixels = areas[stated], np.where(np.isfinite(scale_wh[stated]), scale_wh[stated], 1).prod(axis=1)
    fits = {}
    for kind, found in (("corner and size", c * d), ("corners", (c - a) * (d - b))):
        near = (np.abs(found - area) <= NEAR * area) | (np.abs(found * pixels - area) <= NEAR * area)
        fits[kind] = float(near.mean())
    best: Kind = "corner and size" if fits["corner and size"] >= fits["corners"] else "corners"
    other = min(fits.values())
    if fits[best] < FITS or other > fits[best] / 2:
        return None
    return best, f"the stated area is that of {fits[best]:.0%} of the {len(area):,} boxes that have one"


def _wrong(boxes: NDArray[Any], limits_wh: NDArray[Any], kind: str) -> int:
    """How many boxes are turned inside out, or stick out of their image, where they are read as `kind`."""
    first, second = boxes[:, :2], boxes[:, 2:]
    low = first - second / 2 if kind == "centre and size" else first
    high = {"corner and size": first + second, "corners": second, "centre and size": first + second / 2}[kind]
    slack = OVER * limits_wh  # NaN, which nothing exceeds, where the size is not known
    bad = (high < low) | (low < -slack) | (high > limits_wh + slack)
    return int(bad.any(axis=1).sum())
