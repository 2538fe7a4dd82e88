"""SuperAnnotate's vector JSON: a file an image, with instances of several types; ``classes.json`` lists the classes.

Its first version is a list of the instances, with one of type `meta` that has the image's size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Dataset, Polygon
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import MOST_PIXELS, Entry, Shape, alphabetical, assemble, no_area
from cvtune.data.formats.file_sets import FileSet, Finders, detected, find_files, read_documents
from cvtune.data.formats.groups import join_groups
from cvtune.data.formats.mask_images import crop
from cvtune.data.formats.texts import json_top, number, read_json, whole
from cvtune.data.geometry import rings_to_rle, rle_to_mask
from cvtune.data.outlines import ellipse_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

NO_AREA = frozenset({"polyline", "point", "template"})
TYPES = frozenset({"bbox", "rbbox", "polygon", "ellipse", "cuboid", *NO_AREA})
LISTS = ("classes.json", "config.json")
CLASSES = ("classes.json", "classes/classes.json")
# What exports add to the image's name.
ENDING = re.compile(r"(___[a-z]+)?\.json$", re.IGNORECASE)
# Said of an instance as a matter of course.
PROBABLE = 100


def detect(path: Path) -> str | None:
    """Evidence that `path` is SuperAnnotate's: JSON of metadata and instances with a type and a class."""
    return detected(path, _accept, "metadata and instances of SuperAnnotate", ".json", deep=True, skip=LISTS)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below `path`, where all files lie in two or more."""
    return find_files(path, ".json", deep=True, skip=LISTS).subsets


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes, polygons and ellipses; polygons of one class and group are one object. Lines and points are dropped.

    Category ids are 1, 2, ... in the order of classes.json, then over the sorted classes that it lacks. `group_id`,
    `track_id`, `probability` (where it is not 100) and `attributes` are in `Annotation.extra`.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_files(source.path, ".json", deep=True, skip=LISTS)
    chosen = set(files.of_subset(source.subset))
    known = _classes(files, receipt)
    documents = read_documents(files, chosen, receipt, _document, "no metadata and instances")
    if not documents:
        raise DataError(f"{source.path}: none of its {len(files.files)} .json files is of SuperAnnotate")
    finders = Finders(files.root, source.images, [_name(document, file) for file, document in documents.items()])
    entries: list[Entry] = []
    names: set[str] = set()
    for file, document in documents.items():
        label, metadata = files.label(file), document["metadata"]
        size = whole(metadata.get("width")), whole(metadata.get("height"))
        size_wh = size if all(size) else None
        instances = enumerate(document["instances"], start=1)
        shapes = [_shape(item, f"{label} instance {n}", known, size_wh) for n, item in instances]
        names.update(shape.name for shape in shapes if shape.name)
        if file not in chosen:
            continue
        if tags := document.get("tags"):
            receipt.note("image-tags-lost", label, f"{tags!r:.200}")
        path, called = finders.find(_name(document, file), file)
        entries.append(Entry(label, called, size_wh, path, join_groups(shapes)))
    receipt.files += [file for file in documents if file in chosen]
    return assemble(entries, alphabetical(names, known.values()), receipt, source=source.path)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: SuperAnnotate's own tools convert COCO."""
    raise UnsupportedError("format: 'superannotate' is read only; write `coco`, which SuperAnnotate's tools convert")


def _accept(file: Path) -> bool:
    top = json_top(file)
    if top is None:
        return False
    if top.is_list:
        return _document(top.records) is not None
    if not {"metadata", "instances"} <= set(top.keys):
        return False
    return _document({"metadata": top.get("metadata"), "instances": top.first("instances")}) is not None


def _document(content: Any) -> dict[str, Any] | None:
    """The content of a file with its metadata and instances; None where it is of another kind."""
    if isinstance(content, list):
        kinds = [item.get("type") if isinstance(item, dict) else None for item in content]
        instances = [item for item, kind in zip(content, kinds, strict=True) if kind not in ("meta", "comment")]
        if 2 * sum(kind in (*TYPES, "meta", "comment") for kind in kinds) <= len(kinds) or not _has_classes(instances):
            return None
        sizes = [item for item, kind in zip(content, kinds, strict=True) if kind == "meta" and "width" in item]
        return {"metadata": {**(sizes[0] if sizes else {}), "name": None}, "instances": instances}
    if not isinstance(content, dict):
        return None
    metadata, listed = content.get("metadata"), content.get("instances")
    if not isinstance(metadata, dict) or not isinstance(listed, list):
        return None
    told = _has_classes(listed) if listed else isinstance(metadata.get("name"), str)
    return content if told else None


def _has_classes(instances: Sequence[Any]) -> bool:
    return any(
        isinstance(item, dict) and ("className" in item or "classId" in item or "meta" in item) for item in instances
    )


def _name(document: Mapping[str, Any], file: Path) -> str:
    name = document["metadata"].get("name")
    if isinstance(name, str) and name.strip():
        return name.strip()
    return ENDING.sub("", file.name)


