"""`cvtune split`: a data set of any format as one COCO file a part, with a receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from cvtune.data.coco import Dataset, save_coco
from cvtune.data.merge import merge_datasets, with_names_apart
from cvtune.data.parts import read_parts
from cvtune.data.receipt import Receipt
from cvtune.data.record import keep_sources, write_record
from cvtune.data.split import group_of, split_dataset
from cvtune.errors import SpecError
from cvtune.meter import stage
from cvtune.spec import SplitSpec
from cvtune.staging import staged

__all__ = ["parse_split", "split_set"]


def split_set(
    path: Path,
    dst: Path,
    spec: SplitSpec,
    stratify: bool = False,
    format: str = "auto",
    images: Path | None = None,
    subset: str | None = None,
    origin: Literal["auto", 0, 1] = "auto",
) -> tuple[Receipt, dict[str, Any]]:
    """Write ``train.json``, ``val.json`` and, where asked, ``test.json``, and ``receipt.json``.

    A set that has parts already is joined first, unless `subset` names one; images that the parts call alike get the
    folder that tells them apart into their name. Images are not copied.

    Args:
        path: annotations in any known format.
        dst: the folder to write to.
        spec: shares, groups and seed.
        stratify: give every part its share of each class; else a group's place is a hash, and new images move no old.
        format: the format's name, or "auto".
        images: where the images are; else they are searched around the annotations.
        subset: a named part, which is then split alone.
        origin: where pixels start, for formats that leave it open.

    Returns:
        The receipt, and what each part got: part -> {"images", "annotations", "classes": name -> annotations}.

    Raises:
        DataError: the data set is wrong, a field to group by is missing, or the split is impossible.
        RunError: a file cannot be written.
    """
    source = read_parts(path, format, images, subset, origin)
    receipt = Receipt.merge(source.rest, *(part.receipt for part in source.parts))
    datasets = [part.dataset for part in source.parts]
    # By the names that the set gives: a video whose frames lie in several parts stays together.
    groups = [group_of(image, spec.by) for dataset in datasets for image in dataset.images]
    whole = merge_datasets(with_names_apart(datasets, str(path), receipt), str(path), receipt)
    parts = split_dataset(whole, spec, stratify, groups)
    got = {name: _contents(part) for name, part in parts.items()}
    how = {"val": spec.val, "test": spec.test, "by": spec.by, "seed": spec.seed, "stratify": stratify}
    counts = ", ".join(f"{name} {len(part.images):,}" for name, part in parts.items())
    receipt.note("split-made", str(path), f"{counts} images, by {spec.by}, seed {spec.seed}")
    for part in got.values():
        receipt.count_out(part["images"], part["classes"])
    receipt.check_sums()
    with staged(dst) as staging:
        for name, part_set in parts.items():
            target = Path(dst) / f"{name}.json"
            keep_sources(receipt.files, target, source.format == "coco")
            with stage(f"writing {name}"):
                save_coco(part_set, target)
        write_record(staging, receipt, [source], {"format": "coco", "split": {**how, "parts": got}})
    return receipt, got


def parse_split(val: float, test: float, by: str, seed: int) -> SplitSpec:
    """The command line's shares, group and seed.

    Raises:
        SpecError: one of them is wrong.
    """
    given = {"val": val, "test": test, "by": by, "seed": seed}
    try:
        return SplitSpec.model_validate(given)
    except ValidationError as error:
        told = {str(e["loc"][0]) if e["loc"] else "": e["msg"].removeprefix("Value error, ") for e in error.errors()}
    wrong = [
        f"--{key} {given[key]}: {message[:1].lower()}{message[1:]}" if key in ("val", "test", "seed")
        else f"--by: got {by!r}; allowed: image, prefix or field:NAME" if key == "by"
        else message
        for key, message in told.items()
    ]  # fmt: skip
    raise SpecError(f"split: {'; '.join(wrong)}")


def _contents(part: Dataset) -> Mapping[str, Any]:
    names = {category.id: category.name for category in part.categories}
    counts = Counter(names[annotation.category_id] for annotation in part.annotations)
    classes = {name: counts[name] for name in names.values()}
    return {"images": len(part.images), "annotations": len(part.annotations), "classes": classes}
