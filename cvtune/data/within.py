"""Objects that lie within their image: what COCO may list and other formats cannot mean is dropped before writing."""

from __future__ import annotations

from dataclasses import replace

from cvtune.data.coco import Dataset
from cvtune.data.receipt import Receipt

__all__ = ["within_images"]


def within_images(dataset: Dataset, receipt: Receipt) -> Dataset:
    """The set without boxes that have no area or lie wholly outside of their image; each is dropped on the receipt.

    COCO is read as it stands, and other readers leave such boxes out. Objects with a mask are left to the writers.
    """
    images = {image.id: image for image in dataset.images}
    names = {category.id: category.name for category in dataset.categories}
    kept = []
    for annotation in dataset.annotations:
        x, y, w, h = annotation.bbox_xywh
        image = images[annotation.image_id]
        if annotation.segmentation is None and not (
            w > 0 and h > 0 and x < image.width and y < image.height and x + w > 0 and y + h > 0
        ):
            code = "box-outside" if w > 0 and h > 0 else "box-zero-area"
            detail = f"x={x:g} y={y:g} w={w:g} h={h:g} in an image of {image.width}x{image.height}"
            receipt.drop(
                code, f"annotation {annotation.id} of {image.file_name}", detail, names[annotation.category_id]
            )
            continue
        kept.append(annotation)
    return dataset if len(kept) == len(dataset.annotations) else replace(dataset, annotations=tuple(kept))
