"""Everything a report says about one run, read from its files. What is missing or broken becomes a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cvtune
from cvtune.classes import ClassMap
from cvtune.errors import CvtuneError
from cvtune.report.text import is_number, shorten
from cvtune.runs import RunDir, read_json, read_jsonl

__all__ = ["KINDS", "NAMES", "Files", "RunFacts", "Setting", "facts_of_files", "read_facts"]

T = TypeVar("T")

KINDS: Mapping[str, str] = {"bbox": "Box", "segm": "Mask"}
NAMES: Mapping[str, str] = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "small objects, below 32² px",
    "APm": "medium objects, 32² to 96² px",
    "APl": "large objects, above 96² px",
    "AR1": "recall with 1 detection an image",
    "AR10": "recall with 10 detections an image",
    "AR100": "recall with 100 detections an image",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
}
"""COCO's twelve numbers in pycocotools' order, each with what it means."""


@dataclass(frozen=True)
class Setting:
    """One line of the plan."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Files:
    """Ground truth and predictions that no run of ours made; `images`: the folder of the images, where it was said."""

    truth: Path
    predictions: Path
    images: Path | None = None


@dataclass(frozen=True)
class RunFacts:
    """A run's files as far as they are there.

    Attributes:
        problems: one plain sentence for each file that is missing or cannot be read.
        steps: the log's training records, by step. evals: its evaluation records, by step.
        split: the split that predictions and metrics are of.
        analysis: what `cvtune eval` found out beside the scores (docs/analysis.md); empty where it did not.
        explanation: the likely causes of a low score; empty where nobody asked.
        files: what a report is made of where there is no run.
    """

    run: RunDir
    name: str
    record: Mapping[str, Any]
    settings: tuple[Setting, ...]
    data: Mapping[str, Mapping[str, Any]]
    recipe: Mapping[str, Any]
    host: Mapping[str, Any]
    class_map: ClassMap | None
    overrides: tuple[Mapping[str, Any], ...]
    extras: Mapping[str, Any]
    receipt: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]
    evals: tuple[Mapping[str, Any], ...]
    lr_trial: tuple[Any, ...]
    metrics: Mapping[str, Any]
    error: str
    split: str
    problems: tuple[str, ...]
    analysis: Mapping[str, Any] = field(default_factory=dict)
    explanation: Mapping[str, Any] = field(default_factory=dict)
    files: Files | None = None

    def setting(self, key: str) -> Any:
        """The value of a plan key, or None."""
        return next((setting.value for setting in self.settings if setting.key == key), None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """bbox, segm: what metrics.json holds."""
        return tuple(kind for kind in KINDS if isinstance(self.metrics.get(kind), Mapping))

    @property
    def selects_by(self) -> str:
        """The metric that chose the checkpoint, such as ``bbox/AP``."""
        asked = self.best.get("metric") or self.setting("train.checkpoint.best")
        return asked if isinstance(asked, str) and "/" in asked else "bbox/AP"

    @property
    def best(self) -> Mapping[str, Any]:
        """run.json's `best`: metric, value, step, epoch; empty where the run chose none."""
        best = self.record.get("best")
        return best if isinstance(best, Mapping) else {}

    @property
    def chosen_on_this_split(self) -> bool:
        """Whether the split that was scored also chose the checkpoint, which makes its figure optimistic."""
        return self.metrics.get("split") == "val" and bool(self.best or self.evals)


def read_facts(run: RunDir) -> RunFacts:
    """Read a run directory; never fails for a file that is missing, cut short or of an unexpected form."""
    problems: list[str] = []

    def read(path: Path, kind: type[T], missing: str) -> T:
        if not path.exists():
            if missing:
                problems.append(f"There is no {path.name}: {missing}")
            return kind()
        try:
            content = read_json(path)
        except (CvtuneError, OSError) as error:
            problems.append(f"{path.name} cannot be read: {shorten(str(error).replace(str(path), path.name), 200)}.")
            return kind()
        if not isinstance(content, kind):
            problems.append(f"{path.name} has an unexpected form and is left out.")
            return kind()
        return content

    record = read(run.record, dict, "versions, device and command are unknown.")
    plan = read(run.plan, dict, "settings and their reasons are unknown.")
    metrics = read(run.metrics, dict, "the run has not been scored (`cvtune eval` does it).")
    error = read(run.error, dict, "")
    log = _log(run, problems)
    classes = read(run.classes, dict, "")
    class_map = _class_map(classes or _mapping(plan.get("classes")), problems)
    split = metrics.get("split")
    if not isinstance(split, str):
        split = run.scored_split
    analysis = read(run.path / "analysis.json", dict, "")
    return RunFacts(
        run=run,
        name=shorten(record.get("name") or run.path.name, 100),
        record=record,
        settings=_settings(plan),
        data={str(key): entry for key, entry in _mapping(plan.get("data")).items() if isinstance(entry, Mapping)},
        recipe=_mapping(plan.get("recipe")),
        host=_mapping(plan.get("host")),
        class_map=class_map,
        overrides=tuple(_records(read(run.overrides, list, "what differs from the official config is unknown."))),
        extras=read(run.extras, dict, ""),
        receipt=read(run.receipt, dict, "what the conversion of the data did is unknown."),
        steps=tuple(r for r in log if "eval" not in r and is_number(r.get("loss"))),
        evals=tuple(r for r in log if isinstance(r.get("eval"), Mapping)),
        lr_trial=tuple(read(run.lr_trial, list, "")),
        metrics=metrics,
        error=str(error.get("message") or record.get("error") or ""),
        split=split,
        # What was found out about another split says nothing here.
        analysis=analysis if analysis.get("split") == split else {},
        explanation=read(run.path / "explanation.json", dict, ""),
        problems=tuple(problems),
    )


def facts_of_files(
    files: Files, metrics: Mapping[str, Any], command: str, analysis: Mapping[str, Any] | None = None
) -> RunFacts:
    """What a report says of two files: their scores, and the command that makes it again."""
    return RunFacts(
        run=RunDir(files.predictions.parent),
        name=shorten(files.predictions.name, 100),
        record={"command": command, "versions": {"cvtune": cvtune.__version__}},
        settings=(),
        data={},
        recipe={},
        host={},
        class_map=None,
        overrides=(),
        extras={},
        receipt={},
        steps=(),
        evals=(),
        lr_trial=(),
        metrics=metrics,
        error="",
        split="",
        problems=(),
        analysis=analysis or {},
        files=files,
    )


def _log(run: RunDir, problems: list[str]) -> list[Mapping[str, Any]]:
    if not run.log.exists():
        problems.append("There is no log.jsonl: nothing was trained, so there are no curves.")
        return []
    try:
        records = [r for r in _records(read_jsonl(run.log)) if is_number(r.get("step"))]
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"log.jsonl cannot be read: {shorten(error, 200)}.")
        return []
    return sorted(records, key=lambda record: record["step"])


def _settings(plan: Mapping[str, Any]) -> tuple[Setting, ...]:
    return tuple(
        Setting(str(key), entry.get("value"), str(entry.get("reason") or ""))
        for key, entry in _mapping(plan.get("values")).items()
        if isinstance(entry, Mapping)
    )


def _class_map(record: Mapping[str, Any], problems: list[str]) -> ClassMap | None:
    if not record:
        problems.append("There is no classes.json: the classes are unknown.")
        return None
    try:
        return ClassMap.from_json(record)
    except (CvtuneError, KeyError, TypeError) as error:
        problems.append(f"classes.json cannot be read: {shorten(error, 200)}.")
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _records(values: Sequence[Any]) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)]
