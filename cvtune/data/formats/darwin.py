"""V7's Darwin JSON, versions 1.0 and 2.0: a file an image, with boxes, polygons of paths, ellipses, raster layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Dataset, Polygon
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import MOST_PIXELS, Entry, Patch, Shape, alphabetical, assemble, no_area
from cvtune.data.formats.file_sets import Finders, detected, find_files, read_documents
from cvtune.data.formats.mask_images import crop
from cvtune.data.formats.texts import json_top, number, whole
from cvtune.data.geometry import rle_to_mask, segmentation_to_rle
from cvtune.data.outlines import ellipse_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

NO_AREA = ("keypoint", "line", "skeleton", "link", "string")
KINDS = ("polygon", "ellipse", "bounding_box", "mask", *NO_AREA)
# Lists of V7's own, beside the annotations.
LISTS = ("metadata.json",)
# What is kept of an annotation beside its class and shape.
SAID = ("instance_id", "attributes", "properties", "text", "inference", "directional_vector")


@dataclass(frozen=True)
class _Slot:
    """An image of an item; `kind` is another word where it is none (video, pdf, dicom)."""

    name: str
    names: tuple[str, ...]
    kind: str
    size_wh: tuple[int, int] | None


def detect(path: Path) -> str | None:
    """Evidence that `path` is Darwin's: JSON with an item or image of V7 and its annotations."""
    return detected(path, _accept, "an item of V7 Darwin", ".json", deep=True, skip=LISTS)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below `path`, where all files lie in two or more."""
    return find_files(path, ".json", deep=True, skip=LISTS).subsets


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes, polygons, ellipses and masks; of videos, PDF and volumes the objects are dropped.

    Paths of a polygon that lie in each other make holes, and pixels then. Category ids are 1, 2, ... over the sorted
    names of all files. `instance_id`, `attributes`, `properties`, `text`, `inference` and `directional_vector` are in
    `Annotation.extra`.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_files(source.path, ".json", deep=True, skip=LISTS)
    chosen = set(files.of_subset(source.subset))
    documents = read_documents(files, chosen, receipt, _document, "no item or image with annotations")
    if not documents:
        raise DataError(f"{source.path}: none of its {len(files.files)} .json files is of V7 Darwin")
    slots = {file: _slots(document, file.stem) for file, document in documents.items()}
    finders = Finders(files.root, source.images, [slot.names[0] for found in slots.values() for slot in found])
    entries: list[Entry] = []
    names: set[str | None] = set()
    for file, document in documents.items():
        label = files.label(file)
        records = document["annotations"]
        names.update(_name(record) for record in records)
        if file not in chosen:
            continue
        objects = _by_slot(records, slots[file], label, receipt)
        for slot, shapes in zip(slots[file], objects, strict=True):
            if slot.kind == "image":
                path, called = _image(slot, finders, file)
                where = label if len(objects) == 1 else f"{label} slot {slot.name}"
                entries.append(Entry(where, called, slot.size_wh, path, shapes))
                continue
            receipt.note("file-skipped", label, f"slot {slot.name} is of type {slot.kind}, no image")
            for shape in shapes:
                receipt.count_in(0, {shape.name: 1})
                receipt.drop("shape-unknown", shape.where, f"it is in a {slot.kind}", shape.name)
    receipt.files += [file for file in documents if file in chosen]
    return assemble(entries, alphabetical(names), receipt, source=source.path)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: V7 imports COCO."""
    raise UnsupportedError("format: 'darwin' is read only; write `coco`, which V7 imports")


def _accept(file: Path) -> bool:
    top = json_top(file)
    if top is None or "annotations" not in top.keys:
        return False
    return _is_darwin({"annotations": [], **{key: top.get(key) for key in ("item", "image")}})


def _document(content: Any) -> dict[str, Any] | None:
    """The content of a file, where it is of this format."""
    return content if isinstance(content, dict) and _is_darwin(content) else None


def _is_darwin(document: Mapping[str, Any]) -> bool:
    if not isinstance(document.get("annotations"), list):
        return False
    item, image = document.get("item"), document.get("image")
    if isinstance(item, dict):
        return isinstance(item.get("slots"), list)
    return isinstance(image, dict) and not image.keys().isdisjoint({"original_filename", "filename"})


def _slots(document: Mapping[str, Any], stem: str) -> list[_Slot]:
    item = document.get("item")
    if not isinstance(item, dict):
        image = document["image"]
        kind = "video" if whole(image.get("frame_count")) > 1 or "frame_urls" in image else "image"
        stated = [image.get("filename"), image.get("original_filename")]
        return [_Slot("", _candidates(image.get("path"), stated, stem), kind, _size(image))]
    slots = []
    several = len(item["slots"]) > 1
    for n, slot in enumerate(item["slots"]):
        slot = slot if isinstance(slot, dict) else {}
        sources = slot.get("source_files")
        first = sources[0] if isinstance(sources, list) and sources else {}
        own = first.get("file_name") if isinstance(first, dict) else first
        stated = [own] if several else [item.get("name"), own]
        kind, name = str(slot.get("type") or "image")[:20], slot.get("slot_name")
        names = _candidates(item.get("path"), stated, f"{stem}_{n}" if several else stem)
        slots.append(_Slot(name if isinstance(name, str) else str(n), names, kind, _size(slot)))
    return slots


