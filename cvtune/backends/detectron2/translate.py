"""Plan -> config.yaml or config.py: Detectron2's official config with the fewest overrides, each recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cvtune.backends.base import NativeConfig, Override
from cvtune.backends.detectron2.lazy.translate import translate_lazy
from cvtune.backends.detectron2.models import FAMILIES, MOBILENET, Model, composed, model_of
from cvtune.backends.detectron2.native import merge_native
from cvtune.backends.detectron2.translate_data import translate_data
from cvtune.backends.detectron2.translate_model import translate_model
from cvtune.backends.detectron2.translate_schedule import translate_schedule
from cvtune.backends.detectron2.weights_names import starting_weights
from cvtune.backends.detectron2.zoo import OfficialConfig, defaults, is_lazy, plain, read_official, weights_url
from cvtune.backends.edits import Edits
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan
from cvtune.spec import ModelSpec

__all__ = ["translate"]


def translate(plan: Plan) -> NativeConfig:
    """Write a complete plan as Detectron2's config.yaml, or as config.py where the official config is a LazyConfig.

    Returns:
        The flat file, a short one that inherits from the official config, every difference with the spec field that
        asked for it, and what only cvtune's worker does.

    Raises:
        UnsupportedError: this config cannot do what a field asks; names the nearest thing that works.
        SpecError: a value is out of range, or `native` holds an unknown key.
    """
    model = _model(plan)
    _check(plan)
    weights = starting_weights(plan["model.weights"], model)
    extras = _extras(plan, weights, model)
    if is_lazy(model.config):
        return translate_lazy(plan, model, weights, extras)
    official = read_official(model.config)
    edits = Edits(official.content)
    translate_model(edits, plan, model, weights)
    translate_data(edits, plan)
    extras |= translate_schedule(edits, plan)
    merged, changed = merge_native(edits.config, plan.get("native") or {})
    overrides = (*edits.overrides, *(Override(key, was, value, "native", "spec") for key, was, value in changed))
    text = _text(plan, model, merged, len(overrides))
    return NativeConfig("config.yaml", text, overrides, extras, _delta(official, merged))


def _model(plan: Plan) -> Model:
    """The model again, from the plan: it names family and backbone, and the official config that was started from."""
    family, backbone = plan["model.family"], plan["model.backbone"]
    allowed = family in FAMILIES and backbone in {**FAMILIES[family], **composed(family)}
    return model_of(ModelSpec(family=family, backbone=backbone) if allowed else ModelSpec(zoo=plan["model.config"]))


def _check(plan: Plan) -> None:
    """Refuse what neither Detectron2 nor cvtune's worker can do."""
    if plan["data.crowd"] == "ignore":
        raise UnsupportedError(
            "data.crowd: backend detectron2 cannot do ignore (its matchers ignore no regions); nearest: official "
            "(crowds are not trained on)"
        )
    if plan["task"] == "segment":
        return
    stopping = plan["train.early_stopping"] or {}
    for key, metric in (
        ("train.checkpoint.best", plan["train.checkpoint.best"]),
        ("train.early_stopping.metric", stopping.get("metric")),
    ):
        if str(metric).startswith("segm/"):
            raise UnsupportedError(
                f"{key}: backend detectron2 cannot do {metric} with {plan['model.config']}, which predicts no masks; "
                f"nearest: {str(metric).replace('segm', 'bbox')}"
            )


def _text(plan: Plan, model: Model, config: Mapping[str, Any], overrides: int) -> str:
    needs = "    import cvtune.backends.detectron2.mobilenet  # the backbone\n"
    header = (
        f"# Detectron2 config of `{plan['name']}`: {model.config} with {overrides} overrides (see overrides.json).\n"
        f"# Accepted by Detectron2 itself: cfg = get_cfg(); cfg.merge_from_file(THIS_FILE)\n"
    )
    if model.backbone == MOBILENET:
        header += f"# after\n#{needs}"
    return f"{header}{_yaml(config)}"


def _yaml(config: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(_lists(config), sort_keys=False, default_flow_style=None, width=118, allow_unicode=True)
    return text


def _lists(node: Any) -> Any:
    """Tuples as lists, which YAML has; Detectron2 turns them back where the default is a tuple."""
    if isinstance(node, Mapping):
        return {key: _lists(value) for key, value in node.items()}
    return [_lists(item) for item in node] if isinstance(node, list | tuple) else node


def _delta(official: OfficialConfig, config: Mapping[str, Any]) -> str:
    """A short file that inherits from the official one in the installed package."""
    short = {"_BASE_": str(official.path), **_differences(official.content, config)}
    start = f"# The same config as config.yaml, as its differences from {official.name}.\n"
    return start + _yaml({**short, "VERSION": plain(defaults())["VERSION"]})


def _differences(official: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in config.items():
        before = official[key]
        if isinstance(value, Mapping):
            inner = _differences(before, value)
            if inner:
                changed[key] = inner
        elif _lists(before) != _lists(value):
            changed[key] = value
    return changed


def _extras(plan: Plan, weights: Mapping[str, Any], model: Model) -> dict[str, dict[str, Any]]:
    """What Detectron2's own tool would leave out, but for the schedule."""
    found = {**weights, "value": weights_url(str(weights["value"])) if weights["kind"] == "url" else weights["value"]}
    extras: dict[str, dict[str, Any]] = {
        "weights": {**found, "mechanism": "cvtune's worker loads them, lists what did not fit, and renames layers"}
    }
    if model.backbone == MOBILENET:
        extras["model.backbone"] = {
            "value": "cvtune.backends.detectron2.mobilenet",
            "mechanism": "the module that registers the backbone; import it before the model is built",
        }
    if plan.asked("data.augment"):
        extras["data.augment"] = {
            "value": plan["data.augment"],
            "mechanism": "cvtune's worker augments before Detectron2 resizes",
        }
    if plan["data.skip_bad_images"]:
        extras["data.skip_bad_images"] = {"value": True, "mechanism": "cvtune's worker skips images it cannot read"}
    return extras
