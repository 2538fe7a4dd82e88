"""Supervisely: ``meta.json`` and ``<dataset>/ann/<image>.json`` beside ``<dataset>/img/<image>``."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Category, Dataset, Id
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import (
    MOST_PIXELS,
    Entry,
    Patch,
    Shape,
    alphabetical,
    assemble,
    classes_of,
    decode_png,
    no_area,
)
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.listing import walk
from cvtune.data.formats.mask_images import crop
from cvtune.data.formats.supervisely_write import write, write_part
from cvtune.data.formats.texts import json_top, points_of, read_json, whole
from cvtune.data.geometry import rings_to_rle, rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write", "write_part"]

NO_AREA = frozenset({"point", "line", "polyline", "graph", "cuboid", "cuboid_3d", "keypoints"})
DEEPEST = 9  # folders below the set's; one within another takes three
INFLATED = 1 << 27  # bytes that a bitmap may unpack to
SIZE = ("height", "width")


def detect(path: Path) -> str | None:
    """Evidence that `path` is a project or a dataset of Supervisely: JSON files with its size and objects."""
    if not path.is_dir():
        return None
    files = _files(path)
    looked = files[:: max(1, len(files) // 8)][:8]
    hits = sum(map(_is_supervisely, looked))
    if not hits or 2 * hits < len(looked):
        return None
    return f"{len(files):,} files in folders `ann` with Supervisely's size and objects"


def subsets(path: Path) -> tuple[str, ...]:
    """The datasets of a project, where there are several."""
    found = dict.fromkeys(map(_dataset, _files(path))) if path.is_dir() else {}
    return tuple(found) if len(found) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read rectangles, polygons (with holes, as masks) and bitmaps. Tags are in `Annotation.extra`.

    Category ids are those of meta.json where it has them, else 1, 2, ... in its order. Coordinates are taken as they
    stand, with continuous edges.

    Raises:
        DataError: there are no such files, JSON is malformed, or an unknown subset is asked for.
    """
    files = _files(source.path) if source.path.is_dir() else []
    if not files:
        raise DataError(f"{source.path}: no folder `ann` of JSON files; give the project's folder, with meta.json")
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    listed = _meta(source.path, files, receipt)
    entries: list[Entry] = []
    first = 1
    names: list[str] = []
    finders = Finders(
        source.path, source.images, beside=[str(p) for p in dict.fromkeys(f.parent.parent / "img" for f in files)]
    )
    for file in files:
        label = FileSet(source.path, ()).label(file)
        chosen = source.subset in {None, _dataset(file)}
        if not chosen and not entries:
            first += 1
        if not chosen and listed:
            continue
        record = read_json(file, receipt if chosen else None, label)
        if not isinstance(record, dict) or not isinstance(record.get("objects"), list):
            receipt.note("file-skipped", label, "it has no list of objects")
            continue
        size = _size(record.get("size"))
        shapes = [_shape(item, f"{label} objects[{i}]", size) for i, item in enumerate(record["objects"])]
        names += sorted(name for name in classes_of(shapes) if name)
        if not chosen:
            continue
        path, name = _image(file, source, finders, len(allowed) > 1)
        receipt.files.append(file)
        entries.append(Entry(label, name, size, path, shapes))
        if isinstance(record.get("tags"), list) and record["tags"]:
            receipt.note("image-tags-lost", label, f"{len(record['tags']):,} tags of the whole image")
    rest = [category.name for category in alphabetical(names) if category.name not in listed]
    ids = list(listed.values())
    if len(set(ids)) != len(ids) or None in ids or rest:
        ids = list(range(1, len(listed) + len(rest) + 1))
    categories = tuple(Category(i, name) for i, name in zip(ids, [*listed, *rest], strict=True) if i is not None)
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first)


def _files(path: Path) -> list[Path]:
    """The JSON files of all folders `ann` below a path, or of that folder: datasets may lie within datasets."""
    if path.name == "ann" and any(path.glob("*.json")):
        return sorted(path.glob("*.json"))
    found: list[Path] = []
    for above, _, files in walk(str(path)):
        if above and above[-1] == "ann" and len(above) <= DEEPEST:
            found += [path.joinpath(*above, name) for name in files if name.lower().endswith(".json")]
    return sorted(found)


def _dataset(file: Path) -> str:
    """The dataset of an annotation file; of one within another, both."""
    own = file.parent.parent
    above = own.parent.parent
    return f"{above.name}_{own.name}" if own.parent.name == "datasets" and (above / "ann").is_dir() else own.name


def _is_supervisely(file: Path) -> bool:
    top = json_top(file)
    if top is None or not {"size", "objects"} <= set(top.keys):
        return False
    return _size(top.get("size")) is not None and isinstance(top.get("objects"), list)


def _size(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, dict):
        return None
    height, width = (whole(value.get(key)) for key in SIZE)
    return (width, height) if height and width else None


