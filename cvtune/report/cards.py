"""The cards of a gallery: an image as JPEG, and over it boxes and masks that the page itself draws."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cvtune.data.images import read_rgb
from cvtune.errors import DataError
from cvtune.report.choose import Choice
from cvtune.report.counts import whole_scores
from cvtune.report.detections import PictureData
from cvtune.report.matching import Matches
from cvtune.report.mistakes import IGNORED, RIGHT
from cvtune.report.overlay import MOST_DETECTIONS, draw_box, mask_path, view_size
from cvtune.report.text import shorten

__all__ = ["Card", "add_pictures", "draw_cards"]

Rgb = NDArray[np.uint8]
NOTHING = Markup("")

# All pictures together, before base64 makes them a third larger. Tried in turn: longest side in pixels, JPEG quality.
MOST_BYTES = 2_300_000
SIZES = ((960, 80), (800, 80), (640, 80), (560, 75), (480, 70), (400, 60), (320, 50), (240, 40))
# All drawings together. Tried in turn: detections an image.
MOST_MARKUP = 1_300_000
DETECTIONS = (MOST_DETECTIONS, 60, 25, 10)


@dataclass(frozen=True)
class Card:
    """One image: its name, why it is shown, its numbers at the threshold, picture (data URI) and drawings.

    `problem`: why it cannot be shown, else empty. `mistakes`: (what, how many), without zeros.
    """

    name: str
    reason: str
    objects: int
    right: int
    missed: int
    false: int
    mistakes: tuple[tuple[str, int], ...]
    view_wh: tuple[int, int]
    picture: str = ""
    truth: Markup = NOTHING
    found: Markup = NOTHING
    problem: str = ""


def draw_cards(
    data: PictureData,
    matches: Matches,
    codes: NDArray[np.int8],
    step: int,
    chosen: Sequence[Choice],
    cards: Sequence[Card],
) -> tuple[list[Card], int]:
    """Draw boxes and masks of every card; with fewer detections where the page would grow too large.

    Returns the cards, and to how many detections an image was cut, or 0.
    """
    scores = whole_scores(data.found.score)
    finder = np.full(len(data.truth), -1, np.int64)
    right = matches.truth_of >= 0
    finder[matches.truth_of[right]] = scores[right]
    drawn, cut = list(cards), 0
    for most in DETECTIONS:
        total, cut = 0, 0
        for n, choice in enumerate(chosen):
            i = choice.image
            rows = np.flatnonzero(data.found.image == i)
            rows = rows[np.argsort(-data.found.score[rows], kind="stable")]
            cut = most if len(rows) > most else cut
            try:
                truth = _draw_truth(data, finder, step, i)
                found = _draw_found(data, codes, scores, step, i, rows[:most])
            except (DataError, ValueError, TypeError) as error:
                drawn[n] = replace(cards[n], problem=f"This image cannot be shown: {shorten(error, 160)}")
                continue
            total += len(truth) + len(found)
            drawn[n] = replace(cards[n], truth=truth, found=found)
        if total <= MOST_MARKUP:
            break
    return drawn, cut


def _draw_truth(data: PictureData, finder: NDArray[np.int64], step: int, i: int) -> Markup:
    view, scale = _view(data, i)
    parts = []
    # A detector's boxes are compared with boxes, also where the ground truth has masks.
    masks = not len(data.found) or any(data.found_masks)
    for n in np.flatnonzero(data.truth.image == i).tolist():
        category, crowd, by = int(data.truth.category[n]), bool(data.truth.crowd[n]), int(finder[n])
        name = shorten(data.class_names[category], 24) + (" (crowd)" if crowd else "")
        style = "o crowd" if crowd else "o" if by >= 100 * step else "o missed"
        path = mask_path(data.truth_masks[n], data.sizes_wh[i], view) if masks else ""
        parts.append(draw_box(style, {"c": category, "b": by}, data.truth.boxes_xywh[n] * scale, name, path, view))
    return Markup("").join(parts)


def _draw_found(
    data: PictureData,
    codes: NDArray[np.int8],
    scores: NDArray[np.int64],
    step: int,
    i: int,
    rows: NDArray[np.int64],
) -> Markup:
    view, scale = _view(data, i)
    parts = []
    # The highest score comes last: it is drawn on top.
    for n in rows[::-1].tolist():
        category, code, score = int(data.found.category[n]), int(codes[n]), int(scores[n])
        style = "d right" if code == RIGHT else "d ignored" if code == IGNORED else "d false"
        style += " off" if score < 100 * step else ""
        name = f"{shorten(data.class_names[category], 24)} {score / 10_000:.2f}"
        path = mask_path(data.found_masks[n], data.sizes_wh[i], view)
        attributes = {"c": category, "s": score, "k": code}
        parts.append(draw_box(style, attributes, data.found.boxes_xywh[n] * scale, name, path, view))
    return Markup("").join(parts)


def _view(data: PictureData, i: int) -> tuple[tuple[int, int], NDArray[np.float64]]:
    size_wh = data.sizes_wh[i]
    if min(size_wh) < 1:
        raise DataError("its width and height are not in the ground truth")
    view = view_size(size_wh)
    return view, np.tile(np.array(view, np.float64) / np.maximum(size_wh, 1), 2)


def add_pictures(data: PictureData, chosen: Sequence[Choice], cards: Sequence[Card]) -> list[Card]:
    """Add the JPEGs; where the page would grow too large, all are made again smaller."""
    pixels: dict[int, Rgb] = {}
    drawn = list(cards)
    for n, choice in enumerate(chosen):
        if not drawn[n].problem:
            try:
                pixels[n] = _reduced(read_rgb(data.paths[choice.image]), SIZES[0][0])
            except (DataError, OSError, ValueError) as error:
                reason = str(error).replace(str(data.paths[choice.image]), "the image")
                drawn[n] = replace(drawn[n], problem=f"This image cannot be shown: {shorten(reason, 160)}")
    for longest, quality in SIZES:
        jpegs = {n: _jpeg(_reduced(rgb, longest), quality) for n, rgb in pixels.items()}
        if sum(map(len, jpegs.values())) <= MOST_BYTES:
            break
    for n, jpeg in jpegs.items():
        drawn[n] = replace(drawn[n], picture="data:image/jpeg;base64," + base64.b64encode(jpeg).decode())
    return drawn


def _reduced(rgb: Rgb, longest: int) -> Rgb:
    import cv2

    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgb
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(rgb: Rgb, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
