"""Rotated boxes against polygon clipping written out in plain Python, and against areas known from geometry."""

from __future__ import annotations

import math

import pytest
import torch

from cvtune.kernels import rotated_boxes
from cvtune.kernels.rotated_boxes import box_corners, overlaps, rotated_iou, rotated_iou_pairs, rotated_nms

Point = tuple[float, float]


def slow_corners(box: list[float]) -> list[Point]:
    x, y, width, height, angle = box
    out = []
    for along, across in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        right, down = along * width / 2, across * height / 2
        out.append(
            (x + right * math.cos(angle) + down * math.sin(angle), y - right * math.sin(angle) + down * math.cos(angle))
        )
    return out


def slow_overlap(box_a: list[float], box_b: list[float]) -> float:
    polygon, cutter = slow_corners(box_a), slow_corners(box_b)
    for start, end in zip(cutter, cutter[1:] + cutter[:1], strict=True):

        def side(point: Point, start: Point = start, end: Point = end) -> float:
            return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])

        kept = []
        for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            if side(a) >= 0:
                kept.append(a)
            if (side(a) >= 0) != (side(b) >= 0):
                share = side(a) / (side(a) - side(b))
                kept.append((a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])))
        polygon = kept
    closed = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum(a[0] * b[1] - a[1] * b[0] for a, b in closed)) / 2


def slow_iou(box_a: list[float], box_b: list[float]) -> float:
    common = slow_overlap(box_a, box_b)
    whole = box_a[2] * box_a[3] + box_b[2] * box_b[3] - common
    return common / whole if whole > 0 else 0.0


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([60.0, 60, 50, 40, 4 * math.pi], dtype=torch.float64)
    shift = torch.tensor([0.0, 0, 0, 0, 2 * math.pi], dtype=torch.float64)
    return torch.rand((count, 5), generator=generator, dtype=torch.float64) * scale - shift


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.float16, 2e-3)])
def test_overlap_of_random_boxes(dtype: torch.dtype, tolerance: float) -> None:
    boxes_a, boxes_b = random_boxes(25, 0).to(dtype), random_boxes(35, 1).to(dtype)
    own = rotated_iou(boxes_a, boxes_b)
    expected = [[slow_iou(a, b) for b in boxes_b.double().tolist()] for a in boxes_a.double().tolist()]
    assert own.dtype == dtype
    torch.testing.assert_close(own.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance)


SQUARE = [10.0, 20.0, 4.0, 4.0, 0.0]
KNOWN = [
    ("itself", SQUARE, SQUARE, 16.0),
    ("a quarter turn", SQUARE, [10.0, 20.0, 4.0, 4.0, math.pi / 2], 16.0),
    ("an eighth of a turn: an octagon", SQUARE, [10.0, 20.0, 4.0, 4.0, math.pi / 4], 32 * (math.sqrt(2) - 1)),
    ("half of it", SQUARE, [12.0, 20.0, 4.0, 4.0, math.pi], 8.0),
    ("one side in common", SQUARE, [14.0, 20.0, 4.0, 4.0, 0.0], 0.0),
    ("one corner in common", SQUARE, [14.0, 24.0, 4.0, 4.0, 0.0], 0.0),
    ("inside", SQUARE, [10.0, 20.0, 1.0, 2.0, 0.3], 2.0),
    ("around", SQUARE, [10.0, 20.0, 100.0, 200.0, 1.0], 16.0),
    ("apart", SQUARE, [100.0, 20.0, 4.0, 4.0, 1.0], 0.0),
    ("no area", SQUARE, [10.0, 20.0, 0.0, 4.0, 1.0], 0.0),
    ("a point", SQUARE, [10.0, 20.0, 0.0, 0.0, 1.0], 0.0),
    ("a negative side", SQUARE, [10.0, 20.0, -4.0, 4.0, 0.0], 0.0),
    ("crossed bars", [0.0, 0, 100, 1, 0], [0.0, 0, 100, 1, math.pi / 2], 1.0),
    ("turned the same way", [0.0, 0, 10, 2, 0.5], [0.0, 0, 10, 2, 0.5 + math.pi], 20.0),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("box_a", "box_b", "area"), [row[1:] for row in KNOWN], ids=[row[0] for row in KNOWN])
