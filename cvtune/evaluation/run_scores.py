"""Scores of a run: predictions with source ids against the run's canonical data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtune.classes import ClassMap
from cvtune.errors import DataError
from cvtune.evaluation.detections import Hint, read_detections
from cvtune.evaluation.engines import IouType
from cvtune.evaluation.records import Id
from cvtune.evaluation.scoring import IOU_TYPES, EngineName, Scorer
from cvtune.runs import RunDir, read_json, write_json

__all__ = ["evaluate_run"]

TASK_IOU_TYPES: Mapping[str, tuple[IouType, ...]] = {"detect": ("bbox",), "segment": ("bbox", "segm")}


def evaluate_run(
    run: RunDir,
    predictions: Path | None = None,
    split: str | None = None,
    engine: EngineName = "hotcoco",
    check: bool = False,
    slices: Sequence[str] = (),
    analysis: Path | None = None,
) -> dict[str, Any]:
    """Score a run's predictions and write its metrics.json and analysis.json.

    Args:
        run: the run directory; its data, images and classes files are read.
        predictions: COCO results with source ids; default: the run's own. A class lock beside them
            (``<stem>.lock.json``) must be the run's. Scores of others are not the run's: nothing is written into it.
        split: default: test where the run has one, else val.
        engine: hotcoco or pycocotools.
        check: also run pycocotools and compare.
        slices: parts of the images to score apart, see `cvtune.evaluation.slices.make_slices`.
        analysis: where the analysis is written besides.

    Returns:
        What `cvtune.evaluation.evaluate` returns, with `split`, and with `intervals` for each kind.

    Raises:
        DataError: a file is missing, the predictions are wrong, or they were made with other classes.
        RunError: the engines differ, or metrics.json cannot be written.
    """
    # Not for those who score two files, which should be quick.
    from cvtune.evaluation.analyse import add_intervals, analyse, runs_of
    from cvtune.evaluation.slices import make_slices

    split = split or run.scored_split
    path = run.predictions_of(split) if predictions is None else Path(predictions)
    own = path.resolve() == run.predictions_of(split).resolve()
    if not run.data(split).exists():
        raise DataError(f"{run.data(split)}: no such file; the run has no split {split!r}")
    class_map = run.class_map()
    _check_lock(path, class_map)
    scorer = Scorer(run.data(split), engine)
    if scorer.truth.names != class_map.names:
        raise DataError(
            f"{run.data(split)}: its categories {list(scorer.truth.names)} are not the run's classes "
            f"{class_map.describe()}"
        )
    listed = read_json(run.images)
    image_index = _image_index(run, listed, split, scorer)
    category_index = {source_id: i for i, source_id in enumerate(class_map.source_ids, 1)}
    hint = _split_hint(listed, split)
    found = read_detections(path, scorer.truth, scorer.want_masks, image_index, category_index, hint)
    scores = scorer.run(found, str(path), check)
    metrics = scorer.metrics(found, scores, check)
    _keep_task(metrics, run)
    parts = make_slices(slices, scorer.truth, run.data(split), image_index)
    kinds = [kind for kind in IOU_TYPES if kind in metrics]
    analysed = analyse(scorer.truth, found, kinds, split, parts, runs=runs_of(scores))
    add_intervals(metrics, analysed)
    for out in ([run.analysis_of(split)] if own else []) + ([analysis] if analysis else []):
        write_json(out, analysed.to_json())
    metrics["split"] = split
    if split == "val" and run.best.exists():
        metrics["notes"].append(
            "These images also chose the best checkpoint, so the scores are on the high side; "
            "data.test gives fair ones."
        )
    if own:
        write_json(run.metrics_of(split), metrics)
    return metrics


def _check_lock(path: Path, class_map: ClassMap) -> None:
    sidecar = path.with_name(f"{path.stem}.lock.json")
    if sidecar.exists():
        class_map.check_same(ClassMap.from_json(read_json(sidecar)["classes"]), str(path))


def _image_index(run: RunDir, listed: Mapping[str, Any], split: str, scorer: Scorer) -> dict[Id, int]:
    """Source image id -> the scorer's number."""
    canonical = scorer.truth.image_index
    index = {image["source_id"]: canonical[image["id"]] for image in listed.get(split, ()) if image["id"] in canonical}
    if len(index) != len(canonical):
        raise DataError(
            f"{run.images}: split {split!r} maps {len(index)} images, {run.data(split)} has {len(canonical)}; "
            "the run's data are damaged: train with --overwrite"
        )
    return index


def _split_hint(listed: Mapping[str, Any], split: str) -> Hint:
    def hint(unknown: Sequence[Any]) -> str:
        for other, images in listed.items():
            if other != split and {image["source_id"] for image in images}.issuperset(unknown):
                return f"; they are images of the split {other!r}"
        return ""

    return hint


def _keep_task(metrics: dict[str, Any], run: RunDir) -> None:
    """Without predictions nothing tells a detector from a segmenter but the recipe: a detector has no mask scores."""
    if metrics["detections"] == 0 and run.recipe.exists():
        kept = TASK_IOU_TYPES.get(read_json(run.recipe).get("task", ""), ("bbox", "segm"))
        if "segm" not in kept:
            metrics.pop("segm", None)
