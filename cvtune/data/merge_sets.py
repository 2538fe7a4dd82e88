"""`cvtune merge`: several data sets of any format as one COCO file, classes joined by name, with a receipt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cvtune.data.coco import Category, Dataset, Id, save_coco
from cvtune.data.leaks import note_leaks
from cvtune.data.merge import merge_datasets, with_names_apart
from cvtune.data.parts import read_parts
from cvtune.data.receipt import Receipt
from cvtune.data.record import keep_sources, write_record
from cvtune.errors import DataError, SpecError, nearest
from cvtune.meter import stage
from cvtune.staging import staged

__all__ = ["merge_sets", "parse_renames", "rename_classes"]


def merge_sets(
    paths: Sequence[Path], dst: Path, rename: Mapping[str, str] | None = None, images: Path | None = None
) -> Receipt:
    """Write ``annotations.json`` and ``receipt.json``. Parts of a set are joined too. Images are not copied.

    A file name that several sets use is written with the folder that tells them apart, relative to the common one.

    Args:
        paths: annotations in any known formats.
        dst: the folder to write to.
        rename: old -> new class name; classes that get the name of another become one with it.
        images: where the images of all are; else they are searched around the annotations.

    Raises:
        DataError: a data set is wrong, or no set has a class that is to be renamed.
        RunError: a file cannot be written.
    """
    rename = rename or {}
    sources = [read_parts(path, images=images) for path in paths]
    parts = [part for source in sources for part in source.parts]
    known = {category.name for part in parts for category in part.dataset.categories}
    for old in rename:
        if old not in known:
            raise DataError(
                f"--rename: no set has the class {old!r}; allowed: {', '.join(sorted(known))}{nearest(old, known)}"
            )
    receipt = Receipt.merge(*(source.rest for source in sources), *(part.receipt for part in parts))
    datasets = [rename_classes(part.dataset, rename) for part in parts]
    merged = merge_datasets(with_names_apart(datasets, str(dst), receipt), str(dst), receipt)
    note_leaks({str(dst): merged.images}, receipt)
    _note_alike([category.name for category in merged.categories], str(dst), receipt)
    names = {category.id: category.name for category in merged.categories}
    # Renamed classes leave under the name that they came by: the sums are of the same objects.
    before = [_names_of(part.dataset) for part in parts]
    came: Counter[str | None] = Counter()
    for part, names_before in zip(parts, before, strict=True):
        came.update(names_before[annotation.category_id] for annotation in part.dataset.annotations)
    receipt.count_out(len(merged.images), came)
    receipt.check_sums()
    written = Counter(names[annotation.category_id] for annotation in merged.annotations)
    for old, new in rename.items():
        receipt.note("class-renamed", str(dst), f"{old} -> {new}: {came[old]:,} objects, {written[new]:,} in all")
    with staged(dst) as staging:
        target = Path(dst) / "annotations.json"
        keep_sources(receipt.files, target, any(source.format == "coco" for source in sources))
        with stage("writing"):
            save_coco(merged, target)
        write_record(staging, receipt, sources, {"format": "coco", "rename": dict(rename), "classes": dict(written)})
    return receipt


def parse_renames(texts: Sequence[str]) -> dict[str, str]:
    """``old=new`` texts as a mapping.

    Raises:
        SpecError: a text is of another form, or names one class twice.
    """
    renames: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old or not new:
            raise SpecError(f"--rename: got {text!r}; allowed: OLD=NEW, such as --rename car=vehicle")
        if renames.setdefault(old, new) != new:
            raise SpecError(f"--rename: {old!r} gets two names, {renames[old]!r} and {new!r}; give one")
    return renames


def rename_classes(dataset: Dataset, rename: Mapping[str, str]) -> Dataset:
    """The set with new class names; classes that end with one name become one, with the id of the first."""
    if not rename:
        return dataset
    first: dict[str, Category] = {}
    ids: dict[Id, Id] = {}
    for category in dataset.categories:
        name = rename.get(category.name, category.name)
        ids[category.id] = first.setdefault(name, replace(category, name=name)).id
    annotations = tuple(replace(a, category_id=ids[a.category_id]) for a in dataset.annotations)
    return replace(dataset, categories=tuple(first.values()), annotations=annotations)


def _note_alike(names: Sequence[str], where: str, receipt: Receipt) -> None:
    """Note classes whose names differ in case, spaces, `_` and `-` alone."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(re.sub(r"[\s_-]+", "", name).casefold(), []).append(name)
    for first, *others in alike.values():
        for other in others:
            receipt.note("classes-alike", where, f"{other!r} and {first!r}; --rename '{other}={first}' joins them")


def _names_of(dataset: Dataset) -> dict[Id, str]:
    """Category id -> name."""
    return {category.id: category.name for category in dataset.categories}
