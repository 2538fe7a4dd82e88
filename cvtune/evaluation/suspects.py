"""The images that went worst, and the likely mistakes in the ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.analysis import Box, LabelError, WorstImage
from cvtune.evaluation.detections import Detections
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.matching import Matcher, Matches
from cvtune.evaluation.overlap import box_iou, by_image
from cvtune.evaluation.records import Id

__all__ = ["label_errors", "worst_images"]

MOST = 100
# A detection speaks against the ground truth from this score on, and from its class's best threshold on.
CONFIDENT = 0.5
SAME_PLACE, ELSEWHERE = 0.5, 0.1


def worst_images(truth: GroundTruth, matcher: Matcher, matches: Matches, threshold: float) -> tuple[WorstImage, ...]:
    """Images by rising F1 at a score threshold, at most 100, those without an error left out.

    Of equal F1 the one with more errors comes first. Matching by falling score does not depend on what is below.
    """
    images = len(truth.sizes_hw) + 1
    kept = (matcher.score >= threshold) & ~matches.ignored[0]
    right = np.bincount(matcher.image[kept & matches.matched[0]], minlength=images)
    false = np.bincount(matcher.image[kept & ~matches.matched[0]], minlength=images)
    objects = np.bincount(truth.image[matches.objects], minlength=images)
    missed = objects - right
    f1 = 2 * right / np.maximum(objects + right + false, 1)
    order = np.lexsort((-(missed + false), f1))
    ids = list(truth.image_index)
    return tuple(
        WorstImage(
            ids[i - 1], _file(truth, i), int(objects[i]), int(right[i]), int(missed[i]), int(false[i]), float(f1[i])
        )
        for i in order.tolist()
        if i > 0 and missed[i] + false[i] > 0
    )[:MOST]


def label_errors(
    truth: GroundTruth,
    found: Detections,
    matcher: Matcher,
    matches: Matches,
    keys: Sequence[str],
    thresholds: Mapping[int, float],
) -> tuple[LabelError, ...]:
    """Confident false detections that say what may be wrong with the ground truth, at most 100, by falling score.

    Args:
        truth: the ground truth.
        found: the detections; their boxes are compared, for masks too.
        matcher: what matched them.
        matches: all sizes; the first threshold is looked at.
        keys: the classes' keys.
        thresholds: class number -> its best threshold.
    """
    least = np.array([max(CONFIDENT, thresholds.get(k, CONFIDENT)) for k in range(len(keys) + 1)])
    suspects = np.flatnonzero(~matches.matched[0] & ~matches.ignored[0] & (matcher.score >= least[matcher.category]))
    suspects = suspects[np.argsort(-matcher.score[suspects], kind="stable")]
    confident = matches.matched[0] & (matcher.score >= least[matcher.category])
    taken = np.zeros(len(truth.image) + 1, bool)
    taken[matches.truth[0][confident]] = True
    listed: list[tuple[float, LabelError]] = []
    annotations = np.arange(len(truth.image))
    ids = list(truth.image_index)
    for _, (s, t) in by_image(matcher.image[suspects], truth.image):
        rows = suspects[np.sort(s)]
        boxes = found.boxes_xywh[matcher.rows[rows]]
        overlaps = box_iou(boxes, truth.boxes_xywh[annotations[t]])
        listed += _of_image(truth, matcher, rows, boxes, annotations[t], overlaps, taken, keys, ids)
    listed.sort(key=lambda pair: -pair[0])
    return tuple(error for _, error in listed[:MOST])


def _of_image(
    truth: GroundTruth,
    matcher: Matcher,
    rows: NDArray[np.int64],
    boxes: NDArray[np.float64],
    objects: NDArray[np.int64],
    overlaps: NDArray[np.float64],
    taken: NDArray[np.bool_],
    keys: Sequence[str],
    ids: Sequence[Id],
) -> Iterator[tuple[float, LabelError]]:
    """The errors of one image; what overlaps a better detection that was told already is left out."""
    told: list[int] = []
    for i, row in enumerate(rows.tolist()):
        if told and box_iou(boxes[i : i + 1], boxes[told]).max() > SAME_PLACE:
            continue
        best = int(overlaps[i].argmax()) if len(objects) else -1
        iou = float(overlaps[i, best]) if len(objects) else 0.0
        other = int(objects[best]) if best >= 0 else -1
        if iou < ELSEWHERE:
            kind, other, iou = "missing", -1, 0.0
        elif taken[other] or truth.crowd[other]:
            continue
        elif truth.category[other] != matcher.category[row]:
            if iou < SAME_PLACE:
                continue
            kind = "class"
        else:
            kind = "box"
        told.append(i)
        image, score = int(matcher.image[row]), float(matcher.score[row])
        annotated = (keys[truth.category[other] - 1], _box(truth.boxes_xywh[other])) if other >= 0 else (None, None)
        yield (
            score,
            LabelError(
                kind,
                ids[image - 1],
                _file(truth, image),
                keys[matcher.category[row] - 1],
                _box(boxes[i]),
                score,
                annotated[0],
                annotated[1],
                iou,
            ),
        )


def _file(truth: GroundTruth, number: int) -> str | None:
    return truth.file_names[number - 1] if truth.file_names else None


def _box(values: NDArray[np.float64]) -> Box:
    x, y, w, h = values.tolist()
    return (round(x, 2), round(y, 2), round(w, 2), round(h, 2))
