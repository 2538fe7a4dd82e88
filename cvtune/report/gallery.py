"""Ground truth beside predictions, on the worst images and on random ones, as JPEG inside the page."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Rle, Segmentation
from cvtune.data.geometry import mask_to_rle, rle_from_json, rle_to_mask, segmentation_to_rle
from cvtune.data.images import read_rgb
from cvtune.errors import DataError
from cvtune.report.detections import PictureData, read_picture_data
from cvtune.report.facts import RunFacts
from cvtune.report.matching import Matches, match, pick_threshold
from cvtune.report.text import plural, shorten

__all__ = ["Gallery", "Pair", "make_gallery"]

Rgb = NDArray[np.uint8]
Row = tuple[tuple[float, float, float, float], str, float | None, Rle | None]

WORST, RANDOM, SEED = 6, 6, 0
IOU = 0.5
# All pictures together, before base64 makes them a third larger. Tried in turn: longest side in pixels, JPEG quality.
MOST_BYTES = 3_300_000
SIZES = ((640, 80), (560, 75), (480, 70), (400, 60), (320, 50), (240, 40))
SMALL = 400  # smaller images are enlarged to this, or names would hide them
MISTAKE = (230, 0, 80)
NO_THRESHOLD = 0.5


@dataclass(frozen=True)
class Pair:
    """One image twice: as annotated and as predicted (data URIs), or the sentence that says why not."""

    name: str
    objects: int
    found: int
    missed: int
    false: int
    truth_uri: str = ""
    found_uri: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The pairs and the sentences that introduce them; `problem` where there is nothing to show."""

    sentence: str = ""
    notes: tuple[str, ...] = ()
    worst: tuple[Pair, ...] = ()
    random: tuple[Pair, ...] = ()
    problem: str = ""


@dataclass(frozen=True, eq=False)
class _Scored:
    """The data with what is right and wrong about every box at the threshold that was chosen."""

    data: PictureData
    shown: NDArray[np.bool_]
    false: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    right: NDArray[np.bool_]


def make_gallery(facts: RunFacts) -> Gallery:
    """Choose and draw the pictures of a run; only those shown are read from disk.

    The worst images have the most missed objects and false detections, matched by boxes at IoU 0.5, among detections
    at or above the score with the best F1 over all classes. The random ones are drawn from the rest, seed 0.
    """
    try:
        data = read_picture_data(facts)
    except DataError as error:
        return Gallery(problem=shorten(error, 300))
    if not data.paths:
        return Gallery(problem="The split has no images.")
    matches = match(data.truth, data.found, len(data.paths), IOU)
    chosen = pick_threshold(data.truth, data.found, matches)
    scored = _score(data, matches, chosen[0] if chosen else NO_THRESHOLD)
    missed, false = (
        _per_image(scored, data.truth.image, scored.missed),
        _per_image(scored, data.found.image, scored.false),
    )
    errors = missed + false
    by_errors = np.argsort(-errors, kind="stable")[:WORST]
    worst = [int(i) for i in by_errors if errors[i]]
    rest = sorted(set(range(len(data.paths))) - set(worst))
    drawn = sorted(random.Random(SEED).sample(rest, min(RANDOM, len(rest))))
    pairs = [
        Pair(
            shorten(data.names[i], 60),
            int(((data.truth.image == i) & ~data.truth.crowd).sum()),
            int(((data.found.image == i) & scored.right).sum()),
            int(missed[i]),
            int(false[i]),
        )
        for i in worst + drawn
    ]
    pairs = _draw_all(scored, worst + drawn, pairs)
    return Gallery(_sentence(scored, chosen), _notes(data), tuple(pairs[: len(worst)]), tuple(pairs[len(worst) :]))


def _score(data: PictureData, matches: Matches, threshold: float) -> _Scored:
    shown = data.found.score >= threshold
    right = shown & (matches.truth_of >= 0)
    taken = np.zeros(len(data.truth), bool)
    taken[matches.truth_of[right]] = True
    return _Scored(data, shown, shown & ~right & ~matches.ignored, ~taken & ~data.truth.crowd, right)


