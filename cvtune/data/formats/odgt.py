"""CrowdHuman's ODGT: a JSON record a line, an image's `ID` and its `gtboxes`.

A box has a `tag`, its class, and left, top, width, height of the whole body (`fbox`), of what is visible (`vbox`) and
of the head (`hbox`); other sets of the same maker have one `box`. Scores leave out what is marked `ignore` and what has
the tag `mask`, which are groups, pictures and reflections: they are crowds here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import Finders
from cvtune.data.formats.json_sets import detect_lists, find_lists, first_records, read_lists
from cvtune.data.formats.label_folders import IGNORED, known_size
from cvtune.data.formats.texts import number, whole
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

SUFFIXES = (".odgt", ".jsonl", ".json")
BOXES = {
    "fbox": "the whole body, hidden parts too",
    "box": "the object",
    "vbox": "what is visible of the body",
    "hbox": "the head",
}
REGION = "mask"
# What is kept of an object beside its box and class.
SAID = (*BOXES, "head_attr")


@dataclass(frozen=True)
class _Line:
    where: str
    file: Path
    record: dict[str, Any]
    boxes: list[Any]

    @property
    def name(self) -> str:
        """What the image is called: CrowdHuman's `ID` lacks the suffix."""
        path = self.record.get("fpath")
        text = path if isinstance(path, str) and path else str(self.record.get("ID"))
        return text if text.lower().endswith(IMAGE_SUFFIXES) else f"{text}.jpg"


def detect(path: Path) -> str | None:
    """Evidence that `path` is ODGT: lines of JSON with an image's ID and gtboxes."""
    return detect_lists(path, _accept, "lines of ID and gtboxes", *SUFFIXES)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below `path`, where all files lie in two or more, or the files that are called by splits."""
    return find_lists(path, _accept, *SUFFIXES).subsets


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read the box of the whole body, or the one that most objects have; the receipt says which.

    Objects to be ignored are crowds of their class. Regions (tag `mask`) are crowds of the set's only class; where
    there are several they are no objects, and kept in `Image.extra["ignore_regions"]`. Category ids are 1, 2, ... over
    the sorted tags. All boxes of an object, `head_attr` and `extra` (as `attributes`) are in `Annotation.extra`. Sizes
    are those of the images.

    Raises:
        DataError: no such file, malformed JSON, an unknown subset, or no image was found.
    """
    files = find_lists(source.path, _accept, *SUFFIXES)
    chosen = set(files.of_subset(source.subset))
    lines: list[_Line] = []
    for file, n, record in read_lists(files, chosen, receipt, _are_lines, "no lines of ID and gtboxes"):
        if not _is_line(record):
            raise DataError(f"{file}: line {n}: expected an object with 'ID' and 'gtboxes', got {record!r:.80}")
        lines.append(_Line(f"{files.label(file)} line {n}", file, record, record["gtboxes"]))
    if not lines:
        raise DataError(f"{source.path}: no lines of JSON with 'ID' and 'gtboxes'")
    boxes = [box for line in lines for box in line.boxes if isinstance(box, dict)]
    tags = {tag for box in boxes if (tag := _tag(box)) not in (None, REGION)}
    only = next(iter(tags)) if len(tags) == 1 else None
    counts = Counter(key for box in boxes for key in BOXES if isinstance(box.get(key), list))
    # The first of them that stands for the objects, not for a few.
    key = next((key for key in BOXES if counts[key] and 2 * counts[key] >= len(boxes)), "fbox")
    finders = Finders(files.root, source.images, [line.name for line in lines], beside=["Images"])
    entries: list[Entry] = []
    first = 1
    for line in lines:
        if line.file in chosen:
            path, called = finders.find(line.name, line.file)
            shapes, ignored = _objects(line, key, only)
            size = _size(line.record) or known_size(path)
            entries.append(Entry(line.where, called, size, path, shapes, {IGNORED: ignored} if ignored else {}))
        elif not entries:
            first += 1
    _report(entries, key, counts, str(source.path), receipt)
    return assemble(entries, alphabetical(tags), receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: ODGT has several boxes for each person."""
    raise UnsupportedError("format: 'odgt' is read only, since it has several boxes an object; write `csv` or `coco`")


def _report(entries: Sequence[Entry], key: str, counts: Counter[str], where: str, receipt: Receipt) -> None:
    others = ", ".join(other for other in BOXES if counts[other] and other != key)
    kept = f"; {others} are kept as fields" if others else ""
    receipt.note("columns-found", where, f"boxes are {key}, {BOXES[key]}{kept}")
    crowds = sum(shape.iscrowd for entry in entries for shape in entry.shapes)
    if crowds:
        receipt.note("ignore-flag-kept", where, f"{crowds:,} objects and regions to be ignored are crowds")
    regions = sum(len(entry.extra.get(IGNORED, ())) for entry in entries)
    if regions:
        receipt.note("ignore-region", where, f"{regions:,} of tag {REGION!r}, kept in the images' {IGNORED!r}")


def _accept(file: Path) -> bool:
    return _are_lines(first_records(file))


def _are_lines(records: Sequence[Any]) -> bool:
    hits = sum(map(_is_line, records))
    return hits > 0 and 2 * hits >= len(records)


def _is_line(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("gtboxes"), list):
        return False
    return isinstance(record.get("ID", record.get("fpath")), str | int)


def _size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = whole(record.get("width")), whole(record.get("height"))
    return (width, height) if width and height else None


def _tag(box: Mapping[str, Any]) -> str | None:
    tag = box.get("tag")
    return tag.strip() or None if isinstance(tag, str) else None


def _objects(line: _Line, key: str, only: str | None) -> tuple[list[Shape], list[list[float]]]:
    """(the objects of an image, left, top, width, height of regions that are none)."""
    shapes: list[Shape] = []
    ignored: list[list[float]] = []
    for n, box in enumerate(line.boxes, start=1):
        where = f"{line.where} box {n}"
        if not isinstance(box, dict):
            shapes.append(Shape(where, None, fault=("value-malformed", f"a box must be an object, got {box!r:.60}")))
            continue
        numbers = box.get(key)
        x, y, w, h = map(number, numbers) if isinstance(numbers, list) and len(numbers) == 4 else [math.nan] * 4
        tag = _tag(box)
        if tag == REGION and only is None:
            if math.isfinite(x + y + w + h):
                ignored.append([x, y, w, h])
            continue
        more = box.get("extra")
        more = more if isinstance(more, dict) else {}
        crowd = tag == REGION or str(more.get("ignore", box.get("ignore"))).lower() in {"1", "1.0", "true"}
        extra: dict[str, Any] = {name: box[name] for name in SAID if box.get(name)}
        extra |= {"attributes": more} if more else {}
        extra |= {"tag": REGION} if tag == REGION else {}
        shape = Shape(where, only if tag == REGION else tag, iscrowd=crowd, extra=extra)
        if numbers is None:
            said = ", ".join(other for other in BOXES if other in box)
            shapes.append(replace(shape, fault=("box-missing", f"no {key}, got {said or 'no box'}")))
            continue
        shapes.append(replace(shape, box_xyxy=(x, y, x + w, y + h)))
    return shapes, ignored
