"""What the page shows of a run, as plain JSON types: every file may be missing, half a run is a run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cvtune.errors import CvtuneError
from cvtune.runs import RunDir, read_json

__all__ = ["read_state", "sample_steps"]

# Points of a curve; a screen has no more columns for it.
MOST_POINTS = 600
# The pace that the time left is told from.
RECENT = 30
# A run whose process is gone, and that has been silent for this long, was killed.
SILENT_SECONDS = 60.0
SAMPLE_FOLDER = re.compile(r"step-([0-9]{6,12})")
SAMPLE_FILE = re.compile(r"([1-9])\.jpg")


def read_state(run: RunDir, records: Sequence[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """The state of a run.

    Args:
        run: the run directory; it need not exist yet.
        records: those of its log.
        now: seconds since the epoch.

    Returns:
        name; state ("waiting", "planned", "training", "scoring", "done", "stopped", "failed", "killed"); error; facts;
        step, total, epoch, epochs, seconds_left (None where unknown), memory_mb, silent (seconds since the last word);
        curves: step, loss, lr, memory_mb as lists and losses as lists by name, at most 600 points; evals: step, epoch
        and scores by "bbox/AP"; best; samples: images (name, objects) and steps (step, files); report: whether there
        is one.
    """
    record, plan = _mapping(run, "record"), _mapping(run, "plan").get("values", {})
    steps = [r for r in records if isinstance(r.get("loss"), int | float)]
    last = steps[-1] if steps else {}
    total = _setting(plan, "train.iterations")
    silent = _silent(run, now)
    step = max((int(r["step"]) for r in records), default=0)
    state = _state(run, record, silent, step, total)
    return {
        "name": str(record.get("name") or run.path.name),
        "state": state,
        "error": str(record.get("error") or "") if state == "failed" else "",
        "facts": _facts(record, plan),
        "step": step,
        "total": total,
        "epoch": last.get("epoch"),
        "epochs": _setting(plan, "train.epochs"),
        "seconds_left": _seconds_left(steps, total) if state == "training" else None,
        "seconds_per_step": _pace(steps),
        "seconds": last.get("seconds"),
        "memory_mb": last.get("memory_mb"),
        "silent": silent,
        "curves": _curves(_thinned(steps)),
        "evals": [_scores(r) for r in records if isinstance(r.get("eval"), Mapping)],
        "best": record.get("best") if isinstance(record.get("best"), Mapping) else None,
        "samples": {"images": _images(run), "steps": sample_steps(run)},
        "report": (run.path / "report.html").is_file(),
    }


def sample_steps(run: RunDir) -> list[dict[str, Any]]:
    """The evaluations that left pictures: step and the pictures' numbers, in order."""
    found = []
    for folder in run.samples.glob("step-*"):
        match = SAMPLE_FOLDER.fullmatch(folder.name)
        if match is None:
            continue
        numbers = [SAMPLE_FILE.fullmatch(name) for name in sorted(os.listdir(folder))]
        files = [int(number[1]) for number in numbers if number]
        if files:
            found.append({"step": int(match[1]), "files": files})
    return sorted(found, key=lambda row: row["step"])


def _mapping(run: RunDir, name: str) -> Mapping[str, Any]:
    """A JSON file of the run, or nothing where there is none or it is broken."""
    try:
        content = read_json(getattr(run, name))
    except (CvtuneError, OSError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _setting(plan: Any, key: str) -> int | None:
    value = plan.get(key, {}).get("value") if isinstance(plan, Mapping) else None
    return value if isinstance(value, int) and value > 0 else None


def _facts(record: Mapping[str, Any], plan: Any) -> list[str]:
    """What is worth a line: backend, model, device, when it began."""
    model = plan.get("model.config", {}).get("value") if isinstance(plan, Mapping) else None
    began = f"began {str(record['started'])[:16].replace('T', ' ')}" if record.get("started") else None
    return [str(value) for value in (record.get("backend"), model, record.get("device"), began) if value]


def _state(run: RunDir, record: Mapping[str, Any], silent: float | None, step: int, total: int | None) -> str:
    state = str(record.get("state") or ("waiting" if not record else "planned"))
    if state not in ("planned", "training"):
        return state
    if silent is not None and silent > SILENT_SECONDS and not _is_held(run):
        return "killed"
    # The worker writes `steps` when it has trained to the end; what then follows is prediction and scores.
    return "scoring" if state == "training" and record.get("steps") == step > 0 else state


def _is_held(run: RunDir) -> bool:
    """Whether the process that wrote the lock lives: trying the lock itself could make a training fail to get it."""
    try:
        os.kill(int((run.path / ".lock").read_text()), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _silent(run: RunDir, now: float) -> float | None:
    """Seconds since the run last wrote a file that the page reads; None where there is none."""
    times = []
    for path in (run.log, run.record, run.path / "worker.log"):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(0.0, round(now - max(times), 1)) if times else None


def _pace(steps: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds a step, evaluations included, over the last records."""
    recent = [r for r in steps[-RECENT:] if isinstance(r.get("seconds"), int | float)]
    if not recent:
        return None
    first, last = recent[0], recent[-1]
    if len(recent) == 1 or last["step"] == first["step"]:
        first = {"step": 0, "seconds": 0.0}
    passed = (last["seconds"] - first["seconds"]) / max(1, last["step"] - first["step"])
    return float(passed) if passed > 0 else None


def _seconds_left(steps: Sequence[Mapping[str, Any]], total: int | None) -> float | None:
    pace = _pace(steps)
    return None if pace is None or total is None else round(pace * max(0, total - int(steps[-1]["step"])), 1)


def _thinned(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Every n-th record, the last one always among them."""
    stride = -(-len(steps) // MOST_POINTS)
    return list(steps[::-1][:: max(1, stride)][::-1])


def _curves(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for r in steps if isinstance(r.get("losses"), Mapping) for name in r["losses"])
    losses = {str(name): [_number((r.get("losses") or {}).get(name)) for r in steps] for name in names}
    rest = {key: [_number(r.get(key)) for r in steps] for key in ("loss", "lr", "memory_mb")}
    return {"step": [r["step"] for r in steps], **rest, "losses": losses}


def _scores(record: Mapping[str, Any]) -> dict[str, Any]:
    scores = {
        f"{kind}/{name}": _number(value)
        for kind, values in record["eval"].items()
        if isinstance(values, Mapping)
        for name, value in values.items()
    }
    return {"step": record["step"], "epoch": record.get("epoch"), "scores": scores}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _images(run: RunDir) -> list[dict[str, Any]]:
    try:
        listed = read_json(run.samples / "images.json")
    except (CvtuneError, OSError):
        return []
    rows = listed if isinstance(listed, list) else []
    return [
        {"name": str(row.get("name", "")), "objects": row.get("objects")} for row in rows if isinstance(row, Mapping)
    ]
