"""Labelbox's exports: a row for each image, as lines of JSON (export v2) or a list (the older export)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from cvtune.data.coco import Dataset, Polygon
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble, no_area
from cvtune.data.formats.file_sets import Finders
from cvtune.data.formats.json_sets import detect_lists, find_lists, first_records, json_lines
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.texts import json_top, number, read_json, whole
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

SUFFIXES = (".ndjson", ".jsonl", ".json")
BOX = ("left", "top", "width", "height")


@dataclass(frozen=True)
class _Row:
    """An image: what it may be called, and the objects of each label with why they do not count, or ""."""

    where: str
    file: Path
    names: tuple[str, ...]
    size_wh: tuple[int, int] | None
    labels: Sequence[tuple[Sequence[Any], str, str]]  # objects, why not, the project where there are several
    answers: int


@dataclass
class _Remarks:
    """What is said once for a whole set."""

    tags: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)

    def say(self, where: str, receipt: Receipt) -> None:
        for code, found in {"image-tags-lost": self.tags, "label-missing": self.unlabelled}.items():
            if found:
                receipt.note(code, where, f"{len(found):,}, the first: {found[0]}")


def detect(path: Path) -> str | None:
    """Evidence that `path` is Labelbox's: rows with `data_row` and `projects`, or `Labeled Data` and `Label`."""
    return detect_lists(path, _accept, "rows of Labelbox", *SUFFIXES)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below `path`, where all files lie in two or more, or the files that are called by splits."""
    return find_lists(path, _accept, *SUFFIXES).subsets


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes and polygons. Masks, which are addresses in an export, lines, points and frames of videos are dropped.

    Of several labels of an image in one project the latest counts; the objects of the others are dropped. Category ids
    are 1, 2, ... over the sorted names. `feature_id`, answers about an object (`attributes`) and the project's name,
    where there are several, are in `Annotation.extra`; answers about the whole image are noted.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_lists(source.path, _accept, *SUFFIXES)
    chosen = set(files.of_subset(source.subset))
    rows: list[_Row] = []
    for file in files.files:
        label = files.label(file)
        records = _records(file, receipt if file in chosen else None, label, strict=len(files.files) == 1)
        if records is None:
            if file in chosen:
                receipt.note("file-skipped", label, "no rows of Labelbox")
            continue
        rows += _rows(records, file, label)
        if file in chosen:
            receipt.files.append(file)
    if not rows:
        raise DataError(f"{source.path}: none of its {len(files.files)} files has rows of Labelbox")
    finders = Finders(files.root, source.images, [row.names[0] for row in rows])
    remarks = _Remarks()
    entries: list[Entry] = []
    names: set[str | None] = set()
    first = 1
    for row in rows:
        shapes = list(_shapes(row))
        names.update(shape.name for shape in shapes)
        if row.file not in chosen:
            first += 0 if entries else 1
            continue
        if row.answers:
            remarks.tags.append(row.where)
        if not row.labels:
            remarks.unlabelled.append(row.where)
        path, called = _image(row, finders)
        entries.append(Entry(row.where, called, row.size_wh or known_size(path), path, shapes))
    remarks.say(str(source.path), receipt)
    return assemble(entries, alphabetical(names), receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: Labelbox takes labels through its own interface."""
    raise UnsupportedError("format: 'labelbox' is read only, since it takes labels through its interface; write `coco`")


def _accept(file: Path) -> bool:
    top = json_top(file) if file.suffix.lower() == ".json" else None
    if top is None:
        return _are_rows(first_records(file))
    if top.is_list:
        return _are_rows(top.records)
    return _is_row(
        {key: top.get(key) for key in top.keys if key in {"data_row", "Labeled Data", "Label"}}
        | dict.fromkeys({"projects", "media_attributes"} & set(top.keys))
    )


def _are_rows(records: Sequence[Any]) -> bool:
    hits = sum(map(_is_row, records))
    return hits > 0 and 2 * hits >= len(records)