def _per_image(scored: _Scored, image: NDArray[np.int64], flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(image[flags], minlength=len(scored.data.paths))


def _sentence(scored: _Scored, chosen: tuple[float, float] | None) -> str:
    data = scored.data
    if not len(data.found):
        return f"There are no predictions: all {plural(int(scored.missed.sum()), 'object')} are missed."
    if chosen is None:
        return (
            f"No detection matches an object of its class at IoU {IOU}. "
            f"Those with a score of {NO_THRESHOLD} and more are drawn."
        )
    return (
        f"At scores of {chosen[0]:.2f} and more, where F1 is best ({chosen[1]:.2f}), "
        f"{plural(int(scored.right.sum()), 'object')} found, {int(scored.missed.sum()):,} missed, "
        f"{plural(int(scored.false.sum()), 'false detection')} "
        f"on {plural(len(data.paths), 'image')} (boxes of the same class at IoU {IOU})."
    )


def _notes(data: PictureData) -> tuple[str, ...]:
    notes = []
    if data.unknown:
        notes.append(f"{plural(data.unknown, 'prediction')} of images or classes that this split has not: left out.")
    if data.without_box:
        notes.append(f"{plural(data.without_box, 'prediction')} without a box: left out.")
    return tuple(notes)


def _draw_all(scored: _Scored, images: Sequence[int], pairs: Sequence[Pair]) -> list[Pair]:
    """Draw every pair; where the page would grow too large, all are drawn again smaller."""
    drawn = list(pairs)
    for longest, quality in SIZES:
        total = 0
        for n, i in enumerate(images):
            try:
                jpegs = _draw(scored, i, longest, quality)
            except (DataError, OSError, ValueError) as error:
                reason = str(error).replace(str(scored.data.paths[i]), "the image")
                drawn[n] = replace(pairs[n], problem=f"This image cannot be shown: {shorten(reason, 160)}")
                continue
            total += sum(map(len, jpegs))
            uris = ["data:image/jpeg;base64," + base64.b64encode(jpeg).decode() for jpeg in jpegs]
            drawn[n] = replace(pairs[n], truth_uri=uris[0], found_uri=uris[1])
        if total <= MOST_BYTES:
            break
    return drawn


def _draw(scored: _Scored, i: int, longest: int, quality: int) -> tuple[bytes, bytes]:
    """The two JPEGs of image `i`: resized first, then drawn on, so that lines and names stay sharp."""
    from cvtune.data.draw import draw_objects

    data = scored.data
    rgb = _resize(read_rgb(data.paths[i]), longest)
    scale_xy = (rgb.shape[1] / data.sizes_wh[i][0], rgb.shape[0] / data.sizes_wh[i][1])
    size_hw = (rgb.shape[0], rgb.shape[1])
    jpegs = []
    for objects, masks, wanted, wrong in (
        (data.truth, data.truth_masks, np.ones(len(data.truth), bool), scored.missed),
        (data.found, data.found_masks, scored.shown, scored.false),
    ):
        rows: list[Row] = []
        mistakes = []
        for n in np.flatnonzero((objects.image == i) & wanted).tolist():
            box = objects.boxes_xywh[n] * np.tile(scale_xy, 2)
            name = shorten(data.class_names[objects.category[n]], 24)
            name += " (crowd)" if objects.crowd[n] else ""
            score = float(objects.score[n]) if objects is data.found else None
            rle = _scaled_mask(masks[n], data.sizes_wh[i], size_hw)
            rows.append((tuple(box.tolist()), name, score, rle))
            if wrong[n]:
                mistakes.append(box)
        jpegs.append(_jpeg(_mark(draw_objects(rgb, rows), mistakes), quality))
    return jpegs[0], jpegs[1]


def _resize(rgb: Rgb, longest: int) -> Rgb:
    import cv2

    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale > 1:
        scale = max(1.0, min(SMALL, longest) / max(height, width))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size_wh == (width, height):
        return rgb
    resized = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def _scaled_mask(raw: bytes, size_wh: tuple[int, int], size_hw: tuple[int, int]) -> Rle | None:
    """A segmentation as a mask of the resized image, or None where there is none or it is broken."""
    import cv2

    segmentation = json.loads(raw) if raw else None
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        scale_xy = (size_hw[1] / size_wh[0], size_hw[0] / size_wh[1])
        parts = [np.asarray(part, np.float64) for part in segmentation]
        scaled: Segmentation = tuple(part * np.resize(scale_xy, part.shape) for part in parts)
        return segmentation_to_rle(scaled, size_hw)
    mask = rle_to_mask(rle_from_json(segmentation, (size_wh[1], size_wh[0])))
    resized = cv2.resize(mask.astype(np.uint8), (size_hw[1], size_hw[0]), interpolation=cv2.INTER_NEAREST)
    return mask_to_rle(resized.astype(bool))


def _mark(rgb: Rgb, boxes_xywh: Sequence[NDArray[np.float64]]) -> Rgb:
    """Red corners around what is missed or false, so that it is found without reading names."""
    import cv2

    marked = np.ascontiguousarray(rgb).copy()
    for x, y, w, h in boxes_xywh:
        arm = int(np.clip(min(w, h) / 3, 5, 16))
        x0, y0, x1, y1 = (round(v) for v in (x - 3, y - 3, x + w + 3, y + h + 3))
        for cx, cy, dx, dy in ((x0, y0, arm, arm), (x1, y0, -arm, arm), (x0, y1, arm, -arm), (x1, y1, -arm, -arm)):
            cv2.line(marked, (cx, cy), (cx + dx, cy), MISTAKE, 2)
            cv2.line(marked, (cx, cy), (cx, cy + dy), MISTAKE, 2)
    return marked


def _jpeg(rgb: Rgb, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
