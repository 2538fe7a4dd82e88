"""Rules about which images and classes were predicted. One function a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cvtune.errors import DataError
from cvtune.evaluation.ground_truth import read_ground_truth
from cvtune.evaluation.records import id_examples
from cvtune.evaluation.why.case import Case, make_case
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.overlap import first_hits, hits_by_image
from cvtune.evaluation.why.search import Found
from cvtune.runs import read_json

__all__ = [
    "class_never_predicted",
    "elsewhere",
    "images_without_predictions",
    "one_class_for_all",
    "predicted_share",
    "unknown_categories",
    "unknown_ids",
]


def unknown_ids(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Image ids of elsewhere: another split, another data set."""
    if not len(case):
        return None
    unknown = found.reading.images == 0
    share = float(np.isin(case.image, np.flatnonzero(unknown)).mean())
    if share < 0.05:
        return None
    ids = [case.image_ids[i] for i in np.flatnonzero(unknown)]
    where = "another split or another data set"
    if case.run is not None and case.run.images.exists():
        for split, images in read_json(case.run.images).items():
            sources = {image["source_id"] for image in images}
            if split != case.split and sum(i in sources for i in ids) >= 0.8 * len(ids):
                where = f"the split {split!r}"
    return Cause(
        "predictions_of_another_split",
        min(0.98, 0.6 + 0.38 * share),
        f"{100 * share:.0f} % of the predictions name images that the ground truth does not list "
        f"({id_examples(ids)}): they are of {where}",
        "predict the images that are scored, or score against the ground truth of those that were predicted",
        "data.val, data.test, --split, --gt",
    )


