"""Taking validation and test images out of a training set: by hash, so that new images move no old one."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

from cvtune.data.coco import Dataset, Id, Image
from cvtune.data.stratify import assign_stratified
from cvtune.errors import DataError, nearest
from cvtune.spec import SplitSpec

__all__ = ["assign_splits", "group_of", "split_dataset"]


def group_of(image: Image, by: str) -> str:
    """The group of an image, which stays together.

    `image`: the file name. `prefix`: the folder and what the file name has before its first ``_`` or ``-``
    (``cam1/video3_0001.jpg`` -> ``cam1/video3``), or the whole stem. ``field:<key>``: that field of the image.

    Raises:
        DataError: the image has no such field, or it is empty.
    """
    name = PurePosixPath(image.file_name.replace("\\", "/"))
    if by == "image":
        return str(name)
    if by == "prefix":
        head = re.split(r"[_-]", name.stem, maxsplit=1)[0] or name.stem
        return str(name.parent / head)
    key = by.removeprefix("field:")
    value = image.extra.get(key)
    if value is None or value == "":
        fields = ", ".join(sorted(image.extra)) or "none"
        raise DataError(
            f"data.split.by: image {image.file_name} has no field {key!r}; "
            f"its fields: {fields}{nearest(key, image.extra)}"
        )
    return str(value)


def assign_splits(groups: Sequence[str], val: float, test: float = 0.0, seed: int = 0) -> list[str]:
    """ "train", "val" or "test" for each item's group.

    A group's place is a hash of (seed, group) in 0..1: below `val` it is validation, below `val + test` test. So the
    shares are met on average, not to the image, and adding images moves no other. Where a share would get no group at
    all, it gets the nearest one.

    Args:
        groups: one group name an item; items of one group stay together.
        val: share of the validation set, 0 < val < 1.
        test: share of the test set, 0 <= test, val + test < 1.
        seed: another seed gives another split.

    Raises:
        DataError: the shares leave nothing to train on, or there are fewer groups than sets.
    """
    if val + test >= 1:
        raise DataError(f"data.split: val {val:g} and test {test:g} leave nothing to train on; lower them")
    wanted = ["val", *(["test"] if test else []), "train"]
    place = {group: _place(group, seed) for group in groups}
    if len(place) < len(wanted):
        raise DataError(
            f"data.split: {len(place)} group{'s' if len(place) != 1 else ''} cannot be split into {', '.join(wanted)}; "
            "use another `by`, or give data.val"
        )
    ordered = sorted(place, key=lambda group: (place[group], group))
    split = {g: "val" if place[g] < val else "test" if place[g] < val + test else "train" for g in ordered}
    if "val" not in split.values():
        split[ordered[0]] = "val"
    if "train" not in split.values():
        split[ordered[-1]] = "train"
    if test and "test" not in split.values():
        inner = [group for group in ordered if group not in (ordered[0], ordered[-1])]
        split[min(inner, key=lambda group: abs(place[group] - val))] = "test"
    return [split[group] for group in groups]


def split_dataset(
    dataset: Dataset, spec: SplitSpec, stratify: bool = False, groups: Sequence[str] | None = None
) -> dict[str, Dataset]:
    """The parts of a data set ("train", "val" and, where asked, "test"); all keep its categories and ids.

    With `stratify` each part gets its share of every class too, but new images may move old ones. `groups` are those of
    the images, where not the images' own names and fields decide.

    Raises:
        DataError: as `group_of` and `assign_splits`.
    """
    if groups is None:
        groups = [group_of(image, spec.by) for image in dataset.images]
    assigned = assign_splits(groups, spec.val, spec.test, spec.seed)  # tells impossible splits
    if stratify:
        of_image: dict[Id, Counter[Hashable]] = {image.id: Counter() for image in dataset.images}
        for annotation in dataset.annotations:
            of_image[annotation.image_id][annotation.category_id] += 1
        shares = {"train": 1 - spec.val - spec.test, "val": spec.val} | ({"test": spec.test} if spec.test else {})
        assigned = assign_stratified(groups, [of_image[image.id] for image in dataset.images], shares, spec.seed)
    split_of = {image.id: split for image, split in zip(dataset.images, assigned, strict=True)}
    return {
        split: Dataset(
            tuple(image for image in dataset.images if split_of[image.id] == split),
            tuple(a for a in dataset.annotations if split_of[a.image_id] == split),
            dataset.categories,
            dataset.extra,
        )
        for split in ("train", "val", *(["test"] if spec.test else []))
    }


def _place(group: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
