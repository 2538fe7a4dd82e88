"""A killed run that resumes is the uninterrupted run: same steps, same losses, same scores."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtune.runs import RunDir, read_json, read_jsonl

pytestmark = pytest.mark.train

STEPS = 30


def command(spec: Path, name: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", "cvtune", "train", str(spec), "-s", f"name={name}", *flags]


def losses(run: RunDir) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in read_jsonl(run.log) if "loss" in record]


def kill_at(arguments: list[str], run: RunDir, step: int) -> None:
    """Start the command and kill it, worker and all, once the log has reached `step`."""
    process = subprocess.Popen(arguments, cwd=run.path.parent.parent, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        steps = losses(run)
        if steps and steps[-1][0] >= step:
            break
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("workers", [0, 2])
def test_five_kills_change_nothing(
    workers: int, tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path]
) -> None:
    make_shapes(tmp_path / "shapes", train=10, val=2, size=64, seed=2)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "resume.yaml",
        data__image_size={"short": [48, 64], "long": 64},
        data__augment=[{"HorizontalFlip": {"p": 0.5}}, {"RandomBrightnessContrast": {"p": 0.5}}],
        data__workers=workers,
        train__epochs=STEPS // 5,
        train__ema=0.9,
        train__log_every=1,
        train__checkpoint={"every_iterations": 3},
        train__optimizer={"name": "sgd", "lr": 0.005},
        eval__every_epochs=3,
        native={"model": {"fpn": {"channels": 32}, "kwargs": {"box_batch_size_per_image": 32}}},
    )
    whole, killed = RunDir(tmp_path / "runs/whole"), RunDir(tmp_path / "runs/killed")
    subprocess.run(command(spec, "whole"), cwd=tmp_path, check=True)
    assert [step for step, _ in losses(whole)] == list(range(1, STEPS + 1))

    at = sorted(random.Random(workers).sample(range(2, STEPS - 1), 5))
    for step in at:
        flags = ["--resume"] if killed.log.exists() else []
        kill_at(command(spec, "killed", *flags), killed, step)
    subprocess.run(command(spec, "killed", "--resume"), cwd=tmp_path, check=True)

    assert losses(killed) == losses(whole), f"killed at {at}"
    evaluations = [[r["eval"] for r in read_jsonl(run.log) if "eval" in r] for run in (whole, killed)]
    assert evaluations[0] == evaluations[1]
    assert len(evaluations[0]) == 2
    assert read_json(whole.metrics)["bbox"] == read_json(killed.metrics)["bbox"]
    assert read_json(killed.record)["state"] == "done"


def test_a_stop_file_ends_a_run_cleanly_and_it_can_go_on(
    tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path]
) -> None:
    make_shapes(tmp_path / "shapes", train=10, val=2, size=64, seed=2)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "stop.yaml",
        data__image_size={"short": 64, "long": 64},
        train__epochs=STEPS // 5,
        train__log_every=1,
        native={"model": {"fpn": {"channels": 32}}},
    )
    run = RunDir(tmp_path / "runs/stop")
    process = subprocess.Popen(command(spec, "stop"), cwd=tmp_path)
    while not losses(run):
        assert process.poll() is None
        time.sleep(0.02)
    run.stop.touch()
    assert process.wait(timeout=120) == 0
    stopped_at = losses(run)[-1][0]
    assert stopped_at < STEPS
    assert read_json(run.record)["state"] == "stopped"
    assert run.metrics.exists()
    subprocess.run(command(spec, "stop", "--resume"), cwd=tmp_path, check=True)
    assert [step for step, _ in losses(run)][-1] == STEPS
    assert read_json(run.record)["state"] == "done"
