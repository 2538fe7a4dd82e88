"""metrics.json: what an engine says, per class too, with counts and plain notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.errors import RunError
from cvtune.evaluation.detections import Detections
from cvtune.evaluation.engines import IOU_50, IOU_75, NAMES, EngineScores, mean_counted
from cvtune.evaluation.ground_truth import GroundTruth

__all__ = ["check_equal", "class_keys", "iou_metrics", "notes"]

MAX_DETECTIONS = 100


def class_keys(truth: GroundTruth) -> tuple[str, ...]:
    """A key for every class: its name, followed by its category id where another class has that name."""
    counts = Counter(truth.names)
    keys: list[str] = []
    for name, category_id in zip(truth.names, truth.category_index, strict=True):
        key = name if counts[name] == 1 else f"{name} (id {category_id})"
        while key in keys or (counts[name] > 1 and key in counts):
            key += "'"
        keys.append(key)
    return tuple(keys)


def iou_metrics(scores: EngineScores, truth: GroundTruth, found: Detections) -> dict[str, Any]:
    """The twelve numbers, and for every class AP, AP50, AP75, AR100 and the counts behind them.

    `ground_truth` counts what can be found: crowds are not in it. -1 stays where there is no ground truth.
    """
    keys = class_keys(truth)
    objects, detections = _counts(truth, found)
    per_class = {
        key: {
            "AP": mean_counted(scores.precision[:, :, k]),
            "AP50": mean_counted(scores.precision[IOU_50, :, k]),
            "AP75": mean_counted(scores.precision[IOU_75, :, k]),
            "AR100": mean_counted(scores.recall[:, k]),
            "ground_truth": int(objects[k]),
            "detections": int(detections[k]),
        }
        for k, key in enumerate(keys)
    }
    return {**dict(zip(NAMES, scores.stats, strict=True)), "per_class": per_class}


def check_equal(got: EngineScores, reference: EngineScores, iou_type: str) -> None:
    """Raise a RunError that names the first of the twelve numbers on which two engines differ in any bit."""
    for name, value, expected in zip(NAMES, got.stats, reference.stats, strict=True):
        if value != expected:
            raise RunError(
                f"evaluation: {iou_type}/{name}: hotcoco gives {value!r} and pycocotools {expected!r}; they "
                "must be equal; use the engine pycocotools, and please report it with both files"
            )


def notes(truth: GroundTruth, found: Detections, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Plain sentences about what a reader of the numbers should know."""
    said: list[str] = []
    keys = class_keys(truth)
    objects, detections = _counts(truth, found)
    if truth.dropped:
        said.append(
            f"{truth.dropped} ground-truth annotations belong to images or categories that are not listed; "
            "they are not scored."
        )
    if not objects.sum():
        said.append("The ground truth has no objects, so nothing can be scored: every number is -1.")
    elif not len(found):
        said.append("There are no predictions, so nothing is found: AP and AR are 0.")
    without = [key for key, n in zip(keys, objects, strict=True) if not n]
    if without and objects.sum():
        said.append(f"{_classes(without)} no ground truth: AP is -1 there, and the means leave {_them(without)} out.")
    unpredicted = [key for key, n, d in zip(keys, objects, detections, strict=True) if n and not d]
    if unpredicted and len(found):
        said.append(f"{_classes(unpredicted)} no predictions: AP is 0 there.")
    said += _detection_notes(truth, found)
    if objects.sum():
        first = next(iter(results.values()))
        sizes = [size for size, name in (("small", "APs"), ("medium", "APm"), ("large", "APl")) if first[name] == -1]
        if sizes:
            said.append(f"The ground truth has no {' or '.join(sizes)} objects, so they have no scores.")
    return said


def _detection_notes(truth: GroundTruth, found: Detections) -> list[str]:
    said = []
    in_image = np.bincount(found.image, minlength=1)
    many = in_image[found.image] > MAX_DETECTIONS
    _, sizes = np.unique(found.image[many] * (len(truth.names) + 1) + found.category[many], return_counts=True)
    cut = int(np.maximum(sizes - MAX_DETECTIONS, 0).sum())
    if cut:
        said.append(
            f"{cut} of {len(found)} predictions are beyond COCO's {MAX_DETECTIONS} best of an image and class and are "
            f"not scored; one image has {in_image.max()}."
        )
    if len(found) > 1 and np.ptp(found.score) == 0:
        said.append(
            f"All scores are {found.score[0]:g}: predictions have no order, and AP depends on their place in the file."
        )
    return said


def _counts(truth: GroundTruth, found: Detections) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """int64 [classes] twice: objects that are not crowds, and detections."""
    length = len(truth.names) + 1
    return (
        np.bincount(truth.category[~truth.crowd], minlength=length)[1:],
        np.bincount(found.category, minlength=length)[1:],
    )


def _classes(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
    return f"Class {shown} has" if len(keys) == 1 else f"Classes {shown} have"


def _them(keys: Sequence[str]) -> str:
    return "it" if len(keys) == 1 else "them"