def _meta(path: Path, files: Sequence[Path], receipt: Receipt) -> dict[str, Id | None]:
    """Class -> id or None, in meta.json's order; empty where there is none, in the set's folder or nearest to it."""
    below = [above for above in files[0].parents[1:] if above.is_relative_to(path)]
    folders = [path, *reversed(below), path.parent, path.parent.parent]
    file = next((f for folder in folders if (f := folder / "meta.json").is_file()), None)
    if file is None:
        return {}
    record = read_json(file, receipt, file.name)
    classes = record.get("classes") if isinstance(record, dict) else None
    if not isinstance(classes, list):
        raise DataError(f"{file}: 'classes' must be a list of objects with a title")
    receipt.files.append(file)
    found: dict[str, Id | None] = {}
    for item in classes:
        if isinstance(item, dict) and isinstance(item.get("title"), str) and item["title"]:
            found[item["title"]] = item["id"] if type(item.get("id")) is int else None
    return found


def _image(file: Path, source: ReadSource, finders: Finders, several: bool) -> tuple[Path | None, str]:
    """The image of an annotation file and what it is called: of its own dataset first, since datasets share names."""
    dataset = file.parent.parent
    own = file.name[: -len(".json")]
    if (found := dataset / "img" / own).is_file():
        return found, found.relative_to(source.path).as_posix() if several else own
    if source.images is not None and (found := source.images / dataset.name / own).is_file():
        return found, f"{dataset.name}/{own}"
    path, name = finders.find(own, file)
    return path, name if path is not None else f"{dataset.name}/{own}" if several else own


def _shape(item: Any, where: str, size: tuple[int, int] | None) -> Shape:
    if not isinstance(item, dict):
        return Shape(where, None, fault=("value-malformed", f"got {item!r:.80}"))
    title, kind = item.get("classTitle"), item.get("geometryType")
    tags = (
        [tag for tag in item.get("tags") or [] if isinstance(tag, dict)] if isinstance(item.get("tags"), list) else []
    )
    crowd = any(tag.get("name") == "iscrowd" for tag in tags)
    kept = [tag for tag in tags if tag.get("name") != "iscrowd"]
    base = Shape(where, title if isinstance(title, str) else None, iscrowd=crowd, extra={"tags": kept} if kept else {})
    if kind is None:
        kind = "bitmap" if item.get("bitmap") else "polygon" if item.get("points") else None
    if kind == "bitmap":
        return _bitmap(base, item.get("bitmap"))
    points = item.get("points")
    points = points if isinstance(points, dict) else {}
    exterior = points_of(points.get("exterior"))
    if kind == "rectangle":
        if len(exterior) != 4:
            return replace(base, fault=("box-not-numeric", f"exterior={points.get('exterior')!r:.80}"))
        x0, y0, x1, y1 = exterior.tolist()
        # Drawn from any corner.
        low, high = (min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))
        return replace(base, box_xyxy=(*low, *high) if math.isfinite(x0 + y0 + x1 + y1) else (x0, y0, x1, y1))
    if kind == "polygon":
        interior = points.get("interior")
        holes = [points_of(hole) for hole in interior] if isinstance(interior, list) else []
        holes = [hole for hole in holes if len(hole) >= 6 and np.isfinite(hole).all()]
        if not holes or size is None or size[0] * size[1] > MOST_PIXELS or not np.isfinite(exterior).all():
            return replace(base, polygons=(exterior,))
        inside = rle_to_mask(rings_to_rle([exterior], holes, (size[1], size[0])))
        if not inside.any():
            return replace(base, fault=("mask-empty", f"{len(exterior) // 2} corners, {len(holes)} holes"))
        return replace(base, patch=crop(inside))
    return replace(
        base, fault=no_area(str(kind)) if kind in NO_AREA else ("shape-unknown", f"geometryType={kind!r:.40}")
    )


def _bitmap(base: Shape, bitmap: Any) -> Shape:
    """A mask: base64 of zlib of a PNG, whose left upper pixel is at `origin`."""
    bitmap = bitmap if isinstance(bitmap, dict) else {}
    data, origin = bitmap.get("data"), bitmap.get("origin")
    if not isinstance(data, str) or not _is_place(origin):
        return replace(base, fault=("mask-invalid", f"origin={origin!r:.40}, data={type(data).__name__}"))
    try:
        packed = zlib.decompressobj()
        content = packed.decompress(base64.b64decode(data, validate=True), INFLATED)
    except (binascii.Error, ValueError, zlib.error) as error:
        return replace(base, fault=("mask-invalid", f"its bitmap cannot be unpacked: {' '.join(str(error).split())}"))
    inside = decode_png(content)
    if isinstance(inside, str):
        return replace(base, fault=("mask-invalid", inside))
    if not inside.any():
        return replace(base, fault=("mask-empty", f"{inside.shape[1]}x{inside.shape[0]}"))
    assert isinstance(origin, list)
    cut = crop(inside)
    return replace(base, patch=Patch(int(origin[0]) + cut.left, int(origin[1]) + cut.top, cut.mask_hw))


def _is_place(origin: Any) -> bool:
    if not isinstance(origin, Sequence) or len(origin) != 2:
        return False
    return all(type(value) in {int, float} and math.isfinite(value) and abs(value) < 1e6 for value in origin)
