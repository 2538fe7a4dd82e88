"""The doctor with a real model: one that learns, and the same one with a learning rate that teaches it nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from cvtune import verbs
from cvtune.doctor import Line

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NATIVE = {
    "model": {
        "fpn": {"channels": 64},
        "anchors": {"sizes": [[16], [24], [32], [48], [64]]},
        "kwargs": {"box_batch_size_per_image": 64},
    }
}


def examine(folder: Path, lr: float, steps: int) -> dict[str, list[Line]]:
    spec = importlib.util.spec_from_file_location("shapes", ROOT / "datasets" / "shapes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make_shapes(folder, train=40, val=4, size=96, seed=1)
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


def test_a_model_that_learns(tmp_path: Path) -> None:
    lines = examine(tmp_path, 0.02, 110)
    assert [line.level for topic in ("environment", "memory", "time", "learning") for line in lines[topic]] == [
        "ok"
    ] * 4
    assert lines["learning"][0].seen.startswith("it learns: 4 of your training images, 110 steps")


def test_a_model_that_does_not(tmp_path: Path) -> None:
    lines = examine(tmp_path, 1e-9, 12)
    assert lines["learning"][0].level == "error"
    assert "train.optimizer.lr (it is 1e-09" in lines["learning"][0].fix
