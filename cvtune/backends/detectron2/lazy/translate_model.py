"""The model side of a LazyConfig's translation: backbone, classes, weights and what they need, norms, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.detectron2.lazy.keys import (
    INPUT_PATHS,
    backbone_norms,
    class_counts,
    freezing,
    head_norms,
    norm_name,
    thresholds,
)
from cvtune.backends.detectron2.models import Model, change
from cvtune.backends.detectron2.translate_model import NORMS
from cvtune.backends.detectron2.weights_names import WEIGHTS_PATHS
from cvtune.backends.edits import Edits
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["translate_model"]

_WEIGHTS = WEIGHTS_PATHS[1]


def translate_model(edits: Edits, plan: Plan, model: Model, weights: Mapping[str, Any]) -> None:
    """Honour the spec's `model` and `eval` fields, the number of classes, and the device.

    Raises:
        UnsupportedError: another norm for a model of MMDetection's.
    """
    for path, value in model.changes:
        if path != _WEIGHTS:
            change(edits, path, value, "model.backbone")
    for count in class_counts(edits.config):
        edits.set(count, len(plan.class_map.names), "data.classes", "data")
    if edits.get(_WEIGHTS) is not None:  # MMDetection's models name them elsewhere
        edits.set(_WEIGHTS, weights["value"], "model.weights")
    for name, value in weights["input"].items():
        for place in INPUT_PATHS[name]:
            if edits.get(place) is not None:
                edits.set(place, value, "model.weights")
    stages = plan["model.frozen_stages"]
    if stages != plan.recipe.values["model.frozen_stages"]:
        where, stem = freezing(edits.config)
        last = stem - 1 if stages is None else stem + int(stages)
        edits.set(where, last, *plan.asked_by("model.frozen_stages"))
    _norm(edits, plan)
    for field, (at, _) in thresholds(edits.config).items():
        if plan.asked(field):
            number = plan[field]
            edits.set(at, int(number) if field == "eval.model_max_detections" else float(number), field)
    edits.set(("train", "device"), plan["run.device"], "run.device", "host")


def _norm(edits: Edits, plan: Plan) -> None:
    norm = plan["model.norm"]
    wanted = NORMS.get(norm)
    backbone, heads = backbone_norms(edits.config), head_norms(edits.config)
    if not backbone:
        if plan.asked("model.norm") and norm != "official":
            raise UnsupportedError(
                f"model.norm: backend detectron2 cannot do {norm} with {plan['model.config']}, whose model is "
                "MMDetection's; nearest: official, or backend mmdet"
            )
        return
    if wanted is not None and wanted != norm_name(edits.get(backbone[0])):
        asked = plan.asked_by("model.norm")
        for path in backbone:
            edits.set(path, wanted, *asked)
        if plan.asked("model.norm") and norm != "frozen":
            for path in heads:
                if norm_name(edits.get(path)) in ("BN", "SyncBN"):
                    edits.set(path, wanted, *asked)
    if int(plan["run.devices"]) * int(plan["run.nodes"]) == 1 or plan["run.device"] == "cpu":
        for path in (*backbone, *heads):
            if norm_name(edits.get(path)) == "SyncBN":
                edits.set(path, "BN", "run.devices", "host")
