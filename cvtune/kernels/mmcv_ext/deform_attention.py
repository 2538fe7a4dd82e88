"""Multi-scale deformable attention (Zhu et al. 2021) of `mmcv._ext`, by `grid_sample`."""

from __future__ import annotations

import torch
from torch.nn import functional

from cvtune.kernels.mmcv_ext.widths import widened

__all__ = ["ms_deform_attn_backward", "ms_deform_attn_forward"]


def ms_deform_attn_forward(
    value: torch.Tensor,
    value_spatial_shapes: torch.Tensor,
    value_level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    im2col_step: int,
) -> torch.Tensor:
    """The weighted sum of samples for each query and head.

    Args:
        value: [b, keys, heads, d]: all levels' pixels, one level after the other, row by row.
        value_spatial_shapes: [levels, 2], (height, width).
        value_level_start_index: [levels], the first key of each level.
        sampling_locations: [b, queries, heads, levels, points, 2], (x, y) in 0..1 of the level's size.
        attention_weights: [b, queries, heads, levels, points].
        im2col_step: images that the compiled operator takes at once; changes no value, ignored.

    Returns:
        [b, queries, heads * d], of the value's dtype.
    """
    v, locations, weights = widened(value.detach(), sampling_locations.detach(), attention_weights.detach())
    return _attention(v, locations, weights, value_spatial_shapes, value_level_start_index).to(value.dtype)


def ms_deform_attn_backward(
    value: torch.Tensor,
    value_spatial_shapes: torch.Tensor,
    value_level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    grad_output: torch.Tensor,
    grad_value: torch.Tensor,
    grad_sampling_loc: torch.Tensor,
    grad_attn_weight: torch.Tensor,
    im2col_step: int,
) -> None:
    """Set the gradients of value, locations and weights; the others as in the forward function."""
    wide = widened(value.detach(), sampling_locations.detach(), attention_weights.detach())
    leaves = [tensor.clone().requires_grad_() for tensor in wide]
    with torch.enable_grad():
        out = _attention(leaves[0], leaves[1], leaves[2], value_spatial_shapes, value_level_start_index)
    gradients = torch.autograd.grad(out, leaves, grad_output.to(out.dtype))
    for into, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True):
        into.copy_(gradient)


def _attention(
    value: torch.Tensor,
    locations: torch.Tensor,
    weights: torch.Tensor,
    shapes_hw: torch.Tensor,
    starts: torch.Tensor,
) -> torch.Tensor:
    batch, _, heads, depth = value.shape
    queries = locations.shape[1]
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # [b * heads, queries, levels, points, 2]
    by_head = weights.transpose(1, 2).flatten(0, 1)[:, None]  # [b * heads, 1, queries, levels, points]
    out = value.new_zeros((batch * heads, depth, queries))
    for level, ((height, width), start) in enumerate(zip(shapes_hw.tolist(), starts.tolist(), strict=True)):
        keys = value[:, start : start + height * width]  # [b, h * w, heads, d]
        maps = keys.permute(0, 2, 3, 1).reshape(batch * heads, depth, height, width)
        samples = functional.grid_sample(maps, grids[:, :, level], padding_mode="zeros", align_corners=False)
        out = out + (samples * by_head[:, :, :, level]).sum(dim=-1)  # samples: [b * heads, d, queries, points]
    return out.reshape(batch, heads * depth, queries).transpose(1, 2).contiguous()
