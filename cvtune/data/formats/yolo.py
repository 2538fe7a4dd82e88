"""YOLO text labels: Ultralytics (boxes and polygons), darknet, and plain folders with a classes.txt.

A line is ``class x_centre y_centre width height`` or ``class x1 y1 x2 y2 x3 y3 ...``, in shares of the image's size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from cvtune.data.coco import Category, Dataset
from cvtune.data.far_images import FarImages
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, assemble, size_of_image
from cvtune.data.formats.listing import names_in
from cvtune.data.formats.texts import number, read_lines
from cvtune.data.formats.yolo_config import MOST_CLASSES, OTHER_TEXTS, plain_folder, yolo_config
from cvtune.data.formats.yolo_layout import YoloItem, YoloLayout, find_yolo, label_files
from cvtune.data.formats.yolo_paths import images_beside
from cvtune.data.formats.yolo_poses import holds_poses
from cvtune.data.formats.yolo_rows import mostly_rows
from cvtune.data.formats.yolo_write import write, write_index
from cvtune.data.image_files import IMAGE_SUFFIXES, ImageFinder
from cvtune.data.receipt import Receipt
from cvtune.data.seams import split_at_seams
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write", "write_index"]

LOOK_AT = 20


@dataclass(slots=True)
class _Remarks:
    """What is said once for a whole set."""

    scores: int = 0
    keypoints: int = 0
    first: str = ""


def detect(path: Path) -> str | None:
    """Evidence that `path` is YOLO: a data.yaml with names and parts, a .data file, or rows of shares of 0 to 1."""
    try:
        config = yolo_config(path)
        suffix = config.suffix.lower() if config else ""
        if config is not None and suffix in {".yaml", ".yml"}:
            if _holds_other_labels(config.parent):
                return None
            return f"{config.name} with names and folders or lists of images"
        if config is not None and suffix == ".data":
            keys = [line.partition("=")[0].strip() for line in read_lines(config) if "=" in line]
            return f"{config.name} with {', '.join(keys)}" if "train" in keys or "names" in keys else None
        folder = plain_folder(path, config)
        if path.is_file() and config is None:
            return _rows_found([path] if path.suffix.lower() == ".txt" else [], folder, None, sure=False)
        labels = folder / "labels" if (folder / "labels").is_dir() else folder
        sure = labels != folder or config is not None or folder.name == "labels"
        return _rows_found(list(label_files(labels)), folder, config, sure)
    except DataError:
        return None


def _rows_found(every: Sequence[Path], folder: Path, config: Path | None, sure: bool) -> str | None:
    """Evidence from the labels themselves; those that are not `sure` to be some, or all empty, need an image each."""
    files = every[:: -(-len(every) // LOOK_AT) or 1]
    finders: dict[Path, ImageFinder] = {}
    pictured = [file for file in files if _has_image(file, folder, finders)]
    if not sure:
        alone = [file for file in files if file not in pictured and _holds_rows(_lines_of([file]))]
        if len(pictured) <= len(alone):
            return None
    rows = _lines_of(pictured or files)
    named = f"{config.name}, and " if config else ""
    if not rows:
        return f"{named}empty files of labels, each beside an image" if pictured else None
    if not _holds_rows(rows):
        return None
    return f"{named}{rows[0][0].name} with rows of a class and shares of the image's size"


def _has_image(file: Path, folder: Path, finders: dict[Path, ImageFinder]) -> bool:
    above = file.parent
    if above not in finders:
        finders[above] = ImageFinder([images_beside(above)], FarImages(folder, file.relative_to(folder)))
    return finders[above].find(file.stem, any_suffix=True) is not None


def _holds_rows(lines: Sequence[tuple[Path, str]]) -> bool:
    return mostly_rows([line for _, line in lines])


def _lines_of(files: Iterable[Path]) -> list[tuple[Path, str]]:
    """(file, line) of what is filled, but for lists of images."""
    lines = [(file, line) for file in files for line in read_lines(file) if line]
    return [(file, line) for file, line in lines if not line.lower().endswith(IMAGE_SUFFIXES)]


def _holds_other_labels(folder: Path) -> bool:
    """Whether there are text files of labels, none of which has rows of YOLO: a data.yaml comes with other formats."""
    texts = [parts for parts in names_in(folder, (".txt",), deep=True) if parts[-1].lower() not in OTHER_TEXTS]
    told = []
    for parts in texts[:: max(1, len(texts) // LOOK_AT)][:LOOK_AT]:
        lines = [line for line in read_lines(folder.joinpath(*parts)) if line]
        if lines and not lines[0].lower().endswith(IMAGE_SUFFIXES):  # that is a list of images
            told.append(mostly_rows(lines))
    return bool(told) and not any(told)


def subsets(path: Path) -> tuple[str, ...]:
    """The parts that the set's file names and that are there: train, val, test."""
    layout = find_yolo(path, None)
    names = tuple(name for name, items in layout.parts.items() if name and items)
    return names if len(names) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a set or a part of it.

    Category ids are the class numbers 0, 1, ... of the labels. An image without a file of labels has no objects; one
    that is missing is dropped with its objects, since the shares need its size. `where` counts lines from 1.

    Raises:
        DataError: nothing of YOLO is there, an unknown subset, or not one image is found.
    """
    layout = find_yolo(source.path, source.images)
    chosen, first_id = _choose(layout, source)
    for part, detail in layout.missing.items():
        receipt.note("part-missing", str(source.path), f"{part}: {detail}")
    names = layout.names
    if names is None:
        names = _assumed(layout)
        receipt.note("class-assumed", str(source.path), f"no file names the {len(names)} classes: class_0 and so on")
    remarks = _Remarks()
    layout = replace(layout, keypoints=layout.keypoints or holds_poses(_first_rows(layout)))
    entries = [_entry(item, names, layout, receipt, remarks) for item in chosen]
    unlabelled = [item.name for item in chosen if item.labels is None]
    if unlabelled:
        detail = f"{len(unlabelled):,} of {len(chosen):,}, the first: {unlabelled[0]}"
        receipt.note("label-missing", str(source.path), detail)
    if remarks.scores:
        receipt.note("score-ignored", str(source.path), f"{remarks.scores:,} objects, the first: {remarks.first}")
    if remarks.keypoints:
        receipt.note("keypoints-lost", str(source.path), f"of {remarks.keypoints:,} objects")
    receipt.files += [*layout.files, *(item.labels for item in chosen if item.labels is not None)]
    categories = [Category(index, name) for index, name in sorted(names.items())]
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first_id, sized=False)


def _choose(layout: YoloLayout, source: ReadSource) -> tuple[tuple[YoloItem, ...], int]:
    """The images asked for, each once, and the first one's id: parts are numbered through."""
    items: dict[tuple[Path | None, str], YoloItem] = {}
    first = 1
    if source.subset is not None:
        if source.subset not in layout.parts:
            allowed = ", ".join(filter(None, layout.parts)) or "none"
            more = layout.missing.get(source.subset) or f"allowed: {allowed}{nearest(source.subset, layout.parts)}"
            raise DataError(f"{source.path}: no subset {source.subset!r}; {more}")
        before = list(layout.parts).index(source.subset)
        first += sum(len(part) for part in list(layout.parts.values())[:before])
    for name, part in layout.parts.items():
        if source.subset in {None, name}:
            items.update({(item.image, item.name): item for item in part})
    if not items:
        missing = "; ".join(layout.missing.values())
        raise DataError(f"{source.path}: no images or labels of YOLO are there{': ' + missing if missing else ''}")
    return tuple(items.values()), first


