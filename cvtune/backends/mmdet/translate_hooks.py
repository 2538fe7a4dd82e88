"""Hooks of a translation: phases of a run, averaged weights, seed, logs, checkpoints, early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cvtune.backends.edits import Edits
from cvtune.backends.mmdet.length import Length
from cvtune.backends.mmdet.signatures import default_of
from cvtune.backends.mmdet.zoo import walk
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["translate_hooks"]

LATE_SHARE = 0.1
"""Phases of a recipe's last epochs (YOLOX 15, RTMDet 20 of 300) are at most this share of a shorter run."""
# What some models do for the first part of a run, by the key that says for how long: the class that has it by default.
_FIRST_PHASES: Mapping[str, str | None] = {"initial_epoch": None, "warmup_iters": "BoxInstMaskHead"}
_EMA = {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.001, "update_buffers": True, "priority": 49}
EMA_GAMMA = 2000
"""MMEngine's default horizon of the warm-up of ExpMomentumEMA, in iterations."""
EMA_WARM_UP = 5
"""A run's length over that horizon: at its end little is left of the warm-up (e^-5), yet the start is forgotten. With
the default horizon, the average of a run of a thousand iterations is its last weights."""
_VIS_BACKENDS = {"tensorboard": "TensorboardVisBackend", "mlflow": "MLflowVisBackend", "wandb": "WandbVisBackend"}


def translate_hooks(edits: Edits, plan: Plan, length: Length) -> None:
    """Honour what the spec says of averaging, seed, logs, checkpoints and stopping; move phases with the length."""
    _first_phases(edits, length)
    _late_phases(edits, plan, length)
    _ema(edits, plan, length)
    _hooks(edits, plan, length)


def _first_phases(edits: Edits, length: Length) -> None:
    """What a model does in the first part of the official run takes the same share of a shorter one."""
    if length.official:
        return
    for path, node in list(walk(edits.get(("model",)), ("model",))):
        for key, kind in _FIRST_PHASES.items():
            official = node.get(key, default_of(kind, key) if kind and node.get("type") == kind else None)
            if isinstance(official, int):
                shorter = min(official, round(official * length.ratio))
                edits.set((*path, key), max(shorter, int(key != "initial_epoch")), length.field)


def _late_phases(edits: Edits, plan: Plan, length: Length) -> None:
    """What happens in the last epochs of the official run happens in the last epochs of this one."""
    if length.official or "max_epochs" not in edits.get(("train_cfg",)):
        return
    most = max(1, math.ceil(LATE_SHARE * length.epochs))
    for index, hook in enumerate(edits.get(("custom_hooks",)) or []):
        if hook["type"] == "YOLOXModeSwitchHook":
            last = min(int(hook.get("num_last_epochs", 15)), most)
            edits.set(("custom_hooks", index, "num_last_epochs"), last, length.field)
        elif hook["type"] == "PipelineSwitchHook":
            last = min(max(0, length.official_length - int(hook["switch_epoch"])), most)
            edits.set(("custom_hooks", index, "switch_epoch"), length.epochs - last, length.field)


