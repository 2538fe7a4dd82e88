"""Focal losses against the formula, number by number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cvtune.kernels.mmcv_ext import focal_loss

GAMMA_ALPHA = [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)]


def sigmoid_by_loop(x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, g: float, a: float) -> torch.Tensor:
    out = torch.zeros_like(x)
    for n, row in enumerate(x.tolist()):
        t = int(target[n])
        factor = float(weight[t]) if len(weight) and 0 <= t < len(weight) else 1.0
        for c, logit in enumerate(row):
            p = 1 / (1 + math.exp(-logit))
            log_p, log_rest = -math.log1p(math.exp(-logit)), -math.log1p(math.exp(logit))
            loss = -a * (1 - p) ** g * log_p if c == t else -(1 - a) * p**g * log_rest
            out[n, c] = factor * loss
    return out


def softmax_by_loop(p: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, g: float, a: float) -> torch.Tensor:
    out = p.new_zeros(len(p))
    for n, t in enumerate(target.tolist()):
        if 0 <= t < p.shape[1]:
            q = float(p[n, t])
            out[n] = (float(weight[t]) if len(weight) else 1.0) * -a * (1 - q) ** g * math.log(q)
    return out


def inputs(classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    # The last target of mmdet's sigmoid heads is the background, `classes`; -1 is none.
    return 3 * torch.randn(9, classes, dtype=torch.float64), torch.arange(-1, 8).clamp(max=classes)


@pytest.mark.parametrize(("gamma", "alpha"), GAMMA_ALPHA)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [1, 4])
def test_sigmoid(differentiable: Callable[..., Any], gamma: float, alpha: float, weighted: bool, classes: int) -> None:
    x, target = inputs(classes)
    weight = torch.rand(classes, dtype=torch.float64) if weighted else torch.zeros(0, dtype=torch.float64)

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, None]:
        out = torch.zeros_like(x)
        focal_loss.sigmoid_focal_loss_forward(x, target, weight, out, gamma=gamma, alpha=alpha)
        return out, None

    def backward(gradient: torch.Tensor, kept: None, x: torch.Tensor) -> list[torch.Tensor]:
        out = torch.zeros_like(x)
        focal_loss.sigmoid_focal_loss_backward(x, target, weight, out, gamma=gamma, alpha=alpha)
        return [out * gradient]

    operator = differentiable(forward, backward)
    torch.testing.assert_close(operator(x), sigmoid_by_loop(x, target, weight, gamma, alpha))
    assert torch.autograd.gradcheck(operator, (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize(("gamma", "alpha"), GAMMA_ALPHA)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [1, 4])
def test_softmax(differentiable: Callable[..., Any], gamma: float, alpha: float, weighted: bool, classes: int) -> None:
    x, target = inputs(classes)
    weight = torch.rand(classes, dtype=torch.float64) if weighted else torch.zeros(0, dtype=torch.float64)

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p = x.softmax(dim=1)
        out = p.new_zeros(len(p))
        focal_loss.softmax_focal_loss_forward(p, target, weight, out, gamma=gamma, alpha=alpha)
        return out, p

    def backward(gradient: torch.Tensor, p: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        buff, out = p.new_zeros(len(p)), torch.zeros_like(p)
        focal_loss.softmax_focal_loss_backward(p, target, weight, buff, out, gamma=gamma, alpha=alpha)
        assert torch.isfinite(out).all()
        return [out * gradient[:, None]]

    operator = differentiable(forward, backward)
    expected = softmax_by_loop(x.softmax(dim=1), target, weight, gamma, alpha)
    torch.testing.assert_close(operator(x), expected)
    assert torch.autograd.gradcheck(operator, (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_and_large_logits(dtype: torch.dtype) -> None:
    x = torch.tensor([[-30.0, 30, 0.5], [20, -20, 1]]).to(dtype)
    target, none = torch.tensor([0, 2]), torch.zeros(0)
    out, gradient = torch.zeros_like(x), torch.zeros_like(x)
    focal_loss.sigmoid_focal_loss_forward(x, target, none, out, gamma=2.0, alpha=0.25)
    expected = sigmoid_by_loop(x.double(), target, none, 2.0, 0.25)
    torch.testing.assert_close(out, expected.to(dtype), rtol=2e-2 if dtype != torch.float32 else 1e-5, atol=1e-6)
    focal_loss.sigmoid_focal_loss_backward(x, target, none, gradient, gamma=2.0, alpha=0.25)
    assert torch.isfinite(gradient).all()


def test_no_rows() -> None:
    x, target, none = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    out = torch.zeros_like(x)
    focal_loss.sigmoid_focal_loss_forward(x, target, none, out, gamma=2.0, alpha=0.25)
    focal_loss.softmax_focal_loss_forward(x, target, none, torch.zeros(0), gamma=2.0, alpha=0.25)
