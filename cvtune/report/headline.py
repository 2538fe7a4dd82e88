"""The sentence that matters first, and the line of facts below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from cvtune.report.analysis import interval_of, interval_text
from cvtune.report.facts import KINDS, RunFacts
from cvtune.report.text import count, duration, is_number, percent, plural, shorten

__all__ = ["Headline", "make_headline"]

SPLITS = {"val": "validation", "test": "test", "train": "training"}


@dataclass(frozen=True)
class Headline:
    """`main`: one sentence. `notes`: what qualifies it. `facts`: model, data, time, device. `good`: it has a score."""

    main: str
    notes: tuple[str, ...]
    facts: tuple[str, ...]
    good: bool


def make_headline(facts: RunFacts) -> Headline:
    """Say what a reader wants to know first: the score, on what, and how far to trust it."""
    notes = []
    scored = bool(facts.kinds)
    if scored:
        main = "; ".join(part for part in (_scores(facts), _best(facts)) if part) + "."
        notes.append(_trust(facts))
    else:
        main = _unscored(facts)
    state = facts.record.get("state")
    if state == "failed" or facts.error:
        notes.append(f"The run failed: {shorten(facts.error or 'no message was left', 400)}")
    elif state == "stopped":
        notes.append("The run was stopped before its planned end.")
    elif state in {"planned", "training"}:
        notes.append(f"run.json says that the run is still {state}.")
    # The page says this in its own words, where it qualifies the figure.
    own = "These images also chose"
    notes += [shorten(n, 400) for n in facts.metrics.get("notes") or () if not str(n).startswith(own)]
    return Headline(main, tuple(note for note in notes if note), _facts(facts), scored)


def _scores(facts: RunFacts) -> str:
    metrics = facts.metrics
    # A segmenter is judged by its masks first.
    parts = []
    for kind in reversed(facts.kinds):
        scores = metrics[kind]
        if not is_number(scores.get("AP")) or scores["AP"] < 0:
            parts.append(f"{KINDS[kind]} AP cannot be given: the ground truth has no objects")
        else:
            sure = interval_text(interval_of(facts, kind, "AP"))
            sure = f"95 % interval {sure}; " if sure else ""
            parts.append(f"{KINDS[kind]} AP {percent(scores['AP'])} ({sure}AP50 {percent(scores.get('AP50'))})")
    said = parts[0] + "".join(f", {part[0].lower()}{part[1:]}" for part in parts[1:])
    images = metrics.get("images")
    return f"{said} on {_images(images, facts.split)}" if is_number(images) else said


def _images(images: float, split: str) -> str:
    return plural(int(images), f"{SPLITS.get(split, split)} image".lstrip())


def _best(facts: RunFacts) -> str:
    epoch = facts.best.get("epoch")
    if not is_number(epoch):
        return ""
    trained = max((r["epoch"] for r in (*facts.steps, *facts.evals) if is_number(r.get("epoch"))), default=None)
    planned = facts.setting("train.epochs")
    said = f"best epoch {count(epoch)}"
    if trained is not None:
        said += f" of {count(trained)}"
        if is_number(planned) and trained < planned:
            said += f" ({count(planned)} planned)"
    elif is_number(planned):
        said += f" of {count(planned)}"
    return said


def _trust(facts: RunFacts) -> str:
    split = facts.metrics.get("split")
    if facts.chosen_on_this_split:
        return f"This split also chose the checkpoint (by {facts.selects_by}): the figure is optimistic."
    if split == "test":
        return "The test split took no part in training or in choosing the checkpoint."
    if split == "train":
        return "The model was trained on these images: the figure says nothing about new ones."
    return ""


def _unscored(facts: RunFacts) -> str:
    last = facts.evals[-1] if facts.evals else None
    if last is not None:
        kind = facts.selects_by.split("/")[0]
        scores: Any = last["eval"].get(kind) or next(iter(last["eval"].values()), {})
        value = scores.get("AP") if isinstance(scores, Mapping) else None
        if is_number(value):
            where = f" after epoch {count(last['epoch'])}" if is_number(last.get("epoch")) else ""
            return f"Not scored yet; {KINDS.get(kind, kind)} AP was {percent(value)} on validation{where}."
    if facts.steps:
        step = facts.steps[-1]
        return f"Not scored yet; the training loss was {step['loss']:.4g} at step {count(step['step'])}."
    return "Not scored yet: nothing has been trained."


def _facts(facts: RunFacts) -> tuple[str, ...]:
    parts: list[str] = []
    model = facts.setting("model.zoo") or " ".join(
        str(facts.setting(key)) for key in ("model.family", "model.backbone") if facts.setting(key)
    )
    backend = facts.record.get("backend") or facts.setting("backend")
    name = " ".join(shorten(word, 80) for word in (backend, model) if word)
    if name:
        parts.append(name)
    weights = facts.setting("model.weights")
    if weights:
        # Of a file its name: the folder says nothing to whoever gets the report.
        name = shorten(PurePath(str(weights)).name if "/" in str(weights) else weights, 60)
        parts.append(f"from {name} weights" if weights != "none" else "from random weights")
    if facts.class_map:
        parts.append(plural(len(facts.class_map), "class", "classes"))
    images = facts.data.get("train", {}).get("images")
    if is_number(images):
        parts.append(f"{count(images)} training images")
    seconds = facts.record.get("seconds")
    if is_number(seconds):
        parts.append(f"trained {duration(seconds)}" + _device(facts.record.get("device"), facts.host))
    return tuple(parts)


def _device(device: Any, host: Mapping[str, Any]) -> str:
    known = host.get("device_name") or device
    return f" on {shorten(known, 60)}" if known else ""
