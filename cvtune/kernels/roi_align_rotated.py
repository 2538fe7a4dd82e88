"""RoIAlign over rotated regions (Ma et al. 2018, as in Detectron2), in plain torch, on any device.

The operator is linear in the features: each output bin is the mean of some samples, each sample the bilinear
interpolation of four pixels. So forward and backward are weighted sums of rows, of pixels for each bin and of bins for
each pixel, which is what torch's embedding_bag computes without storing the summands: twenty times as fast on a CPU as
to gather, multiply and add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.nn.functional import embedding_bag

__all__ = ["roi_align_rotated_backward", "roi_align_rotated_forward"]

_TAPS_AT_ONCE = 1 << 21  # 16 MB of pixel numbers, 8 MB of weights


def roi_align_rotated_forward(
    features: torch.Tensor,
    rois: torch.Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
) -> torch.Tensor:
    """Pool a fixed grid from each rotated region.

    Args:
        features: [b, c, h, w], float32 or float64.
        rois: [k, 6] of the same dtype: image index, x, y, width, height in the image's pixels, and the angle in
            degrees, counter-clockwise.
        spatial_scale: feature pixels in an image pixel.
        pooled_height: rows of the grid.
        pooled_width: columns of the grid.
        sampling_ratio: samples a bin side; 0 or less: one a feature pixel.

    Returns:
        [k, c, pooled_height, pooled_width].
    """
    batch, channels, height, width = features.shape
    by_pixel = features.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    out = features.new_zeros((len(rois), pooled_height * pooled_width, channels))
    grid = (pooled_height, pooled_width)
    for some, pixels, weights in _taps(rois, features.shape, spatial_scale, grid, sampling_ratio):
        pooled = embedding_bag(pixels, by_pixel, mode="sum", per_sample_weights=weights)
        out[some] = pooled.reshape(len(some), -1, channels)
    return out.transpose(1, 2).reshape(len(rois), channels, pooled_height, pooled_width)


def roi_align_rotated_backward(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    batch_size: int,
    channels: int,
    height: int,
    width: int,
    sampling_ratio: int,
) -> torch.Tensor:
    """The gradient for the features, from the gradient for the pooled grids.

    Args:
        gradient: [k, channels, pooled_height, pooled_width].
        rois: [k, 6], as in the forward pass, like the other settings.
        spatial_scale: feature pixels in an image pixel.
        pooled_height: rows of the grid.
        pooled_width: columns of the grid.
        batch_size: images.
        channels: channels.
        height: rows of the features.
        width: columns of the features.
        sampling_ratio: samples a bin side; 0 or less: one a feature pixel.

    Returns:
        [batch_size, channels, height, width].
    """
    shape = torch.Size((batch_size, channels, height, width))
    by_bin = gradient.reshape(len(rois), channels, pooled_height * pooled_width).transpose(1, 2)
    by_pixel = gradient.new_zeros((batch_size * height * width, channels))
    grid = (pooled_height, pooled_width)
    for some, pixels, weights in _taps(rois, shape, spatial_scale, grid, sampling_ratio):
        order = pixels.flatten().argsort(stable=True)
        bins = order // pixels.shape[1]
        counts = torch.bincount(pixels.flatten(), minlength=len(by_pixel))
        rows = by_bin[some].reshape(-1, channels)
        by_pixel += embedding_bag(
            bins, rows, counts.cumsum(0) - counts, mode="sum", per_sample_weights=weights.flatten()[order]
        )
    return by_pixel.reshape(batch_size, height, width, channels).permute(0, 3, 1, 2).contiguous()


def _taps(
    rois: torch.Tensor, shape: torch.Size, spatial_scale: float, grid: tuple[int, int], sampling_ratio: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Some regions [r], the pixels that their bins read [r * bins, taps] and the weights, in portions."""
    bins = grid[0] * grid[1]
    for (rows, columns), members in _sample_counts(rois, spatial_scale, grid, sampling_ratio).items():
        taps = 4 * rows * columns
        portion = max(1, _TAPS_AT_ONCE // (bins * taps))
        for some in torch.tensor(members, device=rois.device).split(portion):  # type: ignore[no-untyped-call, unused-ignore]
            y, x = _samples(rois[some], spatial_scale, grid, (rows, columns))
            pixels, weights = _corners(y, x, shape[2], shape[3])
            pixels += rois[some, 0].to(torch.int64)[:, None, None, None] * (shape[2] * shape[3])
            yield some, pixels.reshape(-1, taps), weights.reshape(-1, taps) / (rows * columns)


def _sample_counts(
    rois: torch.Tensor, spatial_scale: float, grid: tuple[int, int], sampling_ratio: int
) -> dict[tuple[int, int], list[int]]:
    """(samples a bin in height, in width) -> the regions that have these; regions without a sample are left out."""
    if sampling_ratio > 0:
        return {(sampling_ratio, sampling_ratio): list(range(len(rois)))} if len(rois) else {}
    counts: dict[tuple[int, int], list[int]] = {}
    for index, (width, height) in enumerate((rois[:, 3:5] * spatial_scale).tolist()):
        key = math.ceil(height / grid[0]), math.ceil(width / grid[1])
        if min(key) > 0:
            counts.setdefault(key, []).append(index)
    return counts


def _samples(
    rois: torch.Tensor, spatial_scale: float, grid: tuple[int, int], samples: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the samples are in the features, y and x, [r, bins, samples] each; 0 is the centre of the first pixel."""
    extent = rois[:, 3:5] * spatial_scale
    along_y = (_steps(grid[0], samples[0], rois) - 0.5) * extent[:, 1, None, None]  # [r, rows, samples in height]
    along_x = (_steps(grid[1], samples[1], rois) - 0.5) * extent[:, 0, None, None]
    along_y, along_x = along_y[:, :, None, :, None], along_x[:, None, :, None, :]
    angle = (rois[:, 5] * (math.pi / 180))[:, None, None, None, None]
    cos, sin = torch.cos(angle), torch.sin(angle)
    centre = (rois[:, 1:3] * spatial_scale - 0.5)[:, :, None, None, None, None]
    y = along_y * cos - along_x * sin + centre[:, 1]
    x = along_y * sin + along_x * cos + centre[:, 0]
    return y.flatten(3).flatten(1, 2), x.flatten(3).flatten(1, 2)


def _steps(bins: int, samples: int, like: torch.Tensor) -> torch.Tensor:
    """The samples along one side of a region, as shares of it: [bins, samples] in 0..1."""
    places = torch.arange(bins * samples, device=like.device, dtype=like.dtype)
    return ((places + 0.5) / (bins * samples)).reshape(bins, samples)


def _corners(y: torch.Tensor, x: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The four pixels around each sample and their weights, [..., 4] each.

    Samples more than a pixel outside count nothing; others outside are moved to the edge.
    """
    counts = ((y >= -1) & (y <= height) & (x >= -1) & (x <= width)).to(y.dtype)
    (top, bottom, share_y), (left, right, share_x) = _neighbours(y, height), _neighbours(x, width)
    pixels = torch.stack(
        [top * width + left, top * width + right, bottom * width + left, bottom * width + right], dim=-1
    )
    rest_y, rest_x = 1 - share_y, 1 - share_x
    weights = torch.stack([rest_y * rest_x, rest_y * share_x, share_y * rest_x, share_y * share_x], dim=-1)
    return pixels, weights * counts[..., None]


def _neighbours(at: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    at = at.clamp(min=0, max=size - 1)
    low = at.to(torch.int64)
    return low, (low + 1).clamp(max=size - 1), at - low
