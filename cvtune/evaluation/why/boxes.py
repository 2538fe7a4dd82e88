"""Other ways in which boxes may be written: layouts, units, resized, shifted, turned images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.overlap import by_image
from cvtune.evaluation.why.case import Boxes, Case, Quality, Reading
from cvtune.evaluation.why.overlap import hits_by_image

__all__ = ["LAYOUTS", "TURNS", "BoxReading", "box_readings", "fitted_readings", "resized_layouts", "turned_images"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoxReading:
    """A way to read boxes: the rule it belongs to, what it says ("boxes are ..."), how to mend it."""

    rule: str
    what: str
    fix: str
    boxes: Boxes


def _layout(order: tuple[int, int, int, int], corners: str = "size") -> Boxes:
    """Boxes whose four numbers stand in `order`; the last two are a size, far corners, or a size around a centre."""

    def read(boxes: Floats, sizes_wh: Floats) -> Floats:
        x, y, a, b = (boxes[:, i] for i in order)
        if corners == "far":
            return np.stack([x, y, a - x, b - y], 1)
        if corners == "centre":
            return np.stack([x - a / 2, y - b / 2, a, b], 1)
        return np.stack([x, y, a, b], 1)

    return read


XYXY = "write [left, top, width, height]: width = x1 - x0, height = y1 - y0"
CENTRE = "write the left top corner: left = cx - width / 2, top = cy - height / 2"
SWAP = "exchange the two axes where the boxes are written: x runs to the right, y down; width comes before height"
LAYOUTS: tuple[tuple[str, str, str, Boxes], ...] = (
    ("boxes_xywh", "", "", _layout((0, 1, 2, 3))),
    ("boxes_xyxy", "left, top, right, bottom instead of left, top, width, height", XYXY, _layout((0, 1, 2, 3), "far")),
    ("boxes_centre", "centre x, centre y, width, height", CENTRE, _layout((0, 1, 2, 3), "centre")),
    ("boxes_swapped_size", "left, top, height, width: width and height are swapped", SWAP, _layout((0, 1, 3, 2))),
    ("boxes_swapped_axes", "top, left, height, width: x and y are swapped", SWAP, _layout((1, 0, 3, 2))),
    ("boxes_swapped_place", "top, left, width, height: x and y are swapped, width and height are not", SWAP,
     _layout((1, 0, 2, 3))),
    ("boxes_yxyx", "top, left, bottom, right", XYXY + "; " + SWAP, _layout((1, 0, 3, 2), "far")),
    ("boxes_xxyy", "left, right, top, bottom", XYXY, _layout((0, 2, 1, 3), "far")),
)  # fmt: skip
"""(rule, what boxes are, the fix, how to read them) for each order of the four numbers."""


def _scaled_in_order(index: int, unit: float) -> Boxes:
    """A layout whose numbers are shares: each is multiplied by its own side, so the layout is read first."""
    read = LAYOUTS[index][3]

    def scaled(boxes: Floats, sizes_wh: Floats) -> Floats:
        return read(boxes, sizes_wh) * np.tile(sizes_wh / unit, 2)

    return scaled


def box_readings(case: Case, image_size: Mapping[str, Any] | None = None) -> Iterator[BoxReading]:
    """Every reading that needs no fitting, the plain one left out.

    Args:
        case: the predictions.
        image_size: the plan's `short`, `long`, `square`: what images were resized to.
    """
    sized = bool((case.sizes_wh[1:] > 0).all())
    for rule, what, fix, read in LAYOUTS[1:]:
        yield BoxReading(rule, what, fix, read)
    if not sized or not len(case):
        return
    largest = float(np.quantile(np.abs(case.boxes), 0.99))
    for unit, told in ((1.0, "shares of the image's size, 0 to 1"), (1000.0, "thousandths of the image's size"),
                       (100.0, "percent of the image's size")):  # fmt: skip
        if largest > 1.5 * unit or largest < unit / 20:
            continue
        for i, (_, what, fix, _) in enumerate(LAYOUTS):
            mend = f"multiply x and width by the image's width, y and height by its height, divided by {unit:g}"
            yield BoxReading(
                "boxes_normalized",
                told + (f", as {what}" if what else ""),
                mend + (f"; {fix}" if fix else ""),
                _scaled_in_order(i, unit),
            )
    for rule, what, turn in TURNS:
        yield BoxReading(rule, what, _TURN_FIX, turn)
    yield from _resized(case, case.boxes, image_size or {})


def resized_layouts(
    case: Case, reading: Reading, image_size: Mapping[str, Any] | None = None
) -> Iterator[tuple[BoxReading, BoxReading]]:
    """Pairs of a layout and of a resizing that boxes so read fit: by where they end, or by one factor for all."""
    if not (case.sizes_wh[1:] > 0).all() or not len(case):
        return
    for rule, what, fix, read in LAYOUTS[1:]:
        boxes = read(case.boxes, case.boxes)  # no order of four numbers needs the images' sizes
        # Sizes that are negative are those of another layout.
        if (boxes[:, 2:] > 0).all(1).mean() < 0.9:
            continue
        layout = BoxReading(rule, what, fix, read)
        for resized in _resized(case, boxes, image_size or {}, near=True):
            yield layout, resized
        for fitted in fitted_readings(case, replace(reading, boxes=read)):
            if fitted.rule == "boxes_resized":
                yield layout, fitted


def _turn(x: str, y: str) -> Boxes:
    """A turned or mirrored image's boxes in the image as it is: each axis is named by what it was."""

    def read(boxes: Floats, sizes_wh: Floats) -> Floats:
        low = {"x": boxes[:, 0], "y": boxes[:, 1]}
        size = {"x": boxes[:, 2], "y": boxes[:, 3]}
        out = []
        for axis, full in ((x, sizes_wh[:, 0]), (y, sizes_wh[:, 1])):
            name = axis[-1]
            out.append(full - low[name] - size[name] if axis[0] == "-" else low[name])
        return np.stack([*out, size[x[-1]], size[y[-1]]], 1)

    return read


