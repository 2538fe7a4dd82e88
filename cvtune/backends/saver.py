"""When a run's checkpoints are due, and how they are kept: the same for every backend."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvtune.backends.checkpoints import write_checkpoint
from cvtune.runs import RunDir, read_json

__all__ = ["Saver"]

# Epochs of a second would spend their time on writing checkpoints: at the end of an epoch one is written only when
# training went on for this many times as long as the last one took. What the spec asks by iterations is always done.
SAVING_SHARE = 20


class Saver:
    """Writes checkpoints when they are due. Only the main process of several writes."""

    def __init__(self, run: RunDir, rules: Mapping[str, Any], is_main: bool = True) -> None:
        """`rules`: every_epochs, every_minutes, every_iterations, keep, as the spec's `train.checkpoint`."""
        self.run, self.rules, self.is_main = run, rules, is_main
        spec_hash = read_json(run.record).get("spec_hash") if run.record.exists() else None
        self.stamp = {"classes": run.class_map().to_json(), "spec_hash": spec_hash}
        self.written, self.cost = float("-inf"), 0.0
        self.began = time.monotonic()

    def is_due(self, step: int, epoch_ends: bool, epoch: int) -> bool:
        """Whether last.pth is to be written after this step; `epoch` counts from 1."""
        rules = self.rules
        rested = time.monotonic() - self.written >= SAVING_SHARE * self.cost
        due = epoch_ends and epoch % int(rules["every_epochs"]) == 0 and rested
        due = due or bool(rules["every_iterations"] and step % int(rules["every_iterations"]) == 0)
        minutes = (time.monotonic() - max(self.written, self.began)) / 60
        return due or bool(rules["every_minutes"] and minutes >= float(rules["every_minutes"]))

    def save(self, path: Path, content: Mapping[str, Any], whole: bool) -> None:
        """Write `content` with the class lock; `whole` checkpoints hold what a resume needs."""
        if not self.is_main:
            return
        start = time.monotonic()
        write_checkpoint(path, {"cvtune": self.stamp, **content})
        if whole:
            self.written = time.monotonic()
            self.cost = self.written - start

    def keep(self, epoch: int) -> None:
        """Keep a copy of last.pth under its epoch's name, and remove copies beyond `train.checkpoint.keep`."""
        keep = int(self.rules["keep"])
        if not keep or not self.is_main:
            return
        copy = self.run.checkpoints / f"epoch_{epoch:04d}.pth"
        copy.unlink(missing_ok=True)
        copy.hardlink_to(self.run.last)
        for old in sorted(self.run.checkpoints.glob("epoch_*.pth"))[:-keep]:
            old.unlink()
