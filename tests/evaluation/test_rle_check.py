from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_api
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvtune.evaluation.rle_check import first_broken, fits


def encoded(height: int, width: int, density: float, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).random((height, width)) < density
    counts: bytes = mask_api.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"]
    return counts


SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90), st.sampled_from([0, 0.01, 0.5, 0.99, 1]), st.integers(0, 9))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(SHAPES, min_size=1, max_size=6))
def test_what_pycocotools_wrote_fits(shapes: list[tuple[int, int, float, int]]) -> None:
    counts = [encoded(*shape) for shape in shapes]
    pixels = np.array([h * w for h, w, *_ in shapes])
    assert fits(counts, pixels).all()
    assert not fits(counts, pixels + 1).any()


def test_large_runs() -> None:
    pixels = np.zeros((4000, 6000), np.uint8, order="F")
    pixels[7:, 3000:] = 1
    assert fits([mask_api.encode(pixels)["counts"]], np.array([24_000_000])).all()


@pytest.mark.parametrize(
    "broken", [b"", b"P", b"garbage!!", b"0d0\xc3\xbf", b"oooooooooooo0", b"5O6", encoded(9, 9, 0.5, 1)[:-1], b"o" * 40]
)
def test_a_broken_mask_is_found_among_good_ones(broken: bytes) -> None:
    counts = [encoded(9, 9, 0.5, seed) for seed in range(12)]
    counts.insert(7, broken)
    assert fits(counts, np.full(13, 81)).tolist() == [i != 7 for i in range(13)]
    assert first_broken(counts, [(9, 9)] * 13) == 7


def test_first_broken_over_many_chunks() -> None:
    counts = [encoded(80, 80, 0.5, seed) for seed in range(40)]
    assert sum(map(len, counts)) > 100_000
    assert first_broken(counts, [(80, 80)] * 40) is None
    assert first_broken(counts, [(80, 80)] * 33 + [(80, 79)] + [(80, 80)] * 6) == 33
    assert first_broken([], []) is None
