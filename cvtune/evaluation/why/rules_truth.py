"""Rules about the ground truth: its objects, boxes, masks and image files. One function a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pycocotools.mask as mask_api

from cvtune.evaluation.masks import has_mask
from cvtune.evaluation.why.case import Case
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.search import Found

__all__ = ["masks_from_boxes", "no_objects", "orphans", "truth_outside_images", "wrong_image_sizes"]


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


_EXIF = "apply EXIF orientation on both sides, or store the images upright (`cvtune convert --copy` does)"


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


def _turned(found: Found) -> bool:
    return any(cause.rule in ("images_turned", "images_mirrored") for cause in found.causes) or found.after.ap50 < 0.3
