"""RoIAlign whose backward pass on a CPU is a sparse matrix product.

torchvision's CPU backward adds every bin's gradient to the feature map number by number, channel by channel, on one
core: a third of a Faster R-CNN step. RoIAlign is linear in the features, out = M f, with 4 * sampling_ratio^2 weights
in each row of M; the gradient M^T g is one product over rows of channels, which lie side by side. See
`benchmarks/roi_align.py` for the ratio.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["roi_align"]

CPU_DTYPES = (torch.float32, torch.float64)


def roi_align(
    features: torch.Tensor,
    rois: torch.Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool = False,
) -> torch.Tensor:
    """Pool a fixed grid from each region, as `torchvision.ops.roi_align` does, with the same values and gradients.

    Args:
        features: [b, c, h, w].
        rois: [k, 5] of the same dtype: image index, x0, y0, x1, y1 in the image's pixels.
        output_size: (height, width) of the grid.
        spatial_scale: feature pixels in an image pixel.
        sampling_ratio: samples a bin side; 0 or less lets the size of the region decide.
        aligned: shift by half a pixel (He et al. 2017 as corrected in Detectron2).

    Returns:
        [k, c, height, width].
    """
    own = features.device.type == "cpu" and features.dtype in CPU_DTYPES and sampling_ratio > 0
    if own and features.requires_grad and torch.is_grad_enabled():
        out: torch.Tensor = _RoiAlign.apply(features, rois, output_size, spatial_scale, sampling_ratio, aligned)
        return out
    return _forward(features, rois, output_size, spatial_scale, sampling_ratio, aligned)


def _forward(
    features: torch.Tensor,
    rois: torch.Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    import torchvision  # noqa: F401  registers the operator

    out: torch.Tensor = torch.ops.torchvision.roi_align(
        features, rois, spatial_scale, output_size[0], output_size[1], sampling_ratio, aligned
    )
    return out


class _RoiAlign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, rois: torch.Tensor, *settings: Any) -> torch.Tensor:
        ctx.save_for_backward(rois)
        ctx.shape, ctx.settings = features.shape, settings
        return _forward(features, rois, *settings)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (rois,) = ctx.saved_tensors
        return _gradient(gradient, rois, ctx.shape, *ctx.settings), None, None, None, None, None


def _gradient(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    shape: tuple[int, int, int, int],
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """M^T g: gradient [k, c, ph, pw] -> [b, c, h, w]."""
    from scipy.sparse import csc_array

    batch, channels, height, width = shape
    count, bins = len(rois), output_size[0] * output_size[1]
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    extent = corners[:, 2:] - corners[:, :2]
    if not aligned:  # regions smaller than a feature pixel are stretched to one
        extent = extent.clamp(min=1.0)
    # rows, columns: [k, bins of that side, 2 * sampling_ratio] feature pixels and their weights
    rows, row_weights = _taps(corners[:, 1], extent[:, 1], output_size[0], sampling_ratio, height)
    columns, column_weights = _taps(corners[:, 0], extent[:, 0], output_size[1], sampling_ratio, width)
    first = rois[:, 0].to(torch.int64)[:, None, None, None, None] * (height * width)
    pixels = first + rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    taps = (2 * sampling_ratio) ** 2
    starts = torch.arange(count * bins + 1, dtype=torch.int64) * taps
    # The columns of M^T are the rows of M: a bin's taps lie side by side already.
    matrix = csc_array(
        (weights.reshape(-1).numpy(), pixels.reshape(-1).numpy(), starts.numpy()),
        shape=(batch * height * width, count * bins),
    )
    by_bin = gradient.permute(0, 2, 3, 1).reshape(count * bins, channels).contiguous()
    by_pixel = torch.from_numpy(matrix @ by_bin.numpy())
    # A view: channels stay side by side, as the product left them.
    return by_pixel.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _taps(
    start: torch.Tensor, extent: torch.Tensor, bins: int, samples: int, limit: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis: each bin's samples are spread over two pixels each, by linear interpolation.

    Samples beyond a pixel outside the map count nothing; others are moved to its edge (torchvision's rule).
    """
    places = torch.arange(bins)[:, None] + (torch.arange(samples) + 0.5) / samples  # [bins, samples]
    at = start[:, None, None] + places.to(start.dtype) * (extent / bins)[:, None, None]
    counts = ((at >= -1) & (at <= limit)).to(at.dtype) / samples
    at = at.clamp(min=0, max=limit)
    low = at.to(torch.int64).clamp(max=limit - 1)
    high = (low + 1).clamp(max=limit - 1)
    share = torch.where(low >= limit - 1, torch.zeros_like(at), at - low)
    return torch.cat([low, high], dim=2), torch.cat([(1 - share) * counts, share * counts], dim=2)
