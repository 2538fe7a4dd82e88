"""TFRecord of TensorFlow's Object Detection API: boxes as shares of the image, masks as PNG, images embedded.

Files may be shards (``train.record-00000-of-00010``); a ``*.pbtxt`` beside them gives classes that are numbers a name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, assemble, decode_png
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.mask_images import crop
from cvtune.data.formats.texts import read_text
from cvtune.data.formats.tf_example import Feature, is_tfrecord, read_examples
from cvtune.data.image_names import unique_name
from cvtune.data.images import size_of_content
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError, nearest

__all__ = ["detect", "embedded_images", "read", "subsets", "write"]

Example = dict[str, Feature]
PATTERN = re.compile(r"\.(record|records|tfrecord|tfrecords)(-\d+-of-\d+)?$", re.IGNORECASE)
BOX = "image/object/bbox/"
FLAGS = ("difficult", "truncated", "view", "weight")


def detect(path: Path) -> str | None:
    """Evidence that `path` is TFRecord: a record whose checksum is right, with features of objects."""
    files = _files(path)
    if not files:
        return None
    try:
        _, example = next(read_examples(files[0]), (0, {}))
    except DataError:
        return None
    boxed = [key for key in example if key.startswith("image/object/")]
    if not boxed and "image/encoded" not in example:
        return None
    more = " and more" if len(files) > 1 else ""
    return f"{files[0].name}{more} with the features {', '.join(boxed[:3]) or 'image/encoded'}"


def subsets(path: Path) -> tuple[str, ...]:
    """The files of a folder without suffix and number of shard, or else the folders that they lie in."""
    found = dict.fromkeys(_parts(_files(path)).values()) if path.is_dir() else {}
    return tuple(found) if len(found) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read boxes and masks. The images inside of the records stay there; `embedded_images` takes them out.

    Category ids are those of the records (image/object/class/label) where each goes with one name, else 1, 2, ... in
    alphabetical order. Flags such as `difficult` are in `Annotation.extra`.

    Raises:
        DataError: there is no such file, a record is damaged, or an unknown subset is asked for.
    """
    files = _files(source.path)
    if not files:
        raise DataError(f"{source.path}: no TFRecord file (.record, .tfrecord, with shards or without)")
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    root = source.path if source.path.is_dir() else source.path.parent
    known = _label_map(root, receipt)
    finders = Finders(root, source.images)
    entries: list[Entry] = []
    pairs: set[tuple[int | None, str]] = {(i, name) for i, name in known.items()}
    taken: set[str] = set()
    first, parts = 1, _parts(files)
    for file in files:
        chosen = source.subset in {None, parts[file]}
        label = FileSet(root, ()).label(file)
        for number, example in read_examples(file):
            where = f"{label} record {number}"
            name = _named(example, where, taken if chosen else set())
            entry, found = _entry(example, where, name, known, finders, file)
            pairs |= found
            if chosen:
                entries.append(entry)
            elif not entries:
                first += 1
        if chosen:
            receipt.files.append(file)
    categories = _categories(pairs)
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first, sized=False)


def embedded_images(source: ReadSource) -> Iterator[tuple[str, bytes]]:
    """(the name that `read` gave it, its content) of every image inside the records.

    Raises:
        DataError: a record is damaged.
    """
    root = source.path if source.path.is_dir() else source.path.parent
    taken: set[str] = set()
    for file, part in _parts(_files(source.path)).items():
        if source.subset in {None, part}:
            for number, example in read_examples(file):
                name = _named(example, f"{FileSet(root, ()).label(file)} record {number}", taken)
                if content := _content(example):
                    yield name, content


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: records hold the images, which are not copied."""
    raise UnsupportedError("format: 'tfrecord' is read only; write `csv` or `coco`")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if is_tfrecord(path) else []
    for pattern in ("*", "*/*"):
        found = [f for f in sorted(path.glob(pattern)) if PATTERN.search(f.name) and f.is_file() and is_tfrecord(f)]
        if found:
            return found
    return []


def _parts(files: Sequence[Path]) -> dict[Path, str]:
    """File -> the part that it belongs to: of one name in several folders, as Roboflow exports them, its folder."""
    names = {file: PATTERN.sub("", file.name) for file in files}
    return names if len(set(names.values())) > 1 else {file: file.parent.name for file in files}


def _label_map(root: Path, receipt: Receipt) -> dict[int, str]:
    """Number -> name of a *.pbtxt: ``item { id: 1 name: 'cat' }``."""
    patterns = ((root, "*.pbtxt"), (root, "*/*label_map*.pbtxt"), (root.parent, "*label_map*.pbtxt"))
    file = next((file for folder, pattern in patterns for file in sorted(folder.glob(pattern))), None)
    if file is None:
        return {}
    found: dict[int, str] = {}
    for item in re.findall(r"item\s*\{(.*?)\}", read_text(file, receipt), re.DOTALL):
        number = re.search(r"\bid\s*:\s*(\d{1,9})\b", item)
        display = re.search(r"\bdisplay_name\s*:\s*(['\"])(.*?)\1", item)
        name = re.search(r"\bname\s*:\s*(['\"])(.*?)\1", item)
        chosen = name or display
        if number and chosen:
            found[int(number[1])] = chosen[2]
    if found:
        receipt.files.append(file)
    return found


def _text(values: Feature | None, i: int = 0) -> str:
    value = values[i] if values is not None and i < len(values) else b""
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value)


def _whole(values: Feature | None) -> int:
    value = values[0] if values else 0
    return int(value) if isinstance(value, int) and 0 < value < 10**9 else 0


def _number(values: Sequence[Any], i: int) -> float:
    value = values[i] if i < len(values) else math.nan
    return float(value) if isinstance(value, int | float) else math.nan


def _named(example: Example, where: str, taken: set[str]) -> str:
    """What a record's image is called; where the record holds the image, as no other of those `taken`, which grows."""
    name = _text(example.get("image/filename")) or _text(example.get("image/source_id")) or where.replace(" ", "_")
    content = _content(example)
    return name if content is None else unique_name(name, content, taken)


