"""Writing Datumaro JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvtune.data.coco import Annotation, Dataset, Rle
from cvtune.data.formats.writing import Groups, Losses, note_boxes, note_categories, objects_of, relative_name
from cvtune.data.geometry import rle_to_json
from cvtune.data.receipt import Receipt
from cvtune.runs import write_json

__all__ = ["write"]

KEPT = ("attributes", "group_id", "z_order")


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``annotations/default.json`` below the folder `path`, or `path` itself where it ends in .json.

    Boxes, polygons (several of an object share a group) and masks are written as such, a crowd has the attribute
    is_crowd, and plain extra fields become attributes. The images belong in ``images/default``.

    Raises:
        RunError: the file cannot be written.
    """
    numbers = {category.id: i for i, category in enumerate(dataset.categories)}
    objects = objects_of(dataset)
    losses = Losses(receipt, str(path))
    items = []
    taken: set[str] = set()
    for image in dataset.images:
        groups = Groups(objects[image.id])
        name = relative_name(image.file_name)
        if name != image.file_name:
            receipt.note("image-renamed", image.file_name, f"written as {name}")
        key = str(Path(name).with_suffix("")) if Path(name).suffix else name
        key = name if key in taken else key
        taken.add(key)
        records: list[dict[str, Any]] = []
        for annotation in objects[image.id]:
            scalars = [k for k, v in annotation.extra.items() if isinstance(v, str | int | float) and k not in KEPT]
            losses.add(annotation, (*KEPT, *scalars), crowd=True)
            records += _records(annotation, numbers[annotation.category_id], groups.of(annotation) or 0, scalars)
        size = {"path": name, "size": [image.height, image.width]}
        attr = image.extra.get("attr")
        items.append({"id": key, "annotations": records, "attr": attr if isinstance(attr, dict) else {}, "image": size})
    losses.say()
    note_boxes(dataset, str(path), receipt)
    note_categories(dataset, str(path), receipt, numbers)
    labels = [{"name": category.name, "parent": "", "attributes": []} for category in dataset.categories]
    file = path if path.suffix.lower() == ".json" else path / "annotations" / "default.json"
    record = {
        "dm_format_version": "1.0",
        "media_type": 2,
        "infos": {},
        "categories": {"label": {"labels": labels, "attributes": []}},
        "items": items,
    }
    write_json(file, record)
    return (file,)


def _records(annotation: Annotation, label: int, group: int, scalars: list[str]) -> list[dict[str, Any]]:
    given = annotation.extra.get("attributes")
    attributes = dict(given) if isinstance(given, Mapping) else {}
    for key in scalars:
        value = annotation.extra[key]
        if key != "name" and (not isinstance(value, float) or math.isfinite(value)):
            attributes.setdefault(key, value)
    if annotation.iscrowd:
        attributes["is_crowd"] = True
    depth = annotation.extra.get("z_order")
    base = {
        "id": annotation.id if isinstance(annotation.id, int) else 0,
        "attributes": attributes,
        "group": group,
        "label_id": label,
        "z_order": depth if type(depth) is int else 0,
    }
    mask = annotation.segmentation
    if isinstance(mask, Rle):
        return [{**base, "type": "mask", "rle": rle_to_json(mask)}]
    if mask:
        return [{**base, "type": "polygon", "points": polygon.tolist()} for polygon in mask]
    return [{**base, "type": "bbox", "bbox": [float(value) for value in annotation.bbox_xywh]}]
