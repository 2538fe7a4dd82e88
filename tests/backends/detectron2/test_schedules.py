"""The rate of every step of a run, as Detectron2 sets it from the native file, is the plan's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtune.backends.detectron2.probe import install_kernels
from cvtune.backends.detectron2.translate import translate
from cvtune.backends.schedule import lr_at
from cvtune.plan import Plan
from cvtune.runs import RunDir, write_json

install_kernels()

pytestmark = pytest.mark.filterwarnings("ignore")

YAML = {"model__family": "faster_rcnn"}
LAZY = {"model__family": "fcos"}


def planned(plan: Plan) -> list[float]:
    """The rates by cvtune's own rule."""
    keys = ("name", "milestones", "gamma", "warmup_iterations", "min_lr")
    settings = {
        "optimizer": {"lr": plan["train.optimizer.lr"]},
        "iterations": plan["train.iterations"],
        "steps_per_epoch": plan["train.steps_per_epoch"],
        "schedule": {key: plan[f"train.schedule.{key}"] for key in keys},
    }
    return [lr_at(step, settings) for step in range(plan["train.iterations"])]


def trained(plan: Plan, folder: Path) -> list[float]:
    """The rates that a run from the native file trains with, to its last step."""
    from cvtune.backends.detectron2.config import read_config, read_extras
    from cvtune.backends.detectron2.train import make_scheduler

    native, run = translate(plan), RunDir(folder)
    (folder / native.file_name).write_text(native.text)
    write_json(run.extras, native.extras)
    config, extras = read_config(run), read_extras(run)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.lr)
    scheduler = make_scheduler(config, extras, optimizer, plan["train.steps_per_epoch"])
    rates = []
    for _ in range(config.iterations):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("model", [YAML, LAZY], ids=["yaml", "lazy"])
@pytest.mark.parametrize(
    "train",
    [
        {"epochs": 2},
        {"iterations": 30},
        {"iterations": 1, "schedule": {"name": "constant"}},
        {"epochs": 3, "schedule": {"name": "constant"}},
        {"epochs": 3, "schedule": {"name": "constant", "warmup_iterations": 1000}},
        {"epochs": 4, "schedule": {"milestones": [0.5, 1, 9], "gamma": 0.5, "warmup_iterations": 0}},
        {"epochs": 4, "schedule": {"milestones": [0.001, 0.002, 1], "min_lr": 1e-6}},
        {"epochs": 4, "schedule": {"milestones": [1, 2], "warmup_iterations": 70}},
        {"epochs": 2, "schedule": {"name": "cosine", "warmup_iterations": 0}},
        {"epochs": 2, "schedule": {"name": "onecycle"}, "optimizer": {"name": "adamw"}},
    ],
)
def test_every_step_has_the_planned_rate(
    model: dict[str, Any], train: dict[str, Any], plan_for: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plan_for(**model, data__batch_size=4, train=train)
    assert trained(plan, tmp_path) == pytest.approx(planned(plan), rel=1e-4, abs=1e-9)
