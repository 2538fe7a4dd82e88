"""TEST.PRECISE_BN: statistics of batch norm layers over some training batches, before a model is scored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import nn

from cvtune.backends.detectron2.config import RunConfig

__all__ = ["update_norms"]


def update_norms(model: nn.Module, config: RunConfig, batches: Iterable[list[dict[str, Any]]]) -> None:
    """Set the statistics of trained batch norm layers to those of as many batches as the config says, if it does.

    The weights stay. `batches` is endless. Needs an `EventStorage`, as every forward pass in training does.
    """
    if not config.precise_bn_batches or not get_bn_modules(model.train()):
        return
    update_bn_stats(model, batches, config.precise_bn_batches)
