"""A short training on a handful of the user's own images, by the worker, within a limit of time."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtune.evaluation import evaluate_run
from cvtune.launch import run_worker
from cvtune.plan import Plan
from cvtune.runs import RunDir, read_json, read_jsonl, write_json, write_text
from cvtune.spec import Spec
from cvtune.spec_file import load_spec, spec_to_json
from cvtune.training import plan_run, predict_split, translate_plan
from cvtune.worker import write_native

__all__ = ["Trial", "pick_images", "run_trial"]


@dataclass(frozen=True)
class Trial:
    """What a short training logged; `steps` by rising step, `scores` of its own images at the end, or empty."""

    run: RunDir
    plan: Plan
    steps: tuple[Mapping[str, Any], ...]
    scores: Mapping[str, Any]
    eval_seconds: float
    stopped: bool

    @property
    def step_seconds(self) -> float | None:
        """The median time of a step; the first, which sets things up, is left out."""
        times = [record["seconds"] for record in self.steps]
        gaps = sorted(b - a for a, b in itertools.pairwise(times))
        return gaps[len(gaps) // 2] if gaps else None


def pick_images(canonical: Path, count: int, target: Path) -> int:
    """Write a COCO file of at most `count` images of a canonical one; returns how many.

    Images are taken so that each brings the rarest classes that are not there yet, then those with fewest objects:
    few objects are learnt in few steps.
    """
    data = read_json(canonical)
    objects: dict[int, list[dict[str, Any]]] = {}
    for annotation in data["annotations"]:
        if not annotation.get("iscrowd"):
            objects.setdefault(annotation["image_id"], []).append(annotation)
    # Crowds would be neither learnt nor found: images with one are left out where there are others.
    crowded = {a["image_id"] for a in data["annotations"] if a.get("iscrowd")}
    order = sorted(objects, key=lambda i: (i in crowded, len(objects[i]), i))
    frequency: dict[int, int] = {}
    for found in objects.values():
        for category in {a["category_id"] for a in found}:
            frequency[category] = frequency.get(category, 0) + 1
    chosen: list[int] = []
    seen: set[int] = set()
    for category in sorted(frequency, key=lambda c: frequency[c]):
        if len(chosen) < count and category not in seen:
            image = next(i for i in order if any(a["category_id"] == category for a in objects[i]))
            chosen += [image] if image not in chosen else []
            seen |= {a["category_id"] for a in objects[image]}
    chosen += [i for i in order if i not in chosen][: max(0, count - len(chosen))]
    kept = set(chosen)
    write_json(
        target,
        {
            "images": [image for image in data["images"] if image["id"] in kept],
            "annotations": [a for a in data["annotations"] if a["image_id"] in kept],
            "categories": data["categories"],
        },
    )
    return len(chosen)


def run_trial(
    spec_path: Path, overrides: Sequence[str], images: Path, folder: Path, seconds: float, changes: Mapping[str, Any]
) -> Trial:
    """Train on the images of a COCO file, which are the validation images too, and score them at the end.

    Args:
        spec_path: the user's spec. overrides: the user's own overrides.
        images: the COCO file. folder: the run directory.
        seconds: after these the trial is stopped, after the step that it is at.
        changes: key of the spec -> value, put over all others.

    Raises:
        CvtuneError: whatever the spec, the data or the worker say.
    """
    source = {"annotations": str(images.resolve()), "images": None, "format": "coco"}
    own = {
        "data.train": source,
        "data.val": source,
        "data.test": [],
        "data.split": None,
        "data.augment": None,
        "train.early_stopping": None,
        "train.loggers": [],
        "train.log_every": 1,
        "train.checkpoint.every_minutes": None,
        "eval.every_epochs": 0,
        **changes,
    }
    texts = [f"{key}={json.dumps(value)}" for key, value in own.items()]
    spec = load_spec(spec_path, [*overrides, *texts])
    run = RunDir(folder)
    write_json(run.spec, spec_to_json(spec))
    run.update_record(name=spec.name, backend=spec.backend, seed=spec.train.seed, state="training")
    plan = plan_run(spec, run, complete=True)
    write_native(run, translate_plan(spec, run, plan))
    stopped = _train(spec, run, plan, seconds)
    records = read_jsonl(run.log)
    steps = sorted((r for r in records if "loss" in r), key=lambda r: r["step"])
    evals = [r for r in records if "eval" in r]
    if evals and steps:
        scores, seconds = evals[-1]["eval"], evals[-1]["seconds"] - steps[-1]["seconds"]
    else:
        scores, seconds = _scores(spec, run)
    return Trial(run, plan, tuple(steps), scores, max(0.0, seconds), stopped)


def _scores(spec: Spec, run: RunDir) -> tuple[Mapping[str, Any], float]:
    """Scores of a run whose log has none, and the seconds that the prediction took."""
    began = time.monotonic()
    predict_split(run, spec, "val", run.selected, run.predictions_of("val"))
    seconds = time.monotonic() - began
    return evaluate_run(run, split="val"), seconds


def _train(spec: Spec, run: RunDir, plan: Plan, seconds: float) -> bool:
    began = time.monotonic()

    def look() -> None:
        if time.monotonic() - began > seconds and not run.stop.exists():
            write_text(run.stop, "")

    run_worker(spec.backend, "train", run, processes=int(plan["run.devices"]), on_poll=look)
    return run.stop.exists()