_TURN_FIX = (
    "undo the turn or mirroring before the boxes are written: EXIF orientation is applied on one side only, or a flip "
    "of a test-time augmentation is not undone"
)
TURNS: tuple[tuple[str, str, Boxes], ...] = (
    ("images_mirrored", "those of images mirrored left to right", _turn("-x", "y")),
    ("images_mirrored", "those of images mirrored top to bottom", _turn("x", "-y")),
    ("images_turned", "those of images turned by 180 degrees", _turn("-x", "-y")),
    ("images_turned", "those of images turned by 90 degrees to the left", _turn("-y", "x")),
    ("images_turned", "those of images turned by 90 degrees to the right", _turn("y", "-x")),
)
"""(rule, what boxes are, how to read them)."""

SIDES = (224, 256, 300, 320, 384, 416, 448, 480, 512, 544, 576, 600, 608, 640, 672, 704, 736, 768, 800, 832, 864, 896,
         960, 1024, 1152, 1280, 1333, 1536, 1920, 2048)  # fmt: skip
_RESIZED_FIX = "scale the boxes back to the original image before they are written"


def _resized(case: Case, boxes: Floats, image_size: Mapping[str, Any], near: bool = False) -> Iterator[BoxReading]:
    """Boxes in the pixels of resized images, for the usual sizes and the run's own; `near`: for likely ones alone."""
    sides = set(SIDES)
    far = np.quantile(boxes[:, :2] + boxes[:, 2:], 0.999, axis=0) if len(boxes) else np.zeros(2)
    # The far edge of boxes in a resized image is near its side.
    sides |= {round(float(edge) / 32) * 32 or 32 for edge in far}
    square, shorts, long = image_size.get("square"), image_size.get("short"), image_size.get("long")
    shorts = shorts if isinstance(shorts, list) else [shorts] if shorts else []
    sides |= {int(side) for side in (square, long, image_size.get("test_short"), *shorts) if side}
    if near:
        sides = {side for side in sides if far.max() / 1.7 <= side <= 1.3 * far.max()}
    same = len(np.unique(case.sizes_wh[1:], axis=0)) == 1
    for side in sorted(sides):
        for how, factor in _factors(side, long if side in shorts else None):
            if same and how not in ("padded to a square of", "stretched to a square of"):
                continue  # a single factor, which is fitted
            what = f"in the pixels of images {how} {side}"
            yield BoxReading("boxes_resized", what, _RESIZED_FIX, factor)
            if how != "padded to a square of" and not near:
                yield BoxReading(
                    "boxes_resized", f"scaled back twice from images {how} {side}", _RESIZED_FIX, _inverse(factor)
                )


