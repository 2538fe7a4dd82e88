"""Writing report.html and report.md: one run in full, several side by side."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import cvtune
from cvtune.errors import DataError, SpecError
from cvtune.report.compare import Comparison, make_comparison
from cvtune.report.curves import comparison_curves, run_curves
from cvtune.report.detections import PictureData, read_picture_data
from cvtune.report.facts import KINDS, RunFacts, read_facts
from cvtune.report.gallery import make_gallery
from cvtune.report.headline import make_headline
from cvtune.report.markdown import comparison_markdown, run_markdown
from cvtune.report.mistakes import MISTAKES
from cvtune.report.tables import (
    class_rows,
    data_rows,
    environment_rows,
    extra_rows,
    override_rows,
    receipt_view,
    score_rows,
    setting_rows,
)
from cvtune.report.text import count, is_number, percent, shorten
from cvtune.runs import RunDir, write_text

__all__ = ["script_json", "write_report"]

SCRIPTS = ("sort.js", "charts.js", "gallery.js")
REASONS = {
    "worst": "most mistakes",
    "mistake": "most of one kind of mistake",
    "best": "no mistake, most objects",
    "random": "drawn at random",
}


def write_report(runs: Sequence[RunDir], out: Path | None = None) -> tuple[Path, Path]:
    """Write a report of one run, or of several side by side.

    Args:
        runs: run directories. Files that they lack are named in the report.
        out: the folder to write to, or the HTML file to write (the Markdown file lies beside it). Default: the run
            directory; for several runs, whose own reports stay, the folder that the first one lies in.

    Returns:
        The paths of report.html (self-contained: nothing is loaded from elsewhere) and of report.md.

    Raises:
        SpecError: no run was given.
        RunError: a file cannot be written.
    """
    if not runs:
        raise SpecError("report: no run was given; name one or more run directories")
    several = len(runs) > 1
    page = Path(out) if out is not None else (runs[0].path.parent if several else runs[0].path)
    if page.suffix.lower() not in {".html", ".htm"}:
        page = page / "report.html"
    all_facts = [read_facts(run) for run in runs]
    if several:
        comparison = make_comparison(all_facts)
        html, markdown = _comparison_html(comparison), comparison_markdown(comparison)
    else:
        html, markdown = _run_html(all_facts[0]), run_markdown(all_facts[0])
    text = page.with_suffix(".md")
    write_text(page, html)
    write_text(text, markdown)
    return page, text


def _run_html(facts: RunFacts) -> str:
    headline = make_headline(facts)
    classes, left_out = class_rows(facts)
    splits, data = data_rows(facts)
    command = facts.record.get("command")
    return _render(
        "run.html",
        title=f"{facts.name}: {headline.main}",
        facts=facts,
        headline=headline,
        scores=score_rows(facts),
        classes=classes,
        classes_left_out=left_out,
        curves=run_curves(facts),
        gallery=make_gallery(_pictures(facts)),
        reasons=REASONS,
        mistakes=MISTAKES,
        settings=setting_rows(facts),
        overrides=override_rows(facts),
        extras=extra_rows(facts),
        splits=splits,
        data=data,
        receipt=receipt_view(facts.receipt),
        environment=environment_rows(facts),
        command=shorten(command, 4000) if command else "",
    )


def _comparison_html(comparison: Comparison) -> str:
    return _render(
        "compare.html",
        title=comparison.main,
        main=comparison.main,
        notes=comparison.notes,
        labels=comparison.labels,
        runs=list(zip(comparison.runs, comparison.headlines, comparison.labels, strict=True)),
        scores=comparison.scores,
        classes=comparison.classes,
        classes_left_out=comparison.classes_left_out,
        curves=comparison_curves(comparison.runs, comparison.labels),
        settings=comparison.settings,
    )


def _render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cvtune.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "percent": percent,
        "short": shorten,
        "sort_value": _sort_value,
        "script_json": script_json,
    }
    environment.tests["fraction"] = lambda value: is_number(value) and 0 <= value <= 1
    loader = environment.loader
    assert loader is not None
    script = "\n".join(loader.get_source(environment, name)[0] for name in SCRIPTS)
    # The page's own policy allows this one script and no request at all.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        # Our own files, the only text that is not escaped.
        style=Markup(loader.get_source(environment, "style.css")[0]),
        script=Markup(script),
        script_hash=digest,
        version=getattr(cvtune, "__version__", ""),
        kind_names=KINDS,
        **values,
    )


def script_json(value: Any) -> Markup:
    """JSON for a script element of data: no character of it can end the element or begin another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _pictures(facts: RunFacts) -> PictureData | DataError:
    try:
        return read_picture_data(facts)
    except DataError as error:
        return error


def _sort_value(value: object) -> str:
    return repr(value) if is_number(value) else "-1"
