"""RoIAlign, RoIPool, deformable RoI pooling, BorderAlign against loops over samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cvtune.kernels.mmcv_ext import border_align, deform_roi_pool, roi_align, roi_pool

SCALE = 0.5
SIZE = (2, 3)


def regions(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Over two images of 16 x 20 pixels (8 x 10 feature pixels)."""
    rows = [
        [0, 1.3, 2.1, 9.7, 11.2],
        [1, 4.4, 0.6, 19.1, 14.8],
        [1, -6.3, -4.1, 7.7, 5.3],  # over the corner
        [0, 30, 30, 40, 40],  # outside
        [0, 5.2, 5.1, 5.2, 5.1],  # no area
    ]
    return torch.tensor(rows, dtype=dtype)


def features(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, 8, 10, dtype=torch.float64).to(dtype)


def samples_of(roi: list[float], aligned: bool, sampling: int, moves: Any = None, gamma: float = 0.0) -> Any:
    """For each bin, the list of its samples (y, x)."""
    shift = 0.5 if aligned else 0.0
    x0, y0, x1, y1 = (v * SCALE - shift for v in roi[1:])
    width, height = x1 - x0, y1 - y0
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    grid_h = sampling or math.ceil(height / SIZE[0])
    grid_w = sampling or math.ceil(width / SIZE[1])
    for ph in range(SIZE[0]):
        for pw in range(SIZE[1]):
            dx = gamma * width * float(moves[0, ph, pw]) if moves is not None else 0.0
            dy = gamma * height * float(moves[1, ph, pw]) if moves is not None else 0.0
            yield (
                ph,
                pw,
                [
                    (
                        y0 + dy + (ph + (i + 0.5) / grid_h) * height / SIZE[0],
                        x0 + dx + (pw + (j + 0.5) / grid_w) * width / SIZE[1],
                    )
                    for i in range(grid_h)
                    for j in range(grid_w)
                ],
            )


