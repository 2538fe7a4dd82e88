"""Open Images: CSV of boxes (shares of the image) and of masks (PNG files), and the CSV of the classes' names.

Boxes with IsGroupOf are crowds. A mask goes to the box of the same image, class and corners; its PNG is often not of
the image's size and is scaled to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Corners, Entry, Shape, assemble, size_of_image
from cvtune.data.formats.file_sets import FileSet, Finders, find_files
from cvtune.data.formats.mask_images import crop, read_values
from cvtune.data.formats.tables import Row, Table, read_table, table_head
from cvtune.data.formats.texts import number
from cvtune.data.image_files import ImageFinder
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError, nearest

__all__ = ["detect", "read", "subsets", "write"]

BOXES = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
MASKS = ("MaskPath", "ImageID", "LabelName", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
FLAGS = ("IsOccluded", "IsTruncated", "IsDepiction", "IsInside")
TOOLKIT = "csv_folder"
PARTS = ("train", "validation", "val", "test")
Key = tuple[str, str, tuple[float, ...]]


@dataclass(frozen=True)
class _Csv:
    path: Path
    label: str
    at: Mapping[str, int]

    def cell(self, row: Row, name: str) -> str:
        return str(row.cells[self.at[name]]) if name in self.at else ""


def detect(path: Path) -> str | None:
    """Evidence that `path` is Open Images: CSV files with its columns."""
    files = [file for file, kind in _kinds(path).items() if kind]
    if not files:
        return None
    return f"{files[0].name}{' and more' if len(files) > 1 else ''} with ImageID, LabelName and corners"


def subsets(path: Path) -> tuple[str, ...]:
    """train, validation and test, where files of several are there, told by their names."""
    if not path.is_dir():
        return ()
    found = dict.fromkeys(_part(file) for file in _kinds(path))
    return tuple(part for part in found if part) if len(found) > 1 and None not in found else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes and masks. Images (``<ImageID>.jpg``) must be there: nothing else gives their size.

    Category ids are 1, 2, ... in the order of the classes' file, or over the sorted labels without one; `extra` has
    the label ("/m/01g317"). What is known of an object (IsOccluded and the like, Confidence) is in `Annotation.extra`.

    Raises:
        DataError: there are no such files, an unknown subset, or no image was found.
    """
    kinds = _kinds(source.path)
    if not kinds:
        raise DataError(f"{source.path}: no CSV file with the columns {', '.join(BOXES)}, or of masks")
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    root = source.path if source.path.is_dir() else source.path.parent
    rows: dict[str, list[tuple[_Csv, str, Row]]] = {}
    used: set[str] = set()
    for file, kind in kinds.items():
        csv, table = _open(file, root, receipt)
        used.update(csv.cell(row, "LabelName") for row in table.rows)
        if source.subset not in {None, _part(file)}:
            continue
        receipt.files.append(file)
        for line in table.ragged:
            receipt.note("row-malformed", f"{csv.label} line {line}", "its cells are not as many as the header's")
        for row in table.rows:
            rows.setdefault(csv.cell(row, "ImageID"), []).append((csv, kind, row))
        del table  # of fifteen million rows
    categories, ids = _classes(kinds, root, sorted(used - {""}), receipt)
    folders = [source.images] if source.images is not None else _image_folders(root)
    finders = Finders(root, source.images, beside=[str(folder) for folder in folders])
    mask_finder = ImageFinder([folder for base in (root, root.parent) for folder in _mask_folders(base)])
    entries = _entries(rows, finders, mask_finder, ids)
    return assemble(entries, categories, receipt, source=source.path, sized=False)


