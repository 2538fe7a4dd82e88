"""Boxes, polygons and masks, against loops written from the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_api
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cvtune.data.coco import Rle
from cvtune.data.geometry import (
    clip_xyxy,
    mask_to_polygons,
    mask_to_rle,
    rings_to_rle,
    rle_bbox_xywh,
    rle_from_json,
    rle_iou,
    rle_to_json,
    rle_to_mask,
    segmentation_area,
    segmentation_bbox_xywh,
    segmentation_to_rle,
    xywh_to_xyxy,
    xyxy_to_xywh,
)
from cvtune.errors import DataError

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def polygon(*coordinates: float) -> Any:
    return np.array(coordinates, np.float64)


def square(x0: float, y0: float, x1: float, y1: float) -> Any:
    return polygon(x0, y0, x1, y0, x1, y1, x0, y1)


def inside(points_xy: np.ndarray, x: float, y: float) -> bool:
    """Even-odd rule: how many edges a ray to the right crosses."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(points_xy, np.roll(points_xy, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            crossings += 1
    return crossings % 2 == 1


def distance(points_xy: np.ndarray, x: float, y: float) -> float:
    """From (x, y) to the nearest edge."""
    nearest = np.inf
    for a, b in zip(points_xy, np.roll(points_xy, -1, axis=0), strict=True):
        ab, ap = b - a, np.array([x, y]) - a
        t = float(np.clip(ap @ ab / max(ab @ ab, 1e-12), 0, 1))
        nearest = min(nearest, float(np.hypot(*(ap - t * ab))))
    return nearest


def holes_filled(mask: np.ndarray) -> np.ndarray:
    """What cannot be reached from outside by steps up, down, left, right over pixels that are not set."""
    padded = np.pad(mask, 1)
    outside = np.zeros_like(padded)
    stack = [(0, 0)]
    while stack:
        y, x = stack.pop()
        if 0 <= y < padded.shape[0] and 0 <= x < padded.shape[1] and not padded[y, x] and not outside[y, x]:
            outside[y, x] = True
            stack += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return ~outside[1:-1, 1:-1]


# --- boxes


def test_boxes_there_and_back() -> None:
    xywh = np.array([[1, 2, 3, 4], [0, 0, 0, 0], [-5, 0.5, 2.25, 1]], np.float64)
    xyxy = xywh_to_xyxy(xywh)
    assert xyxy.tolist() == [[1, 2, 4, 6], [0, 0, 0, 0], [-5, 0.5, -2.75, 1.5]]
    assert xyxy_to_xywh(xyxy).tolist() == xywh.tolist()
    assert xywh[0].tolist() == [1, 2, 3, 4], "the input must not be changed"


@pytest.mark.parametrize("function", [xywh_to_xyxy, xyxy_to_xywh, lambda boxes: clip_xyxy(boxes, (4, 4))])
@pytest.mark.parametrize("empty", [[], np.zeros((0, 4)), np.zeros(0)])
def test_no_boxes_are_an_array_of_no_boxes(function: Any, empty: Any) -> None:
    assert function(empty).shape == (0, 4)
    assert function(empty).dtype == np.float64


def test_boxes_are_clipped_to_the_width_and_the_height() -> None:
    boxes = [[-2, -3, 5, 5], [1, 1, 20, 30], [50, 60, 70, 80]]
    assert clip_xyxy(boxes, (10, 8)).tolist() == [[0, 0, 5, 5], [1, 1, 10, 8], [10, 8, 10, 8]]


# --- polygons


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(-40, 160), st.integers(-40, 140)), min_size=3, max_size=9))
def test_polygons_cover_the_pixels_whose_centre_is_inside(corners: list[tuple[int, int]]) -> None:
    points = np.array(corners, np.float64) / 8  # eighths of a pixel; the image is 12 x 14 pixels
    mask = rle_to_mask(segmentation_to_rle((points.reshape(-1),), (12, 14)))
    assert mask.shape == (12, 14)
    for y in range(12):
        for x in range(14):
            # COCO rounds corners to fifths of a pixel and edges to its grid: near an edge it may go either way.
            if distance(points, x + 0.5, y + 0.5) > 0.3:
                assert mask[y, x] == inside(points, x + 0.5, y + 0.5), (x, y)


