"""Writing Label Studio's JSON, to be imported as tasks with annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cvtune.data.coco import Annotation, Dataset, Image
from cvtune.data.formats.label_studio_rle import encode_brush
from cvtune.data.formats.writing import (
    Losses,
    names_of,
    note_boxes,
    note_categories,
    objects_of,
    place_of,
    relative_name,
)
from cvtune.data.geometry import rle_to_mask, segmentation_to_rle
from cvtune.data.receipt import Receipt
from cvtune.runs import write_json

__all__ = ["write"]


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write tasks to `path`, or to ``tasks.json`` in it where it does not end in .json.

    Boxes become rectanglelabels, one polygon polygonlabels, masks and several polygons of one object brushlabels. A
    crowd has ``meta: {"iscrowd": true}``. The image's name is written as it is; in Label Studio it may need the
    storage's prefix, such as ``/data/local-files/?d=``.

    Returns:
        The file written.

    Raises:
        RunError: the file cannot be written.
    """
    file = path if path.suffix.lower() == ".json" else path / "tasks.json"
    objects, names = objects_of(dataset), names_of(dataset)
    losses = Losses(receipt, str(file))
    tasks = []
    for number, image in enumerate(dataset.images, start=1):
        name = relative_name(image.file_name)
        if name != image.file_name:
            receipt.repair("image-renamed", image.file_name, f"written as {name}")
        results = []
        for annotation in objects[image.id]:
            losses.add(annotation, crowd=True)
            results.append(_result(annotation, image, names[annotation.category_id], receipt))
        size = {"width": image.width, "height": image.height}
        tasks.append(
            {"id": number, "data": {"image": name, **size}, "annotations": [{"id": number, "result": results}]}
        )
    losses.say()
    note_boxes(dataset, str(file), receipt)
    note_categories(dataset, str(file), receipt)
    write_json(file, tasks)
    return (file,)


def _result(annotation: Annotation, image: Image, name: str, receipt: Receipt) -> dict[str, Any]:
    width, height = image.width, image.height
    mask = annotation.segmentation
    x, y, w, h = annotation.bbox_xywh
    corner = {"x": x * 100 / width, "y": y * 100 / height}
    value: dict[str, Any] = corner | {"width": w * 100 / width, "height": h * 100 / height, "rotation": 0}
    kind = "rectangle"
    if isinstance(mask, tuple) and len(mask) == 1:
        kind, value = "polygon", {"points": (mask[0].reshape(-1, 2) * (100 / width, 100 / height)).tolist()}
    elif mask:
        if isinstance(mask, tuple):
            receipt.repair("mask-rasterised", place_of(annotation, image), f"{len(mask)} parts", name)
        rle = segmentation_to_rle(mask, (height, width))
        kind, value = "brush", {"format": "rle", "rle": encode_brush(rle_to_mask(rle))}
    record: dict[str, Any] = {
        "id": f"{annotation.id}",
        "type": f"{kind}labels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value | {f"{kind}labels": [name]},
    }
    return record | ({"meta": {"iscrowd": True}} if annotation.iscrowd else {})
