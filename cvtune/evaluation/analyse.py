"""analyse: one look at predictions and ground truth, everything that stands behind the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.analysis import (
    Analysis,
    ClassAnalysis,
    Curve,
    Interval,
    KindAnalysis,
    SliceScores,
    to_json,
)
from cvtune.evaluation.bootstrap import FIGURES, SAMPLES, Draws, Resampler, draw_weights, interval
from cvtune.evaluation.curves import RECALLS, Ranked, best_threshold, calibration, precision_recall, threshold_curve
from cvtune.evaluation.detections import Detections
from cvtune.evaluation.engines import IOU_50, IOU_75, EngineScores, IouType, hotcoco_runs, mean_counted, summarize
from cvtune.evaluation.errors import IOU, confusion, tide_errors
from cvtune.evaluation.foreign import Foreign, read_foreign
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.metrics import class_keys
from cvtune.evaluation.scoring import EngineName, Scorer
from cvtune.evaluation.slices import make_slices
from cvtune.evaluation.suspects import label_errors, worst_images

__all__ = ["Pair", "add_intervals", "analyse", "analyse_pair", "read_pair", "runs_of"]

# Curves of more classes than this would make the file larger than anyone reads.
MOST_CURVES = 100
SLICE_SAMPLES = 250


def analyse(
    truth: GroundTruth,
    found: Detections,
    iou_types: Sequence[IouType] = ("bbox",),
    split: str | None = None,
    slices: Mapping[str, Sequence[int]] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    runs: Mapping[IouType, Any] | None = None,
) -> Analysis:
    """Analyse predictions.

    Args:
        truth: the ground truth.
        found: the predictions; with masks where masks are asked for.
        iou_types: what is analysed.
        split: is written down.
        slices: name -> the images' numbers (1, 2, ...).
        samples: how many draws of the images the intervals come from; 0: no intervals.
        seed: of the draws.
        runs: hotcoco's COCOeval of a kind, where there is one already.
    """
    kinds = {}
    for kind in iou_types:
        run = (runs or {}).get(kind) or hotcoco_runs(truth)(found, kind)
        kinds[kind] = _kind(truth, found, kind, run, slices or {}, samples, seed)
    return Analysis(
        split,
        len(truth.sizes_hw),
        int((~truth.crowd).sum()),
        len(found),
        class_keys(truth),
        tuple(truth.category_index),
        kinds.get("bbox"),
        kinds.get("segm"),
    )


@dataclass(frozen=True)
class Pair:
    """Two files that are read: what scores against the ground truth, and the predictions."""

    ground_truth: Path
    scorer: Scorer
    foreign: Foreign


def read_pair(ground_truth: Path, predictions: Path | Any, engine: EngineName = "hotcoco") -> Pair:
    """Read a COCO file and predictions (see `cvtune.evaluation.foreign`), which `engine` will score."""
    scorer = Scorer(ground_truth, engine)
    return Pair(ground_truth, scorer, read_foreign(predictions, scorer.truth))


def analyse_pair(pair: Pair, slices: Sequence[str] = ()) -> tuple[dict[str, Any], Analysis]:
    """`cvtune.evaluation.evaluate` with `foreign` and intervals, and the analysis.

    Args:
        pair: what is scored.
        slices: see `cvtune.evaluation.slices.make_slices`.
    """
    scorer, foreign = pair.scorer, pair.foreign
    found = scorer.read(foreign)
    scores = scorer.run(found, foreign.columns.where)
    metrics = scorer.with_notes(scorer.metrics(found, scores), foreign)
    parts = make_slices(slices, scorer.truth, pair.ground_truth)
    analysis = analyse(scorer.truth, found, list(scores), slices=parts, runs=runs_of(scores))
    add_intervals(metrics, analysis)
    return metrics, analysis


def runs_of(scores: Mapping[IouType, EngineScores]) -> dict[IouType, Any]:
    """For `analyse`: hotcoco's COCOeval of each kind that hotcoco has scored."""
    return {kind: own.run for kind, own in scores.items() if own.run is not None}


def add_intervals(metrics: dict[str, Any], analysis: Analysis) -> None:
    """Write the intervals of an analysis into the metrics, under each kind."""
    for kind, of_kind in (("bbox", analysis.bbox), ("segm", analysis.segm)):
        if of_kind is not None and kind in metrics:
            metrics[kind]["intervals"] = to_json(of_kind.intervals)


