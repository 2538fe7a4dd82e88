"""Merging data sets by class name."""

from __future__ import annotations

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.merge import merge_datasets
from cvtune.data.receipt import Receipt


def dataset(images: list[int | str], categories: list[tuple[int, str]]) -> Dataset:
    return Dataset(
        tuple(Image(i, f"{i}.jpg", 9, 9) for i in images),
        tuple(Annotation(1, i, c, (0, 0, 2, 2), 4) for i in images for c, _ in categories),
        tuple(Category(i, name) for i, name in categories),
    )


def test_one_set_is_returned_as_it_is() -> None:
    one, receipt = dataset([1], [(3, "cat")]), Receipt()
    assert merge_datasets([one], "data.train", receipt) is one
    assert receipt.events == []


def test_classes_are_joined_by_name() -> None:
    receipt = Receipt()
    merged = merge_datasets(
        [dataset([1], [(3, "cat"), (5, "dog")]), dataset([2], [(3, "dog"), (5, "bird"), (9, "cow")])],
        "data.train",
        receipt,
    )
    assert [(c.id, c.name) for c in merged.categories] == [(3, "cat"), (5, "dog"), (6, "bird"), (9, "cow")]
    names = {c.id: c.name for c in merged.categories}
    assert [(a.image_id, names[a.category_id]) for a in merged.annotations] == [
        (1, "cat"),
        (1, "dog"),
        (2, "dog"),
        (2, "bird"),
        (2, "cow"),
    ]
    assert [a.id for a in merged.annotations] == [1, 2, 3, 4, 5]
    assert [(e.code, e.detail) for e in receipt.events] == [("categories-merged", "dog 3 -> 5; bird 5 -> 6")]


def test_image_ids_stay_unless_they_collide() -> None:
    receipt = Receipt()
    merged = merge_datasets([dataset([7], [(1, "a")]), dataset(["x"], [(1, "a")])], "w", receipt)
    assert [image.id for image in merged.images] == [7, "x"]
    assert receipt.events == []
    merged = merge_datasets([dataset([7, 8], [(1, "a")]), dataset([7], [(1, "a")])], "w", receipt)
    assert [(image.id, image.extra["original_id"]) for image in merged.images] == [(1, 7), (2, 8), (3, 7)]
    assert [a.image_id for a in merged.annotations] == [1, 2, 3]
    assert [e.code for e in receipt.events] == ["image-ids-renumbered"]
