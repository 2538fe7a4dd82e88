"""Deformable RoI pooling (Dai et al. 2017) of `mmcv._ext`: RoIAlign whose bins are moved.

Derivatives by the moves are those of the function that is computed: 0 where a sample was moved to the map's edge.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cvtune.kernels.mmcv_ext.roi_align import bin_places
from cvtune.kernels.mmcv_ext.sampling import MOST_NUMBERS, sample
from cvtune.kernels.mmcv_ext.widths import widened
from cvtune.kernels.roi_align import regions_by_grid

__all__ = ["deform_roi_pool_backward", "deform_roi_pool_forward"]


def deform_roi_pool_forward(
    input: torch.Tensor,
    rois: torch.Tensor,
    offset: torch.Tensor,
    output: torch.Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Set `output` to the mean of the samples of each bin.

    Args:
        input: [b, c, h, w].
        rois: [k, 5]: image index, x0, y0, x1, y1 in the image's pixels.
        offset: [k, 2, pooled_height, pooled_width]: moves to the right and down, as a share of the region's size; or
            empty for none.
        output: [k, c, pooled_height, pooled_width].
        spatial_scale: feature pixels in an image pixel.
        sampling_ratio: samples a bin side; 0 or less lets the size of the region decide.
        gamma: factor of the moves.
    """
    features, regions, moves = widened(input.detach(), rois.detach(), offset.detach())
    size = (pooled_height, pooled_width)
    output.zero_()
    for chosen, pooled in _pooled(features, regions, moves, size, spatial_scale, sampling_ratio, gamma):
        output[chosen] = pooled.to(output.dtype)


def deform_roi_pool_backward(
    grad_output: torch.Tensor,
    input: torch.Tensor,
    rois: torch.Tensor,
    offset: torch.Tensor,
    grad_input: torch.Tensor,
    grad_offset: torch.Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add to the gradients of input and offset; the others as in the forward function."""
    features, regions, moves = widened(input.detach(), rois.detach(), offset.detach())
    gradient = grad_output.to(features.dtype)
    size = (pooled_height, pooled_width)
    leaves = [features.clone().requires_grad_(), moves.clone().requires_grad_()]
    with torch.enable_grad():
        # One part at a time: each lets its samples go before the next is made.
        for chosen, pooled in _pooled(leaves[0], regions, leaves[1], size, spatial_scale, sampling_ratio, gamma):
            grads = torch.autograd.grad(pooled, leaves, gradient[chosen], allow_unused=True)
            for into, grad in zip((grad_input, grad_offset), grads, strict=True):
                if grad is not None and into.numel():
                    into += grad.to(into.dtype)


def _pooled(
    features: torch.Tensor,
    regions: torch.Tensor,
    moves: torch.Tensor,
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Parts of the regions: their numbers [n], and what is pooled [n, c, ph, pw]."""
    height, width = size
    corners = regions[:, 1:] * spatial_scale - 0.5
    extent = corners[:, 2:] - corners[:, :2]
    for (rows, columns), group in regions_by_grid(extent.cpu(), size, sampling_ratio):
        numbers = features.shape[1] * height * width * rows * columns
        for part in torch.split(group, max(1, MOST_NUMBERS // numbers)):
            chosen = part.to(features.device)
            ys = bin_places(corners[chosen, 1], extent[chosen, 1], height, rows)[:, :, None, :, None]
            xs = bin_places(corners[chosen, 0], extent[chosen, 0], width, columns)[:, None, :, None, :]
            if moves.numel():
                by_size = gamma * extent[chosen][:, :, None, None] * moves[chosen]  # [n, 2, ph, pw]
                xs = xs + by_size[:, 0, :, :, None, None]
                ys = ys + by_size[:, 1, :, :, None, None]
            grid = (len(chosen), height, width, rows, columns)
            ys, xs = ys.expand(grid).flatten(1), xs.expand(grid).flatten(1)
            values = sample(features, regions[chosen, 0].to(torch.int64), ys, xs)
            means = values.reshape(len(chosen), height * width, rows * columns, -1).mean(dim=2)
            yield chosen, means.transpose(1, 2).reshape(len(chosen), -1, height, width)