def _entries(
    rows: dict[str, list[tuple[_Csv, str, Row]]], finders: Finders, masks: ImageFinder, ids: Mapping[str, Category]
) -> Iterator[Entry]:
    """The images one after another; `rows` is emptied on the way."""
    for image_id in list(rows):
        found = rows.pop(image_id)
        path, name = finders.find(image_id, found[0][0].path)
        name = name if path is not None else f"{image_id}.jpg"
        size: tuple[int, int] | None = None
        if path is not None:
            try:
                size = size_of_image(path)
            except DataError:
                size = None
        shapes = _shapes(found, size, masks, ids)
        yield Entry(f"{found[0][0].label} image {image_id}", name, size, path, shapes)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError."""
    raise UnsupportedError("format: 'openimages' is read only; write `csv` or `coco`")


def _kinds(path: Path) -> dict[Path, str]:
    """File -> "boxes" or "masks", of the CSV files that are either."""
    return _kinds_of(find_files(path, ".csv"), path) or _kinds_of(find_files(path, ".csv", deep=True), path)


def _kinds_of(files: FileSet, path: Path) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for file in files.files[:50]:
        if TOOLKIT in file.relative_to(path).parts[:-1]:  # lists all of Open Images, of which little was downloaded
            continue
        head = table_head(file)
        if head is None:
            continue
        if set(MASKS) <= set(head.columns):
            found[file] = "masks"
        elif set(BOXES) <= set(head.columns):
            found[file] = "boxes"
    return found


def _part(file: Path) -> str | None:
    return next((part for part in PARTS if part in file.name.lower() or part == file.parent.name.lower()), None)


def _open(file: Path, root: Path, receipt: Receipt) -> tuple[_Csv, Table]:
    label = FileSet(root, ()).label(file)
    table = read_table(file, receipt, label)
    return _Csv(file, label, {name: i for i, name in reversed(list(enumerate(table.columns)))}), table


def _image_folders(root: Path) -> list[Path]:
    names = ("", *PARTS, *(f"images/{part}" for part in PARTS), *(f"data/{part}" for part in PARTS), "data")
    return [base / name for base in (root, root.parent) for name in names]


def _mask_folders(root: Path) -> list[Path]:
    named = [
        root,
        root / "masks",
        *(root / "masks" / part for part in PARTS),
        *(root / f"{part}-masks" for part in PARTS),
    ]
    return [folder for folder in named if folder.is_dir()]


def _described(files: Iterable[Path], root: Path) -> Path | None:
    """The CSV of the classes' names: beside the set or its tables, a folder above, or in FiftyOne's `metadata`."""
    folders = dict.fromkeys(base for file in (root / "x", *files) for base in (file.parent, file.parent.parent))
    for folder in folders:
        found = [*sorted(folder.glob("*class-descriptions*.csv")), folder / "metadata" / "classes.csv"]
        if found[0].is_file():
            return found[0]
    return None


def _classes(
    files: Iterable[Path], root: Path, used: Sequence[str], receipt: Receipt
) -> tuple[tuple[Category, ...], dict[str, Category]]:
    """The categories, and label -> category. Classes of the descriptions that no row has are left out of neither."""
    names: dict[str, str] = {}
    beside = _described(files, root)
    if beside is not None:
        table = read_table(beside, receipt, beside.name)
        # Older files have no header: their first line is a class too.
        pairs = [tuple(row.cells[:2]) for row in table.rows]
        if table.columns[0] != "LabelName":
            pairs.insert(0, table.columns[:2])
        names = {str(pair[0]): str(pair[1]) or str(pair[0]) for pair in pairs if len(pair) == 2 and pair[0]}
        receipt.files.append(beside)
    labels = [*names, *(label for label in used if label not in names)]
    taken: set[str] = set()
    found: dict[str, Category] = {}
    for i, label in enumerate(labels, start=1):
        name = names.get(label, label)
        name = f"{name} {label}" if name in taken else name
        taken.add(name)
        found[label] = Category(i, name, extra={"label_name": label})
    return tuple(found.values()), found


def _shapes(
    rows: Iterable[tuple[_Csv, str, Row]],
    size: tuple[int, int] | None,
    masks: ImageFinder,
    ids: Mapping[str, Category],
) -> list[Shape]:
    """The objects of one image: boxes, those with a mask as masks, and masks that have no box."""
    boxes: dict[Key, Shape] = {}
    shapes: list[Shape] = []
    of_masks: list[tuple[_Csv, Row]] = []
    for csv, kind, row in rows:
        if kind == "masks":
            of_masks.append((csv, row))
            continue
        shape, key = _box(csv, row, size, ids)
        if key in boxes or shape.fault is not None:
            shapes.append(shape)
        else:
            boxes[key] = shape
    for csv, row in of_masks:
        label = csv.cell(row, "LabelName")
        corners = tuple(number(csv.cell(row, f"Box{name}")) for name in ("XMin", "YMin", "XMax", "YMax"))
        key = (label, "", tuple(round(value, 5) if math.isfinite(value) else -1.0 for value in corners))
        owner = boxes.pop(key, None)
        shapes.append(_mask(csv, row, size, masks, ids, owner))
    return [*boxes.values(), *shapes]


def _box(csv: _Csv, row: Row, size: tuple[int, int] | None, ids: Mapping[str, Category]) -> tuple[Shape, Key]:
    where, label = f"{csv.label} line {row.line}", csv.cell(row, "LabelName")
    category = ids.get(label)
    extra: dict[str, Any] = {}
    for name in FLAGS:
        if csv.cell(row, name) in {"0", "1", "-1"}:
            extra[name] = int(csv.cell(row, name))
    confidence = number(csv.cell(row, "Confidence"))
    if math.isfinite(confidence):
        extra["Confidence"] = confidence
    said = {name: csv.cell(row, name) for name in ("XMin", "YMin", "XMax", "YMax")}
    corners = [number(value) for value in said.values()]
    key: Key = (label, "", tuple(round(value, 5) if math.isfinite(value) else -1.0 for value in corners))
    crowd = csv.cell(row, "IsGroupOf") in {"1", "1.0", "true", "True"}
    name_of = category.name if category else None
    if not all(map(math.isfinite, corners)):
        fault = ("box-not-numeric", ", ".join(f"{k}={v or 'missing'}" for k, v in said.items()))
        return Shape(where, name_of, fault=fault, iscrowd=crowd, extra=extra), key
    width, height = size or (1, 1)
    x0, y0, x1, y1 = corners
    box: Corners = (x0 * width, y0 * height, x1 * width, y1 * height)
    return Shape(where, name_of, box, iscrowd=crowd, extra=extra), key


def _mask(
    csv: _Csv,
    row: Row,
    size: tuple[int, int] | None,
    masks: ImageFinder,
    ids: Mapping[str, Category],
    owner: Shape | None,
) -> Shape:
    where, category = f"{csv.label} line {row.line}", ids.get(csv.cell(row, "LabelName"))
    name = category.name if category else None
    extra, crowd = (owner.extra, owner.iscrowd) if owner is not None else ({}, False)
    said = csv.cell(row, "MaskPath")
    found = masks.find(said)
    if found is None or size is None:
        if owner is not None:
            note = ("mask-missing-file", f"{said}; its box was taken")
            return Shape(where, name, owner.box_xyxy, repairs=(note,), iscrowd=crowd, extra=extra)
        return Shape(where, name, fault=("mask-missing-file", said), extra=extra)
    try:
        inside = read_values(found[0]) != 0
    except DataError as error:
        return Shape(where, name, fault=("mask-invalid", str(error)), extra=extra)
    got = (inside.shape[1], inside.shape[0])
    repairs: tuple[tuple[str, str], ...] = ()
    if got != size:
        repairs = (("mask-resized", f"{said} is {got[0]}x{got[1]}, its image {size[0]}x{size[1]}"),)
        inside = _resized(inside, size)
    if not inside.any():
        return Shape(where, name, fault=("mask-empty", said), extra=extra)
    return Shape(where, name, patch=crop(inside), repairs=repairs, iscrowd=crowd, extra=extra)


def _resized(inside: NDArray[np.bool_], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    scaled = Pillow.fromarray(inside.astype(np.uint8)).resize(size_wh, Pillow.Resampling.NEAREST)
    return np.asarray(scaled).astype(np.bool_)
