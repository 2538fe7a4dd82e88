"""Trials before a run, early stopping and trackers, in one short run each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtune import verbs
from cvtune.runs import read_json, read_jsonl

pytestmark = pytest.mark.train

TINY = {"native": {"model": {"fpn": {"channels": 32}, "kwargs": {"box_batch_size_per_image": 32}}}}


def test_batch_size_and_lr_are_found_by_trial(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=33, val=2, size=64, seed=7)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "trial.yaml",
        data__image_size={"short": 64, "long": 64},
        data__batch_size="auto",
        train__iterations=2,
        **TINY,
    )
    run = verbs.train(spec, find_lr=True)
    values = read_json(run.plan)["values"]
    assert values["data.batch_size"]["value"] == 2  # 33 images leave 16 steps an epoch for 1 and 2
    assert "GiB" in values["data.batch_size"]["reason"]
    trial = read_json(run.lr_trial)
    rates = [lr for lr, _ in trial]
    assert len(trial) > 20
    assert rates == sorted(rates)
    lowest = min(trial, key=lambda pair: pair[1])[0]
    assert values["train.optimizer.lr"]["value"] == pytest.approx(lowest / 10, rel=0.01)
    assert "Trial of learning rates" in (run.path / "report.html").read_text(encoding="utf-8")


def test_early_stopping_and_trackers(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "shapes", train=4, val=2, size=64, seed=8)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "stops.yaml",
        data__image_size={"short": 64, "long": 64},
        train__epochs=20,
        train__log_every=1,
        train__optimizer={"name": "sgd", "lr": 1e-7},
        train__early_stopping={"metric": "bbox/AP", "patience": 2},
        train__loggers=["tensorboard", "mlflow", "wandb"],
        train__checkpoint={"keep": 2},
        eval__score_threshold=0.99,
        **TINY,
    )
    run = verbs.train(spec)
    evaluations = [record for record in read_jsonl(run.log) if "eval" in record]
    # The first evaluation is the best for good: two more, and it ends.
    assert [record["epoch"] for record in evaluations] == [1, 2, 3]
    steps = [record for record in read_jsonl(run.log) if "loss" in record]
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert {"loss", "lr", "bbox/AP"} <= set(events.Tags()["scalars"])
    logged = events.Scalars("loss")
    assert [event.step for event in logged] == [record["step"] for record in steps]
    assert [event.value for event in logged] == pytest.approx([record["loss"] for record in steps])
    assert set(events.Tags()["images"]) == {"samples/1", "samples/2"}
    number = read_json(run.loggers)["mlflow"]["run_id"]
    logged_too = next((run.path / "mlflow").glob(f"*/{number}/metrics/bbox/AP")).read_text().splitlines()
    assert [int(line.split()[2]) for line in logged_too] == [record["step"] for record in evaluations]
    (offline,) = (run.path / "wandb").glob("offline-run-*/*.wandb")
    assert b"bbox/AP" in offline.read_bytes()
    kept = sorted(path.name for path in run.checkpoints.iterdir())
    assert {"best.pth", "last.pth"} <= set(kept)
