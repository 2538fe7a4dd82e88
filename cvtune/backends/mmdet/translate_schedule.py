"""The recipe side of a translation: batch, length, optimizer, schedule, precision, steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cvtune.backends.edits import Edits
from cvtune.backends.mmdet.length import Length
from cvtune.backends.mmdet.recipes import main_scheduler, warmup_of
from cvtune.backends.mmdet.translate_hooks import translate_hooks
from cvtune.backends.mmdet.zoo import walk
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["translate_schedule"]

_OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}
_WARM_UP = "train.schedule.warmup_iterations"


def translate_schedule(edits: Edits, plan: Plan) -> None:
    """Honour the spec's `train` fields, the batch size and the evaluation interval."""
    _batch(edits, plan)
    length = Length(edits, plan)
    length.apply()
    _optimizer(edits, plan)
    _schedule(edits, plan, length)
    translate_hooks(edits, plan, length)
    _precision(edits, plan)
    _steps(edits, plan)


def _batch(edits: Edits, plan: Plan) -> None:
    processes = int(plan["run.devices"]) * int(plan["run.nodes"])
    share = int(plan["data.batch_size"]) // processes
    official = plan["data.batch_size"] == plan.recipe.values["data.batch_size"]  # shared by fewer or more processes
    asked = plan.asked_by("run.devices" if official else "data.batch_size")
    edits.set(("train_dataloader", "batch_size"), share, *asked)


def _optimizer(edits: Edits, plan: Plan) -> None:
    path = ("optim_wrapper", "optimizer")
    name = plan["train.optimizer.name"]
    if name != str(edits.get((*path, "type"))).lower():
        wanted = {"type": _OPTIMIZERS[name], "lr": plan["train.optimizer.lr"]}
        wanted |= {"weight_decay": plan["train.optimizer.weight_decay"] or 0.0}
        if name == "sgd":
            wanted["momentum"] = plan["train.optimizer.momentum"]
        edits.set(path, wanted, "train.optimizer.name")
        return
    for key in ("lr", "momentum", "weight_decay"):
        field = f"train.optimizer.{key}"
        value = plan[field]
        if value is not None and value != plan.recipe.values.get(field):
            edits.set((*path, key), value, *plan.asked_by(field))


def _schedule(edits: Edits, plan: Plan, length: Length) -> None:
    schedulers, _ = main_scheduler(edits.config)
    warmup, _ = warmup_of(edits.config)
    fields = [f"train.schedule.{key}" for key in ("name", "milestones", "gamma", "min_lr")]
    if warmup is None and plan[_WARM_UP]:
        fields.append(_WARM_UP)
    asked = next((field for field in fields if plan.asked(field)), None)
    if asked is not None:
        edits.replace_list(("param_scheduler",), _own_schedule(plan, length), asked)
        return
    official = [dict(item) for item in schedulers]
    if not length.official:
        for index, item in enumerate(schedulers):
            if index != warmup:
                _scale(item, length)
    if warmup is not None:
        _scale_warmup(schedulers[warmup], plan, length)
        _follow_warmup(schedulers, official, warmup, length)
    # MMEngine refuses a part without an iteration: no warm-up, or the last phase of a run of a few steps.
    schedulers = [item for item in schedulers if item.get("begin", 0) < item.get("end", math.inf)]
    if schedulers != official:
        asked, kind = _who_asked(plan, length)
        edits.replace_list(("param_scheduler",), schedulers, asked, kind)
    _scale_floor(edits, plan)


def _who_asked(plan: Plan, length: Length) -> tuple[str, Any]:
    """Whom the official schedule's change serves: another length, another warm-up, or data too few for the warm-up."""
    if not length.official:
        return length.field, "spec"
    if plan.asked(_WARM_UP):
        return _WARM_UP, "spec"
    return ("train.accumulate", "spec") if length.accumulate > 1 else (_WARM_UP, "data")


def _own_schedule(plan: Plan, length: Length) -> list[dict[str, Any]]:
    """A schedule of the spec's own, in iterations: the warm-up, then the rule."""
    warm = length.warm_up
    total, name = length.iterations, plan["train.schedule.name"]
    if name == "multistep" and plan["train.schedule.min_lr"]:
        raise UnsupportedError(
            f"train.schedule.min_lr: backend mmdet cannot keep {plan['train.schedule.min_lr']:g} under a schedule by "
            "steps (MMEngine's MultiStepLR has no lowest rate); nearest: train.schedule.name: cosine"
        )
    schedulers: list[dict[str, Any]] = []
    if warm and name != "onecycle":
        schedulers.append({"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": warm})
    if name == "multistep":
        milestones = sorted({max(1, round(m * length.per_epoch)) for m in plan["train.schedule.milestones"]})
        gamma = plan["train.schedule.gamma"]
        schedulers.append(
            {
                "type": "MultiStepLR",
                "by_epoch": False,
                "begin": 0,
                "end": total,
                "milestones": milestones,
                "gamma": 0.1 if gamma is None else gamma,
            }
        )
    elif name == "cosine":
        schedulers.append(
            {
                "type": "CosineAnnealingLR",
                "by_epoch": False,
                "begin": warm,
                "end": total,
                "T_max": max(1, total - warm),
                "eta_min": float(plan["train.schedule.min_lr"] or 0.0),
            }
        )
    elif name == "onecycle":
        lr = float(plan["train.optimizer.lr"])
        schedulers.append({"type": "OneCycleLR", "by_epoch": False, "eta_max": lr, "total_steps": total})
    return schedulers


