"""The tables of a report as plain rows: the page and the Markdown file are made from the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvtune.report.analysis import interval_of, interval_text
from cvtune.report.facts import KINDS, NAMES, RunFacts
from cvtune.report.text import count, difference, duration, is_number, percent, plural, shorten, value_text

__all__ = [
    "MOST_CLASSES",
    "ClassRow",
    "ReceiptView",
    "class_rows",
    "comparison_rows",
    "data_rows",
    "different_settings",
    "environment_rows",
    "extra_rows",
    "interval_rows",
    "override_rows",
    "receipt_view",
    "score_rows",
    "setting_rows",
]

MOST_CLASSES = 500
MOST_RECEIPT_ROWS = 60
KINDS_OF_OVERRIDE = {
    "spec": "asked for in the spec",
    "data": "follows from the data",
    "host": "follows from the machine",
}


@dataclass(frozen=True)
class ClassRow:
    """One class: counts, then for each kind AP, AP50, AP75 and AR100 as fractions (or None)."""

    name: str
    objects: Any
    detections: Any
    scores: tuple[tuple[Any, Any, Any, Any], ...]


@dataclass(frozen=True)
class ReceiptView:
    """Counts as (what, in, out, dropped), and events as (times, drop or repair or note, code, meaning, examples)."""

    counts: tuple[tuple[str, Any, Any, Any], ...]
    events: tuple[tuple[Any, str, str, str, tuple[str, ...]], ...]


def score_rows(facts: RunFacts) -> list[tuple[str, str, tuple[str, ...]]]:
    """COCO's twelve numbers: (name, what it means, a value for each kind)."""
    return [
        (name, meaning, tuple(percent(facts.metrics[kind].get(name)) for kind in facts.kinds))
        for name, meaning in NAMES.items()
    ]


def interval_rows(facts: RunFacts) -> dict[str, dict[str, str]]:
    """Kind -> name of one of the twelve numbers -> its 95 % interval, of those that have one."""
    table = {
        kind: {name: text for name in NAMES if (text := interval_text(interval_of(facts, kind, name)))}
        for kind in facts.kinds
    }
    return {kind: row for kind, row in table.items() if row}


def class_rows(facts: RunFacts) -> tuple[list[ClassRow], int]:
    """The classes in the lock's order, and how many were left out: of many, those with most objects are kept."""
    tables = [facts.metrics[kind].get("per_class") for kind in facts.kinds]
    tables = [table if isinstance(table, Mapping) else {} for table in tables]
    rows = []
    for name in dict.fromkeys(name for table in tables for name in table):
        entries = [table.get(name) if isinstance(table.get(name), Mapping) else {} for table in tables]
        rows.append(
            ClassRow(
                shorten(name, 60),
                entries[0].get("ground_truth"),
                entries[0].get("detections"),
                tuple((e.get("AP"), e.get("AP50"), e.get("AP75"), e.get("AR100")) for e in entries),
            )
        )
    if len(rows) <= MOST_CLASSES:
        return rows, 0
    most = sorted(range(len(rows)), key=lambda i: -(rows[i].objects if is_number(rows[i].objects) else 0))
    return [rows[i] for i in sorted(most[:MOST_CLASSES])], len(rows) - MOST_CLASSES


def setting_rows(facts: RunFacts) -> list[tuple[str, str, str]]:
    """The resolved plan: (key, value, reason)."""
    return [(shorten(s.key, 80), value_text(s.value), shorten(s.reason, 240)) for s in facts.settings]


def override_rows(facts: RunFacts) -> list[tuple[str, str, str, str, str]]:
    """(native key, official value, value, who asked, kind), the spec's first."""
    order = list(KINDS_OF_OVERRIDE)
    listed = sorted(facts.overrides, key=lambda o: order.index(o["kind"]) if o.get("kind") in order else len(order))
    return [
        (
            shorten(o.get("key", ""), 100),
            value_text(o.get("official")),
            value_text(o.get("value")),
            shorten(o.get("asked_by", ""), 80),
            KINDS_OF_OVERRIDE.get(str(o.get("kind")), shorten(o.get("kind", ""), 40)),
        )
        for o in listed
    ]


def extra_rows(facts: RunFacts) -> list[tuple[str, str, str]]:
    """What the native file cannot say: (field, value, mechanism)."""
    return [
        (shorten(key, 80), value_text(_mapping(extra).get("value")), shorten(_mapping(extra).get("mechanism", ""), 200))
        for key, extra in facts.extras.items()
    ]


def data_rows(facts: RunFacts) -> tuple[list[str], list[tuple[str, tuple[str, ...]]]]:
    """The splits, and the summary's rows: (what, a value for each split)."""
    splits = list(facts.data)
    rows: list[tuple[str, tuple[str, ...]]] = []
    for key, what in (
        ("images", "images"),
        ("empty_images", "images without objects"),
        ("annotations", "objects"),
        ("with_masks", "objects with a mask"),
        ("crowds", "crowd regions"),
        ("max_objects", "most objects on one image"),
    ):
        rows.append((what, tuple(count(facts.data[split].get(key)) for split in splits)))
    rows.append(("median image size, px", tuple(_size(facts.data[s].get("image_size_wh")) for s in splits)))
    rows.append(
        ("object size √(w·h), px: 5, 50, 95 %", tuple(_quantiles(facts.data[s].get("box_sizes")) for s in splits))
    )
    names: dict[str, float] = {}
    for split in splits:
        for name, n in _mapping(facts.data[split].get("per_class")).items():
            names[name] = names.get(name, 0) + (n if is_number(n) else 0)
    for name in sorted(names, key=lambda name: -names[name])[:50]:
        per_split = tuple(count(_mapping(facts.data[split].get("per_class")).get(name, 0)) for split in splits)
        rows.append((f"class {shorten(name, 60)}", per_split))
    if len(names) > 50:
        rows.append((f"… and {plural(len(names) - 50, 'rarer class', 'rarer classes')}", ("",) * len(splits)))
    return splits, rows


