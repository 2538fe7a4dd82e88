"""Trials before a run: what a step takes of memory, and at which learning rate the loss falls."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from detectron2.utils.events import EventStorage

from cvtune.backends.batches import Batches
from cvtune.backends.detectron2.config import read_config, read_extras
from cvtune.backends.detectron2.samples import TrainingSamples
from cvtune.backends.detectron2.train import make_optimizer, one_step, read_plan, start_fabric, starting_model
from cvtune.backends.fabric import peak_memory_mb
from cvtune.backends.lr_trial import rising_rates
from cvtune.errors import RunError
from cvtune.runs import RunDir

__all__ = ["Trial", "find_lr", "step_memory"]

# RetinaNet and FCOS divide their losses by a running count of matched anchors that starts at 100 or 300 whatever the
# data: until it has settled (its decay is 0.9), the loss moves without any training.
SETTLING_STEPS = 40


class Trial:
    """A model that trains for a while in this process alone; nothing is written but weights.txt."""

    def __init__(self, run: RunDir) -> None:
        """Build everything that the run's own loop would."""
        plan, self.config, self.extras = read_plan(run), read_config(run), read_extras(run)
        self.run, self.seed = run, int(plan["train.seed"])
        self.fabric = start_fabric(plan, self.config, self.extras, devices=1)
        self.model = starting_model(run, self.config, self.extras, self.seed, {})
        own = make_optimizer(self.config, self.extras, self.model)
        self.wrapped, self.optimizer = self.fabric.setup(self.model, own)
        self.groups = own.param_groups
        self.samples = TrainingSamples(run.data("train"), self.config, self.extras, self.seed)
        self.share = math.ceil(self.config.batch_size / int(plan["run.devices"]))

    def step(self, batch: list[dict[str, Any]], number: int = 0) -> float:
        """One update of the weights; returns the loss. Raises RunError where it is not finite."""
        clip, key = self.extras.get("train.gradient_clip"), (self.seed, number)
        losses = one_step(self.run, self.fabric, self.wrapped, self.optimizer, iter([batch]), 1, key, clip)
        return sum(losses.values())

    def heaviest(self) -> list[dict[str, Any]]:
        """A batch of the images that take the most: the largest with the most objects."""
        indices = self.samples.heaviest(self.share, self.samples.with_masks)
        return [self.samples[0, index] for index in indices]

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """Batches without end."""
        order = Batches(len(self.samples), self.share, 10**9, self.seed, self.samples.portrait)
        return ([self.samples[key] for key in keys] for keys in order)


def step_memory(run: RunDir) -> int:
    """Peak bytes of two real training steps on a batch of the images that take the most."""
    trial = Trial(run)
    batch = trial.heaviest()
    with EventStorage():
        for _ in range(2):
            trial.step(batch)
    return int(peak_memory_mb(trial.fabric.device) * 2**20)


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    """(learning rate, smoothed loss) pairs of a trial with a rising rate; see `rising_rates`."""
    trial = Trial(run)
    step = _step_at(trial)
    with EventStorage():
        if trial.config.settles:
            for _ in range(SETTLING_STEPS):
                step(0.0)
        return rising_rates(step)


def _step_at(trial: Trial) -> Callable[[float], float]:
    batches, numbers = trial.batches(), itertools.count()

    def step(lr: float) -> float:
        for group in trial.groups:
            group["lr"] = lr
        try:
            return trial.step(next(batches), next(numbers))
        except RunError:  # the end of the range: it has diverged
            return math.inf

    return step
