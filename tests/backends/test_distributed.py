"""Two processes on a CPU: the same classes, the same number of steps, every validation image scored once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtune import verbs
from cvtune.runs import read_json, read_jsonl

pytestmark = pytest.mark.train


def test_two_processes_train_and_score_as_one(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_shapes(tmp_path / "shapes", train=10, val=5, size=64, seed=5)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "ddp.yaml",
        data__image_size={"short": 64, "long": 64},
        data__batch_size=4,
        train__epochs=2,
        train__log_every=1,
        train__ema=0.9,
        eval__every_epochs=1,
        eval__score_threshold=0.0,
        run={"device": "cpu", "devices": 2},
        native={"model": {"fpn": {"channels": 32}, "kwargs": {"box_batch_size_per_image": 32}}},
    )
    run = verbs.train(spec)
    steps = [record["step"] for record in read_jsonl(run.log) if "loss" in record]
    assert steps == list(range(1, 7))  # ceil(10 / 4) steps an epoch, two epochs
    evaluations = [record for record in read_jsonl(run.log) if "eval" in record]
    assert [record["step"] for record in evaluations] == [3, 6]
    # The worker scored the images in two halves; one process that predicts them all must give the same figures.
    metrics = read_json(run.metrics)
    best = read_json(run.record)["best"]
    assert metrics["images"] == 5
    assert metrics["bbox"]["AP"] == pytest.approx(best["value"], abs=1e-6)
    assert read_json(run.classes)["names"] == ["circle", "square", "triangle"]