def _is_row(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if isinstance(record.get("data_row"), dict):
        return not record.keys().isdisjoint({"projects", "media_attributes"})
    return isinstance(record.get("Labeled Data"), str) and "Label" in record


def _records(file: Path, receipt: Receipt | None, label: str, strict: bool) -> list[tuple[str, dict[str, Any]]] | None:
    """(what messages call it, the row) of a file; None where it is of another kind.

    Raises:
        DataError: it is no JSON; with `strict` also where it is of another kind, or else where one row is.
    """
    top = json_top(file) if file.suffix.lower() == ".json" else None
    if top is not None:
        document = read_json(file, receipt, label)
        listed = document if isinstance(document, list) else [document]
        found = [(f"row {n}", f"[{n - 1}]", record) for n, record in enumerate(listed, start=1)]
    else:
        head = first_records(file)
        if not strict and not _are_rows(head) and (head or file.suffix.lower() == ".json"):
            return None
        found = [(f"line {n}", f"line {n}", record) for n, record in json_lines(file, receipt, label)]
    if not strict and not any(_is_row(record) for *_, record in found):
        return None
    for _, place, record in found:
        if not _is_row(record):
            raise DataError(
                f"{file}: {place} is no row of Labelbox: expected 'data_row' and 'projects', or 'Labeled Data' and "
                f"'Label', got {record!r:.80}"
            )
    return [(f"{label} {place}", record) for place, _, record in found]


def _rows(records: Iterable[tuple[str, dict[str, Any]]], file: Path, label: str) -> list[_Row]:
    """The rows; those of the older export that are labels of one image are one."""
    rows: list[_Row] = []
    older: dict[Any, list[tuple[str, dict[str, Any]]]] = {}
    order: dict[Any, int] = {}
    for where, record in records:
        if isinstance(record.get("data_row"), dict):
            rows.append(_row(where, record, file))
            continue
        key = record.get("DataRow ID") or record["Labeled Data"]
        key = key if isinstance(key, str) else where
        if key not in older:
            order[key] = len(rows)
            rows.append(_Row(where, file, (), None, (), 0))
        older.setdefault(key, []).append((where, record))
    for key, members in older.items():
        rows[order[key]] = _older_row(members, file)
    return rows


def _row(where: str, record: Mapping[str, Any], file: Path) -> _Row:
    data, media, projects = record["data_row"], record.get("media_attributes"), record.get("projects")
    labels: list[tuple[Sequence[Any], str, str]] = []
    answers = 0
    listed = [project for project in _values(projects) if isinstance(project, dict)]
    for n, project in enumerate(listed, start=1):
        name = str(project.get("name") or n)[:80] if len(listed) > 1 else ""
        given = [label for label in _list(project, "labels") if isinstance(label, dict)]
        dates = [_date(label) for label in given]
        counts = max(range(len(given)), key=lambda i: (dates[i], i), default=0)
        for i, label in enumerate(given):
            said = label.get("annotations")
            said = said if isinstance(said, dict) else {}
            answers += len(_list(said, "classifications")) if i == counts else 0
            why = "" if i == counts else f"label {i + 1} of {len(given)}"
            labels.append(([*_list(said, "objects"), *_in_frames(said.get("frames"))], why, name))
    names = [data.get("external_id"), data.get("global_key"), data.get("row_data"), data.get("id")]
    return _Row(where, file, _names(names, where), _size(media), labels, answers)


def _older_row(members: Sequence[tuple[str, dict[str, Any]]], file: Path) -> _Row:
    where, record = members[0]
    given = [(record.get("Label"), str(record.get("Created At", ""))) for _, record in members]
    counts = max(range(len(given)), key=lambda n: (isinstance(given[n][0], dict), given[n][1], n))
    labels: list[tuple[Sequence[Any], str, str]] = []
    answers = 0
    for n, (label, _) in enumerate(given):
        if not isinstance(label, dict) or not label:  # skipped, or not labelled yet
            continue
        objects = _list(label, "objects")
        if not isinstance(label.get("objects"), list):  # the first export: {class: [{"geometry": [{x, y}, ...]}]}
            objects = [
                {"title": name, "geometry": shape} for name, shapes in label.items() for shape in _values(shapes)
            ]
        answers += len(_list(label, "classifications")) if n == counts else 0
        labels.append((objects, "" if n == counts else f"label {n + 1} of {len(given)}", ""))
    names = [record.get("External ID"), record.get("Global Key"), record["Labeled Data"], record.get("DataRow ID")]
    return _Row(where, file, _names(names, where), _size(record.get("Media Attributes")), labels, answers)


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _list(record: Mapping[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else []


def _date(label: Mapping[str, Any]) -> str:
    details = label.get("label_details")
    return str(details.get("created_at", "")) if isinstance(details, dict) else ""


def _in_frames(frames: Any) -> Iterator[Any]:
    """The objects of a video's frames, marked as such."""
    for number_of_frame, frame in frames.items() if isinstance(frames, dict) else ():
        for item in _values(frame.get("objects") if isinstance(frame, dict) else None):
            yield {**item, "frame": number_of_frame} if isinstance(item, dict) else item


def _size(value: Any) -> tuple[int, int] | None:
    value = value if isinstance(value, dict) else {}
    width, height = whole(value.get("width")), whole(value.get("height"))
    return (width, height) if width and height else None


def _names(stated: Sequence[Any], where: str) -> tuple[str, ...]:
    """What the image may be called: those that end like an image's name first. Of an address the path's end."""
    plain = []
    for name in stated:
        if isinstance(name, str) and name.strip():
            plain.append(_base(name.strip()) if "://" in name else name.strip())
    plain.sort(key=lambda name: not name.lower().endswith(IMAGE_SUFFIXES))
    return tuple(dict.fromkeys(filter(None, plain))) or (f"{where.rsplit(' ', 1)[-1]}.jpg",)


def _base(address: str) -> str:
    try:
        return unquote(urlsplit(address).path).rsplit("/", 1)[-1]
    except ValueError:
        return ""


def _image(row: _Row, finders: Finders) -> tuple[Path | None, str]:
    for name in row.names:
        path, called = finders.find(name, row.file)
        if path is not None:
            return path, called
    return None, row.names[0]


def _shapes(row: _Row) -> Iterator[Shape]:
    count = 0
    for objects, why, project in row.labels:
        for item in objects:
            count += 1
            shape = _shape(item, f"{row.where} object {count}", project)
            yield replace(shape, fault=("object-superseded", why)) if why else shape


def _shape(item: Any, where: str, project: str) -> Shape:
    if not isinstance(item, dict):
        return Shape(where, None, fault=("value-malformed", f"an object must be an object, got {item!r:.60}"))
    said = next((item[key] for key in ("name", "title", "value") if isinstance(item.get(key), str)), "")
    feature = item.get("feature_id", item.get("featureId"))
    extra: dict[str, Any] = {"feature_id": feature} if isinstance(feature, str) else {}
    if attributes := _answers(_list(item, "classifications")):
        extra["attributes"] = attributes
    if project:
        extra["project"] = project
    base = Shape(where, said.strip() or None, extra=extra)
    if "frame" in item:
        return replace(base, fault=("shape-unknown", f"it is in frame {item['frame']!s:.20} of a video"))
    box = item.get("bounding_box", item.get("bbox"))
    if isinstance(box, dict):
        x, y, w, h = (number(box.get(key)) for key in BOX)
        return replace(base, box_xyxy=(x, y, x + w, y + h))
    if "polygon" in item:
        return replace(base, polygons=(_corners(item["polygon"]),))
    if "geometry" in item:  # whose y axis ran upwards in some years
        return replace(base, fault=("shape-unknown", "it is of Labelbox's first export; export it again"))
    for kind in ("line", "point", "polyline"):
        if kind in item:
            return replace(base, fault=no_area(kind))
    for kind in ("mask", "composite_mask", "instanceURI"):
        if kind in item:
            address = item[kind].get("url") if isinstance(item[kind], dict) else item[kind]
            place = str(address).split("?")[0][:80]  # without the key that follows it
            return replace(base, fault=("mask-missing-file", f"its pixels are not in the export but at {place}"))
    kind = item.get("annotation_kind", "of no known shape")
    return replace(base, fault=("shape-unknown", f"it is {kind!s:.40}"))


def _corners(value: Any) -> Polygon:
    corners = [corner if isinstance(corner, dict) else {} for corner in value] if isinstance(value, list) else [{}]
    return np.array([number(corner.get(key)) for corner in corners for key in "xy"], np.float64)


def _answers(classifications: Sequence[Any]) -> dict[str, Any]:
    """Question -> answer, or a list of answers."""
    found: dict[str, Any] = {}
    for item in classifications:
        if not isinstance(item, dict):
            continue
        name = item.get("name", item.get("title", item.get("value")))
        one = next((item[key] for key in ("radio_answer", "text_answer", "answer") if key in item), None)
        several = next((item[key] for key in ("checklist_answers", "answers") if key in item), None)
        answer = [_answer(a) for a in several] if isinstance(several, list) else _answer(one)
        if isinstance(name, str) and answer not in (None, []):
            found[name] = answer
    return found


def _answer(value: Any) -> Any:
    if isinstance(value, dict):
        value = next((value[key] for key in ("content", "name", "title", "value") if key in value), None)
    return value if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)) else None
