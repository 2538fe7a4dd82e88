"""Half precision is computed in float32: many of torch's CPU operators have no half, and coordinates need more bits."""

from __future__ import annotations

import torch

__all__ = ["widened"]


def widened(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tensors in one float dtype, float32 at least; those that have it already are returned as they are."""
    dtype = torch.float32
    for tensor in tensors:
        if tensor.is_floating_point():
            dtype = torch.promote_types(dtype, tensor.dtype)
    return tuple(tensor.to(dtype) for tensor in tensors)
