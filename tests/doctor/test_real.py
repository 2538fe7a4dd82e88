"""The doctor with a real model: one that learns, and the same one with a learning rate that teaches it nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtune import verbs
from cvtune.doctor import Line

pytestmark = pytest.mark.slow

NATIVE = {
    "model": {
        "fpn": {"channels": 64},
        "anchors": {"sizes": [[16], [24], [32], [48], [64]]},
        "kwargs": {"box_batch_size_per_image": 64},
    }
}


@pytest.fixture
def examine(make_shapes: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, list[Line]]]:
    return partial(train_and_examine, make_shapes, tmp_path)


def train_and_examine(make_shapes: Callable[..., Any], folder: Path, lr: float, steps: int) -> dict[str, list[Line]]:
    make_shapes(folder, train=40, val=4, size=96, seed=1)
    content = {
        "name": "doctor",
        "model": {"family": "faster_rcnn", "backbone": "resnet18_fpn", "weights": "none"},
        "data": {
            "train": {"annotations": "train.json", "images": "images/train"},
            "val": {"annotations": "val.json", "images": "images/val"},
            "image_size": {"short": 96, "long": 96},
            "batch_size": 4,
        },
        "train": {"optimizer": {"name": "sgd", "lr": lr}, "gradient_clip": 10},
        "run": {"device": "cpu"},
        "native": NATIVE,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(content))
    lines: dict[str, list[Line]] = {}
    for line in verbs.doctor(folder / "spec.yaml", images=4, steps=steps):
        lines.setdefault(line.topic, []).append(line)
    return lines


def test_a_model_that_learns(examine: Callable[..., dict[str, list[Line]]]) -> None:
    lines = examine(0.02, 110)
    assert [line.level for topic in ("environment", "memory", "time", "learning") for line in lines[topic]] == [
        "ok"
    ] * 4
    assert lines["learning"][0].seen.startswith("it learns: 4 of your training images, 110 steps")


def test_a_model_that_does_not(examine: Callable[..., dict[str, list[Line]]]) -> None:
    lines = examine(1e-9, 12)
    assert lines["learning"][0].level == "error"
    assert "train.optimizer.lr (it is 1e-09" in lines["learning"][0].fix
