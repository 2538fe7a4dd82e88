"""Overlaps of predictions and objects, image by image, whatever their classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.overlap import box_iou, by_image
from cvtune.evaluation.why.case import Case, Reading

__all__ = ["first_hits", "hits_by_image", "suppress"]

Ints = NDArray[np.int64]


def first_hits(case: Case, reading: Reading, iou: float = 0.5) -> tuple[Ints, Ints]:
    """The objects that some prediction hits (rows of the annotations), and the best-scored prediction of each.

    One prediction may hit several objects; classes do not matter.
    """
    objects = np.flatnonzero(case.objects)
    used = np.flatnonzero(case.chosen[reading.images[case.image]] if len(case) else np.zeros(0, bool))
    if reading.keep is not None:
        used = used[reading.keep[used]]
    image = reading.images[case.image[used]] if len(used) else used
    boxes = case.boxes_of(reading, used)
    hit, by = [], []
    for _, (t, f) in by_image(case.truth.image[objects], image):
        if not len(f):
            continue
        f = f[np.argsort(-reading.score[used[f]], kind="stable")][:300]
        overlaps = box_iou(boxes[f], case.truth_boxes[objects[t]]) >= iou
        found = np.flatnonzero(overlaps.any(0))
        hit.append(objects[t[found]])
        by.append(used[f[overlaps[:, found].argmax(0)]])
    if not hit:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(hit), np.concatenate(by)


def hits_by_image(case: Case, reading: Reading) -> Ints:
    """int64 [images + 1]: how many objects of each image some prediction hits."""
    hit, _ = first_hits(case, reading)
    return np.bincount(case.truth.image[hit], minlength=len(case.sizes_wh))


def suppress(case: Case, reading: Reading, iou: float) -> NDArray[np.bool_]:
    """bool [n]: the predictions that non-maximum suppression within image and class keeps."""
    keep = np.ones(len(case), bool) if reading.keep is None else reading.keep.copy()
    used = np.flatnonzero(keep & case.chosen[reading.images[case.image]])
    image = reading.images[case.image[used]]
    boxes = case.boxes_of(reading, used)
    group = image * (len(case.category_ids) + 1) + case.category[used]
    for _, (rows,) in by_image(group):
        if len(rows) < 2:
            continue
        rows = rows[np.argsort(-reading.score[used[rows]], kind="stable")]
        rows, rest = rows[:1000], rows[1000:]
        close = box_iou(boxes[rows], boxes[rows]) > iou
        alive = np.ones(len(rows), bool)
        for i in range(len(rows)):
            if alive[i]:
                alive[i + 1 :] &= ~close[i, i + 1 :]
        keep[used[rows[~alive]]] = False
        keep[used[rest]] = False
    return keep
