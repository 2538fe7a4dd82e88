"""report.md: the report in short, for a pull request. Tables and sentences, no images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cvtune.report.analysis import analysis_view
from cvtune.report.compare import Comparison
from cvtune.report.facts import KINDS, RunFacts
from cvtune.report.gallery import Gallery
from cvtune.report.headline import make_headline
from cvtune.report.mistakes import MISTAKES
from cvtune.report.tables import (
    class_rows,
    data_rows,
    interval_rows,
    override_rows,
    receipt_view,
    score_rows,
    setting_rows,
)
from cvtune.report.text import clean, count, percent, shorten

__all__ = ["code", "comparison_markdown", "plain", "run_markdown"]

MOST_ROWS = 40
# Underscores inside a word are no markup.
SPECIAL = re.compile(r"([\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def plain(text: object) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no mention, no link."""
    escaped = SPECIAL.sub(r"\\\1", clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    # A word joiner keeps "@name" from calling somebody, "#1" from naming an issue and "http:" from becoming a link.
    return re.sub(r"(@|#(?=\d)|:(?=//)|\bwww(?=\.))", "\\1\u2060", escaped)


def code(text: object) -> str:
    """A name or a setting as a code span; backticks become apostrophes, since a span cannot hold them in a table."""
    inner = clean(text).replace("`", "'").replace("|", "\\|")
    return f"`{inner}`" if inner else ""


def run_markdown(facts: RunFacts, gallery: Gallery | None = None) -> str:
    """One run: the sentence that matters, the scores, the classes, what was asked for, what was dropped."""
    headline = make_headline(facts)
    lines = [f"## {plain(facts.name)}", "", f"**{plain(headline.main)}**", ""]
    if headline.facts:
        lines += [" · ".join(map(plain, headline.facts)), ""]
    for note in headline.notes:
        lines += [f"> {plain(note)}", ""]
    if facts.kinds:
        sure = interval_rows(facts)
        rows = [
            [
                name,
                *(
                    f"{value} ({said})" if (said := sure.get(kind, {}).get(name)) else value
                    for kind, value in zip(facts.kinds, values, strict=True)
                ),
                plain(meaning),
            ]
            for name, meaning, values in score_rows(facts)
        ]
        lines += ["### Scores (× 100)", "", *_table(["", *(KINDS[k] for k in facts.kinds), ""], rows, len(facts.kinds))]
        if sure:
            lines += ["In brackets: the 95 % interval, by bootstrap over images.", ""]
        lines += _classes(facts)
    lines += _why(facts, gallery)
    settings = [row for row in setting_rows(facts) if row[2].startswith("spec")]
    if settings:
        rows = [[code(key), code(shorten(value, 80))] for key, value, _ in settings]
        lines += ["### Asked for in the spec", "", *_table(["setting", "value"], rows)]
    overrides = override_rows(facts)
    if overrides:
        rows = [
            [code(shorten(key, 60)), code(shorten(official, 60)), code(shorten(value, 60)), plain(asked or kind)]
            for key, official, value, asked, kind in overrides
        ]
        lines += [
            "### What differs from the official config",
            "",
            *_table(["key", "official", "here", "from"], rows),
        ]
    splits, data = data_rows(facts)
    if splits:
        rows = [[plain(what), *values] for what, values in data if not what.startswith("class ")]
        lines += ["### Data", "", *_table(["", *map(plain, splits)], rows, len(splits))]
    events = receipt_view(facts.receipt).events
    if events:
        rows = [[count(times), plain(kind), code(name), plain(meaning)] for times, kind, name, meaning, _ in events]
        lines += ["Receipt of the conversion:", "", *_table(["times", "", "what", ""], rows)]
    command = facts.record.get("command")
    if command:
        lines += ["### Repeat", "", *_block(shorten(command, 2000))]
    for problem in facts.problems:
        lines += [f"- {plain(problem)}"]
    return "\n".join(lines).rstrip() + "\n"


def comparison_markdown(comparison: Comparison) -> str:
    """Several runs: scores with differences to the first, AP per class, the settings that differ."""
    lines = [f"**{plain(comparison.main)}**", ""]
    for note in comparison.notes:
        lines += [f"> {plain(note)}", ""]
    heads = ["", *map(code, comparison.labels)]
    if comparison.scores:
        rows = [
            [
                plain(name),
                *(_with_difference(*cell, comparison.sure(i, name)) for i, cell in enumerate(cells)),
            ]
            for name, cells in comparison.scores
        ]
        lines += ["### Scores (× 100, differences to the first)", "", *_table(heads, rows, len(comparison.runs))]
    if comparison.classes:
        rows = [
            [
                code(name),
                *(
                    _with_difference(percent(value), change, comparison.sure_of_class(i, name))
                    for i, (value, change) in enumerate(cells)
                ),
            ]
            for name, cells in comparison.classes
        ]
        lines += ["### AP per class", "", *_table(heads, rows, len(comparison.runs))]
    if comparison.settings:
        rows = [[code(key), *map(code, values)] for key, values in comparison.settings]
        lines += ["### Settings that differ", "", *_table(heads, rows)]
    lines += ["### Runs", ""]
    for facts, headline, label in zip(comparison.runs, comparison.headlines, comparison.labels, strict=True):
        lines.append(f"- {code(label)}: {plain(headline.main)}")
        lines += [f"  - {plain(problem)}" for problem in facts.problems]
    return "\n".join(lines).rstrip() + "\n"


def _why(facts: RunFacts, gallery: Gallery | None) -> list[str]:
    """What goes wrong, and why, as far as it is known."""
    analysis = analysis_view(facts)
    lines = []
    if analysis.verdict:
        lines += [plain(analysis.verdict), ""]
    for cause in analysis.causes:
        lines.append(f"- {plain(cause.certainty)} {plain(cause.seen)}: {plain(cause.fix)} {code(cause.line)}".rstrip())
    if analysis.causes:
        lines.append("")
    if gallery and gallery.tally and gallery.sentence:
        said = ", ".join(f"{n:,} {MISTAKES[kind][0]}" for kind, n in gallery.tally.mistakes.items() if n)
        lines += [plain(gallery.sentence) + (f" False: {said}." if said else ""), ""]
    return ["### What goes wrong", "", *lines] if lines else []


def _classes(facts: RunFacts) -> list[str]:
    classes, left_out = class_rows(facts)
    if not classes:
        return []
    heads = ["class", "objects", "detections"]
    heads += [f"{KINDS[kind]} {name}" for kind in facts.kinds for name in ("AP", "AP50")]
    rows = [
        [code(row.name), count(row.objects), count(row.detections)]
        + [percent(value) for scores in row.scores for value in scores[:2]]
        for row in classes
    ]
    hidden = left_out + max(0, len(rows) - MOST_ROWS)
    lines = ["### Classes", "", *_table(heads, rows, len(heads) - 1, note=False)]
    return [*lines, f"{hidden} more classes are in metrics.json.", ""] if hidden else lines


def _with_difference(value: str, change: str, sure: str = "") -> str:
    if not change:
        return value
    return f"{value} ({change}; {sure})" if sure else f"{value} ({change})"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0, note: bool = True) -> list[str]:
    """A table whose columns 2 to 1 + `numbers` are aligned right; cells are Markdown already."""
    listed = list(rows)
    marks = ["---:" if 1 <= i <= numbers else "---" for i in range(len(heads))]
    lines = [_row(heads), _row(marks), *map(_row, listed[:MOST_ROWS]), ""]
    if note and len(listed) > MOST_ROWS:
        lines += [f"{len(listed) - MOST_ROWS} more rows are in report.html.", ""]
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _block(text: str) -> list[str]:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"{fence}sh", text, fence, ""]
