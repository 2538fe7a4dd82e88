"""Predictions checked against the ground truth: what is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_api
from numpy.typing import NDArray

from cvtune.errors import DataError
from cvtune.evaluation.columns import Columns, read_columns
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.masks import Mask, checked_masks, has_mask, mask_areas, to_rles
from cvtune.evaluation.records import (
    Id,
    box_array,
    float_array,
    id_examples,
    numbered,
)

__all__ = ["Detections", "Hint", "read_detections"]

Hint = Callable[[Sequence[Any]], str]
"""Unknown image ids -> what may be wrong with them, as ``; the ids ...``, or an empty string."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Columns of n detections in file order; `image` and `category` are the ground truth's numbers 1, 2, ...

    `area` decides what is small, medium or large. It is the box's, for masks too, as in pycocotools' loadRes: only
    where no prediction has a box is it the mask's. (Detectron2 and MMDetection take the boxes out before they score
    masks, so their APs, APm and APl of masks differ from what pycocotools says of the file.)
    """

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    score: NDArray[np.float64]
    boxes_xywh: NDArray[np.float64]
    area: NDArray[np.float64]
    masks: tuple[Mask, ...] | None
    with_boxes: bool = True

    def __len__(self) -> int:
        """Return the number of detections."""
        return len(self.score)


def read_detections(
    source: Path | Sequence[Mapping[str, Any]] | Columns,
    truth: GroundTruth,
    want_masks: bool,
    image_index: Mapping[Id, int] | None = None,
    category_index: Mapping[Id, int] | None = None,
    hint: Hint | None = None,
) -> Detections:
    """Read and check predictions.

    Args:
        source: a COCO results file, its columns, or its list: image_id, category_id, score, and bbox (x, y, w, h) or
            segmentation.
        truth: what they are scored against.
        want_masks: whether masks will be scored; if not, they are not even decoded where there are boxes.
        image_index: the predictions' image ids -> the ground truth's numbers, if not the ground truth's own ids.
        category_index: the same for category ids.
        hint: says what may be wrong with image ids that are unknown.

    Raises:
        DataError: not a list; a key is missing; an image id or category id is unknown; a score or box is not finite;
            a box has not four numbers; some predictions have a box or a mask and others have none; a broken mask.
    """
    columns = source if isinstance(source, Columns) else read_columns(source)
    where = columns.where
    scores = float_array(columns.scores, "score", where)
    image = _image_numbers(columns.image_ids, truth, image_index, where, hint)
    category = _category_numbers(columns.category_ids, truth, category_index, where)
    boxes_given = len(columns.boxes) > 0 and (
        isinstance(columns.boxes, np.ndarray) or _all_or_none([box is not None for box in columns.boxes], "bbox", where)
    )
    masks_given = (want_masks or not boxes_given) and _all_or_none(
        [has_mask(segmentation) for segmentation in columns.segmentations], "segmentation", where
    )
    if not boxes_given and not masks_given and len(scores):
        raise DataError(f"{where}[0]: neither 'bbox' nor 'segmentation' is given; one is needed")
    masks: list[Mask] | None = None
    if masks_given:
        sizes = [truth.sizes_hw[i - 1] for i in image.tolist()]
        masks = checked_masks(columns.segmentations, sizes, range(len(image)), where)
    if boxes_given or not masks_given:
        boxes = box_array(columns.boxes, where)
        area = boxes[:, 2] * boxes[:, 3]
    else:
        assert masks is not None
        masks = list(to_rles(masks, sizes))
        boxes = np.asarray(mask_api.toBbox(masks), np.float64).reshape(-1, 4)
        area = mask_areas(masks, sizes)
    return Detections(image, category, scores, boxes, area, None if masks is None else tuple(masks), boxes_given)


def _all_or_none(given: Sequence[bool], key: str, where: str) -> bool:
    count = sum(given)
    if count not in (0, len(given)):
        at = given.index(False)
        raise DataError(
            f"{where}[{at}]: {key!r} is missing, but {count} of {len(given)} predictions have one; give all or none"
        )
    return count > 0


def _numbers(
    ids: Sequence[Any] | NDArray[np.int64], index: Mapping[Id, int], key: str, where: str
) -> NDArray[np.int64]:
    """The numbers of `ids`, 0 for those that are unknown."""
    try:
        return numbered(ids, index)
    except TypeError:
        at = next(i for i, value in enumerate(ids) if isinstance(value, list | dict))
        raise DataError(f"{where}[{at}].{key}: expected a number or a string, got {ids[at]!r}") from None


def _picked(ids: Sequence[Any] | NDArray[np.int64], chosen: NDArray[np.bool_]) -> list[Any]:
    if isinstance(ids, np.ndarray):
        return list(ids[chosen].tolist())
    return [ids[i] for i in np.flatnonzero(chosen)]


def _image_numbers(
    ids: Sequence[Any] | NDArray[np.int64],
    truth: GroundTruth,
    index: Mapping[Id, int] | None,
    where: str,
    hint: Hint | None,
) -> NDArray[np.int64]:
    known = truth.image_index if index is None else index
    numbers = _numbers(ids, known, "image_id", where)
    unknown = _picked(ids, numbers == 0)
    if unknown:
        raise DataError(
            f"{where}: {len(unknown)} of {len(ids)} predictions have an image_id that {truth.where} does not list: "
            f"{id_examples(unknown)}; its ids are like {id_examples(list(known)[:50])}"
            f"{_type_hint(unknown, known) or (hint(unknown) if hint else '')}"
        )
    return numbers


def _category_numbers(
    ids: Sequence[Any] | NDArray[np.int64], truth: GroundTruth, index: Mapping[Id, int] | None, where: str
) -> NDArray[np.int64]:
    known = truth.category_index if index is None else index
    numbers = _numbers(ids, known, "category_id", where)
    unknown = _picked(ids, numbers == 0)
    if unknown:
        allowed = list(known)
        shown = ", ".join(map(repr, allowed[:20])) + (", ..." if len(allowed) > 20 else "")
        fix = _type_hint(unknown, known)
        if not fix and set(unknown) == {0}:
            fix = "; 0 looks like a class index: results need the ground truth's category ids"
        raise DataError(
            f"{where}: {len(unknown)} of {len(ids)} predictions have a category_id that {truth.where} does not list: "
            f"{id_examples(unknown)}; allowed: {shown}{fix}"
        )
    return numbers


def _type_hint(unknown: Sequence[Any], known: Mapping[Id, int]) -> str:
    """Ids that differ only in being a string or a number."""
    for value in unknown[:100]:
        if isinstance(value, str):
            try:
                number = int(value)
            except ValueError:
                continue
            if number in known:
                return f"; they look like strings of numbers: write {number} instead of {value!r}"
        elif str(value) in known:
            return f"; the ground truth has strings: write {str(value)!r} instead of {value!r}"
    return ""
