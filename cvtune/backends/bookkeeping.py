"""What a run does between the steps of its training, whatever the framework: log, score, keep checkpoints, stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cvtune.backends.fabric import peak_memory_mb
from cvtune.backends.journal import Journal, evaluation_record
from cvtune.backends.saver import Saver
from cvtune.backends.stopping import StopRequest
from cvtune.errors import RunError
from cvtune.evaluation import Scorer
from cvtune.evaluation.engines import IouType
from cvtune.runs import RunDir, write_text

__all__ = ["Bookkeeper", "Moment", "Rules", "loss_not_finite", "tell_weights"]


@dataclass(frozen=True)
class Rules:
    """What the spec's `train` section asks for between the steps."""

    log_every: int
    loggers: tuple[str, ...]
    best: str
    early_stopping: Mapping[str, Any] | None
    checkpoint: Mapping[str, Any]

    @classmethod
    def of_train(cls, train: Mapping[str, Any]) -> Rules:
        """The rules of a `train` section, nested as in a spec."""
        return cls(
            log_every=int(train["log_every"]),
            loggers=tuple(train["loggers"] or ()),
            best=str(train["checkpoint"]["best"]),
            early_stopping=train["early_stopping"],
            checkpoint=train["checkpoint"],
        )

    @classmethod
    def of_plan(cls, plan: Mapping[str, Any]) -> Rules:
        """The rules of a plan's values, whose keys are dotted."""
        prefix = "train.checkpoint."
        checkpoint = {key.removeprefix(prefix): value for key, value in plan.items() if key.startswith(prefix)}
        keys = ("log_every", "loggers", "early_stopping")
        return cls.of_train({**{key: plan[f"train.{key}"] for key in keys}, "checkpoint": checkpoint})


@dataclass(frozen=True)
class Moment:
    """Where a run stands after a step: steps done, the epoch they fill from 1, whether it ends here, and the run."""

    step: int
    epoch: int
    epoch_ends: bool
    last: bool


class Bookkeeper:
    """One for each process of a run; files are written by the main one alone.

    A loop calls `begin` before its first step, and after each one `log` and `after_step`, which says when to stop.
    """

    def __init__(
        self,
        run: RunDir,
        rules: Rules,
        iou_types: Sequence[IouType],
        step: int = 0,
        is_main: bool = True,
        any_process: Callable[[bool], bool] = bool,
    ) -> None:
        """Go on after `step`; `any_process` tells every process whether a flag is up on any of them.

        Raises:
            MissingDependencyError: a package of `train.loggers` is not installed, or is broken.
            RunError: the log cannot be written, or a tracker cannot be opened.
        """
        self.run, self.rules, self.any_process = run, rules, any_process
        self.journal = Journal(run, rules.loggers, step) if is_main else None
        self.saver = Saver(run, rules.checkpoint, is_main)
        self.scorer = Scorer(run.data("val"), iou_types=iou_types) if is_main and run.data("val").exists() else None
        self.started = time.monotonic()
        self.stop: StopRequest | None = None

    def begin(self, seconds: float = 0.0) -> None:
        """Listen for requests to stop; `seconds` is what the run took before it was killed."""
        self.started = time.monotonic() - seconds
        self.stop = StopRequest(self.run)

    def is_over(self) -> bool:
        """Whether early stopping has ended the run already: one that was killed while it was scored trains no more."""
        return self.any_process(self._is_out_of_patience())

    @property
    def seconds(self) -> float:
        """Time since the run began, without what lay between a kill and a resume."""
        return time.monotonic() - self.started

    def log(self, moment: Moment, lr: float, losses: Mapping[str, float], device: torch.device) -> None:
        """Write the losses of a step, where one is due: their sum is `loss`."""
        due = moment.step % self.rules.log_every == 0 or moment.step == 1 or moment.last
        if self.journal and due:
            self.journal.step(
                {
                    "step": moment.step,
                    "epoch": moment.epoch,
                    "lr": lr,
                    "loss": sum(losses.values()),
                    "losses": dict(losses),
                    "seconds": round(self.seconds, 3),
                    "memory_mb": round(peak_memory_mb(device), 1),
                }
            )

    def after_step(
        self,
        moment: Moment,
        evaluation_is_due: bool,
        evaluate: Callable[[], object],
        content: Callable[[bool], Mapping[str, Any]],
    ) -> bool:
        """Score and save what is due after a step; whether to stop, the same on every process.

        Args:
            moment: where the run stands.
            evaluation_is_due: the end of the run and a request to stop are evaluated besides.
            evaluate: predicts the validation images, over all processes, and hands the results to `score`.
            content: what a checkpoint holds: all that a resume needs (True), or what predicts (False).
        """
        stopped = self.any_process(bool(self.stop and self.stop.asked))
        if evaluation_is_due or moment.last or stopped:
            before = self._best()
            evaluate()
            if self._best() > before:
                best = {"metric": self.rules.best, "value": self._best(), "step": moment.step, "epoch": moment.epoch}
                self.run.update_record(best=best)
                self.saver.save(self.run.best, content(False), whole=False)
            stopped = self.any_process(stopped or self._is_out_of_patience())
        if moment.last or stopped or self.saver.is_due(moment.step, moment.epoch_ends, moment.epoch):
            self.saver.save(self.run.last, content(True), whole=True)
            if moment.epoch_ends:
                self.saver.keep(moment.epoch)
        return stopped

    def score(self, results: Sequence[Mapping[str, Any]], step: int, epoch: int) -> Mapping[str, Any]:
        """Score COCO results of all validation images (canonical ids) and write them down; {} where none are kept."""
        if not self.scorer or not self.journal:
            return {}
        scores = self.scorer.score(results)
        self.journal.evaluation(evaluation_record(scores, step, epoch, self.seconds), results)
        return scores

    def close(self, step: int) -> None:
        """Close the log after `step` steps."""
        if self.journal:
            self.journal.close()
            self.run.update_record(seconds=round(self.seconds, 1), steps=step)

    def _best(self) -> float:
        return self.journal.best(self.rules.best)[0] if self.journal else float("-inf")

    def _is_out_of_patience(self) -> bool:
        stopping = self.rules.early_stopping
        return bool(self.journal and stopping and self.journal.out_of_patience(stopping))


def loss_not_finite(run: RunDir, step: int, losses: Mapping[str, float] | str, images: Iterable[Any]) -> RunError:
    """The error of a step whose loss is not finite; `step` counts from 0, `images` are the files of its batch."""
    parts = losses if isinstance(losses, str) else ", ".join(f"{name} {value:g}" for name, value in losses.items())
    good = run.last if run.last.exists() else "none was written yet"
    return RunError(
        f"step {step + 1}: a loss is not finite: {parts}; images of this batch: {', '.join(map(str, images))}; last "
        f"good checkpoint: {good}; lower train.optimizer.lr, set train.gradient_clip, or use train.precision: fp32"
    )


def tell_weights(run: RunDir, lines: Iterable[str], is_main: bool) -> None:
    """Say which starting weights were loaded, on the terminal and in weights.txt."""
    if is_main:
        text = "\n".join(lines)
        print(text, flush=True)
        write_text(run.path / "weights.txt", text + "\n")
