"""Precision, recall and F1 over scores at one IoU; calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.analysis import Best, Calibration, CalibrationBin, Curve, ThresholdCurve

__all__ = ["RECALLS", "Ranked", "best_threshold", "calibration", "precision_recall", "threshold_curve"]

Floats = NDArray[np.float64]

RECALLS: Floats = np.linspace(0, 1, 101, dtype=np.float64)
GRID: Floats = np.linspace(0, 1, 51, dtype=np.float64)
BINS = 10


@dataclass(frozen=True, eq=False)
class Ranked:
    """Detections that count, by falling score: float64 [n] scores, bool [n] whether each is right; how many objects."""

    score: Floats
    right: NDArray[np.bool_]
    objects: int

    @property
    def precision(self) -> Floats:
        """float64 [n], of the first k detections."""
        precision: Floats = np.cumsum(self.right) / np.arange(1, len(self.right) + 1)
        return precision

    @property
    def recall(self) -> Floats:
        """float64 [n], of the first k detections."""
        recall: Floats = np.cumsum(self.right) / max(1, self.objects)
        return recall


def best_threshold(ranked: Ranked) -> Best:
    """The threshold with the highest F1; the highest of several. Detections of one score are kept together."""
    if not ranked.right.any() or not ranked.objects:
        return Best(None, 0.0, 0.0, 0.0)
    f1 = 2 * np.cumsum(ranked.right) / (np.arange(1, len(ranked.right) + 1) + ranked.objects)
    last = np.r_[ranked.score[1:] != ranked.score[:-1], True]
    k = int(np.flatnonzero(last)[np.argmax(f1[last])])
    return Best(float(ranked.score[k]), float(ranked.precision[k]), float(ranked.recall[k]), float(f1[k]))


def precision_recall(ranked: Ranked, class_key: str | None) -> Curve:
    """COCO's interpolated precision at 101 recalls, and the score that each needs; 0 where it is not reached."""
    at = np.searchsorted(ranked.recall, RECALLS, side="left")
    reached = at < len(ranked.score)
    envelope = np.maximum.accumulate(ranked.precision[::-1])[::-1]
    precision, score = np.zeros(len(RECALLS)), np.zeros(len(RECALLS))
    precision[reached] = envelope[at[reached]]
    score[reached] = ranked.score[at[reached]]
    return Curve(class_key, _rounded(RECALLS), _rounded(precision), _rounded(score))


def threshold_curve(ranked: Ranked, class_key: str | None) -> ThresholdCurve:
    """Precision, recall and F1 of what is kept at thresholds 0.00, 0.02, ..., 1.00; precision is 1 where nothing is."""
    kept = np.searchsorted(-ranked.score, -GRID, side="right")
    right = np.r_[0, np.cumsum(ranked.right)][kept]
    precision = np.where(kept > 0, right / np.maximum(kept, 1), 1.0)
    recall = right / max(1, ranked.objects)
    f1 = 2 * right / np.maximum(kept + ranked.objects, 1)
    return ThresholdCurve(class_key, _rounded(GRID), _rounded(precision), _rounded(recall), _rounded(f1))


def calibration(ranked: Ranked, iou: float) -> Calibration:
    """Ten equal bins of scores; a score beyond 0 to 1 falls into the nearest."""
    bins = []
    index = np.clip((ranked.score * BINS).astype(np.int64), 0, BINS - 1)
    for k in range(BINS):
        of_bin = index == k
        count = int(of_bin.sum())
        confidence = float(ranked.score[of_bin].mean()) if count else 0.0
        precision = float(ranked.right[of_bin].mean()) if count else 0.0
        bins.append(CalibrationBin(k / BINS, (k + 1) / BINS, count, confidence, precision))
    gaps = [(b.count, abs(b.confidence - b.precision)) for b in bins if b.count]
    ece = sum(count * gap for count, gap in gaps) / max(1, len(ranked.score))
    return Calibration(iou, ece, max((gap for _, gap in gaps), default=0.0), tuple(bins))


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(np.round(values, 5).tolist())
