"""What is wrong with a detection that found nothing: the kinds of TIDE (Bolya et al. 2020), at one pair of IoUs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cvtune.report.matching import Matches, Objects, by_image, intersections

__all__ = ["BACKGROUND", "BOTH", "DUPLICATE", "IGNORED", "MISTAKES", "PLACE", "RIGHT", "WRONG_CLASS", "find_mistakes"]

RIGHT, WRONG_CLASS, PLACE, BOTH, DUPLICATE, BACKGROUND, IGNORED = range(7)
MISTAKES: Mapping[int, tuple[str, str]] = {
    WRONG_CLASS: ("wrong class", "lies on an object of another class"),
    PLACE: ("badly placed", "overlaps an object of its class, but too little"),
    BOTH: ("wrong class, badly placed", "overlaps an object of another class, and too little"),
    DUPLICATE: ("duplicate", "lies on an object that a higher score has found"),
    BACKGROUND: ("background", "lies on no object"),
}
"""Code -> the name of a mistake, and what such a detection does."""


def find_mistakes(
    truth: Objects, found: Objects, matches: Matches, images: int, iou: float = 0.5, low: float = 0.1
) -> NDArray[np.int8]:
    """The code of each detection: RIGHT, a key of MISTAKES, or IGNORED (in a crowd region).

    None of them depends on detections with lower scores, so a code holds at every threshold.

    Args:
        truth: the objects. found: the detections. matches: what `match` says of them.
        images: how many images there are.
        iou: from which overlap on an object is found.
        low: below which overlap a detection has nothing to do with an object.

    Returns:
        int8 [detections].
    """
    truth_rows, truth_starts = by_image(truth.image, images)
    found_rows, found_starts = by_image(found.image, images)
    same, other = np.zeros(len(found)), np.zeros(len(found))
    for i in range(images):
        t = truth_rows[truth_starts[i] : truth_starts[i + 1]]
        t = t[~truth.crowd[t]]
        f = found_rows[found_starts[i] : found_starts[i + 1]]
        if not len(t) or not len(f):
            continue
        shared, own, theirs = intersections(found.boxes_xywh[f], truth.boxes_xywh[t])
        ratio = shared / np.maximum(own + theirs - shared, 1e-12)
        alike = found.category[f][:, None] == truth.category[t][None, :]
        same[f] = np.where(alike, ratio, 0).max(1)
        other[f] = np.where(alike, 0, ratio).max(1)
    # In TIDE's order: the first that fits is the kind.
    kinds = np.select(
        [
            matches.truth_of >= 0,
            matches.ignored,
            (same >= low) & (same < iou),
            other >= iou,
            same >= iou,
            other >= low,
        ],
        [RIGHT, IGNORED, PLACE, WRONG_CLASS, DUPLICATE, BOTH],
        BACKGROUND,
    )
    return kinds.astype(np.int8)