def aligned_operator(differentiable: Any, rois: torch.Tensor, mode: int, sampling: int, aligned: bool) -> Any:
    settings = {
        "aligned_height": SIZE[0],
        "aligned_width": SIZE[1],
        "spatial_scale": SCALE,
        "sampling_ratio": sampling,
        "pool_mode": mode,
        "aligned": aligned,
    }

    def forward(x: torch.Tensor) -> Any:
        out = x.new_zeros((len(rois), x.shape[1], *SIZE))
        argmax = [torch.zeros_like(out) if mode == roi_align.MAXIMUM else x.new_zeros(0) for _ in range(2)]
        roi_align.roi_align_forward(x, rois, out, *argmax, **settings)
        return out, argmax

    def backward(gradient: torch.Tensor, argmax: list[torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
        out = torch.zeros_like(x)
        roi_align.roi_align_backward(gradient, rois, *argmax, out, **settings)
        return [out]

    return differentiable(forward, backward)


@pytest.mark.parametrize("mode", [roi_align.MAXIMUM, roi_align.AVERAGE])
@pytest.mark.parametrize("sampling", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align(differentiable: Any, interpolate: Any, mode: int, sampling: int, aligned: bool) -> None:
    x, rois = features(), regions()
    operator = aligned_operator(differentiable, rois, mode, sampling, aligned)
    out = operator(x)
    for k, roi in enumerate(rois.tolist()):
        for ph, pw, points in samples_of(roi, aligned, sampling):
            for c in range(x.shape[1]):
                values = [interpolate(x[int(roi[0]), c], *point) for point in points]
                if mode == roi_align.AVERAGE:
                    expected = sum(values) / max(len(values), 1)
                else:
                    expected = max(values, default=roi_align.NO_SAMPLE)
                assert out[k, c, ph, pw] == pytest.approx(expected, abs=1e-12)
    assert torch.autograd.gradcheck(operator, (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("mode", [roi_align.MAXIMUM, roi_align.AVERAGE])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_roi_align_in_low_precision(differentiable: Any, mode: int, dtype: torch.dtype) -> None:
    x, rois = features(dtype), regions(dtype)
    half, full = (aligned_operator(differentiable, r, mode, 2, True) for r in (rois, rois.double()))
    gradients = []
    for operator, leaf in ((half, x.requires_grad_()), (full, x.detach().double().requires_grad_())):
        out = operator(leaf)
        out.sum().backward()
        gradients.append((out.detach().double(), leaf.grad.double()))
    for own, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(own, expected, rtol=4e-2, atol=4e-2)


def pool_operator(differentiable: Any, rois: torch.Tensor) -> Any:
    settings = {"pooled_height": SIZE[0], "pooled_width": SIZE[1], "spatial_scale": SCALE}

    def forward(x: torch.Tensor) -> Any:
        out = x.new_zeros((len(rois), x.shape[1], *SIZE))
        argmax = torch.zeros_like(out, dtype=torch.int32)
        roi_pool.roi_pool_forward(x, rois, out, argmax, **settings)
        return out, argmax

    def backward(gradient: torch.Tensor, argmax: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        out = torch.zeros_like(x)
        roi_pool.roi_pool_backward(gradient, rois, argmax, out, **settings)
        return [out]

    return differentiable(forward, backward)


def test_roi_pool(differentiable: Any) -> None:
    x = features()
    rois = torch.cat([regions(), torch.tensor([[0, 9.0, 9, 3, 3]], dtype=torch.float64)])  # the last is inverted
    operator = pool_operator(differentiable, rois)
    out = operator(x)
    for k, (image, x0, y0, x1, y1) in enumerate(rois.tolist()):
        left, top = x0 * SCALE, y0 * SCALE
        width, height = (x1 + 1) * SCALE - left, (y1 + 1) * SCALE - top
        for ph in range(SIZE[0]):
            for pw in range(SIZE[1]):
                rows = range(
                    max(math.floor(top + ph * height / SIZE[0]), 0),
                    min(math.ceil(top + (ph + 1) * height / SIZE[0]), 8),
                )
                columns = range(
                    max(math.floor(left + pw * width / SIZE[1]), 0),
                    min(math.ceil(left + (pw + 1) * width / SIZE[1]), 10),
                )
                exists = width > 0 and height > 0 and len(rows) and len(columns)
                for c in range(x.shape[1]):
                    plane = x[int(image), c]
                    expected = max(float(plane[i, j]) for i in rows for j in columns) if exists else 0.0
                    assert out[k, c, ph, pw] == pytest.approx(expected)
    assert torch.autograd.gradcheck(operator, (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_roi_pool_in_low_precision(differentiable: Any, dtype: torch.dtype) -> None:
    x, rois = features(dtype), regions(dtype)
    out = pool_operator(differentiable, rois)(x)
    assert torch.equal(out.double(), pool_operator(differentiable, rois.double())(x.double()))


def moved_operator(differentiable: Any, rois: torch.Tensor, sampling: int, gamma: float) -> Any:
    settings = {
        "pooled_height": SIZE[0],
        "pooled_width": SIZE[1],
        "spatial_scale": SCALE,
        "sampling_ratio": sampling,
        "gamma": gamma,
    }

    def forward(x: torch.Tensor, moves: torch.Tensor) -> Any:
        out = x.new_zeros((len(rois), x.shape[1], *SIZE))
        deform_roi_pool.deform_roi_pool_forward(x, rois, moves, out, **settings)
        return out, None

    def backward(gradient: torch.Tensor, kept: None, x: torch.Tensor, moves: torch.Tensor) -> list[Any]:
        by_x, by_moves = torch.zeros_like(x), torch.zeros_like(moves)
        deform_roi_pool.deform_roi_pool_backward(gradient, x, rois, moves, by_x, by_moves, **settings)
        return [by_x, by_moves if moves.numel() else None]

    return differentiable(forward, backward)


@pytest.mark.parametrize("sampling", [0, 2])
@pytest.mark.parametrize("moved", [True, False])
def test_deform_roi_pool(differentiable: Any, interpolate: Any, sampling: int, moved: bool) -> None:
    x, rois, gamma = features(), regions(), 0.3
    moves = torch.randn(len(rois), 2, *SIZE, dtype=torch.float64) if moved else torch.zeros(0, dtype=torch.float64)
    operator = moved_operator(differentiable, rois, sampling, gamma)
    out = operator(x, moves)
    for k, roi in enumerate(rois.tolist()):
        for ph, pw, points in samples_of(roi, True, sampling, moves[k] if moved else None, gamma):
            for c in range(x.shape[1]):
                values = [interpolate(x[int(roi[0]), c], *point) for point in points]
                assert out[k, c, ph, pw] == pytest.approx(sum(values) / max(len(values), 1), abs=1e-12)
    assert torch.autograd.gradcheck(operator, (x.requires_grad_(), moves.requires_grad_(moved)), fast_mode=True)


@pytest.mark.parametrize("pool_size", [1, 4])
def test_border_align(differentiable: Any, interpolate: Any, pool_size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 7, dtype=torch.float64)
    boxes = torch.tensor([[0.3, 1.2, 4.1, 5.4], [-2.2, -0.7, 9.6, 3.3], [2.3, 2.1, 2.3, 2.1]], dtype=torch.float64)
    boxes = torch.stack([boxes, boxes + 0.17])

    def forward(x: torch.Tensor) -> Any:
        out = x.new_zeros((2, 2, 3, 4))
        argmax = torch.zeros_like(out, dtype=torch.int32)
        border_align.border_align_forward(x, boxes, out, argmax, pool_size=pool_size)
        return out, argmax

    def backward(gradient: torch.Tensor, argmax: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        out = torch.zeros_like(x)
        border_align.border_align_backward(gradient, boxes, argmax, out, pool_size=pool_size)
        return [out]

    operator = differentiable(forward, backward)
    out = operator(x)
    for b in range(2):
        for k, (x0, y0, x1, y1) in enumerate(boxes[b].tolist()):
            parts = [i / pool_size for i in range(pool_size + 1)]
            sides = [
                [(y0, x0 + part * (x1 - x0)) for part in parts],
                [(y0 + part * (y1 - y0), x0) for part in parts],
                [(y1, x1 - part * (x1 - x0)) for part in parts],
                [(y1 - part * (y1 - y0), x1) for part in parts],
            ]
            for side, points in enumerate(sides):
                for c in range(2):
                    expected = max(interpolate(x[b, side * 2 + c], *point) for point in points)
                    assert out[b, c, k, side] == pytest.approx(expected, abs=1e-12)
    # The sides of a box without an area have equal samples, whose largest is not differentiable: it is left out.
    boxes = boxes[:, :2]

    def forward_two(x: torch.Tensor) -> Any:
        out = x.new_zeros((2, 2, 2, 4))
        argmax = torch.zeros_like(out, dtype=torch.int32)
        border_align.border_align_forward(x, boxes, out, argmax, pool_size=pool_size)
        return out, argmax

    assert torch.autograd.gradcheck(differentiable(forward_two, backward), (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("make", [pool_operator, lambda d, r: aligned_operator(d, r, 0, 0, True)])
def test_no_regions(differentiable: Any, make: Callable[..., Any]) -> None:
    x = features().requires_grad_()
    out = make(differentiable, torch.zeros(0, 5, dtype=torch.float64))(x)
    assert out.shape == (0, 3, *SIZE)
    out.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize(
    "make",
    [pool_operator, lambda d, r: aligned_operator(d, r, 0, 2, True), lambda d, r: aligned_operator(d, r, 1, 0, True)],
)
def test_regions_that_are_no_numbers_stay_visible(differentiable: Any, make: Callable[..., Any]) -> None:
    rois = regions()
    rois[1, 2], rois[2, 4] = torch.nan, torch.inf
    x = features().requires_grad_()
    out = make(differentiable, rois)(x)
    assert out[1:3].isnan().all()
    assert out[[0, 3, 4]].isfinite().all()
    out[0].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
