"""VoTT's JSON: one export of all assets (``vott-json-export``), or a file an asset (``*-asset.json``)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble, classes_of, no_area
from cvtune.data.formats.file_sets import FileSet, Finders, parts_of
from cvtune.data.formats.texts import json_top, number, read_json, whole
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

NO_AREA = frozenset({"POINT", "POLYLINE"})
ASSET = "-asset.json"
VIDEO = 2  # the type of an asset that is one


def detect(path: Path) -> str | None:
    """Evidence that `path` is VoTT: JSON with assets that have regions."""
    files = _files(path)
    return f"{files[0].name}{' and more' if len(files) > 1 else ''} with VoTT's assets and regions" if files else None


def subsets(path: Path) -> tuple[str, ...]:
    """The splits that several exports are named after; one export has no parts."""
    return tuple(dict.fromkeys(_parts(path, _files(path))))


def _parts(path: Path, files: list[Path]) -> tuple[str, ...]:
    """The part of each of several exports."""
    exports = [file.relative_to(path).parts for file in files if path.is_dir() and not file.name.endswith(ASSET)]
    return parts_of(exports, by_stem=True) if len(exports) == len(files) else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read rectangles and polygons. An object of several tags is of the first; the receipt says so.

    Category ids are 1, 2, ... in the order of the project's tags, or over the sorted tags where it does not list them.

    Raises:
        DataError: there is no such file, or JSON is malformed.
    """
    files = _files(source.path)
    if not files:
        raise DataError(f"{source.path}: no JSON file with VoTT's assets and regions")
    chosen = FileSet(source.path, tuple(files), _parts(source.path, files)).of_subset(source.subset)
    root = source.path if source.path.is_dir() else source.path.parent
    tags: dict[str, None] = {}
    assets: list[tuple[Path, str, dict[str, Any]]] = []
    for file in files:
        label = FileSet(root, ()).label(file)
        record = read_json(file, receipt, label)
        if file in chosen:
            receipt.files.append(file)
        for tag in _list(record, "tags"):
            if isinstance(tag, dict) and isinstance(tag.get("name"), str) and tag["name"]:
                tags[tag["name"]] = None
        assets += [(file, f"{label} {place}".strip(), asset) for place, asset in _assets(record)]
    names = [_name(asset) for _, _, asset in assets]
    finders = Finders(root, source.images, names, beside=["source", "assets"])
    entries: list[Entry] = []
    named: set[str | None] = set()
    videos: list[str] = []
    for (file, where, asset), name in zip(assets, names, strict=True):
        if asset["asset"].get("type") == VIDEO and not asset["regions"]:  # its frames are assets of their own
            videos += [where] if file in chosen else []
            continue
        path, called = finders.find(name, file)
        said = asset["asset"].get("size")
        size = (whole(said.get("width")), whole(said.get("height"))) if isinstance(said, dict) else (0, 0)
        shapes = [_shape(region, f"{where} regions[{i}]") for i, region in enumerate(asset["regions"])]
        named |= classes_of(shapes)
        if file in chosen:
            entries.append(Entry(where, called if path else name, size if all(size) else None, path, shapes))
    if videos:
        receipt.note("file-skipped", videos[0], f"{len(videos):,} assets are videos; their frames are read")
    return assemble(entries, alphabetical(named, tags), receipt, source=source.path)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: VoTT is no longer made."""
    raise UnsupportedError("format: 'vott' is read only; write `csv`, whose columns VoTT's own table has, or `coco`")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _is_vott(path) else []
    for pattern in ("*.json", "vott-json-export/*.json", "*/*.json"):
        found = sorted(path.glob(pattern))
        looked = found[:: max(1, len(found) // 8)][:8]
        if any(map(_is_vott, looked)):
            exports = [file for file in found if not file.name.endswith(ASSET) and _is_vott(file)]
            return exports or [file for file in found if _is_vott(file)]
    return []


def _is_vott(file: Path) -> bool:
    top = json_top(file)
    if top is None:
        return False
    if {"asset", "regions"} <= set(top.keys):
        return isinstance(top.get("asset"), dict)
    assets = top.get("assets") if "assets" in top.keys else None
    if not isinstance(assets, dict):
        return False
    first = next(iter(assets.values()), None)
    return isinstance(first, dict) and isinstance(first.get("asset"), dict) and isinstance(first.get("regions"), list)


def _list(record: Any, key: str) -> list[Any]:
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, list) else []


def _assets(record: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what it is called in the file, the asset with a list of regions)."""
    record = record if isinstance(record, dict) else {}
    listed = record.get("assets")
    pairs = listed.items() if isinstance(listed, dict) else [("", record)]
    for key, asset in pairs:
        if isinstance(asset, dict) and isinstance(asset.get("asset"), dict):
            yield (f"asset {key}" if key else ""), {"asset": asset["asset"], "regions": _list(asset, "regions")}


def _name(asset: dict[str, Any]) -> str:
    """The image's name; that of a video's frame, which VoTT writes as a file of its own, too."""
    name, path = asset["asset"].get("name"), asset["asset"].get("path")
    text = name if isinstance(name, str) and name else str(path or "").rsplit("/", 1)[-1]
    return unquote(text)


def _shape(region: Any, where: str) -> Shape:
    if not isinstance(region, dict):
        return Shape(where, None, fault=("value-malformed", f"got {region!r:.80}"))
    tags = [tag for tag in _list(region, "tags") if isinstance(tag, str) and tag]
    name = tags[0] if tags else None
    repairs = (("class-several", ", ".join(tags)[:200]),) if len(tags) > 1 else ()
    kind = region.get("type", "RECTANGLE")
    points = [(number(p.get("x")), number(p.get("y"))) for p in _list(region, "points") if isinstance(p, dict)]
    if kind == "POLYGON":
        flat = np.array([value for point in points for value in point], np.float64)
        return Shape(where, name, polygons=(flat,), repairs=repairs)
    if kind in NO_AREA:
        return Shape(where, name, fault=no_area(str(kind).lower()))
    box = region.get("boundingBox")
    if kind not in {"RECTANGLE", "SQUARE"} or not isinstance(box, dict):
        code = "box-missing" if kind in {"RECTANGLE", "SQUARE"} else "shape-unknown"
        return Shape(where, name, fault=(code, f"type={kind!r:.40}, boundingBox={box!r:.40}"))
    x, y, w, h = (number(box.get(key)) for key in ("left", "top", "width", "height"))
    if not math.isfinite(x + y + w + h):
        return Shape(where, name, fault=("box-not-numeric", f"boundingBox={box!r:.100}"))
    return Shape(where, name, (x, y, x + w, y + h), repairs=repairs)
