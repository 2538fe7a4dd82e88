"""Plan -> config.yaml: what `build_model` and the training loop read, and how it differs from the official recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import yaml

from cvtune.backends.base import NativeConfig, Override
from cvtune.backends.torchvision.backbones import BACKBONES
from cvtune.backends.torchvision.fields import FIELDS
from cvtune.backends.torchvision.models import (
    BUILDERS,
    CLASS_OFFSETS,
    COCO_OUTPUTS,
    Model,
    resolve_model,
    resolve_weights,
)
from cvtune.backends.torchvision.native import merge_native
from cvtune.backends.torchvision.recipes import weights_scope
from cvtune.errors import UnsupportedError

if TYPE_CHECKING:
    from cvtune.plan import Plan

__all__ = ["FIELDS", "translate"]

Get = Callable[[str], Any]
Kind = Literal["spec", "data", "host"]
_HEADER = "# Training config of cvtune's torchvision backend: `cvtune train` builds and trains from this file.\n"
_TWO_STAGE = {"faster_rcnn", "mask_rcnn"}
_SINGLE_SIZE = {"ssd", "ssdlite"}
_IGNORES_CROWDS = {"faster_rcnn", "mask_rcnn", "retinanet"}


def translate(plan: Plan) -> NativeConfig:
    """Write a complete plan as config.yaml.

    Returns:
        The file's text, and every value that differs from the official recipe with the spec field that asked for it.

    Raises:
        UnsupportedError: torchvision cannot do what a field asks; names the nearest thing that works.
        SpecError: a value is out of range, or `native` holds an unknown key.
    """
    model = resolve_model(plan["model.family"], plan["model.backbone"])
    _check(plan, model)
    official_values = plan.recipe.values
    config = _config(plan.get, model, plan)
    official = _config(lambda key: official_values.get(key, plan.get(key)), model, plan)
    official["model"]["num_classes"] = COCO_OUTPUTS
    official["model"]["channels_last"] = False
    overrides = list(_differences(official, config, plan))
    native = plan.get("native") or {}
    merged = merge_native(config, native, model.family)
    overrides += [
        Override(key, _at(config, key), value, "native", "spec")
        for key, value in _leaves(native)
        if _at(config, key) != value
    ]
    text = _HEADER + yaml.dump(merged, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return NativeConfig("config.yaml", text, tuple(overrides))


class _Dumper(yaml.SafeDumper):
    """Plain YAML: a list that occurs twice is written twice, not as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether never to write an alias for `data`."""
        return True


def _check(plan: Plan, model: Model) -> None:
    get, family = plan.get, model.family
    if get("data.crowd") == "ignore" and family not in _IGNORES_CROWDS:
        raise _unsupported("data.crowd", f"ignore with {family}", "official (crowds are not trained on)")
    if family in _SINGLE_SIZE and get("data.image_size.square") is None:
        raise _unsupported("data.image_size.short", f"{family} with two sides", "square")
    if get("train.precision") == "fp16" and get("run.device") == "cpu":
        raise _unsupported("train.precision", "fp16 on a CPU", "bf16 or fp32")
    if family != "mask_rcnn":
        stopping = get("train.early_stopping") or {}
        for key, metric in (
            ("train.checkpoint.best", get("train.checkpoint.best")),
            ("train.early_stopping.metric", stopping.get("metric")),
        ):
            if str(metric).startswith("segm/"):
                raise _unsupported(
                    key, f"{metric} with {family}, which predicts no masks", str(metric).replace("segm", "bbox")
                )


def _unsupported(field: str, what: str, nearest: str) -> UnsupportedError:
    return UnsupportedError(f"{field}: backend torchvision cannot do {what}; nearest: {nearest}")


def _config(get: Get, model: Model, plan: Plan) -> dict[str, Any]:
    family = model.family
    size = _image_size(get, plan.recipe.values)
    weights = resolve_weights(model, plan["model.weights"])
    scope = weights_scope(weights)
    one_process = int(get("run.devices") or 1) * int(get("run.nodes") or 1) == 1
    norm = get("model.norm")
    section: dict[str, Any] = {
        "builder": model.builder or "compose",
        "family": family,
        "backbone": model.backbone,
        "num_classes": len(plan.class_map.names) + CLASS_OFFSETS[family],
        "class_offset": CLASS_OFFSETS[family],
        "frozen_stages": get("model.frozen_stages"),
        "norm": "batch" if norm == "sync" and (one_process or get("run.device") == "cpu") else norm,
        # torchvision's first COCO weights were trained with a batch norm that adds no epsilon.
        "norm_eps": 0.0 if _trained_without_epsilon(weights) else None,
        "kwargs": _kwargs(get, model, size),
        "fpn": _fpn(model),
        "anchors": None,
        "channels_last": get("run.device") == "cuda" and get("train.precision") != "fp32",
    }
    if family == "ssdlite":
        section["reduced_tail"] = scope != "backbone"  # as torchvision: the ImageNet weights have the whole tail
    return {
        "model": section,
        "weights": {**weights, "scope": scope},
        "classes": list(plan.class_map.names),
        "class_lock": plan.class_map.hash,
        "data": {
            "batch_size": get("data.batch_size"),
            "workers": get("data.workers"),
            "augment": get("data.augment") or [],
            "image_size": size,
            **{key: get(f"data.{key}") for key in ("keep_empty_images", "crowd", "skip_bad_images")},
        },
        "train": {
            **{key: get(f"train.{key}") for key in ("epochs", "iterations", "steps_per_epoch")},
            "optimizer": {key: get(f"train.optimizer.{key}") for key in ("name", "lr", "momentum", "weight_decay")},
            "schedule": {
                key: get(f"train.schedule.{key}")
                for key in ("name", "milestones", "gamma", "warmup_iterations", "min_lr")
            },
            **{
                key: get(f"train.{key}")
                for key in ("precision", "gradient_clip", "accumulate", "ema", "early_stopping")
            },
            "checkpoint": {
                key: get(f"train.checkpoint.{key}")
                for key in ("every_epochs", "every_minutes", "every_iterations", "keep", "best")
            },
            **{key: get(f"train.{key}") for key in ("seed", "loggers", "log_every")},
        },
        "eval": {
            key: get(f"eval.{key}") for key in ("every_epochs", "model_max_detections", "score_threshold", "nms_iou")
        },
        "run": {key: get(f"run.{key}") for key in ("device", "devices", "nodes")},
    }


def _trained_without_epsilon(weights: Mapping[str, Any]) -> bool:
    value = str(weights["value"])
    return any(b.zero_eps and (value == b.weights or value.endswith(b.file)) for b in BUILDERS.values())


def _image_size(get: Get, official: Mapping[str, Any]) -> dict[str, Any]:
    """The image size with nothing left out: long from the official ratio, test_short the largest short side."""
    size = {key: get(f"data.image_size.{key}") for key in ("short", "long", "test_short", "sampling", "square", "fit")}
    if size["square"] is not None:
        return size
    short = [size["short"]] if isinstance(size["short"], int) else sorted(size["short"])
    ratio = (official.get("data.image_size.long") or 1333) / max(official.get("data.image_size.short") or [800])
    long = size["long"] or math.ceil(max(short) * ratio)
    return {**size, "short": short, "long": long, "test_short": size["test_short"] or short[-1]}


def _kwargs(get: Get, model: Model, size: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the torchvision class; its name for a threshold depends on the family."""
    prefix = "box_" if model.family in _TWO_STAGE else ""
    square = size["square"]
    kwargs: dict[str, Any]
    if model.family in _SINGLE_SIZE:
        kwargs = {"size": [square, square]}
    elif square is not None:
        kwargs = {"min_size": [square], "max_size": square}
        if size["fit"] == "stretch":
            kwargs["fixed_size"] = [square, square]
    else:
        kwargs = {"min_size": size["short"], "max_size": size["long"]}
    own = dict(BUILDERS[model.builder].kwargs) if model.builder else {}
    return {
        **kwargs,
        f"{prefix}detections_per_img": get("eval.model_max_detections"),
        f"{prefix}score_thresh": get("eval.score_threshold"),
        f"{prefix}nms_thresh": get("eval.nms_iou"),
        **own,
    }


