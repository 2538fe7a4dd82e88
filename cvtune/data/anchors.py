"""A spec's image size and anchors against a set's boxes: how large objects are for the model, which it will miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Dataset
from cvtune.data.statistics import Quantiles, quantiles

__all__ = ["DEFAULT_ANCHORS", "AnchorFit", "compare_with_anchors", "scale_xy"]

Values = NDArray[np.float64]
Sizes = tuple[float, ...]

_RATIOS = (0.5, 1.0, 2.0)
DEFAULT_ANCHORS: Mapping[str, tuple[Sizes, Sizes]] = MappingProxyType(
    {
        "faster_rcnn": ((32, 64, 128, 256, 512), _RATIOS),
        "mask_rcnn": ((32, 64, 128, 256, 512), _RATIOS),
        "cascade_rcnn": ((32, 64, 128, 256, 512), _RATIOS),
        "cascade_mask_rcnn": ((32, 64, 128, 256, 512), _RATIOS),
        "retinanet": (tuple((32 << i) * 2 ** (k / 3) for i in range(5) for k in range(3)), _RATIOS),
    }
)
"""Family -> (sizes, height : width) of the official configs; families without anchors, or with SSD's, are not in it."""

# A box that no anchor of the same centre overlaps this much is no positive sample of any but by force.
MATCH = 0.5


@dataclass(frozen=True)
class AnchorFit:
    """Objects after resizing.

    `sizes` are sqrt(w h) in the pixels that the model sees. `below_smallest` counts objects smaller than the smallest
    anchor, `below_half` those below half of it, `unmatched` those whose best anchor, laid on the box's centre, overlaps
    it by an IoU below 0.5; the last three are None where the family has no anchors that are known.
    """

    image_size: str
    anchors: Sequence[float] | None
    objects: int
    sizes: Quantiles | None
    smallest_anchor: float | None
    below_smallest: int | None
    below_half: int | None
    unmatched: int | None
    below_smallest_by_class: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def compare_with_anchors(
    dataset: Dataset, image_size: Mapping[str, Any], anchors: tuple[Sequence[float], Sequence[float]] | None
) -> AnchorFit:
    """How the boxes of a set look to a model.

    Args:
        dataset: the training data.
        image_size: a plan's `short` (a number or several, of which the last counts), `long`, `square`, `fit`.
        anchors: sizes (sqrt of the area, in pixels of the resized image) and ratios (height : width), or None.
    """
    images = {image.id: image for image in dataset.images}
    names = {category.id: category.name for category in dataset.categories}
    objects = [annotation for annotation in dataset.annotations if not annotation.iscrowd]
    scales = {key: scale_xy((image.width, image.height), image_size) for key, image in images.items()}
    boxes = np.array([annotation.bbox_xywh[2:] for annotation in objects], np.float64).reshape(-1, 2)
    wh: Values = boxes * np.array([scales[annotation.image_id] for annotation in objects], np.float64).reshape(-1, 2)
    sizes = np.sqrt(np.clip(wh.prod(axis=1), 0, None))
    smallest = float(min(anchors[0])) if anchors else None
    below = sizes < smallest if smallest is not None else np.zeros(len(sizes), np.bool_)
    by_class: dict[str, int] = {}
    for i in np.flatnonzero(below):
        name = names[objects[i].category_id]
        by_class[name] = by_class.get(name, 0) + 1
    return AnchorFit(
        image_size=_said(image_size),
        anchors=[round(float(size), 2) for size in anchors[0]] if anchors else None,
        objects=len(objects),
        sizes=quantiles(sizes),
        smallest_anchor=smallest,
        below_smallest=int(below.sum()) if anchors else None,
        below_half=int((sizes < smallest / 2).sum()) if smallest is not None else None,
        unmatched=int((_best_overlap(wh, *anchors) < MATCH).sum()) if anchors else None,
        below_smallest_by_class=by_class,
    )


def scale_xy(size_wh: tuple[int, int], image_size: Mapping[str, Any]) -> tuple[float, float]:
    """By how much an image is enlarged along x and y; (1, 1) where no size is set."""
    width, height = size_wh
    if square := image_size.get("square"):
        across, down = square / width, square / height
        return (across, down) if image_size.get("fit") != "pad" else (min(across, down),) * 2
    short = image_size.get("test_short") or image_size.get("short")
    if not short:
        return 1.0, 1.0
    short = short if isinstance(short, int | float) else max(short)
    scale = short / min(width, height)
    if long := image_size.get("long"):
        scale = min(scale, long / max(width, height))
    return scale, scale


def _best_overlap(wh: Values, sizes: Sequence[float], ratios: Sequence[float]) -> Values:
    """[n] IoU of each box [n, 2] with the anchor that fits it best, both around one centre."""
    best = np.zeros(len(wh), np.float64)
    area = wh.prod(axis=1)
    for size in sizes:
        for ratio in ratios:
            h = size * np.sqrt(ratio)
            common = np.minimum(wh[:, 0], size * size / h) * np.minimum(wh[:, 1], h)
            best = np.maximum(best, common / (area + size * size - common))
    return best


def _said(image_size: Mapping[str, Any]) -> str:
    if square := image_size.get("square"):
        return f"{square} x {square}, {image_size.get('fit') or 'stretch'}"
    short = image_size.get("test_short") or image_size.get("short")
    if not short:
        return "as it is"
    short = short if isinstance(short, int | float) else max(short)
    long = image_size.get("long")
    return f"short side {short}" + (f", long side at most {long}" if long else "")
