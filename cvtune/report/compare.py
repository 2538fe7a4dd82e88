"""Several runs side by side: the rows of the comparison, and what makes their figures hard to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvtune.errors import CvtuneError
from cvtune.evaluation.comparison import Comparison as Paired
from cvtune.evaluation.comparison import compare_runs
from cvtune.report.facts import KINDS, RunFacts
from cvtune.report.headline import Headline, make_headline
from cvtune.report.tables import MOST_CLASSES, comparison_rows, different_settings
from cvtune.report.text import difference, is_number, percent, shorten

__all__ = ["Comparison", "make_comparison"]

SAME = 0.001  # APs of the same predictions differ by less, however they are added up


@dataclass(frozen=True)
class Comparison:
    """What a comparison shows; `labels` are the runs' names, made different where two are equal.

    `scores`: (name, (value, difference to the first run) a run). `classes`: the same per class, values as fractions.
    `paired`: for each run, (kind, name of one of the twelve numbers) -> 95 % interval of its difference to the first;
    `paired_classes`: class -> that of its AP. Empty where the runs do not share images and classes.
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
    paired_classes: Sequence[Mapping[str, tuple[float, float]]] = ()

    def interval(self, run: int, kind: str, name: str) -> tuple[float, float] | None:
        """The interval of a difference to the first run, as fractions; None where it is not known."""
        return self.paired[run].get((kind, name)) if run < len(self.paired) else None

    def sure(self, run: int, row: str) -> str:
        """The interval of a run's difference in a row of `scores`, such as ``+0.4 to +3.3``, or empty."""
        word, _, name = row.partition(" ")
        kind = next((kind for kind, text in KINDS.items() if text == word), "")
        return _signed(self.interval(run, kind, name))

    def sure_of_class(self, run: int, name: str) -> str:
        """The same of a class's AP."""
        return _signed(self.paired_classes[run].get(name) if run < len(self.paired_classes) else None)


def _signed(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    low, high = (f"{'−' if round(100 * end, 1) < 0 else '+'}{abs(100 * end):.1f}" for end in interval)
    return f"{low} to {high}"


def make_comparison(runs: Sequence[RunFacts]) -> Comparison:
    """Compare runs with the first of them."""
    labels = _labels(runs)
    kind = _kind(runs)
    classes = _classes(runs, kind)
    drawn = [_drawn(runs[0], facts) if i else None for i, facts in enumerate(runs)]
    return Comparison(
        runs=tuple(runs),
        labels=labels,
        headlines=tuple(make_headline(facts) for facts in runs),
        main=_main(runs, labels, kind, drawn),
        notes=_notes(runs, labels),
        scores=comparison_rows(runs),
        classes=classes[:MOST_CLASSES],
        classes_left_out=max(0, len(classes) - MOST_CLASSES),
        settings=different_settings(runs),
        paired=[_intervals(one) for one in drawn],
        paired_classes=[
            {shorten(name, 60): d.interval for name, d in one.per_class.items() if d.interval} if one else {}
            for one in drawn
        ],
    )


def _drawn(first: RunFacts, other: RunFacts) -> Paired | None:
    """The two runs on the same draws of the same images; None where they do not compare."""
    if other.split != first.split or not (first.kinds and other.kinds):
        return None
    try:
        drawn = compare_runs(first.run, other.run, first.split)
    except (CvtuneError, KeyError, TypeError, ValueError):
        return None  # the notes say what differs, or which file is missing
    ap = drawn.figures.get("AP")
    scored = _ap(first, drawn.kind), _ap(other, drawn.kind)
    if ap is None or None in scored:
        return None
    # Scores of other predictions than those that lie there now: an interval would belong to another figure.
    stale = any(abs(own - (said or 0.0)) > SAME for own, said in zip((ap.a, ap.b), scored, strict=True))
    return None if stale else drawn


def _intervals(drawn: Paired | None) -> dict[tuple[str, str], tuple[float, float]]:
    if drawn is None:
        return {}
    return {(drawn.kind, name): d.interval for name, d in drawn.figures.items() if d.interval}


def _labels(runs: Sequence[RunFacts]) -> tuple[str, ...]:
    names = [shorten(facts.name, 40) for facts in runs]
    if len(set(names)) < len(names):
        # A copied run keeps its name; its folder has another.
        folders = [shorten(facts.run.path.name, 40) for facts in runs]
        names = folders if len(set(folders)) > len(set(names)) else names
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


def _main(runs: Sequence[RunFacts], labels: Sequence[str], kind: str, drawn: Sequence[Paired | None]) -> str:
    if len(runs) == 2 and (paired := drawn[1]) is not None and "AP" in paired.figures:
        same = runs[0].run.path.name == runs[1].run.path.name
        return shorten(paired.sentence, 300) + (" A is the first run, B the second." if same else "")
    aps = {i: ap for i, facts in enumerate(runs) if (ap := _ap(facts, kind)) is not None}
    if not aps:
        return f"{len(runs)} runs, none of them scored."
    best, *others = sorted(aps, key=lambda i: -aps[i])
    said = f"{labels[best]} is ahead with {KINDS[kind].lower()} AP {percent(aps[best])}"
    if not others:
        return f"{said}."
    said += f", {difference(aps[best], aps[others[0]]).lstrip('+±')} above {labels[others[0]]}"
    between = _drawn(runs[others[0]], runs[best])
    interval = _intervals(between).get((kind, "AP"))
    if interval is None:
        return f"{said}."
    low, high = interval
    verdict = ": it may be chance" if low <= 0.0 <= high else ""
    return f"{said} (95 % interval {_signed(interval)}{verdict})."


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
