"""Datumaro JSON: ``annotations/<subset>.json`` beside ``images``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Category, Dataset, Polygon
from cvtune.data.coco_shapes import degrees_turned
from cvtune.data.formats import ReadSource
from cvtune.data.formats.datumaro_write import write
from cvtune.data.formats.entries import Entry, Shape, assemble, no_area
from cvtune.data.formats.file_sets import FileSet, Finders, part_names
from cvtune.data.formats.mask_images import crop
from cvtune.data.formats.texts import json_top, number, read_json, whole
from cvtune.data.geometry import rle_from_json, rle_to_mask
from cvtune.data.outlines import box_polygon, ellipse_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write"]

LARGEST = 2**28  # pixels of a mask that is decoded
NO_AREA = frozenset({"points", "polyline", "caption", "cuboid_3d", "hash_key", "depth_annotation", "feature_vector"})
OUTLINES = frozenset({"polygon", "mask", "ellipse"})


def detect(path: Path) -> str | None:
    """Evidence that `path` is Datumaro: JSON with items, and categories by their kind."""
    files = _files(path)
    return (
        f"{files[0].name}{' and more' if len(files) > 1 else ''} with Datumaro's items and categories"
        if files
        else None
    )


def subsets(path: Path) -> tuple[str, ...]:
    """The files of a folder, by their stem, or those of folders of splits by these."""
    files = _files(path) if path.is_dir() else []
    return tuple(_named(path, files)) if len(files) > 1 else ()


def _named(path: Path, files: Sequence[Path]) -> list[str]:
    return part_names([file.relative_to(path).parts for file in files])


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read the file that `subset` names, or all of a folder.

    Category ids are Datumaro's label ids, from 0. Shapes of one group and label (a box and its mask, the parts of an
    outline) are one object; z_order, group and attributes are in `Annotation.extra`. The attribute is_crowd makes a
    crowd. Labels of whole images, points and lines are no objects.

    Raises:
        DataError: there is no such file, it is malformed, or an unknown subset is asked for.
    """
    files = _files(source.path)
    if not files:
        raise DataError(f"{source.path}: no JSON file with Datumaro's items and categories")
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    root = source.path if source.path.is_dir() else source.path.parent
    records = [_record(file, FileSet(root, ()).label(file), receipt) for file in files]
    names = list(dict.fromkeys(name for record in records for name in _labels(record)))
    first = 1
    entries: list[Entry] = []
    for part, file, record in zip(_named(root, files), files, records, strict=True):
        if source.subset not in {None, part}:
            first += len(record["items"]) if not entries else 0
            continue
        label = FileSet(root, ()).label(file)
        receipt.files.append(file)
        images = [_image(item) for item in record["items"]]
        folders = [
            str(base / "images" / part) for base in (file.parent, file.parent.parent) for part in ("", file.stem)
        ]
        finders = Finders(root, source.images, [name for name, _ in images], beside=folders)
        labels = _labels(record)
        for index, (item, (name, size)) in enumerate(zip(record["items"], images, strict=True)):
            where = f"{label} items[{index}]"
            path, called = finders.find(name, file)
            shapes = list(_shapes(item, where, labels, size, receipt))
            extra = item.get("attr") if isinstance(item, dict) else None
            entries.append(
                Entry(where, called if path else name, size, path, shapes, extra={"attr": extra} if extra else {})
            )
    categories = tuple(Category(i, name) for i, name in enumerate(names))
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _is_datumaro(path) else []
    for pattern in ("annotations/*.json", "*.json", "*/annotations/*.json", "*/*/annotations/*.json"):
        found = sorted(path.glob(pattern))[:50]
        # Of a folder of another format's many files, only some are looked into.
        if len(found) > 8 and not any(map(_is_datumaro, found[:4])):
            continue
        if good := [file for file in found if _is_datumaro(file)]:
            return good
    return []


def _is_datumaro(file: Path) -> bool:
    top = json_top(file)
    if top is None or not {"categories", "items"} <= set(top.keys):
        return False
    categories = top.get("categories")
    return isinstance(categories, dict) and isinstance(categories.get("label"), dict)


def _record(file: Path, label: str, receipt: Receipt) -> dict[str, Any]:
    record = read_json(file, receipt, label)
    if not isinstance(record, dict) or not isinstance(record.get("items"), list):
        raise DataError(f"{file}: 'items' must be a list of the images")
    return record


def _labels(record: Mapping[str, Any]) -> list[str]:
    categories = record.get("categories")
    label = categories.get("label") if isinstance(categories, dict) else None
    listed = label.get("labels") if isinstance(label, dict) else None
    names = []
    for i, item in enumerate(listed if isinstance(listed, list) else []):
        name = item.get("name") if isinstance(item, dict) else item
        names.append(name if isinstance(name, str) and name else f"label {i}")
    return names


def _image(item: Any) -> tuple[str, tuple[int, int] | None]:
    """(file name, (width, height) or None)."""
    item = item if isinstance(item, dict) else {}
    given = item.get("image")
    media = item.get("media")
    image: Mapping[str, Any] = given if isinstance(given, dict) else media if isinstance(media, dict) else {}
    path, size, name = image.get("path"), image.get("size"), item.get("id")
    text = path if isinstance(path, str) and path else str(name if name is not None else "")
    if not isinstance(size, list) or len(size) != 2 or not (whole(size[0]) and whole(size[1])):
        return text, None
    return text, (whole(size[1]), whole(size[0]))


