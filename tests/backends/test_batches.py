"""Which images make up which batch."""

from __future__ import annotations

from collections import Counter

import pytest

from cvtune.backends.batches import Batches
from cvtune.backends.seeds import mix_seed


def make(**changes: object) -> Batches:
    values = {"images": 23, "batch_size": 4, "epochs": 3, "seed": 0, "portrait": [i % 3 == 0 for i in range(23)]}
    return Batches(**{**values, **changes})  # type: ignore[arg-type]


def test_every_epoch_visits_each_image_once_in_an_order_of_its_own() -> None:
    batches = list(make())
    assert len(batches) == len(make()) == 3 * 6
    for epoch in range(3):
        seen = [index for batch in batches for e, index in batch if e == epoch]
        assert sorted(seen) == list(range(23))
    orders = {tuple(index for batch in batches for e, index in batch if e == epoch) for epoch in range(3)}
    assert len(orders) == 3


def test_full_batches_hold_one_orientation() -> None:
    whole = make()
    mixed = [b for b in whole.epoch(0) if len({whole.portrait[i] for i in b}) > 1]
    assert len(mixed) <= 1


@pytest.mark.parametrize("start", [0, 1, 5, 6, 7, 17])
def test_skipping_by_index_repeats_the_uninterrupted_order(start: int) -> None:
    assert list(make(start=start)) == list(make())[start:]
    assert len(make(start=start)) == 18 - start


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_take_the_same_number_of_steps_and_cover_every_image(world_size: int) -> None:
    shares = [list(make(rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    for step in zip(*shares, strict=True):
        assert len({len(batch) for batch in step}) == 1
    seen = Counter(index for share in shares for batch in share for epoch, index in batch if epoch == 0)
    assert set(seen) == set(range(23))
    # Only the last, short batch of the epoch may be filled from its own start.
    assert sum(seen.values()) - 23 < world_size


def test_seeds_depend_on_every_part() -> None:
    seeds = {mix_seed(0, "a", 1), mix_seed(1, "a", 1), mix_seed(0, "b", 1), mix_seed(0, "a", 2)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(0, "a", 1) == mix_seed(0, "a", 1)
