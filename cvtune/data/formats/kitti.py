"""KITTI's 2D objects: ``label_2/<image>.txt`` beside ``image_2/<image>.png``.

A line is: type, truncated, occluded, alpha, left, top, right, bottom, height, width, length, x, y, z, rotation_y, and
in results a score. In ``label_02/<sequence>.txt``, of the tracking benchmark, each line begins with frame and track,
and the images are ``image_02/<sequence>/<frame>.png``. Boxes are in pixels from 0. DontCare regions count for no class
and against none; COCO's crowds are of one class each, so the regions are no objects here: they are kept in
`Image.extra["ignore_regions"]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvtune.data.coco import Annotation, Dataset, Image
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.label_folders import IGNORED, Beside, frames_of, known_size, label_files
from cvtune.data.formats.texts import number, read_lines
from cvtune.data.formats.writing import (
    Losses,
    flat_key,
    names_of,
    note_categories,
    objects_of,
    place_of,
    plain,
)
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError
from cvtune.runs import write_text

__all__ = ["detect", "read", "subsets", "write"]

BESIDE = ("image_2", "images", "image_02", "image")
TRACKED = ("image_02", "image_2", "images")
IGNORE = "DontCare"
# Name of a field -> its places in a line, and what KITTI writes where it is not known.
FIELDS = {
    "truncated": (1, 2, "-1"),
    "occluded": (2, 3, "-1"),
    "alpha": (3, 4, "-10"),
    "dimensions": (8, 11, "-1 -1 -1"),
    "location": (11, 14, "-1000 -1000 -1000"),
    "rotation_y": (14, 15, "-10"),
    "score": (15, 16, ""),
}


NUMERIC = re.compile(r"[-+]?(\d|\.\d|nan$|inf)", re.IGNORECASE)


def detect(path: Path) -> str | None:
    """Evidence that `path` is KITTI: text files whose lines are a word and 14 or 15 numbers, or those of tracks."""
    files = label_files(path, _is_kitti)
    return f"{len(files.files):,} .txt files of KITTI's 15 columns" if files.files else None


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below that hold labels, where there are several."""
    return label_files(path, _is_kitti).splits if path.is_dir() else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes; what else KITTI says of an object is in `Annotation.extra`. Sizes are those of the images.

    Raises:
        DataError: there are no labels, an unknown subset, or no image was found.
    """
    files = label_files(source.path, _is_kitti)
    if not files.files:
        raise DataError(f"{source.path}: no .txt file of KITTI's 15 columns; give the folder of label_2")
    beside = Beside(files, source.images, BESIDE)
    chosen = files.of_subset(source.subset)
    first = files.files.index(chosen[0]) + 1
    inside = set(chosen)
    names: set[str | None] = set()
    entries = []
    for file in files.files:
        if file not in inside:
            names |= {fields[0] for line in read_lines(file) if (fields := _fields(line)) and fields[0] != IGNORE}
            continue
        label = files.label(file)
        frames = _objects(file, label, receipt)
        alone = {None: beside.find(file)} if None in frames else {}
        found = alone or frames_of(file, files, source.images, frames, TRACKED)
        for frame, (path, name) in found.items():
            shapes, ignored = frames.get(frame, ([], []))
            names |= {shape.name for shape in shapes}
            extra: dict[str, Any] = {IGNORED: ignored} if ignored else {}
            where = label if frame is None else f"{label} frame {frame}"
            entries.append(Entry(where, name, known_size(path), path, shapes, extra))
    regions = sum(len(entry.extra.get(IGNORED, ())) for entry in entries)
    if regions:
        detail = f"{regions:,} {IGNORE} regions, kept in the images' {IGNORED!r}"
        receipt.note("ignore-region", str(source.path), detail)
    receipt.files += chosen
    return assemble(entries, alphabetical(names), receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``label_2/<image>.txt`` below the folder `path`, empty files too; the images belong in ``image_2``.

    What is not in `Annotation.extra` under KITTI's names is written as unknown. White space in class names becomes "_".

    Raises:
        RunError: a file cannot be written.
    """
    names, objects = names_of(dataset), objects_of(dataset)
    losses = Losses(receipt, str(path))
    written = {name: re.sub(r"\s+", "_", name.strip()) for name in names.values()}
    for name, other in written.items():
        if name != other:
            receipt.note("class-respelled", str(path), f"{name!r} was written as {other!r}")
    files: list[Path] = []
    taken: set[str] = set()
    for image in dataset.images:
        key = flat_key(image.file_name, taken)
        if Path(image.file_name).with_suffix("").as_posix() != key:
            receipt.note("image-renamed", image.file_name, f"its labels are {key}.txt")
        lines = []
        for annotation in objects[image.id]:
            name, where = names[annotation.category_id], place_of(annotation, image)
            if not written[name] or written[name] == IGNORE:
                receipt.drop_written("class-missing", where, f"KITTI cannot hold the class name {name!r}", name)
                continue
            if annotation.segmentation is not None:
                receipt.repair("mask-lost", where, "only its box was written", name)
            losses.add(annotation, tuple(FIELDS))
            lines.append(_line(written[name], annotation))
        lines += _ignored(image)
        file = path / "label_2" / f"{key}.txt"
        write_text(file, "".join(f"{line}\n" for line in lines))
        files.append(file)
    losses.say()
    note_categories(dataset, str(path), receipt)
    if dataset.images:
        receipt.note("images-not-written", str(path), "put them into the folder `image_2`")
    return tuple(files)


