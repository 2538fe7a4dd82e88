"""Which images a trial takes, how long a run is said to take, what a trial means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvtune.classes import ClassMap
from cvtune.doctor.learn import judge, whole_time
from cvtune.doctor.trial import Trial, pick_images
from cvtune.plan import Plan
from cvtune.runs import RunDir, read_json, write_json


def plan_of(**values: Any) -> Plan:
    settings = {"train.optimizer.lr": 0.01, "train.epochs": 10, "eval.every_epochs": 2, **values}
    splits = {"val": {"images": 50}, "test": {"images": 100}}
    return Plan(settings, dict.fromkeys(settings, ""), ClassMap(("a",), (1,)), splits, None, None)  # type: ignore[arg-type]


def trial_of(losses: list[float], ap50: float, stopped: bool = False) -> Trial:
    steps = tuple({"step": i + 1, "loss": loss, "seconds": 2.0 * i} for i, loss in enumerate(losses))
    return Trial(RunDir(Path("x")), plan_of(), steps, {"bbox": {"AP50": ap50}}, 1.0, stopped)


FALLING, FLAT = [3.0 / (1 + i) for i in range(40)], [3.0] * 40
CASES: dict[str, tuple[list[float], float, bool, str, str]] = {
    "learnt": (FALLING, 0.93, False, "ok", "it learns: 6 of your"),
    "learnt, whatever the loss": (FLAT, 0.6, False, "ok", "it learns"),
    "on its way": (FALLING, 0.3, False, "warning", "it is still learning, it needs more steps"),
    "out of time": (FALLING, 0.0, True, "warning", "it is still learning, the time was up"),
    "nothing found": (FALLING, 0.02, False, "error", "the loss falls, but next to nothing is found"),
    "flat": (FLAT, 0.0, False, "error", "it does not learn even these"),
    "not finite": ([3.0, float("nan")], 0.0, False, "error", "the loss is not finite"),
    "no step": ([], 0.0, False, "error", "the loss is not finite"),
    "no ground truth for AP50": (FLAT, -1.0, False, "error", "it does not learn even these"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_trial_means(case: str) -> None:
    losses, ap50, stopped, level, seen = CASES[case]
    line = judge(trial_of(losses, ap50, stopped), 6)
    assert line.level == level
    assert line.seen.startswith(seen)
    assert bool(line.fix) is (level != "ok")


def test_a_step_is_the_median_without_the_first() -> None:
    trial = trial_of([1.0] * 4, 0.0)
    assert trial.step_seconds == 2.0
    assert trial_of([1.0], 0.0).step_seconds is None


def test_the_whole_time() -> None:
    # 1,000 steps of 2 s, 5 evaluations of 50 images and the 100 test images at half a second each.
    said = whole_time(plan_of(), 1000, 2.0, 0.5)
    assert said == "2.00 s a step, 1,000 steps: the whole run takes about 36 min, 3 min of it for 5 evaluations"
    assert whole_time(plan_of(**{"eval.every_epochs": 0}), 10, 0.5, 0.0) == (
        "0.50 s a step, 10 steps: the whole run takes about 5 s"
    )


def test_a_handful_covers_the_classes_with_few_objects(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.png", "width": 9, "height": 9} for i in range(1, 30)]
    annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 4, 4]} for i in range(1, 28)]
    # Class 2 is on the crowded image 5 alone; image 28 has nothing, image 1 a crowd.
    annotations += [{"id": 100 + k, "image_id": 5, "category_id": 2, "bbox": [0, 0, 4, 4]} for k in range(9)]
    annotations += [{"id": 200, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1}]
    write_json(tmp_path / "train.json", {"images": images, "annotations": annotations, "categories": [{"id": 1}]})
    assert pick_images(tmp_path / "train.json", 4, tmp_path / "few.json") == 4
    few = read_json(tmp_path / "few.json")
    assert [image["id"] for image in few["images"]] == [2, 3, 4, 5]
    assert len(few["annotations"]) == 3 + 10
    assert pick_images(tmp_path / "train.json", 100, tmp_path / "all.json") == 27
