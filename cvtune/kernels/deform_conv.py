"""Deformable convolution v1 and v2 (Dai et al. 2017, Zhu et al. 2018) of `mmcv._ext` and `detectron2._C`.

By torchvision's operator. The two modules' functions are the same but for one name; the arguments' names and order are
those that callers use. The frameworks' `im2col_step` only cuts the batch; it changes no value and is ignored here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from cvtune.kernels.mmcv_ext.widths import widened

__all__ = [
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "deform_conv_forward",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
]


# Pixels; far outside any map, in every dtype.
OUTSIDE = 60000.0


class Geometry(NamedTuple):
    """In torchvision's order: stride, padding, dilation as height and width; groups of the weight, of the offsets."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    offset_groups: int


def deform_conv_forward(
    input: torch.Tensor,
    weight: torch.Tensor,
    offset: torch.Tensor,
    output: torch.Tensor,
    columns: torch.Tensor,
    ones: torch.Tensor,
    kW: int,  # noqa: N803  the names are those that callers use
    kH: int,  # noqa: N803
    dW: int,  # noqa: N803
    dH: int,  # noqa: N803
    padW: int,  # noqa: N803
    padH: int,  # noqa: N803
    dilationW: int,  # noqa: N803
    dilationH: int,  # noqa: N803
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Set `output` [b, o, h', w'].

    Args:
        input: [b, c, h, w].
        weight: [o, c / group, kH, kW].
        offset: [b, 2 * deformable_group * kH * kW, h', w'], pairs (y, x) in pixels.
        columns, ones: working memory of the compiled operator; see `deform_conv_backward_input`.
    """
    geometry = Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(_forward(input, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    input: torch.Tensor,
    offset: torch.Tensor,
    gradOutput: torch.Tensor,  # noqa: N803
    gradInput: torch.Tensor,  # noqa: N803
    gradOffset: torch.Tensor,  # noqa: N803
    weight: torch.Tensor,
    columns: torch.Tensor,
    kW: int,  # noqa: N803
    kH: int,  # noqa: N803
    dW: int,  # noqa: N803
    dH: int,  # noqa: N803
    padW: int,  # noqa: N803
    padH: int,  # noqa: N803
    dilationW: int,  # noqa: N803
    dilationH: int,  # noqa: N803
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Set the gradients of input and offset.

    torchvision's operator makes all gradients at once, while callers ask for the weight's next, with the same working
    memory `columns`: the weight's gradient waits there, so that the work is not done twice.
    """
    geometry = Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    gradients = _backward(gradOutput, input, weight, offset, None, geometry)
    gradInput.copy_(gradients[0])
    gradOffset.copy_(gradients[2])
    columns.resize_(weight.shape).copy_(gradients[1])


def deform_conv_backward_parameters(
    input: torch.Tensor,
    offset: torch.Tensor,
    gradOutput: torch.Tensor,  # noqa: N803
    gradWeight: torch.Tensor,  # noqa: N803
    columns: torch.Tensor,
    ones: torch.Tensor,
    kW: int,  # noqa: N803
    kH: int,  # noqa: N803
    dW: int,  # noqa: N803
    dH: int,  # noqa: N803
    padW: int,  # noqa: N803
    padH: int,  # noqa: N803
    dilationW: int,  # noqa: N803
    dilationH: int,  # noqa: N803
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add `scale` times the weight's gradient to `gradWeight`; see `deform_conv_backward_input`."""
    if columns.shape == gradWeight.shape:
        gradWeight.add_(columns, alpha=scale)
        columns.resize_(0)
        return
    geometry = Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    gradients = _backward(gradOutput, input, gradWeight, offset, None, geometry)
    gradWeight.add_(gradients[1].to(gradWeight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    ones: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    output: torch.Tensor,
    columns: torch.Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Set `output` [b, o, h', w'].

    Args:
        input, weight, offset: as in `deform_conv_forward`.
        bias: [o], used where `with_bias`.
        mask: [b, deformable_group * kernel_h * kernel_w, h', w'], the factor of each sample.
            Offset and mask may be larger than h' x w': see `_read_on`.
        ones, columns: working memory of the compiled operator, not used.
    """
    geometry = Geometry(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    moves, factors = (_read_on(tensor.detach(), output) for tensor in (offset, mask))
    output.copy_(_forward(input, weight, moves, factors, bias if with_bias else None, geometry))


def modulated_deform_conv_backward(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    ones: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    columns: torch.Tensor,
    grad_input: torch.Tensor,
    grad_weight: torch.Tensor,
    grad_bias: torch.Tensor,
    grad_offset: torch.Tensor,
    grad_mask: torch.Tensor,
    grad_output: torch.Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Set the five gradients, each of the shape of what it belongs to."""
    geometry = Geometry(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    moves, factors = (_read_on(tensor, grad_output) for tensor in (offset, mask))
    gradients = _backward(grad_output, input, weight, moves, factors, geometry)
    grad_input.copy_(gradients[0])
    grad_weight.copy_(gradients[1])
    _write_on(grad_offset, gradients[2])
    _write_on(grad_mask, gradients[3])
    if with_bias:
        grad_bias.copy_(grad_output.sum(dim=(0, 2, 3)))


def _read_on(tensor: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """[b, n, h, w] as the compiled operator reads it: each image's numbers on end, as maps of the output's size.

    DyHead (Dai et al. 2021) gives offsets of a finer level than its output has; its published weights were trained
    with what is read then, so that the same must be read here.
    """
    size = output.shape[2:]
    if tensor.shape[2:] == size:
        return tensor
    numbers = tensor.shape[1] * size.numel()
    return tensor.flatten(1)[:, :numbers].reshape(len(tensor), tensor.shape[1], *size)


def _write_on(out: torch.Tensor, gradient: torch.Tensor) -> None:
    """The transpose of `_read_on`: what was not read has no gradient."""
    if out.shape == gradient.shape:
        out.copy_(gradient)
        return
    out.zero_()
    flat = gradient.flatten(1)
    out.view(len(out), -1)[:, : flat.shape[1]] = flat.to(out.dtype)


def _placed(offset: torch.Tensor) -> torch.Tensor:
    """Offsets that are no numbers point outside the map, where samples are 0: torchvision would read anywhere."""
    return offset.nan_to_num(nan=OUTSIDE, posinf=OUTSIDE, neginf=-OUTSIDE)


def _forward(
    input: torch.Tensor,
    weight: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor | None,
    bias: torch.Tensor | None,
    geometry: Geometry,
) -> torch.Tensor:
    import torchvision  # noqa: F401  registers the operator

    x, w, o = widened(input.detach(), weight.detach(), _placed(offset.detach()))
    m = x.new_zeros((len(x), 1)) if mask is None else mask.detach().to(x.dtype)
    b = x.new_zeros(len(w)) if bias is None else bias.detach().to(x.dtype)
    out: torch.Tensor = torch.ops.torchvision.deform_conv2d(x, w, o, m, b, *geometry, mask is not None)
    return out


def _backward(
    gradient: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor | None,
    geometry: Geometry,
) -> tuple[torch.Tensor, ...]:
    """Gradients of input, weight, offset, mask, bias."""
    import torchvision  # noqa: F401  registers the operator

    g, x, w, o = widened(gradient, input, weight, _placed(offset))
    m = x.new_zeros((len(x), 1)) if mask is None else mask.to(x.dtype)
    out: tuple[torch.Tensor, ...] = torch.ops.torchvision._deform_conv2d_backward(
        g.contiguous(), x, w, o, m, x.new_zeros(len(w)), *geometry, mask is not None
    )
    return out
