"""CARAFE, masked convolution, batch normalisation, overlaps, points in polygons."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from cvtune.kernels.mmcv_ext import boxes, carafe, masked_conv, sync_bn


def carafe_operator(differentiable: Any, settings: dict[str, int]) -> Any:
    def forward(x: torch.Tensor, masks: torch.Tensor) -> Any:
        scale = settings["scale_factor"]
        out = x.new_zeros((*x.shape[:2], x.shape[2] * scale, x.shape[3] * scale))
        kept, spare = torch.zeros_like(x), torch.zeros_like(out)
        carafe.carafe_forward(x, masks, kept, spare, torch.zeros_like(masks), out, **settings)
        naive = torch.zeros_like(out)
        carafe.carafe_naive_forward(x, masks, naive, **settings)
        assert torch.equal(out, naive)
        return out, kept

    def backward(gradient: Any, kept: Any, x: Any, masks: Any) -> list[torch.Tensor]:
        spares = [torch.zeros_like(t) for t in (gradient, gradient, x, masks)]
        grads = [torch.zeros_like(x), torch.zeros_like(masks)]
        carafe.carafe_backward(gradient, kept, masks, *spares, *grads, **settings)
        return grads

    return differentiable(forward, backward)


@pytest.mark.parametrize(("kernel", "group", "scale"), [(3, 1, 2), (5, 2, 2), (1, 4, 3), (3, 2, 1)])
def test_carafe(differentiable: Any, kernel: int, group: int, scale: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 4, dtype=torch.float64)
    masks = torch.randn(2, group * kernel * kernel, 3 * scale, 4 * scale, dtype=torch.float64)
    operator = carafe_operator(differentiable, {"kernel_size": kernel, "group_size": group, "scale_factor": scale})
    expected = torch.zeros(2, 4, 3 * scale, 4 * scale, dtype=torch.float64)
    for b, c, i, j in torch.cartesian_prod(*(torch.arange(n) for n in expected.shape)).tolist():
        for a in range(kernel):
            for d in range(kernel):
                row, column = i // scale + a - kernel // 2, j // scale + d - kernel // 2
                if 0 <= row < 3 and 0 <= column < 4:
                    tap = (c // (4 // group) * kernel + a) * kernel + d
                    expected[b, c, i, j] += x[b, c, row, column] * masks[b, tap, i, j]
    torch.testing.assert_close(operator(x, masks), expected)
    assert torch.autograd.gradcheck(operator, (x.requires_grad_(), masks.requires_grad_()), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_carafe_in_low_precision(differentiable: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, masks = torch.randn(1, 2, 4, 4).to(dtype), torch.randn(1, 9, 8, 8).to(dtype)
    operator = carafe_operator(differentiable, {"kernel_size": 3, "group_size": 1, "scale_factor": 2})
    torch.testing.assert_close(operator(x, masks).double(), operator(x.double(), masks.double()), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_masked_convolution_is_the_convolution_at_its_places(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, 6, 7).to(dtype), torch.randn(4, 3, 3, 5).to(dtype)
    full = functional.conv2d(x, weight, padding=(1, 2))
    rows, columns = (torch.rand(6, 7) > 0.6).nonzero(as_tuple=True)
    windows = x.new_zeros(3 * 15, len(rows))
    masked_conv.masked_im2col_forward(x, rows, columns, windows, kernel_h=3, kernel_w=5, pad_h=1, pad_w=2)
    out = torch.zeros_like(full)
    values = weight.reshape(4, -1) @ windows
    masked_conv.masked_col2im_forward(values, rows, columns, out, height=6, width=7, channels=4)
    chosen = torch.zeros(6, 7, dtype=torch.bool)
    chosen[rows, columns] = True
    expected = full * chosen
    torch.testing.assert_close(
        out, expected, rtol=5e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-1 * (dtype == torch.bfloat16) + 1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_normalisation_in_one_process_is_torchs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (3 + 2 * torch.randn(4, 5, 6)).to(dtype)
    gradient = torch.randn(4, 5, 6).to(dtype)
    module = torch.nn.BatchNorm1d(5, momentum=0.1)
    torch.nn.init.uniform_(module.weight)
    leaf = x.float().requires_grad_()
    expected = module(leaf)
    grads = torch.autograd.grad(expected, [leaf, module.weight, module.bias], gradient.float())

    mean, var, std, norm = torch.zeros(5), torch.zeros(5), torch.zeros(5), torch.zeros(4, 5, 6)
    running_mean, running_var, out = torch.zeros(5), torch.ones(5), torch.zeros_like(x)
    sync_bn.sync_bn_forward_mean(x, mean)
    sync_bn.sync_bn_forward_var(x, mean, var)
    statistics = (mean, var, module.weight, module.bias, running_mean, running_var)
    sync_bn.sync_bn_forward_output(x, *statistics, norm, std, out, eps=module.eps, momentum=0.1, group_size=1)
    by_weight, by_bias, by_x = torch.zeros(5), torch.zeros(5), torch.zeros_like(x)
    sync_bn.sync_bn_backward_param(gradient, norm, by_weight, by_bias)
    sync_bn.sync_bn_backward_data(gradient, module.weight.detach(), by_weight, by_bias, norm, std, by_x)
    pairs = [
        (out, expected),
        (by_x, grads[0]),
        (by_weight, grads[1]),
        (by_bias, grads[2]),
        (running_mean, module.running_mean),
        (running_var, module.running_var),
    ]
    for own, reference in pairs:
        tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(own.float(), reference.float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize("mode", [boxes.IOU, boxes.IOF])
def test_overlaps(dtype: torch.dtype, mode: int) -> None:
    first = torch.tensor([[0, 0, 10, 10], [10, 10, 20, 20]], dtype=dtype)
    second = torch.tensor([[0, 0, 10, 20], [5, 5, 15, 15], [30, 30, 40, 40]], dtype=dtype)
    ious = torch.zeros(2, 3, dtype=dtype)
    boxes.bbox_overlaps(first, second, ious, mode=mode, aligned=False, offset=0)
    expected = [[0.5, 25 / 175, 0], [0, 25 / 175, 0]] if mode == boxes.IOU else [[1, 0.25, 0], [0, 0.25, 0]]
    torch.testing.assert_close(ious, torch.tensor(expected, dtype=dtype))


def test_points_in_polygons() -> None:
    points = torch.tensor([[1.0, 1.0], [5.0, 1.0], [2.9, 2.9], [-1.0, 2.0], [2.0, 3.9]])
    square = [0.0, 0, 4, 0, 4, 4, 0, 4]
    diamond = [2.0, 0, 4, 2, 2, 4, 0, 2]
    output = torch.zeros(5, 2)
    boxes.points_in_polygons_forward(points, torch.tensor([square, diamond]), output)
    assert output.tolist() == [[1, 0], [0, 0], [1, 1], [0, 0], [1, 1]]
