"""The recipe side of a translation: length, batch, optimizer, schedule, precision; and what the worker adds to it."""

from __future__ import annotations

from typing import Any

from cvtune.backends.edits import Edits
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["translate_schedule"]

_SOLVER = "SOLVER"
_WORKER = "cvtune's worker"
Extras = dict[str, dict[str, Any]]


def translate_schedule(edits: Edits, plan: Plan) -> Extras:
    """Honour the spec's `train` fields, the batch size and the evaluation interval.

    Returns:
        What YAML cannot say: field -> {"value", "mechanism"}.

    Raises:
        UnsupportedError: mixed precision on a CPU.
    """
    if not plan.recipe_is_official("data.batch_size"):
        edits.set((_SOLVER, "IMS_PER_BATCH"), int(plan["data.batch_size"]), "data.batch_size", _kind(plan))
    official = plan.recipe_is_official("train.epochs") and plan.recipe_is_official("train.iterations")
    length = _length_field(plan)
    if not official:
        edits.set((_SOLVER, "MAX_ITER"), int(plan["train.iterations"]), length)
    extras = _optimizer(edits, plan)
    extras |= _schedule(edits, plan, official, length)
    extras |= _precision(edits, plan)
    _periods(edits, plan, official)
    extras |= _worker_extras(plan)
    return extras


def _kind(plan: Plan) -> Any:
    return "spec" if plan.reasons["data.batch_size"] == "spec" else "host"


def _length_field(plan: Plan) -> str:
    """Which field the length of the run comes from."""
    field = "train.iterations" if plan.reasons["train.iterations"] == "spec" else "train.epochs"
    return field if plan.reasons[field] == "spec" else "train.recipe"


def _optimizer(edits: Edits, plan: Plan) -> Extras:
    for field, key in (
        ("train.optimizer.lr", "BASE_LR"),
        ("train.optimizer.momentum", "MOMENTUM"),
        ("train.optimizer.weight_decay", "WEIGHT_DECAY"),
    ):
        value = plan[field]
        if value is not None and value != plan.recipe.values.get(field):
            asked = field if plan.reasons[field] == "spec" else _why_rate(plan, field)
            edits.set((_SOLVER, key), float(value), asked, "spec" if asked != "data.batch_size" else _kind(plan))
    name = plan["train.optimizer.name"]
    if name == "sgd":
        return {}
    mechanism = f"{_WORKER}: torch.optim.AdamW over Detectron2's parameter groups; Detectron2's own tool would use SGD"
    return {"train.optimizer.name": {"value": name, "mechanism": mechanism}}


def _why_rate(plan: Plan, field: str) -> str:
    reason = plan.reasons[field]
    if "in place of" in reason:
        return "train.optimizer.name"
    return "train.recipe" if "detector weights" in reason else "data.batch_size"


def _schedule(edits: Edits, plan: Plan, official: bool, length: str) -> Extras:
    fields = [f"train.schedule.{key}" for key in ("name", "milestones", "gamma")]
    asked = next((field for field in fields if plan.reasons[field].startswith("spec")), None)
    name, total = plan["train.schedule.name"], int(plan["train.iterations"])
    field = asked or length
    if asked or not official:
        # A rule that YAML cannot say has its nearest one there, for whoever runs the file with Detectron2's own tool.
        rule = "WarmupMultiStepLR" if name in ("multistep", "constant") else "WarmupCosineLR"
        edits.set((_SOLVER, "LR_SCHEDULER_NAME"), rule, field)
        if rule == "WarmupMultiStepLR":
            steps = {max(1, round(m * plan["train.steps_per_epoch"])) for m in plan["train.schedule.milestones"]}
            edits.set((_SOLVER, "STEPS"), tuple(sorted(step for step in steps if step < total)), field)
        gamma = plan["train.schedule.gamma"]
        if name == "multistep" and gamma is not None:
            edits.set((_SOLVER, "GAMMA"), float(gamma), field)
    warmup = "train.schedule.warmup_iterations"
    if not official or plan.reasons[warmup] == "spec":
        edits.set((_SOLVER, "WARMUP_ITERS"), int(plan[warmup]), warmup if plan.reasons[warmup] == "spec" else length)
    floor = float(plan["train.schedule.min_lr"] or 0.0)
    if name != "onecycle" and not floor:
        return {}
    rule_of_ours = {
        "name": name,
        "milestones": list(plan["train.schedule.milestones"]),
        "gamma": plan["train.schedule.gamma"] if plan["train.schedule.gamma"] is not None else 0.1,
        "warmup_iterations": int(plan[warmup]),
        "min_lr": floor,
    }
    return {"train.schedule": {"value": rule_of_ours, "mechanism": f"{_WORKER} sets the rate of every step"}}


def _precision(edits: Edits, plan: Plan) -> Extras:
    precision, device = plan["train.precision"], plan["run.device"]
    if plan.recipe_is_official("train.precision") and device == "cuda":
        return {}
    if precision != "fp32" and device == "cpu":
        raise UnsupportedError(
            f"train.precision: backend detectron2 cannot do {precision} on a CPU (its mixed precision needs CUDA); "
            "nearest: fp32"
        )
    kind: Any = "spec" if plan.reasons["train.precision"] == "spec" else "host"
    edits.set((_SOLVER, "AMP", "ENABLED"), precision == "fp16", "train.precision", kind)
    if precision != "bf16":
        return {}
    return {"train.precision": {"value": "bf16", "mechanism": f"{_WORKER}: autocast; Detectron2's own AMP is fp16"}}


def _periods(edits: Edits, plan: Plan, official: bool) -> None:
    """How often is scored and saved, in iterations; the seed."""
    per_epoch = int(plan["train.steps_per_epoch"])
    if not official or plan.reasons["eval.every_epochs"] == "spec":
        every = int(plan["eval.every_epochs"])
        edits.set(("TEST", "EVAL_PERIOD"), every * per_epoch, "eval.every_epochs")
    for field, unit in (("train.checkpoint.every_epochs", per_epoch), ("train.checkpoint.every_iterations", 1)):
        if plan.reasons[field] == "spec" and plan[field]:
            edits.set((_SOLVER, "CHECKPOINT_PERIOD"), int(plan[field]) * unit, field)
    if not plan.recipe_is_official("train.seed"):
        edits.set(("SEED",), int(plan["train.seed"]), "train.seed")


def _worker_extras(plan: Plan) -> Extras:
    extras: Extras = {}
    for field, mechanism in (
        ("train.gradient_clip", "limits the norm of the whole gradient"),
        ("train.ema", "averages the weights"),
        ("train.early_stopping", "stops by its own scores"),
    ):
        if plan[field]:
            extras[field] = {"value": plan[field], "mechanism": f"{_WORKER} {mechanism}"}
    if int(plan["train.accumulate"]) > 1:
        mechanism = f"{_WORKER} sums gradients over this many batches; MAX_ITER counts updates"
        extras["train.accumulate"] = {"value": int(plan["train.accumulate"]), "mechanism": mechanism}
    for key in ("every_minutes", "keep", "best"):
        field = f"train.checkpoint.{key}"
        if plan.reasons[field] == "spec" and plan[field]:
            extras[field] = {"value": plan[field], "mechanism": f"{_WORKER} writes last.pth and best.pth"}
    return extras
