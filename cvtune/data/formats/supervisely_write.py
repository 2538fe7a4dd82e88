"""Writing Supervisely's JSON."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

from cvtune.data.coco import Annotation, Dataset, Image, Rle
from cvtune.data.formats.mask_images import crop, png_of_mask
from cvtune.data.formats.writing import (
    Losses,
    flat_name,
    names_of,
    note_boxes,
    note_categories,
    objects_of,
    place_of,
    plain,
)
from cvtune.data.geometry import rle_to_mask, segmentation_to_rle
from cvtune.data.receipt import Receipt
from cvtune.runs import write_json

__all__ = ["write", "write_part"]

DATASET = "ds0"


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``meta.json`` and ``ds0/ann/<image>.json`` below the folder `path`; the images belong in ``ds0/img``.

    Boxes become rectangles, single polygons polygons, other masks bitmaps; a crowd has the tag `iscrowd`.

    Raises:
        RunError: a file cannot be written.
    """
    return write_part(dataset, path, DATASET, receipt)


def write_part(dataset: Dataset, path: Path, part: str, receipt: Receipt) -> tuple[Path, ...]:
    """As `write`, as the dataset `part` of the project `path`, whose parts have one list of categories.

    Raises:
        RunError: a file cannot be written.
    """
    names, objects = names_of(dataset), objects_of(dataset)
    losses = Losses(receipt, str(path))
    whole = all(isinstance(category.id, int) for category in dataset.categories)
    ids = {c.id: c.id if whole else i for i, c in enumerate(dataset.categories, start=1)}
    classes: list[dict[str, Any]] = [
        {"title": c.name, "shape": "any", "color": f"#{(37 * i % 256):02X}80C0", "id": ids[c.id], "geometry_config": {}}
        for i, c in enumerate(dataset.categories)
    ]
    crowds = part != DATASET or any(annotation.iscrowd for annotation in dataset.annotations)
    tags = [{"name": "iscrowd", "value_type": "none", "color": "#808080"}] if crowds else []
    files = [path / "meta.json"]
    write_json(files[0], {"classes": classes, "tags": tags, "projectType": "images"})
    taken: set[str] = set()
    for image in dataset.images:
        name = flat_name(image.file_name, taken)
        if name != image.file_name:
            receipt.note("image-renamed", image.file_name, f"written as {name}")
        listed = []
        for annotation in objects[image.id]:
            label = names[annotation.category_id]
            if not label:
                receipt.drop_written("class-missing", place_of(annotation, image), "its class name is empty", label)
                continue
            geometry = _geometry(annotation, image, label, receipt)
            if geometry is None:
                continue
            losses.add(annotation, ("tags",), crowd=True)
            given = annotation.extra.get("tags")
            own = [tag for tag in given if isinstance(tag, dict)] if isinstance(given, list) else []
            own += [{"name": "iscrowd", "value": None}] if annotation.iscrowd else []
            listed.append({"classTitle": label, "classId": ids[annotation.category_id], "tags": own, **geometry})
        file = path / part / "ann" / f"{name}.json"
        size = {"height": image.height, "width": image.width}
        write_json(file, {"description": "", "tags": [], "size": size, "objects": listed})
        files.append(file)
    losses.say()
    note_boxes(dataset, str(path), receipt)
    note_categories(dataset, str(path), receipt, ids)
    if dataset.images:
        receipt.note("images-not-written", str(path), f"put them into the folder `{part}/img`")
    return tuple(files)


def _geometry(annotation: Annotation, image: Image, name: str, receipt: Receipt) -> dict[str, Any] | None:
    mask, where = annotation.segmentation, place_of(annotation, image)
    if mask is None:
        x, y, w, h = (float(value) for value in annotation.bbox_xywh)
        corners = [[plain(x), plain(y)], [plain(x + w), plain(y + h)]]
        return {"geometryType": "rectangle", "points": {"exterior": corners, "interior": []}}
    if not isinstance(mask, Rle) and len(mask) == 1:
        points = [[plain(float(x)), plain(float(y))] for x, y in mask[0].reshape(-1, 2)]
        return {"geometryType": "polygon", "points": {"exterior": points, "interior": []}}
    inside = rle_to_mask(segmentation_to_rle(mask, (image.height, image.width)))
    if not inside.any():
        receipt.drop_written("mask-empty", where, "nothing of it is inside of its image", name)
        return None
    if not isinstance(mask, Rle):
        receipt.repair("mask-rasterised", where, f"{len(mask)} polygons", name)
    patch = crop(inside)
    data = base64.b64encode(zlib.compress(png_of_mask(patch.mask_hw))).decode("ascii")
    return {"geometryType": "bitmap", "bitmap": {"data": data, "origin": [patch.left, patch.top]}}