@pytest.mark.parametrize(
    ("parts", "pixels"),
    [
        ((square(1, 1, 4, 3),), 6),
        ((square(1, 1, 4, 3), square(6, 6, 8, 8)), 10),  # two parts
        ((square(1, 1, 4, 3), square(2, 1, 5, 3)), 8),  # parts that overlap are united, not added up
        ((square(0, 0, 10, 10),), 100),
        ((square(-5, -5, 20, 20),), 100),  # clipped on every side
        ((square(20, 20, 30, 30),), 0),  # outside
        ((square(-9, -9, -1, -1),), 0),
        ((square(3, 3, 4, 4),), 1),
        ((polygon(1, 1, 5, 5, 1, 1),), 0),  # no area
        ((polygon(2, 2, 2, 2, 2, 2),), 0),
        ((polygon(1, 1, 5, 1),), 0),  # two points
        ((polygon(1, 1, 5, 1, 5, 5, 1),), 0),  # an odd number of coordinates
        ((polygon(1, 1, np.nan, 1, 5, 5),), 0),
        ((polygon(1, 1, 5, 1), square(3, 3, 4, 4)), 1),
        ((), 0),
        (tuple(square(n % 10, n // 10 % 10, n % 10 + 1, n // 10 % 10 + 1) for n in range(300)), 100),
        ((square(-1e9, -1e9, 1e9, 1e9),), 100),  # corners that overflow pycocotools' integers
        ((square(2, -1e12, 5, 1e12),), 30),
        ((polygon(-1e300, 0, 1e300, 0, 1e300, 4, -1e300, 4),), 40),
        ((square(1e9, 1e9, 2e9, 2e9),), 0),
        ((polygon(0, 0, 1e9, 0, 0, 1e9),), 100),
    ],
)
def test_area_of_polygons_is_their_pixels(parts: Any, pixels: int) -> None:
    assert segmentation_area(parts, (10, 10)) == pixels
    assert rle_to_mask(segmentation_to_rle(parts, (10, 10))).sum() == pixels


def test_a_far_corner_does_not_change_what_is_near() -> None:
    # the same edges, cut at the left border of the image or a million pixels away from it
    near = segmentation_to_rle((polygon(-100, 2, 8, 2, 8, 7, -100, 7),), (10, 10))
    far = segmentation_to_rle((polygon(-1e6, 2, 8, 2, 8, 7, -1e6, 7),), (10, 10))
    assert far == near
    concave = (polygon(1, 1, 1e6, 1, 1e6, 3, 4, 3, 4, 6, 1e6, 6, 1e6, 9, 1, 9),)
    expected = np.zeros((10, 10), bool)
    expected[1:9, 1:] = True
    expected[3:6, 4:] = False
    assert (rle_to_mask(segmentation_to_rle(concave, (10, 10))) == expected).all()


def test_box_of_polygons_is_that_of_all_corners_within_the_image() -> None:
    parts = (square(1.5, 2, 3, 4), square(6, 0.25, 20, 3))
    assert segmentation_bbox_xywh(parts, (10, 10)) == (1.5, 0.25, 8.5, 3.75)
    assert segmentation_bbox_xywh((), (10, 10)) == (0, 0, 0, 0)
    assert segmentation_bbox_xywh((polygon(1, 2),), (10, 10)) == (0, 0, 0, 0)
    assert segmentation_bbox_xywh((square(20, 20, 30, 30),), (10, 10))[2:] == (0, 0)
    assert segmentation_bbox_xywh(mask_to_rle(np.eye(3)), (3, 3)) == (0, 0, 3, 3)


# --- holes


@pytest.mark.parametrize(
    ("exteriors", "holes", "pixels"),
    [
        ([square(1, 1, 9, 9)], [square(3, 3, 6, 6)], 64 - 9),
        ([square(1, 1, 9, 9)], [square(2, 2, 4, 4), square(5, 5, 8, 8)], 64 - 4 - 9),
        ([square(1, 1, 9, 9)], [], 64),
        ([square(1, 1, 9, 9)], [square(20, 20, 30, 30)], 64),  # a hole in nothing
        ([square(1, 1, 9, 9)], [polygon(1, 1, 2, 2)], 64),  # no hole at all
        ([square(0, 0, 10, 10), square(4, 4, 6, 6)], [square(2, 2, 8, 8)], 100 - 36 + 4),  # an island
        (
            [square(0, 0, 10, 10), square(2, 2, 7, 8)],
            [square(1, 1, 9, 9)],
            100 - 64 + 30,
        ),  # an island, most of the hole
        ([square(0, 0, 5, 10), square(5, 0, 10, 10)], [square(1, 1, 3, 3)], 96),
        ([square(1, 1, 9, 9)], [square(1, 1, 9, 9)], 0),
        ([], [square(1, 1, 9, 9)], 0),
        ([], [], 0),
    ],
)
def test_holes_are_cut_out_of_what_they_lie_in(exteriors: Any, holes: Any, pixels: int) -> None:
    assert rle_to_mask(rings_to_rle(exteriors, holes, (10, 10))).sum() == pixels


def test_a_hole_is_where_it_was_drawn() -> None:
    mask = rle_to_mask(rings_to_rle([square(1, 1, 6, 6)], [square(2, 3, 4, 5)], (7, 8)))
    expected = np.zeros((7, 8), bool)
    expected[1:6, 1:6] = True
    expected[3:5, 2:4] = False
    assert (mask == expected).all()


# --- masks


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_masks_there_and_back(mask: np.ndarray) -> None:
    rle = mask_to_rle(mask)
    assert rle.size_hw == mask.shape
    assert (rle_to_mask(rle) == mask).all()
    assert segmentation_area(rle, rle.size_hw) == mask.sum()
    ys, xs = np.nonzero(mask)
    box = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1) if len(xs) else (0, 0, 0, 0)
    assert rle_bbox_xywh(rle) == box
    assert rle_from_json(rle_to_json(rle), rle.size_hw) == rle
    # uncompressed: the runs of the mask read column by column, the first one of zeros
    runs, value = [0], False
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    assert rle_from_json({"size": list(mask.shape), "counts": runs}, rle.size_hw) == rle
    assert rle_from_json({"size": list(mask.shape), "counts": rle.counts}, rle.size_hw) == rle


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_outlines_rasterise_to_the_mask_without_its_holes(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask)
    assert (rle_to_mask(segmentation_to_rle(polygons, mask.shape)) == holes_filled(mask)).all()
    assert segmentation_bbox_xywh(polygons, mask.shape) == rle_bbox_xywh(mask_to_rle(mask))
    for part in polygons:
        assert part.dtype == np.float64
        assert part.ndim == 1
        assert len(part) >= 8


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.bool_, (2, 7, 9)))
def test_iou_is_that_of_the_pixels(masks: np.ndarray) -> None:
    a, b = masks
    union = (a | b).sum()
    expected = (a & b).sum() / union if union else 0
    assert rle_iou(mask_to_rle(a), mask_to_rle(b)) == pytest.approx(expected, abs=1e-12)


