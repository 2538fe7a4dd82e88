"""Apple Create ML JSON: boxes by their centre, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import Finders, detected, find_files
from cvtune.data.formats.texts import json_top, number, read_json
from cvtune.data.formats.writing import Losses, names_of, note_categories, objects_of, place_of, plain, relative_name
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError
from cvtune.runs import write_json

__all__ = ["detect", "read", "subsets", "write"]

KEYS = ("x", "y", "width", "height")
# How the image is called, by version of the tool.
NAMES = ("image", "imagefilename", "filename")


def detect(path: Path) -> str | None:
    """Evidence that `path` is Create ML's: lists of images with annotations that have a label and coordinates."""
    return detected(path, _accept, "images and boxes of Create ML", ".json")


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits that the files lie in."""
    return find_files(path, ".json").splits


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a file, or those of a folder.

    Category ids are 1, 2, ... over the sorted labels of all files. The sizes of images are not stated, so images that
    are missing are dropped. `where` counts the annotations of an image from 1.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_files(source.path, ".json")
    chosen = set(files.of_subset(source.subset))
    documents: dict[Path, Sequence[Any]] = {}
    for file in files.files:
        document = read_json(file, receipt, files.label(file))
        if isinstance(document, list) and all(_is_image(record) for record in document):
            documents[file] = document
        elif len(files.files) == 1 and isinstance(document, list):
            n, record = next((n, r) for n, r in enumerate(document) if not _is_image(r))
            raise DataError(f"{file}: [{n}] must be an object with 'image' and 'annotations', got {record!r:.80}")
        else:
            receipt.note("file-skipped", files.label(file), "no list of images with annotations")
    if not documents:
        raise DataError(f"{source.path}: none of its {len(files.files)} .json files is of Create ML")
    finders = Finders(files.root, source.images, (_name(r) for document in documents.values() for r in document))
    entries: list[Entry] = []
    names: set[str | None] = set()
    for file, document in documents.items():
        for record in document:
            where = f"{files.label(file)} {_name(record)}"
            listed = record.get("annotations", record.get("annotation"))
            shapes = [_shape(item, f"{where} annotation {n}") for n, item in enumerate(listed, start=1)]
            names.update(shape.name for shape in shapes)
            if file in chosen:
                path, name = finders.find(_name(record), file)
                entries.append(Entry(where, name, None, path, shapes))
    receipt.files += [file for file in documents if file in chosen]
    return assemble(entries, alphabetical(names), receipt, source=source.path, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write one list to `path`, or to ``_annotations.createml.json`` in it where it does not end in .json.

    Boxes and labels are all that is kept.

    Returns:
        The file written.

    Raises:
        RunError: the file cannot be written.
    """
    file = path if path.suffix.lower() == ".json" else path / "_annotations.createml.json"
    objects, names = objects_of(dataset), names_of(dataset)
    losses = Losses(receipt, str(file))
    records = []
    for image in dataset.images:
        name = relative_name(image.file_name)
        if name != image.file_name:
            receipt.repair("image-renamed", image.file_name, f"written as {name}")
        listed = []
        for annotation in objects[image.id]:
            losses.add(annotation)
            label = names[annotation.category_id]
            if annotation.segmentation is not None:
                receipt.repair("mask-lost", place_of(annotation, image), "only its box was written", label)
            x, y, w, h = annotation.bbox_xywh
            numbers = zip(KEYS, (x + w / 2, y + h / 2, w, h), strict=True)
            listed.append({"label": label, "coordinates": {key: plain(float(value)) for key, value in numbers}})
        records.append({"image": name, "annotations": listed})
    losses.say()
    note_categories(dataset, str(file), receipt)
    write_json(file, records)
    return (file,)


def _accept(file: Path) -> bool:
    top = json_top(file)
    if top is None or not top.records or not all(_is_image(record) for record in top.records):
        return False
    first = [item for record in top.records for item in record.get("annotations", record.get("annotation"))[:1]]
    return all(isinstance(item, dict) and {"label", "coordinates"} <= set(item) for item in first)


def _is_image(record: Any) -> bool:
    if not isinstance(record, dict) or not _name(record):
        return False
    return isinstance(record.get("annotations", record.get("annotation")), list)


def _name(record: dict[str, Any]) -> str:
    found = next((record[key] for key in NAMES if isinstance(record.get(key), str)), "")
    return str(found).strip()


def _shape(item: Any, where: str) -> Shape:
    if not isinstance(item, dict):
        return Shape(where, None, fault=("value-malformed", f"an annotation must be an object, got {item!r:.60}"))
    label = item.get("label")
    name = str(label).strip() or None if isinstance(label, str | int | float) else None
    shape = Shape(where, name)
    coordinates = item.get("coordinates")
    if not isinstance(coordinates, dict):
        return replace(shape, fault=("box-missing", f"no coordinates, got {coordinates!r:.60}"))
    x, y, w, h = (number(coordinates.get(key)) for key in KEYS)
    return replace(shape, box_xyxy=(x - w / 2, y - h / 2, x + w / 2, y + h / 2))
