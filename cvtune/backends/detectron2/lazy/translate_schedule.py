"""The recipe side of a LazyConfig's translation: length, batch, optimizer, schedule, precision."""

from __future__ import annotations

from typing import Any

from cvtune.backends.detectron2.lazy.keys import LOADER
from cvtune.backends.detectron2.translate_schedule import (
    rule_extra,
    set_periods,
    set_precision,
    set_rates,
    worker_extras,
)
from cvtune.backends.edits import Edits
from cvtune.backends.schedule import milestone_steps
from cvtune.plan import Plan

__all__ = ["translate_schedule"]

_SCHEDULER = ("lr_multiplier", "scheduler")
_FVCORE = "fvcore.common.param_scheduler."
Extras = dict[str, dict[str, Any]]


def translate_schedule(edits: Edits, plan: Plan) -> Extras:
    """Honour the spec's `train` fields, the batch size and the evaluation interval.

    Returns:
        What a LazyConfig cannot say: field -> {"value", "mechanism"}.

    Raises:
        UnsupportedError: mixed precision on a CPU.
    """
    if not plan.recipe_is_official("data.batch_size"):
        edits.set((*LOADER, "total_batch_size"), int(plan["data.batch_size"]), *plan.asked_by("data.batch_size"))
    official = plan.recipe_is_official("train.epochs") and plan.recipe_is_official("train.iterations")
    length, _ = plan.asked_by("train.iterations")
    if not official:
        edits.set(("train", "max_iter"), int(plan["train.iterations"]), length)
    _optimizer(edits, plan)
    extras = _schedule(edits, plan, official, length)
    extras |= set_precision(edits, plan, ("train", "amp", "enabled"))
    set_periods(edits, plan, official, ("train", "eval_period"), ("train", "checkpointer", "period"), ("train", "seed"))
    extras |= worker_extras(plan)
    return extras


def _optimizer(edits: Edits, plan: Plan) -> None:
    keys = ["lr", "weight_decay"]
    if plan["train.optimizer.name"] == "adamw":
        edits.set(("optimizer", "_target_"), "torch.optim.AdamW", "train.optimizer.name")
        edits.remove(("optimizer", "momentum"), "train.optimizer.name")
    else:
        keys.append("momentum")
    set_rates(edits, plan, {key: ("optimizer", key) for key in keys})


def _schedule(edits: Edits, plan: Plan, official: bool, length: str) -> Extras:
    fields = [f"train.schedule.{key}" for key in ("name", "milestones", "gamma", "min_lr")]
    asked = next((field for field in fields if plan.asked(field)), None)
    if asked or not official:
        _scheduler(edits, plan, asked or length)
    warmup = "train.schedule.warmup_iterations"
    if not official or plan.asked(warmup):
        share = min(1.0, int(plan[warmup]) / int(plan["train.iterations"]))
        field = warmup if plan.asked(warmup) else length
        edits.set(("lr_multiplier", "warmup_length"), share, field)
    name = plan["train.schedule.name"]
    return rule_extra(plan) if name == "onecycle" or (name != "cosine" and plan["train.schedule.min_lr"]) else {}


def _scheduler(edits: Edits, plan: Plan, field: str) -> None:
    """The rule that the rate follows after the warm-up; for one that fvcore does not have, the nearest that it has."""
    name, total = plan["train.schedule.name"], int(plan["train.iterations"])
    if name not in ("multistep", "constant"):
        floor = float(plan["train.schedule.min_lr"] or 0.0) / float(plan["train.optimizer.lr"])
        rule = {"_target_": f"{_FVCORE}CosineParamScheduler", "start_value": 1.0, "end_value": floor}
        edits.set(_SCHEDULER, rule, field)
        return
    # A constant rate is one of no milestones: fvcore's own constant rule raises when it is asked after the last step.
    found = milestone_steps(plan["train.schedule.milestones"], plan["train.steps_per_epoch"])
    steps = [step for step in found if step < total]
    gamma = plan["train.schedule.gamma"]
    gamma = 0.1 if gamma is None else float(gamma)
    edits.set((*_SCHEDULER, "values"), [round(gamma**power, 12) for power in range(len(steps) + 1)], field)
    edits.set((*_SCHEDULER, "milestones"), steps, field)
    edits.set((*_SCHEDULER, "num_updates"), total, field)
