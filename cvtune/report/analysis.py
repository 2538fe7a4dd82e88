"""What stands behind the scores (docs/analysis.md) as charts and rows; parts of an unexpected form are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from cvtune.report.charts import Chart, Series, bar_chart, line_chart
from cvtune.report.facts import KINDS, RunFacts
from cvtune.report.text import count, is_number, percent, shorten

__all__ = ["Analysis", "Cause", "Kind", "analysis_view", "interval_of", "interval_text"]

MOST_LINES, MOST_LABELS, MOST_ROWS = 6, 20, 15
ERRORS = {
    "Cls": "wrong class",
    "Loc": "badly placed",
    "Both": "wrong class, badly placed",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}


@dataclass(frozen=True)
class Cause:
    """A likely cause of a low score: what was seen, how sure, how to mend it, and where."""

    rule: str
    certainty: str
    seen: str
    fix: str
    line: str


@dataclass(frozen=True)
class Kind:
    """Boxes or masks: every row is made of texts.

    `classes`: name, interval of AP, threshold, precision, recall, F1. `confusion`: labels, and rows of
    (label, (count, share of its row in 0..1) a label). `label_errors`: kind, image, class, score, annotated class, IoU.
    `slices`: slice, images, objects, AP, AP50, interval of AP.
    """

    name: str
    charts: tuple[Chart, ...]
    classes: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    confusion: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    confusion_note: str
    label_errors: tuple[tuple[str, ...], ...]
    slices: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Analysis:
    """What a report shows of analysis.json and explanation.json; empty where there is neither."""

    verdict: str
    causes: tuple[Cause, ...]
    kinds: tuple[Kind, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.verdict or self.causes or self.kinds)


def analysis_view(facts: RunFacts) -> Analysis:
    """Make the view of a run's analysis; what is missing in the file is missing in the view."""
    explanation = facts.explanation
    causes = tuple(
        Cause(
            shorten(cause.get("rule", ""), 60),
            f"{100 * cause['certainty']:.0f} %" if is_number(cause.get("certainty")) else "",
            shorten(cause.get("seen", ""), 400),
            shorten(cause.get("fix", ""), 400),
            shorten(cause.get("line", ""), 200),
        )
        for cause in _records(explanation.get("causes"))[:10]
    )
    kinds = [
        _kind(key, word, part)
        for key, word in KINDS.items()
        if (part := _mapping(facts.analysis.get(key))) and key in facts.kinds
    ]
    return Analysis(shorten(explanation.get("verdict") or "", 400), causes, tuple(kinds))


def interval_of(facts: RunFacts, kind: str, name: str) -> tuple[float, float] | None:
    """The 95 % interval of one of the twelve numbers, fractions, from metrics.json or analysis.json."""
    for source in (facts.metrics, facts.analysis):
        value = _pair(_mapping(_mapping(source.get(kind)).get("intervals")).get(name))
        if value:
            return value
    return None


def interval_text(value: tuple[float, float] | None) -> str:
    """``41.2 to 46.0``, or empty."""
    return f"{100 * value[0]:.1f} to {100 * value[1]:.1f}" if value else ""


def _kind(key: str, word: str, part: Mapping[str, Any]) -> Kind:
    charts = [
        _cost_chart(key, word, _mapping(part.get("errors"))),
        _curve_chart(key, word, part),
        _threshold_chart(key, word, part),
        _calibration_chart(key, word, _mapping(part.get("calibration"))),
    ]
    labels, rows, note = _confusion(_mapping(part.get("confusion")))
    return Kind(
        word,
        tuple(chart for chart in charts if chart),
        tuple(_class_row(row) for row in _records(part.get("per_class"))[:500]),
        labels,
        rows,
        note,
        tuple(_label_error(row) for row in _records(part.get("label_errors"))[:MOST_ROWS]),
        tuple(_slice_row(row) for row in _records(part.get("slices"))[:MOST_ROWS]),
    )


def _cost_chart(key: str, word: str, errors: Mapping[str, Any]) -> Chart | None:
    bars = [
        (ERRORS.get(str(row.get("kind")), shorten(row.get("kind", ""), 24)), max(0.0, round(100 * row["dAP"], 2)))
        for row in _records(errors.get("kinds"))
        if is_number(row.get("dAP"))
    ]
    return bar_chart(f"cost-{key}", f"What each kind of mistake costs ({word.lower()})", bars, "AP50 lost, × 100")


def _curve_chart(key: str, word: str, part: Mapping[str, Any]) -> Chart | None:
    lines = [
        Series(_class_name(row, "mean over classes"), _points(row.get("recall"), row.get("precision")))
        for row in _mean_first(part.get("curves"))
    ]
    return line_chart(f"pr-{key}", f"{word} precision over recall at IoU 0.5", lines, "recall", "precision")


