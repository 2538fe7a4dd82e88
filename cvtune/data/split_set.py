"""`cvtune split`: a data set of any format as one COCO file a part, with a receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from cvtune.data.coco import Dataset, save_coco
from cvtune.data.merge import merge_datasets
from cvtune.data.parts import read_parts
from cvtune.data.receipt import Receipt
from cvtune.data.record import keep_sources, write_record
from cvtune.data.split import split_dataset
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

    A set that has parts already is joined first, unless `subset` names one. Images are not copied.

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
    whole = merge_datasets([part.dataset for part in source.parts], str(path), receipt)
    parts = split_dataset(whole, spec, stratify)
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
    try:
        return SplitSpec(val=val, test=test, by=by, seed=seed)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'shares'}: {e['msg']}" for e in error.errors())
        raise SpecError(f"split: {told}; --by takes image, prefix or field:NAME") from None


def _contents(part: Dataset) -> Mapping[str, Any]:
    names = {category.id: category.name for category in part.categories}
    counts = Counter(names[annotation.category_id] for annotation in part.annotations)
    classes = {name: counts[name] for name in names.values()}
    return {"images": len(part.images), "annotations": len(part.annotations), "classes": classes}
