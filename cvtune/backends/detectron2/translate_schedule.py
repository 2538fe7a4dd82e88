"""The recipe side of a translation: length, batch, optimizer, schedule, precision; and what the worker adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.edits import Edits, Path
from cvtune.backends.schedule import milestone_steps
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = [
    "rule_extra",
    "set_periods",
    "set_precision",
    "set_rates",
    "translate_schedule",
    "worker_extras",
]

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
        edits.set((_SOLVER, "IMS_PER_BATCH"), int(plan["data.batch_size"]), *plan.asked_by("data.batch_size"))
    official = plan.recipe_is_official("train.epochs") and plan.recipe_is_official("train.iterations")
    length, _ = plan.asked_by("train.iterations")
    if not official:
        edits.set((_SOLVER, "MAX_ITER"), int(plan["train.iterations"]), length)
    extras = _optimizer(edits, plan)
    extras |= _schedule(edits, plan, official, length)
    extras |= set_precision(edits, plan, (_SOLVER, "AMP", "ENABLED"))
    set_periods(edits, plan, official, ("TEST", "EVAL_PERIOD"), (_SOLVER, "CHECKPOINT_PERIOD"), ("SEED",))
    extras |= worker_extras(plan)
    return extras


def set_rates(edits: Edits, plan: Plan, paths: Mapping[str, Path]) -> None:
    """Put the plan's `train.optimizer` numbers at `paths` (lr, momentum, weight_decay) where they are not official."""
    for key, path in paths.items():
        field = f"train.optimizer.{key}"
        value = plan[field]
        if value is not None and value != plan.recipe.values.get(field):
            edits.set(path, float(value), *plan.asked_by(field))


def _optimizer(edits: Edits, plan: Plan) -> Extras:
    keys = {"lr": "BASE_LR", "momentum": "MOMENTUM", "weight_decay": "WEIGHT_DECAY"}
    set_rates(edits, plan, {name: (_SOLVER, key) for name, key in keys.items()})
    name = plan["train.optimizer.name"]
    if name == "sgd":
        return {}
    mechanism = f"{_WORKER}: torch.optim.AdamW over Detectron2's parameter groups; Detectron2's own tool would use SGD"
    return {"train.optimizer.name": {"value": name, "mechanism": mechanism}}


def _schedule(edits: Edits, plan: Plan, official: bool, length: str) -> Extras:
    fields = [f"train.schedule.{key}" for key in ("name", "milestones", "gamma")]
    asked = next((field for field in fields if plan.asked(field)), None)
    name, total = plan["train.schedule.name"], int(plan["train.iterations"])
    field = asked or length
    if asked or not official:
        # A rule that YAML cannot say has its nearest one there, for whoever runs the file with Detectron2's own tool.
        rule = "WarmupMultiStepLR" if name in ("multistep", "constant") else "WarmupCosineLR"
        edits.set((_SOLVER, "LR_SCHEDULER_NAME"), rule, field)
        if rule == "WarmupMultiStepLR":
            steps = milestone_steps(plan["train.schedule.milestones"], plan["train.steps_per_epoch"])
            edits.set((_SOLVER, "STEPS"), tuple(step for step in steps if step < total), field)
        gamma = plan["train.schedule.gamma"]
        if name == "multistep" and gamma is not None:
            edits.set((_SOLVER, "GAMMA"), float(gamma), field)
    warmup = "train.schedule.warmup_iterations"
    if not official or plan.asked(warmup):
        edits.set((_SOLVER, "WARMUP_ITERS"), int(plan[warmup]), warmup if plan.asked(warmup) else length)
    return rule_extra(plan) if name == "onecycle" or plan["train.schedule.min_lr"] else {}


def rule_extra(plan: Plan) -> Extras:
    """The plan's schedule as a rule that cvtune's worker follows, where Detectron2 has none that does."""
    gamma = plan["train.schedule.gamma"]
    rule = {
        "name": plan["train.schedule.name"],
        "milestones": list(plan["train.schedule.milestones"]),
        "gamma": gamma if gamma is not None else 0.1,
        "warmup_iterations": int(plan["train.schedule.warmup_iterations"]),
        "min_lr": float(plan["train.schedule.min_lr"] or 0.0),
    }
    return {"train.schedule": {"value": rule, "mechanism": f"{_WORKER} sets the rate of every step"}}


def set_precision(edits: Edits, plan: Plan, path: Path) -> Extras:
    """Ask for Detectron2's own mixed precision, fp16, at `path`; the rest is cvtune's worker's.

    Raises:
        UnsupportedError: mixed precision on a CPU.
    """
    precision, device = plan["train.precision"], plan["run.device"]
    if plan.recipe_is_official("train.precision") and device == "cuda":
        return {}
    if precision != "fp32" and device == "cpu":
        raise UnsupportedError(
            f"train.precision: backend detectron2 cannot do {precision} on a CPU (its mixed precision needs CUDA); "
            "nearest: fp32"
        )
    edits.set(path, precision == "fp16", *plan.asked_by("train.precision"))
    if precision != "bf16":
        return {}
    return {"train.precision": {"value": "bf16", "mechanism": f"{_WORKER}: autocast; Detectron2's own AMP is fp16"}}


def set_periods(edits: Edits, plan: Plan, official: bool, evaluation: Path, checkpoint: Path, seed: Path) -> None:
    """How often is scored and saved, in iterations; the seed. `official`: the run has the official length."""
    per_epoch = int(plan["train.steps_per_epoch"])
    if not plan.reasons["eval.every_epochs"].startswith("official"):
        every = int(plan["eval.every_epochs"])
        edits.set(evaluation, every * per_epoch, "eval.every_epochs")
    for field, unit in (("train.checkpoint.every_epochs", per_epoch), ("train.checkpoint.every_iterations", 1)):
        if plan[field] and (not official or plan.asked(field)):
            edits.set(checkpoint, int(plan[field]) * unit, field)
    if not plan.recipe_is_official("train.seed"):
        edits.set(seed, int(plan["train.seed"]), "train.seed")


def worker_extras(plan: Plan) -> Extras:
    """What no config of Detectron2 says: field -> {"value", "mechanism"}."""
    extras: Extras = {}
    for field, mechanism in (
        ("train.gradient_clip", "limits the norm of the whole gradient"),
        ("train.ema", "averages the weights"),
        ("train.early_stopping", "stops by its own scores"),
    ):
        if plan[field]:
            extras[field] = {"value": plan[field], "mechanism": f"{_WORKER} {mechanism}"}
    if int(plan["train.accumulate"]) > 1:
        mechanism = f"{_WORKER} sums gradients over this many batches; iterations count updates"
        extras["train.accumulate"] = {"value": int(plan["train.accumulate"]), "mechanism": mechanism}
    for key in ("every_minutes", "keep", "best"):
        field = f"train.checkpoint.{key}"
        if plan.asked(field) and plan[field]:
            extras[field] = {"value": plan[field], "mechanism": f"{_WORKER} writes last.pth and best.pth"}
    return extras