def _content(example: Example) -> bytes | None:
    value = next(iter(example.get("image/encoded", [])), None)
    return value if isinstance(value, bytes) else None


def _entry(
    example: Example, where: str, name: str, known: dict[int, str], finders: Finders, file: Path
) -> tuple[Entry, set[tuple[int | None, str]]]:
    size = (_whole(example.get("image/width")), _whole(example.get("image/height")))
    path, called = finders.find(name, file)
    if not all(size):
        size = known_size(path) or size_of_content(_content(example) or b"") or (0, 0)
    sides = [example.get(BOX + side, []) for side in ("xmin", "ymin", "xmax", "ymax")]
    texts, labels = example.get("image/object/class/text", []), example.get("image/object/class/label", [])
    masks = example.get("image/object/mask", [])
    count = max(len(values) for values in (*sides, texts, labels))
    shapes: list[Shape] = []
    pairs: set[tuple[int | None, str]] = set()
    for i in range(count):
        number = labels[i] if i < len(labels) and isinstance(labels[i], int) else None
        given = _text(texts, i) if i < len(texts) else ""
        found = given or (known.get(number, str(number)) if isinstance(number, int) else "")
        if found:
            pairs.add((number if isinstance(number, int) else None, found))
        extra = {key: flags[i] for key in FLAGS if i < len(flags := example.get(f"image/object/{key}", []))}
        extra = {
            key: value for key, value in extra.items() if isinstance(value, int) or math.isfinite(_number([value], 0))
        }
        crowd = _number(example.get("image/object/is_crowd", example.get("image/object/group_of", [])), i) == 1
        shapes.append(
            _shape(f"{where} object {i}", found or None, [_number(v, i) for v in sides], size, masks, i, crowd, extra)
        )
    entry = Entry(
        where,
        called if path else name,
        size if all(size) else None,
        path,
        shapes,
        embedded="image/encoded" in example,
    )
    return entry, pairs


def _shape(
    where: str, name: str | None, corners: list[float], size: tuple[int, int], masks: Feature, i: int, crowd: bool,
    extra: dict[str, Any],
) -> Shape:  # fmt: skip
    mask = masks[i] if i < len(masks) else None
    if isinstance(mask, bytes) and mask:
        inside = decode_png(mask)
        if isinstance(inside, str):
            return Shape(where, name, fault=("mask-invalid", inside), iscrowd=crowd, extra=extra)
        if all(size) and inside.shape != (size[1], size[0]):
            detail = f"{inside.shape[1]}x{inside.shape[0]}, but the image is {size[0]}x{size[1]}"
            return Shape(where, name, fault=("mask-size-differs", detail), iscrowd=crowd, extra=extra)
        if not inside.any():
            return Shape(where, name, fault=("mask-empty", "no pixel is set"), iscrowd=crowd, extra=extra)
        return Shape(where, name, patch=crop(inside), iscrowd=crowd, extra=extra)
    if not all(map(math.isfinite, corners)):
        said = ", ".join(f"{k}={v}" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
        return Shape(where, name, fault=("box-not-numeric", said), iscrowd=crowd, extra=extra)
    if not all(size):
        return Shape(where, name, fault=("image-size-missing", "boxes are shares of it"), iscrowd=crowd, extra=extra)
    x0, y0, x1, y1 = (round(v * s, 4) for v, s in zip(corners, size * 2, strict=True))
    return Shape(where, name, (x0, y0, x1, y1), iscrowd=crowd, extra=extra)


def _categories(pairs: set[tuple[int | None, str]]) -> tuple[Category, ...]:
    names = sorted({name for _, name in pairs})
    numbered = [(number, name) for number, name in pairs if number is not None]
    if len(numbered) == len(names) == len({number for number, _ in numbered}):
        return tuple(Category(number, name) for number, name in sorted(numbered))
    return tuple(Category(i, name) for i, name in enumerate(names, start=1))
