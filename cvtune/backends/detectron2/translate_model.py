"""The model side of a translation: backbone, classes, weights and how images are fed to them, norms, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.detectron2.models import Model, change
from cvtune.backends.detectron2.recipes import score_section
from cvtune.backends.edits import Edits, Path
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["NORMS", "translate_model"]

_RESNETS: Path = ("MODEL", "RESNETS")
NORMS = {"frozen": "FrozenBN", "batch": "BN", "sync": "SyncBN"}
# Every key that names a norm layer of a detector; the backbone's first.
_NORM_KEYS: tuple[Path, ...] = tuple(
    ("MODEL", section, "NORM") for section in ("RESNETS", "FPN", "ROI_BOX_HEAD", "ROI_MASK_HEAD", "RETINANET")
)
_CLASS_KEYS: tuple[Path, ...] = tuple(("MODEL", section, "NUM_CLASSES") for section in ("ROI_HEADS", "RETINANET"))


def translate_model(edits: Edits, plan: Plan, model: Model, weights: Mapping[str, Any]) -> None:
    """Honour the spec's `model` and `eval` fields, the number of classes, and the device."""
    for path, value in model.changes:
        field = "model.family" if path == ("MODEL", "MASK_ON") else "model.backbone"
        if path != ("MODEL", "WEIGHTS"):
            change(edits, path, value, field)
    for key in _CLASS_KEYS:
        edits.set(key, len(plan.class_map.names), "data.classes", "data")
    edits.set(("MODEL", "WEIGHTS"), weights["value"], "model.weights")
    for name, value in weights["input"].items():
        edits.set(tuple(name.split(".")), value, "model.weights")
    stages = plan["model.frozen_stages"]
    _check_frozen_stages(edits, plan)
    if stages != plan.recipe.values["model.frozen_stages"]:
        last = 0 if stages is None else int(stages) + 1
        edits.set(("MODEL", "BACKBONE", "FREEZE_AT"), last, *plan.asked_by("model.frozen_stages"))
    _norm(edits, plan)
    _thresholds(edits, plan)
    edits.set(("MODEL", "DEVICE"), plan["run.device"], "run.device", "host")


def _check_frozen_stages(edits: Edits, plan: Plan) -> None:
    """Refuse to freeze a stage that is no part of the backbone: the last one of a C4 model is the head of its boxes."""
    stages = plan["model.frozen_stages"]
    last = max(int(name.removeprefix("res")) - 1 for name in edits.get((*_RESNETS, "OUT_FEATURES")))
    if stages is not None and stages > last:
        raise UnsupportedError(
            f"model.frozen_stages: backend detectron2 cannot freeze {stages} of {plan['model.config']}, whose stage "
            f"{stages} is the head of the boxes; nearest: {last}"
        )


def _norm(edits: Edits, plan: Plan) -> None:
    norm = plan["model.norm"]
    wanted = NORMS.get(norm)
    if wanted is not None and (norm != _official_norm(edits)):
        asked = plan.asked_by("model.norm")
        edits.set(_NORM_KEYS[0], wanted, *asked)
        if plan.asked("model.norm"):
            for path in _NORM_KEYS[1:]:
                if edits.get(path) in ("BN", "SyncBN") and norm != "frozen":
                    edits.set(path, wanted, *asked)
    if int(plan["run.devices"]) * int(plan["run.nodes"]) == 1 or plan["run.device"] == "cpu":
        for path in _NORM_KEYS:
            if "SyncBN" in str(edits.get(path)):
                edits.set(path, "BN", "run.devices", "host")


def _official_norm(edits: Edits) -> str | None:
    return next((name for name, kind in NORMS.items() if edits.get(_NORM_KEYS[0]) == kind), None)


def _thresholds(edits: Edits, plan: Plan) -> None:
    section = score_section(edits.config)
    for field, path in (
        ("eval.model_max_detections", ("TEST", "DETECTIONS_PER_IMAGE")),
        ("eval.score_threshold", (*section, "SCORE_THRESH_TEST")),
        ("eval.nms_iou", (*section, "NMS_THRESH_TEST")),
    ):
        if plan.asked(field):
            value = plan[field]
            edits.set(path, int(value) if field == "eval.model_max_detections" else float(value), field)