def _candidates(above: Any, stated: list[Any], stem: str) -> tuple[str, ...]:
    """What the image may be called: with the folders that the tool keeps it in, and its name alone."""
    plain = [name for name in stated if isinstance(name, str) and name] or [stem]
    folder = above.strip("/") if isinstance(above, str) else ""
    return tuple(dict.fromkeys([f"{folder}/{name}".lstrip("/") for name in plain]))


def _size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = whole(record.get("width")), whole(record.get("height"))
    return (width, height) if width and height else None


def _image(slot: _Slot, finders: Finders, file: Path) -> tuple[Path | None, str]:
    for name in slot.names:
        path, called = finders.find(name, file)
        if path is not None:
            return path, called
    return None, slot.names[0]


def _name(record: Any) -> str | None:
    name = record.get("name") if isinstance(record, dict) else None
    if not isinstance(name, str) or "raster_layer" in record or "tag" in record:
        return None
    return name.strip() or None


def _by_slot(records: list[Any], slots: list[_Slot], label: str, receipt: Receipt) -> list[list[Shape]]:
    """The objects of each slot."""
    numbers = {slot.name: n for n, slot in enumerate(slots)}
    found: list[list[Shape]] = [[] for _ in slots]
    layers: dict[str, tuple[Any, int]] = {}
    tags: list[str] = []
    members: list[tuple[int, str, Any]] = []
    for n, record in enumerate(records, start=1):
        where = f"{label} annotation {n}"
        place = record.get("slot_names") if isinstance(record, dict) else None
        named = [name for name in place if isinstance(name, str)] if isinstance(place, list) else []
        slot = next((numbers[name] for name in named if name in numbers), 0)
        if isinstance(record, dict) and "tag" in record:
            tags.append(str(record.get("name"))[:40])
        elif isinstance(record, dict) and isinstance(record.get("raster_layer"), dict):
            for key, value in _mapping(record["raster_layer"]).items():
                layers[key] = (record["raster_layer"], value)
        elif slots:
            members.append((slot, where, record))
        else:
            receipt.count_in(0, {_name(record): 1})
            receipt.drop("image-not-listed", where, "the item has no slot with an image", _name(record))
    if tags:
        receipt.note("image-tags-lost", label, ", ".join(tags)[:200])
    rasters = _Layers()
    for slot, where, record in members:
        found[slot].append(_shape(record, where, slots[slot].size_wh, layers, rasters))
    return found


def _mapping(layer: Mapping[str, Any]) -> dict[str, int]:
    said = layer.get("mask_annotation_ids_mapping")
    pairs = said.items() if isinstance(said, dict) else ()
    return {key: value for key, value in pairs if type(value) is int}


class _Layers:
    """The raster layers of a file, each checked once."""

    def __init__(self) -> None:
        self._runs: dict[int, NDArray[np.int64] | str] = {}

    def mask(self, layer: Mapping[str, Any], value: int, size_wh: tuple[int, int]) -> NDArray[np.bool_] | str:
        """Where a layer holds a value, bool [h, w], or what is wrong, in words."""
        if id(layer) not in self._runs:
            self._runs[id(layer)] = _runs(layer.get("dense_rle"), size_wh)
        runs = self._runs[id(layer)]
        if isinstance(runs, str):
            return runs
        return np.repeat(runs[:, 0] == value, runs[:, 1]).reshape(size_wh[::-1])


def _runs(listed: Any, size_wh: tuple[int, int]) -> NDArray[np.int64] | str:
    """Pairs of a value and how many pixels have it, along rows: int64 [n, 2]."""
    width, height = size_wh
    if not isinstance(listed, list) or len(listed) % 2 or not all(type(v) is int and 0 <= v < 2**40 for v in listed):
        return "dense_rle is no list of pairs of whole numbers"
    pairs = np.array(listed, np.int64).reshape(-1, 2)
    total = int(pairs[:, 1].sum())
    if total != width * height or total > MOST_PIXELS:
        return f"dense_rle holds {total:,} pixels, not {width} x {height}"
    return pairs


