"""VisDrone's images: ``annotations/<image>.txt`` beside ``images``.

A line is left, top, width, height, score, category, truncation, occlusion; of videos, whose images are
``sequences/<video>/<frame>.jpg``, frame and target come before. Category 0 are regions to be ignored,
whatever the class: they are no objects here and kept in `Image.extra["ignore_regions"]`; 1 to 11 are classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, assemble
from cvtune.data.formats.label_folders import IGNORED, Beside, frames_of, known_size, label_files
from cvtune.data.formats.texts import number, read_lines
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

BESIDE = ("images", "image", "sequences")
VIDEOS = ("sequences", "images")
Objects = tuple[list[Shape], list[list[float]]]
NAMES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor", "others",
)  # fmt: skip


def detect(path: Path) -> str | None:
    """Evidence that `path` is VisDrone: text files of eight whole numbers with commas, the sixth from 0 to 11."""
    files = label_files(path, _is_visdrone)
    return f"{len(files.files):,} .txt files of VisDrone's eight columns" if files.files else None


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below that hold labels (VisDrone2019-DET-train and the like), where there are several."""
    return label_files(path, _is_visdrone).splits if path.is_dir() else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes; category ids are VisDrone's, 1 to 11, and all are listed. Sizes are those of the images.

    `score`, `truncation` and `occlusion` are in `Annotation.extra`.

    Raises:
        DataError: there are no labels, an unknown subset, or no image was found.
    """
    files = label_files(source.path, _is_visdrone)
    if not files.files:
        raise DataError(f"{source.path}: no .txt file of VisDrone's eight columns; give the folder of annotations")
    chosen = files.of_subset(source.subset)
    beside = Beside(files, source.images, BESIDE)
    entries = []
    for file in chosen:
        label = files.label(file)
        frames = _objects(file, label, receipt)
        alone = {None: beside.find(file)} if None in frames else {}
        found = alone or frames_of(file, files, source.images, frames, VIDEOS, "{:07d}.jpg")
        for frame, (path, name) in found.items():
            shapes, ignored = frames.get(frame, ([], []))
            where = label if frame is None else f"{label} frame {frame}"
            entries.append(Entry(where, name, known_size(path), path, shapes, {IGNORED: ignored} if ignored else {}))
    regions = sum(len(entry.extra.get(IGNORED, ())) for entry in entries)
    if regions:
        detail = f"{regions:,} regions of category 0, kept in the images' {IGNORED!r}"
        receipt.note("ignore-region", str(source.path), detail)
    flagged = sum(shape.extra.get("score") == 0 for entry in entries for shape in entry.shapes)
    if flagged:
        receipt.note("ignore-flag-kept", str(source.path), f"{flagged:,} objects of score 0")
    receipt.files += chosen
    categories = tuple(Category(i, name) for i, name in enumerate(NAMES, start=1))
    first = files.files.index(chosen[0]) + 1
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: the classes of VisDrone are fixed."""
    raise UnsupportedError("format: 'visdrone' is read only, since its classes are fixed; write `csv` or `coco`")


def _is_visdrone(lines: Sequence[str]) -> bool:
    return 2 * sum(_fields(line) is not None for line in lines[:20]) > len(lines[:20])


def _fields(line: str) -> list[str] | None:
    """The eight values of a line, frame and target behind them where it has any."""
    fields = [field.strip() for field in line.rstrip(",").split(",")]
    if len(fields) == 10 and all(number(field).is_integer() for field in fields[:2]):
        fields = [*fields[2:], *fields[:2]]
    if len(fields) not in {8, 10} or number(fields[5]) not in range(12):
        return None
    flags = all(number(field) in range(4) or number(field) == -1 for field in fields[6:8])
    return fields if flags and 0 <= number(fields[4]) <= 1 else None


def _objects(file: Path, label: str, receipt: Receipt) -> dict[int | None, Objects]:
    """(objects, regions to be ignored) by frame; of a file that is one image by None."""
    lines = [(n, line) for n, line in enumerate(read_lines(file, receipt, label), start=1) if line]
    video = any(len(_fields(line) or ()) == 10 for _, line in lines)
    found: dict[int | None, Objects] = {} if video else {None: ([], [])}
    for line_number, line in lines:
        where = f"{label} line {line_number}"
        fields = _fields(line)
        if fields is None or (len(fields) == 10) != video:
            detail = f"expected eight numbers with commas, got {line[:80]!r}"
            if video:  # without a frame there is no image to put it on
                unknown: dict[str | None, int] = {None: 1}
                receipt.count_in(0, unknown)
                receipt.drop("row-malformed", where, detail)
            else:
                found[None][0].append(Shape(where, None, fault=("row-malformed", detail)))
            continue
        shapes, ignored = found.setdefault(int(number(fields[8])) if video else None, ([], []))
        x, y, w, h = (number(field) for field in fields[:4])
        category = int(number(fields[5]))
        if category == 0:
            if math.isfinite(x + y + w + h):
                ignored.append([x, y, w, h])
            continue
        extra = {key: int(number(fields[i])) for key, i in (("score", 4), ("truncation", 6), ("occlusion", 7))}
        if video:
            extra["track_id"] = int(number(fields[9]))
        name = NAMES[category - 1]
        if not math.isfinite(x + y + w + h):
            shapes.append(Shape(where, name, fault=("box-not-numeric", line[:80]), extra=extra))
            continue
        shapes.append(Shape(where, name, (x, y, x + w, y + h), extra=extra))
    return found
