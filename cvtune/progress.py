"""The progress bar of a run: reads log.jsonl, so that it works for every backend and every way to start a worker."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cvtune.runs import RunDir, read_jsonl

__all__ = ["RunProgress"]

# A terminal gets a bar; a file or a pipe gets a line now and then.
PLAIN_SECONDS = 15.0


class RunProgress:
    """Shows step, epoch, ETA, loss and memory as they appear in the log; call `poll` often."""

    def __init__(self, run: RunDir, total_steps: int, console: Console) -> None:
        """`total_steps` is the number of optimizer steps of the whole run."""
        self.run, self.total, self.console = run, total_steps, console
        self.size = -1
        self.seen_evals = -1
        self.last_line = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=total_steps, state="starting")

    def __enter__(self) -> RunProgress:
        """Start to draw."""
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw a last time."""
        self.poll()
        self.bar.stop()

    def poll(self) -> None:
        """Look at the log; redraw where it grew."""
        if not self.run.log.exists():
            return
        size = self.run.log.stat().st_size
        if size == self.size:
            return
        self.size = size
        records = read_jsonl(self.run.log)
        steps = [record for record in records if "loss" in record]
        evals = [record for record in records if "eval" in record]
        if self.seen_evals < 0:  # a resumed run does not repeat its old lines
            self.seen_evals = max(0, len(evals) - 1)
        for record in evals[self.seen_evals :]:
            self.console.print(f"epoch {record['epoch']}: {_scores(record['eval'])}", highlight=False)
        self.seen_evals = len(evals)
        if steps:
            self._show(steps[-1])

    def _show(self, record: dict[str, Any]) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in record["losses"].items())
        state = f"loss {record['loss']:.3f}  {losses}  lr {record['lr']:.2g}  {record['memory_mb']:.0f} MB"
        self.bar.update(self.task, completed=record["step"], description=f"epoch {record['epoch']}", state=state)
        if not self.console.is_terminal and time.monotonic() - self.last_line > PLAIN_SECONDS:
            self.last_line = time.monotonic()
            left = (self.total - record["step"]) * record["seconds"] / max(1, record["step"])
            line = (
                f"step {record['step']}/{self.total}  epoch {record['epoch']}  {state}  about {left / 60:.1f} min left"
            )
            self.console.print(line, highlight=False, soft_wrap=True)


def _scores(scores: dict[str, dict[str, float]]) -> str:
    parts = [f"{kind} AP {100 * v['AP']:.1f}, AP50 {100 * v['AP50']:.1f}" for kind, v in scores.items()]
    return "  ".join(parts)
