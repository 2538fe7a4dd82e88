"""The learning rate as a function of the step, against torch's own schedulers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from cvtune.backends.schedule import lr_at, milestone_steps


def settings(name: str, **schedule: Any) -> dict[str, Any]:
    return {
        "optimizer": {"lr": 0.1},
        "iterations": 100,
        "steps_per_epoch": 10,
        "schedule": {"name": name, "milestones": [], "gamma": 0.1, "warmup_iterations": 0, "min_lr": 0.0, **schedule},
    }


def by_torch(make: Any, steps: int = 100) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("name", "schedule", "make"),
    [
        ("constant", {}, lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
        ("multistep", {"milestones": [6, 8]}, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [60, 80], 0.1)),
        ("cosine", {}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100)),
        ("cosine", {"min_lr": 0.01}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100, 0.01)),
        ("onecycle", {}, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=101)),
    ],
)
def test_shapes_equal_torchs(name: str, schedule: dict[str, Any], make: Any) -> None:
    values = settings(name, **schedule)
    if name == "onecycle":
        values["iterations"] = 101
    assert [lr_at(step, values) for step in range(100)] == pytest.approx(by_torch(make))


@pytest.mark.parametrize("name", ["constant", "multistep", "cosine"])
def test_warmup_rises_linearly_to_the_full_rate(name: str) -> None:
    values = settings(name, warmup_iterations=20, milestones=[5])
    rates = [lr_at(step, values) for step in range(21)]
    assert rates[0] == pytest.approx(1e-4)
    steps = [b - a for a, b in itertools.pairwise(rates)]
    assert steps == pytest.approx([steps[0]] * 20)
    assert rates[20] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("milestones", "per_epoch", "steps"),
    [([8, 11], 10, [80, 110]), ([0.5, 0.75], 1, [1]), ([0.01, 2], 10, [1, 20]), ([], 10, []), ([1.46, 1.54], 10, [15])],
)
def test_milestones_are_steps_that_rise_from_the_first(
    milestones: list[float], per_epoch: int, steps: list[int]
) -> None:
    assert milestone_steps(milestones, per_epoch) == steps
    values = settings("multistep", milestones=milestones) | {"steps_per_epoch": per_epoch}
    rates = [lr_at(step, values) for step in range(121)]
    falls = [step for step, (a, b) in enumerate(itertools.pairwise(rates), 1) if b < a]
    assert falls == steps
