"""The sentence that matters first, for runs in every state."""

from __future__ import annotations

from typing import Any

import pytest

from cvtune.report.facts import read_facts
from cvtune.report.headline import Headline, make_headline
from cvtune.runs import RunDir, append_jsonl, read_json, write_json

OPTIMISTIC = "This split also chose the checkpoint (by bbox/AP): the figure is optimistic."


def headline(run: RunDir) -> Headline:
    return make_headline(read_facts(run))


def test_a_finished_run(make_run: Any) -> None:
    said = headline(make_run())
    assert said.main == "Box AP 49.8 (AP50 79.8) on 6 validation images; best epoch 3 of 4."
    assert said.notes == (OPTIMISTIC, "The ground truth has no small objects, so they have no scores.")
    assert said.facts == (
        "torchvision faster_rcnn resnet50_fpn",
        "from coco weights",
        "2 classes",
        "6 training images",
        "trained 13 min on a small CPU",
    )


def test_masks_come_before_boxes(make_run: Any) -> None:
    assert headline(make_run(masks=True)).main.startswith("Mask AP 49.8 (AP50 79.8), box AP 49.8 (AP50 79.8) on 6")


def test_a_test_split_is_not_called_optimistic(make_run: Any) -> None:
    said = headline(make_run(split="test"))
    assert "on 6 test images" in said.main
    assert said.notes[0] == "The test split took no part in training or in choosing the checkpoint."


def test_a_val_split_that_chose_nothing_is_not_called_optimistic(make_run: Any) -> None:
    run = make_run()
    run.log.unlink()
    record = read_json(run.record)
    del record["best"]
    write_json(run.record, record)
    assert OPTIMISTIC not in headline(run).notes


def test_a_run_that_ended_early(make_run: Any) -> None:
    run = make_run()
    plan = read_json(run.plan)
    plan["values"]["train.epochs"]["value"] = 50
    write_json(run.plan, plan)
    run.update_record(state="stopped")
    said = headline(run)
    assert said.main.endswith("best epoch 3 of 4 (50 planned).")
    assert "The run was stopped before its planned end." in said.notes


def test_no_ground_truth(make_run: Any) -> None:
    run = make_run()
    metrics = read_json(run.metrics)
    metrics["bbox"]["AP"] = metrics["bbox"]["AP50"] = -1
    write_json(run.metrics, metrics)
    assert headline(run).main.startswith("Box AP cannot be given: the ground truth has no objects on 6 validation")


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("all", "Not scored yet; Box AP was 49.8 on validation after epoch 4."),
        ("steps", "Not scored yet; the training loss was 1.155 at step 3."),
        ("none", "Not scored yet: nothing has been trained."),
    ],
)
def test_a_run_without_scores(make_run: Any, keep: str, expected: str) -> None:
    run = make_run()
    run.metrics.unlink()
    if keep != "all":
        run.log.unlink()
    if keep == "steps":
        append_jsonl(run.log, {"step": 3, "epoch": 1, "lr": 0.1, "loss": 1.1547, "losses": {}})
    assert headline(run).main == expected


def test_a_failed_run_says_why(make_run: Any) -> None:
    run = make_run()
    run.metrics.unlink()
    run.update_record(state="failed", error="step 7: a loss is not finite")
    assert "The run failed: step 7: a loss is not finite" in headline(run).notes
    write_json(run.error, {"type": "RunError", "message": "out of memory"})
    assert "The run failed: out of memory" in headline(run).notes