def _classes(files: FileSet, receipt: Receipt) -> dict[Any, str]:
    """Class id -> name, in the order of classes.json."""
    places = [folder / name for folder in (files.root, files.root.parent) for name in CLASSES]
    file = next((place for place in places if place.is_file()), None)
    document = read_json(file, receipt, file.name) if file is not None else None
    found: dict[Any, str] = {}
    for n, item in enumerate(document if isinstance(document, list) else []):
        name = item.get("name") if isinstance(item, dict) else None
        if isinstance(name, str) and name.strip():
            found[item["id"] if type(item.get("id")) is int else f"class {n}"] = name.strip()
    if file is not None and found:
        receipt.files.append(file)
    return found


def _shape(item: Any, where: str, known: Mapping[Any, str], size_wh: tuple[int, int] | None) -> Shape:
    if not isinstance(item, dict):
        return Shape(where, None, fault=("value-malformed", f"an instance must be an object, got {item!r:.60}"))
    said = item["meta"] if isinstance(item.get("meta"), dict) else item
    name, class_id = said.get("className"), said.get("classId")
    if not isinstance(name, str) or not name.strip():
        name = known.get(class_id) if type(class_id) is int else None
    extra: dict[str, Any] = {}
    if (group := whole(item.get("groupId"))) > 0:
        extra["group_id"] = group
    if isinstance(item.get("trackingId"), str | int) and item["trackingId"]:
        extra["track_id"] = item["trackingId"]
    if math.isfinite(number(item.get("probability"))) and number(item["probability"]) != PROBABLE:
        extra["probability"] = item["probability"]
    if attributes := _attributes(item.get("attributes")):
        extra["attributes"] = attributes
    base = Shape(where, name.strip() if name else None, extra=extra)
    kind, points = item.get("type"), item.get("points")
    if said is not item:
        return replace(base, fault=("shape-unknown", "it is in the frames of a video"))
    if isinstance(item.get("parts"), list):
        return replace(base, fault=("mask-not-read", "its pixels are in an image ___save.png"))
    if kind in NO_AREA:
        return replace(base, fault=no_area(str(kind)))
    if kind == "bbox" and isinstance(points, dict):
        x0, y0, x1, y1 = (number(points.get(key)) for key in ("x1", "y1", "x2", "y2"))
        return replace(base, box_xyxy=(x0, y0, x1, y1))
    if kind == "rbbox" and isinstance(points, dict):
        corners = np.array([number(points.get(f"{axis}{n}")) for n in range(1, 5) for axis in "xy"], np.float64)
        return replace(base, polygons=(corners,), repairs=(("rotation-as-polygon", "its four corners"),))
    if kind == "polygon":
        return _polygon(base, points, item.get("exclude"), size_wh)
    if kind == "ellipse":
        return _ellipse(base, item)
    return replace(base, fault=("shape-unknown", f"type={kind!r:.40}"))


def _attributes(listed: Any) -> dict[str, Any]:
    """Group -> the chosen attribute, or a list of several."""
    found: dict[str, Any] = {}
    for item in listed if isinstance(listed, list) else []:
        group, name = (item.get("groupName"), item.get("name")) if isinstance(item, dict) else (None, None)
        if isinstance(group, str) and isinstance(name, str | int | float):
            before = found.get(group)
            found[group] = name if before is None else [*(before if isinstance(before, list) else [before]), name]
    return found


def _flat(value: Any) -> Polygon:
    return np.array([number(v) for v in value] if isinstance(value, list) else [math.nan], np.float64)


def _polygon(base: Shape, points: Any, exclude: Any, size_wh: tuple[int, int] | None) -> Shape:
    """A polygon; with holes, its pixels."""
    outline = _flat(points)
    holes: Sequence[Polygon] = [_flat(hole) for hole in exclude] if isinstance(exclude, list) else []
    holes = [hole for hole in holes if len(hole) >= 6 and len(hole) % 2 == 0 and np.isfinite(hole).all()]
    usable = len(outline) >= 6 and len(outline) % 2 == 0 and np.isfinite(outline).all()
    if not holes or not usable or size_wh is None or size_wh[0] * size_wh[1] > MOST_PIXELS:
        return replace(base, polygons=(outline,))
    inside = rle_to_mask(rings_to_rle([outline], holes, (size_wh[1], size_wh[0])))
    if not inside.any():
        return replace(base, fault=("mask-empty", f"{len(outline) // 2} corners, {len(holes)} holes"))
    return replace(base, patch=crop(inside), repairs=(("mask-rasterised", f"a polygon with {len(holes)} holes"),))


def _ellipse(base: Shape, item: Mapping[str, Any]) -> Shape:
    cx, cy, rx, ry = numbers = [number(item.get(key)) for key in ("cx", "cy", "rx", "ry")]
    degrees = number(item.get("angle", 0))
    if not all(map(math.isfinite, [*numbers, degrees])) or min(rx, ry) <= 0 or max(map(abs, numbers)) > 1e9:
        return replace(base, fault=("mask-degenerate", f"an ellipse {cx:g}, {cy:g} of {rx:g} x {ry:g}"))
    detail = f"an ellipse of half axes {rx:g}, {ry:g} about {cx:g}, {cy:g}"
    polygon = ellipse_polygon(cx, cy, rx, ry, degrees)
    return replace(base, polygons=(polygon,), repairs=(("shape-approximated", detail),))
