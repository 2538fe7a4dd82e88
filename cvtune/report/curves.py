"""The curves of a run's log, and those of several runs over one another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cvtune.report.charts import Chart, Series, line_chart, smooth
from cvtune.report.facts import KINDS, RunFacts
from cvtune.report.text import count, is_number

__all__ = ["comparison_curves", "run_curves"]

Points = list[tuple[float, float]]
MOST_LOSSES = 16


def run_curves(facts: RunFacts) -> list[Chart]:
    """Training loss, its parts and the learning rate by step; validation AP by epoch; none without data."""
    loss = _points(facts.steps, "loss")
    series = [Series("loss", loss)]
    if len(loss) > 40:
        series = [Series("loss", loss, faint=True), Series("loss", smooth(loss, max(5, len(loss) // 30)))]
    names: dict[str, None] = {}
    for record in facts.steps:
        names.update(dict.fromkeys(record["losses"] if isinstance(record.get("losses"), Mapping) else ()))
    parts = []
    for name in list(names)[:MOST_LOSSES]:
        points = _points(facts.steps, name, "losses")
        parts.append(Series(name, smooth(points, max(5, len(points) // 30)) if len(points) > 40 else points))
    charts = [
        line_chart("loss", "Training loss", series, "step", "loss"),
        line_chart("parts", "Parts of the loss", parts, "step", "loss"),
        line_chart("ap", "Validation AP", _ap_series(facts), "epoch", "AP × 100", mark=_best(facts)),
        line_chart("lr", "Learning rate", [Series("lr", _points(facts.steps, "lr"))], "step", "learning rate"),
        line_chart(
            "lr-trial", "Trial of learning rates", [Series("loss", _trial(facts))], "log10 of the learning rate", "loss"
        ),
    ]
    return [chart for chart in charts if chart]


def comparison_curves(runs: Sequence[RunFacts], names: Sequence[str]) -> list[Chart]:
    """AP by epoch of each kind, and the smoothed training loss by step, one line a run."""
    charts = []
    for kind, word in KINDS.items():
        series = [Series(name, _ap_points(facts, kind, "AP")) for facts, name in zip(runs, names, strict=True)]
        charts.append(line_chart(f"ap-{kind}", f"{word} AP on validation", series, "epoch", "AP × 100"))
    losses = []
    for facts, name in zip(runs, names, strict=True):
        points = _points(facts.steps, "loss")
        losses.append(Series(name, smooth(points, max(5, len(points) // 30)) if len(points) > 40 else points))
    charts.append(line_chart("losses", "Training loss", losses, "step", "loss"))
    return [chart for chart in charts if chart]


def _trial(facts: RunFacts) -> Points:
    """The loss of `--find-lr` over the logarithm of the rate."""
    pairs = [pair for pair in facts.lr_trial if isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair))]
    return [(math.log10(lr), loss) for lr, loss in pairs if lr > 0]


def _ap_series(facts: RunFacts) -> list[Series]:
    series = []
    for kind, word in KINDS.items():
        for metric in ("AP", "AP50"):
            series.append(Series(f"{word} {metric}", _ap_points(facts, kind, metric)))
    return series


def _ap_points(facts: RunFacts, kind: str, metric: str) -> Points:
    """Percent by epoch; by step where an evaluation names no epoch. COCO's -1 is no point."""
    points = []
    for record in facts.evals:
        scores = record["eval"].get(kind)
        value = scores.get(metric) if isinstance(scores, Mapping) else None
        x = record.get("epoch", record["step"])
        if is_number(value) and value >= 0 and is_number(x):
            points.append((float(x), 100.0 * value))
    return points


def _best(facts: RunFacts) -> tuple[float, str] | None:
    epoch = facts.best.get("epoch")
    return (float(epoch), f"best, epoch {count(epoch)}") if is_number(epoch) else None


def _points(records: Iterable[Mapping[str, Any]], key: str, group: str | None = None) -> Points:
    points = []
    for record in records:
        values = record.get(group) if group else record
        value = values.get(key) if isinstance(values, Mapping) else None
        if is_number(value):
            points.append((float(record["step"]), float(value)))
    return points
