"""NMS, soft-NMS and matching against loops over pairs."""

from __future__ import annotations

import math

import pytest
import torch

from cvtune.kernels.mmcv_ext.suppression import GAUSSIAN, LINEAR, NAIVE, nms, nms_match, softnms


def overlap(a: list[float], b: list[float], offset: int) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    inter = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    union = sum(areas) - inter
    return inter / union if union else 0.0


def random_boxes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 40, (count, 2), generator=generator).float()
    sizes = torch.randint(0, 20, (count, 2), generator=generator).float()
    # Scores that differ: multiples of a 1/256 are exact in every dtype.
    return torch.cat([corners, corners + sizes], dim=1), torch.randperm(count, generator=generator) / 256


def kept_by_loop(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    rows = boxes.tolist()
    for i in scores.argsort(descending=True).tolist():
        if all(overlap(rows[i], rows[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.31, 0.5])
def test_nms(dtype: torch.dtype, offset: int, threshold: float) -> None:
    boxes, scores = random_boxes(150)
    kept = nms(boxes.to(dtype), scores.to(dtype), threshold, offset)
    assert kept.dtype == torch.int64
    assert kept.tolist() == kept_by_loop(boxes, scores, threshold, offset)


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_of_nothing(offset: int) -> None:
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5, offset).shape == (0,)


def test_nms_keeps_boxes_without_an_area_and_scores_of_another_dtype() -> None:
    boxes = torch.zeros(3, 4)
    assert nms(boxes, torch.tensor([0.1, 0.3, 0.2], dtype=torch.float16), 0.5, 0).tolist() == [1, 2, 0]


def test_an_overlap_on_the_threshold_keeps_both_boxes() -> None:
    # 0.7 in float32 is below 0.7 in float64; these overlap by 7 / 10.
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, 7, 1]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.7, 0).tolist() == [0, 1]
    assert nms_match(torch.tensor([[0.0, 0, 10, 1, 0.9], [0, 0, 7, 1, 0.8]]), 0.7) == [[0, 1]]


def test_nms_match() -> None:
    boxes, scores = random_boxes(80)
    groups = nms_match(torch.cat([boxes, scores[:, None]], dim=1), 0.3001)
    assert [group[0] for group in groups] == kept_by_loop(boxes, scores, 0.3001, 0)
    assert sorted(i for group in groups for i in group) == list(range(80))
    for first, *others in groups:
        assert all(overlap(boxes[first].tolist(), boxes[i].tolist(), 0) >= 0.3 for i in others)
        assert [float(scores[i]) for i in others] == sorted((float(scores[i]) for i in others), reverse=True)


def soft_by_loop(
    boxes: torch.Tensor, scores: torch.Tensor, settings: dict[str, float], method: int, offset: int
) -> list[tuple[int, float]]:
    left = dict(enumerate(scores.tolist()))
    rows, chosen = boxes.tolist(), []
    while left:
        best = max(left, key=lambda i: left[i])
        chosen.append((best, left.pop(best)))
        for i in list(left):
            iou = overlap(rows[best], rows[i], offset)
            if method == GAUSSIAN:
                left[i] *= math.exp(-iou * iou / settings["sigma"])
            elif iou >= settings["iou_threshold"]:
                left[i] *= 0 if method == NAIVE else 1 - iou
            if left[i] < settings["min_score"]:
                del left[i]
    return chosen


@pytest.mark.parametrize("method", [NAIVE, LINEAR, GAUSSIAN])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_softnms(method: int, offset: int, dtype: torch.dtype) -> None:
    boxes, scores = random_boxes(60)
    boxes, scores = boxes.to(dtype), scores.to(dtype)
    settings = {"iou_threshold": 0.301, "sigma": 0.5, "min_score": 0.011}
    dets = boxes.new_zeros((60, 5))
    index = softnms(boxes, scores, dets, **settings, method=method, offset=offset)
    expected = soft_by_loop(boxes, scores, settings, method, offset)
    assert index.tolist() == [i for i, _ in expected]
    torch.testing.assert_close(dets[: len(index), :4], boxes[index])
    lowered = torch.tensor([score for _, score in expected], dtype=dtype)
    torch.testing.assert_close(dets[: len(index), 4], lowered, rtol=1e-5, atol=1e-6)


def test_softnms_of_few_and_degenerate_boxes() -> None:
    settings = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.1, "method": GAUSSIAN, "offset": 0}
    assert softnms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 5), **settings).shape == (0,)
    dets = torch.zeros(3, 5)
    index = softnms(torch.zeros(3, 4), torch.tensor([0.2, 0.4, 0.3]), dets, **settings)
    assert index.tolist() == [1, 2, 0]
    assert torch.isfinite(dets).all()
