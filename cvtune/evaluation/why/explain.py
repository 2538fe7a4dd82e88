"""All rules on one pair of files or one run, the likeliest cause first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.errors import DataError
from cvtune.evaluation.foreign import unwrap
from cvtune.evaluation.ground_truth import GroundTruth, read_ground_truth
from cvtune.evaluation.why import training
from cvtune.evaluation.why.case import Case, make_case
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.rules import RULES, RUN_RULES
from cvtune.evaluation.why.rules_content import predicted_share
from cvtune.evaluation.why.rules_truth import truth_outside_images
from cvtune.evaluation.why.search import Found, search
from cvtune.runs import RunDir, read_json

__all__ = ["Explanation", "explain", "explain_run"]

# Less certain findings are not told: a weak model is no fault.
TOLD = 0.5


@dataclass(frozen=True)
class Explanation:
    """The causes, most certain first; `ap50` is AP at IoU 0.50 as given and with every repair, None without a score."""

    causes: tuple[Cause, ...]
    verdict: str
    ap50: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; see docs/analysis.md."""
        return {"schema": 1, "verdict": self.verdict, "causes": [cause.to_json() for cause in self.causes]}


def explain(ground_truth: Path | Mapping[str, Any], predictions: Path | Any) -> Explanation:
    """Why predictions score low against ground truth.

    Args:
        ground_truth: a COCO file or its content.
        predictions: what `cvtune.evaluation.evaluate` takes with `foreign`. Ids need not be known.

    Raises:
        DataError: a file is missing or is none of the known forms, a box or a score is not made of finite numbers.
    """
    truth = read_ground_truth(ground_truth)
    columns, _ = unwrap(predictions, truth)
    return _explain(make_case(truth, columns), None)


def explain_run(run: RunDir, predictions: Path | None = None, split: str | None = None) -> Explanation:
    """Why a run scores low: its predictions and its training.

    Args:
        run: the run directory.
        predictions: COCO results with source ids; default: the run's own. Where there are none, the training alone is
            looked at.
        split: default: test where the run has one, else val.

    Raises:
        DataError: as for `explain`; the run has no such split.
    """
    split = split or run.scored_split
    path = run.predictions_of(split) if predictions is None else Path(predictions)
    truth = read_ground_truth(run.data(split))
    if not path.exists():
        if predictions is not None:
            raise DataError(f"{path}: no such file")
        read = training.read_training(run, split, None, None)
        return _told(_asked(read), None)
    columns, _ = unwrap(path, truth)
    images, categories = _source_ids(run, truth, split)
    return _explain(make_case(truth, columns, images, categories, run, split), run)


def _source_ids(run: RunDir, truth: GroundTruth, split: str) -> tuple[dict[Any, int] | None, dict[Any, int] | None]:
    """The source's image and category ids -> the ground truth's numbers; None where the run does not say."""
    images = categories = None
    if run.images.exists():
        listed = read_json(run.images).get(split, ())
        images = {i["source_id"]: truth.image_index[i["id"]] for i in listed if i["id"] in truth.image_index}
    if run.classes.exists():
        categories = {source_id: k for k, source_id in enumerate(run.class_map().source_ids, 1)}
    return images, categories


def _explain(case: Case, run: RunDir | None) -> Explanation:
    plan: Mapping[str, Any] = {}
    image_size: Mapping[str, Any] = {}
    if run is not None:
        plan = training.read_training(run, case.split or "", None, None).plan
        prefix = "data.image_size."
        image_size = {key.removeprefix(prefix): value for key, value in plan.items() if key.startswith(prefix)}
    plain = case.quality(case.plain)
    as_given = Found(case.plain, plain, plain, ())
    wrong_truth = truth_outside_images(case, as_given, plan)
    looked_at = _mended(case, wrong_truth)
    found = search(looked_at, image_size)
    causes = [*found.causes, *([wrong_truth] if wrong_truth else [])]
    causes += [cause for rule in RULES.values() if (cause := rule(looked_at, found, plan))]
    ap50 = (found.before.ap50, found.after.ap50) if case.objects.any() else None
    if run is not None:
        # What training is to be blamed for are the images that were predicted.
        share = max(predicted_share(looked_at, found), 0.1)
        ap50_there, ap_there = (min(1.0, value / share) for value in (found.after.ap50, found.after.ap))
        causes += _asked(training.read_training(run, case.split or "", ap50_there, ap_there))
    return _told(causes, ap50)


def _asked(read: training.Training) -> list[Cause]:
    return [cause for rule in RUN_RULES.values() if (cause := rule(read))]


def _mended(case: Case, cause: Cause | None) -> Case:
    """The case with the ground truth's boxes as they are meant."""
    if cause is None or cause.rule not in ("ground_truth_xyxy", "ground_truth_normalized"):
        return case
    boxes = case.truth_boxes.copy()
    if cause.rule == "ground_truth_xyxy":
        boxes[:, 2:] -= boxes[:, :2]
    else:
        boxes *= np.tile(case.sizes_wh[case.truth.image], 2)
    return case.with_truth_boxes(boxes)


def _told(causes: Iterable[Cause], ap50: tuple[float, float] | None) -> Explanation:
    best: dict[str, Cause] = {}
    for cause in causes:
        if cause.certainty >= TOLD and (cause.rule not in best or cause.certainty > best[cause.rule].certainty):
            best[cause.rule] = cause
    ordered = tuple(sorted(best.values(), key=lambda cause: -cause.certainty))
    return Explanation(ordered, _verdict(ordered, ap50), ap50)


def _verdict(causes: tuple[Cause, ...], ap50: tuple[float, float] | None) -> str:
    score = "" if ap50 is None else f" AP50 is {max(ap50[0], 0.0):.2f}."
    if causes:
        sure = "Almost certainly" if causes[0].certainty >= 0.9 else "Probably"
        more = f" {len(causes) - 1} more may matter." if len(causes) > 1 else ""
        return f"{sure}: {causes[0].seen}.{more}"
    if ap50 is not None and ap50[0] < 0.3:
        return (
            f"Nothing suspicious was seen in ids, boxes, scores or training.{score} The model may need more data, a "
            "longer training or larger images."
        )
    return f"Nothing suspicious was seen.{score}"
