"""Stratified splits: every part gets its share of each class, groups stay together."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cvtune.data.stratify import assign_stratified

SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}


def shares(assigned: list[str], labels: list[Counter[str]], label: str) -> dict[str, float]:
    got: Counter[str] = Counter()
    for part, found in zip(assigned, labels, strict=True):
        got[part] += found[label]
    return {part: got[part] / got.total() for part in SHARES}


def images(n: int, seed: int) -> list[Counter[str]]:
    """Images of several classes each, one of them in one image of fifty."""
    chance = random.Random(seed)
    return [
        Counter({"often": chance.randrange(9), "some": chance.randrange(3), "rare": 2 * (i % 50 == 0)})
        for i in range(n)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_shared_out(seed: int) -> None:
    labels = images(1000, seed)
    assigned = assign_stratified([str(i) for i in range(1000)], labels, SHARES, seed)
    for label, close in (("often", 0.01), ("some", 0.02), ("rare", 0.001)):
        assert shares(assigned, labels, label) == pytest.approx(SHARES, abs=close)
    assert {part: n / 1000 for part, n in Counter(assigned).items()} == pytest.approx(SHARES, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_images_does_not_matter(seed: int) -> None:
    labels = [Counter({f"class {(i * k) % 7}": 1 for k in (1, 2, 3)}) for i in range(60)]
    names = [str(i) for i in range(60)]
    assigned = dict(zip(names, assign_stratified(names, labels, SHARES, seed), strict=True))
    order = random.Random(seed).sample(range(60), 60)
    again = assign_stratified([names[i] for i in order], [labels[i] for i in order], SHARES, seed)
    assert dict(zip([names[i] for i in order], again, strict=True)) == assigned


def test_groups_stay_together_and_are_shared_out_too() -> None:
    labels = images(1000, 1)
    groups = [f"video{i // 10}" for i in range(1000)]
    assigned = assign_stratified(groups, labels, SHARES, 0)
    parts = {group: {part for g, part in zip(groups, assigned, strict=True) if g == group} for group in set(groups)}
    assert all(len(found) == 1 for found in parts.values())
    for label in ("often", "some", "rare"):
        assert shares(assigned, labels, label) == pytest.approx(SHARES, abs=0.04)


def test_the_order_of_items_does_not_matter_and_the_seed_does() -> None:
    labels = images(200, 2)
    names = [str(i) for i in range(200)]
    assigned = dict(zip(names, assign_stratified(names, labels, SHARES, 0), strict=True))
    turned = dict(zip(names[::-1], assign_stratified(names[::-1], labels[::-1], SHARES, 0), strict=True))
    assert assigned == turned
    assert assigned != dict(zip(names, assign_stratified(names, labels, SHARES, 1), strict=True))


@pytest.mark.parametrize("n", [3, 4, 10])
def test_no_part_is_empty(n: int) -> None:
    for labels in (images(n, 0), [Counter[str]() for _ in range(n)]):
        assigned = assign_stratified([str(i) for i in range(n)], labels, SHARES)
        assert set(assigned) == set(SHARES)
