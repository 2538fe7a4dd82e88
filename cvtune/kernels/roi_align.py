"""RoIAlign whose backward pass on a CPU is a sparse matrix product.

torchvision's CPU backward adds every bin's gradient to the feature map number by number, channel by channel, on one
core: a third of a Faster R-CNN step. RoIAlign is linear in the features, out = M f, with 4 weights a sample in
each row of M; the gradient M^T g is one product over rows of channels, which lie side by side. See
`benchmarks/roi_align.py` for the ratio.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["regions_by_grid", "roi_align", "roi_align_gradient"]

CPU_DTYPES = (torch.float32, torch.float64)

# Entries of M that are held at once: 64 MB.
MOST_TAPS = 1 << 22


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
    if _is_own(features) and features.requires_grad and torch.is_grad_enabled():
        out: torch.Tensor = _RoiAlign.apply(features, rois, output_size, spatial_scale, sampling_ratio, aligned)
        return out
    return _forward(features, rois, output_size, spatial_scale, sampling_ratio, aligned)


def _is_own(features: torch.Tensor) -> bool:
    return features.device.type == "cpu" and features.dtype in CPU_DTYPES


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
        return roi_align_gradient(gradient, rois, ctx.shape, *ctx.settings), None, None, None, None, None


def roi_align_gradient(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    shape: tuple[int, int, int, int],
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """The gradient of the features: M^T g on a CPU, torchvision's kernel elsewhere.

    Args:
        gradient: [k, c, height, width], of the output.
        rois: [k, 5], same dtype; the others as in `roi_align`.
        shape: of the features, (b, c, h, w).

    Returns:
        [b, c, h, w].
    """
    if not _is_own(gradient):
        import torchvision  # noqa: F401  registers the operator

        out: torch.Tensor = torch.ops.torchvision._roi_align_backward(
            gradient, rois, spatial_scale, *output_size, *shape, sampling_ratio, aligned
        )
        return out
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    extent = corners[:, 2:] - corners[:, :2]
    if not aligned:  # regions smaller than a feature pixel are stretched to one
        extent = extent.clamp(min=1.0)
    batch, channels, height, width = shape
    by_pixel = gradient.new_zeros((batch * height * width, channels))
    for grid_hw, chosen in regions_by_grid(extent, output_size, sampling_ratio):
        by_pixel += _product(
            gradient[chosen], rois[chosen, 0], corners[chosen], extent[chosen], shape, output_size, grid_hw
        )
    # A view: channels stay side by side, as the product left them.
    return by_pixel.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def regions_by_grid(
    extent: torch.Tensor, output_size: tuple[int, int], sampling_ratio: int
) -> list[tuple[tuple[int, int], torch.Tensor]]:
    """Regions of one grid of samples a bin, (rows, columns), in parts of bounded memory; empty grids are left out."""
    if sampling_ratio > 0:
        groups = [((sampling_ratio, sampling_ratio), torch.arange(len(extent)))]
    else:
        grids = torch.ceil(extent[:, [1, 0]] / extent.new_tensor(output_size)).to(torch.int64)
        kinds, kind = torch.unique(grids, dim=0, return_inverse=True)
        groups = [((rows, columns), (kind == i).nonzero()[:, 0]) for i, (rows, columns) in enumerate(kinds.tolist())]
    parts = []
    for (rows, columns), chosen in groups:
        if rows > 0 and columns > 0 and len(chosen):
            taps = 4 * rows * columns * output_size[0] * output_size[1]
            parts += [((rows, columns), part) for part in torch.split(chosen, max(1, MOST_TAPS // taps))]
    return parts


def _product(
    gradient: torch.Tensor,
    image_index: torch.Tensor,
    corners: torch.Tensor,
    extent: torch.Tensor,
    shape: tuple[int, int, int, int],
    output_size: tuple[int, int],
    grid_hw: tuple[int, int],
) -> torch.Tensor:
    """M^T g for regions of one grid: gradient [k, c, ph, pw] -> [b * h * w, c]."""
    from scipy.sparse import csc_array

    batch, channels, height, width = shape
    count, bins = len(corners), output_size[0] * output_size[1]
    # rows, columns: [k, bins of that side, 2 * samples of that side] feature pixels and their weights
    rows, row_weights = _taps(corners[:, 1], extent[:, 1], output_size[0], grid_hw[0], height)
    columns, column_weights = _taps(corners[:, 0], extent[:, 0], output_size[1], grid_hw[1], width)
    first = image_index.to(torch.int64)[:, None, None, None, None] * (height * width)
    pixels = first + rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    starts = torch.arange(count * bins + 1, dtype=torch.int64) * (4 * grid_hw[0] * grid_hw[1])
    # The columns of M^T are the rows of M: a bin's taps lie side by side already.
    matrix = csc_array(
        (weights.reshape(-1).numpy(), pixels.reshape(-1).numpy(), starts.numpy()),
        shape=(batch * height * width, count * bins),
    )
    by_bin = gradient.permute(0, 2, 3, 1).reshape(count * bins, channels).contiguous()
    return torch.from_numpy(matrix @ by_bin.numpy())


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
