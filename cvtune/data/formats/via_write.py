"""Writing the annotation exports of VGG Image Annotator 2."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvtune.data.coco import Annotation, Dataset, Image
from cvtune.data.formats.writing import (
    Losses,
    names_of,
    note_boxes,
    note_categories,
    objects_of,
    one_polygon,
    place_of,
    plain,
    relative_name,
)
from cvtune.data.receipt import Receipt
from cvtune.runs import write_json, write_text

__all__ = ["write"]

COLUMNS = ("filename", "file_size", "file_attributes", "region_count", "region_id")
CLASS = "label"


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write VIA 2's export to `path` (.json or .csv), or to ``via_region_data.json`` in it.

    The class is the region attribute `label`. An object has one polygon, parts are joined by lines without width. A
    crowd has an attribute `iscrowd`. VIA does not state the sizes of images.

    Returns:
        The file written.

    Raises:
        RunError: the file cannot be written.
    """
    file = path if path.suffix.lower() in {".json", ".csv"} else path / "via_region_data.json"
    objects, names = objects_of(dataset), names_of(dataset)
    losses = Losses(receipt, str(file))
    records: dict[str, dict[str, Any]] = {}
    for image in dataset.images:
        name = relative_name(image.file_name)
        if name != image.file_name:
            receipt.repair("image-renamed", image.file_name, f"written as {name}")
        regions = []
        for annotation in objects[image.id]:
            losses.add(annotation, ("attributes",), crowd=True)
            regions.append(_region(annotation, image, names[annotation.category_id], receipt))
        size = image.path.stat().st_size if image.path is not None and image.path.is_file() else -1
        attributes = image.extra.get("file_attributes")
        key = f"{name}{size}"
        while key in records:
            key += "+"
        records[key] = {
            "filename": name,
            "size": size,
            "regions": regions,
            "file_attributes": attributes if isinstance(attributes, Mapping) else {},
        }
    losses.say()
    note_boxes(dataset, str(file), receipt)
    note_categories(dataset, str(file), receipt)
    if file.suffix.lower() == ".csv":
        write_text(file, _csv(records))
    else:
        write_json(file, records)
    return (file,)


def _region(annotation: Annotation, image: Image, name: str, receipt: Receipt) -> dict[str, Any]:
    polygon = one_polygon(annotation, image, place_of(annotation, image), name, receipt)
    shape: dict[str, Any]
    if polygon is None:
        numbers = zip(("x", "y", "width", "height"), annotation.bbox_xywh, strict=True)
        shape = {"name": "rect"} | {key: plain(float(value)) for key, value in numbers}
    else:
        points = [plain(value) for value in polygon.tolist()]
        shape = {"name": "polygon", "all_points_x": points[::2], "all_points_y": points[1::2]}
    given = annotation.extra.get("attributes")
    others = {k: v for k, v in given.items() if k not in {CLASS, "iscrowd"}} if isinstance(given, Mapping) else {}
    crowd = {"iscrowd": "1"} if annotation.iscrowd else {}
    return {"shape_attributes": shape, "region_attributes": {CLASS: name} | others | crowd}


def _csv(records: Mapping[str, Mapping[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, "region_shape_attributes", "region_attributes"])
    for record in records.values():
        regions = record["regions"]
        head = [record["filename"], record["size"], _cell(record["file_attributes"]), len(regions)]
        for n, region in enumerate(regions):
            writer.writerow([*head, n, _cell(region["shape_attributes"]), _cell(region["region_attributes"])])
        if not regions:
            writer.writerow([*head, 0, "{}", "{}"])
    return stream.getvalue()


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