def _first_rows(layout: YoloLayout) -> list[list[str]]:
    """The rows of the set's first files of labels, whatever the part."""
    files = (item.labels for part in layout.parts.values() for item in part if item.labels is not None)
    return [line.split() for file in islice(files, LOOK_AT) for line in read_lines(file) if line]


def _assumed(layout: YoloLayout) -> dict[int, str]:
    highest = layout.count - 1
    for items in layout.parts.values():
        for item in items:
            for line in read_lines(item.labels) if item.labels else ():
                index = number(line.split()[0]) if line else -1.0
                if index < MOST_CLASSES and index.is_integer():
                    highest = max(highest, int(index))
    return {i: f"class_{i}" for i in range(highest + 1)}


def _entry(item: YoloItem, names: Mapping[int, str], layout: YoloLayout, receipt: Receipt, remarks: _Remarks) -> Entry:
    size = None
    if item.image is not None:
        try:
            size = size_of_image(item.image)
        except DataError:  # `assemble` says it, with what is lost
            size = None
    if item.labels is None:
        return Entry(item.name, item.name, size, item.image, ())
    inside = item.labels.is_relative_to(layout.root)
    label = item.labels.relative_to(layout.root).as_posix() if inside else item.labels.name
    lines = read_lines(item.labels, receipt, label)
    shapes = [
        _shape(line.split(), f"{label} line {n}", names, size or (1, 1), layout.keypoints, remarks)
        for n, line in enumerate(lines, start=1)
        if line
    ]
    return Entry(label, item.name, size, item.image, shapes)


def _shape(
    values: list[str],
    where: str,
    names: Mapping[int, str],
    size_wh: tuple[int, int],
    keypoints: bool,
    remarks: _Remarks,
) -> Shape:
    said = " ".join(values[:8]) + (" ..." if len(values) > 8 else "")
    index = number(values[0])
    if not index.is_integer() or abs(index) > MOST_CLASSES:
        return Shape(where, f"class {values[0][:40]}", fault=("row-malformed", f"the class is no whole number: {said}"))
    category_id = int(index)
    name = names.get(category_id)
    if not name:
        highest = max(names, default=-1)
        return Shape(where, f"class {category_id}", fault=("class-unknown", f"{said}; allowed: 0 to {highest}"))
    shape = Shape(where, name, category_id=category_id)
    numbers = np.array([number(value) for value in values[1:]], np.float64)
    if keypoints and len(numbers) > 4:
        remarks.keypoints += 1
        numbers = numbers[:4]
    if len(numbers) >= 5 and len(numbers) % 2:
        remarks.scores += 1
        remarks.first = remarks.first or f"{where}: {said}"
        shape = replace(shape, extra={"score": float(numbers[-1])} if np.isfinite(numbers[-1]) else {})
        numbers = numbers[:-1]
    if len(numbers) != 4 and len(numbers) < 6:
        detail = f"{len(values)} values, where a box has 5 and a polygon 7 or more: {said}"
        return replace(shape, fault=("row-malformed", detail))
    if np.isfinite(numbers).all() and np.abs(numbers).max() > 1e6:
        return replace(shape, fault=("box-not-numeric", f"a share of the image's size beyond reason: {said}"))
    width, height = size_wh
    if len(numbers) == 4:
        cx, cy, w, h = (numbers * (width, height, width, height)).tolist()
        return replace(shape, box_xyxy=(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
    polygon = (numbers.reshape(-1, 2) * (width, height)).reshape(-1)
    parts = split_at_seams(polygon) if np.isfinite(polygon).all() else (polygon,)
    if len(parts) > 1:
        shape = replace(shape, repairs=(("parts-split", f"{len(parts)} parts: {said}"),))
    return replace(shape, polygons=parts)
