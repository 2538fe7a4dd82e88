"""Batch norm as the config asks for it, and frozen stages."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

__all__ = ["freeze", "freeze_norms", "set_frozen_eps"]


def freeze_norms(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm2d below `module` by a FrozenBatchNorm2d with its weights, statistics and epsilon.

    Returns:
        `module`, or its replacement where it is a batch norm itself.
    """
    if isinstance(module, nn.BatchNorm2d):
        frozen: nn.Module = FrozenBatchNorm2d(module.num_features, eps=module.eps)
        with torch.no_grad():
            for name in ("weight", "bias", "running_mean", "running_var"):
                value = getattr(module, name)
                if value is not None:
                    getattr(frozen, name).copy_(value)
        return frozen
    for name, child in module.named_children():
        replacement = freeze_norms(child)
        if replacement is not child:
            setattr(module, name, replacement)
    return module


def set_frozen_eps(module: nn.Module, eps: float) -> None:
    """Set the epsilon of every frozen batch norm (torchvision's `overwrite_eps`)."""
    for child in module.modules():
        if isinstance(child, FrozenBatchNorm2d):
            child.eps = eps


def freeze(model: nn.Module, names: Iterable[str]) -> None:
    """Stop the named modules from training: no gradients, frozen batch norm. Names that are not there are left out."""
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            continue
        parent, _, leaf = name.rpartition(".")
        replacement = freeze_norms(modules[name])
        setattr(modules[parent] if parent else model, leaf, replacement)
        replacement.requires_grad_(False)