def _fpn(model: Model) -> dict[str, Any] | None:
    if model.family in _SINGLE_SIZE:
        return None
    if model.builder is not None:
        levels = BUILDERS[model.builder].taps
    else:
        levels = BACKBONES[model.backbone].taps
        # Dense detectors leave out stride 4, which would give too many anchors.
        levels = levels if model.family in _TWO_STAGE else levels[1:]
    return {"channels": 256, "levels": list(levels)}


_NAMES = {
    "model.num_classes": "data.classes",
    "model.kwargs.min_size": "data.image_size.short",
    "model.kwargs.max_size": "data.image_size.long",
    "model.kwargs.fixed_size": "data.image_size.square",
    "model.kwargs.size": "data.image_size.square",
}
_THRESHOLDS = {
    "detections_per_img": "eval.model_max_detections",
    "score_thresh": "eval.score_threshold",
    "nms_thresh": "eval.nms_iou",
}


def _plan_key(key: str) -> str:
    """The plan key that a key of the native file comes from."""
    if key.startswith("model.kwargs."):
        key = _NAMES.get(key) or _THRESHOLDS[key.removeprefix("model.kwargs.").removeprefix("box_")]
    return _NAMES.get(key, key)


def _differences(official: Any, config: Any, plan: Plan) -> Iterator[Override]:
    values = dict(_leaves(config))
    for key, was in {**dict.fromkeys(values), **dict(_leaves(official))}.items():
        value = values.get(key)
        if value != was:
            asked_by, kind = plan.asked_by(_plan_key(key))
            if key == "model.channels_last":
                asked_by, kind = "run.device", "host"
            elif key == "model.norm" and value == "batch" and plan.get("model.norm") == "sync":
                kind = "host"
            yield Override(key, was, value, asked_by, kind)


def _leaves(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is not a mapping."""
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _at(record: Any, key: str) -> Any:
    for part in key.split("."):
        record = record.get(part) if isinstance(record, Mapping) else None
    return record
