"""Rules that look at predictions, objects and images as they are: one function a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pycocotools.mask as mask_api

from cvtune.errors import DataError
from cvtune.evaluation.masks import has_mask
from cvtune.evaluation.records import id_examples
from cvtune.evaluation.why.case import Case
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.overlap import first_hits, hits_by_image
from cvtune.evaluation.why.search import Found
from cvtune.runs import read_json

__all__ = ["RULES", "Rule"]

Rule = Callable[[Case, Found, Mapping[str, Any]], Cause | None]
"""(case, best reading, the plan's values) -> a cause, or None where nothing is suspicious."""


def no_objects(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Ground truth without anything to find."""
    if case.objects.any():
        return None
    crowds = int(case.truth.crowd.sum())
    why = f": all {crowds} annotations are crowds (iscrowd 1), which are never missed" if crowds else ""
    return Cause(
        "ground_truth_empty",
        1.0,
        f"the ground truth has {len(case.truth.sizes_hw)} images and no object that can be found{why}",
        "give annotations of these images, and a class list that holds their classes",
        "data.val, data.test",
    )


def orphans(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Annotations that belong to no image or class of the ground truth."""
    dropped, kept = case.truth.dropped, len(case.truth.image)
    if dropped < max(2, 0.1 * (dropped + kept)):
        return None
    return Cause(
        "ground_truth_orphans",
        min(0.97, 0.7 + 0.3 * dropped / (dropped + kept)),
        f"{dropped} of {dropped + kept} ground-truth annotations name an image or a category that is not listed",
        "make image_id and category_id of the annotations those of the lists of images and categories",
        "annotations of the ground truth",
    )


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
    lowest = float(case.score.min())
    planned = plan.get("eval.score_threshold")
    planned = float(planned) if isinstance(planned, int | float) else None
    if lowest < 0.2 and (planned is None or planned < 0.3):
        return None
    hit, by = first_hits(case, found.reading)
    objects = int(case.objects.sum())
    looked_at = case.chosen[found.reading.images[case.image]]
    recall = len(hit) / objects
    precision = len(np.unique(by)) / max(1, int(looked_at.sum()))
    if recall > 0.85 or (precision < 0.6 and len(case) >= 5):
        return None
    limit = max(lowest, planned or 0.0)
    named = f"eval.score_threshold is {planned:g}; " if planned is not None else ""
    certainty = 0.55 + 0.4 * min(1.0, limit * 1.2) * (1 - recall) ** 0.5 + (0.05 if planned and planned > 0.3 else 0)
    return Cause(
        "scores_below_threshold",
        min(0.97, certainty),
        f"{named}no score is below {lowest:.2f}, {100 * precision:.0f} % of the detections are right, yet only "
        f"{100 * recall:.0f} % of the objects are found",
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


def scores_without_order(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Right detections have no higher scores than false ones."""
    if len(case) < 100 or np.ptp(case.score) == 0:
        return None
    _, by = first_hits(case, found.reading)
    looked_at = case.chosen[found.reading.images[case.image]]
    right = np.zeros(len(case), bool)
    right[by] = True
    good, bad = case.score[right & looked_at], case.score[~right & looked_at]
    share = len(bad) / max(1, len(good) + len(bad))
    if len(good) < 50 or len(bad) < 50 or share < 0.3 or any(c.rule in _ORDER for c in found.causes):
        return None
    ranks = np.searchsorted(np.sort(bad), good, side="left") + np.searchsorted(np.sort(bad), good, side="right")
    area = float(ranks.mean()) / (2 * len(bad))
    # The best-scored of several hits is called right, so that even random scores come out above one half.
    if area > 0.6:
        return None
    return Cause(
        "scores_without_order",
        0.7,
        f"a right detection has the higher score than a false one in {100 * area:.0f} % of all pairs: chance is 50 %",
        "check that each score is written beside its own box",
        "score in the predictions",
    )


_ORDER = ("nms_off", "predictions_doubled", "scores_inverted")


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
    if recall < 0.4 or float(case.score.min()) > 0.3:
        return None
    # A detector that knows few of its classes leaves images empty one by one, and finds less in the others.
    mean = per_image[filled].mean()
    if mean < 2 and recall < 0.8:
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
    well = int((counts[present] >= 0.4 * totals[present]).sum())
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
    known = found.reading.classes[case.category]
    n = len(case.truth.names) + 1
    predicted = np.bincount(known[known > 0], minlength=n)
    objects = np.bincount(case.truth.category[case.objects], minlength=n)
    never = [k for k in range(1, n) if objects[k] >= 5 and predicted[k] == 0]
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


def masks_from_boxes(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Predicted masks that fill their boxes, while the objects' do not."""
    at = [i for i in range(len(case)) if has_mask(case.segmentations[i])][:3000]
    rows = [i for i in np.flatnonzero(case.objects).tolist() if has_mask(case.truth.segmentations[i])][:3000]
    if len(at) < 5 or len(rows) < 5:
        return None
    predicted = _fill([case.segmentations[i] for i in at])
    true = _fill([case.truth.segmentations[i] for i in rows])
    if len(predicted) < 5 or len(true) < 5:
        return None
    boxy, true_boxy = float((predicted > 0.97).mean()), float((true > 0.97).mean())
    if boxy > 0.9 and true_boxy < 0.5:
        return Cause(
            "masks_from_boxes",
            0.95,
            f"{100 * boxy:.0f} % of the predicted masks fill their boxes, of the true ones {100 * true_boxy:.0f} %",
            "write the masks that the model predicts; a detector without a mask head has none",
            "model.family, segmentation in the predictions",
        )
    if true_boxy > 0.9 and boxy < 0.3:
        return Cause(
            "ground_truth_masks_from_boxes",
            0.9,
            f"{100 * true_boxy:.0f} % of the true masks fill their boxes, of the predicted ones {100 * boxy:.0f} %",
            "give real masks, or score boxes alone",
            "data.val, data.test, data.missing_masks",
        )
    return None


def _fill(segmentations: list[Any]) -> Any:
    """The share of its box that each mask covers; masks that cannot be read are left out."""
    shares = []
    for segmentation in segmentations:
        try:
            value = msgspec.json.decode(segmentation) if isinstance(segmentation, msgspec.Raw) else segmentation
            if isinstance(value, dict):
                if isinstance(value["counts"], list):
                    value = mask_api.frPyObjects(value, *value["size"])
                area, (_, _, w, h) = float(mask_api.area(value)), mask_api.toBbox(value)
            else:
                parts = [np.reshape(part, (-1, 2)).astype(np.float64) for part in value]
                area = sum(abs(_shoelace(part)) for part in parts)
                w, h = np.ptp(np.concatenate(parts), axis=0)
            if w * h >= 16:
                shares.append(area / (w * h))
        except (TypeError, ValueError, KeyError, msgspec.MsgspecError):
            continue
    return np.array(shares)


def _shoelace(xy: Any) -> float:
    x, y = xy[:, 0], xy[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def truth_outside_images(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Ground-truth boxes that reach over their images, or are shares of them: the objects are written wrongly."""
    rows = np.flatnonzero(case.objects)
    sizes = case.sizes_wh[case.truth.image[rows]]
    if len(rows) < 5 or not (sizes > 0).all():
        return None
    boxes = case.truth_boxes[rows]
    if float(np.quantile(boxes, 0.99)) <= 1.5 and float(np.median(sizes)) > 8:
        return Cause(
            "ground_truth_normalized",
            0.97,
            "the ground truth's boxes lie between 0 and 1: they are shares of the image's size",
            "convert the annotations with `cvtune convert`, which writes pixels",
            "bbox in the ground truth",
        )
    over = ((boxes[:, :2] + boxes[:, 2:]) > sizes * 1.02 + 2).any(1)
    corners = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    sound = (corners[:, 2:] > 0).all(1) & (boxes[:, 2:] <= sizes + 2).all(1)
    if over.mean() < 0.2:
        return None
    if sound.mean() > 0.98:
        mended = case.truth_boxes.copy()
        mended[:, 2:] -= mended[:, :2]
        got = case.with_truth_boxes(mended).quality(found.reading)
        if len(case) and got.value < found.after.value:
            return None
        return Cause(
            "ground_truth_xyxy",
            0.97,
            f"{100 * over.mean():.0f} % of the ground truth's boxes reach over their images, and all are sound if read "
            f"as left, top, right, bottom; AP50 is then {got.ap50:.2f} instead of {found.after.ap50:.2f}",
            "convert the annotations with `cvtune convert`, or write [left, top, width, height]",
            "bbox in the ground truth",
            (found.after.ap50, got.ap50),
        )
    return Cause(
        "ground_truth_outside_images",
        0.75,
        f"{100 * over.mean():.0f} % of the ground truth's boxes reach over their images",
        "check the images' width and height in the ground truth (EXIF orientation swaps them) and the boxes' unit",
        "images and annotations of the ground truth",
    )


def wrong_image_sizes(case: Case, found: Found, plan: Mapping[str, Any]) -> Cause | None:
    """Image files whose size, or whose EXIF orientation, is not what the ground truth says."""
    from PIL import Image

    if case.folder is None or not case.truth.file_names:
        return None
    swapped, turned, other, looked_at = 0, 0, 0, 0
    for number, name in enumerate(case.truth.file_names, 1):
        path = (
            next((p for p in (case.folder / name, case.folder / "images" / name) if p.is_file()), None)
            if name
            else None
        )
        if path is None:
            if number > 20 and not looked_at:
                return None
            continue
        try:
            with Image.open(path) as image:
                size, orientation = image.size, image.getexif().get(0x0112, 1)
        except (OSError, ValueError):
            continue
        looked_at += 1
        listed = tuple(case.sizes_wh[number].astype(int).tolist())
        turned += orientation not in (0, 1) and orientation is not None
        shown = size[::-1] if orientation in (5, 6, 7, 8) else size
        swapped += listed == size[::-1] and size[0] != size[1] and listed != shown
        other += listed not in (size, size[::-1]) and min(listed) > 0
        if looked_at >= 300:
            break
    if other >= max(2, 0.1 * looked_at):
        return Cause(
            "image_sizes_differ",
            0.85,
            f"{other} of {looked_at} image files have another size than the ground truth says",
            "annotate and predict the same images: one side was resized",
            "images of the ground truth",
        )
    if swapped >= max(2, 0.05 * looked_at) or (turned >= max(2, 0.02 * looked_at) and _turned(found)):
        return Cause(
            "images_turned",
            0.97,
            f"{turned} of {looked_at} image files carry an EXIF orientation and {swapped} are listed with width and "
            "height swapped: one side read them turned, the other did not",
            _EXIF,
            "how images are read: EXIF orientation",
        )
    return None


_EXIF = "apply EXIF orientation on both sides, or store the images upright (`cvtune convert --copy` does)"


def _turned(found: Found) -> bool:
    return any(cause.rule in ("images_turned", "images_mirrored") for cause in found.causes) or found.after.ap50 < 0.3


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
        0.6,
        f"a tenth of the scores is above {np.quantile(case.score, 0.9):.2f}, yet only {100 * recall:.0f} % of the "
        "objects are hit, and no other reading of ids or boxes helps: the predictions may be of other images under the "
        "same ids",
        "check that --gt is the ground truth of the images that were predicted",
        "--gt, --pred, data.val, data.test",
    )


def _other_split(case: Case) -> tuple[str, float] | None:
    from dataclasses import replace

    from cvtune.evaluation.ground_truth import read_ground_truth
    from cvtune.evaluation.why.case import make_case

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


RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        no_objects,
        orphans,
        no_predictions,
        unknown_ids,
        unknown_categories,
        score_threshold,
        low_scores,
        constant_scores,
        scores_without_order,
        too_few_detections,
        images_without_predictions,
        one_class_for_all,
        class_never_predicted,
        masks_from_boxes,
        truth_outside_images,
        wrong_image_sizes,
        elsewhere,
    )
}
