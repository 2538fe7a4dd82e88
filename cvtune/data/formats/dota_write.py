"""Writing DOTA's oriented boxes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from cvtune.data.coco import Annotation, Dataset, Image, Polygon, Rle
from cvtune.data.formats.writing import (
    Losses,
    flat_key,
    names_of,
    note_boxes,
    note_categories,
    objects_of,
    place_of,
    plain,
)
from cvtune.data.geometry import mask_to_polygons, rle_iou, rle_to_mask, segmentation_to_rle
from cvtune.data.outlines import box_polygon
from cvtune.data.receipt import Receipt
from cvtune.runs import write_text

__all__ = ["write"]

HEADERS = ("imagesource", "gsd")


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``labelTxt/<image>.txt`` below the folder `path`, empty files too; the images belong in ``images``.

    A polygon of four corners is written as it is, a box as its four corners, and of other masks the smallest rotated
    box around them. White space in class names becomes "_".

    Raises:
        RunError: a file cannot be written.
    """
    names, objects = names_of(dataset), objects_of(dataset)
    losses = Losses(receipt, str(path))
    written = {name: re.sub(r"[\s,]+", "_", name.strip()) for name in names.values()}
    for name, other in written.items():
        if name != other:
            receipt.note("class-respelled", str(path), f"{name!r} was written as {other!r}")
    files: list[Path] = []
    taken: set[str] = set()
    boxes = 0
    shapes: list[Annotation] = []
    for image in dataset.images:
        key = flat_key(image.file_name, taken)
        if Path(image.file_name).with_suffix("").as_posix() != key:
            receipt.note("image-renamed", image.file_name, f"its labels are {key}.txt")
        lines = [f"{header}:{image.extra[header]}" for header in HEADERS if header in image.extra]
        for annotation in objects[image.id]:
            name, where = names[annotation.category_id], place_of(annotation, image)
            if not written[name]:
                receipt.drop_written("class-missing", where, "its class name is empty", name)
                continue
            corners = _corners(annotation, image, name, receipt)
            if corners is None:
                receipt.drop_written("mask-empty", where, "nothing of it is inside of its image", name)
                continue
            boxes += annotation.segmentation is None
            shapes.append(replace(annotation, segmentation=(corners,) if annotation.segmentation else None))
            losses.add(annotation, ("difficult",))
            numbers = " ".join(str(plain(float(value))) for value in corners)
            flag = annotation.extra.get("difficult")
            lines.append(f"{numbers} {written[name]} {flag if type(flag) is int else 0}")
        file = path / "labelTxt" / f"{key}.txt"
        write_text(file, "".join(f"{line}\n" for line in lines))
        files.append(file)
    if boxes:
        receipt.note("box-as-polygon", str(path), f"{boxes:,} boxes were written as their four corners")
    losses.say()
    note_boxes(replace(dataset, annotations=tuple(shapes)), str(path), receipt)
    note_categories(dataset, str(path), receipt)
    if dataset.images:
        receipt.note("images-not-written", str(path), "put them into the folder `images`")
    return tuple(files)


def _corners(annotation: Annotation, image: Image, name: str, receipt: Receipt) -> Polygon | None:
    """The eight coordinates; None for a mask that covers nothing."""
    mask = annotation.segmentation
    if mask is None:
        x, y, w, h = annotation.bbox_xywh
        return box_polygon(x, y, x + w, y + h)
    if not isinstance(mask, Rle) and len(mask) == 1 and len(mask[0]) == 8:
        return mask[0]
    outlines = mask_to_polygons(rle_to_mask(mask)) if isinstance(mask, Rle) else mask
    points = np.concatenate([outline.reshape(-1, 2) for outline in outlines]) if outlines else np.zeros((0, 2))
    if len(points) < 3:
        return None
    found = cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32)))
    corners: Polygon = np.array(np.round(found, 2), np.float64).reshape(-1)
    size_hw = (image.height, image.width)
    overlap = rle_iou(segmentation_to_rle(mask, size_hw), segmentation_to_rle((corners,), size_hw))
    detail = f"{len(points)} corners of its outline, IoU {overlap:.4f}"
    receipt.repair("mask-as-rotated-box", place_of(annotation, image), detail, name, overlap)
    return corners
