"""RoIAlign with average or maximum in each bin: `roi_align_forward`, `roi_align_backward` of `mmcv._ext`."""

from __future__ import annotations

import torch

from cvtune.kernels import roi_align as average
from cvtune.kernels.mmcv_ext.sampling import MOST_NUMBERS, finite_regions, sample, spread
from cvtune.kernels.mmcv_ext.widths import widened

__all__ = ["bin_places", "roi_align_backward", "roi_align_forward"]

MAXIMUM, AVERAGE = 0, 1

# What the compiled operator leaves where a bin has no sample at all.
NO_SAMPLE, NO_PLACE = -10000.0, -1.0


def roi_align_forward(
    input: torch.Tensor,
    rois: torch.Tensor,
    output: torch.Tensor,
    argmax_y: torch.Tensor,
    argmax_x: torch.Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Set `output` to the pooled regions.

    Args:
        input: [b, c, h, w].
        rois: [k, 5]: image index, x0, y0, x1, y1 in the image's pixels.
        output: [k, c, aligned_height, aligned_width]; not a number where a region's corners are none.
        argmax_y, argmax_x: of `MAXIMUM`, as `output`: where the largest sample was, in feature pixels.
        spatial_scale: feature pixels in an image pixel.
        sampling_ratio: samples a bin side; 0 or less lets the size of the region decide.
        pool_mode: `MAXIMUM` or `AVERAGE`.
        aligned: shift by half a pixel.
    """
    features, regions = widened(input.detach(), rois.detach())
    regions, broken = finite_regions(regions)
    size = (aligned_height, aligned_width)
    if pool_mode == AVERAGE:
        output.copy_(average.roi_align(features, regions, size, spatial_scale, sampling_ratio, aligned))
        output.masked_fill_(broken[:, None, None, None], torch.nan)
        return
    output.fill_(NO_SAMPLE)
    argmax_y.fill_(NO_PLACE)
    argmax_x.fill_(NO_PLACE)
    corners = regions[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    extent = corners[:, 2:] - corners[:, :2]
    if not aligned:
        extent = extent.clamp(min=1.0)
    for (rows, columns), group in average.regions_by_grid(extent.cpu(), size, sampling_ratio):
        numbers = features.shape[1] * aligned_height * aligned_width * rows * columns
        for part in torch.split(group, max(1, MOST_NUMBERS // numbers)):
            chosen = part.to(features.device)
            ys = bin_places(corners[chosen, 1], extent[chosen, 1], aligned_height, rows)
            xs = bin_places(corners[chosen, 0], extent[chosen, 0], aligned_width, columns)
            # [k, ph, pw, rows, columns]
            grid = (len(chosen), aligned_height, aligned_width, rows, columns)
            ys = ys[:, :, None, :, None].expand(grid).reshape(len(chosen), -1)
            xs = xs[:, None, :, None, :].expand(grid).reshape(len(chosen), -1)
            values = sample(features, regions[chosen, 0].to(torch.int64), ys, xs)
            bins = (len(chosen), aligned_height * aligned_width, rows * columns)
            largest, where = values.reshape(*bins, -1).max(dim=2)
            _put(output, chosen, largest)
            _put(argmax_y, chosen, ys.reshape(bins).gather(2, where))
            _put(argmax_x, chosen, xs.reshape(bins).gather(2, where))
    output.masked_fill_(broken[:, None, None, None], torch.nan)


def roi_align_backward(
    grad_output: torch.Tensor,
    rois: torch.Tensor,
    argmax_y: torch.Tensor,
    argmax_x: torch.Tensor,
    grad_input: torch.Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of the features to `grad_input` [b, c, h, w]; the others as in `roi_align_forward`."""
    gradient, regions = widened(grad_output, finite_regions(rois)[0])
    if pool_mode == AVERAGE:
        shape = (grad_input.shape[0], grad_input.shape[1], grad_input.shape[2], grad_input.shape[3])
        size = (aligned_height, aligned_width)
        grad_input += average.roi_align_gradient(
            gradient.contiguous(), regions, shape, size, spatial_scale, sampling_ratio, aligned
        ).to(grad_input.dtype)
        return
    ys, xs = widened(argmax_y, argmax_x)
    channels = grad_input.shape[1]
    channel = torch.arange(channels, device=rois.device)[None, :, None, None]
    planes = (regions[:, 0].to(torch.int64)[:, None, None, None] * channels + channel).expand_as(gradient)
    spread(gradient.masked_fill(ys == NO_PLACE, 0), planes, ys, xs, grad_input)


def bin_places(start: torch.Tensor, extent: torch.Tensor, bins: int, samples: int) -> torch.Tensor:
    """[k, bins, samples] along one axis: the middle of each of `samples` equal parts of each bin."""
    size = (extent / bins)[:, None, None]
    numbers = torch.arange(bins, device=start.device, dtype=start.dtype)[None, :, None]
    parts = torch.arange(samples, device=start.device, dtype=start.dtype) + 0.5
    return start[:, None, None] + numbers * size + parts * size / samples


def _put(out: torch.Tensor, chosen: torch.Tensor, values: torch.Tensor) -> None:
    """out[chosen] = values, from [k, bins, c] to [k, c, ph, pw]."""
    out[chosen] = values.transpose(1, 2).reshape(len(chosen), *out.shape[1:]).to(out.dtype)