def _shapes(
    item: Any, where: str, labels: Sequence[str], size: tuple[int, int] | None, receipt: Receipt
) -> Iterator[Shape]:
    """The objects of an item: shapes of one group and label joined."""
    listed = item.get("annotations") if isinstance(item, dict) else None
    groups: dict[tuple[Any, ...], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    tags = 0
    for n, record in enumerate(listed if isinstance(listed, list) else []):
        place = f"{where} annotations[{n}]"
        if not isinstance(record, dict):
            yield Shape(place, None, fault=("value-malformed", f"got {record!r:.80}"))
            continue
        if record.get("type") == "label":
            tags += 1
            continue
        group = whole(record.get("group"))
        key = (group, record.get("label_id")) if group and record.get("type") in {"bbox", *OUTLINES} else (place,)
        groups[str(key), *key[:1]].append((place, record))
    if tags:
        receipt.note("image-tags-lost", where, f"{tags:,} labels of the whole image")
    for members in groups.values():
        kinds = [record.get("type") for _, record in members]
        outlines = sum(kind in OUTLINES for kind in kinds)
        one = len(members) > 1 and kinds.count("bbox") <= 1 and kinds.count("mask") <= 1 and outlines
        if not one or (kinds.count("mask") and outlines > 1):
            for place, record in members:
                yield _shape(place, record, labels, size)
            continue
        drawn = [_shape(place, record, labels, size) for place, record in members if record.get("type") in OUTLINES]
        first = drawn[0]
        joined = tuple(polygon for shape in drawn for polygon in shape.polygons or ())
        fault = next((shape.fault for shape in drawn if shape.fault), None)
        repairs = tuple(dict.fromkeys(repair for shape in drawn for repair in shape.repairs))
        if len(members) > outlines or len(drawn) > 1:
            repairs += (("parts-joined", f"{len(members)} shapes of group {members[0][1].get('group')}"),)
        yield Shape(
            first.where, first.name, None, joined if first.patch is None else None, first.patch, fault, repairs,
            first.iscrowd, first.extra,
        )  # fmt: skip


def _shape(where: str, record: dict[str, Any], labels: Sequence[str], size: tuple[int, int] | None) -> Shape:
    label_id, kind = record.get("label_id"), record.get("type")
    known = type(label_id) is int and 0 <= label_id < len(labels)
    name = labels[label_id] if known and type(label_id) is int else None
    attributes = record.get("attributes")
    attributes = dict(attributes) if isinstance(attributes, dict) else {}
    crowd = attributes.pop("is_crowd", False) in {True, "1", "true", "True"} if _plain(attributes) else False
    extra: dict[str, Any] = {}
    if attributes:
        extra["attributes"] = attributes
    if whole(record.get("group")):
        extra["group_id"] = whole(record.get("group"))
    if whole(record.get("z_order")):
        extra["z_order"] = whole(record.get("z_order"))
    base = Shape(where, name, iscrowd=crowd, extra=extra)
    if kind == "bbox":
        x, y, w, h = _numbers(record.get("bbox"), 4)
        degrees = degrees_turned(record.get("attributes"))
        if not degrees or not (math.isfinite(x + y + w + h) and w > 0 and h > 0):
            return replace(base, box_xyxy=(x, y, x + w, y + h))
        polygon = box_polygon(x, y, x + w, y + h, degrees)
        detail = f"turned by {degrees:g} degrees about its centre"
        return replace(base, polygons=(polygon,), repairs=(("rotation-as-polygon", detail),))
    if kind == "polygon":
        return replace(base, polygons=(_points(record.get("points")),))
    if kind == "ellipse":
        x0, y0, x1, y1 = _numbers(record.get("points"), 4)
        if not math.isfinite(x0 + y0 + x1 + y1):
            return replace(base, fault=("box-not-numeric", f"points={record.get('points')!r:.80}"))
        polygon = ellipse_polygon((x0 + x1) / 2, (y0 + y1) / 2, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
        return replace(
            base, polygons=(polygon,), repairs=(("shape-approximated", f"ellipse, {len(polygon) // 2} points"),)
        )
    if kind == "rotated_bbox":
        cx, cy, w, h, degrees = _numbers(record.get("bbox", record.get("points")), 5)
        if not math.isfinite(cx + cy + w + h + degrees):
            return replace(base, fault=("box-not-numeric", f"bbox={record.get('bbox')!r:.80}"))
        polygon = box_polygon(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, degrees)
        return replace(base, polygons=(polygon,), repairs=(("rotation-as-polygon", f"{degrees:g} degrees"),))
    if kind == "mask":
        return _mask(base, record.get("rle"), size)
    if kind in NO_AREA:
        return replace(base, fault=no_area(str(kind)))
    return replace(base, fault=("shape-unknown", f"type={kind!r:.40}"))


def _mask(base: Shape, rle: Any, size: tuple[int, int] | None) -> Shape:
    given = rle.get("size") if isinstance(rle, dict) else None
    if size is None and isinstance(given, list) and len(given) == 2:
        size = (whole(given[1]), whole(given[0]))
    if not isinstance(rle, dict) or size is None or not 0 < size[0] * size[1] <= LARGEST:
        return replace(base, fault=("mask-invalid", f"rle={rle!r:.80}"))
    try:
        inside = rle_to_mask(rle_from_json(rle, (size[1], size[0])))
    except DataError as error:
        return replace(base, fault=("mask-invalid", str(error)))
    if not inside.any():
        return replace(base, fault=("mask-empty", f"{size[0]}x{size[1]}"))
    return replace(base, patch=crop(inside))


def _plain(attributes: Mapping[str, Any]) -> bool:
    return isinstance(attributes.get("is_crowd", False), bool | int | str)


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        return (math.nan,) * count
    return tuple(map(number, value))


def _points(value: Any) -> Polygon:
    return np.array([number(v) for v in value] if isinstance(value, list) else [math.nan], np.float64)
