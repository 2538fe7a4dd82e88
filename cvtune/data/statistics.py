"""Numbers that describe a data set: classes, objects an image, sizes and shapes of boxes and images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Annotation, Dataset

__all__ = ["ClassStats", "PartStats", "Quantiles", "box_sizes", "describe", "histogram"]

Values = NDArray[np.float64]
# COCO's limits between small, medium and large objects: 32 x 32 and 96 x 96 pixels.
SMALL, LARGE = 32.0**2, 96.0**2
MOST_SIZES = 5


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Smallest, 5, 25, 50, 75 and 95 % quantiles, largest."""

    min: float
    p5: float
    p25: float
    p50: float
    p75: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True)
class ClassStats:
    """One class: its objects, the images that have any, the median of sqrt(w h) of its boxes in pixels."""

    objects: int
    images: int
    median_size: float | None


@dataclass(frozen=True)
class PartStats:
    """A part of a set. Objects are annotations that are no crowd regions.

    `sizes` are of sqrt(w h) of the boxes in pixels, `ratios` of w / h; both None without objects. `areas` counts COCO's
    small, medium and large objects by the annotations' areas. `image_sizes` are the most frequent (width, height).
    """

    images: int
    empty_images: int
    objects: int
    crowds: int
    with_masks: int
    classes: Mapping[str, ClassStats]
    objects_an_image: Quantiles | None
    sizes: Quantiles | None
    ratios: Quantiles | None
    areas: Mapping[str, int]
    image_sizes: Sequence[tuple[int, int, int]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {
            "image_sizes": [{"width": w, "height": h, "images": n} for w, h, n in self.image_sizes],
        }


def describe(dataset: Dataset) -> PartStats:
    """Describe a data set; it may be empty."""
    objects = [annotation for annotation in dataset.annotations if not annotation.iscrowd]
    on_image = Counter(annotation.image_id for annotation in objects)
    sizes, ratios = box_sizes(objects)
    areas = np.array([annotation.area for annotation in objects], np.float64)
    names = {category.id: category.name for category in dataset.categories}
    of_class: dict[str, list[int]] = {name: [] for name in names.values()}
    for i, annotation in enumerate(objects):
        of_class[names[annotation.category_id]].append(i)
    classes = {
        name: ClassStats(
            len(places),
            len({objects[i].image_id for i in places}),
            round(float(np.median(sizes[places])), 2) if places else None,
        )
        for name, places in of_class.items()
    }
    image_sizes = Counter((image.width, image.height) for image in dataset.images)
    counts = np.array([on_image[image.id] for image in dataset.images], np.float64)
    return PartStats(
        images=len(dataset.images),
        empty_images=len(dataset.images) - len(on_image),
        objects=len(objects),
        crowds=len(dataset.annotations) - len(objects),
        with_masks=sum(bool(annotation.segmentation) for annotation in objects),
        classes=classes,
        objects_an_image=quantiles(counts),
        sizes=quantiles(sizes),
        ratios=quantiles(ratios[np.isfinite(ratios)]),
        areas={
            "small": int((areas < SMALL).sum()),
            "medium": int(((areas >= SMALL) & (areas < LARGE)).sum()),
            "large": int((areas >= LARGE).sum()),
        },
        image_sizes=[(w, h, n) for (w, h), n in image_sizes.most_common(MOST_SIZES)],
    )


def box_sizes(objects: Sequence[Annotation]) -> tuple[Values, Values]:
    """([n] sqrt(w h) in pixels, [n] w / h) of boxes; the ratio of a box without height is infinite or no number."""
    wh = np.array([annotation.bbox_xywh[2:] for annotation in objects], np.float64).reshape(-1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.clip(wh.prod(axis=1), 0, None)), np.asarray(wh[:, 0] / wh[:, 1])


def quantiles(values: Values) -> Quantiles | None:
    """The quantiles of some numbers, to two decimals; None of none."""
    if not len(values):
        return None
    found = np.quantile(values, (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1))
    return Quantiles(*(round(float(value), 2) for value in found))


def histogram(values: Values, edges: Values) -> list[tuple[float, float]]:
    """The outline of a histogram in per cent of all values: corners (x, y), from zero and back to it.

    Args:
        values: any numbers; those beyond the edges count for the outermost bars.
        edges: [n + 1] rising edges of n bars.
    """
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    shares = 100 * counts / max(1, len(values))
    corners = [(float(edges[0]), 0.0)]
    for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
        corners += [(float(low), float(share)), (float(high), float(share))]
    return [*corners, (float(edges[-1]), 0.0)]
