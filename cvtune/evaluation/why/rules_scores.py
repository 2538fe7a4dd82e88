"""Rules about scores, and about how many detections there are. One function a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cvtune.evaluation.why.case import Case
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.overlap import first_hits
from cvtune.evaluation.why.search import INVERTED, Found

__all__ = [
    "constant_scores",
    "low_scores",
    "no_predictions",
    "score_threshold",
    "scores_without_order",
    "too_few_detections",
]


def no_predictions(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Nothing was predicted: a threshold that no score reaches, or a model that learned nothing."""
    if len(case) or not case.objects.any():
        return None
    threshold = plan.get("eval.score_threshold")
    high = isinstance(threshold, int | float) and threshold > 0.1
    seen = "there are no predictions at all"
    if high:
        seen += f"; only scores of at least {threshold:g} are kept"
    return Cause(
        "scores_below_threshold",
        0.95 if high else 0.75,
        seen,
        "lower the score threshold to 0.05 or less: COCO's AP needs the unsure detections too",
        "eval.score_threshold",
    )


def score_threshold(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Objects are missed because only sure detections were kept, and nearly all of them are right."""
    if not len(case) or not case.objects.any():
        return None
    # Percent and logits, too, are judged by their share of the highest.
    lowest = float(case.score.min()) / max(1.0, float(case.score.max()))
    planned = plan.get("eval.score_threshold")
    planned = float(planned) if isinstance(planned, int | float) else None
    if lowest < 0.2 and (planned is None or planned < 0.3):
        return None
    hit, by = first_hits(case, found.reading)
    objects = int(case.objects.sum())
    looked_at = case.chosen[found.reading.images[case.image]]
    recall = len(hit) / objects
    precision = len(np.unique(by)) / max(1, int(looked_at.sum()))
    starved = planned is not None and planned >= 0.3 and len(case) < 0.5 * objects
    if recall > 0.85 or (precision < 0.6 and len(case) >= 5 and not starved):
        return None
    limit = max(lowest, planned or 0.0)
    named = f"eval.score_threshold is {planned:g}; " if planned is not None else ""
    certainty = 0.55 + 0.4 * min(1.0, limit * 1.2) * (1 - recall) ** 0.5 + (0.05 if planned and planned > 0.3 else 0)
    return Cause(
        "scores_below_threshold",
        min(0.97, certainty),
        f"{named}no score is below {case.score.min():.3g}, {100 * precision:.0f} % of the detections are right, yet "
        f"only {100 * recall:.0f} % of the objects are found",
        "lower the score threshold to 0.05 or less: COCO's AP needs the unsure detections too",
        "eval.score_threshold",
    )


def low_scores(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Detections are there and ordered well, but every score is so low that a usual threshold shows none."""
    if len(case) < 5 or float(case.score.max()) >= 0.05 or float(case.score.min()) < 0 or found.after.ap50 < 0.1:
        return None
    return Cause(
        "scores_below_threshold",
        0.7,
        f"the highest score is {case.score.max():.3g}: a threshold of 0.05 leaves nothing, though AP50 is "
        f"{found.after.ap50:.2f} without one",
        "write scores as probabilities: a sigmoid or softmax may be missing or applied twice",
        "score in the predictions",
    )


def constant_scores(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Scores that give no order."""
    if len(case) < 5 or len(np.unique(case.score)) > max(1, 0.001 * len(case)) or np.ptp(case.score) > 1e-9:
        return None
    return Cause(
        "scores_constant",
        0.9,
        f"all {len(case)} scores are {case.score[0]:g}: predictions have no order, which AP needs",
        "write each detection's own confidence",
        "score in the predictions",
    )


_ORDER = ("nms_off", "predictions_doubled", "scores_inverted")


def scores_without_order(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Right detections have no higher scores than false ones, or lower ones."""
    if len(case) < 100 or np.ptp(case.score) == 0:
        return None
    _, by = first_hits(case, found.reading)
    looked_at = case.chosen[found.reading.images[case.image]]
    right = np.zeros(len(case), bool)
    right[by] = True
    good, bad = case.score[right & looked_at], case.score[~right & looked_at]
    share = len(bad) / max(1, len(good) + len(bad))
    if (
        len(good) < max(50, 0.3 * case.objects.sum())
        or len(bad) < 30
        or share < 0.05
        or any(c.rule in _ORDER for c in found.causes)
    ):
        return None
    ranks = np.searchsorted(np.sort(bad), good, side="left") + np.searchsorted(np.sort(bad), good, side="right")
    area = float(ranks.mean()) / (2 * len(bad))
    # How far chance alone takes the share of pairs from one half (Mann and Whitney).
    chance = ((1 / len(good) + 1 / len(bad)) / 12) ** 0.5
    # The best-scored of several hits is called right, so that even random scores come out above one half.
    if area > 0.66 - 2 * chance:
        return None
    seen = f"a right detection has the higher score than a false one in {100 * area:.0f} % of all pairs: chance is 50 %"
    if area < 0.4 - 2 * chance:
        return Cause("scores_inverted", 0.8, seen, INVERTED, "score in the predictions")
    fix = "check that each score is written beside its own box"
    return Cause("scores_without_order", 0.7, seen, fix, "score in the predictions")


def too_few_detections(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """A cap on detections that images with more objects run into."""
    if not len(case) or not case.objects.any():
        return None
    image = found.reading.images[case.image]
    per_image = np.bincount(image[image > 0], minlength=len(case.sizes_wh))
    objects = np.bincount(case.truth.image[case.objects], minlength=len(case.sizes_wh))
    cap = int(per_image.max())
    filled = objects > 0
    at_cap = (per_image == cap) & filled
    cut = at_cap & (objects > cap)
    planned = plan.get("eval.model_max_detections")
    capped = at_cap.sum() >= max(2, 0.2 * filled.sum()) and cut.sum() >= max(2, 0.1 * filled.sum())
    if not cap or not capped or (cap >= 100 and cut.sum() < 0.3 * filled.sum()):
        return None
    missed = int((objects - cap)[cut].sum())
    share = missed / int(case.objects.sum())
    if share < 0.05:
        return None
    named = f" (eval.model_max_detections is {planned})" if planned is not None else ""
    return Cause(
        "max_detections",
        min(0.98, 0.7 + 0.5 * share + (0.1 if planned == cap else 0.0)),
        f"no image has more than {cap} detections{named}, {int(at_cap.sum())} have just that many, and "
        f"{int(cut.sum())} have more objects: {missed} objects cannot be found",
        f"raise the cap above {int(objects.max())}, the most objects of an image",
        "eval.model_max_detections",
    )
