"""Where the rate of a run rises and falls: milestones and warm-up, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.schedule import milestone_steps
from cvtune.plan import is_pending, pending
from cvtune.spec import ScheduleSpec

__all__ = ["plan_milestones", "plan_warmup"]

WARMUP_SHARE = 0.1


def plan_milestones(
    schedule: ScheduleSpec, name: str, official: Mapping[str, Any], total: int | None, per_epoch: int | None
) -> tuple[Any, str]:
    """Milestones in epochs: the spec's, else the official shares of the run.

    Args:
        schedule: what the spec says.
        name: the rule that is planned.
        official: the official recipe.
        total: steps of the run; None: not known yet.
        per_epoch: steps of an epoch; None: not known yet.

    Returns:
        The value, which may be pending, and its reason.
    """
    given, key = schedule.milestones, "train.schedule.milestones"
    if given is not None:
        late = given and total and per_epoch and given[-1] * per_epoch >= total
        return given, "spec: the run ends before the last" if late else "spec"
    if name != "multistep":
        return [], f"{name} has none"
    if total is None or per_epoch is None:
        return pending("the official shares of the run"), "waits for the length"
    whole, length = official["train.epochs"], total / per_epoch
    shares = official.get(key) or [2 / 3 * whole, 11 / 12 * whole]
    scaled = [float(f"{m * length / whole:.5g}") for m in shares]
    return scaled, f"official {[round(m, 2) for m in shares]} of {whole} epochs, scaled to {length:.4g}"


def plan_warmup(
    schedule: ScheduleSpec,
    name: str,
    official: Mapping[str, Any],
    total: int | None,
    per_epoch: int | None,
    milestones: Any,
    whole: bool,
) -> tuple[Any, str]:
    """Steps of warm-up: the spec's, else the official ones, at most a tenth of the run; over before a milestone.

    Arguments and result are those of `plan_milestones`; `milestones` is what it planned. `whole`: the official recipe
    is followed, so a warm-up that it counts in passes over the data counts those over this data.
    """
    asked = schedule.warmup_iterations
    if name == "onecycle":
        return 0, "onecycle rises by itself"
    if asked != "auto" and total is None:
        return asked, "spec"
    if total is None or (asked == "auto" and is_pending(milestones)):
        return pending("the official warm-up, at most a tenth of the run"), "waits for the length"
    falls = milestone_steps(milestones, per_epoch) if per_epoch and not is_pending(milestones) else []
    falls = [step for step in falls if step < total]
    # Detectron2's warm-up rises to the rate of the step after it, which must be none that lowers it.
    last = falls[0] - 1 if falls else total - 1
    if asked != "auto":
        end = f"the first milestone, step {falls[0]}" if falls else f"the {total} steps"
        return min(asked, last), "spec" if asked <= last else f"the spec's {asked} would outlast {end}"
    passes = official.get("train.schedule.warmup_epochs") if whole else None
    steps = round(passes * per_epoch) if passes and per_epoch else official.get("train.schedule.warmup_iterations", 0)
    steps, share = int(steps), int(WARMUP_SHARE * total)
    if steps <= min(share, last):
        return steps, "official"
    limit = f"a tenth of {total} steps" if share <= last else f"what precedes the first milestone, step {falls[0]}"
    return min(share, last), f"official {steps}, but at most {limit}"
