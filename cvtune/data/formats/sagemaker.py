"""Augmented manifests of SageMaker Ground Truth and Rekognition Custom Labels: a JSON record a line.

A record has `source-ref`, the image's address, and for each labelling job an attribute of the job's name with
`image_size` and `annotations`, beside `<attribute>-metadata` with the `class-map`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import Finders
from cvtune.data.formats.json_sets import detect_lists, find_lists, first_records, read_lists
from cvtune.data.formats.texts import number, whole
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

SUFFIXES = (".manifest", ".jsonl", ".json")
SOURCE = "source-ref"
KEYS = ("left", "top", "width", "height")


@dataclass(frozen=True)
class _Line:
    where: str
    file: Path
    record: dict[str, Any]


@dataclass
class _Remarks:
    """What is said once for a whole set."""

    tags: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)

    def say(self, where: str, receipt: Receipt) -> None:
        told = {"image-tags-lost": self.tags, "mask-not-read": self.masks, "label-missing": self.unlabelled}
        for code, found in told.items():
            if found:
                receipt.note(code, where, f"{len(found):,}, the first: {found[0]}")


def detect(path: Path) -> str | None:
    """Evidence that `path` is such a manifest: lines of JSON with `source-ref` and an attribute with its metadata."""
    return detect_lists(path, _accept, "lines of Ground Truth", *SUFFIXES)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below `path`, where all files lie in two or more, or the files that are called by splits."""
    return find_lists(path, _accept, *SUFFIXES).subsets


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes. Category ids are the class ids, or 1, 2, ... over the sorted names where lines number them otherwise.

    Of several jobs about one image the latest counts (by its date, else by its place in the line); the objects of the
    others are dropped. `confidence` is in `Annotation.extra`. Answers about a whole image and masks in files are noted.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_lists(source.path, _accept, *SUFFIXES)
    chosen = set(files.of_subset(source.subset))
    lines: list[_Line] = []
    for file, n, record in read_lists(files, chosen, receipt, _has_sources, "no lines with 'source-ref'"):
        if not isinstance(record, dict) or not isinstance(record.get(SOURCE), str):
            raise DataError(f"{file}: line {n}: expected an object with {SOURCE!r}, a string")
        lines.append(_Line(f"{files.label(file)} line {n}", file, record))
    if not lines:
        raise DataError(f"{source.path}: no lines of JSON with {SOURCE!r} and the results of a labelling job")
    names, categories = _classes(lines)
    finders = Finders(files.root, source.images, [line.record[SOURCE] for line in lines])
    remarks = _Remarks()
    entries: list[Entry] = []
    first = 1
    for line in lines:
        if line.file in chosen:
            entries.append(_entry(line, finders, names, remarks))
        elif not entries:
            first += 1
    remarks.say(str(source.path), receipt)
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: a manifest names images in S3."""
    raise UnsupportedError("format: 'sagemaker' is read only, since its images lie in S3; write `coco`")


def _accept(file: Path) -> bool:
    records = first_records(file)
    return _has_sources(records) and any(isinstance(r, dict) and _is_labelled(r) for r in records)


def _has_sources(records: list[Any]) -> bool:
    named = sum(isinstance(r, dict) and isinstance(r.get(SOURCE), str) for r in records)
    return named > 0 and 2 * named >= len(records)


def _is_labelled(record: dict[str, Any]) -> bool:
    """Whether an attribute has its metadata, or metadata name a kind of job."""
    return any(
        isinstance(value, dict) and (f"{key}-metadata" in record or "groundtruth/" in str(value.get("type")))
        for key, value in record.items()
    )


def _jobs(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """(attribute, its value, its metadata) of each job that drew boxes."""
    for key, value in record.items():
        metadata = record.get(f"{key}-metadata")
        if isinstance(value, dict) and isinstance(value.get("annotations"), list):
            yield key, value, metadata if isinstance(metadata, dict) else {}


def _class_map(metadata: Mapping[str, Any]) -> dict[int, str]:
    said = metadata.get("class-map")
    pairs = said.items() if isinstance(said, dict) else ()
    found = {_id(key): value.strip() for key, value in pairs if isinstance(value, str) and value.strip()}
    return {key: value for key, value in found.items() if key >= 0}


def _id(value: Any) -> int:
    """A class id, which may be written as a string; -1 for what is none."""
    found = number(value)
    return int(found) if math.isfinite(found) and found == int(found) and 0 <= found < 2**53 else -1


def _classes(lines: list[_Line]) -> tuple[bool, tuple[Category, ...]]:
    """(whether ids say the same class on all lines, the categories)."""
    pairs = {pair for line in lines for _, _, metadata in _jobs(line.record) for pair in _class_map(metadata).items()}
    ids, names = {i for i, _ in pairs}, {name for _, name in pairs}
    if len(ids) == len(names) == len(pairs):
        return True, tuple(Category(i, name) for i, name in sorted(pairs))
    return False, alphabetical(names)


def _entry(line: _Line, finders: Finders, ids_agree: bool, remarks: _Remarks) -> Entry:
    path, name = finders.find(line.record[SOURCE], line.file)
    jobs = list(_jobs(line.record))
    for key, value in line.record.items():
        if isinstance(value, dict) and "groundtruth/" in str(kind := value.get("type")):
            segments = key.endswith("-ref-metadata") and "segmentation" in str(kind)
            if segments or "classification" in str(kind):
                (remarks.masks if segments else remarks.tags).append(f"{line.where}: {key.removesuffix('-metadata')}")
    if not jobs:
        remarks.unlabelled.append(line.where)
    dates = [str(metadata.get("creation-date", "")) for _, _, metadata in jobs]
    counts = max(range(len(jobs)), key=lambda n: (dates[n], n), default=0)
    shapes: list[Shape] = []
    size: tuple[int, int] | None = None
    for n, (key, value, metadata) in enumerate(jobs):
        known = _class_map(metadata)
        confidences = metadata.get("objects")
        for place, record in enumerate(value["annotations"]):
            told = confidences[place] if isinstance(confidences, list) and place < len(confidences) else None
            shape = _shape(record, f"{line.where} {key} object {place + 1}", known, told, ids_agree)
            if n != counts:
                shape = replace(shape, fault=("object-superseded", f"job {key!r} of {len(jobs)}"))
            shapes.append(shape)
        size = _size(value) if n == counts else size
    return Entry(line.where, name, size, path, shapes)


def _size(value: Mapping[str, Any]) -> tuple[int, int] | None:
    said = value.get("image_size")
    first = said[0] if isinstance(said, list) and said else said
    first = first if isinstance(first, dict) else {}
    width, height = whole(first.get("width")), whole(first.get("height"))
    return (width, height) if width and height else None


def _shape(record: Any, where: str, known: Mapping[int, str], told: Any, ids_agree: bool) -> Shape:
    if not isinstance(record, dict):
        return Shape(where, None, fault=("value-malformed", f"an annotation must be an object, got {record!r:.60}"))
    given = record.get("class_id")
    class_id = _id(given)
    confidence = number(told.get("confidence")) if isinstance(told, dict) else math.nan
    extra = {"confidence": confidence} if math.isfinite(confidence) else {}
    shape = Shape(where, known.get(class_id), extra=extra, category_id=class_id if ids_agree else None)
    if shape.name is None:
        code = "class-missing" if given is None else "class-unknown"
        return replace(shape, fault=(code, f"class_id={given!r:.40}, the class-map has {len(known)}"))
    if any(key not in record for key in KEYS):
        other = ", ".join(key for key in record if key != "class_id")
        return replace(shape, fault=("box-missing", f"got {other or 'nothing'}"[:100]))
    x, y, w, h = (number(record[key]) for key in KEYS)
    return replace(shape, box_xyxy=(x, y, x + w, y + h))
