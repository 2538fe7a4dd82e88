"""The learning-rate trial, whatever the framework: raise the rate by a factor each step and watch the loss."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["rising_rates"]

LR_RANGE = (1e-6, 1.0)
LR_STEPS = 100
SMOOTHING = 0.9
# A loss this many times its lowest has diverged: the rest of the range teaches nothing.
DIVERGED = 4.0


def rising_rates(step: Callable[[float], float]) -> list[tuple[float, float]]:
    """Try rising rates (Smith 2017, "Cyclical Learning Rates").

    Args:
        step: takes a training step at the given rate and returns its loss.

    Returns:
        (learning rate, bias-corrected moving average of the loss) pairs, up to where the loss diverges.
    """
    low, high = LR_RANGE
    trial: list[tuple[float, float]] = []
    average = 0.0
    for index in range(LR_STEPS):
        lr = low * (high / low) ** (index / (LR_STEPS - 1))
        loss = step(lr)
        if not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING ** (index + 1))
        trial.append((lr, smoothed))
        if smoothed > DIVERGED * min(value for _, value in trial):
            break
    return trial
