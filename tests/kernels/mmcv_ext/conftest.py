"""What the tests of several operators share: a Function made of two functions, and a slow bilinear interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

Forward = Callable[..., Any]
Backward = Callable[..., Sequence[torch.Tensor | None]]


@pytest.fixture
def differentiable() -> Callable[[Forward, Backward], Callable[..., torch.Tensor]]:
    """Make an autograd function of forward(*tensors) -> (out, kept) and backward(gradient, kept, *tensors)."""

    def make(forward: Forward, backward: Backward) -> Callable[..., torch.Tensor]:
        class Operator(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *tensors: torch.Tensor) -> torch.Tensor:
                out, ctx.kept = forward(*tensors)
                ctx.save_for_backward(*tensors)
                return out

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> Any:
                return tuple(backward(gradient.contiguous(), ctx.kept, *ctx.saved_tensors))

        return Operator.apply

    return make


@pytest.fixture
def interpolate() -> Callable[[torch.Tensor, float, float, bool], float]:
    """Value of one plane [h, w] at (y, x): RoIAlign's rule at the border, or zeros around the plane."""

    def at(plane: torch.Tensor, y: float, x: float, zeros: bool = False) -> float:
        height, width = plane.shape
        if zeros:
            top, left = math.floor(y), math.floor(x)
        else:
            if y < -1 or y > height or x < -1 or x > width:
                return 0.0
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            top, left = int(y), int(x)
        total = 0.0
        for row, vertical in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, horizontal in ((left, 1 - (x - left)), (left + 1, x - left)):
                if 0 <= row < height and 0 <= column < width:
                    total += float(plane[row, column]) * vertical * horizontal
        return total

    return at
