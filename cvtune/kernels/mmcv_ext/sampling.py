"""Bilinear interpolation at any points of feature maps, with RoIAlign's rule at the border.

A point more than one pixel outside the map has the value 0; any other point is moved to the nearest place inside
(He et al. 2017, as in torchvision).
"""

from __future__ import annotations

import torch

__all__ = ["MOST_NUMBERS", "finite_regions", "sample", "spread"]

# Gathered numbers that one step may hold (64 MB in float32); larger jobs are cut.
MOST_NUMBERS = 1 << 24


def finite_regions(rois: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Regions [k, 5] whose corners are numbers, and which ones [k] were not: these are set to 0.

    A network that diverged makes such boxes; torchvision's operators would read anywhere.
    """
    broken = ~rois.isfinite().all(dim=1)
    return torch.where(broken[:, None], torch.zeros_like(rois), rois), broken


def sample(features: torch.Tensor, image_index: torch.Tensor, ys: torch.Tensor, xs: torch.Tensor) -> torch.Tensor:
    """Values at points, differentiable in the features and the points.

    Args:
        features: [b, c, h, w].
        image_index: [k], int64.
        ys, xs: [k, p], in feature pixels, of the features' dtype.

    Returns:
        [k, p, c].
    """
    _, channels, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
    out = features.new_zeros(())
    for pixels, weights in _taps(image_index[:, None], ys, xs, height, width):
        values = rows.index_select(0, pixels.reshape(-1)).reshape(*pixels.shape, channels)
        out = out + values * weights[..., None]
    return out


def spread(gradient: torch.Tensor, planes: torch.Tensor, ys: torch.Tensor, xs: torch.Tensor, out: torch.Tensor) -> None:
    """Add each number's share to the four pixels around its point: the transpose of `sample`.

    Args:
        gradient: any shape.
        planes: same shape, int64: image * channels + channel.
        ys, xs: same shape, in feature pixels.
        out: [b, c, h, w], contiguous; added to in place.
    """
    height, width = out.shape[2:]
    flat = out.view(-1)
    for pixels, weights in _taps(planes, ys, xs, height, width):
        flat.index_add_(0, pixels.reshape(-1), (gradient * weights).reshape(-1).to(out.dtype))


def _taps(
    planes: torch.Tensor, ys: torch.Tensor, xs: torch.Tensor, height: int, width: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The four (flat pixel, weight) of each point."""
    inside = (ys >= -1) & (ys <= height) & (xs >= -1) & (xs <= width)
    y, x = ys.clamp(0, height - 1), xs.clamp(0, width - 1)
    # Not a number, from a region that is none, must not become an index; `inside` is false there.
    top, left = (at.detach().nan_to_num(0).floor().to(torch.int64) for at in (y, x))
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = y - top, x - left
    corners = (
        (top, left, (1 - down) * (1 - across)),
        (top, right, (1 - down) * across),
        (bottom, left, down * (1 - across)),
        (bottom, right, down * across),
    )
    nothing = torch.zeros_like(y)
    return [
        ((planes * height + row) * width + column, torch.where(inside, weight, nothing))
        for row, column, weight in corners
    ]
