"""The official recipes: the command lines that torchvision's `references/detection` trained its COCO weights with.

Read from the READMEs of `references/detection`: 8 GPUs, `--batch-size` images each, SGD with momentum 0.9, and a
linear warm-up from a thousandth of the rate over the first 1,000 iterations. Not certain:

- The `_v2` weights were trained by recipes that stand only in the pull requests their weights link to (longer, other
  augmentation). What is given for them here is the recipe of the same family; `source` says so.
- The SSD recipes' photometric distortion, zoom-out and IoU crop have no exact albumentations counterpart; the nearest
  ones are given (the crop keeps every box, the reference's may drop some; zoom-out shrinks about the centre).
- Detector weights were trained from ImageNet weights of the backbone; `model.weights` is not part of a recipe here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cvtune.backends.base import Recipe
from cvtune.backends.layouts import peek_scope
from cvtune.backends.torchvision.models import BUILDERS, of_spec, resolve_weights
from cvtune.spec import Spec

__all__ = ["recipe", "weights_scope"]

COCO_TRAIN_IMAGES = 117_266
"""Images of COCO train2017 with at least one object: the reference drops the others."""
_SOURCE = "torchvision references/detection"

_FLIP: list[dict[str, Any]] = [{"HorizontalFlip": {"p": 0.5}}]
_CROP: list[dict[str, Any]] = [{"BBoxSafeRandomCrop": {"erosion_rate": 0.0, "p": 0.86}}]
_DISTORT: list[dict[str, Any]] = [
    {"ColorJitter": {"brightness": [0.875, 1.125], "contrast": [0.5, 1.5], "saturation": [0.5, 1.5],
                     "hue": [-0.05, 0.05], "p": 0.5}},
    {"Affine": {"scale": [0.25, 1.0], "keep_ratio": True, "fill": [123, 117, 104], "p": 0.5}},
]  # fmt: skip

_BASE: dict[str, Any] = {
    "data.batch_size": 16,
    "data.image_size.short": [800],
    "data.image_size.long": 1333,
    "data.image_size.test_short": 800,
    "data.image_size.sampling": "choice",
    "data.image_size.square": None,
    "data.image_size.fit": "stretch",
    "data.augment": _FLIP,
    "data.keep_empty_images": False,
    "train.epochs": 26,
    "train.optimizer.name": "sgd",
    "train.optimizer.lr": 0.02,
    "train.optimizer.momentum": 0.9,
    "train.optimizer.weight_decay": 1e-4,
    "train.schedule.name": "multistep",
    "train.schedule.milestones": [16, 22],
    "train.schedule.gamma": 0.1,
    "train.schedule.warmup_iterations": 1000,
    "train.schedule.min_lr": 0.0,
    "train.gradient_clip": None,
    "train.ema": False,
    "train.precision": "fp32",
    "eval.model_max_detections": 100,
    "eval.score_threshold": 0.05,
    "eval.nms_iou": 0.5,
    "model.norm": "frozen",
}


def _square(size: int) -> dict[str, Any]:
    return {
        "data.image_size.short": None,
        "data.image_size.long": None,
        "data.image_size.test_short": None,
        "data.image_size.square": size,
    }


_FAMILIES: dict[str, dict[str, Any]] = {
    "faster_rcnn": {},
    "mask_rcnn": {},
    "retinanet": {"train.optimizer.lr": 0.01, "eval.model_max_detections": 300},
    "fcos": {
        "train.optimizer.lr": 0.01,
        "train.precision": "fp16",
        "eval.score_threshold": 0.2,
        "eval.nms_iou": 0.6,
    },
    "ssd": _square(300)
    | {
        "data.batch_size": 32,
        "data.augment": [*_DISTORT, *_CROP, *_FLIP],
        "train.epochs": 120,
        "train.optimizer.lr": 0.002,
        "train.optimizer.weight_decay": 5e-4,
        "train.schedule.milestones": [80, 110],
        "eval.model_max_detections": 200,
        "eval.score_threshold": 0.01,
        "eval.nms_iou": 0.45,
        "model.norm": "batch",
    },
    "ssdlite": _square(320)
    | {
        "data.batch_size": 192,
        "data.augment": [*_CROP, *_FLIP],
        "train.epochs": 660,
        "train.optimizer.lr": 0.15,
        "train.optimizer.weight_decay": 4e-5,
        "train.schedule.name": "cosine",
        "train.schedule.milestones": [],
        "eval.model_max_detections": 300,
        "eval.score_threshold": 0.001,
        "eval.nms_iou": 0.55,
        "model.norm": "batch",
    },
}
_LOW_RESOLUTION = {
    "data.image_size.short": [320],
    "data.image_size.long": 640,
    "data.image_size.test_short": 320,
}


def recipe(spec: Spec) -> Recipe:
    """The official recipe of the spec's model; a composed model takes its family's.

    Returns:
        Plan key -> value, `weights.scope` (detector or backbone) and the model's own names included. `frozen_stages`
        is torchvision's `trainable_backbone_layers` default in our count: the stem and n stages.

    Raises:
        SpecError: unknown family, backbone or config.
        UnsupportedError: COCO weights where none are published.
    """
    model = of_spec(spec.model)
    weights = resolve_weights(model, spec.model.weights)
    builder = BUILDERS[model.base]
    values = _BASE | _FAMILIES[model.family]
    if model.builder == "fasterrcnn_mobilenet_v3_large_320_fpn":
        values |= _LOW_RESOLUTION
    if builder.is_v2:
        values["model.norm"] = "batch"
    values |= {
        "model.family": model.family,
        "model.backbone": model.backbone,
        "model.frozen_stages": builder.frozen_stages,
        "weights.scope": weights_scope(weights),
    }
    source = _SOURCE
    if builder.is_v2:
        source += f" (the family's recipe: that of {model.base} stands only in its weights' pull request)"
    elif model.builder is None:
        source += f" (that of {model.base}, for a composed {model.family} with {model.backbone})"
    task = "segment" if model.family == "mask_rcnn" else "detect"
    return Recipe(model.base, source, task, COCO_TRAIN_IMAGES, values)  # type: ignore[arg-type]


def weights_scope(weights: dict[str, Any]) -> str | None:
    """Whether weights hold a detector or a backbone; None without weights."""
    kind, value = weights["kind"], weights["value"]
    if kind == "none":
        return None
    if kind == "enum":
        return "detector" if any(value == builder.weights for builder in BUILDERS.values()) else "backbone"
    if kind == "path":
        return peek_scope(Path(value))
    file_name = value.rsplit("/", 1)[-1]
    known = {builder.file for builder in BUILDERS.values()}
    return "detector" if file_name in known or not _looks_like_a_classifier(file_name) else "backbone"


def _looks_like_a_classifier(file_name: str) -> bool:
    """By torchvision's own file names, such as ``resnet50-0676ba61.pth``: a URL's content is not known yet."""
    stems = ("resnet", "resnext", "wide_resnet", "mobilenet", "efficientnet", "convnext", "regnet", "vgg16")
    return file_name.startswith(stems)
