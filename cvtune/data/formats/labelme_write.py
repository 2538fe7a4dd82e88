"""Writing LabelMe JSON."""

from __future__ import annotations

import base64
import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image as Pillow

from cvtune.data.coco import Annotation, Dataset, Image, Rle
from cvtune.data.formats.writing import (
    Groups,
    Losses,
    names_of,
    note_boxes,
    note_categories,
    objects_of,
    place_of,
    relative_name,
    unique_key,
)
from cvtune.data.geometry import rle_bbox_xywh, rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.runs import write_json

__all__ = ["write"]

# Of the tool itself, and of X-AnyLabeling.
KEPT = ("group_id", "description", "flags", "score", "difficult", "attributes")


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``<image>.json`` below the folder `path`, one file an image, empty images too.

    Boxes become rectangles, polygons polygons (several of one object share a group_id), other masks masks; a crowd has
    the flag `iscrowd`. Images belong beside the files.

    Returns:
        The files written.

    Raises:
        RunError: a file cannot be written.
    """
    objects, names = objects_of(dataset), names_of(dataset)
    losses = Losses(receipt, str(path))
    taken: set[str] = set()
    files: list[Path] = []
    for image in dataset.images:
        key = unique_key(image.file_name, taken)
        groups = Groups(objects[image.id])
        shapes: list[dict[str, Any]] = []
        for annotation in objects[image.id]:
            losses.add(annotation, KEPT, crowd=True)
            shapes += _shapes(annotation, image, names[annotation.category_id], groups, receipt)
        flags = image.extra.get("flags")
        record = {
            "version": "5.5.0",
            "flags": flags if isinstance(flags, dict) else {},
            "shapes": shapes,
            "imagePath": PurePosixPath(relative_name(image.file_name)).name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        target = path / f"{key}.json"
        write_json(target, record)
        files.append(target)
    losses.say()
    note_boxes(dataset, str(path), receipt)
    note_categories(dataset, str(path), receipt)
    receipt.note("images-not-written", str(path), "LabelMe opens images that lie beside their files")
    return tuple(files)


def _shapes(annotation: Annotation, image: Image, name: str, groups: Groups, receipt: Receipt) -> list[dict[str, Any]]:
    extra = annotation.extra
    flags = dict(extra["flags"]) if isinstance(extra.get("flags"), dict) else {}
    if annotation.iscrowd:
        flags["iscrowd"] = True
    shape: dict[str, Any] = {
        "label": name,
        "points": [],
        "group_id": groups.of(annotation),
        "description": extra.get("description", ""),
        "shape_type": "polygon",
        "flags": flags,
        **{key: extra[key] for key in ("score", "difficult", "attributes") if key in extra},
    }
    mask = annotation.segmentation
    if isinstance(mask, Rle):
        left, top, width, height = (int(value) for value in rle_bbox_xywh(mask))
        if width and height:
            cut = rle_to_mask(mask)[top : top + height, left : left + width]
            corners = [[left, top], [left + width - 1, top + height - 1]]
            return [shape | {"shape_type": "mask", "points": corners, "mask": _png(cut)}]
        receipt.repair("mask-empty", place_of(annotation, image), "its box was written", name)
    elif mask:
        return [shape | {"points": polygon.reshape(-1, 2).tolist()} for polygon in mask]
    x, y, w, h = annotation.bbox_xywh
    return [shape | {"shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]}]


def _png(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    stream = io.BytesIO()
    Pillow.fromarray(mask).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")
