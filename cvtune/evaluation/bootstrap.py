"""How sure an AP is: the same images drawn again and again, with 95 % intervals; two sets of predictions paired.

Detections are matched once. A draw gives each image a weight, how often it was drawn, and AP is counted again from
weighted sums: precision is needed only where an object is found, so that a draw costs as much as there are such places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.detections import Detections
from cvtune.evaluation.engines import IOU_50, IOU_75, IouType
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.matching import AREAS, THRESHOLDS, Matcher, Matches

__all__ = ["FIGURES", "SAMPLES", "Draws", "Resampler", "draw_weights", "interval"]

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
SAMPLES = 1000
# Draws that are counted together: rows of numbers long enough that NumPy, not Python, does the work on them, but no
# more numbers in one array than this.
FEWEST = 64
NUMBERS = 4_000_000


@dataclass(frozen=True, eq=False)
class Draws:
    """AP of every draw, 0..1; NaN where a draw has no object of the kind.

    Attributes:
        figures: name -> float64 [draws], for each of FIGURES.
        per_class: float64 [classes, draws], AP.
    """

    figures: Mapping[str, Floats]
    per_class: Floats


@dataclass(frozen=True, eq=False)
class _Places:
    """Where detections of one class and size range took objects at one threshold, in order of falling score.

    Attributes:
        image: int64 [k], the images, 0-based.
        right: float32 [k, 1], 1 where the object counts; None: everywhere.
        shift: float32 [k, 1], 1 where the object counts though the detection is outside of the size range, -1 where it
            is the other way round; None: nowhere.
        upto: int64 [k], how many detections inside the size range come up to here, as a position in `_Class.stops`.
    """

    image: NDArray[np.int64]
    right: Weights | None
    shift: Weights | None
    upto: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Class:
    """One class in one size range: the images of its detections in order, of its objects, the places by threshold.

    `stops`: int64, rising, the numbers of first detections that any place asks for.
    """

    listed: NDArray[np.int64]
    stops: NDArray[np.int64]
    objects: NDArray[np.int64]
    places: tuple[_Places, ...]


class Resampler:
    """Counts AP for any weights of the images."""

    def __init__(self, truth: GroundTruth, found: Detections, iou_type: IouType = "bbox") -> None:
        """Match all sizes and thresholds once; the arguments are those of `Matcher`."""
        self.images = len(truth.sizes_hw)
        self.classes = len(truth.names)
        self.matcher = Matcher(truth, found, iou_type)
        self.matches = {name: self.matcher.match(area) for name, area in AREAS.items()}
        self._parts = {name: self._by_class(truth, matches) for name, matches in self.matches.items()}

    def _by_class(self, truth: GroundTruth, matches: Matches) -> list[_Class]:
        category, image = self.matcher.category, self.matcher.image - 1
        bounds = np.searchsorted(category, np.arange(1, self.classes + 2))
        counted = np.flatnonzero(matches.objects)
        objects_of = truth.category[counted]
        parts = []
        for k in range(self.classes):
            rows = slice(bounds[k], bounds[k + 1])
            inside = matches.inside[rows]
            upto = np.cumsum(inside)
            places = []
            for t in range(len(THRESHOLDS)):
                at = np.flatnonzero(matches.truth[t, rows] >= 0)
                right = matches.matched[t, rows][at].astype(np.float32)[:, None]
                shift = right - inside[at].astype(np.float32)[:, None]
                # What took an ignored object and is itself outside changes nothing.
                at, right, shift = (a[(right + np.abs(shift))[:, 0] > 0] for a in (at, right, shift))
                places.append(
                    _Places(
                        image[rows][at],
                        None if right.all() else right,
                        shift if shift.any() else None,
                        upto[at],
                    )
                )
            stops = np.unique(np.concatenate([p.upto for p in places]))
            places = [replace(p, upto=np.searchsorted(stops, p.upto)) for p in places]
            objects = truth.image[counted[objects_of == k + 1]] - 1
            parts.append(_Class(image[rows][inside], stops, objects, tuple(places)))
        return parts

    def count(self, weights: Weights) -> Draws:
        """AP under weights.

        Args:
            weights: float32 [images, draws], how often each image counts.
        """
        parts = [part for parts in self._parts.values() for part in parts]
        largest = max((len(p.image) for part in parts for p in part.places), default=0)
        size = max(FEWEST, NUMBERS // max(1, largest))
        counted = [self._count(weights[:, i : i + size]) for i in range(0, weights.shape[1], size)]
        figures = {name: np.concatenate([figures[name] for figures, _ in counted]) for name in FIGURES}
        return Draws(figures, np.concatenate([per_class for _, per_class in counted], axis=1))

    def _count(self, weights: Weights) -> tuple[dict[str, Floats], Floats]:
        weights = np.ascontiguousarray(weights)
        tables = {name: self._tables(name, weights) for name in AREAS}  # [classes, thresholds, draws]
        everything = tables["AP"]
        figures = {name: _mean(tables[name], (0, 1)) for name in AREAS}
        figures["AP50"] = _mean(everything[:, IOU_50], (0,))
        figures["AP75"] = _mean(everything[:, IOU_75], (0,))
        return figures, _mean(everything, (1,))

    def _tables(self, name: str, weights: Weights) -> Floats:
        table = np.full((self.classes, len(THRESHOLDS), weights.shape[1]), np.nan)
        for k, part in enumerate(self._parts[name]):
            if not len(part.objects):
                continue
            total = weights[part.objects].sum(0)  # [draws]
            listed = _listed(part, weights)
            for t, places in enumerate(part.places):
                table[k, t] = _average_precision(places, weights, listed, total)
            table[k][:, total == 0] = np.nan
        return table


def _listed(part: _Class, weights: Weights) -> Weights:
    """float32 [stops, draws]: how many of the first detections are drawn, for each of the class's `stops`."""
    listed = np.empty((len(part.stops), weights.shape[1]), np.float32)
    start = 0
    for row, stop in zip(listed, part.stops.tolist(), strict=True):
        images = part.listed[start:stop]
        if len(images) < len(weights):
            np.add.reduce(weights[images], axis=0, out=row)
        else:  # sooner by image than by detection
            np.matmul(np.bincount(images, minlength=len(weights)).astype(np.float32), weights, out=row)
        start = stop
    return _running(np.add, listed)


