"""A backend without torch: learns each class's mean colour, finds connected regions of that colour.

It fulfils the same protocol as the real ones and runs in an environment of its own, which proves that the protocol
needs nothing but files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from cvtune.backends.base import Detection, FieldSupport, Host, ModelInfo, NativeConfig, Override, PredictImage, Recipe
from cvtune.data.coco import load_coco
from cvtune.data.images import read_rgb
from cvtune.errors import SpecError
from cvtune.plan import Plan
from cvtune.runs import RunDir, append_jsonl, read_json, write_json
from cvtune.spec import Spec

name = "toy"
fields = {"train.epochs": FieldSupport("native", "passes"), "train.seed": FieldSupport("no", "nothing is random")}


def models() -> Mapping[str, ModelInfo]:
    return {"colour": ModelInfo("colour", "detect", {"mean": "colour-mean"}, "mean")}


def probe() -> Host:
    assert "torch" not in sys.modules
    return Host("1.0", "cpu", 1, "toy", 1 << 30, 1, False, {"numpy": np.__version__}, {})


def recipe(spec: Spec) -> Recipe:
    if spec.model.family != "colour":
        raise SpecError(f"model.family: unknown family, got {spec.model.family!r}; allowed: colour")
    values = {
        "model.family": "colour",
        "model.backbone": "mean",
        "data.batch_size": 1,
        "train.epochs": 1,
        "train.optimizer.name": "sgd",
        "train.optimizer.lr": 1.0,
        "train.schedule.name": "constant",
    }
    return Recipe("colour-mean", "the toy's own recipe", "detect", 10, values)


def translate(plan: Plan) -> NativeConfig:
    config = {"classes": list(plan.class_map.names), "epochs": plan["train.epochs"], **plan["native"]}
    override = Override("epochs", 1, plan["train.epochs"], "train.epochs", "spec")
    return NativeConfig("config.yaml", yaml.safe_dump(config), (override,))


def step_memory(run: RunDir) -> int:
    return 1 << 20


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    return [(0.1, 2.0), (1.0, 1.0)]


def train(run: RunDir, resume: bool) -> None:
    config = yaml.safe_load(run.config.read_text())
    dataset = load_coco(run.data("train"))
    paths = {image.id: Path(image.file_name) for image in dataset.images}
    colours: dict[int, list[Any]] = {}
    for annotation in dataset.annotations:
        x, y, w, h = annotation.bbox_xywh
        centre = read_rgb(paths[annotation.image_id])[int(y + h / 2), int(x + w / 2)]
        colours.setdefault(int(annotation.category_id) - 1, []).append(centre)
    means = {str(index): np.mean(values, axis=0).tolist() for index, values in colours.items()}
    record = {"step": 1, "epoch": 1, "lr": 1.0, "loss": 0.0, "losses": {}, "seconds": 0.0, "memory_mb": 1.0}
    append_jsonl(run.log, record)
    run.checkpoints.mkdir(exist_ok=True)
    content = {"classes": run.class_map().to_json(), "means": means, "epochs": config["epochs"]}
    write_json(run.last, content)
    write_json(run.best, content)
    run.update_record(python=sys.executable, torch_imported="torch" in sys.modules, resumed=resume)


def predict(run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
    means = {int(index): np.array(mean) for index, mean in read_json(checkpoint)["means"].items()}
    for image in images:
        rgb = read_rgb(image.path).astype(np.float64)
        for index, mean in means.items():
            near = (np.abs(rgb - mean).max(axis=2) < 40).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(near)
            for x, y, w, h, area in stats[1:count]:
                if area >= 20:
                    yield Detection(image.id, index, 0.9, (float(x), float(y), float(w), float(h)))


if __name__ == "__main__":
    print(json.dumps({"name": name}))
