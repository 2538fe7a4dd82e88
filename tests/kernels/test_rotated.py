"""Overlaps of rotated boxes: exact cases, and areas by counting points."""

from __future__ import annotations

import math

import pytest
import torch

from cvtune.kernels.rotated import box_iou_rotated, nms_rotated

SQUARE = [0.0, 0, 2, 2, 0]

EXACT = {
    "itself": (SQUARE, SQUARE, 1.0),
    "itself, turned by a quarter": (SQUARE, [0, 0, 2, 2, math.pi / 2], 1.0),
    "itself, width and height exchanged": ([3, 4, 2, 5, 0.3], [3, 4, 5, 2, 0.3 + math.pi / 2], 1.0),
    "half": (SQUARE, [1, 0, 2, 2, 0], 1 / 3),
    "a side in common, nothing else": (SQUARE, [2, 0, 2, 2, 0], 0.0),
    "a corner in common": (SQUARE, [2, 2, 2, 2, 0], 0.0),
    "far away": (SQUARE, [50, 50, 2, 2, 1], 0.0),
    "octagon": (SQUARE, [0, 0, 2, 2, math.pi / 4], (8 * (math.sqrt(2) - 1)) / (8 - 8 * (math.sqrt(2) - 1))),
    "inside": (SQUARE, [0.1, 0.1, 0.5, 0.5, 0.7], 0.25 / 4),
    "cross": ([0, 0, 10, 1, 0], [0, 0, 10, 1, math.pi / 2], 1 / 19),
    "no area": (SQUARE, [0, 0, 0, 2, 0], 0.0),
    "far from the origin": ([1e4, 1e4, 2, 2, 0.5], [1e4, 1e4, 2, 2, 0.5], 1.0),
    "sides in common, other sizes": ([0, 0, 4, 2, 0.4], [0, 0, 2, 2, 0.4], 0.5),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_overlaps(name: str, dtype: torch.dtype) -> None:
    a, b, expected = EXACT[name]
    first, second = torch.tensor([a], dtype=dtype), torch.tensor([b], dtype=dtype)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-9
    for one, other in ((first, second), (second, first)):
        assert box_iou_rotated(one, other).item() == pytest.approx(expected, abs=tolerance)
        assert box_iou_rotated(one, other, aligned=True).item() == pytest.approx(expected, abs=tolerance)


def test_overlaps_equal_counted_points() -> None:
    torch.manual_seed(0)
    numbers = torch.rand(12, 5, dtype=torch.float64)
    boxes = numbers * torch.tensor([6, 6, 8, 8, 6.0]) + torch.tensor([0, 0, 1, 1, -3.0])
    axis = torch.linspace(-8, 16, 1201, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    masks = []
    for cx, cy, width, height, angle in boxes.tolist():
        along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        up = -(x - cx) * math.sin(angle) + (y - cy) * math.cos(angle)
        masks.append((along.abs() <= width / 2) & (up.abs() <= height / 2))
    flat = torch.stack(masks).flatten(1).double()
    inter = flat @ flat.T
    area = flat.sum(dim=1)
    torch.testing.assert_close(box_iou_rotated(boxes, boxes), inter / (area[:, None] + area - inter), rtol=0, atol=5e-3)
    torch.testing.assert_close(box_iou_rotated(boxes, boxes, iof=True), inter / area[:, None], rtol=0, atol=5e-3)


def test_boxes_without_a_turn_are_plain_boxes() -> None:
    import torchvision

    torch.manual_seed(0)
    centres, sizes = 20 * torch.rand(40, 2, dtype=torch.float64), 1 + 9 * torch.rand(40, 2, dtype=torch.float64)
    boxes = torch.cat([centres, sizes, torch.zeros(40, 1, dtype=torch.float64)], dim=1)
    corners = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)
    torch.testing.assert_close(box_iou_rotated(boxes, boxes), torchvision.ops.box_iou(corners, corners))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0, 0, 2, 2, 0], [1, 0, 2, 2, 0]]).to(dtype)
    out = box_iou_rotated(boxes, boxes)
    assert out.dtype == dtype
    torch.testing.assert_close(out, torch.tensor([[1, 1 / 3], [1 / 3, 1]]).to(dtype))


def test_no_boxes() -> None:
    none, one = torch.zeros(0, 5), torch.tensor([SQUARE])
    assert box_iou_rotated(none, one).shape == (0, 1)
    assert box_iou_rotated(one, none).shape == (1, 0)
    assert box_iou_rotated(none, none, aligned=True).shape == (0,)
    assert nms_rotated(none, torch.zeros(0), 0.5).shape == (0,)


def test_nms() -> None:
    boxes = torch.tensor([SQUARE, [0.1, 0, 2, 2, 0.1], [0, 0, 2, 2, math.pi / 4], [9, 9, 2, 2, 0]])
    scores = torch.tensor([0.5, 0.9, 0.7, 0.1])
    assert nms_rotated(boxes, scores, 0.8).tolist() == [1, 2, 3]
    assert nms_rotated(boxes, scores, 0.3).tolist() == [1, 3]
    assert nms_rotated(boxes, scores, 0.3, labels=torch.tensor([0, 1, 1, 1])).tolist() == [1, 0, 3]
    # An overlap on the threshold drops the box.
    assert nms_rotated(boxes[[0, 0]], torch.tensor([0.5, 0.5]), 1.0).tolist() == [0]
