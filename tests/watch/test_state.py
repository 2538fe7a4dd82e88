"""What the page is told of a run, in every state that a run can be in."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cvtune.runs import RunDir, append_jsonl, write_json, write_text
from cvtune.watch.log_reader import LogReader
from cvtune.watch.state import MOST_POINTS, read_state

NOBODY = "99999999"  # above every limit of process ids


def step(number: int, **more: Any) -> dict[str, Any]:
    losses = {"loss_box": 0.25, "loss_<b>": 0.5}
    record = {"step": number, "epoch": 1, "lr": 0.01, "loss": 0.75, "losses": losses, "seconds": 2.0 * number}
    return {**record, "memory_mb": 900.0, **more}


def state_of(run: RunDir, later: float = 0.0) -> dict[str, Any]:
    return read_state(run, LogReader(run.log).poll(), time.time() + later)


@pytest.mark.parametrize(
    ("record", "lock", "later", "steps", "expected"),
    [
        (None, None, 0, 0, "waiting"),
        ({"name": "x"}, "me", 0, 0, "planned"),
        ({"state": "planned"}, "me", 900, 0, "planned"),
        ({"state": "training"}, "me", 900, 0, "training"),
        ({"state": "training"}, "me", 900, 30, "training"),
        ({"state": "training", "steps": 30}, "me", 0, 30, "scoring"),
        ({"state": "training", "steps": 20}, "me", 0, 30, "training"),
        ({"state": "training"}, "nobody", 5, 30, "training"),
        ({"state": "training"}, "nobody", 900, 30, "killed"),
        ({"state": "training"}, "no number", 900, 30, "killed"),
        ({"state": "planned"}, None, 900, 0, "killed"),
        ({"state": "stopped"}, "nobody", 900, 30, "stopped"),
        ({"state": "failed", "error": "step 3: <b>a loss</b> is not finite"}, "nobody", 900, 3, "failed"),
        ({"state": "done"}, None, 900, 30, "done"),
    ],
)
def test_every_state(
    tmp_path: Path, record: dict[str, Any] | None, lock: str | None, later: float, steps: int, expected: str
) -> None:
    run = RunDir(tmp_path / "a run")
    if record is not None:
        write_json(run.record, record)
    if lock:
        write_text(run.path / ".lock", {"me": str(os.getpid()), "nobody": NOBODY}.get(lock, lock))
    for number in range(10, steps + 1, 10):
        append_jsonl(run.log, step(number))
    state = state_of(run, later)
    assert state["state"] == expected
    assert state["error"] == ("step 3: <b>a loss</b> is not finite" if expected == "failed" else "")
    assert state["name"] == ("x" if record and "name" in record else "a run")
    json.dumps(state, allow_nan=False)


def test_progress_curves_scores_and_samples(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    best = {"metric": "bbox/AP", "value": 0.4, "step": 20, "epoch": 1}
    write_json(run.record, {"state": "training", "backend": "torchvision", "device": "cpu", "best": best})
    write_json(run.plan, {"values": {"train.iterations": {"value": 100}, "train.epochs": {"value": 4}}})
    for number in (1, 10, 20, 30):
        append_jsonl(run.log, step(number))
    append_jsonl(run.log, {"eval": {"bbox": {"AP": 0.4, "APs": -1.0}}, "step": 20, "epoch": 1})
    write_json(run.samples / "images.json", [{"name": "<i>.jpg", "objects": 2}])
    for number in (20, 7, 1_000_000):
        write_text(run.samples_at(number) / "1.jpg", "")
    write_text(run.samples / "step-000020" / ".1.jpg.part", "")
    write_text(run.samples / "step-mine" / "1.jpg", "")
    (run.samples / "step-000099").mkdir()
    state = state_of(run)
    assert (state["step"], state["total"], state["epoch"], state["epochs"]) == (30, 100, 1, 4)
    assert (state["seconds_per_step"], state["seconds_left"], state["memory_mb"]) == (2.0, 140.0, 900.0)
    assert state["curves"]["step"] == [1, 10, 20, 30]
    assert state["curves"]["losses"] == {"loss_box": [0.25] * 4, "loss_<b>": [0.5] * 4}
    assert state["evals"] == [{"step": 20, "epoch": 1, "scores": {"bbox/AP": 0.4, "bbox/APs": -1.0}}]
    assert state["samples"]["images"] == [{"name": "<i>.jpg", "objects": 2}]
    assert state["samples"]["steps"] == [{"step": n, "files": [1]} for n in (7, 20, 1_000_000)]
    assert (state["best"], state["facts"]) == (best, ["torchvision", "cpu"])


def test_a_long_run_is_thinned_and_keeps_its_end(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.log.write_text("".join(json.dumps(step(number)) + "\n" for number in range(1, 5001)))
    steps = state_of(run)["curves"]["step"]
    assert len(steps) <= MOST_POINTS
    assert steps[-1] == 5000


@pytest.mark.parametrize("name", ["run.json", "plan.json", "log.jsonl", "samples/images.json"])
@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"x"', '{"values": 3, "state": 5, "step": "x", "best": 1}'])
def test_broken_files_are_as_good_as_none(tmp_path: Path, name: str, text: str) -> None:
    write_text(tmp_path / name, text)
    json.dumps(state_of(RunDir(tmp_path)))


def test_the_log_is_read_on_and_anew_where_it_was_replaced(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    log = LogReader(run.log)
    assert log.poll() == []
    append_jsonl(run.log, step(1))
    with open(run.log, "a") as file:
        file.write('{"step": 2, "lo')
    assert [r["step"] for r in log.poll()] == [1]
    with open(run.log, "a") as file:
        file.write('ss": 1.0}\nno json\n[3]\n')
    assert [r["step"] for r in log.poll()] == [1, 2]
    write_text(run.log, json.dumps(step(1)) + "\n")  # what a resume does
    append_jsonl(run.log, step(3))
    assert [r["step"] for r in log.poll()] == [1, 3]
    run.log.unlink()
    assert log.poll() == []
