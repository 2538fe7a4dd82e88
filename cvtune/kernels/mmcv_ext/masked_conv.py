"""Convolution at chosen places only (guided anchoring, Wang et al. 2019): two functions of `mmcv._ext`."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["masked_col2im_forward", "masked_im2col_forward"]


def masked_im2col_forward(
    im: torch.Tensor,
    mask_h_idx: torch.Tensor,
    mask_w_idx: torch.Tensor,
    col: torch.Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Set `col` [c * kernel_h * kernel_w, m] to the window of each chosen place.

    Args:
        im: [1, c, h, w].
        mask_h_idx, mask_w_idx: [m], int64 row and column of each place in the convolution's output.
    """
    padded = functional.pad(im.detach()[0], (pad_w, pad_w, pad_h, pad_h))
    rows = mask_h_idx + torch.arange(kernel_h, device=im.device)[:, None, None]
    columns = mask_w_idx + torch.arange(kernel_w, device=im.device)[:, None]
    col.copy_(padded[:, rows, columns].reshape(col.shape))  # [c, kernel_h, kernel_w, m]


def masked_col2im_forward(
    col: torch.Tensor,
    mask_h_idx: torch.Tensor,
    mask_w_idx: torch.Tensor,
    im: torch.Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Set the chosen places of `im` [1, channels, height, width] to `col` [channels, m]; the others stay."""
    im[0, :, mask_h_idx, mask_w_idx] = col
