"""Which errors cost what: TIDE's kinds, classes taken for one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cvtune.evaluation.analysis import Confusion, ErrorKind, Errors

__all__ = ["KINDS", "confusion", "tide_errors"]

KINDS = {
    "Cls": "right place, wrong class",
    "Loc": "right class, box too far off",
    "Both": "wrong class and box too far off",
    "Dupe": "a second detection of an object that is found already",
    "Bkg": "nothing is there",
    "Miss": "an object that nothing comes near",
}
"""TIDE's kinds in the order of its paper."""
IOU, BACKGROUND_IOU = 0.5, 0.1


def tide_errors(run: Any) -> Errors:
    """TIDE's errors of a hotcoco COCOeval that is evaluated."""
    told = run.tide_errors(pos_thr=IOU, bg_thr=BACKGROUND_IOU)
    kinds = tuple(
        ErrorKind(kind, meaning, int(told["counts"][kind]), _finite(told["delta_ap"][kind]))
        for kind, meaning in KINDS.items()
    )
    costs = told["delta_ap"]
    return Errors(IOU, BACKGROUND_IOU, _finite(told["ap_base"]), kinds, _finite(costs["FP"]), _finite(costs["FN"]))


def _finite(value: Any) -> float:
    return float(value) if np.isfinite(value) else 0.0


def confusion(run: Any, labels: Sequence[str], min_score: float) -> Confusion:
    """Which class is taken for which, among detections of at least `min_score`, of a hotcoco COCOeval."""
    told = run.confusion_matrix(iou_thr=IOU, min_score=min_score)
    matrix = np.asarray(told["matrix"]).astype(int).tolist()
    return Confusion(IOU, min_score, (*labels, "background"), tuple(map(tuple, matrix)))