def _running(ufunc: np.ufunc, rows: Weights, backwards: bool = False) -> Weights:
    """`ufunc.accumulate` over the first axis, in place; NumPy's own goes down column by column, four times as slow."""
    if rows.shape[1] < FEWEST:
        part = rows[::-1] if backwards else rows
        ufunc.accumulate(part, axis=0, out=part)
        return rows
    before = None
    for row in rows[::-1] if backwards else rows:
        if before is not None:
            ufunc(before, row, out=row)
        before = row
    return rows


def _average_precision(places: _Places, weights: Weights, listed: Weights, objects: Weights) -> Weights:
    """float32 [draws]: COCO's AP, the mean over 101 recalls of the highest precision at that recall or beyond.

    `listed`: see `_listed`; `objects`: float32 [draws]. Counts are whole numbers, which float32 adds without error.
    """
    if not len(places.image):
        return np.zeros(weights.shape[1], np.float32)
    right = weights[places.image]  # [places, draws]
    total = listed[places.upto]
    if places.shift is not None:
        total += _running(np.add, right * places.shift)
    if places.right is not None:
        right *= places.right
    _running(np.add, right)
    # Where nothing was drawn yet both are 0.
    precision = np.divide(right, np.maximum(total, 1, out=total), out=total)
    envelope = _running(np.maximum, precision, backwards=True)
    # How many of the recalls 0.00, 0.01, ..., 1.00 are reached here and not before.
    right *= 100 / np.maximum(objects, 1)
    right += 1e-4
    reached = np.floor(right, out=right)
    reached += 1
    ap: Weights = np.einsum("ij,ij->j", envelope[:-1] - envelope[1:], reached[:-1])
    ap += envelope[-1] * reached[-1]
    ap /= 101
    return ap


def _mean(values: Floats, axes: tuple[int, ...]) -> Floats:
    """The mean of what is not NaN along `axes`; NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axes)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.nansum(values, axes) / counts
    return mean


def draw_weights(images: int, samples: int = SAMPLES, seed: int = 0) -> Weights:
    """float32 [images, samples]: how often each image is drawn when as many as there are are drawn with replacement."""
    rng = np.random.default_rng(seed)
    weights = np.empty((images, samples), np.float32)
    for i in range(samples):
        weights[:, i] = np.bincount(rng.integers(0, images, images), minlength=images)
    return weights


def interval(
    draws: Floats, value: float, images: int, bounds: tuple[float, float] = (0.0, 1.0), level: float = 0.95
) -> tuple[float, float] | None:
    """A normal interval around the value less its bias (Efron and Tibshirani 1993, chapters 10 and 13).

    AP of few images is too high on average: the best precision at each recall is taken, and chance has a part in it.
    Draws of the same images show half of it or more, which is taken off. In simulations of 50 and 200 images
    percentiles held the true AP in 84 to 94 of 100 data sets, this interval in 92 to 98.

    Args:
        draws: float64 [draws], NaN where a draw says nothing.
        value: of the data themselves; it is always inside.
        images: how many there are: few make the interval a little wider (Student's t).
        bounds: the lowest and highest value that there can be.
        level: the share of data sets whose interval holds the true value.

    Returns:
        Low and high end, or None where fewer than 20 draws say anything.
    """
    draws = draws[~np.isnan(draws)]
    if len(draws) < 20 or np.isnan(value) or images < 2:
        return None
    middle = 2 * value - float(draws.mean())
    half = _student(0.5 + level / 2, images - 1) * float(draws.std()) * (images / (images - 1)) ** 0.5
    low, high = max(bounds[0], min(value, middle - half)), min(bounds[1], max(value, middle + half))
    return low, high


def _student(share: float, freedom: int) -> float:
    """The quantile of Student's t (Abramowitz and Stegun 26.7.5), good to a hundredth from 5 degrees of freedom on."""
    z = NormalDist().inv_cdf(share)
    n = float(freedom)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3
