"""What happens between two steps: the log, the scores, the checkpoints, and when a run stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvtune.backends.bookkeeping import Bookkeeper, Moment, Rules, loss_not_finite
from cvtune.classes import ClassMap
from cvtune.runs import RunDir, append_jsonl, read_json, read_jsonl, write_json

CHECKPOINT = {"every_epochs": 1, "every_minutes": None, "every_iterations": None, "keep": 0, "best": "bbox/AP"}
CPU = torch.device("cpu")
HIT = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 20], "score": 0.9}
MISS = HIT | {"bbox": [60, 30, 30, 20]}
NEAR = HIT | {"bbox": [12, 10, 30, 20]}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDir]:
    """A run directory with one validation image that holds one object; handlers of signals are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    directory = RunDir(tmp_path / "run")
    path = tmp_path / "image.png"
    Image.fromarray(np.full((60, 100, 3), 255, np.uint8)).save(path)
    images = [{"id": 1, "file_name": str(path), "width": 100, "height": 60}]
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 20], "area": 600, "iscrowd": 0}
    categories = [{"id": 1, "name": "cat"}]
    write_json(directory.data("val"), {"images": images, "annotations": [one], "categories": categories})
    write_json(directory.classes, ClassMap(("cat",), (7,)).to_json())
    yield directory
    for number, handler in before.items():
        signal.signal(number, handler)


def rules(**changes: Any) -> Rules:
    train = {"log_every": 2, "loggers": None, "early_stopping": None, "checkpoint": CHECKPOINT, **changes}
    return Rules.of_train(train)


def drive(keeper: Bookkeeper, found: list[list[dict[str, Any]]], steps_per_epoch: int = 1) -> int:
    """Train for as many epochs as there are lists of results; returns the steps that were made."""
    keeper.begin()
    total = len(found) * steps_per_epoch
    for step in range(1, total + 1):
        epoch = -(-step // steps_per_epoch)
        moment = Moment(step, epoch, epoch_ends=step % steps_per_epoch == 0, last=step == total)
        keeper.log(moment, 0.1, {"a": 1.0, "b": 0.5}, CPU)
        if keeper.after_step(
            moment,
            moment.epoch_ends,
            lambda step=step, epoch=epoch: keeper.score(found[epoch - 1], step, epoch),
            lambda whole, step=step: {"step": step, "whole": whole},
        ):
            break
    keeper.close(step)
    return step


def test_the_plan_s_dotted_keys_are_the_same_rules() -> None:
    plan: dict[str, Any] = {"train.log_every": 2, "train.loggers": None, "train.early_stopping": None}
    plan |= {f"train.checkpoint.{key}": value for key, value in CHECKPOINT.items()}
    assert Rules.of_plan(plan) == rules()


def test_steps_are_logged_where_due_and_evaluations_always(run: RunDir) -> None:
    assert drive(Bookkeeper(run, rules(), ["bbox"]), [[MISS], [NEAR]], steps_per_epoch=3) == 6
    records = read_jsonl(run.log)
    assert [record["step"] for record in records if "loss" in record] == [1, 2, 4, 6]
    first = next(record for record in records if "loss" in record)
    assert (first["loss"], first["losses"], first["lr"], first["epoch"]) == (1.5, {"a": 1.0, "b": 0.5}, 0.1, 1)
    assert [(record["step"], record["epoch"]) for record in records if "eval" in record] == [(3, 1), (6, 2)]
    assert read_json(run.record)["steps"] == 6


def test_the_best_checkpoint_is_that_of_the_best_score(run: RunDir) -> None:
    drive(Bookkeeper(run, rules(), ["bbox"]), [[MISS], [HIT], [NEAR]])
    best = torch.load(run.best, weights_only=True)
    last = torch.load(run.last, weights_only=True)
    assert (best["step"], best["whole"], last["step"], last["whole"]) == (2, False, 3, True)
    assert best["cvtune"]["classes"] == ClassMap(("cat",), (7,)).to_json()
    expected = {"metric": "bbox/AP", "value": pytest.approx(1.0), "step": 2, "epoch": 2}
    assert read_json(run.record)["best"] == expected


def test_early_stopping_counts_evaluations_without_a_rise(run: RunDir) -> None:
    patient = rules(early_stopping={"metric": "bbox/AP", "patience": 2})
    assert drive(Bookkeeper(run, patient, ["bbox"]), [[NEAR], [HIT], [NEAR], [MISS], [HIT]]) == 4
    assert torch.load(run.last, weights_only=True)["step"] == 4


def test_a_run_that_early_stopping_ended_is_over_for_a_resume_too(run: RunDir) -> None:
    patient = rules(early_stopping={"metric": "bbox/AP", "patience": 2})
    keeper = Bookkeeper(run, patient, ["bbox"])
    assert not keeper.is_over()
    assert drive(keeper, [[HIT], [NEAR], [MISS], [HIT]]) == 3
    assert Bookkeeper(run, patient, ["bbox"], step=3).is_over()
    assert not Bookkeeper(run, patient, ["bbox"], step=2).is_over()  # an older checkpoint goes on


def test_a_request_to_stop_is_scored_and_saved_first(run: RunDir) -> None:
    run.path.mkdir(exist_ok=True)
    run.stop.touch()
    assert drive(Bookkeeper(run, rules(), ["bbox"]), [[HIT]] * 5, steps_per_epoch=4) == 1
    assert torch.load(run.last, weights_only=True)["step"] == 1
    assert [record["step"] for record in read_jsonl(run.log) if "eval" in record] == [1]


def test_only_the_main_process_writes_and_all_stop_together(run: RunDir) -> None:
    flags: list[bool] = []

    def any_process(flag: bool) -> bool:
        flags.append(flag)
        return len(flags) > 2  # another process asks after the first step

    keeper = Bookkeeper(run, rules(), ["bbox"], is_main=False, any_process=any_process)
    assert drive(keeper, [[HIT]] * 5) == 2
    assert flags == [False, False, False, True]
    assert not run.log.exists()
    assert not run.checkpoints.exists()


def test_a_resumed_run_forgets_what_was_logged_after_its_checkpoint(run: RunDir) -> None:
    record = {"epoch": 1, "lr": 0.1, "loss": 1.0, "losses": {}, "seconds": 1.0, "memory_mb": 1.0}
    for step in (2, 4, 6):
        append_jsonl(run.log, {"step": step, **record})
    keeper = Bookkeeper(run, rules(), ["bbox"], step=4)
    keeper.begin(seconds=100.0)
    assert [one["step"] for one in read_jsonl(run.log)] == [2, 4]
    assert 100.0 <= keeper.seconds < 130.0


def test_a_loss_that_is_not_finite_names_images_and_the_last_good_checkpoint(run: RunDir) -> None:
    text = str(loss_not_finite(run, 6, {"a": float("nan"), "b": 0.5}, ["x.jpg", "y.jpg"]))
    assert text.startswith("step 7: a loss is not finite: a nan, b 0.5; images of this batch: x.jpg, y.jpg; ")
    assert "none was written yet" in text
    run.last.parent.mkdir(parents=True)
    run.last.touch()
    assert f"last good checkpoint: {run.last}" in str(loss_not_finite(run, 6, "predicted boxes", []))
