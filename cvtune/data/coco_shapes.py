"""Boxes and polygons of COCO records, as they are decoded from JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from cvtune.data.coco import Polygon

__all__ = ["NUMBERS", "box_of", "is_polygons", "polygon_views"]

BoxXywh = tuple[float, float, float, float]
NUMBERS = (int, float)


def box_of(bbox: Any) -> tuple[str, BoxXywh]:
    """The code of what is wrong with a box, or an empty string, and the box."""
    if type(bbox) is not list or len(bbox) != 4 or any(type(value) not in NUMBERS for value in bbox):
        return "box-not-numeric", (0.0, 0.0, 0.0, 0.0)
    try:
        box: BoxXywh = (float(bbox[0]), float(bbox[1]), float(bbox[2]), float(bbox[3]))
    except OverflowError:
        return "box-not-numeric", (0.0, 0.0, 0.0, 0.0)
    if not math.isfinite(box[0] + box[1] + box[2] + box[3]):
        return "box-not-numeric", box
    return ("box-inverted", box) if box[2] < 0 or box[3] < 0 else ("", box)


def is_polygons(mask: Any) -> bool:
    """Whether a segmentation is a list of lists, as polygons are."""
    return type(mask) is list and len(mask) > 0 and type(mask[0]) is list


def polygon_views(records: list[dict[str, Any]]) -> Iterator[Polygon] | None:
    """The polygons of some hundred records, one after another, as read-only views into one array.

    One array instead of thousands is twice as fast. None where a coordinate is no finite number.
    """
    masks = [record.get("segmentation") for record in records]
    parts: list[Any] = [part for mask in masks if is_polygons(mask) for part in mask or ()]
    try:
        ends = np.cumsum([len(part) for part in parts]).tolist() if parts else []
        flat = np.fromiter(chain.from_iterable(parts), np.float64, ends[-1] if ends else 0)
    except (TypeError, ValueError, OverflowError):
        return None
    if not np.isfinite(flat).all():
        return None
    flat.flags.writeable = False
    return (flat[start:stop] for start, stop in zip([0, *ends], ends, strict=False))