def _ema(edits: Edits, plan: Plan, length: Length) -> None:
    hooks = edits.get(("custom_hooks",)) or []
    at = next((index for index, hook in enumerate(hooks) if hook["type"] == "EMAHook"), None)
    wanted = plan["train.ema"]
    if plan.asked("train.ema") and not (wanted is True and at is not None):
        if not wanted:
            if at is not None:
                edits.replace_list(("custom_hooks",), hooks[:at] + hooks[at + 1 :], "train.ema")
            return
        momentum = _EMA["momentum"] if wanted is True else round(1.0 - float(wanted), 9)
        gamma = max(1, min(EMA_GAMMA, round(length.iterations / EMA_WARM_UP)))
        if at is None:
            hook = {**_EMA, "momentum": momentum, "gamma": gamma}
            edits.replace_list(("custom_hooks",), [*hooks, hook], "train.ema")
        else:
            edits.set(("custom_hooks", at, "momentum"), momentum, "train.ema")
            if hooks[at].get("ema_type") == "ExpMomentumEMA" and gamma < EMA_GAMMA:
                edits.set(("custom_hooks", at, "gamma"), gamma, "train.ema")
        return
    if at is None or length.official:
        return
    # The average's horizon, 1 / momentum, and its warm-up keep their share of the run.
    shorter = max(1.0, _official_iterations(plan, length) / length.iterations)
    if shorter > 1:
        momentum = min(0.1, float(hooks[at].get("momentum", 0.0002)) * shorter)
        edits.set(("custom_hooks", at, "momentum"), float(f"{momentum:.4g}"), length.field)
        if hooks[at].get("ema_type") == "ExpMomentumEMA":
            gamma = max(1, round(EMA_GAMMA / shorter))
            edits.set(("custom_hooks", at, "gamma"), gamma, length.field)


def _official_iterations(plan: Plan, length: Length) -> float:
    if length.by_iteration:
        return length.official_length
    images, batch = plan.recipe.dataset_images, int(plan.recipe.values["data.batch_size"])
    return int(plan.recipe.values["train.epochs"]) * images / batch


def _hooks(edits: Edits, plan: Plan, length: Length) -> None:
    """Seed, logging, checkpoints, early stopping: what the framework's own tool does with them, too."""
    if not plan.recipe_is_official("train.seed"):
        edits.set(("randomness",), {"seed": int(plan["train.seed"])}, "train.seed")
    if not plan.recipe_is_official("train.log_every"):
        edits.set(("default_hooks", "logger", "interval"), int(plan["train.log_every"]), "train.log_every")
    path = ("default_hooks", "checkpoint")
    by_iteration = "max_iters" in edits.get(("train_cfg",))
    every = "train.checkpoint.every_epochs"
    if plan.asked(every):
        edits.set((*path, "interval"), int(plan[every]) * (length.per_epoch if by_iteration else 1), every)
        if by_iteration:
            edits.set((*path, "by_epoch"), False, every)
    if plan.asked("train.checkpoint.keep") and plan["train.checkpoint.keep"]:
        edits.set((*path, "max_keep_ckpts"), int(plan["train.checkpoint.keep"]), "train.checkpoint.keep")
    best = "train.checkpoint.best"
    if plan.asked(best):
        edits.set((*path, "save_best"), coco_metric(plan[best], best), best)
    stopping = plan["train.early_stopping"]
    hooks = edits.get(("custom_hooks",)) or []
    if stopping:
        hook = {
            "type": "EarlyStoppingHook",
            "monitor": coco_metric(stopping["metric"], "train.early_stopping.metric"),
            "rule": "greater",
            "patience": int(stopping["patience"]),
        }
        edits.replace_list(("custom_hooks",), [*hooks, hook], "train.early_stopping")
    loggers = plan["train.loggers"] or []
    if loggers:
        # For MMDetection's own tools: cvtune's worker logs by itself, and gives its Runner none of these.
        backends = [dict(item) for item in edits.get(("visualizer", "vis_backends")) or []]
        wanted = [*backends, *({"type": _VIS_BACKENDS[name]} for name in loggers)]
        edits.replace_list(("visualizer", "vis_backends"), wanted, "train.loggers")


def coco_metric(name: str, field: str) -> str:
    """CocoMetric's name of a score such as ``bbox/AP50``."""
    kind, score = name.split("/")
    known = {"AP": "mAP", "AP50": "mAP_50", "AP75": "mAP_75", "APs": "mAP_s", "APm": "mAP_m", "APl": "mAP_l"}
    if score not in known:
        raise UnsupportedError(
            f"{field}: backend mmdet cannot do {name} (MMDetection's CocoMetric selects by APs); nearest: {kind}/AP"
        )
    return f"coco/{kind}_{known[score]}"
