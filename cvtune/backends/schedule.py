"""The learning rate as a pure function of the step: nothing to restore on resume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["lr_at", "milestone_steps"]

# The first step of a linear warm-up starts at this share of the rate (torchvision's detection reference).
WARMUP_FACTOR = 1e-3


def milestone_steps(milestones: Iterable[float], steps_per_epoch: int) -> list[int]:
    """The steps, rising and none before the first one is done, at which milestones in epochs lower the rate.

    Milestones that fall on one step are one: no framework's own schedule lowers the rate twice at once.
    """
    return sorted({max(1, round(milestone * steps_per_epoch)) for milestone in milestones})


def lr_at(step: int, train: Mapping[str, Any]) -> float:
    """The learning rate of a step.

    Args:
        step: 0-based optimizer step.
        train: the native config's `train`: optimizer.lr, iterations, steps_per_epoch, schedule {name, milestones in
            epochs, gamma, warmup_iterations, min_lr}.

    Returns:
        Linear warm-up, then constant, multistep, cosine (Loshchilov and Hutter 2017, one period to min_lr), or
        onecycle (Smith and Topin 2018: cosine up over the first 30 %, then down to 1/10,000 of a 25th).
    """
    schedule, peak, total = train["schedule"], float(train["optimizer"]["lr"]), int(train["iterations"])
    floor = float(schedule.get("min_lr") or 0.0)
    if schedule["name"] == "onecycle":
        return _onecycle(step, total, peak)
    warmup = int(schedule.get("warmup_iterations") or 0)
    if schedule["name"] == "multistep":
        passed = sum(step >= m for m in milestone_steps(schedule["milestones"], int(train["steps_per_epoch"])))
        lr = max(floor, peak * float(float(schedule["gamma"]) ** passed))
    elif schedule["name"] == "cosine":
        share = (step - warmup) / max(1, total - warmup) if step >= warmup else 0.0
        lr = floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    else:
        lr = peak
    if step < warmup:
        lr *= WARMUP_FACTOR + (1 - WARMUP_FACTOR) * step / warmup
    return lr


def _onecycle(step: int, total: int, peak: float) -> float:
    low, last = peak / 25, peak / 25e4
    rise = max(1.0, 0.3 * total - 1)

    def between(a: float, b: float, share: float) -> float:
        return b + (a - b) / 2 * (1 + math.cos(math.pi * share))

    if step <= rise:
        return between(low, peak, step / rise)
    return between(peak, last, min(1.0, (step - rise) / max(1.0, total - 1 - rise)))
