"""CARAFE (Wang et al. 2019), upsampling by kernels that a network predicts: four functions of `mmcv._ext`.

Each of the k * k taps of the kernels is one multiplication over the whole map.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional

from cvtune.kernels.mmcv_ext.widths import widened

__all__ = ["carafe_backward", "carafe_forward", "carafe_naive_backward", "carafe_naive_forward"]


def carafe_naive_forward(
    features: torch.Tensor,
    masks: torch.Tensor,
    output: torch.Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Set `output` [b, c, h * scale, w * scale].

    Args:
        features: [b, c, h, w].
        masks: [b, group * k * k, h * scale, w * scale]: for each place of the output, the weights of the k x k
            features around the one below it, for each group of channels.
        kernel_size: k, odd.
    """
    x, weights = _by_group(features, masks, kernel_size, group_size, scale_factor)
    out = x.new_zeros((*x.shape[:-2], x.shape[-2], scale_factor, x.shape[-1], scale_factor))
    for (shifted, _), weight in _taps(x, weights, kernel_size):
        out.addcmul_(shifted[:, :, :, :, None, :, None], weight[:, :, None])
    output.copy_(out.reshape(output.shape))


def carafe_naive_backward(
    top_grad: torch.Tensor,
    features: torch.Tensor,
    masks: torch.Tensor,
    bottom_grad: torch.Tensor,
    mask_grad: torch.Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Set the gradients of features (`bottom_grad`) and masks (`mask_grad`)."""
    x, weights = _by_group(features, masks, kernel_size, group_size, scale_factor)
    height, width = x.shape[-2:]
    # [b, group, c / group, h, scale, w, scale]
    gradient = top_grad.to(x.dtype).reshape(*x.shape[:-2], height, scale_factor, width, scale_factor)
    border = kernel_size // 2
    padded = x.new_zeros((*x.shape[:-2], height + 2 * border, width + 2 * border))
    by_tap = torch.empty_like(weights)
    for tap, ((shifted, (row, column)), weight) in enumerate(_taps(x, weights, kernel_size)):
        padded[..., row : row + height, column : column + width] += torch.einsum(
            "bgchiwj,bghiwj->bgchw", gradient, weight
        )
        by_tap[:, :, tap] = torch.einsum("bgchiwj,bgchw->bghiwj", gradient, shifted)
    inner = padded[..., border : border + height, border : border + width]
    bottom_grad.copy_(inner.reshape(bottom_grad.shape))
    mask_grad.copy_(by_tap.reshape(mask_grad.shape))


def carafe_forward(
    features: torch.Tensor,
    masks: torch.Tensor,
    rfeatures: torch.Tensor,
    routput: torch.Tensor,
    rmasks: torch.Tensor,
    output: torch.Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As `carafe_naive_forward`.

    `rfeatures` [b, c, h, w] is what the caller keeps of the features for the backward pass; the other two are working
    memory of the compiled operator, not used.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: torch.Tensor,
    rfeatures: torch.Tensor,
    masks: torch.Tensor,
    rtop_grad: torch.Tensor,
    rbottom_grad_hs: torch.Tensor,
    rbottom_grad: torch.Tensor,
    rmask_grad: torch.Tensor,
    bottom_grad: torch.Tensor,
    mask_grad: torch.Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As `carafe_naive_backward`, with the features that `carafe_forward` kept."""
    carafe_naive_backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor)


def _by_group(
    features: torch.Tensor, masks: torch.Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [b, group, c / group, h, w] and masks [b, group, k * k, h, scale, w, scale]."""
    x, weights = widened(features.detach(), masks.detach())
    batch, channels, height, width = x.shape
    taps = kernel_size * kernel_size
    return (
        x.reshape(batch, group_size, channels // group_size, height, width),
        weights.reshape(batch, group_size, taps, height, scale_factor, width, scale_factor),
    )


def _taps(
    x: torch.Tensor, weights: torch.Tensor, kernel_size: int
) -> Iterator[tuple[tuple[torch.Tensor, tuple[int, int]], torch.Tensor]]:
    """For each place of the kernel: the features moved there, the move, and the weights of that place."""
    height, width = x.shape[-2:]
    border = kernel_size // 2
    padded = functional.pad(x, (border, border, border, border))
    for row in range(kernel_size):
        for column in range(kernel_size):
            shifted = padded[..., row : row + height, column : column + width]
            yield (shifted, (row, column)), weights[:, :, row * kernel_size + column]
