"""log.jsonl and the loggers: one record a logged step, one an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cvtune.backends.sample_images import SampleImages
from cvtune.runs import RunDir, append_jsonl, read_jsonl, write_text

__all__ = ["Journal", "evaluation_record"]


class Journal:
    """Writes the run's log; the same numbers go to TensorBoard where the spec asks for it."""

    def __init__(self, run: RunDir, loggers: list[str], step: int) -> None:
        """Open the log; records after `step`, left by a killed run, are removed: they will be written again."""
        self.run = run
        records = [record for record in read_jsonl(run.log) if record["step"] <= step]
        self.evals = [record for record in records if "eval" in record]
        if run.log.exists():
            write_text(run.log, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        self.samples = SampleImages(run)
        self.samples.forget_after(step)
        self.board: Any = None
        if "tensorboard" in loggers:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def step(self, record: dict[str, Any]) -> None:
        """Write a training record: step, epoch, lr, loss, losses, seconds, memory_mb."""
        append_jsonl(self.run.log, record)
        if self.board:
            scalars = {f"loss/{name}": value for name, value in record["losses"].items()}
            self._scalars({"loss": record["loss"], "lr": record["lr"], **scalars}, record["step"])

    def evaluation(self, record: dict[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
        """Write an evaluation record (eval, step, epoch, seconds, split), and draw some of what was scored.

        `results` are COCO results of all validation images, with canonical ids.
        """
        append_jsonl(self.run.log, record)
        self.evals.append(record)
        self.samples.draw(results, record["step"])
        if self.board:
            for kind, scores in record["eval"].items():
                self._scalars({f"{kind}/{name}": value for name, value in scores.items()}, record["step"])

    def best(self, metric: str) -> tuple[float, int]:
        """The best value of `metric` so far and how many evaluations ago it was; (-inf, 0) before the first."""
        kind, name = metric.split("/")
        values = [record["eval"].get(kind, {}).get(name, -1.0) for record in self.evals]
        if not values:
            return float("-inf"), 0
        best = max(values)
        return best, len(values) - 1 - values.index(best)

    def out_of_patience(self, stopping: Mapping[str, Any]) -> bool:
        """Whether `stopping["metric"]` has not risen for `stopping["patience"]` evaluations."""
        return self.best(stopping["metric"])[1] >= int(stopping["patience"])

    def close(self) -> None:
        """Flush the loggers."""
        if self.board:
            self.board.close()

    def _scalars(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            self.board.add_scalar(name, value, step)


def evaluation_record(scores: Mapping[str, Any], step: int, epoch: int, seconds: float) -> dict[str, Any]:
    """The log's record of an evaluation on the validation images: `Scorer.score`'s result without its classes."""
    kinds = {
        kind: {name: value for name, value in scores[kind].items() if name != "per_class"}
        for kind in ("bbox", "segm")
        if kind in scores
    }
    return {"eval": kinds, "step": step, "epoch": epoch, "seconds": round(seconds, 3), "split": "val"}
