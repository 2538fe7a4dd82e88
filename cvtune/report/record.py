"""report.json: what the page says, for programs. Its form is `schema.json` beside this file (docs/report.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cvtune
from cvtune.report.analysis import analysis_view, interval_of
from cvtune.report.compare import Comparison
from cvtune.report.counts import STEPS
from cvtune.report.facts import KINDS, NAMES, RunFacts
from cvtune.report.gallery import Gallery
from cvtune.report.headline import make_headline
from cvtune.report.mistakes import MISTAKES
from cvtune.report.text import is_number

__all__ = ["SCHEMA", "comparison_record", "run_record", "schema"]

SCHEMA = 1


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of report.json."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    return content


def run_record(facts: RunFacts, gallery: Gallery) -> dict[str, Any]:
    """report.json of one run, or of a pair of files."""
    run = _run(facts)
    run["threshold"] = _threshold(gallery)
    run["images"] = [
        {
            "file_name": card.name,
            "reason": card.reason,
            "objects": card.objects,
            "found": card.right,
            "missed": card.missed,
            "false": card.false,
        }
        for card in gallery.cards
    ]
    return _record(make_headline(facts).main, [run], None)


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """report.json of several runs; differences are to the first."""
    figures = []
    for kind in KINDS:
        scored = [facts.metrics.get(kind) for facts in comparison.runs]
        if not any(isinstance(scores, Mapping) for scores in scored):
            continue
        for name in NAMES:
            values = [_score(scores.get(name)) if isinstance(scores, Mapping) else None for scores in scored]
            base = values[0]
            figures.append(
                {
                    "kind": kind,
                    "name": name,
                    "values": values,
                    "differences": [None if v is None or base is None else v - base for v in values],
                    "intervals": [comparison.interval(i, kind, name) for i in range(len(values))],
                }
            )
    runs = [_run(facts) | {"label": label} for facts, label in zip(comparison.runs, comparison.labels, strict=True)]
    return _record(comparison.main, runs, {"notes": list(comparison.notes), "figures": figures})


def _record(title: str, runs: list[dict[str, Any]], comparison: Any) -> dict[str, Any]:
    record = {"schema": SCHEMA, "cvtune": cvtune.__version__, "title": title, "runs": runs, "comparison": comparison}
    plain: dict[str, Any] = _plain(record)
    return plain


def _run(facts: RunFacts) -> dict[str, Any]:
    headline = make_headline(facts)
    analysis = analysis_view(facts)
    metrics = facts.metrics
    return {
        "name": facts.name,
        "headline": headline.main,
        "notes": list(headline.notes),
        "facts": list(headline.facts),
        "state": facts.record.get("state"),
        "split": facts.split or None,
        "counts": {key: _count(metrics.get(key)) for key in ("images", "annotations", "detections")},
        "scored_by": metrics.get("engine"),
        "scores": {kind: {name: _score(metrics[kind].get(name)) for name in NAMES} for kind in facts.kinds},
        "intervals": {kind: {name: interval_of(facts, kind, name) for name in NAMES} for kind in facts.kinds},
        "classes": _classes(facts),
        "verdict": analysis.verdict or None,
        "causes": [vars(cause) for cause in analysis.causes],
        "plan": [{"key": s.key, "value": s.value, "reason": s.reason} for s in facts.settings],
        "official_config": facts.recipe.get("config"),
        "overrides": [
            {key: override.get(key) for key in ("key", "official", "value", "asked_by", "kind")}
            for override in facts.overrides
        ],
        "extras": facts.extras,
        "data": facts.data,
        "environment": {
            key: facts.record.get(key) for key in ("started", "seconds", "device", "seed", "versions", "kernels")
        },
        "command": facts.record.get("command"),
        "missing": list(facts.problems),
    }


def _classes(facts: RunFacts) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for kind in facts.kinds:
        table = facts.metrics[kind].get("per_class")
        for name, entry in table.items() if isinstance(table, Mapping) else ():
            if isinstance(entry, Mapping):
                counts = {"objects": entry.get("ground_truth"), "detections": entry.get("detections")}
                row = rows.setdefault(
                    name, {"name": name, **{key: _count(value) for key, value in counts.items()}, "scores": {}}
                )
                row["scores"][kind] = {key: _score(entry.get(key)) for key in ("AP", "AP50", "AP75", "AR100")}
    return list(rows.values())


def _threshold(gallery: Gallery) -> dict[str, Any] | None:
    """What the score with the best F1 does on the whole split."""
    tally = gallery.tally
    if tally is None:
        return None
    mistakes = {name: tally.mistakes[code] for code, (name, _) in MISTAKES.items()}
    return {
        "score": gallery.step / STEPS,
        "F1": tally.f1,
        "found": tally.right,
        "false": tally.false,
        "missed": tally.missed,
        "mistakes": mistakes,
    }


def _score(value: Any) -> float | None:
    """A fraction; None for COCO's -1."""
    return float(value) if is_number(value) and value >= 0 else None


def _count(value: Any) -> int | None:
    return int(value) if is_number(value) else None


def _plain(value: Any) -> Any:
    """JSON that every reader takes: keys are texts, no NaN, no infinity, no half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool) or is_number(value) else None
