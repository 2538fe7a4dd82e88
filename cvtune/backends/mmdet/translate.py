"""Plan -> config.py: MMDetection's official config with the fewest overrides, each recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cvtune.backends.base import NativeConfig
from cvtune.backends.edits import Edits, config_text, delta
from cvtune.backends.mmdet.image_size import translate_size
from cvtune.backends.mmdet.models import model_of_plan
from cvtune.backends.mmdet.native import native_changes
from cvtune.backends.mmdet.translate_data import translate_data
from cvtune.backends.mmdet.translate_model import check_queries, translate_model
from cvtune.backends.mmdet.translate_schedule import translate_schedule
from cvtune.backends.mmdet.weights_names import has_resnet_names, starting_weights
from cvtune.backends.mmdet.zoo import read_official
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["translate"]

# What the Runner reads. Other names in an official file only help to write it (`data_root`, `train_pipeline`).
_CAN_BE_BASE = re.compile(r"\w+/\w")  # MMEngine takes no other folder name after `mmdet::`
_RUNNER_KEYS = (
    *("default_scope", "custom_imports", "model", "train_dataloader", "val_dataloader", "test_dataloader"),
    *("train_cfg", "val_cfg", "test_cfg", "optim_wrapper", "param_scheduler", "auto_scale_lr"),
    *("val_evaluator", "test_evaluator", "default_hooks", "custom_hooks", "load_from", "resume", "env_cfg"),
    *("log_processor", "log_level", "visualizer", "randomness", "find_unused_parameters", "model_wrapper_cfg"),
    *("sync_bn", "runner_type", "compile", "activation_checkpointing", "efficient_conv_bn_eval", "data_preprocessor"),
)


def translate(plan: Plan) -> NativeConfig:
    """Write a complete plan as MMDetection's config.py.

    Returns:
        The flat file, a short one that inherits from the official config, every difference with the spec field that
        asked for it, and what only cvtune's worker does.

    Raises:
        UnsupportedError: this config cannot do what a field asks; names the nearest thing that works.
        SpecError: a value is out of range, or `native` holds an unknown key.
    """
    zoo = plan["model.config"]
    model = model_of_plan(plan)
    official = read_official(zoo)
    edits = Edits({key: official.content[key] for key in _RUNNER_KEYS if key in official.content})
    _check(plan)
    translate_model(edits, plan, model)
    weights = starting_weights(plan["model.weights"], model)
    _load_from(edits, weights)
    translate_data(edits, plan)
    translate_size(edits, plan)
    translate_schedule(edits, plan)
    for path, value in list(native_changes(edits.config, plan.get("native") or {})):
        edits.set(path, value, "native")
    check_queries(edits, plan)
    overrides = edits.overrides
    header = (
        f"# MMDetection config of `{plan['name']}`: {zoo} with {len(overrides)} overrides (overrides.json says why).\n"
        f"# Accepted by MMDetection's own tools: python -m cvtune.kernels <mmdet>/.mim/tools/train.py THIS_FILE\n"
    )
    short = {"_base_": f"mmdet::{zoo}.py", **delta(official.content, edits.config)}
    short_text = config_text(short, f"# The same config as config.py, as its differences from {zoo}.\n")
    return NativeConfig(
        "config.py",
        config_text(edits.config, header),
        overrides,
        _extras(plan, weights),
        short_text if _CAN_BE_BASE.match(zoo) else None,
    )


def _check(plan: Plan) -> None:
    if plan["data.crowd"] == "ignore":
        raise UnsupportedError(
            "data.crowd: backend mmdet cannot do ignore (which assigners honour it differs from model to model); "
            "nearest: official (crowds are not trained on)"
        )
    if plan["task"] == "detect":
        stopping = plan["train.early_stopping"] or {}
        for key, metric in (
            ("train.checkpoint.best", plan["train.checkpoint.best"]),
            ("train.early_stopping.metric", stopping.get("metric")),
        ):
            if str(metric).startswith("segm/"):
                raise UnsupportedError(
                    f"{key}: backend mmdet cannot do {metric} with {plan['model.config']}, which predicts no masks; "
                    f"nearest: {str(metric).replace('segm', 'bbox')}"
                )


def _load_from(edits: Edits, weights: Mapping[str, Any]) -> None:
    """The checkpoint of a whole detector: the spec's, or none where the official config would start from one."""
    if weights["scope"] == "detector":
        edits.set(("load_from",), weights["value"], "model.weights")
    elif edits.config.get("load_from"):
        edits.set(("load_from",), None, "model.weights")
    if weights["scope"] == "backbone" and weights["kind"] != "imagenet":
        init = {"type": "Pretrained", "checkpoint": weights["value"]}
        edits.set(("model", "backbone", "init_cfg"), init, "model.weights")


def _extras(plan: Plan, weights: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the framework's own tool would leave out."""
    extras: dict[str, dict[str, Any]] = {}
    if weights["scope"] == "backbone" and weights["kind"] == "path" and not has_resnet_names(weights["value"]):
        mechanism = "cvtune's worker gives the backbone's tensors MMDetection's names"
        extras["model.weights"] = {"value": weights["value"], "mechanism": mechanism}
    if plan["data.skip_bad_images"]:
        extras["data.skip_bad_images"] = {"value": True, "mechanism": "cvtune's worker skips images it cannot read"}
    for key in ("every_minutes", "every_iterations"):
        field = f"train.checkpoint.{key}"
        if plan.asked(field) and plan[field]:
            extras[field] = {"value": plan[field], "mechanism": "cvtune's worker writes last.pth at these times"}
    return extras
