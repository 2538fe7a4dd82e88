"""Boxes and masks as SVG over an image, each with what the page's script needs to show, hide and count it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cvtune.data.geometry import rle_from_json, rle_to_mask
from cvtune.report.text import shorten

__all__ = ["MOST_DETECTIONS", "VIEW", "draw_box", "mask_path", "text_size", "view_size"]

VIEW = 640
"""The longer side of every picture, in the units of its drawing."""
MOST_DETECTIONS = 150
MOST_POINTS = 400


def view_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the drawing of an image: its longer side is VIEW."""
    width, height = max(1, size_wh[0]), max(1, size_wh[1])
    scale = VIEW / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def text_size(view_wh: tuple[int, int]) -> float:
    """The size of names in a drawing, in its units: about the same on the page, which fits drawings into one frame."""
    return round(max(view_wh[0] / 24, view_wh[1] / 32), 1)


def draw_box(
    style: str,
    attributes: dict[str, Any],
    box_xywh: NDArray[np.float64],
    label: str,
    path: str,
    view_wh: tuple[int, int],
) -> Markup:
    """One object or detection.

    Args:
        style: its CSS classes. attributes: name -> value of its data attributes.
        box_xywh: in units of the drawing. label: its name, and score. path: its mask, or "".
        view_wh: the drawing's size: what lies beyond is cut off.
    """
    width, height = view_wh
    low = np.clip(box_xywh[:2], 0, (width, height))
    high = np.clip(box_xywh[:2] + box_xywh[2:], 0, (width, height))
    (x, y), (w, h) = np.round(low).astype(int).tolist(), np.round(np.maximum(high - low, 1)).astype(int).tolist()
    data = Markup("").join(Markup(' data-{}="{}"').format(key, value) for key, value in attributes.items())
    size, name = text_size(view_wh), shorten(label, 40)
    # Above the box, or inside where there is no room; to the left where it would end beyond the drawing.
    above, beyond = y > 1.2 * size, x + 0.6 * size * len(name) > width
    return Markup(
        '<g class="{}"{}>{}<rect x="{}" y="{}" width="{}" height="{}"/><text x="{}" y="{}" dy="{}"{}>{}</text></g>'
    ).format(
        style,
        data,
        Markup('<path d="{}"/>').format(path) if path else "",
        x,
        y,
        w,
        h,
        width - 2 if beyond else x + 2,
        y,
        "-.25em" if above else "1em",
        Markup(' text-anchor="end"') if beyond else "",
        name,
    )


def mask_path(raw: bytes, size_wh: tuple[int, int], view_wh: tuple[int, int]) -> str:
    """A COCO segmentation as the path of its outline, to be filled by the even-odd rule; "" where there is none.

    Raises:
        ValueError, TypeError, DataError: it is broken.
    """
    segmentation = json.loads(raw) if raw else None
    if not segmentation:
        return ""
    if isinstance(segmentation, list):
        scale = np.array(view_wh, np.float64) / np.array(size_wh, np.float64)
        return _path([np.asarray(part, np.float64).reshape(-1, 2) * scale for part in segmentation], view_wh)
    import cv2

    mask = rle_to_mask(rle_from_json(segmentation, (size_wh[1], size_wh[0]))).view(np.uint8)
    if size_wh != view_wh:
        mask = np.asarray(cv2.resize(mask, view_wh, interpolation=cv2.INTER_NEAREST), np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if not w:
        return ""
    part = mask[y : y + h, x : x + w]
    outlines, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
    parts = [cv2.approxPolyDP(outline, 1.0, True).reshape(-1, 2) for outline in outlines]
    return _path([outline.astype(np.float64) for outline in parts if len(outline) > 2], view_wh)


def _path(parts: Sequence[NDArray[np.float64]], view_wh: tuple[int, int]) -> str:
    said = []
    for part in parts:
        points = np.round(np.clip(part[:: 1 + len(part) // MOST_POINTS], 0, view_wh)).astype(int).tolist()
        said.append("M" + "L".join(f"{x} {y}" for x, y in points) + "Z")
    return "".join(said)
