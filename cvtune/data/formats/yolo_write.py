"""Writing YOLO as Ultralytics reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.formats.writing import (
    Losses,
    labels_key,
    names_of,
    note_boxes,
    note_categories,
    objects_of,
    one_polygon,
    place_of,
    relative_name,
)
from cvtune.data.outlines import box_polygon
from cvtune.data.receipt import Receipt
from cvtune.runs import write_text

__all__ = ["write", "write_index"]


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``data.yaml``, ``train.txt`` (the list of images) and ``labels/<image>.txt`` below the folder `path`.

    Classes are numbered 0, 1, ... in the order of their ids. An object with a mask becomes a polygon, its parts joined
    by lines without width; one without becomes a box or, where the set has masks, a polygon of four corners: in a file
    with polygons Ultralytics takes every line for one. Images belong into ``images/``.

    Returns:
        The files written.

    Raises:
        RunError: a file cannot be written.
    """
    folder = path.parent if path.suffix.lower() in {".yaml", ".yml"} else path
    config = path if folder != path else path / "data.yaml"
    order = {category.id: index for index, category in enumerate(_ordered(dataset.categories))}
    objects, names = objects_of(dataset), names_of(dataset)
    polygons = any(annotation.segmentation is not None for annotation in dataset.annotations)
    losses = Losses(receipt, str(path))
    taken: set[str] = set()
    files: list[Path] = []
    listed: list[str] = []
    for image in dataset.images:
        key = labels_key(image.file_name, taken)
        name = key + PurePosixPath(relative_name(image.file_name)).suffix
        if name != image.file_name:
            receipt.repair("image-renamed", image.file_name, f"its labels are found as those of images/{name}")
        listed.append(f"./images/{name}\n")
        rows = []
        for annotation in objects[image.id]:
            losses.add(annotation)
            numbers = _numbers(annotation, image, names[annotation.category_id], polygons, receipt)
            rows.append(" ".join([str(order[annotation.category_id]), *(f"{v:.12g}" for v in numbers)]) + "\n")
        target = folder / "labels" / f"{key}.txt"
        write_text(target, "".join(rows))
        files.append(target)
    losses.say()
    note_boxes(dataset, str(path), receipt)
    note_categories(dataset, str(path), receipt, order)
    receipt.note("images-not-written", str(folder / "images"), f"put the {len(listed):,} images there")
    record = {
        "train": "train.txt",
        "val": "train.txt",  # Ultralytics wants both; the reader here knows them for one
        "names": {index: category.name for index, category in enumerate(_ordered(dataset.categories))},
    }
    write_text(folder / "train.txt", "".join(listed))
    write_text(config, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))
    return (config, folder / "train.txt", *files)


def write_index(path: Path, parts: Sequence[str], dataset: Dataset) -> Path:
    """Write ``data.yaml`` over the sets that `write` has put in folders of `path`, so that they are the parts of one.

    Args:
        path: the folder of the parts.
        parts: their names, which are their folders'.
        dataset: any of them, for the classes.

    Raises:
        RunError: the file cannot be written.
    """
    usual = {"valid": "val", "validation": "val", "training": "train"}
    record: dict[str, Any] = {usual.get(part.lower(), part.lower()): f"{part}/train.txt" for part in parts}
    record["names"] = {index: category.name for index, category in enumerate(_ordered(dataset.categories))}
    write_text(path / "data.yaml", yaml.safe_dump(record, sort_keys=False, allow_unicode=True))
    return path / "data.yaml"


def _ordered(categories: Iterable[Category]) -> list[Category]:
    """By id: numbers first, then strings."""
    return sorted(categories, key=lambda c: (isinstance(c.id, str), c.id))


def _numbers(annotation: Annotation, image: Image, name: str, polygons: bool, receipt: Receipt) -> list[float]:
    """What follows the class in a row: shares of the image's size."""
    where = place_of(annotation, image)
    polygon = one_polygon(annotation, image, where, name, receipt)
    x, y, w, h = annotation.bbox_xywh
    if polygon is None:
        x0, y0 = max(x, 0.0), max(y, 0.0)
        x1, y1 = min(x + w, float(image.width)), min(y + h, float(image.height))
        if (x0, y0, x1, y1) != (x, y, x + w, y + h):
            receipt.repair("box-clipped", where, f"x={x:g} y={y:g} w={w:g} h={h:g}", name)
        if not polygons:
            cx, cy = (x0 + x1) / 2 / image.width, (y0 + y1) / 2 / image.height
            return [cx, cy, (x1 - x0) / image.width, (y1 - y0) / image.height]
        receipt.repair("box-as-polygon", where, f"x={x:g} y={y:g} w={w:g} h={h:g}", name)
        polygon = box_polygon(x0, y0, x1, y1)
    shares: list[float] = (polygon.reshape(-1, 2) / (image.width, image.height)).reshape(-1).tolist()
    if min(shares) < 0 or max(shares) > 1:
        receipt.repair("mask-clipped", where, "corners outside of the image were moved to its edge", name)
    return [min(max(share, 0.0), 1.0) for share in shares]
