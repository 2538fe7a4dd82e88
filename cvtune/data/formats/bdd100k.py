"""BDD100K's and Scalabel's JSON: frames with labels of a box, polygons and lines with curves, or an RLE.

A file is a list of frames, or an object of `frames` and a `config` with the categories; BDD100K's first labels are a
file an image, whose frames have `objects` instead of `labels`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Dataset, Polygon
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import MOST_PIXELS, Entry, Shape, alphabetical, assemble, no_area
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.json_sets import detect_lists, find_lists
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.mask_images import crop
from cvtune.data.formats.texts import json_top, number, points_of, read_json, whole
from cvtune.data.geometry import rle_from_json, rle_to_mask
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.outlines import curve_points
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

GEOMETRY = ("box2d", "poly2d", "rle", "box3d", "graph")
CORNERS = ("x1", "y1", "x2", "y2")
CROWDS = frozenset({"crowd", "ignored"})
# What a frame says beside its labels.
OF_FRAME = frozenset({"labels", "attributes", "timestamp", "videoName", "frameIndex"})


@dataclass(frozen=True)
class _Frame:
    where: str
    file: Path
    name: str
    video: str
    url: str
    size_wh: tuple[int, int] | None
    labels: list[Any]
    extra: dict[str, Any]


@dataclass(frozen=True)
class _Picture:
    path: Path | None
    called: str
    size_wh: tuple[int, int] | None


@dataclass(frozen=True)
class _Set:
    frames: list[tuple[_Frame, _Picture]]
    categories: list[str]
    others: list[Path]  # JSON of another kind
    last: float  # what is to be added to x2 and y2
    why: str


def detect(path: Path) -> str | None:
    """Evidence that `path` is BDD100K's or Scalabel's: JSON with frames that have a name and labels."""
    return detect_lists(path, _accept, "frames and labels of BDD100K or Scalabel", ".json")


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below `path`, where all files lie in two or more, or the files that are called by splits."""
    return find_lists(path, _accept, ".json").subsets


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes, closed polygons with their curves, and masks; lines, points and boxes in space are dropped.

    Category ids are 1, 2, ... in the order of the file's own list (of its subcategories, where it has such), then over
    the sorted names that it lacks. Attributes `crowd` and `ignored` make a crowd, as in Scalabel's own conversion;
    `track_id` (the label's id; without a video `label_id`), `score` and `attributes` are in `Annotation.extra`,
    `video`, `frame` and `attributes` in `Image.extra`.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_lists(source.path, _accept, ".json")
    chosen = set(files.of_subset(source.subset))
    key = ("bdd100k", source.path, source.images)
    if key not in source.shared:
        source.shared[key] = _scan(files, source, receipt)
    scan: _Set = source.shared[key]
    for file in scan.others:
        if file in chosen:
            receipt.note("file-skipped", files.label(file), "no frames with labels")
    entries: list[Entry] = []
    names: set[str] = set()
    first, graphs = 1, 0
    for frame, picture in scan.frames:
        shapes = [_shape(label, frame, n, scan.last) for n, label in enumerate(frame.labels, start=1)]
        names.update(shape.name for shape in shapes if shape.name)
        if frame.file in chosen:
            graphs += sum(isinstance(label, dict) and bool(label.get("graph")) for label in frame.labels)
            entries.append(Entry(frame.where, picture.called, picture.size_wh, picture.path, shapes, frame.extra))
        elif not entries:
            first += 1
    if any(shape.box_xyxy is not None for entry in entries for shape in entry.shapes):
        receipt.note("box-layout-found", str(source.path), scan.why)
    if graphs:
        receipt.note("keypoints-lost", str(source.path), f"{graphs:,} labels have a graph of points")
    receipt.files += [file for file in files.files if file in chosen and file not in scan.others]
    categories = alphabetical(names, scan.categories)
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: Scalabel's own tools make it of COCO."""
    raise UnsupportedError("format: 'bdd100k' is read only; write `coco`, which Scalabel's own tools convert")


def _accept(file: Path) -> bool:
    top = json_top(file)
    if top is None:
        return False
    if top.is_list:
        return _are_frames(top.records)
    if "frames" not in top.keys:
        return {"name", "labels"} <= set(top.keys) and _has_geometry([{"labels": top.get("labels")}])
    frames = top.first("frames")
    if frames and all(isinstance(frame, dict) and isinstance(frame.get("objects"), list) for frame in frames):
        known = not any(frame["objects"] for frame in frames) or _has_geometry(frames)
        return known and isinstance(top.get("name"), str)
    return _are_frames(frames)


def _are_frames(records: Sequence[Any]) -> bool:
    """Whether records have names, and labels of the format's keys, or without labels other keys of its frames."""
    if not records or not all(isinstance(r, dict) and isinstance(r.get("name"), str) for r in records):
        return False
    if not all(isinstance(r.get("labels", []), list | None) for r in records):
        return False
    empty = not any(r.get("labels") for r in records)
    return all(len(OF_FRAME & r.keys()) > 1 for r in records) if empty else _has_geometry(records)


def _has_geometry(frames: Sequence[dict[str, Any]]) -> bool:
    labels = [label for frame in frames for label in (frame.get("labels") or frame.get("objects") or [])[:3]]
    return any(isinstance(label, dict) and not label.keys().isdisjoint(GEOMETRY) for label in labels)


def _scan(files: FileSet, source: ReadSource, receipt: Receipt) -> _Set:
    frames: list[_Frame] = []
    categories: dict[str, None] = {}
    others: list[Path] = []
    for file in files.files:
        document = read_json(file, receipt, files.label(file))
        found = document.get("frames", document) if isinstance(document, dict) else document
        listed = [found] if isinstance(found, dict) and ("labels" in found or "objects" in found) else found
        if not isinstance(listed, list) or (listed and not _is_frame(listed[0])):
            others.append(file)
            continue
        config = document.get("config") if isinstance(document, dict) else None
        config = config if isinstance(config, dict) else {}
        categories.update(dict.fromkeys(_leaves(config.get("categories"))))
        above = document.get("name") if isinstance(document, dict) else None
        size = _size(config.get("imageSize"))
        for n, record in enumerate(listed):
            if not _is_frame(record):
                raise DataError(f"{file}: frames[{n}] must be an object with 'name' and 'labels', got {record!r:.80}")
            frames.append(_frame(record, above, file, files.label(file), size))
    if len(others) == len(files.files):
        raise DataError(f"{source.path}: none of its {len(others)} .json files has frames with labels, as Scalabel's")
    finders = Finders(files.root, source.images, [f"{frame.video}/{frame.name}".lstrip("/") for frame in frames])
    names = Counter(frame.name for frame in frames)
    pairs = [(frame, _picture(frame, finders, names[frame.name] == 1)) for frame in frames]
    return _Set(pairs, list(categories), others, *_last_pixels(pairs))


def _is_frame(record: Any) -> bool:
    return isinstance(record, dict) and not record.keys().isdisjoint({"name", "labels", "objects"})


def _leaves(listed: Any) -> Iterator[str]:
    """The categories that have none below them."""
    for item in listed if isinstance(listed, list) else []:
        below = item.get("subcategories") if isinstance(item, dict) else None
        if below:
            yield from _leaves(below)
        elif isinstance(item, dict) and isinstance(item.get("name"), str) and item["name"].strip():
            yield item["name"].strip()


def _frame(record: dict[str, Any], above: Any, file: Path, label: str, size_wh: tuple[int, int] | None) -> _Frame:
    labels = record.get("labels", record.get("objects"))
    name = record.get("name", above)
    text = name if isinstance(name, str) else ""
    if "name" not in record and text and not text.lower().endswith(IMAGE_SUFFIXES):
        text += ".jpg"  # BDD100K's first labels name their video
    video, url = record.get("videoName", record.get("video_name")), record.get("url")
    video = video if isinstance(video, str) and "/" not in text else ""
    extra: dict[str, Any] = {"video": video} if video else {}
    index = record.get("frameIndex", record.get("index"))
    if video and isinstance(index, int):
        extra["frame"] = index
    if isinstance(record.get("attributes"), dict) and record["attributes"]:
        extra["attributes"] = record["attributes"]
    where = f"{label} {text or 'frame without a name'}"
    size = _size(record.get("size")) or size_wh
    url = url if isinstance(url, str) else ""
    return _Frame(where, file, text, video, url, size, labels if isinstance(labels, list) else [], extra)


def _size(value: Any) -> tuple[int, int] | None:
    value = value if isinstance(value, dict) else {}
    width, height = whole(value.get("width")), whole(value.get("height"))
    return (width, height) if width and height else None


def _picture(frame: _Frame, finders: Finders, alone: bool) -> _Picture:
    """The image; `alone` says that no other frame is called so, else it is known with its video's name only."""
    in_video = f"{frame.video}/{frame.name}" if frame.video else frame.name
    own = [frame.name] if alone or not frame.video else []
    for name in dict.fromkeys(filter(None, [in_video, *own, frame.url])):
        path, found = finders.find(name, frame.file)
        if path is not None:
            return _Picture(path, found, frame.size_wh or known_size(path))
    called = frame.name.rsplit("/", 1)[-1] if "://" in frame.name else [in_video, *own][-1]
    return _Picture(None, called, frame.size_wh)


def _last_pixels(frames: Sequence[tuple[_Frame, _Picture]]) -> tuple[float, str]:
    """(what is to be added to x2 and y2, and why): Scalabel's library counts the last pixel in, its tool does not."""
    at = beyond = fractions = 0
    for frame, picture in frames:
        for label in frame.labels:
            box = label.get("box2d") if isinstance(label, dict) else None
            if not isinstance(box, dict):
                continue
            corners = [number(box.get(key)) for key in CORNERS]
            fractions += any(math.isfinite(value) and not value.is_integer() for value in corners)
            for end, side in zip(corners[2:], picture.size_wh or (), strict=False):
                at += abs(end - (side - 1)) <= 0.01
                beyond += side - 0.99 < end < side + 1
    if at or beyond:
        seen = f"{beyond:,} end at the image's edge, {at:,} at its last pixel"
        return (0, f"x2 and y2 are edges: {seen}") if beyond >= at else (1, f"x2 and y2 are the last pixels: {seen}")
    if fractions:
        return 0, f"x2 and y2 are edges, as drawn in the tool: {fractions:,} boxes lie between whole pixels"
    return 1, "x2 and y2 are the last pixels, as Scalabel defines them: all are whole numbers"


def _shape(label: Any, frame: _Frame, number_of_label: int, last: float) -> Shape:
    where = f"{frame.where} label {number_of_label}"
    if not isinstance(label, dict):
        return Shape(where, None, fault=("value-malformed", f"a label must be an object, got {label!r:.60}"))
    category, attributes = label.get("category"), label.get("attributes")
    said = {"track_id" if frame.video else "label_id": label.get("id"), "score": label.get("score")}
    extra: dict[str, Any] = {key: value for key, value in said.items() if type(value) in {int, float, str}}
    attributes = attributes if isinstance(attributes, dict) else {}
    crowd = any(str(value).lower() == "true" for key, value in attributes.items() if key.lower() in CROWDS)
    if kept := {key: value for key, value in attributes.items() if key.lower() not in CROWDS}:
        extra["attributes"] = kept
    name = category.strip() or None if isinstance(category, str) else None
    base = Shape(where, name, iscrowd=crowd, extra=extra)
    if isinstance(label.get("rle"), dict):
        return _mask(base, label["rle"])
    if isinstance(label.get("poly2d"), list) and label["poly2d"]:
        outlined = _polygons(base, label["poly2d"])
        if outlined.fault is None or not isinstance(label.get("box2d"), dict):
            return outlined
    box = label.get("box2d")
    if isinstance(box, dict):
        x0, y0, x1, y1 = (number(box.get(key)) for key in CORNERS)
        return replace(base, box_xyxy=(x0, y0, x1 + last, y1 + last))
    if isinstance(label.get("box3d"), dict):
        return replace(base, fault=("shape-unknown", "a box3d, which has three dimensions"))
    if isinstance(label.get("graph"), dict):
        return replace(base, fault=no_area("graph of points"))
    return replace(base, fault=("box-missing", "no box2d, poly2d or rle"))


def _mask(base: Shape, rle: Mapping[str, Any]) -> Shape:
    size = rle.get("size")
    height, width = map(whole, size) if isinstance(size, list) and len(size) == 2 else (0, 0)
    if not 0 < height * width <= MOST_PIXELS:
        return replace(base, fault=("mask-invalid", f"rle of size {size!r:.40}"))
    try:
        inside = rle_to_mask(rle_from_json(rle, (height, width)))
    except DataError as error:
        return replace(base, fault=("mask-invalid", str(error)))
    return replace(base, patch=crop(inside))


def _polygons(base: Shape, parts: list[Any]) -> Shape:
    """The closed parts, all of one object; lines beside them are left out."""
    if all(isinstance(part, list) for part in parts):  # BDD100K's first labels: [x, y, "L"] each
        corners = [part[:2] for part in parts]
        types = "".join(part[2] if len(part) > 2 and isinstance(part[2], str) else "L" for part in parts)
        parts = [{"vertices": corners, "types": types, "closed": not str(base.name).startswith("lane")}]
    drawn = [part for part in parts if isinstance(part, dict)]
    closed = [part for part in drawn if part.get("closed") is not False]
    if not closed:
        return replace(base, fault=no_area("line") if drawn else ("value-malformed", f"poly2d={parts!r:.60}"))
    repairs = (("parts-lost", f"{len(drawn) - len(closed)} lines among polygons"),) if len(drawn) > len(closed) else ()
    outlines = tuple(_outline(points_of(part.get("vertices")), part.get("types")) for part in closed)
    return replace(base, polygons=outlines, repairs=repairs)


def _outline(corners: Polygon, types: Any) -> Polygon:
    """The polygon with its curves: a corner of type C, the next one and the one after that are a Bezier curve's.

    They are its two control points and its end; behind the last corner comes the first one again.
    """
    if not isinstance(types, str) or "C" not in types[1:]:
        return corners
    points = corners.reshape(-1, 2)
    around = np.concatenate([points, points[:1]])
    done: list[np.ndarray[Any, Any]] = [points[:1]]
    at = 1
    while at < len(points):
        if types[at : at + 1] == "C" and at + 2 < len(around):
            done.append(curve_points(around[at - 1 : at + 3]))
            at += 3
        else:
            done.append(points[at : at + 1])
            at += 1
    outline: Polygon = np.concatenate(done).reshape(-1)
    return outline
