"""Rows of YOLO's poses told from polygons, where no file says that there are keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvtune.data.formats.texts import number

__all__ = ["holds_poses"]

BOX = 5  # a class and a box; three numbers for each keypoint follow
VISIBLE = (0, 1, 2)
TOLERANCE = 0.02  # of the image: keypoints may lie a little outside of their box


def holds_poses(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows are a class, a box, and x, y and visibility of keypoints, rather than polygons.

    All must be of one length; every visibility is 0, 1 or 2, not always 0; and the visible points lie in the box, which
    the first two corners of a polygon would hardly happen to describe.
    """
    length = len(rows[0]) if rows else 0
    if length <= BOX or (length - BOX) % 3 or any(len(row) != length for row in rows):
        return False
    values = np.array([[number(value) for value in row] for row in rows], np.float64)
    points = values[:, BOX:].reshape(len(rows), -1, 3)
    seen = points[..., 2]
    if not np.isfinite(values).all() or not np.isin(seen, VISIBLE).all() or not seen.any():
        return False
    centre, half = values[:, None, 1:3], values[:, None, 3:5] / 2 + TOLERANCE
    return bool((values[:, 3:5] > 0).all() and (np.abs(points[..., :2] - centre) <= half)[seen > 0].all())
