"""The official recipe of a config in the plan's keys, read from the config itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvtune.backends.base import Recipe
from cvtune.backends.edits import Edits
from cvtune.backends.layouts import peek_scope
from cvtune.backends.mmdet.image_size import official_size
from cvtune.backends.mmdet.models import LAYER_COUNTS, Model, model_of, task_of
from cvtune.backends.mmdet.signatures import keeps_statistics
from cvtune.backends.mmdet.translate_data import leaf_of
from cvtune.backends.mmdet.translate_model import threshold_places
from cvtune.backends.mmdet.zoo import official_batch, read_official
from cvtune.spec import Spec

__all__ = ["TRAIN_IMAGES", "main_scheduler", "recipe", "repeats", "warmup_of"]

# Images that each official training set has; COCO's without empty images, since most configs leave those out.
TRAIN_IMAGES: Mapping[str, int] = {
    "CocoDataset": 117_266,
    "LVISV1Dataset": 100_170,
    "LVISV05Dataset": 57_623,
    "VOCDataset": 16_551,
    "CityscapesDataset": 2_965,
    "OpenImagesDataset": 1_743_042,
    "OpenImagesChallengeDataset": 1_693_317,
    "Objects365V1Dataset": 608_606,
    "Objects365V2Dataset": 1_742_289,
    "WIDERFaceDataset": 12_880,
    "CrowdHumanDataset": 15_000,
    "V3DetDataset": 183_354,
}
Config = Mapping[str, Any]


def recipe(spec: Spec) -> Recipe:
    """The recipe that MMDetection trained the spec's model with.

    Raises:
        SpecError: unknown family, backbone or zoo name.
        UnsupportedError: the config is for another task.
    """
    model = model_of(spec.model)
    official = read_official(model.config)
    content = official.content
    edits = Edits(content)
    for path, value in model.changes:
        edits.set(path, value, "model.backbone")
    batch, said = official_batch(official)
    leaf = edits.get(leaf_of(edits, ("train_dataloader", "dataset")))
    images = TRAIN_IMAGES.get(str(leaf.get("type")), TRAIN_IMAGES["CocoDataset"])
    values: dict[str, Any] = {
        "model.family": model.family,
        "model.backbone": model.backbone,
        "data.batch_size": batch,
        "data.keep_empty_images": not (leaf.get("filter_cfg") or {}).get("filter_empty_gt", False),
        **official_size(content),
        **_length(content, batch, images),
        **_optimizer(content),
        **_schedule(content, batch, images),
        **_thresholds(content),
        **_backbone(edits.config, spec.model.weights),
        "train.ema": _ema(content),
        "train.precision": "fp16" if content["optim_wrapper"].get("type") == "AmpOptimWrapper" else "fp32",
        "weights.scope": _scope(model, spec.model.weights),
    }
    source = f"MMDetection {model.config}, batch {said}"
    return Recipe(model.config, source, task_of(content), images, values)  # type: ignore[arg-type]


def repeats(config: Config) -> int:
    """How many times an epoch of the config goes over the images (RepeatDataset)."""
    times, node = 1, config["train_dataloader"]["dataset"]
    while isinstance(node, Mapping):
        times *= int(node.get("times", 1))
        node = node.get("dataset") or (node.get("datasets") or [None])[0]
    return times


def _length(config: Config, batch: int, images: int) -> dict[str, Any]:
    train = config["train_cfg"]
    every = int(train.get("val_interval", 1))
    if "max_iters" in train:
        iterations = int(train["max_iters"])
        return {
            "train.epochs": max(1, round(iterations * batch / images)),
            "train.iterations": iterations,
            "eval.every_epochs": max(1, round(every * batch / images)),
        }
    return {
        "train.epochs": int(train["max_epochs"]) * repeats(config),
        "eval.every_epochs": every * repeats(config),
    }


def _optimizer(config: Config) -> dict[str, Any]:
    wrapper = config["optim_wrapper"]
    optimizer = wrapper["optimizer"]
    clip = wrapper.get("clip_grad") or {}
    return {
        "train.optimizer.name": str(optimizer["type"]).lower(),
        "train.optimizer.lr": float(optimizer["lr"]),
        "train.optimizer.momentum": optimizer.get("momentum"),
        "train.optimizer.weight_decay": float(optimizer.get("weight_decay", 0.0)),
        "train.gradient_clip": clip.get("max_norm"),
    }


def main_scheduler(config: Config) -> tuple[list[dict[str, Any]], int | None]:
    """The schedulers, and the index of the one that lowers the rate over the run (None: constant)."""
    listed = config.get("param_scheduler") or []
    schedulers = [dict(item) for item in (listed if isinstance(listed, list | tuple) else [listed])]
    for index, item in enumerate(schedulers):
        if str(item["type"]).split(".")[-1] in ("MultiStepLR", "CosineAnnealingLR", "StepLR", "PolyLR"):
            return schedulers, index
    return schedulers, None


def warmup_of(config: Config) -> tuple[int | None, float]:
    """(index of the warm-up among the schedulers, its length: iterations, or epochs where it counts by epoch)."""
    schedulers, _ = main_scheduler(config)
    for index, item in enumerate(schedulers):
        kind = str(item["type"]).split(".")[-1]
        if kind in ("LinearLR", "QuadraticWarmupLR") or (kind == "ConstantLR" and not item.get("begin")):
            return index, float(item.get("end", 0))
    return None, 0.0


def _schedule(config: Config, batch: int, images: int) -> dict[str, Any]:
    schedulers, main = main_scheduler(config)
    per_epoch = images / batch
    values: dict[str, Any] = {"train.schedule.name": "constant", "train.schedule.milestones": []}
    if main is not None:
        item = schedulers[main]
        by_epoch = item.get("by_epoch", True)
        if str(item["type"]).endswith("MultiStepLR"):
            unit = repeats(config) if by_epoch else 1 / per_epoch
            values["train.schedule.name"] = "multistep"
            values["train.schedule.milestones"] = [round(m * unit, 3) for m in item["milestones"]]
            values["train.schedule.gamma"] = item.get("gamma", 0.1)
        else:
            values["train.schedule.name"] = "cosine"
            values["train.schedule.min_lr"] = float(item.get("eta_min", 0.0))
    index, end = warmup_of(config)
    by_epoch = index is not None and schedulers[index].get("by_epoch", True)
    values["train.schedule.warmup_iterations"] = round(end * per_epoch) if by_epoch else int(end)
    if by_epoch:
        values["train.schedule.warmup_epochs"] = end * repeats(config)
    return values


def _thresholds(config: Config) -> dict[str, Any]:
    edits = Edits(config)
    values: dict[str, Any] = {}
    for field in ("eval.model_max_detections", "eval.score_threshold", "eval.nms_iou"):
        places = threshold_places(config, field)
        values[field] = edits.get(places[0]) if places else None
    return values


def _backbone(config: Config, weights: str) -> dict[str, Any]:
    backbone = config["model"].get("backbone") or {}
    stages = backbone.get("frozen_stages")
    count = LAYER_COUNTS.get(str(backbone.get("type")))
    if count and stages is not None:
        stages = max(0, sum(end <= stages for end in count.ends) - 1) if stages > count.nothing else None
    frozen = keeps_statistics(backbone)
    norm = "frozen" if frozen else "official"
    if weights == "none" and frozen:
        norm = "batch"  # statistics that nobody has learnt are not to be kept
    return {"model.frozen_stages": None if stages is None or stages < 0 else int(stages), "model.norm": norm}


def _ema(config: Config) -> float | bool:
    for hook in config.get("custom_hooks") or []:
        if hook.get("type") == "EMAHook":
            return 1.0 - float(hook.get("momentum", 0.0002))
    return False


def _scope(model: Model, weights: str) -> str | None:
    """Whether the starting weights hold a whole detector or a backbone."""
    if weights == "none":
        return None
    if weights == "imagenet":
        return "backbone"
    if weights == "coco" or weights.startswith(("zoo:", "https://")):
        return "detector"
    return peek_scope(Path(weights))
