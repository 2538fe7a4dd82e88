"""Deformable convolution and attention against loops over samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cvtune.kernels import deform_conv
from cvtune.kernels.mmcv_ext import deform_attention

STRIDE, PAD, DILATION, KERNEL, GROUPS, DEFORM = (1, 2), (1, 0), (1, 1), (2, 3), 2, 2
GEOMETRY_V1 = {
    "kH": KERNEL[0],
    "kW": KERNEL[1],
    "dH": STRIDE[0],
    "dW": STRIDE[1],
    "padH": PAD[0],
    "padW": PAD[1],
    "dilationH": DILATION[0],
    "dilationW": DILATION[1],
    "group": GROUPS,
    "deformable_group": DEFORM,
    "im2col_step": 1,
}
GEOMETRY_V2 = {
    "kernel_h": KERNEL[0],
    "kernel_w": KERNEL[1],
    "stride_h": STRIDE[0],
    "stride_w": STRIDE[1],
    "pad_h": PAD[0],
    "pad_w": PAD[1],
    "dilation_h": DILATION[0],
    "dilation_w": DILATION[1],
    "group": GROUPS,
    "deformable_group": DEFORM,
    "with_bias": True,
}


def tensors(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    size, taps = (5, 2), DEFORM * KERNEL[0] * KERNEL[1]
    shapes = [(1, 4, 4, 6), (2, 2, *KERNEL), (1, 2 * taps, *size), (1, taps, *size), (2,)]
    return tuple(torch.randn(shape, dtype=torch.float64).to(dtype) for shape in shapes)


def by_loop(interpolate: Any, x: Any, weight: Any, offset: Any, mask: Any, bias: Any) -> torch.Tensor:
    out = x.new_zeros((1, 2, *offset.shape[2:]))
    per_group, per_deform = x.shape[1] // GROUPS, x.shape[1] // DEFORM
    for o in range(2):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                total = float(bias[o])
                for c in range(per_group):
                    channel = o // (2 // GROUPS) * per_group + c
                    for a in range(KERNEL[0]):
                        for b in range(KERNEL[1]):
                            tap = channel // per_deform * KERNEL[0] * KERNEL[1] + a * KERNEL[1] + b
                            y = i * STRIDE[0] - PAD[0] + a * DILATION[0] + float(offset[0, 2 * tap, i, j])
                            z = j * STRIDE[1] - PAD[1] + b * DILATION[1] + float(offset[0, 2 * tap + 1, i, j])
                            value = interpolate(x[0, channel], y, z, True)
                            total += value * float(weight[o, c, a, b]) * float(mask[0, tap, i, j])
                out[0, o, i, j] = total
    return out


def v1(differentiable: Any) -> Any:
    def forward(x: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor) -> Any:
        out, columns = x.new_empty((1, 2, *offset.shape[2:])), x.new_empty(0)
        deform_conv.deform_conv_forward(x, weight, offset, out, columns, x.new_empty(0), **GEOMETRY_V1)
        return out, columns

    def backward(gradient: Any, columns: Any, x: Any, weight: Any, offset: Any) -> list[torch.Tensor]:
        grads = [torch.zeros_like(t) for t in (x, offset, weight)]
        arguments = (x, offset, gradient)
        deform_conv.deform_conv_backward_input(*arguments, *grads[:2], weight, columns, **GEOMETRY_V1)
        deform_conv.deform_conv_backward_parameters(*arguments, grads[2], columns, columns, scale=1, **GEOMETRY_V1)
        assert columns.numel() == 0
        return [grads[0], grads[2], grads[1]]

    return differentiable(forward, backward)


def v2(differentiable: Any) -> Any:
    def forward(x: Any, weight: Any, offset: Any, mask: Any, bias: Any) -> Any:
        out, none = x.new_empty((1, 2, *offset.shape[2:])), x.new_empty(0)
        arguments = (x, weight, bias, none, offset, mask)
        deform_conv.modulated_deform_conv_forward(*arguments, out, none, **GEOMETRY_V2)
        return out, none

    def backward(gradient: Any, none: Any, x: Any, weight: Any, offset: Any, mask: Any, bias: Any) -> Any:
        grads = [torch.zeros_like(t) for t in (x, weight, bias, offset, mask)]
        arguments = (x, weight, bias, none, offset, mask)
        deform_conv.modulated_deform_conv_backward(*arguments, none, *grads, gradient, **GEOMETRY_V2)
        return [grads[0], grads[1], grads[3], grads[4], grads[2]]

    return differentiable(forward, backward)


def test_deform_conv(differentiable: Any, interpolate: Any) -> None:
    x, weight, offset, mask, bias = tensors()
    operator = v1(differentiable)
    expected = by_loop(interpolate, x, weight, offset, torch.ones_like(mask), torch.zeros_like(bias))
    torch.testing.assert_close(operator(x, weight, offset), expected)
    assert torch.autograd.gradcheck(operator, [t.requires_grad_() for t in (x, weight, offset)], fast_mode=True)


def test_the_weight_s_gradient_follows_each_backward_pass(differentiable: Any) -> None:
    x, weight, offset, _, _ = (t.requires_grad_() for t in tensors())
    out = v1(differentiable)(x, weight, offset)
    once = torch.autograd.grad(out.sum(), [x, weight], retain_graph=True)
    twice = torch.autograd.grad(2 * out.sum(), [x, weight])
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(2 * a, b)


def test_modulated_deform_conv(differentiable: Any, interpolate: Any) -> None:
    inputs = tensors()
    operator = v2(differentiable)
    torch.testing.assert_close(operator(*inputs), by_loop(interpolate, *inputs))
    assert torch.autograd.gradcheck(operator, [t.requires_grad_() for t in inputs], fast_mode=True)


def test_offsets_that_are_no_numbers_sample_nothing(differentiable: Any) -> None:
    x, weight, offset, mask, bias = tensors()
    for number in (torch.nan, torch.inf, -torch.inf):
        inputs = [x, weight, torch.full_like(offset, number), mask, bias]
        out = v2(differentiable)(*(t.requires_grad_() for t in inputs))
        torch.testing.assert_close(out, bias[None, :, None, None].expand_as(out))
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(out.sum(), inputs))


def test_offsets_larger_than_the_output_are_read_on_end(differentiable: Any) -> None:
    x, weight, offset, mask, bias = tensors()
    larger = [torch.randn(1, t.shape[1], 9, 7, dtype=torch.float64) for t in (offset, mask)]
    read = [t.flatten()[: u.numel()].reshape(u.shape) for t, u in zip(larger, (offset, mask), strict=True)]

    def forward(*inputs: torch.Tensor) -> Any:
        out, none = x.new_empty((1, 2, 5, 2)), x.new_empty(0)
        arguments = (*inputs[:2], inputs[4], none, *inputs[2:4])
        deform_conv.modulated_deform_conv_forward(*arguments, out, none, **GEOMETRY_V2)
        return out, none

    def backward(gradient: Any, none: Any, *inputs: torch.Tensor) -> Any:
        grads = [torch.zeros_like(inputs[i]) for i in (0, 1, 4, 2, 3)]
        arguments = (*inputs[:2], inputs[4], none, *inputs[2:4])
        deform_conv.modulated_deform_conv_backward(*arguments, none, *grads, gradient, **GEOMETRY_V2)
        return [grads[i] for i in (0, 1, 3, 4, 2)]

    operator = differentiable(forward, backward)
    torch.testing.assert_close(operator(x, weight, *larger, bias), v2(differentiable)(x, weight, *read, bias))
    inputs = [t.requires_grad_() for t in (x, weight, *larger, bias)]
    assert torch.autograd.gradcheck(operator, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision(differentiable: Any, dtype: torch.dtype) -> None:
    low = [t.requires_grad_() for t in tensors(dtype)]
    full = [t.detach().double().requires_grad_() for t in low]
    results = []
    for inputs in (low, full):
        out = v2(differentiable)(*inputs)
        grads = torch.autograd.grad(out.sum(), inputs)
        results.append([t.double() for t in (out.detach(), *grads)])
    for own, expected in zip(*results, strict=True):
        torch.testing.assert_close(own, expected, rtol=2e-2, atol=5e-2)


SHAPES = torch.tensor([[3, 4], [2, 2]])
STARTS = torch.tensor([0, 12])


def attention_inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    value = torch.randn(2, 16, 2, 3, dtype=torch.float64)
    locations = 1.4 * torch.rand(2, 5, 2, 2, 3, 2, dtype=torch.float64) - 0.2  # some are outside
    weights = torch.rand(2, 5, 2, 2, 3, dtype=torch.float64)
    return value.to(dtype), locations.to(dtype), weights.to(dtype)


def attention(differentiable: Any) -> Any:
    def forward(value: Any, locations: Any, weights: Any) -> Any:
        arguments = (value, SHAPES, STARTS, locations, weights)
        return deform_attention.ms_deform_attn_forward(*arguments, im2col_step=64), None

    def backward(gradient: Any, kept: None, *inputs: torch.Tensor) -> list[torch.Tensor]:
        grads = [torch.zeros_like(t) for t in inputs]
        arguments = (inputs[0], SHAPES, STARTS, *inputs[1:])
        deform_attention.ms_deform_attn_backward(*arguments, gradient, *grads, im2col_step=64)
        return grads

    return differentiable(forward, backward)


def test_ms_deform_attn(differentiable: Any, interpolate: Any) -> None:
    value, locations, weights = attention_inputs()
    operator = attention(differentiable)
    out = operator(value, locations, weights)
    expected = torch.zeros(2, 5, 6, dtype=torch.float64)
    for b, q, m, level, p in torch.cartesian_prod(*(torch.arange(n) for n in (2, 5, 2, 2, 3))).tolist():
        height, width = SHAPES[level].tolist()
        start = int(STARTS[level])
        x, y = locations[b, q, m, level, p].tolist()
        for d in range(3):
            plane = value[b, start : start + height * width, m, d].reshape(height, width)
            sample = interpolate(plane, y * height - 0.5, x * width - 0.5, True)
            expected[b, q, m * 3 + d] += sample * weights[b, q, m, level, p]
    torch.testing.assert_close(out, expected)
    inputs = [t.requires_grad_() for t in (value, locations, weights)]
    assert torch.autograd.gradcheck(operator, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ms_deform_attn_in_low_precision(differentiable: Any, dtype: torch.dtype) -> None:
    low = attention_inputs(dtype)
    out = attention(differentiable)(*low)
    assert out.dtype == dtype
    expected = attention(differentiable)(*(t.double() for t in low))
    torch.testing.assert_close(out.double(), expected, rtol=2e-2, atol=2e-2)


def test_no_queries(differentiable: Any) -> None:
    value, locations, weights = attention_inputs()
    assert attention(differentiable)(value, locations[:, :0], weights[:, :0]).shape == (2, 0, 6)
