"""WIDER FACE: text files with, for each image, its path, how many faces it has, and a line for each of them.

A face is left, top, width, height, blur, expression, illumination, invalid, occlusion, pose. An image of 0 faces is
followed by a line of zeros. RetinaFace's ``label.txt`` has "# " before the path, no count, and landmarks behind the
box.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import FileSet, Finders
from cvtune.data.formats.label_folders import known_size
from cvtune.data.formats.texts import number, read_lines
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError, nearest

__all__ = ["detect", "read", "subsets", "write"]

FACE = "face"
FIELDS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
# RetinaFace's mark of a path, and how many values a face has there: a box, five landmarks, a score.
MARK, LANDMARKED = "# ", 20
UNCOUNTED = -2
Block = tuple[str, int, list[tuple[int, str]]]


def detect(path: Path) -> str | None:
    """Evidence that `path` is WIDER FACE: a text file of image paths, counts and as many lines of numbers."""
    files = _files(path)
    return f"{files[0].name}{' and more' if len(files) > 1 else ''} of image paths, counts and faces" if files else None


def subsets(path: Path) -> tuple[str, ...]:
    """The files of a folder, by their stem."""
    files = _files(path) if path.is_dir() else []
    return tuple(file.stem for file in files) if len(files) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read faces; the six flags are in `Annotation.extra`. Sizes are those of the images.

    Faces marked invalid are kept; the receipt counts them.

    Raises:
        DataError: there is no such file, an unknown subset, or no image was found.
    """
    files = _files(source.path)
    if not files:
        raise DataError(f"{source.path}: no .txt file of image paths, counts and faces")
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}")
    root = source.path if source.path.is_dir() else source.path.parent
    folders = [
        str(base / name / "images")
        for base in (root, root.parent)
        for name in (".", "WIDER_train", "WIDER_val", "WIDER_test")
    ]
    entries: list[Entry] = []
    first = 1
    invalid = landmarks = 0
    for file in files:
        label = FileSet(root, ()).label(file)
        blocks = list(_blocks(read_lines(file, receipt if source.subset in {None, file.stem} else None, label)))
        if source.subset not in {None, file.stem}:
            first += 0 if entries else len(blocks)
            continue
        receipt.files.append(file)
        finders = Finders(root, source.images, [name for name, _, _ in blocks], beside=folders)
        for name, said, faces in blocks:
            path, called = finders.find(name, file)
            where = f"{label} {name}"
            shapes = [shape for line_number, line in faces if (shape := _face(line, f"{label} line {line_number}"))]
            if said not in {len(shapes), UNCOUNTED}:
                receipt.note("count-differs", where, f"says {said} faces, holds {len(shapes)}")
            landmarks += len(faces) if said == UNCOUNTED else 0
            invalid += sum(shape.extra.get("invalid") == 1 for shape in shapes)
            entries.append(Entry(where, called if path else name, known_size(path), path, shapes))
    if invalid:
        receipt.note("ignore-flag-kept", str(source.path), f"{invalid:,} faces marked invalid")
    if landmarks:
        receipt.note("keypoints-lost", str(source.path), f"of {landmarks:,} faces")
    return assemble(entries, alphabetical([FACE]), receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: WIDER FACE has one class."""
    raise UnsupportedError("format: 'wider_face' is read only, since it has faces alone; write `csv` or `coco`")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".txt" and _is_wider(path) else []
    for patterns in (("*.txt", "*/*.txt"), ("*/*/*.txt",)):
        found = [file for pattern in patterns for file in sorted(path.glob(pattern))[:20] if _is_wider(file)]
        if found:
            return found
    return []


def _is_wider(file: Path) -> bool:
    try:
        with open(file, "rb") as stream:
            if len(stream.read(16)) < 16:
                return False
        lines = list(itertools.islice((line for line in read_lines(file) if line), 200))
    except (OSError, DataError):
        return False
    blocks = list(itertools.islice(_blocks(lines), 20))
    good = sum(_is_usual(said, faces) for _, said, faces in blocks)
    return bool(blocks) and _is_path(lines[0].removeprefix(MARK)) and 2 * good > len(blocks)


def _is_usual(said: int, faces: Sequence[tuple[int, str]]) -> bool:
    if said == UNCOUNTED:
        return all(len(line.split()) == LANDMARKED for _, line in faces)
    return said >= 0 and (not faces or _face(faces[0][1], "") is not None or not said)


def _is_path(line: str) -> bool:
    return line.lower().endswith(IMAGE_SUFFIXES) and not math.isfinite(number(line))


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    """(image, the count that is said, -1 or `UNCOUNTED`, (line, text) of its faces)."""
    block: Block | None = None
    for line_number, line in enumerate(lines, start=1):
        if not line:
            continue
        if _is_path(line.removeprefix(MARK)):
            if block is not None:
                yield block
            block = (line.removeprefix(MARK), UNCOUNTED if line.startswith(MARK) else -1, [])
        elif block is not None and block[1] == -1 and line.isdecimal() and len(line) < 9:
            block = (block[0], int(line), block[2])
        elif block is not None:
            block[2].append((line_number, line))
    if block is not None:
        yield block


def _face(line: str, where: str) -> Shape | None:
    """A face; None for the line of zeros that stands for none."""
    fields = line.split()
    values = [number(field) for field in fields]
    if len(fields) >= 4 and not any(values):
        return None
    if len(fields) < 4:
        return Shape(where, FACE, fault=("row-malformed", f"expected four numbers or more, got {line[:80]!r}"))
    x, y, w, h = values[:4]
    flags = [] if len(values) == LANDMARKED else values[4:]
    extra = {key: int(v) for key, v in zip(FIELDS, flags, strict=False) if math.isfinite(v) and abs(v) < 100}
    if not math.isfinite(x + y + w + h):
        return Shape(where, FACE, fault=("box-not-numeric", line[:80]), extra=extra)
    return Shape(where, FACE, (x, y, x + w, y + h), extra=extra)
