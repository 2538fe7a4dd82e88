"""Rules about how a run was trained: weights, learning rate, length. One function a rule."""

from __future__ import annotations

import math
import re

import numpy as np

from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.training import Training, mapping, number

__all__ = [
    "learning_rate_too_high",
    "learning_rate_too_low",
    "no_pretrained_weights",
    "too_few_iterations",
    "warmup_never_ends",
]


def learning_rate_too_high(training: Training) -> Cause | None:
    """A loss that is no number, explodes, or never falls below where it began."""
    losses = training.losses
    lr = number(training.plan.get("train.optimizer.lr"))
    official = official_lr(training)
    times = lr / official if lr and official else None
    compared = f"; lr is {lr:g}, {times:.3g} times the official {official:.3g} for this batch" if times and lr else ""
    fix = "lower the learning rate to a tenth" + (f" ({official:.2g} would be the official one)" if official else "")
    broken = re.search(r"not finite|nan\b|infinite|diverge", training.error, re.IGNORECASE)
    if broken or any(not math.isfinite(loss) for loss in losses):
        at = next(
            (r.get("step") for r, loss in zip(training.steps, losses, strict=True) if not math.isfinite(loss)), None
        )
        seen = f"the loss is not finite{f' at step {at}' if at is not None else ''}"
        return Cause("learning_rate_too_high", 0.96, seen + compared, fix, "train.optimizer.lr")
    if len(losses) < 4:
        return None
    start = float(np.median(losses[: max(1, len(losses) // 20)]))
    peak = max(losses[1:])
    end = float(np.median(losses[-max(2, len(losses) // 5) :]))
    lowest = min(losses)
    exploded = peak > 5 * max(start, 1e-9) and end > 1.0 * start
    stuck = end > 0.95 * start and training.weak and (times is None or times >= 3)
    rebound = end > 3 * lowest and end > 0.8 * start
    if not (exploded or stuck or rebound):
        return None
    certainty = 0.93 if exploded else 0.85 if rebound else 0.7
    if times is not None:
        certainty = min(0.97, certainty + (0.1 if times >= 5 else -0.1 if times < 1.5 else 0.0))
    return Cause(
        "learning_rate_too_high",
        certainty,
        f"the loss began at {start:.3g}, rose to {peak:.3g} and ended at {end:.3g}{compared}",
        fix,
        "train.optimizer.lr",
    )


def official_lr(training: Training) -> float | None:
    """The official rate at the run's batch, in proportion to the batch."""
    lr, batch = (number(training.official.get(key)) for key in ("train.optimizer.lr", "data.batch_size"))
    own = number(training.plan.get("data.batch_size"))
    return lr * own / batch if lr and batch and own else lr


def learning_rate_too_low(training: Training) -> Cause | None:
    """A loss that hardly moves, at a rate far below the official one."""
    lr, official, losses = number(training.plan.get("train.optimizer.lr")), official_lr(training), training.losses
    if lr is None or not official or len(losses) < 4 or not training.weak or lr > official / 20:
        return None
    tenth = max(1, len(losses) // 10)
    start, end = float(np.median(losses[:tenth])), float(np.median(losses[-tenth:]))
    if end < 0.6 * start:
        return None
    return Cause(
        "learning_rate_too_low",
        0.88,
        f"lr is {lr:.3g}, {official / max(lr, 1e-30):.0f} times below the official {official:.3g} for this batch, and "
        f"the loss went only from {start:.3g} to {end:.3g}",
        f"raise the learning rate towards {official:.2g}, or leave it out",
        "train.optimizer.lr",
    )


def too_few_iterations(training: Training) -> Cause | None:
    """A training that ended while the model was still learning fast."""
    plan = training.plan
    planned = number(plan.get("train.iterations"))
    done = number(training.steps[-1].get("step")) if training.steps else None
    iterations = done or planned
    batch = (number(plan.get("data.batch_size")) or 1) * (number(plan.get("train.accumulate")) or 1)
    per_epoch = number(plan.get("train.steps_per_epoch"))
    images = number(mapping(training.data.get("train")).get("images"))
    if not iterations or not training.weak:
        return None
    passes = iterations / per_epoch if per_epoch else iterations * batch / images if images else None
    samples = iterations * batch
    stopped = planned is not None and done is not None and done < 0.5 * planned
    few = iterations < 100 or samples < 300 or (passes is not None and passes < 3 and samples < 10_000)
    if not few and not stopped:
        return None
    losses = training.losses
    falling = ""
    if len(losses) >= 6:
        third = len(losses) // 3
        middle, last = float(np.median(losses[third : 2 * third])), float(np.median(losses[-third:]))
        if last < 0.93 * middle:
            falling = f"; the loss was still falling, from {middle:.3g} to {last:.3g} in the last third"
    rising = ""
    if len(training.evals) >= 2 and training.evals[-1][2] > 1.15 * training.evals[-2][2]:
        rising = f"; AP was still rising, from {training.evals[-2][2]:.3f} to {training.evals[-1][2]:.3f}"
    told = f", {passes:.2g} passes over the data" if passes else ""
    early = f" of {planned:,.0f} planned ones" if stopped else ""
    certainty = 0.72 + (0.1 if falling or rising else 0) + (0.1 if iterations < 100 or (passes or 9) < 1.5 else 0)
    return Cause(
        "too_few_iterations",
        min(certainty, 0.92),
        f"the model saw {samples:,.0f} samples in {iterations:,.0f} steps{early}{told}{falling}{rising}",
        "train longer: leave the length out (20,000 samples, 12 to 50 passes), or go on with --resume after a stop",
        "train.epochs, train.iterations",
    )


def warmup_never_ends(training: Training) -> Cause | None:
    """A warm-up as long as the whole training."""
    warmup, iterations = (
        number(training.plan.get(k)) for k in ("train.schedule.warmup_iterations", "train.iterations")
    )
    if not warmup or not iterations or warmup < 0.8 * iterations or not training.weak:
        return None
    return Cause(
        "warmup_never_ends",
        0.85,
        f"the warm-up of {warmup:,.0f} steps takes {100 * warmup / iterations:.0f} % of all {iterations:,.0f} steps",
        "shorten the warm-up to a tenth of all steps, or leave it out",
        "train.schedule.warmup_iterations",
    )


def no_pretrained_weights(training: Training) -> Cause | None:
    """Random weights, or a file of which hardly a tensor fitted."""
    weights = training.plan.get("model.weights")
    match = re.search(r"(\d+) of (\d+) tensors loaded", training.weights)
    loaded = int(match[1]) / max(1, int(match[2])) if match else None
    images = number(mapping(training.data.get("train")).get("images"))
    if not training.weak or (images is not None and images > 50_000):
        return None
    small = f" on {images:,.0f} images" if images else ""
    fix = "start from weights: model.weights coco, or imagenet"
    if weights == "none":
        # After a handful of steps it is too early to blame the weights.
        per_epoch, steps = (number(training.plan.get(k)) for k in ("train.steps_per_epoch", "train.iterations"))
        early = steps is not None and (steps < 100 or (per_epoch is not None and steps < 3 * per_epoch))
        return Cause(
            "no_pretrained_weights",
            0.8 if early else 0.9,
            f"model.weights is none: the network starts at random, which takes far more than the training{small}",
            fix,
            "model.weights",
        )
    if loaded is not None and loaded < 0.3:
        return Cause(
            "no_pretrained_weights",
            0.88,
            f"only {match[1] if match else 0} of {match[2] if match else 0} tensors of the weights fitted the model",
            "choose weights of this model's backbone; the run's weights.txt lists what did not fit",
            "model.weights",
        )
    return None
