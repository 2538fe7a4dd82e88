"""Writing metadata.jsonl for Hugging Face's imagefolder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from cvtune.data.coco import Dataset
from cvtune.data.formats.writing import Losses, names_of, note_categories, objects_of, place_of, plain, relative_name
from cvtune.data.receipt import Receipt
from cvtune.runs import write_text

__all__ = ["write"]


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``metadata.jsonl`` below the folder `path`, a line an image; the images belong beside it.

    `objects` has the lists bbox (left, top, width, height), categories (names), area and, where there are crowds,
    iscrowd. Masks have no place.

    Raises:
        RunError: the file cannot be written.
    """
    names, objects = names_of(dataset), objects_of(dataset)
    losses = Losses(receipt, str(path))
    crowds = any(annotation.iscrowd for annotation in dataset.annotations)
    lines = []
    for image in dataset.images:
        name = relative_name(image.file_name)
        if name != image.file_name:
            receipt.note("image-renamed", image.file_name, f"written as {name}")
        columns: dict[str, list[Any]] = {"bbox": [], "categories": [], "area": []}
        if crowds:
            columns["iscrowd"] = []
        for annotation in objects[image.id]:
            label, where = names[annotation.category_id], place_of(annotation, image)
            if not label:
                receipt.drop_written("class-missing", where, "its class name is empty", label)
                continue
            box = [float(value) for value in annotation.bbox_xywh]
            if not all(map(math.isfinite, box)):
                receipt.drop_written("box-not-numeric", where, str(box), label)
                continue
            if annotation.segmentation is not None:
                receipt.repair("mask-lost", where, "only its box was written", label)
            losses.add(annotation, crowd=True)
            columns["bbox"].append([plain(value) for value in box])
            columns["categories"].append(label)
            columns["area"].append(plain(float(annotation.area)))
            if crowds:
                columns["iscrowd"].append(int(annotation.iscrowd))
        record = {"file_name": name, "width": image.width, "height": image.height, "objects": columns}
        lines.append(json.dumps(record, ensure_ascii=False))
    losses.say()
    note_categories(dataset, str(path), receipt)
    if dataset.images:
        receipt.note("images-not-written", str(path), "put them beside metadata.jsonl")
    file = path / "metadata.jsonl"
    write_text(file, "".join(f"{line}\n" for line in lines))
    return (file,)
