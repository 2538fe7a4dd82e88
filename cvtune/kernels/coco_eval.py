"""What `detectron2._C` offers for COCO scores, in NumPy: the same numbers as pycocotools' COCOeval, at its speed.

Detectron2's evaluator hands over plain lists of objects and overlaps and gets matches back, then precision and recall.
The names are those of the compiled module.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["COCOevalAccumulate", "COCOevalEvaluateImages", "ImageEvaluation", "InstanceAnnotation"]


class InstanceAnnotation(NamedTuple):
    """One object: of the ground truth (its score is not used) or detected.

    Attributes:
        id: the annotation's id.
        score: the detection's score.
        area: in square pixels.
        is_crowd: a region of many objects, which may match several detections.
        ignore: neither a match nor a miss counts.
    """

    id: int
    score: float
    area: float
    is_crowd: bool
    ignore: bool


@dataclass
class ImageEvaluation:
    """One image, category and range of areas.

    Attributes:
        detection_matches: [thresholds, d] int64, the id of the matched object, 0 for none.
        detection_scores: [d] float64, falling.
        ground_truth_ignores: [g] bool.
        detection_ignores: [thresholds, d] bool.
    """

    detection_matches: NDArray[np.int64]
    detection_scores: NDArray[np.float64]
    ground_truth_ignores: NDArray[np.bool_]
    detection_ignores: NDArray[np.bool_]


def COCOevalEvaluateImages(  # noqa: N802  the compiled module's name
    area_ranges: Sequence[Sequence[float]],
    max_detections: int,
    iou_thresholds: Sequence[float],
    ious: Sequence[Sequence[Any]],
    ground_truth: Sequence[Sequence[Sequence[InstanceAnnotation]]],
    detections: Sequence[Sequence[Sequence[InstanceAnnotation]]],
) -> list[ImageEvaluation]:
    """Match detections to objects.

    Args:
        area_ranges: (smallest, largest) area of the objects that count, for each range.
        max_detections: detections that count in an image and category.
        iou_thresholds: overlaps from which a match counts.
        ious: [image][category] -> [d, g] overlaps, detections by falling score; empty where there are none.
        ground_truth: [image][category] -> objects.
        detections: [image][category] -> detections in any order.

    Returns:
        One evaluation for each category, range and image, in this order of loops.
    """
    categories = len(ground_truth[0]) if ground_truth else 0
    return [
        _match(
            area, max_detections, iou_thresholds, ious[image][category], ground_truth[image][category], found[category]
        )
        for category in range(categories)
        for area in area_ranges
        for image, found in enumerate(detections)
    ]


def _match(
    area: Sequence[float],
    max_detections: int,
    thresholds: Sequence[float],
    ious: Any,
    objects: Sequence[InstanceAnnotation],
    detections: Sequence[InstanceAnnotation],
) -> ImageEvaluation:
    """One image, category and range: each detection, by falling score, takes the free object that it overlaps most."""
    ignored = np.array([one.ignore or not area[0] <= one.area <= area[1] for one in objects], dtype=bool)
    order = np.argsort(ignored, kind="stable")  # objects that count come first
    best_first = np.argsort([-one.score for one in detections], kind="stable")[:max_detections]
    found = [detections[index] for index in best_first]
    crowd = np.array([objects[index].is_crowd for index in order], dtype=bool)
    ids = np.array([objects[index].id for index in order], dtype=np.int64)
    ignored = ignored[order]
    matches = np.zeros((len(thresholds), len(found)), dtype=np.int64)
    skipped = np.zeros((len(thresholds), len(found)), dtype=bool)
    if len(objects) and found:
        overlap = np.asarray(ious, dtype=np.float64).reshape(-1, len(objects))[:, order]
        for row, threshold in enumerate(thresholds):
            taken = np.zeros(len(objects), dtype=bool)
            for column in range(len(found)):
                chosen = _choose(overlap[column], min(threshold, 1 - 1e-10), ~taken | crowd, ignored)
                if chosen is not None:
                    taken[chosen] = True
                    matches[row, column], skipped[row, column] = ids[chosen], ignored[chosen]
    outside = np.array([not area[0] <= one.area <= area[1] for one in found], dtype=bool)
    skipped |= (matches == 0) & outside
    return ImageEvaluation(matches, np.array([one.score for one in found], dtype=np.float64), ignored, skipped)


def _choose(
    overlap: NDArray[np.float64], threshold: float, free: NDArray[np.bool_], ignored: NDArray[np.bool_]
) -> int | None:
    """The free object of the largest overlap, the last of equal ones; an ignored one only where no other will do."""
    enough = free & (overlap >= threshold)
    for group in (enough & ~ignored, enough & ignored):
        if group.any():
            values = np.where(group, overlap, -1.0)
            return len(values) - 1 - int(np.argmax(values[::-1]))
    return None


def COCOevalAccumulate(params: Any, evaluations: Sequence[ImageEvaluation]) -> dict[str, Any]:  # noqa: N802
    """Precision at each recall, and the highest recall.

    Args:
        params: pycocotools' parameters, with which the images were evaluated.
        evaluations: what `COCOevalEvaluateImages` returned.

    Returns:
        `precision` and `scores` [thresholds x recalls x categories x areas x limits], `recall` without recalls, all
        flat, -1 where there is no object; `counts`, these five numbers; `params` and `date`.
    """
    categories = len(params.catIds) if params.useCats else 1
    areas, limits, images = len(params.areaRng), len(params.maxDets), len(params.imgIds)
    counts = [len(params.iouThrs), len(params.recThrs), categories, areas, limits]
    precision, scores = -np.ones(counts), -np.ones(counts)
    recall = -np.ones([counts[0], *counts[2:]])
    for category, area in np.ndindex(categories, areas):
        start = (category * areas + area) * images
        some = evaluations[start : start + images]
        total = int(sum((~one.ground_truth_ignores).sum() for one in some))
        if not total:
            continue
        for limit, most in enumerate(params.maxDets):
            for row, curve in enumerate(_curves(some, most, total, np.asarray(params.recThrs))):
                precision[row, :, category, area, limit], scores[row, :, category, area, limit] = curve[:2]
                recall[row, category, area, limit] = curve[2]
    return {
        "params": params,
        "counts": counts,
        "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
        "precision": precision.ravel(),
        "recall": recall.ravel(),
        "scores": scores.ravel(),
    }


def _curves(
    some: Sequence[ImageEvaluation], most: int, total: int, recalls: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """For each threshold: precision and score at each recall (0 where it is not reached), and the highest recall."""
    scores = np.concatenate([one.detection_scores[:most] for one in some])
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    matched = np.concatenate([one.detection_matches[:, :most] for one in some], axis=1)[:, order] != 0
    skipped = np.concatenate([one.detection_ignores[:, :most] for one in some], axis=1)[:, order]
    for right, out in zip(matched, skipped, strict=True):
        hits = np.cumsum(right & ~out).astype(np.float64)
        misses = np.cumsum(~right & ~out).astype(np.float64)
        reached = hits / total
        # Never lower than what follows: the envelope of the curve.
        envelope = np.maximum.accumulate((hits / (hits + misses + np.spacing(1)))[::-1])[::-1]
        places = np.searchsorted(reached, recalls, side="left")
        inside = places < len(reached)
        curve, at = np.zeros(len(recalls)), np.zeros(len(recalls))
        curve[inside], at[inside] = envelope[places[inside]], scores[places[inside]]
        yield curve, at, float(reached[-1]) if len(reached) else 0.0