def _factors(side: int, long: float | None) -> Iterator[tuple[str, Boxes]]:
    def times(factor: Any) -> Boxes:
        return lambda boxes, sizes_wh: boxes * np.tile(factor(sizes_wh), 2)

    def padded(boxes: Floats, sizes_wh: Floats) -> Floats:
        scale = side / sizes_wh.max(1, keepdims=True)
        pad = (side - sizes_wh * scale) / 2
        inside: Floats = np.hstack([boxes[:, :2] - pad, boxes[:, 2:]]) / scale
        return inside

    def by_short(sizes_wh: Floats) -> Floats:
        scale = side / sizes_wh.min(1, keepdims=True)
        if long:
            scale = np.minimum(scale, long / sizes_wh.max(1, keepdims=True))
        return np.repeat(1 / scale, 2, 1)

    yield "stretched to a square of", times(lambda sizes_wh: sizes_wh / side)
    yield "with a long side of", times(lambda sizes_wh: np.repeat(sizes_wh.max(1, keepdims=True) / side, 2, 1))
    yield "with a short side of", times(by_short)
    yield "padded to a square of", padded


def _inverse(factor: Boxes) -> Boxes:
    def read(boxes: Floats, sizes_wh: Floats) -> Floats:
        return boxes / factor(np.ones_like(boxes), sizes_wh)

    return read


def fitted_readings(case: Case, reading: Reading) -> Iterator[BoxReading]:
    """Readings whose numbers come from the data: one factor for all boxes, one offset, sizes around the centre."""
    boxes = _best_boxes(case, reading)
    objects = case.truth_boxes[case.objects]
    if len(boxes) < 10 or len(objects) < 10:
        return
    sizes, true = np.median(boxes[:, 2:], 0), np.median(objects[:, 2:], 0)
    ratio = true / np.maximum(sizes, 1e-9)
    for start in (ratio, _vote_factor(case, reading)):
        if start is None or (np.abs(np.log(np.maximum(start, 1e-9))) < 0.05).all() or not (sizes > 0).all():
            continue
        factor, _ = _climb(case, reading, start, _scale_by)
        yield BoxReading(
            "boxes_resized",
            f"too {'small' if factor[0] > 1 else 'large'}: x times {factor[0]:.3g} and y times {factor[1]:.3g} fits",
            _RESIZED_FIX,
            _scale_by(factor),
        )
    if ((ratio < 0.65) | (ratio > 1.55)).any() and (sizes > 0).all():
        factor, _ = _climb(case, reading, ratio, _grow_by)
        yield BoxReading(
            "boxes_wrong_size",
            f"of a wrong size around the right centres: width times {factor[0]:.3g}, height times {factor[1]:.3g} fits",
            "look for half extents, a wrong box variance or a factor where widths and heights are written",
            _grow_by(factor),
        )
    for relative in (False, True):
        offset = _vote(case, reading, relative)
        if offset is None:
            continue
        where = "of their size" if relative else "px"
        yield BoxReading(
            "boxes_offset",
            f"all moved by the same: by {-offset[0]:.3g} {where} in x, {-offset[1]:.3g} {where} in y",
            "look for a crop, a padding or a corner taken for the centre that is not undone before boxes are written",
            _move_by(offset, relative),
        )


