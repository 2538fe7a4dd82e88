"""Several seeds of one spec: runs of their own, and the spread of their scores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cvtune import seeds
from cvtune.errors import SpecError
from cvtune.evaluation.engines import NAMES
from cvtune.runs import RunDir, read_json, write_json
from cvtune.training import Start

SPEC = """
name: cells
backend: torchvision
model: {family: faster_rcnn, weights: none}
data: {train: {annotations: train.json}, split: {val: 0.2}}
train: {seed: 5}
"""


def metrics_of(value: float, masks: bool = False) -> dict[str, Any]:
    scores = dict.fromkeys(NAMES, value) | {"APs": -1.0}
    return {"split": "val", "bbox": scores} | ({"segm": scores} if masks else {})


def test_the_spread_of_scores() -> None:
    found = seeds.spread([metrics_of(0.5, masks=True), metrics_of(0.6), metrics_of(0.4)])
    assert set(found) == {"bbox"}  # one run has masks, the others have none
    assert found["bbox"]["AP"] == {
        "mean": pytest.approx(0.5),
        "sd": pytest.approx(statistics.stdev([0.5, 0.6, 0.4])),
        "min": 0.4,
        "max": 0.6,
        "values": [0.5, 0.6, 0.4],
    }
    assert found["bbox"]["APs"] == {"mean": None, "sd": None, "min": None, "max": None, "values": [None] * 3}


def test_each_seed_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "train.json").touch()
    called: list[tuple[Sequence[str], Start]] = []

    def training(path: Path, overrides: Sequence[str], start: Start, console: Console, runs: Path) -> RunDir:
        called.append((overrides, start))
        run = RunDir(runs / overrides[-2].removeprefix("name="))
        run.path.mkdir(parents=True)
        write_json(run.metrics, metrics_of(0.1 * len(called)))
        return run

    reported: list[tuple[list[str], Path]] = []

    def report(runs: Sequence[RunDir], out: Path) -> None:
        reported.append(([run.path.name for run in runs], out))

    monkeypatch.setattr(seeds, "run_training", training)
    monkeypatch.setattr(seeds, "write_report", report)
    console = Console(record=True, width=100, file=(tmp_path / "out").open("w"))
    out = seeds.train_seeds(
        tmp_path / "spec.yaml", 3, ["train.epochs=1"], Start(resume=True), console, tmp_path / "runs"
    )
    assert called == [
        (["train.epochs=1", f"name=cells-seed{seed}", f"train.seed={seed}"], Start(resume=True)) for seed in (5, 6, 7)
    ]
    summary = read_json(out)
    assert summary["seeds"] == [5, 6, 7]
    assert summary["runs"] == ["cells-seed5", "cells-seed6", "cells-seed7"]
    assert summary["bbox"]["AP50"]["mean"] == pytest.approx(0.2)
    assert reported == [(summary["runs"], tmp_path / "runs/cells-seeds.html")]
    assert "20.0 ± 10.0 (10.0 to 30.0)" in console.export_text()


@pytest.mark.parametrize("count", [0, 1, -3])
def test_one_seed_has_no_spread(count: int, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"--seeds: got {count}; 2 or more"):
        seeds.train_seeds(tmp_path / "spec.yaml", count, (), Start(), Console(quiet=True))