def test_a_large_mask_with_long_runs() -> None:
    mask = np.zeros((3000, 4000), np.uint8)
    mask[100:2900, 2000:3999] = 255
    mask[200, 2500] = 0
    rle = mask_to_rle(mask)
    assert rle_from_json(rle_to_json(rle), (3000, 4000)) == rle
    assert segmentation_area(rle, (3000, 4000)) == np.count_nonzero(mask)


def test_one_pixel_is_a_square() -> None:
    mask = np.zeros((5, 6))
    mask[2, 3] = 1
    (part,) = mask_to_polygons(mask)
    assert sorted(part.reshape(-1, 2).tolist()) == [[3, 2], [3, 3], [4, 2], [4, 3]]
    assert mask_to_polygons(np.zeros((5, 6))) == ()


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0)])
def test_images_without_pixels(shape: tuple[int, int]) -> None:
    rle = mask_to_rle(np.zeros(shape, bool))
    assert rle_to_mask(rle).shape == shape
    assert mask_to_polygons(np.zeros(shape)) == ()
    assert segmentation_area(rle, shape) == 0


def test_a_mask_has_two_dimensions() -> None:
    with pytest.raises(ValueError, match=r"two dimensions \[h, w\], got the shape \(2, 3, 4\)"):
        mask_to_rle(np.zeros((2, 3, 4)))


