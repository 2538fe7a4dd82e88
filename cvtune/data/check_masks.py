"""Checks of masks: they fit their boxes, their outlines do not cross, all objects have one or none has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cvtune.data.checked import Checked, Example
from cvtune.data.coco import Polygon, Rle
from cvtune.data.geometry import segmentation_bbox_xywh

__all__ = ["box_differs", "crosses", "crossing", "partly"]

APART = 2.0  # pixels
APART_SHARE = 0.05  # of the box's side
ROWS = 512  # edges compared with all others at once


def box_differs(data: Checked) -> Iterator[Example]:
    """Objects whose box is not that of their mask."""
    for part in data.own:
        for annotation in part.dataset.annotations:
            if not annotation.segmentation:
                continue
            image = part.images[annotation.image_id]
            x, y, w, h = segmentation_bbox_xywh(annotation.segmentation, (image.height, image.width))
            bx, by, bw, bh = annotation.bbox_xywh
            # The mask is clipped to the image, so the box is too.
            left, top = max(bx, 0.0), max(by, 0.0)
            right, bottom = min(bx + bw, image.width), min(by + bh, image.height)
            across, down = max(abs(left - x), abs(right - x - w)), max(abs(top - y), abs(bottom - y - h))
            if across > max(APART, APART_SHARE * bw) or down > max(APART, APART_SHARE * bh):
                detail = f"box {bx:g} {by:g} {bw:g} {bh:g}, that of the mask {x:g} {y:g} {w:g} {h:g}"
                yield part.example(detail, annotation)


def crossing(data: Checked) -> Iterator[Example]:
    """Objects with a polygon that crosses itself."""
    for part in data.own:
        for annotation in part.dataset.annotations:
            if annotation.segmentation is None or isinstance(annotation.segmentation, Rle):
                continue
            found = sum(map(crosses, annotation.segmentation))
            if found:
                yield part.example(f"{found} of {len(annotation.segmentation)} polygons", annotation)


def partly(data: Checked) -> Iterator[Example]:
    """Parts where some objects have no mask, one example a part."""
    for part in data.own:
        without = [a for a in part.objects if not a.segmentation]
        if without and len(without) < len(part.objects):
            detail = f"{len(without):,} of {len(part.objects):,} objects have no mask, the first"
            yield part.example(detail, without[0])


def crosses(polygon: Polygon) -> bool:
    """Whether two edges of a polygon cross within both; edges that only touch, as bridges to other parts do, do not."""
    points = polygon.reshape(-1, 2)
    n = len(points)
    if n < 4:
        return False
    nexts = np.roll(points, -1, axis=0)
    edges = nexts - points
    for start in range(0, n, ROWS):
        p, d = points[start : start + ROWS, None], edges[start : start + ROWS, None]
        q, e = points[None], edges[None]
        # Two edges cross where each has the other's ends on both sides.
        sides = _cross(d, q - p) * _cross(d, nexts[None] - p)
        others = _cross(e, p - q) * _cross(e, p + d - q)
        if bool(((sides < 0) & (others < 0)).any()):
            return True
    return False


def _cross(a: Polygon, b: Polygon) -> Polygon:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
