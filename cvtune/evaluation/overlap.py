"""Overlaps of boxes, and going through columns image by image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["box_iou", "by_image"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def box_iou(a_xywh: Floats, b_xywh: Floats) -> Floats:
    """float64 [n, m], the IoU of each of n boxes with each of m; 0 for boxes without area."""
    low = np.maximum(a_xywh[:, None, :2], b_xywh[None, :, :2])
    high = np.minimum((a_xywh[:, :2] + a_xywh[:, 2:])[:, None], (b_xywh[:, :2] + b_xywh[:, 2:])[None])
    shared = np.clip(high - low, 0, None).prod(2)
    area_a, area_b = (np.clip(boxes[:, 2:], 0, None).prod(1) for boxes in (a_xywh, b_xywh))
    union = area_a[:, None] + area_b[None, :] - shared
    iou: Floats = shared / np.maximum(union, 1e-12)
    return iou


def by_image(*images: Ints) -> Iterator[tuple[int, list[Ints]]]:
    """Each image of the first column with the rows that every column has of it."""
    orders = [np.argsort(column, kind="stable") for column in images]
    ordered = [column[order] for column, order in zip(images, orders, strict=True)]
    for image in np.unique(ordered[0]).tolist():
        rows = []
        for column, order in zip(ordered, orders, strict=True):
            start, stop = np.searchsorted(column, (image, image + 1))
            rows.append(order[start:stop])
        yield image, rows
