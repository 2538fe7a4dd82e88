"""Rotated RoIAlign against loops over every sample, against torchvision's RoIAlign, and its gradient numerically."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchvision

from cvtune.kernels import roi_align_rotated
from cvtune.kernels.roi_align_rotated import roi_align_rotated_backward, roi_align_rotated_forward

ROIS = [
    [0, 20, 16, 24, 12, 0],
    [1, 20, 16, 24, 12, 30],
    [0, 25, 10, 9, 30, -75],
    [1, 28, 20, 200, 150, 45],  # larger than the image
    [0, 55, 39, 10, 10, 120],  # over the last corner
    [1, -40, -40, 10, 10, 10],  # outside
    [0, 20, 20, 0, 0, 60],  # no area
    [1, 20, 20, 3, 0, 60],
    [0, 1, 1, 6, 6, 400],
]
SCALE = 0.25  # 40 x 56 image pixels, 10 x 14 feature pixels


def interpolate(plane: torch.Tensor, y: float, x: float) -> torch.Tensor:
    """plane: [c, h, w]."""
    height, width = plane.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(plane.shape[0], dtype=plane.dtype)
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane[:, top, left] * (1 - (x - left)) + plane[:, top, right] * (x - left)
    lower = plane[:, bottom, left] * (1 - (x - left)) + plane[:, bottom, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def slow(features: torch.Tensor, rois: torch.Tensor, rows: int, columns: int, sampling: int) -> torch.Tensor:
    out = torch.zeros((len(rois), features.shape[1], rows, columns), dtype=features.dtype)
    for index, (image, *box) in enumerate(rois.tolist()):
        x, y, width, height = (value * SCALE for value in box[:4])
        angle = math.radians(box[4])
        down = sampling if sampling > 0 else math.ceil(height / rows)
        across = sampling if sampling > 0 else math.ceil(width / columns)
        for row in range(rows):
            for column in range(columns):
                for i in range(down):
                    for j in range(across):
                        along_y = ((row + (i + 0.5) / down) / rows - 0.5) * height
                        along_x = ((column + (j + 0.5) / across) / columns - 0.5) * width
                        at_y = y - 0.5 + along_y * math.cos(angle) - along_x * math.sin(angle)
                        at_x = x - 0.5 + along_y * math.sin(angle) + along_x * math.cos(angle)
                        sample = interpolate(features[int(image)], at_y, at_x)
                        out[index, :, row, column] += sample / (down * across)
    return out


class Pool(torch.autograd.Function):
    """The two functions as Detectron2 joins them."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, rois: torch.Tensor, rows: int, columns: int, sampling: int) -> Any:
        ctx.rois, ctx.settings, ctx.shape = rois, (rows, columns, sampling), features.shape
        return roi_align_rotated_forward(features, rois, SCALE, rows, columns, sampling)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        rows, columns, sampling = ctx.settings
        found = roi_align_rotated_backward(gradient, ctx.rois, SCALE, rows, columns, *ctx.shape, sampling)
        return found, None, None, None, None


@pytest.mark.parametrize("sampling", [1, 2, 0])
@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (1, 1), (7, 7)])
def test_values(rows: int, columns: int, sampling: int) -> None:
    features = torch.randn((2, 3, 10, 14), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rois = torch.tensor(ROIS, dtype=torch.float64)
    own = roi_align_rotated_forward(features, rois, SCALE, rows, columns, sampling)
    torch.testing.assert_close(own, slow(features, rois, rows, columns, sampling), rtol=1e-10, atol=1e-12)
    single = roi_align_rotated_forward(features.float(), rois.float(), SCALE, rows, columns, sampling)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), own, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sampling", [2, 0])
def test_gradients(sampling: int) -> None:
    features = torch.randn(2, 2, 10, 14, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor(ROIS, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: Pool.apply(x, rois, 2, 3, sampling), (features,), fast_mode=True)


def test_without_turning_it_is_torchvisions() -> None:
    features = torch.randn(2, 3, 10, 14, dtype=torch.float64, requires_grad=True)
    upright = torch.tensor([[0, 20, 16, 24, 12, 0], [1, 30, 20, 10, 33, 360]], dtype=torch.float64)
    boxes = torchvision.ops.box_convert(upright[:, 1:5], "cxcywh", "xyxy")
    usual = torchvision.ops.roi_align(
        features, torch.cat([upright[:, :1], boxes], dim=1), (7, 7), SCALE, sampling_ratio=2, aligned=True
    )
    own = Pool.apply(features, upright, 7, 7, 2)
    torch.testing.assert_close(own, usual)
    weights = torch.randn_like(usual)
    gradients = [torch.autograd.grad((out * weights).sum(), features)[0] for out in (own, usual)]
    torch.testing.assert_close(*gradients)


def test_portions_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rois = torch.randn(2, 3, 10, 14, dtype=torch.float64), torch.tensor(ROIS, dtype=torch.float64)
    whole = roi_align_rotated_forward(features, rois, SCALE, 3, 3, 0)
    gradient = roi_align_rotated_backward(whole, rois, SCALE, 3, 3, 2, 3, 10, 14, 0)
    monkeypatch.setattr(roi_align_rotated, "_TAPS_AT_ONCE", 1)
    torch.testing.assert_close(roi_align_rotated_forward(features, rois, SCALE, 3, 3, 0), whole)
    torch.testing.assert_close(roi_align_rotated_backward(whole, rois, SCALE, 3, 3, 2, 3, 10, 14, 0), gradient)


def test_no_regions() -> None:
    none = torch.zeros(0, 6)
    assert roi_align_rotated_forward(torch.randn(1, 3, 4, 4), none, 1.0, 2, 2, 0).shape == (0, 3, 2, 2)
    assert not roi_align_rotated_backward(torch.zeros(0, 3, 2, 2), none, 1.0, 2, 2, 1, 3, 4, 4, 2).any()
