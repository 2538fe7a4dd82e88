"""Boxes and polygons of COCO records, as they are decoded from JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from cvtune.data.coco import Polygon
from cvtune.data.outlines import box_polygon

__all__ = ["NUMBERS", "box_of", "degrees_turned", "is_polygons", "polygon_views", "turned_box"]

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


def degrees_turned(attributes: Any) -> float:
    """How far CVAT says that an object's box is turned about its centre, clockwise; 0 where it does not.

    Its exports to COCO and Datumaro give the box before turning, and the angle beside `occluded`.
    """
    if type(attributes) is not dict or type(attributes.get("occluded")) is not bool:
        return 0.0
    degrees = attributes.get("rotation")
    if not isinstance(degrees, int | float) or isinstance(degrees, bool) or not abs(degrees) < 1e6:
        return 0.0
    return degrees % 360.0


def turned_box(box: BoxXywh, degrees: float) -> tuple[tuple[Polygon, ...], BoxXywh]:
    """A box turned clockwise about its centre, as a polygon, and the upright box around that."""
    x, y, w, h = box
    polygon = box_polygon(x, y, x + w, y + h, degrees)
    polygon.flags.writeable = False
    left, top = float(polygon[::2].min()), float(polygon[1::2].min())
    return (polygon,), (left, top, float(polygon[::2].max()) - left, float(polygon[1::2].max()) - top)


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
