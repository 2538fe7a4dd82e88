"""MOT Challenge's ground truth: ``<sequence>/gt/gt.txt`` and ``seqinfo.ini`` beside ``img1``.

A line is frame, track, left, top, width, height, flag, class, visibility; in the sets of 2015 there are world
coordinates instead of the last two. Frames and pixels count from 1. CVAT and Datumaro write a list of their own classes
beside it, ``gt/labels.txt``, and pixels from 0.
"""

from __future__ import annotations

import configparser
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, assemble
from cvtune.data.formats.mask_images import mask_files
from cvtune.data.formats.texts import number, read_lines, read_text, whole
from cvtune.data.receipt import Receipt
from cvtune.data.split_names import is_split
from cvtune.errors import DataError, UnsupportedError, nearest

__all__ = ["detect", "read", "subsets", "write"]

NAMES = (
    "pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle", "static person",
    "distractor", "occluder", "occluder on the ground", "occluder full", "reflection", "crowd",
)  # fmt: skip


def detect(path: Path) -> str | None:
    """Evidence that `path` holds sequences of MOT: gt.txt of 9 or 10 columns of numbers."""
    files = _files(path)
    if not files or not _is_mot(files[0]):
        return None
    return f"{len(files):,} gt/gt.txt of MOT's columns"


def subsets(path: Path) -> tuple[str, ...]:
    """train, val and test, where sequences lie in several of them."""
    found = dict.fromkeys(_split(file, path) for file in _files(path)) if path.is_dir() else {}
    return tuple(split for split in found if split) if len(found) > 1 and None not in found else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read all frames of all sequences; category ids are MOT's, 1 to 13, or the places in ``labels.txt``, from 1.

    `track_id`, `flag` and `visibility` are in `Annotation.extra`, `sequence` and `frame` in `Image.extra`. Objects of
    flag 0, which MOT's scores leave out, are kept. Pixels start at 1, with ``labels.txt`` at 0; `origin` overrides.

    Raises:
        DataError: there is no gt.txt, seqinfo.ini is malformed, lists of classes differ, an unknown subset, or no frame
            has a size.
    """
    files = _files(source.path)
    if not files:
        raise DataError(f"{source.path}: no <sequence>/gt/gt.txt; give the folder of the sequences")
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    root = source.path if source.path.is_dir() else source.path.parent.parent.parent
    listed = _listed(files)
    names = listed or NAMES
    origin, code, why = (0 if listed else 1), "origin-defined", ", as its labels.txt shows" if listed else ""
    if source.origin != "auto":
        origin, code, why = source.origin, "origin-given", ""
    receipt.note(code, str(source.path), f"{origin}-based{why}")
    entries: list[Entry] = []
    first = 1
    for file in files:
        chosen = source.subset is None or _split(file, source.path) == source.subset
        found = _sequence(file, root, source.images, (origin, names), receipt if chosen else Receipt())
        if chosen:
            entries += found
            receipt.files.append(file)
        elif not entries:
            first += len(found)
    flagged = sum(shape.extra.get("flag") == 0 for entry in entries for shape in entry.shapes)
    if flagged:
        receipt.note("ignore-flag-kept", str(source.path), f"{flagged:,} objects of flag 0")
    categories = tuple(Category(i, name) for i, name in enumerate(names, start=1))
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: tracks cannot be made up."""
    raise UnsupportedError("format: 'mot' is read only, since it needs tracks; write `csv` or `coco`")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name == "gt.txt" else []
    if path.name == "gt" and (path / "gt.txt").is_file():
        return [path / "gt.txt"]
    for pattern in ("gt/gt.txt", "*/gt/gt.txt", "*/*/gt/gt.txt", "*/*/*/gt/gt.txt", "*/*/*/*/gt/gt.txt"):
        if found := sorted(path.glob(pattern)):
            return found
    return []


def _listed(files: Sequence[Path]) -> tuple[str, ...]:
    """The classes that the sequences list in files of their own; none where there are none."""
    found: dict[tuple[str, ...], Path] = {}
    for file in files:
        lists = (folder / "labels.txt" for folder in (file.parent, file.parent.parent))
        labels = next((labels for labels in lists if labels.is_file()), None)
        names = [] if labels is None else read_lines(labels)
        while names and not names[-1]:
            names.pop()
        if labels is not None and names:
            found.setdefault(tuple(names), labels)
    if len(found) > 1:
        raise DataError(f"{', '.join(map(str, found.values()))}: list different classes; read the sequences one by one")
    return next(iter(found), ())


def _split(file: Path, path: Path) -> str | None:
    above = file.parent.parent.parent
    return above.name if above != path and is_split(above.name) else None


