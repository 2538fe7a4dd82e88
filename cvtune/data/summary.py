"""A few numbers that describe one split of a run's data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cvtune.data.coco import Dataset, Rle

__all__ = ["Summary", "summarize"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Summary:
    """What a split holds.

    `annotations`, `with_masks`, `per_class` and `max_objects` (most on one image) count objects, `crowds` crowd
    regions, which are no objects; `rle_masks` counts masks of both that are RLE; `empty_images` have no object.
    `box_sizes` are the 5, 25, 50, 75 and 95 % quantiles of sqrt(w * h) in pixels, none without objects.
    `image_size_wh` is the median width and height.
    """

    images: int
    annotations: int
    crowds: int
    empty_images: int
    with_masks: int
    rle_masks: int
    per_class: Mapping[str, int]
    box_sizes: tuple[float, ...]
    image_size_wh: tuple[int, int]
    max_objects: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"box_sizes": list(self.box_sizes), "image_size_wh": list(self.image_size_wh)}


def summarize(dataset: Dataset) -> Summary:
    """Summarize a canonical data set; it has at least one image."""
    objects = [annotation for annotation in dataset.annotations if not annotation.iscrowd]
    on_image = Counter(annotation.image_id for annotation in objects)
    per_category = Counter(annotation.category_id for annotation in objects)
    sizes = np.sqrt([annotation.bbox_xywh[2] * annotation.bbox_xywh[3] for annotation in objects])
    median_wh = np.median([(image.width, image.height) for image in dataset.images], axis=0)
    return Summary(
        images=len(dataset.images),
        annotations=len(objects),
        crowds=len(dataset.annotations) - len(objects),
        empty_images=len(dataset.images) - len(on_image),
        with_masks=sum(annotation.segmentation is not None for annotation in objects),
        rle_masks=sum(isinstance(annotation.segmentation, Rle) for annotation in dataset.annotations),
        per_class={category.name: per_category[category.id] for category in dataset.categories},
        box_sizes=tuple(round(float(q), 2) for q in np.quantile(sizes, QUANTILES)) if objects else (),
        image_size_wh=(round(float(median_wh[0])), round(float(median_wh[1]))),
        max_objects=max(on_image.values(), default=0),
    )
