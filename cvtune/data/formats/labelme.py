"""LabelMe JSON (the desktop tool, and those that write its files): one file an image."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Dataset, Polygon
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Patch, Shape, alphabetical, assemble, classes_of, decode_png, no_area
from cvtune.data.formats.file_sets import FileSet, Finders, detected, find_files
from cvtune.data.formats.groups import join_groups
from cvtune.data.formats.labelme_write import write
from cvtune.data.formats.texts import json_top, points_of, read_json, whole
from cvtune.data.images import size_of_content
from cvtune.data.outlines import ellipse_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["detect", "embedded_images", "read", "subsets", "write"]

NO_AREA = frozenset({"point", "points", "line", "linestrip"})
NO_AREA_FAULT = no_area("point")[0]
ROTATED = frozenset({"rotation", "oriented_rectangle", "quadrilateral"})
# Fields of a shape that X-AnyLabeling adds.
OF_TOOLS = {"score": float, "difficult": bool, "attributes": dict}


@dataclass(frozen=True)
class _Scan:
    """A folder as parsed: the set, its images by file, and the files of another kind."""

    files: FileSet
    entries: dict[Path, Entry]
    skipped: tuple[Path, ...]


def detect(path: Path) -> str | None:
    """Evidence that `path` is LabelMe: JSON files with shapes and the image's path, data or height."""
    return detected(path, _is_labelme, "shapes and imagePath", ".json", deep=True)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits that the files lie in."""
    return find_files(path, ".json", deep=True).splits


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a file, a folder of files, or a folder of folders.

    Category ids are 1, 2, ... over the sorted labels of shapes with an area. A rectangle has no mask, circles become
    polygons, shapes of one label and group_id are one object; points and lines are dropped. `group_id`, `description`,
    `flags` and X-AnyLabeling's `score`, `difficult` and `attributes` are in `Annotation.extra`; a flag `iscrowd` is
    COCO's. `where` counts shapes from 1.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    key = ("labelme", source.path, source.images)
    if key not in source.shared:
        source.shared[key] = _scan(source, receipt)
    scan: _Scan = source.shared[key]
    for file in scan.skipped:
        receipt.note("file-skipped", scan.files.label(file), "no shapes and imagePath")
    chosen = [file for file in scan.files.of_subset(source.subset) if file in scan.entries]
    receipt.files += chosen
    categories = alphabetical(name for entry in scan.entries.values() for name in classes_of(entry.shapes))
    return assemble([scan.entries[file] for file in chosen], categories, receipt, source=source.path)


def embedded_images(source: ReadSource) -> Iterator[tuple[str, bytes]]:
    """(the name that `read` gave it, its content) of the images inside of the files.

    Raises:
        DataError: a file is no JSON, or the subset is unknown.
    """
    files = find_files(source.path, ".json", deep=True)
    finders = Finders(files.root, source.images, map(files.label, files.files))
    for file in files.of_subset(source.subset):
        document = read_json(file)
        if isinstance(document, dict) and (content := _content(document.get("imageData"))):
            yield _found(document, file, finders)[1], content


def _found(document: dict[str, Any], file: Path, finders: Finders) -> tuple[Path | None, str]:
    stated = document.get("imagePath")
    return finders.find(stated if isinstance(stated, str) else "", file, stem=True)


def _content(data: Any) -> bytes | None:
    """An image in base64, as many tools write it with the head of a data URL; None where it is none."""
    try:
        return base64.b64decode(data.rpartition(",")[2]) if isinstance(data, str) else None
    except (binascii.Error, ValueError):
        return None


def _scan(source: ReadSource, receipt: Receipt) -> _Scan:
    files = find_files(source.path, ".json", deep=True)
    finders = Finders(files.root, source.images, map(files.label, files.files))
    entries: dict[Path, Entry] = {}
    skipped: list[Path] = []
    for file in files.files:
        document = read_json(file, receipt, files.label(file))
        if isinstance(document, dict) and "shapes" in document:
            entries[file] = _entry(document, file, files.label(file), finders)
        else:
            skipped.append(file)
    if not entries:
        raise DataError(f"{source.path}: none of its {len(files.files)} .json files is of LabelMe (with 'shapes')")
    return _Scan(files, entries, tuple(skipped))


def _is_labelme(file: Path) -> bool:
    top = json_top(file)
    return top is not None and "shapes" in top.keys and bool({"imagePath", "imageData", "imageHeight"} & set(top.keys))


def _entry(document: dict[str, Any], file: Path, label: str, finders: Finders) -> Entry:
    records = document["shapes"]
    if not isinstance(records, list):
        raise DataError(f"{file}: 'shapes' must be a list, got {type(records).__name__}")
    path, name = _found(document, file, finders)
    data = document.get("imageData")
    embedded = isinstance(data, str) and len(data) > 0
    size: tuple[int, int] | None = (whole(document.get("imageWidth")), whole(document.get("imageHeight")))
    if size is not None and 0 in size:
        size = size_of_content(_content(data) or b"") if path is None else None
    flags = document.get("flags")
    extra = {"flags": flags} if isinstance(flags, dict) and any(flags.values()) else {}
    shapes = [_shape(record, f"{label} shape {n}") for n, record in enumerate(records, start=1)]
    return Entry(label, name, size, path, join_groups(shapes), extra, embedded)


def _shape(record: Any, where: str) -> Shape:
    if not isinstance(record, dict):
        return Shape(where, None, fault=("value-malformed", f"a shape must be an object, got {record!r:.60}"))
    label = record.get("label")
    name = None if label is None or isinstance(label, dict | list) else str(label).strip() or None
    kind = record.get("shape_type", "polygon")
    kind = kind.lower() if isinstance(kind, str) else "polygon" if kind is None else repr(kind)
    points = points_of(record.get("points"))
    extra = {key: record[key] for key in ("group_id", "description") if record.get(key) not in (None, "")}
    extra |= {key: record[key] for key, kind in OF_TOOLS.items() if isinstance(record.get(key), kind) and record[key]}
    flags = record.get("flags")
    crowd = isinstance(flags, dict) and flags.get("iscrowd") is True
    if isinstance(flags, dict) and (kept := {k: v for k, v in flags.items() if v and k != "iscrowd"}):
        extra["flags"] = kept
    shape = Shape(where, name, iscrowd=crowd, extra=extra)
    if kind in NO_AREA:
        return replace(shape, fault=no_area(kind))
    if kind == "mask":
        return _mask(shape, record.get("mask"), points)
    if kind == "rectangle":
        if len(points) not in {4, 8} or not np.isfinite(points).all():
            return replace(shape, fault=("box-not-numeric", f"a rectangle needs 2 points, got {_said(record)}"))
        x, y = points[::2], points[1::2]
        return replace(shape, box_xyxy=(float(x.min()), float(y.min()), float(x.max()), float(y.max())))
    if kind == "circle":
        if len(points) != 4 or not np.isfinite(points).all() or np.abs(points).max() > 1e9:
            return replace(shape, fault=("mask-degenerate", f"a circle needs 2 points, got {_said(record)}"))
        cx, cy, x, y = points.tolist()
        radius = math.hypot(x - cx, y - cy)
        detail = f"a circle of radius {radius:g} about {cx:g}, {cy:g}"
        return replace(
            shape,
            polygons=(ellipse_polygon(cx, cy, radius, radius),),
            repairs=(("shape-approximated", detail),),
        )
    if kind == "polygon" or kind in ROTATED:
        repairs = (("rotation-as-polygon", f"its {len(points) // 2} corners"),) if kind in ROTATED else ()
        return replace(shape, polygons=(points,), repairs=repairs)
    return replace(shape, fault=("shape-unknown", f"shape_type {kind!r:.60}"))


def _mask(shape: Shape, data: Any, points: Polygon) -> Shape:
    """A mask in a PNG in base64, cut out at its first point."""
    if not isinstance(data, str) or len(points) < 2 or not np.isfinite(points[:2]).all() or np.abs(points).max() > 1e6:
        return replace(shape, fault=("mask-invalid", "a mask needs 2 points and a PNG in base64"))
    try:
        mask = decode_png(base64.b64decode(data))
    except (binascii.Error, ValueError) as error:
        return replace(shape, fault=("mask-invalid", f"no base64: {error}"))
    if isinstance(mask, str):
        return replace(shape, fault=("mask-invalid", mask))
    return replace(shape, patch=Patch(round(float(points[0])), round(float(points[1])), mask))


def _said(record: dict[str, Any]) -> str:
    return f"{record.get('points')!r:.80}"