def _is_mot(file: Path) -> bool:
    try:
        lines = [line for line in read_lines(file)[:50] if line]
    except DataError:
        return False
    good = sum(_fields(line) is not None for line in lines)
    return 2 * good > len(lines)


def _fields(line: str) -> list[float] | None:
    fields = [number(field) for field in line.replace(",", " ").split()]
    if len(fields) not in {9, 10} or not all(math.isfinite(v) and v.is_integer() for v in fields[:2]):
        return None
    return fields if 0 < fields[0] < 1e7 else None


def _sequence(
    file: Path, root: Path, images: Path | None, numbers: tuple[int, Sequence[str]], receipt: Receipt
) -> list[Entry]:
    """The frames of a sequence, those without objects too where their image is there.

    `numbers` are where pixels begin, and the names of the classes 1, 2, ...
    """
    sequence = file.parent.parent
    label = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    info = _info(sequence / "seqinfo.ini", receipt)
    folder_name = info.get("imdir", "img1")
    bases = [images / sequence.name, images] if images is not None else [sequence]
    folder = next((f for base in bases for f in (base / folder_name, base) if mask_files(f)), None)
    paths = {int(f.stem): f for f in (mask_files(folder) if folder else []) if f.stem.isdecimal() and len(f.stem) < 9}
    width, height = whole(info.get("imwidth")), whole(info.get("imheight"))
    size = (width, height) if width and height else None
    shapes: dict[int, list[Shape]] = defaultdict(list)
    for line_number, line in enumerate(read_lines(file, receipt, label), start=1):
        if not line:
            continue
        where = f"{label} line {line_number}"
        fields = _fields(line)
        if fields is None:
            # Without a frame there is no image to put it on.
            unknown: dict[str | None, int] = {None: 1}
            receipt.count_in(0, unknown)
            receipt.drop("row-malformed", where, f"expected 9 or 10 numbers, got {line[:80]!r}")
            continue
        shapes[int(fields[0])].append(_shape(fields, where, *numbers))
    frames = sorted({*paths, *shapes})
    suffix = info.get("imext", ".jpg")
    entries = []
    prefix = sequence.relative_to(root).as_posix() if sequence.is_relative_to(root) and sequence != root else ""
    for frame in frames:
        path = paths.get(frame)
        base = images if images is not None else root
        name = path.relative_to(base).as_posix() if path is not None and path.is_relative_to(base) else None
        name = name or "/".join(part for part in (prefix, folder_name, f"{frame:06d}{suffix}") if part)
        extra: dict[str, Any] = {"sequence": info.get("name", sequence.name), "frame": frame}
        entries.append(Entry(f"{label} frame {frame}", name, size, path, shapes.get(frame, []), extra))
    return entries


def _info(file: Path, receipt: Receipt) -> dict[str, str]:
    """The keys of seqinfo.ini in lower case; empty where there is none."""
    if not file.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text(file, receipt).removeprefix("\ufeff"))
    except configparser.Error as error:
        raise DataError(f"{file}: not valid: {' '.join(str(error).split())}; mend or remove the file") from error
    found = {key.lower(): value for section in parser.sections() for key, value in parser.items(section)}
    safe = found.get("imdir", "img1")
    if "/" in safe or "\\" in safe or "\0" in safe or safe in {"", ".", ".."}:
        found["imdir"] = "img1"
    return found


def _shape(fields: list[float], where: str, origin: int, names: Sequence[str]) -> Shape:
    # The sets of 2015 have pedestrians alone, and three world coordinates behind the flag.
    number_of_class = int(fields[7]) if len(fields) == 9 and math.isfinite(fields[7]) and abs(fields[7]) < 1e6 else 1
    name = names[number_of_class - 1] if 1 <= number_of_class <= len(names) else None
    extra: dict[str, Any] = {"track_id": int(fields[1])}
    if math.isfinite(fields[6]):
        extra["flag"] = int(fields[6]) if fields[6].is_integer() and abs(fields[6]) < 1e6 else fields[6]
    if len(fields) == 9 and math.isfinite(fields[8]):
        extra["visibility"] = fields[8]
    x, y, w, h = fields[2:6]
    if name is None:
        return Shape(
            where, None, fault=("class-unknown", f"class {fields[7]:g}; allowed: 1 to {len(names)}"), extra=extra
        )
    if not math.isfinite(x + y + w + h):
        return Shape(where, name, fault=("box-not-numeric", f"left={x} top={y} width={w} height={h}"), extra=extra)
    return Shape(where, name, (x - origin, y - origin, x - origin + w, y - origin + h), extra=extra)
