"""The files of VGG Image Annotator as plain records: versions 1 to 3, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cvtune.data.formats.texts import json_top, read_json, read_text
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["ViaImage", "ViaRegion", "is_via", "read_via"]

PROJECT = "_via_img_metadata"
VERSION_3 = frozenset({"project", "file", "metadata", "view"})
# Version 3 numbers its shapes; the names are those of version 2, the keys what the numbers after it mean.
SHAPES_3: Mapping[int, tuple[str, tuple[str, ...]]] = {
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
    5: ("line", ()),
    6: ("polyline", ()),
    7: ("polygon", ()),
}
SHAPE_COLUMN, ATTRIBUTE_COLUMN = "region_shape_attributes", "region_attributes"
LONGEST_FIELD = 2**30


@dataclass(frozen=True, slots=True)
class ViaRegion:
    """One region: `shape` as version 2 has it, with the key `name`; `fault` says what cannot be read of it."""

    where: str
    shape: Mapping[str, Any]
    attributes: Mapping[str, Any]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ViaImage:
    """One image, its regions and its own attributes."""

    where: str
    file_name: str
    regions: tuple[ViaRegion, ...]
    attributes: Mapping[str, Any]


def is_via(file: Path) -> bool:
    """Whether a file is VIA's, by its keys or its header."""
    if file.suffix.lower() == ".csv":
        try:
            text = read_text(file)
        except DataError:
            return False
        return SHAPE_COLUMN in text[:10_000] or "CSV_HEADER = metadata_id" in text[:100_000]
    top = json_top(file)
    if top is None or top.is_list:
        return False
    if PROJECT in top.keys or set(top.keys) >= VERSION_3:
        return True
    first = top.get(top.keys[0]) if top.keys else None
    return isinstance(first, dict) and "filename" in first and "regions" in first


def read_via(file: Path, label: str, receipt: Receipt) -> list[ViaImage]:
    """The images of a file.

    Raises:
        DataError: it is malformed.
    """
    if file.suffix.lower() == ".csv":
        text = read_text(file, receipt, label)
        return _csv_3(file, label, text) if "CSV_HEADER = metadata_id" in text else _csv_2(file, label, text)
    document = read_json(file, receipt, label)
    if not isinstance(document, dict):
        raise DataError(f"{file}: not of VIA: expected an object, got {type(document).__name__}")
    if set(document) >= VERSION_3:
        return _json_3(document, file, label)
    records = document.get(PROJECT, document)
    if not isinstance(records, dict):
        raise DataError(f"{file}: {PROJECT!r} must be an object, got {type(records).__name__}")
    return [_image(record, file, label, key) for key, record in records.items() if not key.startswith("_via_")]


def _image(record: Any, file: Path, label: str, key: str) -> ViaImage:
    if not isinstance(record, dict) or not isinstance(record.get("filename"), str) or not record["filename"].strip():
        raise DataError(f"{file}: {key!r:.80} must be an object with a 'filename', as VIA writes; got {record!r:.60}")
    regions = record.get("regions") or []
    if isinstance(regions, dict):  # version 1 numbers them
        regions = list(regions.values())
    if not isinstance(regions, list):
        raise DataError(f"{file}: {key!r:.80}: 'regions' must be a list, got {type(regions).__name__}")
    name = _base(record["filename"])
    where = f"{label} {name}"
    found = [_region(region, f"{where} region {n}") for n, region in enumerate(regions, start=1)]
    return ViaImage(where, name, tuple(found), _object(record.get("file_attributes")))


def _region(region: Any, where: str) -> ViaRegion:
    if not isinstance(region, dict):
        return ViaRegion(where, {}, {}, f"a region must be an object, got {region!r:.60}")
    shape = region.get("shape_attributes")
    attributes = _object(region.get("region_attributes"))
    if not isinstance(shape, dict):
        return ViaRegion(where, {}, attributes, f"shape_attributes must be an object, got {shape!r:.60}")
    return ViaRegion(where, shape, attributes)


def _csv_2(file: Path, label: str, text: str) -> list[ViaImage]:
    rows = _rows(file, text)
    header = [column.strip().lstrip("#").strip() for column in (rows[0] if rows else [])]
    if SHAPE_COLUMN not in header or "filename" not in header:
        raise DataError(f"{file}: not of VIA: line 1 must name filename and {SHAPE_COLUMN}, got {header!r:.120}")
    images: dict[str, list[ViaRegion]] = {}
    extra: dict[str, Mapping[str, Any]] = {}
    for row in rows[1:]:
        values = dict(zip(header, row, strict=False))
        name = _base(values["filename"])
        if not name.strip():
            continue
        regions = images.setdefault(name, [])
        extra.setdefault(name, _object(_cell(values.get("file_attributes", ""))))
        shape = _cell(values.get(SHAPE_COLUMN, ""))
        if shape == {}:
            continue
        where = f"{label} {name} region {len(regions) + 1}"
        attributes = _cell(values.get(ATTRIBUTE_COLUMN, ""))
        fault = "" if isinstance(shape, dict) else f"{SHAPE_COLUMN} is no JSON object: {values.get(SHAPE_COLUMN)!r:.60}"
        regions.append(ViaRegion(where, _object(shape), _object(attributes), fault))
    return [ViaImage(f"{label} {name}", name, tuple(regions), extra[name]) for name, regions in images.items()]


