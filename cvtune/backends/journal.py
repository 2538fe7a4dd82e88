"""log.jsonl and the trackers: one record a logged step, one an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cvtune.backends.loggers import Loggers
from cvtune.backends.sample_images import SampleImages
from cvtune.runs import RunDir, append_jsonl, read_jsonl, write_text

__all__ = ["Journal", "evaluation_record"]


class Journal:
    """Writes the run's log; the same numbers go to the trackers that the spec asks for."""

    def __init__(self, run: RunDir, loggers: Sequence[str], step: int) -> None:
        """Open the log; records after `step`, left by a killed run, are removed: they will be written again.

        Raises:
            MissingDependencyError: a package of `train.loggers` is not installed, or is broken.
            RunError: the log cannot be written, or a tracker cannot be opened.
        """
        self.run = run
        found = read_jsonl(run.log)
        logged = {kind: max((r["step"] for r in found if kind in r), default=0) for kind in ("loss", "eval")}
        self.loggers = Loggers(run, loggers, step, logged)
        records = [record for record in found if record["step"] <= step]
        self.evals = [record for record in records if "eval" in record]
        if run.log.exists():
            write_text(run.log, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        self.samples = SampleImages(run)
        self.samples.forget_after(step)

    def step(self, record: dict[str, Any]) -> None:
        """Write a training record: step, epoch, lr, loss, losses, seconds, memory_mb."""
        append_jsonl(self.run.log, record)
        scalars = {f"losses/{name}": value for name, value in record["losses"].items()}
        scalars |= {name: record[name] for name in ("loss", "lr", "epoch", "memory_mb")}
        self.loggers.send("loss", scalars, record["step"])

    def evaluation(self, record: dict[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
        """Write an evaluation record (eval, step, epoch, seconds, split), and draw some of what was scored.

        `results` are COCO results of all validation images, with canonical ids.
        """
        append_jsonl(self.run.log, record)
        self.evals.append(record)
        pictures = self.samples.draw(results, record["step"])
        scalars = {f"{kind}/{name}": value for kind, scores in record["eval"].items() for name, value in scores.items()}
        self.loggers.send("eval", scalars, record["step"], pictures)

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
        """Flush and close the trackers."""
        self.loggers.close()


def evaluation_record(scores: Mapping[str, Any], step: int, epoch: int, seconds: float) -> dict[str, Any]:
    """The log's record of an evaluation on the validation images: `Scorer.score`'s result without its classes."""
    kinds = {
        kind: {name: value for name, value in scores[kind].items() if name != "per_class"}
        for kind in ("bbox", "segm")
        if kind in scores
    }
    return {"eval": kinds, "step": step, "epoch": epoch, "seconds": round(seconds, 3), "split": "val"}
