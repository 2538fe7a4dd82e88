"""Several runs side by side: the rows of the comparison, and what makes their figures hard to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvtune.report.facts import KINDS, RunFacts
from cvtune.report.headline import Headline, make_headline
from cvtune.report.tables import MOST_CLASSES, comparison_rows, different_settings
from cvtune.report.text import difference, is_number, percent, shorten

__all__ = ["Comparison", "make_comparison"]


@dataclass(frozen=True)
class Comparison:
    """What a comparison shows; `labels` are the runs' names, made different where two are equal.

    `scores`: (name, (value, difference to the first run) a run). `classes`: the same per class, values as fractions.
    `paired`: for each run, (kind, name of one of the twelve numbers) -> 95 % interval of its difference to the first.
    """

    runs: tuple[RunFacts, ...]
    labels: tuple[str, ...]
    headlines: tuple[Headline, ...]
    main: str
    notes: tuple[str, ...]
    scores: Sequence[tuple[str, tuple[tuple[str, str], ...]]]
    classes: Sequence[tuple[str, tuple[tuple[Any, str], ...]]]
    classes_left_out: int
    settings: Sequence[tuple[str, tuple[str, ...]]]
    paired: Sequence[Mapping[tuple[str, str], tuple[float, float]]] = ()

    def interval(self, run: int, kind: str, name: str) -> tuple[float, float] | None:
        """The interval of a difference to the first run, as fractions; None where it is not known."""
        return self.paired[run].get((kind, name)) if run < len(self.paired) else None


def make_comparison(runs: Sequence[RunFacts]) -> Comparison:
    """Compare runs with the first of them."""
    labels = _labels(runs)
    kind = _kind(runs)
    classes = _classes(runs, kind)
    return Comparison(
        runs=tuple(runs),
        labels=labels,
        headlines=tuple(make_headline(facts) for facts in runs),
        main=_main(runs, labels, kind),
        notes=_notes(runs, labels),
        scores=comparison_rows(runs),
        classes=classes[:MOST_CLASSES],
        classes_left_out=max(0, len(classes) - MOST_CLASSES),
        settings=different_settings(runs),
    )


def _labels(runs: Sequence[RunFacts]) -> tuple[str, ...]:
    names = [shorten(facts.name, 40) for facts in runs]
    counts = Counter(names)
    return tuple(f"{name} ({i})" if counts[name] > 1 else name for i, name in enumerate(names, 1))


def _kind(runs: Sequence[RunFacts]) -> str:
    """What the runs are compared by: masks where all scored runs have them."""
    scored = [facts for facts in runs if facts.kinds]
    return "segm" if scored and all("segm" in facts.kinds for facts in scored) else "bbox"


def _ap(facts: RunFacts, kind: str) -> float | None:
    scores = facts.metrics.get(kind)
    value = scores.get("AP") if isinstance(scores, Mapping) else None
    return float(value) if is_number(value) and value >= 0 else None


def _main(runs: Sequence[RunFacts], labels: Sequence[str], kind: str) -> str:
    scored = [(ap, label) for facts, label in zip(runs, labels, strict=True) if (ap := _ap(facts, kind)) is not None]
    if not scored:
        return f"{len(runs)} runs, none of them scored."
    best, label = max(scored, key=lambda pair: pair[0])
    said = f"{label} is ahead with {KINDS[kind].lower()} AP {percent(best)}"
    others = sorted((ap for ap, other in scored if other != label), reverse=True)
    return f"{said}, {difference(best, others[0]).lstrip('+±')} above the next." if others else f"{said}."


def _notes(runs: Sequence[RunFacts], labels: Sequence[str]) -> tuple[str, ...]:
    """What makes the figures incomparable, and what makes each of them optimistic."""
    notes = []
    scored = [(facts, label) for facts, label in zip(runs, labels, strict=True) if facts.kinds]
    for what, key in (("splits", "split"), ("numbers of images", "images"), ("numbers of annotations", "annotations")):
        values = {label: facts.metrics.get(key) for facts, label in scored}
        if len(set(map(str, values.values()))) > 1:
            listed = ", ".join(f"{label}: {shorten(value, 20)}" for label, value in list(values.items())[:6])
            notes.append(f"Scored on different {what} ({listed}): the figures do not compare.")
    locks = {facts.class_map.hash for facts, _ in scored if facts.class_map}
    if len(locks) > 1:
        notes.append("The runs have different class locks: means over classes do not compare.")
    optimistic = [label for facts, label in scored if facts.chosen_on_this_split]
    if optimistic:
        which = "all runs" if len(optimistic) == len(scored) else ", ".join(optimistic[:6])
        notes.append(f"The scored split also chose the checkpoint ({which}): those figures are optimistic.")
    return tuple(notes)


def _classes(runs: Sequence[RunFacts], kind: str) -> list[tuple[str, tuple[tuple[Any, str], ...]]]:
    tables = []
    for facts in runs:
        scores = facts.metrics.get(kind)
        per_class = scores.get("per_class") if isinstance(scores, Mapping) else None
        tables.append(per_class if isinstance(per_class, Mapping) else {})
    rows = []
    for name in dict.fromkeys(name for table in tables for name in table):
        entries = [table.get(name) for table in tables]
        values = [entry.get("AP") if isinstance(entry, Mapping) else None for entry in entries]
        cells = tuple((value, difference(value, values[0]) if i else "") for i, value in enumerate(values))
        rows.append((shorten(name, 60), cells))
    return rows
