"""Joining data sets: categories by name, images one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cvtune.data.coco import Annotation, Category, Dataset, Id, Image
from cvtune.data.receipt import Receipt

__all__ = ["merge_datasets", "with_joint_categories", "with_names_apart"]


def merge_datasets(datasets: Sequence[Dataset], where: str, receipt: Receipt) -> Dataset:
    """One data set from several. A single one is returned as it is.

    Categories are joined by name and keep the id of the first set that has them, unless another name has taken it.
    Image ids stay where they are unique over all sets; else all images are numbered 1, 2, ... and each keeps its old id
    as the field `original_id`. Annotations are numbered 1, 2, ....

    Args:
        datasets: at least one.
        where: what to call the result on the receipt, such as "data.train".
        receipt: gets a note where ids changed.
    """
    if len(datasets) == 1:
        return datasets[0]
    categories, maps = _join_categories([dataset.categories for dataset in datasets], where, receipt)
    every = [image.id for dataset in datasets for image in dataset.images]
    renumber = len(set(every)) != len(every)
    if renumber:
        receipt.note("image-ids-renumbered", where, f"{len(every):,} images of {len(datasets)} sources, now 1, 2, ...")
    images: list[Image] = []
    annotations: list[Annotation] = []
    for dataset, category_ids in zip(datasets, maps, strict=True):
        image_ids: dict[Id, Id] = {}
        for image in dataset.images:
            image_ids[image.id] = len(images) + 1 if renumber else image.id
            extra = {**image.extra, "original_id": image.id} if renumber else image.extra
            images.append(replace(image, id=image_ids[image.id], extra=extra))
        annotations += (
            replace(a, id=i, image_id=image_ids[a.image_id], category_id=category_ids[a.category_id])
            for i, a in enumerate(dataset.annotations, start=len(annotations) + 1)
        )
    return Dataset(tuple(images), tuple(annotations), categories, datasets[0].extra)


def with_joint_categories(datasets: Sequence[Dataset], where: str, receipt: Receipt) -> list[Dataset]:
    """The sets with one list of categories, joined by name, for formats that number the classes of all parts alike.

    Args:
        datasets: at least one.
        where: what to call the result on the receipt.
        receipt: gets a note where ids changed.
    """
    if all(dataset.categories == datasets[0].categories for dataset in datasets):
        return list(datasets)
    categories, maps = _join_categories([dataset.categories for dataset in datasets], where, receipt)
    return [
        replace(
            dataset,
            categories=categories,
            annotations=tuple(replace(a, category_id=ids[a.category_id]) for a in dataset.annotations),
        )
        for dataset, ids in zip(datasets, maps, strict=True)
    ]


def with_names_apart(datasets: Sequence[Dataset], where: str, receipt: Receipt) -> list[Dataset]:
    """The sets, with images of one name called by their path below the folder that all found images share.

    Else a file that lists the images of several sets could not say which one it means. Images that were not found keep
    their names, which is noted.

    Args:
        datasets: at least one.
        where: what to call the result on the receipt.
        receipt: gets the note.
    """
    uses = Counter(name for dataset in datasets for name in {image.file_name for image in dataset.images})
    lost = [i.file_name for d in datasets for i in d.images if i.path is None and uses[i.file_name] > 1]
    if lost:
        detail = f"{len(lost):,} images that were not found have the name of another one, the first: {lost[0]}"
        receipt.note("image-doubled", where, detail)
    files = [image.path.resolve() for d in datasets for image in d.images if image.path is not None]
    if not files or max(uses.values(), default=0) < 2:
        return list(datasets)
    common = files[0].parent
    while not all(file.is_relative_to(common) for file in files):
        common = common.parent
    return [
        replace(
            dataset,
            images=tuple(
                replace(image, file_name=image.path.resolve().relative_to(common).as_posix())
                if image.path is not None and uses[image.file_name] > 1
                else image
                for image in dataset.images
            ),
        )
        for dataset in datasets
    ]


def _join_categories(
    listed: Sequence[Sequence[Category]], where: str, receipt: Receipt
) -> tuple[tuple[Category, ...], list[Mapping[Id, Id]]]:
    """The categories of all, and for each set its category id -> the joint one."""
    joint: dict[str, Category] = {}
    taken: set[Id] = set()
    maps: list[Mapping[Id, Id]] = []
    changed = []
    for categories in listed:
        ids: dict[Id, Id] = {}
        for category in categories:
            if category.name not in joint:
                free = 1 + max((i for i in taken if isinstance(i, int)), default=0)
                new_id = free if category.id in taken else category.id
                joint[category.name] = replace(category, id=new_id)
                taken.add(new_id)
            ids[category.id] = joint[category.name].id
            if ids[category.id] != category.id:
                changed.append(f"{category.name} {category.id} -> {ids[category.id]}")
        maps.append(ids)
    if changed:
        receipt.note("categories-merged", where, "; ".join(dict.fromkeys(changed)))
    return tuple(joint.values()), maps
