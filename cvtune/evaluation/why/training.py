"""What the files of a run say about its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtune.errors import CvtuneError
from cvtune.evaluation.why.cause import Cause
from cvtune.runs import RunDir, read_json, read_jsonl

__all__ = ["RunRule", "Training", "flat", "mapping", "number", "read_object", "read_training", "records"]


@dataclass(frozen=True, eq=False)
class Training:
    """What a run's files say; what is missing or broken is empty.

    Attributes:
        plan: key -> value. official: the recipe's values.
        steps: the log's training records in order. evals: (epoch or step, AP50, AP) of its evaluations.
        record: run.json. error: its error, or the worker's.
        weights: weights.txt. config: the native file's text.
        ap50, ap: of the best reading of the predictions; None where there are none to score.
    """

    run: RunDir
    split: str
    plan: Mapping[str, Any]
    official: Mapping[str, Any]
    data: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]
    evals: Sequence[tuple[float, float, float]]
    record: Mapping[str, Any]
    error: str
    weights: str
    config: str
    ap50: float | None
    ap: float | None

    @property
    def losses(self) -> list[float]:
        """The logged losses; what is not a number is NaN."""
        return [float(v) if isinstance(v := r.get("loss"), int | float) else math.nan for r in self.steps]

    @property
    def weak(self) -> bool:
        """Whether the score leaves something to explain."""
        return self.ap50 is None or self.ap50 < 0.4


RunRule = Callable[[Training], Cause | None]


def read_training(run: RunDir, split: str, ap50: float | None, ap: float | None) -> Training:
    """Read a run's files; never fails for a file that is missing or broken."""
    plan = read_object(run.plan)
    values = {k: v.get("value") for k, v in mapping(plan.get("values")).items() if isinstance(v, Mapping)}
    recipe = read_object(run.recipe) or mapping(plan.get("recipe"))
    record = read_object(run.record)
    log = read_jsonl(run.log)
    evals: list[tuple[float, float, float]] = []
    for entry in log:
        scores = mapping(mapping(entry.get("eval")).get("bbox"))
        if isinstance(scores.get("AP50"), int | float):
            at = number(entry.get("epoch", entry.get("step")))
            evals.append(
                (len(evals) if at is None else at, float(scores["AP50"]), float(scores.get("AP", scores["AP50"])))
            )
    error = record.get("error") or read_object(run.error).get("message") or ""
    return Training(
        run,
        split,
        values,
        mapping(recipe.get("values")),
        mapping(plan.get("data")),
        [entry for entry in log if "eval" not in entry and "loss" in entry],
        evals,
        record,
        str(error),
        text(run.path / "weights.txt"),
        text(run.config),
        ap50,
        ap,
    )


def read_object(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file; empty where there is none or it cannot be read."""
    try:
        return mapping(read_json(path)) if path.exists() else {}
    except (CvtuneError, OSError):
        return {}


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def number(value: Any) -> float | None:
    """`value` if it is a number, else None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def flat(value: Any) -> list[float]:
    """The numbers of a list of any depth."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)]
    return [x for item in value for x in flat(item)] if isinstance(value, list | tuple) else []


def records(path: Path) -> list[Mapping[str, Any]]:
    """The objects of a list in a JSON file; none where it cannot be read."""
    try:
        content = read_json(path) if path.exists() else []
    except (CvtuneError, OSError):
        return []
    return [entry for entry in content if isinstance(entry, Mapping)] if isinstance(content, list) else []