def test_overlap_known_from_geometry(box_a: list[float], box_b: list[float], area: float, dtype: torch.dtype) -> None:
    for first, second in ((box_a, box_b), (box_b, box_a)):
        common = overlaps(torch.tensor([first], dtype=dtype), torch.tensor([second], dtype=dtype))
        assert common.item() == pytest.approx(area, rel=1e-5, abs=1e-5)


def test_far_from_the_origin_float32_stays_exact() -> None:
    box = torch.tensor([[30_000.0, 40_000.0, 10.0, 6.0, 0.7]])
    shifted = torch.tensor([[30_002.0, 40_000.0, 10.0, 6.0, 0.7]])
    expected = slow_iou(box[0].double().tolist(), shifted[0].double().tolist())
    assert rotated_iou(box, shifted).item() == pytest.approx(expected, abs=1e-5)


def test_boxes_almost_equal_overlap_almost_fully() -> None:
    boxes = random_boxes(500, 2).float()
    boxes[:, 2:4] += 1
    near = boxes + 1e-6 * torch.randn((500, 5), generator=torch.Generator().manual_seed(3))
    assert rotated_iou_pairs(boxes, near).min() > 0.9999


def test_over_the_first_ones_area() -> None:
    small, large = torch.tensor([[0.0, 0, 2, 2, 0]]), torch.tensor([[0.0, 0, 4, 4, 0]])
    assert rotated_iou_pairs(small, large, "first").item() == 1
    assert rotated_iou(large, small, "first").item() == 0.25


def test_no_boxes() -> None:
    none, some = torch.zeros(0, 5), torch.ones(3, 5)
    assert rotated_iou(none, some).shape == (0, 3)
    assert rotated_iou(some, none).shape == (3, 0)
    assert rotated_iou_pairs(none, none).shape == (0,)
    assert rotated_nms(none, torch.zeros(0), 0.5).tolist() == []
    assert box_corners(none).shape == (0, 4, 2)


def test_portions_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes_a, boxes_b, scores = random_boxes(20, 4), random_boxes(30, 5), torch.rand(30)
    whole, kept = rotated_iou(boxes_a, boxes_b), rotated_nms(boxes_b, scores, 0.2)
    monkeypatch.setattr(rotated_boxes, "_PAIRS_AT_ONCE", 7)
    monkeypatch.setattr(rotated_boxes, "_ROWS_AT_ONCE", 4)
    assert torch.equal(rotated_iou(boxes_a, boxes_b), whole)
    assert torch.equal(rotated_nms(boxes_b, scores, 0.2), kept)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.7, 1.0])
def test_suppression_one_by_one(threshold: float) -> None:
    boxes = random_boxes(60, 6)
    scores = torch.rand(60, generator=torch.Generator().manual_seed(7))
    scores[10:14] = 0.5  # equal scores keep their order
    expected: list[int] = []
    for index in sorted(range(60), key=lambda index: -scores[index].item()):
        if all(slow_iou(boxes[index].tolist(), boxes[other].tolist()) <= threshold for other in expected):
            expected.append(index)
    kept = rotated_nms(boxes, scores, threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == expected


def test_without_turning_it_is_the_usual_suppression() -> None:
    from torchvision.ops import box_convert, nms

    boxes = random_boxes(80, 8)
    boxes[:, 4] = 0
    scores = torch.rand(80, dtype=torch.float64)
    usual = nms(box_convert(boxes[:, :4], "cxcywh", "xyxy"), scores, 0.3)
    assert rotated_nms(boxes, scores, 0.3).tolist() == usual.tolist()


def test_suppression_within_labels() -> None:
    boxes = torch.tensor([SQUARE, [10.1, 20, 4, 4, 0.1], [10, 20, 4, 4, math.pi / 4], [90, 9, 2, 2, 0]])
    scores = torch.tensor([0.5, 0.9, 0.7, 0.1])
    assert rotated_nms(boxes, scores, 0.3).tolist() == [1, 3]
    assert rotated_nms(boxes, scores, 0.3, labels=torch.tensor([0, 1, 1, 1])).tolist() == [1, 0, 3]


def test_an_overlap_on_the_threshold() -> None:
    boxes, scores = random_boxes(1, 8).float().repeat(2, 1), torch.tensor([0.5, 0.5])
    assert rotated_nms(boxes, scores, 1.0).tolist() == [0, 1]
    assert rotated_nms(boxes, scores, 1.0, inclusive=True).tolist() == [0]