def _scale(item: dict[str, Any], length: Length) -> None:
    """Move a scheduler's epochs or iterations with the length of the run.

    A scheduler by epoch stays one where every number stays whole; else it becomes one by iteration.
    """
    by_epoch = item.get("by_epoch", True)
    keys = [key for key in ("begin", "end", "T_max", "step_size") if item.get(key) is not None]
    values = {key: float(item[key]) * length.ratio for key in keys}
    steps = [float(step) * length.ratio for step in item.get("milestones", [])]
    if steps and by_epoch != length.by_iteration and max(steps) > values.get("end", math.inf):
        # Some official files inherit the end of a shorter run, after which MMEngine lowers the rate no more.
        values["end"] = length.official_length * length.ratio
    if by_epoch and "max_epochs" in length.edits.get(("train_cfg",)):
        numbers = [*values.values(), *steps]
        if all(abs(number - round(number)) < 1e-9 for number in numbers):
            _put(item, {key: round(value) for key, value in values.items()}, [round(step) for step in steps])
            return
    unit = _unit(length, by_epoch)
    _put(
        item,
        {key: round(value * unit) for key, value in values.items()},
        sorted({round(step * unit) for step in steps}),
    )
    if "T_max" in item:
        item["T_max"] = max(1, item["T_max"])
    item["by_epoch"] = False
    item.pop("convert_to_iter_based", None)


def _unit(length: Length, by_epoch: bool) -> float:
    """Iterations in a scaled epoch of the official config, or in a scaled iteration."""
    return length.iterations / (length.official_length * length.ratio) if by_epoch else 1.0


def _put(item: dict[str, Any], values: Mapping[str, int], steps: list[int]) -> None:
    item.update(values)
    if steps:
        item["milestones"] = steps


def _scale_warmup(item: dict[str, Any], plan: Plan, length: Length) -> None:
    """The plan's warm-up, by iteration where it is not the official one; an end of 0 where there is none."""
    unit = length.per_epoch if item.get("by_epoch", True) else 1
    if round(item["end"] * unit / length.accumulate) == int(plan[_WARM_UP]):
        return
    item["by_epoch"] = False
    item.pop("convert_to_iter_based", None)
    item["end"] = length.warm_up


def _follow_warmup(
    schedulers: list[dict[str, Any]], official: list[dict[str, Any]], warmup: int, length: Length
) -> None:
    """A scheduler that began where the warm-up ended still does, with as much of its period before its end."""
    before, after = official[warmup], schedulers[warmup]
    for old, new in zip(official, schedulers, strict=True):
        same_unit = old.get("by_epoch", True) == before.get("by_epoch", True)
        if old is before or not same_unit or not old.get("begin") or old["begin"] != before.get("end"):
            continue
        if new.get("by_epoch", True) and not after.get("by_epoch", True):
            unit = _unit(length, True)
            for key in ("begin", "end", "T_max"):
                if new.get(key) is not None:
                    new[key] = round(float(new[key]) * unit)
            new["by_epoch"] = False
            new.pop("convert_to_iter_based", None)
        new["begin"] = after["end"]
        if "T_max" in new:
            share = old["T_max"] / (old["end"] - old["begin"])
            new["T_max"] = max(1, round(share * (new["end"] - new["begin"])))


def _scale_floor(edits: Edits, plan: Plan) -> None:
    """An absolute lowest rate moves with the rate."""
    official, lr = plan.recipe.values.get("train.optimizer.lr"), plan["train.optimizer.lr"]
    if not official or lr == official:
        return
    for path, item in list(walk(edits.get(("param_scheduler",)), ("param_scheduler",))):
        if item.get("eta_min"):
            edits.set((*path, "eta_min"), item["eta_min"] * lr / official, "train.optimizer.lr")


def _precision(edits: Edits, plan: Plan) -> None:
    precision, device = plan["train.precision"], plan["run.device"]
    path = ("optim_wrapper",)
    amp = edits.get((*path, "type")) == "AmpOptimWrapper"
    asked = plan.asked_by("train.precision")
    if precision != "fp32" and device == "cpu":
        raise UnsupportedError(
            f"train.precision: backend mmdet cannot do {precision} on a CPU (MMEngine's AMP needs CUDA); nearest: fp32"
        )
    if precision == "fp32":
        if amp:
            edits.set((*path, "type"), "OptimWrapper", *asked)
            for key in ("loss_scale", "dtype", "use_fsdp"):
                edits.remove((*path, key), *asked)
        return
    edits.set((*path, "type"), "AmpOptimWrapper", *asked)
    if precision == "bf16":
        edits.set((*path, "dtype"), "bfloat16", *asked)
        edits.remove((*path, "loss_scale"), *asked)
    else:
        edits.remove((*path, "dtype"), *asked)


def _steps(edits: Edits, plan: Plan) -> None:
    if plan.asked("train.gradient_clip"):
        clip = {"max_norm": plan["train.gradient_clip"], "norm_type": 2}
        edits.set(("optim_wrapper", "clip_grad"), clip, "train.gradient_clip")
    if int(plan["train.accumulate"]) > 1:
        edits.set(("optim_wrapper", "accumulative_counts"), int(plan["train.accumulate"]), "train.accumulate")
    if edits.get(("auto_scale_lr", "enable")):
        edits.set(("auto_scale_lr", "enable"), False, "train.optimizer.lr")
