"""How long a run is, in MMEngine's own units, and the loop that counts it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cvtune.backends.edits import Edits, Path
from cvtune.backends.mmdet.zoo import walk
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["Length"]

# Hooks that change how images are fed in the last epochs.
_LATE_HOOKS = ("YOLOXModeSwitchHook", "PipelineSwitchHook")


class Length:
    """How long the run is, in iterations of the framework: with accumulation, one is a part of a step.

    `official`: the official length, in its own unit. `ratio`: this length over the official one. `field`: the spec
    field that asked for another one. `per_epoch`: iterations in a pass over the data.
    """

    def __init__(self, edits: Edits, plan: Plan) -> None:
        """Read the plan's length; nothing is changed yet."""
        self.edits, self.plan = edits, plan
        train = edits.config["train_cfg"]
        self.by_iteration = "max_iters" in train
        self.official_length = int(train["max_iters"] if self.by_iteration else train["max_epochs"])
        self.accumulate = int(plan["train.accumulate"])
        self.official = plan.recipe_is_official("train.epochs") and plan.recipe_is_official("train.iterations")
        self.field, _ = plan.asked_by("train.iterations")
        if self.official and self.by_iteration and self.accumulate > 1:
            self.official, self.field = False, "train.accumulate"  # the official steps take more iterations
        self.per_epoch = math.ceil(int(plan["data.train_images"]) / int(plan["data.batch_size"]))
        self.epochs, steps = int(plan["train.epochs"]), int(plan["train.iterations"])
        self.whole = steps == int(plan["train.steps_per_epoch"]) * self.epochs
        self.iterations = self.per_epoch * self.epochs if self.whole else steps * self.accumulate
        self.ratio = 1.0

    @property
    def warm_up(self) -> int:
        """The plan's warm-up in iterations, within the run."""
        return min(int(self.plan["train.schedule.warmup_iterations"]) * self.accumulate, max(0, self.iterations - 1))

    def apply(self) -> None:
        """Change the loop's length and the evaluation interval."""
        edits = self.edits
        # MMEngine refuses a loop that says it twice, as a few official configs do.
        edits.remove(("train_cfg", "by_epoch"), "backend", "host")
        if not self.official:
            for path in _wrappers(edits):
                if edits.get((*path, "times")) is not None:
                    edits.set((*path, "times"), 1, self.field)
            if self.by_iteration or not self.whole:
                self._by_iteration()
            else:
                self.ratio = self.epochs / self.official_length
                edits.set(("train_cfg", "max_epochs"), self.epochs, self.field)
        if not self.official or self.plan.asked("eval.every_epochs"):
            edits.set(("train_cfg", "val_interval"), self._interval(), "eval.every_epochs")
            edits.remove(("train_cfg", "dynamic_intervals"), "eval.every_epochs")
            edits.remove(("train_cfg", "val_begin"), "eval.every_epochs")

    def _by_iteration(self) -> None:
        edits = self.edits
        if self.by_iteration:
            self.ratio = self.iterations / self.official_length
        else:
            late = next(self._counted_in_epochs(), None)
            if late:
                raise UnsupportedError(
                    f"train.iterations: backend mmdet: {self.plan['model.config']} changes at an epoch ({late}), and "
                    f"{self.plan['train.iterations']} steps are no whole number of epochs of "
                    f"{self.plan['train.steps_per_epoch']}; nearest: train.epochs: {self.epochs}"
                )
            self.ratio = self.iterations / (self.official_length * self.per_epoch)
            edits.remove(("train_cfg", "max_epochs"), self.field)
            edits.set(("train_cfg", "type"), "IterBasedTrainLoop", self.field)
        edits.set(("train_cfg", "max_iters"), self.iterations, self.field)

    def _interval(self) -> int:
        """The evaluation interval in the loop's own unit; only at the end where the plan says 0."""
        every = int(self.plan["eval.every_epochs"])
        if "max_iters" in self.edits.get(("train_cfg",)):
            return every * self.per_epoch if every else max(1, self.iterations)
        return every or max(1, int(self.edits.get(("train_cfg", "max_epochs"))))

    def _counted_in_epochs(self) -> Iterator[str]:
        """What the config does at an epoch, which a loop by iteration never reaches."""
        yield from (hook["type"] for hook in self.edits.get(("custom_hooks",)) or [] if hook["type"] in _LATE_HOOKS)
        yield from ("initial_epoch" for _, node in walk(self.edits.get(("model",))) if "initial_epoch" in node)


def _wrappers(edits: Edits) -> list[Path]:
    found: list[Path] = []
    path: Path = ("train_dataloader", "dataset")
    while edits.get(path):
        found.append(path)
        path = (*path, "dataset")
    return found
