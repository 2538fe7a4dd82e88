"""RoIPool (Girshick 2015) of `mmcv._ext`.

Not torchvision's: there a region's corners are rounded to feature pixels first, here only those of the bins are.
"""

from __future__ import annotations

import torch

from cvtune.kernels.mmcv_ext.sampling import MOST_NUMBERS, finite_regions
from cvtune.kernels.mmcv_ext.widths import widened

__all__ = ["roi_pool_backward", "roi_pool_forward"]


def roi_pool_forward(
    input: torch.Tensor,
    rois: torch.Tensor,
    output: torch.Tensor,
    argmax: torch.Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Set `output` to the largest feature of each bin, 0 where a bin holds none, not a number for a broken region.

    Args:
        input: [b, c, h, w].
        rois: [k, 5]: image index, x0, y0, x1, y1 in the image's pixels, the last pixel included.
        output: [k, c, pooled_height, pooled_width].
        argmax: same shape, int32: row * w + column of that feature, -1 where there is none.
        spatial_scale: feature pixels in an image pixel.
    """
    features, regions = widened(input.detach(), rois.detach())
    regions, broken = finite_regions(regions)
    _, channels, height, width = features.shape
    output.zero_()
    argmax.fill_(-1)
    if len(regions) == 0:
        return
    start = regions[:, 1:3] * spatial_scale
    extent = (regions[:, 3:5] + 1) * spatial_scale - start
    rows, row_exists = _bins(start[:, 1], extent[:, 1], pooled_height, height)
    columns, column_exists = _bins(start[:, 0], extent[:, 0], pooled_width, width)
    # A region without an area has no bins at all.
    row_exists &= (extent > 0).all(dim=1)[:, None, None]
    pixels = features.permute(0, 2, 3, 1).reshape(-1, channels)
    numbers = channels * rows[0].numel() * columns[0].numel()
    for part in torch.split(torch.arange(len(regions), device=features.device), max(1, MOST_NUMBERS // numbers)):
        # [k, ph, pw, rows, columns]
        places = rows[part][:, :, None, :, None] * width + columns[part][:, None, :, None, :]
        exists = row_exists[part][:, :, None, :, None] & column_exists[part][:, None, :, None, :]
        places, exists = places.flatten(3), exists.flatten(3)
        first = regions[part, 0].to(torch.int64)[:, None, None, None] * (height * width)
        values = pixels[first + places].masked_fill(~exists[..., None], -torch.inf)
        largest, where = values.max(dim=3)  # [k, ph, pw, c]
        at = places.gather(3, where)
        some = exists.any(dim=3)[..., None]
        output[part] = largest.masked_fill(~some, 0).permute(0, 3, 1, 2).to(output.dtype)
        argmax[part] = at.masked_fill(~some, -1).permute(0, 3, 1, 2).to(argmax.dtype)
    output.masked_fill_(broken[:, None, None, None], torch.nan)
    argmax.masked_fill_(broken[:, None, None, None], -1)


def roi_pool_backward(
    grad_output: torch.Tensor,
    rois: torch.Tensor,
    argmax: torch.Tensor,
    grad_input: torch.Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add each bin's gradient to the feature that it came from, in `grad_input` [b, c, h, w]."""
    batch, channels, height, width = grad_input.shape
    channel = torch.arange(channels, device=rois.device)[None, :, None, None]
    planes = finite_regions(rois)[0][:, 0].to(torch.int64)[:, None, None, None] * channels + channel
    exists = argmax >= 0
    places = planes * (height * width) + argmax.clamp(min=0)
    flat = grad_input.view(batch * channels * height * width)
    flat.index_add_(0, places.reshape(-1), (grad_output * exists).reshape(-1).to(flat.dtype))


def _bins(start: torch.Tensor, extent: torch.Tensor, bins: int, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis: the pixels of each bin [k, bins, most], and which of them exist."""
    numbers = torch.arange(bins + 1, device=start.device).to(start.dtype)
    edges = numbers * (extent / bins)[:, None] + start[:, None]
    low = edges[:, :-1].floor().clamp(0, limit).to(torch.int64)
    high = edges[:, 1:].ceil().clamp(0, limit).to(torch.int64)
    most = max(1, int((high - low).max()))
    pixels = low[:, :, None] + torch.arange(most, device=start.device)
    return pixels.clamp(max=limit - 1), pixels < high[:, :, None]