def _threshold_chart(key: str, word: str, part: Mapping[str, Any]) -> Chart | None:
    lines = [
        Series(_class_name(row, "all detections"), _points(row.get("score"), row.get("F1")))
        for row in _mean_first(part.get("thresholds"))
    ]
    best = _mapping(part.get("best")).get("threshold")
    mark = (float(best), f"best {best:.2f}") if is_number(best) else None
    return line_chart(f"f1-{key}", f"{word} F1 over the threshold", lines, "score threshold", "F1", mark=mark)


def _calibration_chart(key: str, word: str, calibration: Mapping[str, Any]) -> Chart | None:
    points = sorted(
        (float(row["confidence"]), float(row["precision"]))
        for row in _records(calibration.get("bins"))
        if is_number(row.get("confidence"))
        and is_number(row.get("precision"))
        and row.get("count")
        and row["precision"] >= 0
    )
    if not points:
        return None
    lines = [Series("this model", points), Series("a calibrated one", [(0.0, 0.0), (1.0, 1.0)])]
    ece = calibration.get("ECE")
    title = f"{word} calibration" + (f", expected error {ece:.2f}" if is_number(ece) else "")
    return line_chart(f"calibration-{key}", title, lines, "mean score", "share that is right")


def _class_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    threshold = row.get("threshold")
    return (
        shorten(row.get("class", ""), 60),
        interval_text(_pair(row.get("AP_interval"))),
        f"{threshold:.2f}" if is_number(threshold) else "–",
        *(percent(row.get(name)) for name in ("precision", "recall", "F1")),
    )


def _confusion(part: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...], str]:
    labels, matrix = part.get("labels"), part.get("matrix")
    if not isinstance(labels, list) or not isinstance(matrix, list) or len(labels) != len(matrix):
        return (), (), ""
    names = tuple(shorten(label, 30) for label in labels)
    rows = []
    for name, numbers in zip(names, matrix, strict=True):
        if not isinstance(numbers, list) or len(numbers) != len(names) or not all(map(is_number, numbers)):
            return (), (), ""
        total = sum(numbers) or 1
        rows.append((name, tuple((count(n), n / total) for n in numbers)))
    note = f"At scores of {part['min_score']:.2f} and more. " if is_number(part.get("min_score")) else ""
    if len(names) <= MOST_LABELS:
        return names, tuple(rows), note
    pairs = [
        (matrix[i][j], f"{names[i]} taken for {names[j]}")
        for i in range(len(names) - 1)
        for j in range(len(names) - 1)
        if i != j and matrix[i][j]
    ]
    pairs.sort(key=lambda pair: -pair[0])
    listed = "; ".join(f"{said} ({count(n)})" for n, said in pairs[:10])
    return (), (), f"{note}Most confused: {listed}." if listed else ""


def _label_error(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        {"missing": "not annotated", "class": "another class", "box": "another box"}.get(str(row.get("kind")), "–"),
        # In a run the names are whole paths, which say nothing to whoever gets the report.
        shorten(PurePath(str(row.get("file_name") or row.get("image_id") or "")).name, 60),
        shorten(row.get("class", ""), 40),
        f"{row['score']:.2f}" if is_number(row.get("score")) else "–",
        shorten(row.get("annotated_class") or "–", 40),
        f"{row['iou']:.2f}" if is_number(row.get("iou")) else "–",
    )


def _slice_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        shorten(row.get("slice", ""), 60),
        count(row.get("images")),
        count(row.get("objects")),
        percent(row.get("AP")),
        percent(row.get("AP50")),
        interval_text(_pair(row.get("AP_interval"))),
    )


def _mean_first(value: Any) -> list[Mapping[str, Any]]:
    """The mean, where it is there, and the first classes; one class needs no mean."""
    rows = _records(value)
    classes = [row for row in rows if row.get("class") is not None]
    means = [row for row in rows if row.get("class") is None]
    return classes if len(classes) == 1 else means[:1] + classes[:MOST_LINES]


def _class_name(row: Mapping[str, Any], mean: str) -> str:
    return mean if row.get("class") is None else shorten(row["class"], 40)


def _points(xs: Any, ys: Any) -> list[tuple[float, float]]:
    if not isinstance(xs, list) or not isinstance(ys, list):
        return []
    pairs = [(float(x), float(y)) for x, y in zip(xs, ys, strict=False) if is_number(x) and is_number(y)]
    return sorted((x, y) for x, y in pairs if y >= 0)


def _pair(value: Any) -> tuple[float, float] | None:
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value)) and value[0] >= 0:
        return float(value[0]), float(value[1])
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _records(value: Any) -> Sequence[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
