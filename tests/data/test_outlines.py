"""Outlines: ellipses and turned boxes as polygons, clipping, joining parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvtune.data.geometry import rle_to_mask, segmentation_to_rle
from cvtune.data.outlines import box_polygon, clip_polygon, curve_points, ellipse_polygon, join_polygons

COORDINATE = st.floats(-40, 80, allow_nan=False)


def area(polygon: np.ndarray) -> float:
    x, y = polygon[::2], polygon[1::2]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@pytest.mark.parametrize(("rx", "ry", "degrees"), [(20, 10, 0), (20, 10, 30), (3, 3, 0), (500, 499, 90), (0.1, 0.1, 0)])
def test_an_ellipse_is_close_to_its_polygon(rx: float, ry: float, degrees: float) -> None:
    polygon = ellipse_polygon(50, 40, rx, ry, degrees)
    points = polygon.reshape(-1, 2) - (50, 40)
    turn = math.radians(degrees)
    along = points @ np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    assert np.allclose((along / (rx, ry)) ** 2 @ [1, 1], 1)
    # The middle of an edge is where a polygon is farthest from the curve.
    middles = (along + np.roll(along, 1, axis=0)) / 2 / (rx, ry)
    assert ((1 - np.hypot(*middles.T)) * max(rx, ry)).max() <= 0.0501


def test_an_ellipse_larger_than_any_image_has_a_polygon() -> None:
    corners = ellipse_polygon(0, 0, 1e200, 5).reshape(-1, 2)
    assert len(corners) == 720
    assert np.isfinite(corners).all()


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0], [0, 55], [45, 100], [100, 100]],
        [[0, 0], [900, 0], [-800, 100], [100, 100]],
        [[0, 0], [1, 0], [2, 0], [3, 0]],
        [[5, 5], [5, 5], [5, 5], [5, 5]],
    ],
)
def test_a_curve_is_close_to_its_points(corners: list[list[float]]) -> None:
    given_corners = np.array(corners, np.float64)
    points = np.concatenate([given_corners[:1], curve_points(given_corners)])
    assert np.allclose(points[-1], corners[-1])
    fine = np.linspace(0, 1, 20 * (len(points) - 1) + 1)
    t = fine[:, None]
    curve = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]) @ given_corners
    # Of the chord that stands for a piece of the curve, the point at the same share is farther than the nearest one.
    at = np.linspace(0, 1, len(points))
    chords = np.stack([np.interp(fine, at, points[:, axis]) for axis in range(2)], axis=1)
    assert np.hypot(*(curve - chords).T).max() <= 0.0501


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e308])
def test_a_curve_of_impossible_corners_ends(value: float) -> None:
    assert len(curve_points(np.array([[0, 0], [value, 0], [1, -value], [3, 0]]))) <= 720


@pytest.mark.parametrize(
    ("degrees", "about", "expected"),
    [
        (0, "centre", [10, 20, 30, 20, 30, 30, 10, 30]),
        (90, "centre", [25, 15, 25, 35, 15, 35, 15, 15]),
        (90, "corner", [10, 20, 10, 40, 0, 40, 0, 20]),
    ],
)
def test_boxes_turn_clockwise(degrees: float, about: str, expected: list[float]) -> None:
    assert np.allclose(box_polygon(10, 20, 30, 30, degrees, about), expected)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ([1, 1, 5, 1, 5, 5], 8),
        ([-10, -10, 20, -10, 20, 20, -10, 20], 48),
        ([4, 2, 20, 2, 20, 4, 4, 4], 8),
        ([20, 20, 30, 20, 30, 30], 0),
        ([1e300, 0, 0, 1e300, -1e300, -1e300], 48),
    ],
)
def test_clipping_keeps_what_lies_inside(polygon: list[float], expected: float) -> None:
    clipped = clip_polygon(np.array(polygon, np.float64), (8, 6))
    assert area(clipped) == pytest.approx(expected) if len(clipped) else expected == 0
    assert (clipped >= 0).all()
    assert len(clipped) == 0 or (clipped[::2].max() <= 8 and clipped[1::2].max() <= 6)


@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=8))
def test_clipping_changes_no_pixel_inside_but_at_the_border(points: list[tuple[float, float]]) -> None:
    polygon = np.array(points, np.float64).reshape(-1)
    whole = rle_to_mask(segmentation_to_rle((polygon,), (40, 40)))
    clipped = clip_polygon(polygon, (40, 40))
    # The rasteriser walks edges in steps of a fifth of a pixel, so a cut edge may move one pixel per row and column.
    differ = whole != rle_to_mask(segmentation_to_rle((clipped,) if len(clipped) else (), (40, 40)))
    assert np.count_nonzero(differ) <= 4 * 40


def test_joined_parts_cover_what_the_parts_cover() -> None:
    parts = [box_polygon(5, 5, 15, 15), box_polygon(30, 5, 40, 20), box_polygon(10, 30, 20, 38)]
    whole = join_polygons(parts)
    assert len(whole) == sum(map(len, parts)) + 4 * 2
    assert area(whole) == pytest.approx(sum(map(area, parts)))
    assert join_polygons(parts[:1]) is not None
    assert np.array_equal(join_polygons(parts[:1]), parts[0])
