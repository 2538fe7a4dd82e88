"""What VOC's objects have besides an upright box: rotated boxes, polygons, and CVAT's angle of a box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cvtune.data.coco import Polygon
from cvtune.data.formats.texts import number
from cvtune.data.formats.voc_xml import ROTATED, VocObject
from cvtune.data.outlines import box_polygon, clip_polygon

__all__ = ["VocShape", "shape_of", "within"]

# Farther numbers are mistakes; products of them must not overflow.
FARTHEST = 1e9


@dataclass(frozen=True)
class VocShape:
    """An object's polygons, 0-based; `fault` (code, detail) is why there are none, `repairs` what was done.

    `around` says that they decide where the object's box is: its upright one, if any, is another.
    """

    polygons: tuple[Polygon, ...] = ()
    fault: tuple[str, str] | None = None
    repairs: tuple[tuple[str, str], ...] = ()
    around: bool = False


def shape_of(o: VocObject, origin: int) -> VocShape | None:
    """The shape of an object; None where its upright box says all.

    roLabelImg's centre, size and angle (radians, clockwise) and polygons are continuous and count from 0, whatever the
    origin of the set's upright boxes, but that a polygon counts as the box beside it does, where it fits that so.

    Args:
        o: an object.
        origin: where the pixels of upright boxes start.
    """
    if o.rotated is not None:
        return _rotated(o.rotated)
    if o.outlines:
        return _outlined(o, origin)
    degrees = number(str(o.extra.get("attributes", {}).get("rotation", "0")))
    if o.corners is None or not math.isfinite(degrees) or degrees % 360 == 0:
        return None
    x0, y0, x1, y1 = o.corners
    if x1 <= x0 or y1 <= y0:
        return None
    polygon = box_polygon(x0 - origin, y0 - origin, x1, y1, degrees)
    repair = ("rotation-as-polygon", f"turned by {degrees:g} degrees about its centre")
    return VocShape((polygon,), repairs=(repair,), around=True)


def within(shape: VocShape, size_wh: tuple[int, int]) -> tuple[tuple[Polygon, ...], float]:
    """(What of the polygons lies inside the image, by how many pixels they stick out)."""
    out = max(max(-p.min(), p[::2].max() - size_wh[0], p[1::2].max() - size_wh[1]) for p in shape.polygons)
    kept = []
    for polygon in shape.polygons if out <= 0 else (clip_polygon(p, size_wh) for p in shape.polygons):
        if len(polygon) >= 6 and min(np.ptp(polygon[::2]), np.ptp(polygon[1::2])) > 0:
            polygon.flags.writeable = False
            kept.append(polygon)
    return tuple(kept), float(out)


def _rotated(texts: tuple[str, ...]) -> VocShape:
    said = ", ".join(f"{key}={value or 'missing'}" for key, value in zip(ROTATED, texts, strict=True))
    cx, cy, w, h, angle = map(number, texts)
    if not math.isfinite(cx + cy + w + h + angle) or max(map(abs, (cx, cy, w, h))) > FARTHEST:
        return VocShape(fault=("box-not-numeric", said))
    if w <= 0 or h <= 0:
        return VocShape(fault=("box-inverted" if min(w, h) < 0 else "box-zero-area", said))
    polygon = box_polygon(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, math.degrees(angle))
    return VocShape((polygon,), repairs=(("rotation-as-polygon", said),))


def _outlined(o: VocObject, origin: int) -> VocShape:
    polygons, repairs = [], []
    for n, outline in enumerate(o.outlines, start=1):
        points = np.array(outline, np.float64)
        if len(points) < 6 or not np.isfinite(points).all() or np.abs(points).max() > FARTHEST:
            finite = f"{len(points)} numbers" if len(points) < 6 else "a value that is no finite number"
            repairs.append(("mask-degenerate", f"polygon {n} of {len(o.outlines)} has {finite}"))
        else:
            polygons.append(points)
    if not polygons:
        return VocShape(fault=repairs[0])
    if origin and o.corners is not None:
        x, y = np.concatenate([p[::2] for p in polygons]), np.concatenate([p[1::2] for p in polygons])
        apart = np.mean(np.subtract((x.min(), y.min(), x.max(), y.max()), o.corners))
        if apart > -origin / 2:
            polygons = [p - origin for p in polygons]
    return VocShape(tuple(polygons), repairs=tuple(repairs))
