"""Writing report.html, report.md and report.json: one run or pair of files in full, several runs side by side."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

import cvtune
from cvtune.data.image_files import image_folders
from cvtune.errors import DataError, SpecError
from cvtune.evaluation.analyse import Pair, analyse_pair, read_pair
from cvtune.evaluation.records import no_collection
from cvtune.report.analysis import analysis_view, best_threshold
from cvtune.report.compare import Comparison, make_comparison
from cvtune.report.curves import comparison_curves, run_curves
from cvtune.report.detections import PictureData, picture_data, read_picture_data
from cvtune.report.facts import KINDS, Files, RunFacts, facts_of_files, read_facts
from cvtune.report.gallery import Gallery, make_gallery
from cvtune.report.headline import make_headline
from cvtune.report.markdown import comparison_markdown, run_markdown
from cvtune.report.mistakes import MISTAKES
from cvtune.report.overlay import text_size
from cvtune.report.record import comparison_record, run_record
from cvtune.report.tables import (
    class_rows,
    data_rows,
    environment_rows,
    extra_rows,
    interval_rows,
    override_rows,
    receipt_view,
    score_rows,
    setting_rows,
)
from cvtune.report.text import count, is_number, percent, shorten
from cvtune.runs import RunDir, write_json, write_text

__all__ = ["Written", "script_json", "write_file_report", "write_report"]

OURS = b'{\n "schema": 1,\n "cvtune": '  # how report.json begins
SCRIPTS = ("sort.js", "charts.js", "gallery.js")
REASONS = {
    "worst": "most mistakes",
    "mistake": "most of one kind of mistake",
    "best": "no mistake, most objects",
    "random": "drawn at random",
}


class Written(NamedTuple):
    """The files of a report: the page (self-contained: nothing is loaded from elsewhere), and beside it two more."""

    html: Path
    markdown: Path
    record: Path


def write_report(runs: Sequence[RunDir], out: Path | None = None) -> Written:
    """Write a report of one run, or of several side by side.

    Args:
        runs: run directories. Files that they lack are named in the report.
        out: the folder to write to, or the HTML file to write (the others lie beside it). Default: the run directory;
            for several runs, whose own reports stay, the folder that the first one lies in.

    Returns:
        The paths of report.html, report.md and report.json.

    Raises:
        SpecError: no run was given; a file of that name with the suffix .json is there and is no report.
        RunError: a file cannot be written.
    """
    if not runs:
        raise SpecError("report: no run was given; name one or more run directories, or --gt GT.json --pred PRED.json")
    several = len(runs) > 1
    page = _page(out, runs[0].path.parent if several else runs[0].path)
    all_facts = [read_facts(run) for run in runs]
    if not several:
        return _write_one(all_facts[0], page)
    comparison = make_comparison(all_facts)
    record = comparison_record(comparison)
    return _write(page, _comparison_html(comparison), comparison_markdown(comparison), record)


def write_file_report(files: Files, out: Path | None = None) -> Written:
    """Score predictions and write a report of them, without a run.

    Args:
        files: ground truth in COCO's form, predictions as `cvtune eval --pred` takes them, and the images' folder.
        out: as for `write_report`; default: the folder of the predictions.

    Raises:
        DataError: a file is wrong, in one line that says where.
    """
    image_folders(files.truth, files.images)  # refuses a folder that is none
    with no_collection():
        pair = read_pair(files.truth, files.predictions)
        metrics, analysis = analyse_pair(pair)
        command = ["cvtune", "report", "--gt", str(files.truth), "--pred", str(files.predictions)]
        command += ["--images", str(files.images)] if files.images else []
        facts = facts_of_files(files, metrics, shlex.join(command), analysis.to_json())
        return _write_one(facts, _page(out, files.predictions.parent), pair)


def _page(out: Path | None, default: Path) -> Path:
    page = Path(out) if out is not None else default
    return page if page.suffix.lower() in {".html", ".htm"} else page / "report.html"


def _write_one(facts: RunFacts, page: Path, pair: Pair | None = None) -> Written:
    gallery = make_gallery(_pictures(facts, pair), best_threshold(facts))
    return _write(page, _run_html(facts, gallery), run_markdown(facts, gallery), run_record(facts, gallery))


def _write(page: Path, html: str, markdown: str, record: Any) -> Written:
    written = Written(page, page.with_suffix(".md"), page.with_suffix(".json"))
    # `-o predictions.html` beside predictions.json must not cost the predictions.
    if written.record.exists() and not written.record.read_bytes()[:40].startswith(OURS):
        raise SpecError(
            f"report: {written.record} would be overwritten, and is no report; choose another name than {page.name}"
        )
    write_text(written.html, html)
    write_text(written.markdown, markdown)
    write_json(written.record, record)
    return written


def _run_html(facts: RunFacts, gallery: Gallery) -> str:
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
        gallery=gallery,
        analysis=analysis_view(facts),
        intervals=interval_rows(facts),
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
        comparison=comparison,
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
        "text_size": text_size,
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


def _pictures(facts: RunFacts, pair: Pair | None) -> PictureData | DataError:
    try:
        return picture_data(pair, facts.files) if pair and facts.files else read_picture_data(facts)
    except DataError as error:
        return error


def _sort_value(value: object) -> str:
    return repr(value) if is_number(value) else "-1"