def receipt_view(receipt: Mapping[str, Any]) -> ReceiptView:
    """What the conversion dropped, repaired or noticed, by code, with up to three examples; drops first.

    Classes are listed where they lost objects.
    """
    counts: list[tuple[str, Any, Any, Any]] = []
    for what in ("images", "annotations"):
        entry = _mapping(receipt.get(what))
        if entry:
            counts.append((what, entry.get("in"), entry.get("out"), entry.get("dropped")))
    for name, value in _mapping(receipt.get("classes")).items():
        entry = _mapping(value)
        if entry.get("in") != entry.get("out") and len(counts) < MOST_RECEIPT_ROWS:
            counts.append((f"class {shorten(name, 60)}", entry.get("in"), entry.get("out"), entry.get("dropped")))
    reasons, totals = _mapping(receipt.get("reasons")), _mapping(receipt.get("counts"))
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for event in receipt.get("events") or ():
        if isinstance(event, Mapping):
            groups.setdefault(str(event.get("code", "")), []).append(event)
    events = []
    for code, group in groups.items():
        # Of repairs and notes the file lists the first thousand; their number is in `counts`.
        times = totals.get(code, len(group))
        kind = shorten(group[0].get("kind", ""), 20)
        events.append((times, kind, shorten(code, 60), shorten(reasons.get(code, ""), 200), _examples(group)))
    order = {"drop": 0, "repair": 1, "note": 2}
    events.sort(key=lambda event: (order.get(event[1], 3), -event[0] if is_number(event[0]) else 0))
    return ReceiptView(tuple(counts), tuple(events[:MOST_RECEIPT_ROWS]))


def environment_rows(facts: RunFacts) -> list[tuple[str, str]]:
    """Versions, device, kernels, seed, times: (what, value)."""
    record, rows = facts.record, []
    for key in ("state", "started", "seed", "device", "spec_hash", "class_lock", "native_complete", "backend"):
        if record.get(key) is not None:
            rows.append((key.replace("_", " "), value_text(record[key])))
    if facts.host.get("device_name"):
        rows.append(("device name", value_text(facts.host["device_name"])))
    if is_number(record.get("seconds")):
        rows.append(("training time", duration(record["seconds"])))
    memory = [r["memory_mb"] for r in facts.steps if is_number(r.get("memory_mb"))]
    if memory:
        rows.append(("peak memory", f"{max(memory):,.0f} MB"))
    parameters, trained = record.get("parameters"), record.get("trained_parameters")
    if is_number(parameters):
        also = f" ({count(trained)} trained)" if is_number(trained) else ""
        rows.append(("parameters", count(parameters) + also))
    engine = facts.metrics.get("engine")
    if engine:
        checked = facts.metrics.get("checked_with")
        rows.append(("scored by", shorten(engine, 40) + (f", checked with {shorten(checked, 40)}" if checked else "")))
    for group, title in (("versions", ""), ("kernels", "kernel ")):
        for name, value in (_mapping(record.get(group)) or _mapping(facts.host.get(group))).items():
            rows.append((title + shorten(name, 40), value_text(value)))
    return rows


def comparison_rows(runs: Sequence[RunFacts]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """The twelve numbers of each kind: (name, (value, difference to the first run) a run)."""
    rows = []
    for kind, word in KINDS.items():
        if any(kind in facts.kinds for facts in runs):
            for name in NAMES:
                values = [_mapping(facts.metrics.get(kind)).get(name) for facts in runs]
                cells = [(percent(v), difference(v, values[0]) if i else "") for i, v in enumerate(values)]
                rows.append((f"{word} {name}", tuple(cells)))
    return rows


def different_settings(runs: Sequence[RunFacts]) -> list[tuple[str, tuple[str, ...]]]:
    """The plan keys whose values are not the same in all runs: (key, a value a run)."""
    plans = [{s.key: value_text(s.value, 80) for s in facts.settings} for facts in runs]
    keys = dict.fromkeys(key for plan in plans for key in plan)
    table = [(shorten(key, 80), tuple(plan.get(key, "–") for plan in plans)) for key in keys]
    return [row for row in table if len(set(row[1])) > 1]


def _examples(group: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    said = []
    for event in group[:3]:
        where, detail = shorten(event.get("where", ""), 80), shorten(event.get("detail", ""), 120)
        said.append(f"{where}: {detail}" if where and detail else where or detail)
    return tuple(text for text in said if text)


def _size(value: Any) -> str:
    return " × ".join(count(v) for v in value) if isinstance(value, list | tuple) else "–"


def _quantiles(value: Any) -> str:
    numbers = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(numbers, list | tuple) or len(numbers) != 5 or not all(map(is_number, numbers)):
        return "–"
    return ", ".join(f"{numbers[i]:,.0f}" for i in (0, 2, 4))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