def unknown_categories(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Category ids that the ground truth does not have, whatever they mean."""
    unknown = np.flatnonzero(found.reading.classes == 0)
    share = float(np.isin(case.category, unknown).mean()) if len(case) else 0.0
    if share < 0.05 or any(cause.rule.startswith(("class_", "category_")) for cause in found.causes):
        return None
    ids = [case.category_ids[i] for i in unknown]
    return Cause(
        "category_ids_of_another_set",
        0.6 + 0.35 * share,
        f"{100 * share:.0f} % of the predictions have a category id that the ground truth does not list "
        f"({id_examples(ids)}; it has {id_examples(list(case.known_categories))})",
        "map the predictions' ids by class name to the ground truth's category ids",
        "category_id in the predictions",
    )


def one_class_for_all(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Every prediction has the same class, though the boxes lie on objects of several."""
    used = np.unique(found.reading.classes[case.category]) if len(case) else np.zeros(0)
    present = np.unique(case.truth.category[case.objects])
    if len(used) != 1 or len(present) < 2 or len(case) < 10:
        return None
    hit, _ = first_hits(case, found.reading)
    counts = np.bincount(case.truth.category[hit], minlength=len(case.truth.names) + 1)
    totals = np.bincount(case.truth.category[case.objects], minlength=len(case.truth.names) + 1)
    shares = counts[present] / totals[present]
    # A model that knows one class alone hits few objects of the others.
    well = int(((shares >= 0.5 * shares.max()) & (counts[present] >= 3)).sum())
    if well < 2:
        return None
    quality = case.quality(found.reading, classes=False)
    return Cause(
        "one_class_for_all",
        0.98,
        f"all predictions have category id {case.category_ids[0]!r}, though objects of {well} classes are hit; "
        f"with classes left out AP50 is {quality.ap50:.2f}, with them {found.after.ap50:.2f}",
        "write each detection's own class; single-class training or an index that is never set is usual",
        "data.classes, category_id in the predictions",
    )


def class_never_predicted(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """A class with many objects and no prediction, beside classes that are found."""
    if len(case) < 10:
        return None
    n = len(case.truth.names) + 1
    predicted = np.bincount(found.reading.classes[case.category], minlength=n)[:n]
    # Where ids mean other classes, those of some classes may not have been understood.
    plainly = np.bincount(case.plain.classes[case.category], minlength=n)[:n]
    predicted[0] = plainly[0] = 0
    objects = np.bincount(case.truth.category[case.objects], minlength=n)
    never = [k for k in range(1, n) if objects[k] >= 5 and predicted[k] == plainly[k] == 0]
    if not never or (predicted > 0).sum() < 1 or one_class_for_all(case, found, plan):
        return None
    if found.after.ap50 < 0.05 or len(never) > 0.5 * (objects > 0).sum():
        return None
    share = len(never) / int((objects > 0).sum())
    names = ", ".join(repr(case.truth.names[k - 1]) for k in never[:5]) + (", ..." if len(never) > 5 else "")
    return Cause(
        "class_never_predicted",
        0.75 + 0.2 * share,
        f"{'class' if len(never) == 1 else 'classes'} {names} with {sum(int(objects[k]) for k in never)} objects "
        f"{'has' if len(never) == 1 else 'have'} no prediction at all",
        "check that the class has objects in the training data and is in the class list",
        "data.classes, data.train",
    )


def images_without_predictions(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Images that were never predicted, beside images that were predicted well."""
    if not len(case) or not case.objects.any():
        return None
    image = found.reading.images[case.image]
    per_image = np.bincount(image[image > 0], minlength=len(case.sizes_wh))
    objects = np.bincount(case.truth.image[case.objects], minlength=len(case.sizes_wh))
    empty = (objects > 0) & (per_image == 0)
    filled = (objects > 0) & (per_image > 0)
    share = 1 - predicted_share(case, found)
    if empty.sum() < 2 or share < 0.1 or not filled.any():
        return None
    hits = hits_by_image(case, found.reading)
    recall = hits[filled].sum() / objects[filled].sum()
    if float(case.score.min()) > 0.3:
        return None
    # A detector that knows few of its classes leaves images empty one by one, and finds less in the others; one that
    # says much about every image does not fall silent on some.
    mean = per_image[filled].mean()
    talkative = mean >= 8 and np.quantile(per_image[filled], 0.1) >= 3
    if not talkative and (recall < 0.4 or (mean < 2 and recall < 0.8)):
        return None
    return Cause(
        "images_not_predicted",
        min(0.97, 0.6 + 0.4 * float(share) + (0.2 if recall >= 0.7 else 0.0)),
        f"{int(empty.sum())} of {int((objects > 0).sum())} images with objects have no prediction, while in the others "
        f"{100 * recall:.0f} % of the objects are hit",
        "predict every image: a shard of the predictions may be missing, or the run was cut short",
        "the step that writes predictions",
    )


def predicted_share(case: Case, found: Found) -> float:
    """The share of the images with objects that have a prediction, 0..1; 1 where there is nothing to share out."""
    filled = np.unique(case.truth.image[case.objects])
    predicted = np.unique(found.reading.images[case.image]) if len(case) else np.zeros(0, np.int64)
    return float(np.isin(filled, predicted).mean()) if len(filled) else 1.0


def elsewhere(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Confident detections, shaped like the objects, that lie on none of them: predictions of other images."""
    if found.causes or len(case) < 20 or not case.objects.any():
        return None
    hit, _ = first_hits(case, found.reading)
    recall = len(hit) / int(case.objects.sum())
    image = found.reading.images[case.image]
    confident = float(np.quantile(case.score, 0.9)) >= 0.5 and np.ptp(case.score) > 0
    if recall > 0.35 or not confident or found.after.ap50 > 0.15 or (image == 0).mean() > 0.5:
        return None
    if not _by_chance(case, found):
        return None
    other = _other_split(case)
    if other:
        name, quality = other
        return Cause(
            "predictions_of_another_split",
            0.97,
            f"against the split {name!r} AP50 is {quality:.2f} instead of {found.after.ap50:.2f}",
            "predict the images that are scored",
            "data.val, data.test, --split",
            (found.after.ap50, quality),
        )
    return Cause(
        "predictions_of_another_split",
        0.75,
        f"a tenth of the scores is above {np.quantile(case.score, 0.9):.2f}, yet only {100 * recall:.0f} % of the "
        "objects are hit, and no other reading of ids or boxes helps: the predictions may be of other images under the "
        "same ids",
        "check that --gt is the ground truth of the images that were predicted",
        "--gt, --pred, data.val, data.test",
    )


def _by_chance(case: Case, found: Found) -> bool:
    """Whether the best-scored predictions hit hardly more objects than they do on images that are not theirs."""
    objects = int(case.objects.sum())
    best = np.zeros(len(case), bool)
    best[np.argsort(-found.reading.score, kind="stable")[: 2 * objects]] = True
    reading = replace(found.reading, keep=best)
    own = len(first_hits(case, reading)[0])
    used = np.unique(reading.images[reading.images > 0])
    chance = []
    for step in (1, 2, 3):
        other = np.zeros(len(case.sizes_wh), np.int64)
        other[used] = np.roll(used, step)
        chance.append(len(first_hits(case, replace(reading, images=other[reading.images]))[0]))
    expected = sum(chance) / len(chance)
    return bool(own <= 2 * expected + 3 * max(1.0, expected) ** 0.5)


def _other_split(case: Case) -> tuple[str, float] | None:

    if case.run is None or not case.run.images.exists():
        return None
    best: tuple[str, float] | None = None
    for split, images in read_json(case.run.images).items():
        if split == case.split or not case.run.data(split).exists():
            continue
        try:
            truth = read_ground_truth(case.run.data(split))
        except DataError:
            continue
        index = {i["source_id"]: truth.image_index[i["id"]] for i in images if i["id"] in truth.image_index}
        other = make_case(truth, case.columns, index, case.known_categories)
        got = other.quality(replace(other.plain, boxes=case.plain.boxes))
        if got.ap50 > 0.3 and (best is None or got.ap50 > best[1]):
            best = split, got.ap50
    return best
