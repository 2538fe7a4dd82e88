"""A data set as its source divides it: every subset (train, val, ...) read once, with what happened to each."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource, detect_format, format_told, load_format
from cvtune.data.receipt import Receipt
from cvtune.data.split_names import split_words
from cvtune.errors import DataError
from cvtune.meter import stage

__all__ = ["Part", "Parts", "read_parts", "without_collection"]


@dataclass(frozen=True)
class Part:
    """One subset by its name, or the whole set (None)."""

    name: str | None
    dataset: Dataset
    receipt: Receipt


@dataclass(frozen=True)
class Parts:
    """What was read: the format and why, and the parts. `rest` notes images that are in none of them."""

    path: Path
    format: str
    evidence: str
    parts: tuple[Part, ...]
    rest: Receipt


def read_parts(
    path: Path,
    format: str = "auto",
    images: Path | None = None,
    subset: str | None = None,
    origin: Literal["auto", 0, 1] = "auto",
) -> Parts:
    """Read a set part by part: one for each subset (but those that others already cover, as VOC's trainval), or one.

    What others cover is told by the name, or by the images and objects.

    Args:
        path: a file or folder of annotations.
        format: a format's name, or "auto" to tell it by content.
        images: where the images are; else they are searched around the annotations.
        subset: a named part, which is then read alone.
        origin: where pixels start, for formats that leave it open.

    Raises:
        DataError: the source is wrong or of no known format, or the format's name is unknown.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; correct the path of the annotations")
    name, evidence = detect_format(path) if format == "auto" else (format, "as asked")
    reader = load_format(name)
    names: list[str | None] = [subset]
    shared: dict[Any, Any] = {}
    parts = []
    with stage(f"reading {path.name}"), without_collection(), format_told(path, format):
        if subset is None:
            names = _covering(reader.subsets(path)) or [None]
        for part in names:
            receipt = Receipt()
            dataset = reader.read(ReadSource(path, images, part, origin, shared), receipt)
            parts.append(Part(None if part == subset else part, dataset, receipt))
        whole = ReadSource(path, images, None, origin, shared)
        rest = Receipt() if names == [subset] else _left_out(name, whole, [part.dataset for part in parts])
        covered = _covered(parts)
        if covered is not None:
            parts.remove(covered)
            detail = f"{covered.name}: {', '.join(str(part.name) for part in parts)} hold its images between them"
            rest.note("subset-covered", str(path), detail)
    return Parts(path, name, evidence, tuple(parts), rest)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Without the collector of cyclic garbage: readers make millions of objects that all stay, and no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _covering(subsets: Sequence[str]) -> list[str | None]:
    """All subsets but those that are the union of others by their name."""
    if len(subsets) < 2:
        return []  # one list adds nothing to the whole folder
    unions = {"trainval": {"train", "val"}, "all": {"train"}}
    return [name for name in subsets if not unions.get(name, {name + "?"}) <= set(subsets)]


def _covered(parts: Sequence[Part]) -> Part | None:
    """The part that holds what the others hold between them, as annotations.json beside train.json and test.json."""
    if len(parts) < 3 or not all(part.dataset.images for part in parts):
        return None
    images = [{str(image.path or image.file_name) for image in part.dataset.images} for part in parts]
    most = max(images, key=len)
    others = [names for names in images if names is not most]
    part = parts[images.index(most)]
    objects = sum(len(other.dataset.annotations) for other in parts if other is not part)
    if split_words(str(part.name)) - {"trainval"}:
        return None
    apart = sum(map(len, others)) == len(most) and set().union(*others) == most
    return part if apart and objects == len(part.dataset.annotations) else None


def _left_out(name: str, source: ReadSource, parts: Sequence[Dataset]) -> Receipt:
    """A note of the images that are in no subset."""
    receipt = Receipt()
    if name != "voc":  # only there the subsets are lists over a whole that can be read
        return receipt
    from cvtune.data.formats.voc import image_names

    covered = {image.id for part in parts for image in part.images}
    rest = [file_name for number, file_name in image_names(source).items() if number not in covered]
    if rest:
        receipt.note("subset-left-out", str(source.path), f"{len(rest):,} images, the first: {rest[0]}")
    return receipt