def _best_boxes(case: Case, reading: Reading) -> Floats:
    """As many predictions of each image as it has objects, the best-scored."""
    image, _, boxes, score = case.apply(reading)
    counts = np.bincount(case.truth.image[case.objects], minlength=len(case.sizes_wh))
    order = np.lexsort((-score, image))
    ordered = image[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    best: Floats = boxes[order[rank < counts[ordered]]]
    return best


def _climb(case: Case, reading: Reading, start: Floats, make: Any) -> tuple[Floats, Quality]:
    """The two factors that score best, from `start` in ever smaller steps."""
    best = np.asarray(start, np.float64)
    quality = case.quality(replace(reading, boxes=_then(reading.boxes, make(best))), classes=False)
    for step in (1.12, 1.05, 1.02):
        for axis in (0, 1, 0, 1):
            for factor in (step, 1 / step):
                while True:
                    tried = best.copy()
                    tried[axis] *= factor
                    got = case.quality(replace(reading, boxes=_then(reading.boxes, make(tried))), classes=False)
                    if got.value <= quality.value + 1e-4 or abs(np.log(tried[axis] / start[axis])) > 0.7:
                        break
                    best, quality = tried, got
    return best, quality


def _then(first: Boxes, second: Boxes) -> Boxes:
    return lambda boxes, sizes_wh: second(first(boxes, sizes_wh), sizes_wh)


def _scale_by(factor: Floats) -> Boxes:
    return lambda boxes, sizes_wh: boxes * np.tile(factor, 2)


def _grow_by(factor: Floats) -> Boxes:
    def read(boxes: Floats, sizes_wh: Floats) -> Floats:
        size = boxes[:, 2:] * factor
        return np.hstack([boxes[:, :2] + (boxes[:, 2:] - size) / 2, size])

    return read


def _move_by(offset: Floats, relative: bool) -> Boxes:
    def read(boxes: Floats, sizes_wh: Floats) -> Floats:
        step = boxes[:, 2:] * offset if relative else offset
        return np.hstack([boxes[:, :2] + step, boxes[:, 2:]])

    return read


def _vote(case: Case, reading: Reading, relative: bool) -> Floats | None:
    """The offset that most pairs of a prediction and an object of about its size agree on, in px or in box sizes."""
    image, _, boxes, score = case.apply(reading)
    objects = np.flatnonzero(case.objects)
    steps = []
    for _, (t, f) in by_image(case.truth.image[objects], image):
        f = f[np.argsort(-score[f], kind="stable")][: len(t) + 5]
        true, found = case.truth_boxes[objects[t]], boxes[f]
        if not len(f):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = found[:, None, 2:] / true[None, :, 2:]
        alike = ((ratio > 0.67) & (ratio < 1.5)).all(2)
        step = (true[None, :, :2] + true[None, :, 2:] / 2) - (found[:, None, :2] + found[:, None, 2:] / 2)
        steps.append((step / np.maximum(found[:, None, 2:], 1e-9) if relative else step)[alike])
    if not steps or sum(map(len, steps)) < 20:
        return None
    steps_xy = np.concatenate(steps)
    width = 0.1 if relative else max(2.0, float(np.median(case.truth_boxes[objects, 2:])) / 8)
    cells = np.round(steps_xy / width).astype(np.int64)
    different, counts = np.unique(cells, axis=0, return_counts=True)
    peak = different[counts.argmax()] * width
    near = (np.abs(steps_xy - peak) <= 1.5 * width).all(1)
    offset: Floats = np.median(steps_xy[near], axis=0)
    return None if (np.abs(offset) < (0.05 if relative else 0.75)).all() else offset


def _vote_factor(case: Case, reading: Reading) -> Floats | None:
    """The two factors that most pairs of a prediction and an object of one image agree on."""
    image, _, boxes, score = case.apply(reading)
    objects = np.flatnonzero(case.objects)
    votes = []
    for number, (t, f) in by_image(case.truth.image[objects], image):
        f = f[np.argsort(-score[f], kind="stable")][: len(t) + 5]
        true, found = case.truth_boxes[objects[t]], boxes[f]
        if not len(f):
            continue
        to = true[None, :, :2] + true[None, :, 2:] / 2
        at = found[:, None, :2] + found[:, None, 2:] / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = to / at
            grown = true[None, :, 2:] / (found[:, None, 2:] * ratio)
        # Near the corner that both share any factor fits.
        far = to > 0.25 * case.sizes_wh[number]
        votes.append(ratio[(far & (ratio > 0.02) & (ratio < 50) & (grown > 0.67) & (grown < 1.5)).all(2)])
    if not votes or sum(map(len, votes)) < 20:
        return None
    logs = np.log(np.concatenate(votes))
    width = 0.03
    different, counts = np.unique(np.round(logs / width).astype(np.int64), axis=0, return_counts=True)
    peak = different[counts.argmax()] * width
    near = (np.abs(logs - peak) <= 1.5 * width).all(1)
    factor: Floats = np.exp(np.median(logs[near], axis=0))
    return factor


def turned_images(case: Case, reading: Reading) -> tuple[BoxReading, NDArray[np.bool_]] | None:
    """Where a part of the images is turned or mirrored, as EXIF orientation does: how, and bool [images + 1] which."""
    if not (case.sizes_wh[1:] > 0).all():
        return None
    objects = np.bincount(case.truth.image[case.objects], minlength=len(case.sizes_wh))
    plain = hits_by_image(case, reading)
    best: tuple[int, str, Boxes, NDArray[np.bool_]] | None = None
    for _, what, turn in TURNS:
        turned = hits_by_image(case, replace(reading, boxes=_then(reading.boxes, turn)))
        gained = turned - plain
        better = (gained >= np.maximum(2, 0.4 * objects)) & (plain <= 0.4 * objects)
        better |= (objects <= 2) & (objects > 0) & (plain == 0) & (turned == objects)
        total = int(gained[better].sum())
        if best is None or total > best[0]:
            best = (total, what, turn, better)
    if best is None or best[3].sum() < max(2, 0.02 * (objects > 0).sum()):
        return None
    _, what, turn, better = best
    found = BoxReading("images_turned", f"in {int(better.sum())} images {what}", _TURN_FIX, turn)
    return found, better
