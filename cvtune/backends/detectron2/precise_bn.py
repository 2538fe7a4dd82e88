"""TEST.PRECISE_BN: statistics of batch norm layers over some training batches, before a model is scored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import nn

__all__ = ["update_norms"]


def update_norms(model: nn.Module, config: Any, batches: Iterable[list[dict[str, Any]]]) -> None:
    """Set the statistics of trained batch norm layers to those of TEST.PRECISE_BN.NUM_ITER batches, if it is enabled.

    The weights stay. `batches` is endless. Needs an `EventStorage`, as every forward pass in training does.
    """
    if not config.TEST.PRECISE_BN.ENABLED or not get_bn_modules(model.train()):
        return
    update_bn_stats(model, batches, config.TEST.PRECISE_BN.NUM_ITER)