def _is_kitti(lines: Sequence[str]) -> bool:
    good = sum(_fields(line) is not None for line in lines[:20])
    return 2 * good > len(lines[:20])


def _fields(line: str) -> list[str] | None:
    """The fields of a line from its class on, where they look like KITTI's; those of tracking at the end too.

    The box may be no number: that is the object's fault.
    """
    fields = line.split()
    tracked: list[str] = []
    if len(fields) in {17, 18} and all(number(field).is_integer() for field in fields[:2]):
        tracked, fields = fields[:2], fields[2:]
    words = next((i for i, field in enumerate(fields) if NUMERIC.match(field)), 0)  # TAO writes "traffic light"
    fields = [" ".join(fields[:words]), *fields[words:]] if words > 1 else fields
    if len(fields) not in {15, 16} or math.isfinite(number(fields[0])):
        return None
    if sum(math.isfinite(number(field)) for field in fields[1:]) < 8:
        return None
    return fields if not tracked else [*fields, *[""] * (16 - len(fields)), *tracked]


Objects = tuple[list[Shape], list[list[float]]]


def _objects(file: Path, label: str, receipt: Receipt) -> dict[int | None, Objects]:
    """(objects, regions to be ignored) by frame; of a file that is one image by None."""
    found: dict[int | None, Objects] = {}
    lines = [(n, line) for n, line in enumerate(read_lines(file, receipt, label), start=1) if line]
    tracking = any(len(_fields(line) or ()) > 16 for _, line in lines)
    if not tracking:
        found[None] = ([], [])
    for line_number, line in lines:
        where = f"{label} line {line_number}"
        fields = _fields(line)
        frame = int(number(fields[16])) if fields is not None and len(fields) > 16 else None
        if fields is None or (frame is None) == tracking:
            name = line.split()[0]
            detail = f"expected a class and 14 or 15 numbers, got {line[:80]!r}"
            if tracking:  # without a frame there is no image to put it on
                unknown: dict[str | None, int] = {None: 1}
                receipt.count_in(0, unknown)
                receipt.drop("row-malformed", where, detail)
            else:
                found[None][0].append(Shape(where, name, fault=("row-malformed", detail)))
            continue
        shapes, ignored = found.setdefault(frame, ([], []))
        x0, y0, x1, y1 = (number(field) for field in fields[4:8])
        if fields[0] == IGNORE:
            if all(map(math.isfinite, (x0, y0, x1, y1))):
                ignored.append([x0, y0, x1 - x0, y1 - y0])
            continue
        extra: dict[str, Any] = {} if frame is None else {"track_id": plain(number(fields[17])), "frame": frame}
        for name, (start, stop, missing) in FIELDS.items():
            values = [value for value in fields[start:stop] if value]
            if values and " ".join(values) != missing and all(math.isfinite(number(v)) for v in values):
                numbers = [plain(number(value)) for value in values]
                extra[name] = numbers if len(numbers) > 1 else numbers[0]
        shapes.append(Shape(where, fields[0], (x0, y0, x1, y1), extra=extra))
    return found


def _line(name: str, annotation: Annotation) -> str:
    x, y, w, h = annotation.bbox_xywh
    parts = []
    for field, (start, stop, unknown) in FIELDS.items():
        value = annotation.extra.get(field)
        values = value if isinstance(value, list | tuple) else [value]
        known = len(values) == stop - start and all(math.isfinite(number(v)) for v in values)
        parts.append(" ".join(str(v) for v in values) if known else unknown)
    box = " ".join(str(plain(float(v))) for v in (x, y, x + w, y + h))
    return " ".join([name, *parts[:3], box, *parts[3:]]).strip()


def _ignored(image: Image) -> list[str]:
    regions = image.extra.get(IGNORED)
    lines = []
    for region in regions if isinstance(regions, list) else ():
        if isinstance(region, list) and len(region) == 4 and all(math.isfinite(number(v)) for v in region):
            x, y, w, h = map(float, region)
            box = " ".join(str(plain(v)) for v in (x, y, x + w, y + h))
            lines.append(f"{IGNORE} -1 -1 -10 {box} -1 -1 -1 -1000 -1000 -1000 -10")
    return lines