def _shape(
    record: Any, where: str, size_wh: tuple[int, int] | None, layers: Mapping[str, tuple[Any, int]], rasters: _Layers
) -> Shape:
    if not isinstance(record, dict):
        return Shape(where, None, fault=("value-malformed", f"an annotation must be an object, got {record!r:.60}"))
    extra = {key: record[key] for key in SAID if record.get(key) not in (None, [], {}, "")}
    instance = extra.get("instance_id")
    if isinstance(instance, dict) and "value" in instance:
        extra["instance_id"] = instance["value"]
    if isinstance(text := extra.get("text"), dict) and "text" in text:
        extra["text"] = text["text"]
    base = Shape(where, _name(record), extra=extra)
    kind = next((kind for kind in KINDS if kind in record), None)
    value = record.get(kind) if kind else None
    if kind in NO_AREA:
        return replace(base, fault=no_area(kind))
    if kind == "mask":
        return _mask(base, layers.get(str(record.get("id"))), size_wh, rasters)
    if kind == "polygon" and isinstance(value, dict):
        return _polygon(base, list(_paths(value)), size_wh)
    if kind == "ellipse" and isinstance(value, dict):
        return _ellipse(base, value)
    if kind == "bounding_box" and isinstance(value, dict):
        x, y, w, h = (number(value.get(key)) for key in ("x", "y", "w", "h"))
        return replace(base, box_xyxy=(x, y, x + w, y + h))
    kinds = ", ".join(key for key in record if key not in {"id", "name", "slot_names", *SAID})
    return replace(base, fault=("shape-unknown", f"got {kinds or 'no shape'}"[:100]))


def _mask(base: Shape, layer: tuple[Any, int] | None, size_wh: tuple[int, int] | None, rasters: _Layers) -> Shape:
    if layer is None or size_wh is None:
        missing = "no raster layer holds it" if layer is None else "the image's size is not stated"
        return replace(base, fault=("mask-invalid", missing))
    inside = rasters.mask(*layer, size_wh)
    if isinstance(inside, str):
        return replace(base, fault=("mask-invalid", inside))
    return replace(base, patch=crop(inside)) if inside.any() else replace(base, fault=("mask-empty", "no pixel has it"))


def _paths(polygon: Mapping[str, Any]) -> Iterator[Polygon]:
    """2.0: `paths`; 1.0: `path`, which in complex polygons is a list of paths, and `additional_paths`."""
    listed = polygon.get("paths", polygon.get("path"))
    listed = listed if isinstance(listed, list) else []
    paths = listed if listed and isinstance(listed[0], list) else [listed]
    more = polygon.get("additional_paths")
    for path in [*paths, *(more if isinstance(more, list) else [])]:
        corners = [corner if isinstance(corner, dict) else {} for corner in path] if isinstance(path, list) else []
        yield np.array([number(corner.get(key)) for corner in corners for key in "xy"], np.float64)


def _polygon(base: Shape, paths: list[Polygon], size_wh: tuple[int, int] | None) -> Shape:
    """The paths as parts; where they cover each other, pixels that lie in an odd number of them."""
    usable = [path for path in paths if len(path) >= 6 and np.isfinite(path).all()]
    if len(usable) < 2 or size_wh is None or size_wh[0] * size_wh[1] > MOST_PIXELS or not _touch(usable):
        return replace(base, polygons=tuple(paths))
    corners = np.concatenate(usable).reshape(-1, 2)
    left, top = (int(v) for v in np.clip(np.floor(corners.min(axis=0)), 0, size_wh))
    right, bottom = (int(v) for v in np.clip(np.ceil(corners.max(axis=0)), 0, size_wh))
    size_hw = bottom - top, right - left
    if min(size_hw) < 1:
        return replace(base, polygons=tuple(paths))
    odd, some = np.zeros(size_hw, np.bool_), np.zeros(size_hw, np.bool_)
    for path in usable:
        inside = rle_to_mask(segmentation_to_rle((path - np.tile((left, top), len(path) // 2),), size_hw))
        odd ^= inside
        some |= inside
    if (odd == some).all() or not odd.any():
        return replace(base, polygons=tuple(paths))
    cut = crop(odd)
    repairs = (("mask-rasterised", f"{len(usable)} paths that lie in each other, with holes"),)
    return replace(base, patch=Patch(left + cut.left, top + cut.top, cut.mask_hw), repairs=repairs)


def _touch(paths: list[Polygon]) -> bool:
    """Whether the boxes around any two of the paths overlap."""
    corners = [path.reshape(-1, 2) for path in paths]
    low = np.array([path.min(axis=0) for path in corners])
    high = np.array([path.max(axis=0) for path in corners])
    return any(((low[:n] < high[n]) & (low[n] < high[:n])).all(axis=1).any() for n in range(1, len(paths)))


def _ellipse(base: Shape, value: Mapping[str, Any]) -> Shape:
    """An ellipse turned by an angle in radians."""
    centre, radius = value.get("center"), value.get("radius")
    centre, radius = (part if isinstance(part, dict) else {} for part in (centre, radius))
    numbers = [number(part.get(key)) for part in (centre, radius) for key in "xy"]
    angle = number(value.get("angle", 0))
    cx, cy, rx, ry = numbers
    if not all(map(math.isfinite, [*numbers, angle])) or min(rx, ry) <= 0 or max(map(abs, numbers)) > 1e9:
        return replace(base, fault=("mask-degenerate", f"an ellipse {cx:g}, {cy:g} of {rx:g} x {ry:g}"))
    detail = f"an ellipse of half axes {rx:g}, {ry:g} about {cx:g}, {cy:g}"
    polygon = ellipse_polygon(cx, cy, rx, ry, math.degrees(angle))
    return replace(base, polygons=(polygon,), repairs=(("shape-approximated", detail),))
