"""Polygons of other shapes, clipped to their image, or several joined into one outline. Pixels, continuous edges."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Polygon

__all__ = ["box_polygon", "clip_polygon", "curve_points", "ellipse_polygon", "join_polygons"]

# A polygon stays this close, in pixels, to the ellipse that it stands for.
CLOSE = 0.05
# Farther corners are moved here first: products of them must not overflow.
FARTHEST = 1e7


def ellipse_polygon(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> Polygon:
    """Points on an ellipse, as many as it takes to stay within 0.05 px of it; flat float64 x0, y0, x1, y1, ...

    Args:
        cx: the centre's x.
        cy: the centre's y.
        rx: the half axis along x, before turning.
        ry: the half axis along y, before turning.
        degrees: how far it is turned, clockwise as seen on the screen.
    """
    radius = max(abs(rx), abs(ry))
    share = math.acos(1 - min(CLOSE / radius, 0.5)) if radius > 0 else 1.0
    # Of a radius as large as a damaged file has it, the share is 0.
    count = min(max(16, 4 * math.ceil(math.pi / max(share, 1e-9) / 4)), 720)
    angle = np.arange(count) * (2 * math.pi / count)
    return _turned(np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=1), cx, cy, degrees)


def box_polygon(x0: float, y0: float, x1: float, y1: float, degrees: float = 0.0, about: str = "centre") -> Polygon:
    """The four corners of a box, flat float64 [8], from the left upper one on.

    Args:
        x0: left edge before turning.
        y0: upper edge before turning.
        x1: right edge before turning.
        y1: lower edge before turning.
        degrees: how far it is turned, clockwise as seen on the screen.
        about: what it is turned about: its "centre" or its left upper "corner".
    """
    cx, cy = ((x0 + x1) / 2, (y0 + y1) / 2) if about == "centre" else (x0, y0)
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)
    if not degrees:
        return corners.reshape(-1)
    return _turned(corners - (cx, cy), cx, cy, degrees)


def curve_points(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on a cubic Bezier curve, the last one included and the first one not: float64 [n, 2].

    Args:
        corners: float64 [4, 2]: where it begins, two control points, where it ends.
    """
    # A chord of a curve whose second differences are at most d leaves it by at most 3/4 d / n^2 (n chords).
    corners = np.clip(corners, -FARTHEST, FARTHEST)
    bend = float(np.abs(corners[:-2] - 2 * corners[1:-1] + corners[2:]).max())
    count = min(max(4, math.ceil(math.sqrt(0.75 * math.sqrt(2) * bend / CLOSE))), 720) if math.isfinite(bend) else 4
    t = np.arange(1, count + 1)[:, None] / count
    shares = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    points: NDArray[np.float64] = shares @ corners
    return points


def clip_polygon(polygon: Polygon, size_wh: tuple[int, int]) -> Polygon:
    """What of a polygon lies inside its image, by Sutherland and Hodgman (1974); empty where nothing does.

    Parts of a concave polygon stay joined by edges along the image's border, which cover nothing.

    Args:
        polygon: flat, finite x0, y0, x1, y1, ... in pixels.
        size_wh: the image's width and height in pixels.
    """
    points = np.clip(polygon, -FARTHEST, FARTHEST).reshape(-1, 2).tolist()
    for axis, size in enumerate(size_wh):
        for sign, limit in ((1.0, 0.0), (-1.0, -float(size))):  # inside is sign * coordinate >= limit
            kept: list[list[float]] = []
            for i, point in enumerate(points):
                before = points[i - 1]
                this, other = sign * point[axis] - limit, sign * before[axis] - limit
                if (this >= 0) != (other >= 0):
                    share = other / (other - this)
                    cut = [b + share * (p - b) for b, p in zip(before, point, strict=True)]
                    cut[axis] = sign * limit
                    kept.append(cut)
                if this >= 0:
                    kept.append(point)
            points = kept
    return np.array(points, np.float64).reshape(-1)


def join_polygons(polygons: Sequence[Polygon]) -> Polygon:
    """One outline through all parts, for formats that hold one polygon an object.

    Each part is entered from the outline so far, and left, over the same line between the two nearest corners, so the
    bridges have no width.

    Args:
        polygons: at least one, each flat x0, y0, x1, y1, ... in pixels.
    """
    whole = polygons[0].reshape(-1, 2)
    for polygon in polygons[1:]:
        part = polygon.reshape(-1, 2)
        distance = ((whole[:, None] - part[None]) ** 2).sum(axis=2)  # [corners so far, corners of the part]
        at, enter = divmod(int(distance.argmin()), len(part))
        tour = np.concatenate([part[enter:], part[: enter + 1]])
        whole = np.concatenate([whole[: at + 1], tour, whole[at:]])
    return whole.reshape(-1)


def _turned(points: NDArray[np.float64], cx: float, cy: float, degrees: float) -> Polygon:
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    x, y = points[:, 0], points[:, 1]
    return np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=1).reshape(-1)