def _json_3(document: Mapping[str, Any], file: Path, label: str) -> list[ViaImage]:
    files, views, metadata = (_object(document.get(key)) for key in ("file", "view", "metadata"))
    attributes = _object(document.get("attribute"))
    names: dict[str, str] = {}
    for view_id, view in views.items():
        listed = _object(view).get("fid_list")
        first = _object(files.get(str(listed[0]))) if isinstance(listed, list) and listed else {}
        name = first.get("fname")
        if isinstance(name, str) and name.strip():
            names[view_id] = _base(name)
    if views and not names:
        raise DataError(f"{file}: none of its {len(views)} views names a file with an 'fname'")
    regions: dict[str, list[ViaRegion]] = {view_id: [] for view_id in names}
    own: dict[str, Mapping[str, Any]] = {}
    for key, record in metadata.items():
        values = _object(record)
        view_id = str(values.get("vid"))
        if view_id not in names:
            continue
        said = _named(_object(values.get("av")), attributes)
        if not values.get("xy"):
            own[view_id] = {**own.get(view_id, {}), **said}
            continue
        where = f"{label} {names[view_id]} region {len(regions[view_id]) + 1} ({key})"
        regions[view_id].append(_region_3(where, values["xy"], said))
    return [ViaImage(f"{label} {names[v]}", names[v], tuple(regions[v]), own.get(v, {})) for v in names]


def _csv_3(file: Path, label: str, text: str) -> list[ViaImage]:
    attributes: Mapping[str, Any] = {}
    body: list[str] = []
    for line in text.splitlines():
        if line.startswith("# ATTRIBUTE = "):
            attributes = _object(_cell(line.partition("=")[2]))
        elif not line.startswith("#"):
            body.append(line)
    images: dict[str, list[ViaRegion]] = {}
    own: dict[str, Mapping[str, Any]] = {}
    for n, row in enumerate(_rows(file, "\n".join(body)), start=1):
        if len(row) < 6:
            raise DataError(f"{file}: row {n} has {len(row)} columns; expected metadata_id to metadata, which are 6")
        listed = _cell(row[1])
        name = listed[0] if isinstance(listed, list) and listed else listed
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{file}: row {n} names no file, got {row[1]!r:.60}")
        name = _base(name)
        regions = images.setdefault(name, [])
        said = _named(_object(_cell(row[5])), attributes)
        xy = _cell(row[4])
        if not xy:
            own[name] = {**own.get(name, {}), **said}
            continue
        regions.append(_region_3(f"{label} {name} region {len(regions) + 1}", xy, said))
    return [ViaImage(f"{label} {name}", name, tuple(found), own.get(name, {})) for name, found in images.items()]


def _region_3(where: str, xy: Any, attributes: Mapping[str, Any]) -> ViaRegion:
    if not isinstance(xy, list) or not isinstance(xy[0], int) or xy[0] not in SHAPES_3:
        return ViaRegion(where, {"name": xy[0] if isinstance(xy, list) else xy}, attributes)
    name, keys = SHAPES_3[xy[0]]
    shape: dict[str, Any] = {"name": name}
    if keys:
        shape |= dict(zip(keys, xy[1:], strict=False))
    else:
        shape |= {"all_points_x": xy[1::2], "all_points_y": xy[2::2]}
    return ViaRegion(where, shape, attributes)


def _named(values: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attribute values by name, options by their text; version 3 stores both by number."""
    named: dict[str, Any] = {}
    for key, value in values.items():
        attribute = _object(attributes.get(key))
        options = _object(attribute.get("options"))
        name = attribute.get("aname")
        texts = str(value).split(",") if not isinstance(value, dict | list) else []
        if options and texts and all(text in options for text in texts):
            value = str(options[texts[0]]) if len(texts) == 1 else {str(options[text]): True for text in texts}
        named[name if isinstance(name, str) and name else key] = value
    return named


def _rows(file: Path, text: str) -> list[list[str]]:
    before = csv.field_size_limit(LONGEST_FIELD)  # a polygon of many corners is longer than the usual limit
    reader = csv.reader(io.StringIO(text, newline=""), strict=False)
    try:
        return [row for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{file}: not valid CSV at line {reader.line_num}: {error}; export it again") from error
    finally:
        csv.field_size_limit(before)


def _cell(text: str) -> Any:
    """A cell of JSON; the text itself where it is none."""
    try:
        return json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return text


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _base(name: str) -> str:
    """A file name; of an address the last part of its path."""
    if "://" not in name:
        return name.strip()
    try:
        return unquote(urlsplit(name).path).rsplit("/", 1)[-1] or name
    except ValueError:
        return name.rsplit("/", 1)[-1]
