"""BorderAlign (Qiu et al. 2020) of `mmcv._ext`: the largest of some samples along each side of a box."""

from __future__ import annotations

import torch

from cvtune.kernels.mmcv_ext.sampling import MOST_NUMBERS, sample, spread
from cvtune.kernels.mmcv_ext.widths import widened

__all__ = ["border_align_backward", "border_align_forward"]

# Side -> column of the box where its x and y start, and the direction in which it is walked.
# Top and left start at the first corner; bottom and right at the last, walked backwards.
SIDES = ((0, (1, 0)), (0, (0, 1)), (2, (-1, 0)), (2, (0, -1)))


def border_align_forward(
    input: torch.Tensor, boxes: torch.Tensor, output: torch.Tensor, argmax_idx: torch.Tensor, pool_size: int
) -> None:
    """Set `output` [b, c, k, 4] (top, left, bottom, right) and `argmax_idx`, same shape, int32: which sample it was.

    Args:
        input: [b, 4 * c, h, w]: c channels for each of the four sides.
        boxes: [b, k, 4] x0, y0, x1, y1 in feature pixels.
        pool_size: each side has one sample more than this, its ends among them.
    """
    features, corners = widened(input.detach(), boxes.detach())
    batch, channels = features.shape[0], features.shape[1] // 4
    image_index = torch.arange(batch, device=features.device)
    step = max(1, MOST_NUMBERS // max(1, batch * channels * (pool_size + 1)))
    for side in range(4):
        maps = features[:, side * channels : (side + 1) * channels]
        for first in range(0, corners.shape[1], step):
            part = slice(first, first + step)
            ys, xs = _places(corners[:, part], side, pool_size)  # [b, k, pool_size + 1]
            values = sample(maps, image_index, ys.flatten(1), xs.flatten(1))
            largest, where = values.reshape(*ys.shape, channels).max(dim=2)
            output[:, :, part, side] = largest.transpose(1, 2).to(output.dtype)
            argmax_idx[:, :, part, side] = where.transpose(1, 2).to(argmax_idx.dtype)


def border_align_backward(
    grad_output: torch.Tensor,
    boxes: torch.Tensor,
    argmax_idx: torch.Tensor,
    grad_input: torch.Tensor,
    pool_size: int,
) -> None:
    """Add each gradient [b, c, k, 4] to the pixels of its sample, in `grad_input` [b, 4 * c, h, w]."""
    gradient, corners = widened(grad_output, boxes)
    batch, channels = gradient.shape[:2]
    image = torch.arange(batch, device=boxes.device)[:, None, None]
    channel = torch.arange(channels, device=boxes.device)[None, :, None]
    for side in range(4):
        ys, xs = _places(corners, side, pool_size)
        where = argmax_idx[..., side].to(torch.int64).transpose(1, 2)  # [b, k, c]
        y, x = ys.gather(2, where).transpose(1, 2), xs.gather(2, where).transpose(1, 2)
        planes = ((image * 4 + side) * channels + channel).expand_as(y)
        spread(gradient[..., side], planes, y, x, grad_input)


def _places(corners: torch.Tensor, side: int, pool_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns [b, k, pool_size + 1] of a side's samples."""
    column, (across, down) = SIDES[side]
    steps = torch.arange(pool_size + 1, device=corners.device).to(corners.dtype)
    width = (corners[..., 2] - corners[..., 0]) / pool_size
    height = (corners[..., 3] - corners[..., 1]) / pool_size
    ys = corners[..., column + 1, None] + down * height[..., None] * steps
    xs = corners[..., column, None] + across * width[..., None] * steps
    return ys, xs
