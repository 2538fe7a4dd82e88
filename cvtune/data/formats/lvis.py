"""LVIS: COCO JSON in which images say which classes they were checked for.

Images may lack a file name and have ``coco_url`` instead, whose last two parts are the name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cvtune.data.coco import Dataset, Id, save_coco
from cvtune.data.coco_file import CocoFile, is_lvis, open_coco
from cvtune.data.coco_read import read_coco_file
from cvtune.data.formats import ReadSource
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write"]

CHECKED = ("neg_category_ids", "not_exhaustive_category_ids")


def detect(path: Path) -> str | None:
    """Evidence that `path` is LVIS: COCO JSON whose categories have a frequency, and images the classes checked."""
    files = _files(path)
    return (
        f"{files[0].name}{' and more' if len(files) > 1 else ''} with LVIS's frequency and {CHECKED[0]}"
        if files
        else None
    )


def subsets(path: Path) -> tuple[str, ...]:
    """The files of a folder, by their stem."""
    files = _files(path) if path.is_dir() else []
    return tuple(file.stem for file in files) if len(files) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read an LVIS file as COCO; the lists of classes checked stay in `Image.extra`, a class's frequency in its extra.

    Raises:
        DataError: no LVIS file, several without a `subset`, or a wrong one.
    """
    files = {file.stem: file for file in _files(source.path)}
    if not files:
        raise DataError(f"{source.path}: no LVIS file: COCO JSON with frequency and {CHECKED[0]}")
    if source.subset is not None and source.subset not in files:
        raise DataError(
            f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(files)}{nearest(source.subset, files)}"
        )
    if source.subset is None and len(files) > 1:
        raise DataError(
            f"{source.path}: holds several LVIS files; name one with `subset`, or give the file; "
            f"allowed: {', '.join(files)}"
        )
    file = files[source.subset] if source.subset is not None else next(iter(files.values()))
    lost, images_lost = receipt.classes_dropped, receipt.images_dropped
    root = source.path if source.path.is_dir() else None
    dataset = read_coco_file(_Named(open_coco(file)), file, source.images, receipt, root)
    names = {category.id: category.name for category in dataset.categories}
    came: Counter[str | None] = Counter(names[a.category_id] for a in dataset.annotations)
    came.update(receipt.classes_dropped - lost)
    receipt.count_in(len(dataset.images) + receipt.images_dropped - images_lost, came)
    receipt.files.append(file)
    missing = [image.file_name for image in dataset.images if image.path is None]
    if missing:
        receipt.note(
            "image-missing", str(file), f"{len(missing):,} of {len(dataset.images):,}, the first: {missing[0]}"
        )
    partly = sum(bool(image.extra.get(CHECKED[1])) for image in dataset.images)
    detail = f"{partly:,} of {len(dataset.images):,} images are not labelled in full for some class"
    receipt.note("classes-checked", str(file), detail)
    return dataset


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write LVIS JSON to `path`, or to ``annotations.json`` in it where it does not end in .json.

    Where images do not say which classes they were checked for, their lists are written empty; a missing frequency is
    counted: r (rare) up to 10 images, c (common) up to 100, f (frequent) above.

    Raises:
        RunError: the file cannot be written.
    """
    holders: dict[Id, set[Id]] = defaultdict(set)
    for annotation in dataset.annotations:
        holders[annotation.category_id].add(annotation.image_id)
    counts = Counter(annotation.category_id for annotation in dataset.annotations)
    categories = []
    for category in dataset.categories:
        n = len(holders[category.id])
        counted = {
            "frequency": "r" if n <= 10 else "c" if n <= 100 else "f",
            "image_count": n,
            "instance_count": counts[category.id],
        }
        categories.append(replace(category, extra={**counted, **category.extra}))
    unsaid = sum(not set(CHECKED) <= set(image.extra) for image in dataset.images)
    if unsaid:
        detail = f"{unsaid:,} images do not say which classes they were checked for; written as none"
        receipt.note("classes-checked", str(path), detail)
    images = tuple(replace(image, extra={**{key: [] for key in CHECKED}, **image.extra}) for image in dataset.images)
    file = path if path.suffix.lower() == ".json" else path / "annotations.json"
    save_coco(replace(dataset, images=images, categories=tuple(categories)), file)
    return (file,)


class _Named(CocoFile):
    """An LVIS file whose images have a file name."""

    def __init__(self, file: CocoFile) -> None:
        super().__init__(file.where, file._values, file._text)

    def chunks(self, key: str) -> Iterator[list[dict[str, Any]]]:
        for records in super().chunks(key):
            if key == "images":
                for record in records:
                    url = record.get("coco_url")
                    if "file_name" not in record and isinstance(url, str):
                        record["file_name"] = "/".join(url.split("/")[-2:])
            yield records


def _files(path: Path) -> list[Path]:
    found = (
        [path] if path.is_file() else [*sorted(path.glob("*.json"))[:20], *sorted(path.glob("annotations/*.json"))[:20]]
    )
    return [file for file in found if file.suffix.lower() == ".json" and _is_lvis(file)]


def _is_lvis(file: Path) -> bool:
    try:
        return is_lvis(open_coco(file))
    except DataError:
        return False
