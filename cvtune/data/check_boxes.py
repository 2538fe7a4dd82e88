"""Checks of boxes: inside the image, of a size that can be an object, each once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cvtune.data.checked import Checked, CheckedPart, Example
from cvtune.data.coco import Annotation, Id

__all__ = ["doubled", "giant", "lost", "outside", "overlapping", "sticks_out", "tiny", "without_area", "zero_area"]

Boxes = NDArray[np.float64]

TINY = 2.0  # pixels
GIANT = 0.95  # of the image's area
STICKS_OUT = 1.0  # pixels; less is a question of where pixels start
SAME, OVERLAPPING = 0.995, 0.85  # IoU
# What other checks report of a receipt's drops.
NAMED_ELSEWHERE = frozenset(
    {"box-outside", "box-zero-area", "class-unknown", "image-missing", "image-unreadable", "shape-without-area"}
)


def outside(data: Checked) -> Iterator[Example]:
    """Boxes that have nothing in common with their image."""
    yield from data.of_codes("box-outside")
    for part in data.own:
        beyond = _beyond(part)
        span = part.boxes_xyxy[:, 2:] - part.boxes_xyxy[:, :2]
        out = np.asarray((beyond >= np.concatenate([span, span], axis=1)).any(axis=1))
        yield from _examples(part, out & np.asarray((span > 0).all(axis=1)))


def sticks_out(data: Checked) -> Iterator[Example]:
    """Boxes that are partly outside."""
    yield from data.of_codes("box-clipped")
    for part in data.own:
        beyond = _beyond(part)
        span = part.boxes_xyxy[:, 2:] - part.boxes_xyxy[:, :2]
        out = (beyond >= np.concatenate([span, span], axis=1)).any(axis=1)
        yield from _examples(part, (beyond.max(axis=1, initial=0.0) >= STICKS_OUT) & ~out)


def zero_area(data: Checked) -> Iterator[Example]:
    """Boxes without width or height."""
    yield from data.of_codes("box-zero-area")
    for part in data.own:
        yield from _examples(part, _short_side(part) <= 0)


def tiny(data: Checked) -> Iterator[Example]:
    """Boxes of less than two pixels."""
    for part in data.own:
        short = _short_side(part)
        yield from _examples(part, (short > 0) & (short < TINY))


def giant(data: Checked) -> Iterator[Example]:
    """Boxes that are the whole image, nearly."""
    for part in data.own:
        sizes = part.sizes_wh
        seen = np.clip(part.boxes_xyxy, 0, np.concatenate([sizes, sizes], axis=1))
        yield from _examples(part, _area(seen) >= GIANT * sizes.prod(axis=1))


def doubled(data: Checked) -> Iterator[Example]:
    """Objects of one class and image with the same box, each but the first."""
    return _close(data, SAME, 1.01)


def overlapping(data: Checked) -> Iterator[Example]:
    """Objects of one class and image with nearly the same box."""
    return _close(data, OVERLAPPING, SAME)


def without_area(data: Checked) -> Iterator[Example]:
    """Points and lines."""
    return data.of_codes("shape-without-area")


def lost(data: Checked) -> Iterator[Example]:
    """What reading left out for a reason that no other check has."""
    for part in data.own:
        for event in part.events:
            if event.kind == "drop" and event.code not in NAMED_ELSEWHERE:
                yield part.example(f"{event.code}: {event.detail}", file=event.where)


def _close(data: Checked, low: float, high: float) -> Iterator[Example]:
    """Pairs of one class and image with low <= IoU < high, named by the later one."""
    for part in data.own:
        groups: defaultdict[tuple[Id, Id], list[int]] = defaultdict(list)
        for i, annotation in enumerate(part.objects):
            groups[annotation.image_id, annotation.category_id].append(i)
        for group in groups.values():
            if len(group) < 2:
                continue
            overlap = _overlaps(part.boxes_xyxy[group])
            close = np.triu((overlap >= low) & (overlap < high), k=1)
            for later in np.flatnonzero(close.any(axis=0)):
                first = int(np.flatnonzero(close[:, later])[0])
                other = part.objects[group[first]].id
                detail = f"IoU {min(1.0, overlap[first, later]):.3f} with annotation {other}"
                yield part.example(detail, part.objects[group[later]])


def _overlaps(boxes: Boxes) -> Boxes:
    """[n, 4] corners -> [n, n] IoU; 0 where a box has no area."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    area = _area(boxes)
    union = area[:, None] + area[None] - common
    overlaps: Boxes = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def _beyond(part: CheckedPart) -> Boxes:
    """[n, 4] how far each side of a box lies outside of its image, in pixels; negative inside."""
    boxes, sizes = part.boxes_xyxy, part.sizes_wh
    return np.concatenate([-boxes[:, :2], boxes[:, 2:] - sizes], axis=1)


def _short_side(part: CheckedPart) -> Boxes:
    return np.asarray((part.boxes_xyxy[:, 2:] - part.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf))


def _area(boxes: Boxes) -> Boxes:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1))


def _examples(part: CheckedPart, chosen: NDArray[np.bool_]) -> Iterator[Example]:
    for i in np.flatnonzero(chosen):
        annotation = part.objects[i]
        yield part.example(_said(part, annotation), annotation)


def _said(part: CheckedPart, annotation: Annotation) -> str:
    image = part.images[annotation.image_id]
    x, y, w, h = annotation.bbox_xywh
    return f"x={x:g} y={y:g} w={w:g} h={h:g} in {image.width} x {image.height}"
