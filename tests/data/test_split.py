"""Splitting: shares, groups, stability."""

from __future__ import annotations

import pytest

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.split import assign_splits, group_of, split_dataset
from cvtune.errors import DataError
from cvtune.spec import SplitSpec


@pytest.mark.parametrize(
    ("name", "by", "group"),
    [
        ("a/video3_0001.jpg", "image", "a/video3_0001.jpg"),
        ("a\\x.jpg", "image", "a/x.jpg"),
        ("a/video3_0001.jpg", "prefix", "a/video3"),
        ("cam-7_1.jpg", "prefix", "cam"),
        ("plain.jpg", "prefix", "plain"),
        ("_x.jpg", "prefix", "_x"),
        ("x.jpg", "field:scene", "7"),
    ],
)
def test_group_of(name: str, by: str, group: str) -> None:
    assert group_of(Image(1, name, 1, 1, extra={"scene": 7}), by) == group


def test_a_missing_field_names_image_and_fields() -> None:
    with pytest.raises(DataError, match=r"x\.jpg has no field 'scen'; its fields: scene; did you mean 'scene'"):
        group_of(Image(1, "x.jpg", 1, 1, extra={"scene": 7}), "field:scen")


def test_shares_are_met_on_average() -> None:
    assigned = assign_splits([f"{i}.jpg" for i in range(20_000)], 0.15, 0.1, seed=3)
    assert assigned.count("val") / 20_000 == pytest.approx(0.15, abs=0.01)
    assert assigned.count("test") / 20_000 == pytest.approx(0.1, abs=0.01)


def test_new_images_move_no_old_one_and_order_does_not_matter() -> None:
    old = [f"{i}.jpg" for i in range(200)]
    new = [f"n{i}.jpg" for i in range(300)]
    before = dict(zip(old, assign_splits(old, 0.2, 0.2), strict=True))
    after = dict(zip(new[::-1] + old, assign_splits(new[::-1] + old, 0.2, 0.2), strict=True))
    assert {name: after[name] for name in old} == before


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    names = [f"{i}.jpg" for i in range(100)]
    assert assign_splits(names, 0.3, seed=1) == assign_splits(names, 0.3, seed=1)
    assert assign_splits(names, 0.3, seed=1) != assign_splits(names, 0.3, seed=2)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("val", [0.001, 0.15, 0.999])
def test_small_sets_leave_no_split_empty(n: int, val: float) -> None:
    for seed in range(20):
        assert {"train", "val"} == set(assign_splits([str(i) for i in range(n)], val, seed=seed))
        if n >= 3 and val < 0.9:
            assigned = assign_splits([str(i) for i in range(n)], val, 0.001, seed=seed)
            assert set(assigned) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("groups", "val", "test", "message"),
    [
        (["a", "a"], 0.2, 0.0, "1 group cannot be split into val, train"),
        (["a", "b"], 0.2, 0.2, "2 groups cannot be split into val, test, train"),
        (["a", "b"], 0.6, 0.5, "leave nothing to train on"),
    ],
)
def test_impossible_splits(groups: list[str], val: float, test: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        assign_splits(groups, val, test)


def test_groups_never_straddle_and_annotations_follow_their_images() -> None:
    images = tuple(Image(f"id{i}", f"v{i % 10}_{i}.jpg", 9, 9) for i in range(60))
    annotations = tuple(Annotation(i, image.id, 1, (0, 0, 1, 1), 1) for i, image in enumerate(images))
    parts = split_dataset(Dataset(images, annotations, (Category(1, "a"),)), SplitSpec(val=0.3, test=0.3, by="prefix"))
    groups = {split: {group_of(image, "prefix") for image in part.images} for split, part in parts.items()}
    assert not groups["train"] & groups["val"]
    assert not groups["train"] & groups["test"]
    assert not groups["val"] & groups["test"]
    assert sum(len(part.images) for part in parts.values()) == 60
    for part in parts.values():
        assert [a.image_id for a in part.annotations] == [image.id for image in part.images]
        assert part.categories == (Category(1, "a"),)
