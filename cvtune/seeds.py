"""Several trainings of one spec that differ in the seed alone: how far a score is luck."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cvtune.errors import SpecError
from cvtune.evaluation.engines import NAMES
from cvtune.evaluation.table import KINDS
from cvtune.report import write_report
from cvtune.runs import RunDir, read_json, write_json
from cvtune.spec_file import load_spec
from cvtune.training import Start, run_training

__all__ = ["spread", "train_seeds"]


def train_seeds(
    spec_path: Path,
    count: int,
    overrides: Sequence[str],
    start: Start,
    console: Console,
    runs: Path = Path("runs"),
) -> Path:
    """Train with `count` seeds, from the spec's own on; each is a run of its own, NAME-seed0, NAME-seed1, ...

    Args:
        spec_path, overrides, start, console, runs: as for one run; to resume goes on with the run that was stopped,
            leaves those that are done, and starts those that were not begun.
        count: 2 or more.

    Returns:
        runs/NAME-seeds.json: the seeds, the split that was scored, and of each score mean, sample standard deviation,
        least, most and values (0..1; None where a run has no such score). The report of the runs side by side lies
        beside it.

    Raises:
        SpecError: `count` is below 2, or as for one run.
        CvtuneError: whatever a run reports.
    """
    if count < 2:
        raise SpecError(f"--seeds: got {count}; 2 or more are needed for a spread")
    spec = load_spec(spec_path, overrides)
    seeds = list(range(spec.train.seed, spec.train.seed + count))
    done: list[RunDir] = []
    for seed in seeds:
        name = f"{spec.name}-seed{seed}"
        console.rule(f"seed {seed}: {runs / name}")
        own = [*overrides, f"name={name}", f"train.seed={seed}"]
        done.append(run_training(spec_path, own, start, console, runs))
    metrics = [read_json(run.metrics) for run in done]
    summary = {"seeds": seeds, "runs": [run.path.name for run in done], "split": metrics[0].get("split")}
    summary |= spread(metrics)
    out = runs / f"{spec.name}-seeds.json"
    write_json(out, summary)
    write_report(done, runs / f"{spec.name}-seeds.html")
    console.print(_table(summary))
    return out


def spread(metrics: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean and spread of each of COCO's numbers over several metrics.json.

    Returns:
        bbox, and segm where every run has it -> name -> {"mean", "sd" (sample standard deviation, n - 1), "min",
        "max", "values"}, all in 0..1; None in place of numbers where a run has no ground truth for it.
    """
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        if not all(kind in record for record in metrics):
            continue
        found[kind] = {}
        for name in NAMES:
            values = [float(record[kind][name]) for record in metrics]
            there = all(value >= 0 for value in values)
            found[kind][name] = {
                "mean": statistics.mean(values) if there else None,
                "sd": statistics.stdev(values) if there else None,
                "min": min(values) if there else None,
                "max": max(values) if there else None,
                "values": [value if value >= 0 else None for value in values],
            }
    return found


def _table(summary: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, title=f"{summary['split']}, {len(summary['seeds'])} seeds: mean, deviation, range")
    table.add_column("x100")
    kinds = [kind for kind in KINDS if kind in summary]
    for kind in kinds:
        table.add_column(KINDS[kind], justify="right")
    for name in NAMES:
        table.add_row(name, *(_shown(summary[kind][name]) for kind in kinds))
    return table


def _shown(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    mean, deviation, low, high = (100 * figure[key] for key in ("mean", "sd", "min", "max"))
    return f"{mean:.1f} ± {deviation:.1f} ({low:.1f} to {high:.1f})"