# --- RLE of strangers


@pytest.mark.parametrize(
    ("counts", "pixels"),
    [
        ([2, 0, 4], []),  # runs of no pixels
        ([0, 2, 0, 1, 3], [0, 1, 2]),
        ([1, 0, 0, 0, 1, 4], [2, 3, 4, 5]),
        ([0, 0, 2, 4], [2, 3, 4, 5]),
        ([6], []),
        ([0, 6], [0, 1, 2, 3, 4, 5]),
        ([3, 1, 2], [3]),
    ],
)
def test_counts_with_runs_of_no_pixels(counts: list[int], pixels: list[int]) -> None:
    expected = np.zeros(6, bool)
    expected[pixels] = True
    mask = expected.reshape((3, 2), order="F")
    compressed = mask_api.frPyObjects({"size": [3, 2], "counts": counts}, 3, 2)["counts"]
    for given_counts in (counts, compressed, compressed.decode()):
        rle = rle_from_json({"size": [3, 2], "counts": given_counts}, (3, 2))
        assert rle == mask_to_rle(mask)
        assert rle_bbox_xywh(rle) == rle_bbox_xywh(mask_to_rle(mask))


GOOD = rle_to_json(mask_to_rle(np.eye(4)))["counts"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"size": [4, 5], "counts": GOOD}, r"size \[4, 5\] is not its image's \[height, width\] = \[4, 4\]"),
        ({"size": "4x4", "counts": GOOD}, "size 4x4 is not"),
        ({"size": 16, "counts": GOOD}, "size 16 is not"),
        ({"counts": GOOD}, "needs 'size' and 'counts'; got the keys counts"),
        ({"size": [4, 4]}, "needs 'size' and 'counts'"),
        ({}, "got the keys none"),
        ({"size": [4, 4], "counts": [3, 4]}, "add up to 4 x 4 = 16 pixels; got 2 runs that add up to 7"),
        ({"size": [4, 4], "counts": [10, 10]}, "add up to 20"),
        ({"size": [4, 4], "counts": []}, "got 0 runs"),
        ({"size": [4, 4], "counts": [20, -4]}, "non-negative integers only"),
        ({"size": [4, 4], "counts": [8.5, 7.5]}, "non-negative integers only"),
        ({"size": [4, 4], "counts": ["16"]}, "non-negative integers only"),
        ({"size": [4, 4], "counts": [2**70]}, "non-negative integers only"),
        ({"size": [4, 4], "counts": GOOD[:-1]}, "are broken: their runs"),
        ({"size": [4, 4], "counts": GOOD + "1"}, "are broken"),
        ({"size": [4, 4], "counts": ""}, "not COCO's compressed form"),
        ({"size": [4, 4], "counts": "P"}, "not COCO's compressed form"),  # stops within a count
        ({"size": [4, 4], "counts": "a b"}, "not COCO's compressed form"),
        ({"size": [4, 4], "counts": "äöü"}, "not COCO's compressed form"),
        ({"size": [4, 4], "counts": "o" * 30 + "0"}, "more than 32 bits"),
        ({"size": [4, 4], "counts": 16}, "must be a string or a list of integers, got int"),
    ],
)
def test_broken_rle_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        rle_from_json(record, (4, 4))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=20))
def test_no_counts_make_a_mask_of_another_size(counts: bytes) -> None:
    try:
        rle = rle_from_json({"size": [5, 4], "counts": counts}, (5, 4))
    except DataError:
        return
    assert rle_to_mask(rle).shape == (5, 4)


def test_masks_of_two_sizes_do_not_mix() -> None:
    a, b = Rle((2, 2), mask_to_rle(np.eye(2)).counts), mask_to_rle(np.eye(3))
    with pytest.raises(DataError, match=r"size \[3, 3\] is not"):
        rle_iou(a, b)
    with pytest.raises(DataError, match=r"size \[2, 2\] is not"):
        segmentation_to_rle(a, (3, 3))
