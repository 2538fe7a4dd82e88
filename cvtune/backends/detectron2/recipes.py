"""The official recipe of a config in the plan's keys, read from the config itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.base import Recipe
from cvtune.backends.detectron2.lazy.recipes import lazy_recipe, train_sets
from cvtune.backends.detectron2.models import change, model_of, task_of
from cvtune.backends.detectron2.weights_names import starting_weights
from cvtune.backends.detectron2.zoo import is_lazy, read_official
from cvtune.backends.edits import Edits
from cvtune.spec import Spec

__all__ = ["recipe", "score_section"]

# Images of each official training set that have objects: Detectron2 leaves the others out.
TRAIN_IMAGES: Mapping[str, int] = {
    "coco_2017_train": 117_266,
    "lvis_v0.5_train": 56_740,
    "lvis_v1_train": 99_388,
    "cityscapes_fine_instance_seg_train": 2_965,
    "voc_2007_trainval": 5_011,
    "voc_2012_trainval": 11_540,
}
NORMS: Mapping[str, str] = {"FrozenBN": "frozen", "BN": "batch", "SyncBN": "sync"}
Config = Mapping[str, Any]


def recipe(spec: Spec) -> Recipe:
    """The recipe that Detectron2 trained the spec's model with.

    Raises:
        SpecError: unknown family, backbone or zoo name.
        UnsupportedError: the config is for another task, or no such weights are published.
    """
    model = model_of(spec.model)
    edits = Edits(read_official(model.config).content)
    for path, value in model.changes:
        change(edits, path, value, "model.backbone")
    config = edits.config
    lazy = is_lazy(model.config)
    sets = train_sets(config) if lazy else config["DATASETS"]["TRAIN"]
    images = sum(TRAIN_IMAGES.get(name, 117_266) for name in sets)
    values: dict[str, Any] = {
        "model.family": model.family,
        "model.backbone": model.backbone,
        **(lazy_recipe(config, images) if lazy else _yaml_recipe(config, images)),
        "weights.scope": starting_weights(spec.model.weights, model)["scope"],
    }
    if spec.model.weights == "none" and values["model.norm"] == "frozen":
        values["model.norm"] = "batch"  # statistics that nobody has learnt are not to be kept
    source = f"Detectron2 {model.config}"
    return Recipe(model.config, source, task_of(config), images, values)


def _yaml_recipe(config: Config, images: int) -> dict[str, Any]:
    return {
        "data.batch_size": int(config["SOLVER"]["IMS_PER_BATCH"]),
        "data.keep_empty_images": not config["DATALOADER"]["FILTER_EMPTY_ANNOTATIONS"],
        **_input(config),
        **_solver(config, images),
        **_evaluation(config),
        "model.frozen_stages": _frozen_stages(config),
        "model.norm": NORMS.get(config["MODEL"]["RESNETS"]["NORM"], "official"),
    }


def _input(config: Config) -> dict[str, Any]:
    given = config["INPUT"]
    flips: dict[str, list[dict[str, Any]]] = {
        "horizontal": [{"HorizontalFlip": {"p": 0.5}}],
        "vertical": [{"VerticalFlip": {"p": 0.5}}],
    }
    return {
        "data.image_size.short": list(given["MIN_SIZE_TRAIN"]),
        "data.image_size.long": int(given["MAX_SIZE_TRAIN"]),
        "data.image_size.test_short": int(given["MIN_SIZE_TEST"]),
        "data.image_size.sampling": given["MIN_SIZE_TRAIN_SAMPLING"],
        "data.image_size.square": None,
        "data.image_size.fit": "stretch",
        "data.augment": flips.get(given["RANDOM_FLIP"], []),
    }


def _solver(config: Config, images: int) -> dict[str, Any]:
    solver = config["SOLVER"]
    batch, iterations = int(solver["IMS_PER_BATCH"]), int(solver["MAX_ITER"])
    epochs = iterations * batch / images
    name = "cosine" if solver["LR_SCHEDULER_NAME"] == "WarmupCosineLR" else "multistep"
    return {
        "train.iterations": iterations,
        "train.epochs": max(1, round(epochs)),
        "train.optimizer.name": "sgd",
        "train.optimizer.lr": float(solver["BASE_LR"]),
        "train.optimizer.momentum": float(solver["MOMENTUM"]),
        "train.optimizer.weight_decay": float(solver["WEIGHT_DECAY"]),
        "train.schedule.name": name,
        "train.schedule.milestones": [
            round(step / iterations * max(1, round(epochs)), 3) for step in solver["STEPS"] if step < iterations
        ],
        "train.schedule.gamma": float(solver["GAMMA"]),
        "train.schedule.warmup_iterations": int(solver["WARMUP_ITERS"]),
        "train.schedule.min_lr": 0.0,
        "train.gradient_clip": None,
        "train.ema": False,
        "train.precision": "fp16" if solver["AMP"]["ENABLED"] else "fp32",
    }


def score_section(config: Config) -> tuple[str, str]:
    """Where a config says its thresholds of scores and of suppression: ``("MODEL", "ROI_HEADS")`` or RetinaNet's."""
    return ("MODEL", "RETINANET" if config["MODEL"]["META_ARCHITECTURE"] == "RetinaNet" else "ROI_HEADS")


def _evaluation(config: Config) -> dict[str, Any]:
    section = config["MODEL"][score_section(config)[1]]
    return {
        "eval.every_iterations": int(config["TEST"]["EVAL_PERIOD"]),
        "eval.model_max_detections": int(config["TEST"]["DETECTIONS_PER_IMAGE"]),
        "eval.score_threshold": float(section["SCORE_THRESH_TEST"]),
        "eval.nms_iou": float(section["NMS_THRESH_TEST"]),
    }


def _frozen_stages(config: Config) -> int | None:
    """FREEZE_AT counts the stem: 2 is the stem and one stage."""
    at = int(config["MODEL"]["BACKBONE"]["FREEZE_AT"])
    return at - 1 if at > 0 else None
