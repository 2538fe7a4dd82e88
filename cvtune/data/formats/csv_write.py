"""Writing a table of boxes: TensorFlow's object detection CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from cvtune.data.coco import Dataset
from cvtune.data.formats.writing import Losses, names_of, note_categories, objects_of, place_of, plain, relative_name
from cvtune.data.receipt import Receipt
from cvtune.runs import write_text

__all__ = ["write"]

COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "iscrowd")


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``annotations.csv`` below the folder `path`, or `path` itself where it ends in .csv.

    The columns are filename, width, height, class, xmin, ymin, xmax, ymax and, where there are crowds, iscrowd; corners
    are 0-based with continuous edges. An image without objects has a row with no class and no box.

    Raises:
        RunError: the file cannot be written.
    """
    names, objects = names_of(dataset), objects_of(dataset)
    losses = Losses(receipt, str(path))
    columns = COLUMNS if any(a.iscrowd for a in dataset.annotations) else COLUMNS[:-1]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for image in dataset.images:
        head = (relative_name(image.file_name), image.width, image.height)
        if head[0] != image.file_name:
            receipt.note("image-renamed", image.file_name, f"written as {head[0]}")
        for annotation in objects[image.id]:
            name, where = names[annotation.category_id], place_of(annotation, image)
            if not name.strip():
                receipt.drop_written("class-missing", where, "its class name is empty", name)
                continue
            if annotation.segmentation is not None:
                receipt.repair("mask-lost", where, "only its box was written", name)
            losses.add(annotation, crowd=True)
            x, y, w, h = annotation.bbox_xywh
            row = (*head, name, *(plain(float(value)) for value in (x, y, x + w, y + h)), int(annotation.iscrowd))
            writer.writerow(row[: len(columns)])
        if not objects[image.id]:
            writer.writerow((*head, *[""] * (len(columns) - 3)))
    losses.say()
    note_categories(dataset, str(path), receipt)
    file = path if path.suffix.lower() == ".csv" else path / "annotations.csv"
    write_text(file, text.getvalue())
    return (file,)
