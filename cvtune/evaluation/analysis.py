"""What stands behind the scores, as one tree of frozen records; docs/analysis.md describes its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

__all__ = [
    "Analysis",
    "Best",
    "Calibration",
    "CalibrationBin",
    "ClassAnalysis",
    "Confusion",
    "Curve",
    "ErrorKind",
    "Errors",
    "KindAnalysis",
    "LabelError",
    "SliceScores",
    "ThresholdCurve",
    "WorstImage",
    "to_json",
]

Box = tuple[float, float, float, float]
Interval = tuple[float, float] | None
Id = int | str


@dataclass(frozen=True)
class ErrorKind:
    """One of TIDE's kinds of error: how often, and by how much AP50 would rise without it."""

    kind: str
    meaning: str
    count: int
    d_ap: float


@dataclass(frozen=True)
class Errors:
    """TIDE's error analysis (Bolya et al., ECCV 2020). `false_positives` and `missed` are what all of them cost."""

    iou: float
    background_iou: float
    ap50: float
    kinds: tuple[ErrorKind, ...]
    false_positives: float
    missed: float


@dataclass(frozen=True)
class Confusion:
    """Rows are the truth, columns the prediction; the last of each is background."""

    iou: float
    min_score: float
    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Best:
    """The score threshold of the highest F1 at IoU 0.5, and what it gives; None and zeros where nothing is found."""

    threshold: float | None
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ClassAnalysis:
    """One class; -1 where there is no ground truth."""

    class_key: str
    objects: int
    detections: int
    ap: float
    ap50: float
    ap75: float
    ap_s: float
    ap_m: float
    ap_l: float
    ar100: float
    ap_interval: Interval
    threshold: float | None
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Curve:
    """Precision over recall at IoU 0.5, and the score that each recall needs; `class_key` None: the mean of classes."""

    class_key: str | None
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    score: tuple[float, ...] | None


@dataclass(frozen=True)
class ThresholdCurve:
    """What is kept at each score threshold; `class_key` None: all detections of all classes together."""

    class_key: str | None
    score: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]


@dataclass(frozen=True)
class CalibrationBin:
    """Detections with scores from `low` to `high`: their mean score, and the share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    precision: float


@dataclass(frozen=True)
class Calibration:
    """Whether scores are probabilities: expected and largest gap between score and precision (Naeini et al. 2015)."""

    iou: float
    ece: float
    mce: float
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class WorstImage:
    """An image's right, missed and false detections at the best threshold."""

    image_id: Id
    file_name: str | None
    objects: int
    found: int
    missed: int
    false: int
    f1: float


@dataclass(frozen=True)
class LabelError:
    """A confident detection that speaks against the ground truth: `kind` is missing, class or box."""

    kind: str
    image_id: Id
    file_name: str | None
    class_key: str
    bbox_xywh: Box
    score: float
    annotated_class: str | None
    annotated_bbox_xywh: Box | None
    iou: float


@dataclass(frozen=True)
class SliceScores:
    """AP of some of the images."""

    slice_name: str
    images: int
    objects: int
    ap: float
    ap50: float
    ap75: float
    ap_s: float
    ap_m: float
    ap_l: float
    ap_interval: Interval


@dataclass(frozen=True)
class KindAnalysis:
    """Everything about boxes, or about masks."""

    errors: Errors
    confusion: Confusion
    per_class: tuple[ClassAnalysis, ...]
    best: Best
    curves: tuple[Curve, ...]
    thresholds: tuple[ThresholdCurve, ...]
    calibration: Calibration
    worst_images: tuple[WorstImage, ...]
    label_errors: tuple[LabelError, ...]
    slices: tuple[SliceScores, ...]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class Analysis:
    """The whole of analysis.json; `bbox` and `segm` are None where they were not scored."""

    split: str | None
    images: int
    objects: int
    detections: int
    classes: tuple[str, ...]
    category_ids: tuple[Id, ...]
    bbox: KindAnalysis | None
    segm: KindAnalysis | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; see docs/analysis.md."""
        content = to_json(self)
        return {"schema": 1, **{k: v for k, v in content.items() if v is not None or k not in ("bbox", "segm")}}


_KEYS = {
    "class_key": "class",
    "slice_name": "slice",
    "d_ap": "dAP",
    "f1": "F1",
    "ece": "ECE",
    "mce": "MCE",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_s": "APs",
    "ap_m": "APm",
    "ap_l": "APl",
    "ar100": "AR100",
    "ap_interval": "AP_interval",
}


def to_json(value: Any) -> Any:
    """Plain JSON types of these records; fractions to five decimals."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_KEYS.get(f.name, f.name): to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [to_json(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 5)
    return int(value) if isinstance(value, np.integer) else value
