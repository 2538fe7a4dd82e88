"""The local parts of batch normalisation over several processes: five functions of `mmcv._ext`.

Tensors are [b, c, s], statistics [c] in float32; what is summed over processes, the caller sums.
"""

from __future__ import annotations

import torch

__all__ = [
    "sync_bn_backward_data",
    "sync_bn_backward_param",
    "sync_bn_forward_mean",
    "sync_bn_forward_output",
    "sync_bn_forward_var",
]


def sync_bn_forward_mean(input: torch.Tensor, mean: torch.Tensor) -> None:
    """Set `mean` to each channel's mean."""
    mean.copy_(input.detach().to(mean.dtype).mean(dim=(0, 2)))


def sync_bn_forward_var(input: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> None:
    """Set `var` to each channel's mean squared distance from `mean`."""
    var.copy_((input.detach().to(var.dtype) - mean[:, None]).square().mean(dim=(0, 2)))


def sync_bn_forward_output(
    input: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    norm: torch.Tensor,
    std: torch.Tensor,
    output: torch.Tensor,
    eps: float,
    momentum: float,
    group_size: int,
) -> None:
    """Set `norm`, `std` and `output`, and move the running statistics towards those of the batch."""
    std.copy_((var + eps).sqrt())
    norm.copy_((input.detach().to(norm.dtype) - mean[:, None]) / std[:, None])
    output.copy_(norm * weight.detach()[:, None] + bias.detach()[:, None])
    count = input.shape[0] * input.shape[2] * group_size
    unbiased = var * (count / (count - 1)) if count > 1 else var
    running_mean.copy_(momentum * mean + (1 - momentum) * running_mean)
    running_var.copy_(momentum * unbiased + (1 - momentum) * running_var)


def sync_bn_backward_param(
    grad_output: torch.Tensor, norm: torch.Tensor, grad_weight: torch.Tensor, grad_bias: torch.Tensor
) -> None:
    """Set the gradients of weight and bias of this process's part of the batch."""
    gradient = grad_output.to(norm.dtype)
    grad_weight.copy_((gradient * norm).sum(dim=(0, 2)))
    grad_bias.copy_(gradient.sum(dim=(0, 2)))


def sync_bn_backward_data(
    grad_output: torch.Tensor,
    weight: torch.Tensor,
    grad_weight: torch.Tensor,
    grad_bias: torch.Tensor,
    norm: torch.Tensor,
    std: torch.Tensor,
    grad_input: torch.Tensor,
) -> None:
    """Set `grad_input`; `grad_weight` and `grad_bias` are means over the processes."""
    count = grad_output.shape[0] * grad_output.shape[2]
    through_statistics = (grad_weight[:, None] * norm + grad_bias[:, None]) / count
    grad_input.copy_(weight[:, None] * (grad_output.to(norm.dtype) - through_statistics) / std[:, None])
