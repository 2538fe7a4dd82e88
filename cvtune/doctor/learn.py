"""Seconds a step and the whole run's time; whether the model learns a handful of images at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtune.doctor.line import Line
from cvtune.doctor.trial import Trial, pick_images, run_trial
from cvtune.evaluation.why import explain
from cvtune.plan import Plan
from cvtune.report.text import duration
from cvtune.runs import RunDir
from cvtune.training import predict_split
from cvtune.worker import read_spec

__all__ = ["check_learning", "check_time", "judge"]

TIMED_STEPS = 4
MOST_CAUSES = 3
# A handful of images is learnt when AP50 on them reaches this; below LOW the model finds next to nothing.
LEARNT, LOW = 0.5, 0.1
# The loss falls when the mean of its last steps is below this share of that of its first.
FALLEN = 0.7


def check_time(
    spec_path: Path, overrides: Sequence[str], run: RunDir, plan: Plan, folder: Path, seconds: float
) -> Iterator[Line]:
    """Time a few steps as the spec plans them, and say how long the whole run would take.

    Raises:
        CvtuneError: the training failed.
    """
    batch, images = int(plan["data.batch_size"]), folder / "timed.json"
    picked = pick_images(run.data("train"), min(64, max(batch, 4)), images)
    changes = {"train.epochs": None, "train.iterations": TIMED_STEPS, "data.batch_size": min(batch, picked)}
    trial = run_trial(spec_path, overrides, images, folder / "timed", seconds, changes)
    a_step = trial.step_seconds
    if a_step is None:
        seen = f"fewer than two steps ended within {duration(seconds)}"
        yield Line("warning", "time", seen, "a smaller data.image_size, data.batch_size or model; a GPU")
        return
    a_step *= batch / min(batch, picked)
    steps = int(plan["train.iterations"])
    an_image = trial.eval_seconds / picked
    yield Line("ok", "time", whole_time(plan, steps, a_step, an_image))


def whole_time(plan: Plan, steps: int, a_step: float, an_image: float) -> str:
    """Say how long the whole run takes, from seconds a step and seconds to predict an image."""
    splits: Mapping[str, Mapping[str, Any]] = plan.data
    val = int(splits.get("val", {}).get("images", 0))
    scored = int(splits.get("test", splits.get("val", {})).get("images", 0))
    every, epochs = int(plan.get("eval.every_epochs") or 0), int(plan.get("train.epochs") or 1)
    evaluations = math.ceil(epochs / every) if every else 1
    predicting = an_image * (val * evaluations + scored)
    said = f"{a_step:.2f} s a step, {steps:,} steps: the whole run takes about {duration(steps * a_step + predicting)}"
    return said + (f", {duration(predicting)} of it for {evaluations} evaluations" if predicting >= 1 else "")


def check_learning(
    spec_path: Path,
    overrides: Sequence[str],
    run: RunDir,
    plan: Plan,
    folder: Path,
    count: int,
    steps: int,
    seconds: float,
) -> Iterator[Line]:
    """Let the model learn `count` of the user's images by heart in `steps` steps: one that cannot will learn nothing.

    Raises:
        CvtuneError: the training failed.
    """
    images = folder / "handful.json"
    picked = pick_images(run.data("train"), count, images)
    batch = min(picked, 4, int(plan["data.batch_size"]))
    changes = {
        "train.epochs": None,
        "train.iterations": steps,
        "train.schedule": {"name": "constant", "warmup_iterations": min(10, steps // 4)},
        "data.batch_size": batch,
    }
    trial = run_trial(spec_path, overrides, images, folder / "handful", seconds, changes)
    line = judge(trial, picked)
    yield line
    if line.level != "ok" and trial.steps and not trial.stopped:
        yield from _causes(trial, images)


def _causes(trial: Trial, images: Path) -> Iterator[Line]:
    """What the predictions of a trial that failed look like."""
    run = trial.run
    predictions = run.predictions_of("val")
    if not predictions.exists():
        predict_split(run, read_spec(run), "val", run.selected, predictions)
    for cause in explain(images, predictions).causes[:MOST_CAUSES]:
        seen = f"{100 * cause.certainty:.0f} % sure: {cause.seen}"
        yield Line("warning", "learning", seen, f"{cause.fix} ({cause.line})")


def judge(trial: Trial, picked: int) -> Line:
    """What a trial on `picked` images means."""
    losses = [float(record["loss"]) for record in trial.steps]
    if not losses or not all(map(math.isfinite, losses)):
        return Line(
            "error", "learning", "the loss is not finite", "a lower train.optimizer.lr, or train.precision: fp32"
        )
    few = max(1, min(10, len(losses) // 4))
    first, last = sum(losses[:few]) / few, sum(losses[-few:]) / few
    kind = "segm" if "segm" in trial.scores else "bbox"
    ap50 = max(0.0, float(trial.scores.get(kind, {}).get("AP50", 0.0)))
    seen = (
        f"{picked} of your training images, {len(losses)} steps: loss {first:.3g} -> {last:.3g}, "
        f"{'mask' if kind == 'segm' else 'box'} AP50 on them {ap50:.2f}"
    )
    lr = trial.plan["train.optimizer.lr"]
    if ap50 >= LEARNT:
        return Line("ok", "learning", f"it learns: {seen}")
    if last < FALLEN * first and (ap50 >= LOW or trial.stopped):
        why = "the time was up" if trial.stopped else "it needs more steps"
        return Line("warning", "learning", f"it is still learning, {why}: {seen}", "--steps 300 --minutes 30")
    if last < FALLEN * first:
        fix = (
            "look at the boxes (cvtune draw), at data.image_size and the anchors; "
            "from weights: none give it more: --steps 500"
        )
        return Line("error", "learning", f"the loss falls, but next to nothing is found: {seen}", fix)
    fix = f"another train.optimizer.lr (it is {lr:.3g}; cvtune train --find-lr finds one), weights: coco, cvtune draw"
    return Line("error", "learning", f"it does not learn even these: {seen}", fix)
