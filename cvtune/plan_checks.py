"""What a spec's optimizer and schedule mean beside the official ones: usual values, and fields that have no use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.errors import SpecError
from cvtune.spec import OptimizerSpec, ScheduleSpec

__all__ = ["OTHER_OPTIMIZER", "check_optimizer", "check_schedule"]

# A recipe says nothing about another optimizer: what detectors are commonly trained with, at batch 16 (SGD: Detectron,
# Mask R-CNN; AdamW: DETR, Swin).
OTHER_OPTIMIZER: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4},
    "adamw": {"lr": 1e-4, "momentum": None, "weight_decay": 0.05},
}
# Which rules read a field of train.schedule.
_RULES: Mapping[str, tuple[str, ...]] = {
    "milestones": ("multistep",),
    "gamma": ("multistep",),
    "warmup_iterations": ("multistep", "cosine", "constant"),
    "min_lr": ("multistep", "cosine"),
}


def check_optimizer(optimizer: OptimizerSpec, name: str, config: str) -> None:
    """Raise SpecError for a momentum where the optimizer in use, the spec's or that of `config`, has none."""
    if optimizer.momentum is not None and name.startswith("adam"):
        raise SpecError(
            f"train.optimizer.momentum: got {optimizer.momentum:g}, but the official optimizer of {config} is {name}, "
            "which has none; remove it, or set train.optimizer.name: sgd"
        )


def check_schedule(schedule: ScheduleSpec, name: str, config: str) -> None:
    """Raise SpecError for a field that the rule in use does not read: that of `config`, as the spec knows its own."""
    for key, rules in _RULES.items():
        value = getattr(schedule, key)
        if value in (None, "auto", 0) or name in rules:
            continue
        raise SpecError(
            f"train.schedule.{key}: got {value}, but the schedule is {name}, as {config} has it, which has no use for "
            f"it; remove it, or set train.schedule.name: {' or '.join(rules)}"
        )
