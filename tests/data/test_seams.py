"""Joined outlines are taken apart; anything else stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvtune.data.geometry import rle_iou, segmentation_to_rle
from cvtune.data.outlines import join_polygons
from cvtune.data.seams import split_at_seams

A = [1, 1, 6, 1, 6, 6, 1, 6]
B = [11, 11, 16, 11, 16, 16, 11, 16]
C = [31, 1, 38, 2, 35, 9]


def flat(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def shapes(polygons: object) -> set[frozenset[tuple[float, float]]]:
    return {frozenset(map(tuple, polygon.reshape(-1, 2).tolist())) for polygon in polygons}


@pytest.mark.parametrize("parts", [(A, B), (A, B, C), (C, A, B)])
def test_joined_parts_come_apart(parts: tuple[list[float], ...]) -> None:
    polygons = [flat(*part) for part in parts]
    assert shapes(split_at_seams(join_polygons(polygons))) == shapes(polygons)


def test_as_ultralytics_joins_them() -> None:
    # Each part begins and ends at its corner nearest to the other one; the seam closes the polygon.
    closed = flat(6, 6, 1, 6, 1, 1, 6, 1, 6, 6, 11, 11, 16, 11, 16, 16, 11, 16, 11, 11)
    assert shapes(split_at_seams(closed)) == shapes([flat(*A), flat(*B)])


@pytest.mark.parametrize(
    "polygon",
    [
        flat(*A),
        flat(*A, *A[:2]),  # closed by its first corner
        flat(0, 0, 9, 0, 9, 9, 0, 9, 0, 0, 3, 3, 3, 6, 6, 6, 6, 3, 3, 3),  # a hole
        flat(0, 0, 4, 0, 8, 0, 8, 8, 8, 4, 4, 4, 8, 4, 8, 8, 0, 8),  # a spike
        flat(*range(0, 20), *range(19, -1, -1)),
        flat(*[v for i in range(300) for v in (i, 0)], *[v for i in range(299, -1, -1) for v in (i, 0)]),
        flat(0, 0, 5, 5, 5, 0, 0, 5),  # crosses itself, and has no seam
    ],
)
def test_what_is_one_part_stays(polygon: np.ndarray) -> None:
    (kept,) = split_at_seams(polygon)
    assert kept is polygon


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=3, max_size=16))
def test_the_same_pixels(points: list[tuple[int, int]]) -> None:
    polygon = np.array(points, np.float64).reshape(-1)
    parts = split_at_seams(polygon)
    assert len(parts) >= 1
    if len(parts) > 1:
        whole, split = (segmentation_to_rle(value, (14, 14)) for value in ((polygon,), parts))
        assert rle_iou(whole, split) > 0.5
