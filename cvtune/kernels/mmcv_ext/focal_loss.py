"""Focal loss (Lin et al. 2017) of sigmoid and softmax scores, as `mmcv._ext` has it: one number an element or a row.

log(p) comes from `logsigmoid`, not from a rounded p: a logit of 20 has the loss 20, as the formula says.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from cvtune.kernels.mmcv_ext.widths import widened

__all__ = [
    "sigmoid_focal_loss_backward",
    "sigmoid_focal_loss_forward",
    "softmax_focal_loss_backward",
    "softmax_focal_loss_forward",
]


def sigmoid_focal_loss_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    output: torch.Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Set `output` [n, c] to -alpha (1 - p)^gamma log p of the target class, -(1 - alpha) p^gamma log(1 - p) of others.

    Args:
        input: [n, c] logits.
        target: [n], int64 class index; one that is not in 0..c-1 is background.
        weight: [c] factor of a row, by its target; empty for none. Background rows have the factor 1.
    """
    (x,) = widened(input.detach())
    p, positive = x.sigmoid(), _is_target(x, target)
    of_target = -alpha * (1 - p) ** gamma * functional.logsigmoid(x)
    of_others = -(1 - alpha) * p**gamma * functional.logsigmoid(-x)
    output.copy_(torch.where(positive, of_target, of_others) * _row_weights(weight, target, x)[:, None])


def sigmoid_focal_loss_backward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    grad_input: torch.Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Set `grad_input` [n, c] to each element's derivative; the others as in the forward function."""
    (x,) = widened(input.detach())
    p, positive = x.sigmoid(), _is_target(x, target)
    of_target = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * functional.logsigmoid(x))
    of_others = -(1 - alpha) * p**gamma * (gamma * (1 - p) * functional.logsigmoid(-x) - p)
    grad_input.copy_(torch.where(positive, of_target, of_others) * _row_weights(weight, target, x)[:, None])


def softmax_focal_loss_forward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    output: torch.Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Set `output` [n] to -alpha (1 - p)^gamma log p, p being the target's probability; 0 where there is no target.

    Args:
        input: [n, c] probabilities (after softmax).
        target: [n], int64 class index; one that is not in 0..c-1 is none.
        weight: [c] factor of a row, by its target; empty for none.
    """
    (probabilities,) = widened(input.detach())
    p, exists = _of_target(probabilities, target)
    loss = -alpha * (1 - p) ** gamma * _log(p) * _row_weights(weight, target, probabilities)
    output.copy_(torch.where(exists, loss, torch.zeros_like(loss)))


def softmax_focal_loss_backward(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    buff: torch.Tensor,
    grad_input: torch.Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Set `grad_input` [n, c] to the derivative by the logits, and `buff` [n] to p times that by p."""
    (probabilities,) = widened(input.detach())
    p, exists = _of_target(probabilities, target)
    rest = 1 - p
    # At p = 1 the second term is 0 for any gamma > 0, while (1 - p)^(gamma - 1) need not be finite.
    second = torch.where(rest > 0, gamma * rest ** (gamma - 1) * p * _log(p), torch.zeros_like(p))
    by_p = alpha * (second - rest**gamma) * _row_weights(weight, target, probabilities)
    by_p = torch.where(exists, by_p, torch.zeros_like(by_p))
    buff.copy_(by_p)
    grad_input.copy_(by_p[:, None] * (_is_target(probabilities, target).to(p.dtype) - probabilities))


def _is_target(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return target[:, None] == torch.arange(scores.shape[1], device=scores.device)


def _of_target(probabilities: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    exists = (target >= 0) & (target < probabilities.shape[1])
    safe = torch.where(exists, target, torch.zeros_like(target))
    return probabilities.gather(1, safe[:, None])[:, 0], exists


def _row_weights(weight: torch.Tensor, target: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if weight.numel() == 0:
        return like.new_ones(len(target))
    exists = (target >= 0) & (target < len(weight))
    safe = torch.where(exists, target, torch.zeros_like(target))
    return torch.where(exists, weight.to(like.dtype)[safe], like.new_ones(()))


def _log(p: torch.Tensor) -> torch.Tensor:
    return p.clamp(min=torch.finfo(torch.float32).tiny).log()
