"""Objects drawn on images: boxes, names, scores, masks."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Rle
from cvtune.data.geometry import rle_to_mask

__all__ = ["class_colour", "draw_comparison", "draw_objects"]

Object = tuple[tuple[float, float, float, float], str, float | None, Rle | None]
MASK_OPACITY = 0.4


def class_colour(name: str) -> tuple[int, int, int]:
    """An RGB colour that depends on the name alone: hue by hash, bright enough to be read on photographs."""
    hue = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") / 65536
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_objects(rgb: NDArray[np.uint8], objects: Iterable[Object]) -> NDArray[np.uint8]:
    """Draw (bbox_xywh, name, score or None, mask or None) objects on a copy.

    Args:
        rgb: uint8 [h, w, 3].
        objects: drawn in this order; boxes in pixels.

    Returns:
        uint8 [h, w, 3].
    """
    listed = list(objects)
    out = np.ascontiguousarray(rgb).copy()
    for _, name, _, rle in listed:
        if rle is not None:
            mask = rle_to_mask(rle)
            blended = (1 - MASK_OPACITY) * out[mask] + MASK_OPACITY * np.array(class_colour(name))
            out[mask] = blended.astype(np.uint8)
    longest = max(out.shape[:2])
    thickness, scale = max(1, round(longest / 400)), max(0.35, longest / 1600)
    for (x, y, w, h), name, score, _ in listed:
        colour = class_colour(name)
        first, last = (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1)
        cv2.rectangle(out, first, last, colour, thickness)
        _label(out, name if score is None else f"{name} {score:.2f}", first, colour, scale)
    return out


def _label(out: NDArray[np.uint8], text: str, at: tuple[int, int], colour: tuple[int, int, int], scale: float) -> None:
    text = text.encode("ascii", "replace").decode()[:40]  # OpenCV's fonts know ASCII alone
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = min(max(0, at[0]), max(0, out.shape[1] - width))
    y = at[1] if at[1] >= height + base else min(out.shape[0], at[1] + height + base)
    cv2.rectangle(out, (x, y - height - base), (x + width, y), colour, -1)
    dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    ink = (0, 0, 0) if dark else (255, 255, 255)
    cv2.putText(out, text, (x, y - base // 2 - 1), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)


def draw_comparison(
    rgb: NDArray[np.uint8], truth: Iterable[Object], predictions: Iterable[Object]
) -> NDArray[np.uint8]:
    """Ground truth on the left, predictions on the right; uint8 [h, 2 w + 4, 3]."""
    gap = np.full((rgb.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([draw_objects(rgb, truth), gap, draw_objects(rgb, predictions)], axis=1)
