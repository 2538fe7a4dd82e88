"""Objects drawn on images: boxes, names, scores, masks."""

from __future__ import annotations

import colorsys
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Rle
from cvtune.data.geometry import rle_to_mask

__all__ = ["Object", "class_colour", "draw_objects", "in_ascii", "side_by_side"]

Object = tuple[tuple[float, float, float, float], str, float | None, Rle | None]
"""Box as left, top, width, height in pixels; class name; score or None; mask or None."""

_Rgb = NDArray[np.uint8]
_Rectangle = tuple[int, int, int, int]  # left, top, right, bottom

FONT = cv2.FONT_HERSHEY_SIMPLEX
MASK_OPACITY = 0.4
LONGEST_NAME = 40
# Below this the font's letters run together.
SMALLEST_SCALE = 0.35


def class_colour(name: str) -> tuple[int, int, int]:
    """An RGB colour that depends on the name alone: hue by hash, bright enough to be read on photographs."""
    hue = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big") / 65536
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_objects(rgb: _Rgb, objects: Iterable[Object]) -> _Rgb:
    """Draw objects on a copy of an image: masks first, then boxes, then names, so that no name is drawn over.

    A box's line covers the box's outermost pixels and grows inwards. A name stands above its box, or where that place
    is taken or outside of the image, below or within it.

    Args:
        rgb: uint8 [h, w, 3].
        objects: (bbox_xywh, name, score or None, mask or None), in pixels of `rgb`; later ones on top.

    Returns:
        uint8 [h, w, 3], a new array.

    Raises:
        ValueError: a mask is not of the image's size.
    """
    listed = list(objects)
    out = np.array(rgb, np.uint8, order="C")
    height, width = out.shape[:2]
    for _, name, _, rle in listed:
        if rle is not None:
            _shade(out, rle, class_colour(name))
    longest = max(height, width)
    thickness, scale = max(1, round(longest / 400)), max(SMALLEST_SCALE, longest / 1600)
    for box, name, _, _ in listed:
        left, top, right, bottom = _rectangle(box, width, height)
        for inner in range(thickness):  # OpenCV's own thick lines stick out of the box
            if left + inner < right - inner and top + inner < bottom - inner:
                first, last = (left + inner, top + inner), (right - 1 - inner, bottom - 1 - inner)
                cv2.rectangle(out, first, last, class_colour(name), 1)
    taken: list[_Rectangle] = []
    for box, name, score, _ in listed:
        text = _short(name) if score is None else f"{_short(name)} {score:.2f}"
        _label(out, text, _rectangle(box, width, height), class_colour(name), scale, taken)
    return out


def side_by_side(left: _Rgb, right: _Rgb) -> _Rgb:
    """Two pictures of one size with four white columns between: uint8 [h, 2 w + 4, 3]."""
    return np.concatenate([left, np.full((left.shape[0], 4, 3), 255, np.uint8), right], axis=1)


def _shade(out: _Rgb, rle: Rle, colour: tuple[int, int, int]) -> None:
    if tuple(rle.size_hw) != out.shape[:2]:
        raise ValueError(
            f"a mask of {list(rle.size_hw)} does not fit an image of {list(out.shape[:2])} (height, width)"
        )
    mask = rle_to_mask(rle)
    blended = (1 - MASK_OPACITY) * out[mask] + MASK_OPACITY * np.array(colour)
    out[mask] = blended.round().astype(np.uint8)


def _rectangle(box_xywh: Sequence[float], width: int, height: int) -> _Rectangle:
    """The pixels of a box, at least one, within the image."""
    x, y, w, h = box_xywh
    left, top = min(max(0, round(x)), width - 1), min(max(0, round(y)), height - 1)
    return left, top, min(max(left + 1, round(x + w)), width), min(max(top + 1, round(y + h)), height)


def in_ascii(name: str) -> str:
    """A name in the characters that OpenCV's font has: accents are left out, other scripts become question marks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain)


def _short(name: str) -> str:
    plain = in_ascii(name)
    return plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - 3] + "..."


def _label(
    out: _Rgb, text: str, box: _Rectangle, colour: tuple[int, int, int], scale: float, taken: list[_Rectangle]
) -> None:
    weight = max(1, round(scale))  # of a letter's lines, in pixels
    (text_width, text_height), base = cv2.getTextSize(text, FONT, scale, weight)
    width, height = text_width + 2, text_height + base + 1
    left, top, _, bottom = box
    x = max(0, min(left, out.shape[1] - width))
    places = [(x, y, x + width, y + height) for y in (top - height, bottom, top, bottom - height)]
    inside = [place for place in places if place[1] >= 0 and place[3] <= out.shape[0]] or [(x, 0, x + width, height)]
    place = next((place for place in inside if not any(_overlap(place, other) for other in taken)), inside[0])
    taken.append(place)
    cv2.rectangle(out, place[:2], (place[2] - 1, place[3] - 1), colour, -1)
    # The luma of ITU-R BT.601.
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    ink = (0, 0, 0) if light else (255, 255, 255)
    cv2.putText(out, text, (place[0] + 1, place[1] + text_height + 1), FONT, scale, ink, weight, cv2.LINE_AA)


def _overlap(a: _Rectangle, b: _Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