def _kind(
    truth: GroundTruth,
    found: Detections,
    kind: IouType,
    run: Any,
    slices: Mapping[str, Sequence[int]],
    samples: int,
    seed: int,
) -> KindAnalysis:
    keys = class_keys(truth)
    resampler = Resampler(truth, found, kind)
    matcher, matches = resampler.matcher, resampler.matches["AP"]
    counted = ~matches.ignored[0]
    objects = np.bincount(truth.category[matches.objects], minlength=len(keys) + 1)
    by_class = {
        k: Ranked(matcher.score[rows], matches.matched[0, rows], int(objects[k]))
        for k in range(1, len(keys) + 1)
        for rows in (np.flatnonzero((matcher.category == k) & counted),)
    }
    order = np.argsort(-matcher.score[counted], kind="stable")
    everything = Ranked(matcher.score[counted][order], matches.matched[0, counted][order], int(objects.sum()))
    best = best_threshold(everything)
    bests = {k: best_threshold(ranked) for k, ranked in by_class.items()}
    draws = resampler.count(draw_weights(resampler.images, samples, seed)) if samples and resampler.images > 1 else None
    tables = run.eval
    precision, recall = np.asarray(tables["precision"]), np.asarray(tables["recall"])
    figures = dict(zip(FIGURES, summarize(precision, recall), strict=False))
    shown = sorted(sorted(by_class, key=lambda k: -objects[k])[:MOST_CURVES])
    curves = [precision_recall(by_class[k], keys[k - 1]) for k in shown]
    thresholds = {k: b.threshold for k, b in bests.items() if b.threshold is not None}
    threshold = best.threshold if best.threshold is not None else 0.0
    per_class = tuple(
        ClassAnalysis(
            keys[k - 1],
            int(objects[k]),
            int((found.category == k).sum()),
            *_figures(precision[:, :, k - 1, :, 2]),
            mean_counted(recall[:, k - 1, 0, 2]),
            _interval(
                draws.per_class[k - 1] if draws else None, mean_counted(precision[:, :, k - 1, 0, 2]), resampler.images
            ),
            bests[k].threshold,
            bests[k].precision,
            bests[k].recall,
            bests[k].f1,
        )
        for k in by_class
    )
    return KindAnalysis(
        tide_errors(run),
        confusion(run, keys, threshold),
        per_class,
        best,
        (_mean_curve([precision_recall(by_class[k], None) for k in by_class if objects[k]]), *curves),
        (threshold_curve(everything, None), *(threshold_curve(by_class[k], keys[k - 1]) for k in shown)),
        calibration(everything, IOU),
        worst_images(truth, matcher, matches, threshold),
        label_errors(truth, found, matcher, matches, keys, thresholds),
        _slices(truth, resampler, figures, draws, slices, samples, seed),
        {name: _interval(draws.figures[name] if draws else None, figures[name], resampler.images) for name in FIGURES},
    )


def _figures(precision: NDArray[np.float64]) -> tuple[float, float, float, float, float, float]:
    """AP, AP50, AP75, APs, APm, APl of a class's curves, float64 [thresholds, recalls, sizes]."""
    return (
        mean_counted(precision[:, :, 0]),
        mean_counted(precision[IOU_50, :, 0]),
        mean_counted(precision[IOU_75, :, 0]),
        mean_counted(precision[:, :, 1]),
        mean_counted(precision[:, :, 2]),
        mean_counted(precision[:, :, 3]),
    )


def _figures_of(values: Mapping[str, float]) -> tuple[float, float, float, float, float, float]:
    ap, ap50, ap75, ap_s, ap_m, ap_l = (values[name] for name in FIGURES)
    return ap, ap50, ap75, ap_s, ap_m, ap_l


def _interval(draws: NDArray[np.float64] | None, value: float, images: int) -> Interval:
    return None if draws is None or value < 0 else interval(draws, value, images)


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    if not curves:
        return Curve(None, tuple(np.round(RECALLS, 5).tolist()), (0.0,) * len(RECALLS), None)
    precision: NDArray[np.float64] = np.mean([curve.precision for curve in curves], axis=0)
    return Curve(None, curves[0].recall, tuple(np.round(precision, 5).tolist()), None)


def _slices(
    truth: GroundTruth,
    resampler: Resampler,
    figures: Mapping[str, float],
    draws: Draws | None,
    slices: Mapping[str, Sequence[int]],
    samples: int,
    seed: int,
) -> tuple[SliceScores, ...]:
    """AP of all images, then of each slice."""
    objects = np.bincount(truth.image[~truth.crowd], minlength=resampler.images + 1)
    whole = _interval(draws.figures["AP"] if draws else None, figures["AP"], resampler.images)
    told = [SliceScores("all", resampler.images, int(objects.sum()), *_figures_of(figures), whole)]
    for name, numbers in slices.items():
        at = np.unique(np.asarray(numbers, np.int64)) - 1
        draws_of = min(samples, SLICE_SAMPLES) if len(at) > 1 else 0
        weights = np.zeros((resampler.images, 1 + draws_of), np.float32)
        weights[at, 0] = 1
        weights[at, 1:] = draw_weights(len(at), draws_of, seed)
        counted = resampler.count(weights).figures
        values = {figure: float(np.nan_to_num(counted[figure][0], nan=-1.0)) for figure in FIGURES}
        spread = _interval(counted["AP"][1:], values["AP"], len(at)) if draws_of else None
        told.append(SliceScores(name, len(at), int(objects[at + 1].sum()), *_figures_of(values), spread))
    return tuple(told)
