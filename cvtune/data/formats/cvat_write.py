"""Writing CVAT XML 1.1 for images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Annotation, Dataset, Image, Rle
from cvtune.data.formats.writing import (
    Groups,
    Losses,
    names_of,
    note_boxes,
    note_categories,
    objects_of,
    place_of,
    plain,
    relative_name,
)
from cvtune.data.geometry import rle_bbox_xywh, rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.runs import write_text

__all__ = ["write"]

KEPT = ("occluded", "source", "z_order", "group_id", "attributes")
# What XML 1.0 cannot hold, escaped or not.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write CVAT XML to `path`, or to ``annotations.xml`` in it where it does not end in .xml.

    Boxes stay boxes, a polygon a polygon, several polygons of one object share a group_id, other masks become masks. A
    crowd has an attribute `iscrowd`.

    Returns:
        The file written.

    Raises:
        RunError: the file cannot be written.
    """
    file = path if path.suffix.lower() == ".xml" else path / "annotations.xml"
    objects, names = objects_of(dataset), names_of(dataset)
    losses = Losses(receipt, str(file))
    attributes: dict[str, dict[str, None]] = {}
    images: list[str] = []
    for number, image in enumerate(dataset.images):
        name = relative_name(image.file_name)
        if name != image.file_name:
            receipt.repair("image-renamed", image.file_name, f"written as {name}")
        groups = Groups(objects[image.id])
        shapes = []
        for annotation in objects[image.id]:
            losses.add(annotation, KEPT, crowd=True)
            label = names[annotation.category_id]
            kept = attributes.setdefault(label, {})
            kept.update(dict.fromkeys(_attributes(annotation)))
            shapes += _shapes(annotation, image, label, groups, receipt)
        size = f'width="{image.width}" height="{image.height}"'
        images.append(f'  <image id="{number}" name={_quoted(name)} {size}>\n{"".join(shapes)}  </image>\n')
    losses.say()
    note_boxes(dataset, str(file), receipt)
    order = {category.id: i for i, category in enumerate(dataset.categories, start=1)}
    note_categories(dataset, str(file), receipt, order)
    labels = "".join(_label(category.name, attributes.get(category.name, {})) for category in dataset.categories)
    text = (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <size>{len(images)}</size>\n      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n"
        f"{''.join(images)}</annotations>\n"
    )
    clean = FORBIDDEN.sub("?", text)
    if clean != text:
        receipt.repair("value-repaired", str(file), "characters that XML cannot hold were written as question marks")
    write_text(file, clean)
    return (file,)


def _label(name: str, attributes: Mapping[str, None]) -> str:
    listed = "".join(
        f"<attribute><name>{escape(key, quote=False)}</name><mutable>False</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for key in attributes
    )
    return f"        <label><name>{escape(name, quote=False)}</name><attributes>{listed}</attributes></label>\n"


def _shapes(annotation: Annotation, image: Image, label: str, groups: Groups, receipt: Receipt) -> list[str]:
    extra = annotation.extra
    common = {
        "label": label,
        "source": extra.get("source", "manual"),
        "occluded": int(extra.get("occluded") in (1, True, "1")),
    }
    after: dict[str, Any] = {"z_order": extra.get("z_order", 0)}
    if (group := groups.of(annotation)) is not None:
        after["group_id"] = group
    mask = annotation.segmentation
    if isinstance(mask, Rle):
        left, top, width, height = (int(value) for value in rle_bbox_xywh(mask))
        if width and height:
            runs = _runs(rle_to_mask(mask)[top : top + height, left : left + width])
            where = {"rle": runs, "left": left, "top": top, "width": width, "height": height}
            return [_element("mask", common | where | after, annotation)]
        receipt.repair("mask-empty", place_of(annotation, image), "its box was written", label)
    elif mask:
        points = [";".join(f"{plain(x)},{plain(y)}" for x, y in part.reshape(-1, 2).tolist()) for part in mask]
        return [_element("polygon", common | {"points": text} | after, annotation) for text in points]
    x, y, w, h = annotation.bbox_xywh
    corners = zip(("xtl", "ytl", "xbr", "ybr"), (x, y, x + w, y + h), strict=True)
    return [_element("box", common | {key: plain(value) for key, value in corners} | after, annotation)]


def _element(tag: str, values: Mapping[str, Any], annotation: Annotation) -> str:
    listed = "".join(f" {key}={_quoted(str(value))}" for key, value in values.items())
    inner = "".join(
        f"      <attribute name={_quoted(key)}>{escape(value, quote=False)}</attribute>\n"
        for key, value in _attributes(annotation).items()
    )
    return f"    <{tag}{listed}>\n{inner}    </{tag}>\n"


def _attributes(annotation: Annotation) -> dict[str, str]:
    given = annotation.extra.get("attributes")
    found = {str(k): str(v) for k, v in given.items() if k != "iscrowd"} if isinstance(given, Mapping) else {}
    return found | ({"iscrowd": "1"} if annotation.iscrowd else {})


def _runs(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    flat = mask.reshape(-1)
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [len(flat)]])).tolist()
    return ", ".join(map(str, [0, *runs] if flat[0] else runs))


def _quoted(text: str) -> str:
    return '"' + escape(text).replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;") + '"'
