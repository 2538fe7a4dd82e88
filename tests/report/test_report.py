"""report.html: well-formed, self-contained, complete; whole runs, runs with holes, hostile names, several runs."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cvtune.errors import SpecError
from cvtune.evaluation import evaluate_run
from cvtune.report import write_report
from cvtune.runs import RunDir, read_json, write_json

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = {"scores", "classes", "curves", "images", "plan", "overrides", "data", "environment", "repeat"}
HOSTILE = "<script>alert(1)</script>\"' onload=x {{ 7*7 }} \u202eevil"


class Page(HTMLParser):
    """Checks that tags close in order, and collects what a page holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> is out of order"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text.append(data)

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read_page(path: Path) -> Page:
    html = path.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert path.stat().st_size < 5_000_000
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    # Nothing is loaded: what has an address is inside the page, and the page forbids the rest.
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            if attrs.get(name) is not None:
                assert re.match(r"#|data:image/jpeg;base64,", attrs[name] or ""), f"<{tag} {name}={attrs[name]!r:.60}>"
        assert not [name for name in attrs if name.startswith("on")]
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
    assert not re.search(r"url\(|@import", html)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    for anchor in (attrs["href"] for tag, attrs in page.tags if tag == "a"):
        assert (anchor or "").removeprefix("#") in page.ids
    for tag, attrs in page.tags:
        if attrs.get("role") == "img":
            assert attrs.get("aria-label") or attrs.get("aria-labelledby")
        # Every control has a label.
        if tag in {"input", "select"}:
            assert attrs.get("id") in {a.get("for") for t, a in page.tags if t == "label"} | {"names", "masks"}
        if attrs.get("aria-labelledby"):
            assert set((attrs["aria-labelledby"] or "").split()) <= set(page.ids)
    return page


@pytest.mark.parametrize("masks", [False, True])
def test_a_whole_run(make_run: Any, masks: bool) -> None:
    run = make_run(masks=masks)
    html, markdown, _ = write_report([run])
    assert (html, markdown) == (run.path / "report.html", run.path / "report.md")
    assert markdown.read_text(encoding="utf-8").startswith("## discs")
    page = read_page(html)
    assert set(page.ids) >= SECTIONS
    for words in (
        "AP 49.8 (AP50 79.8)",
        "on 6 validation images; best epoch 3 of 4.",
        "This split also chose the checkpoint (by bbox/AP): the figure is optimistic.",
        "recall with 100 detections an image",
        "red disc",
        "Training loss Training loss loss",
        "loss_classifier",
        "11 objects found, 1 missed, 2 false detections",
        "photos/disc 3.png",
        "train.optimizer.lr",
        "auto: official 0.02 x (8/16) for the batch",
        "waits for the machine: 4 a device",
        "asked for in the spec",
        "averaged by the worker",
        "160 × 120",
        "box-zero-area",
        "1,500",
        "a.xml object 3: 0 x 4",
        "41,299,161",
        "hotcoco 1.3, checked with pycocotools 2.0",
        "cvtune train configs/discs.yaml -s train.epochs=4",
    ):
        assert words in page.words, words
    # Each image is in the page once, and shown twice.
    assert [tag for tag, _ in page.tags].count("image") == [tag for tag, _ in page.tags].count("use") == 6
    assert len([tag for tag, attrs in page.tags if attrs.get("role") == "img"]) == 4 + 12
    # The overrides that were asked for come before those that follow.
    assert page.words.index("optimizer.lr 0.02 0.01") < page.words.index("dataset.train")
    bars = [attrs for tag, attrs in page.tags if tag == "rect" and attrs.get("class") == "value"]
    assert [bar["width"] for bar in bars[:2]] == ["49.8", "39.8" if not masks else "49.8"]
    assert "Missing from this report" not in page.words


FILES = [
    "plan.json",
    "log.jsonl",
    "metrics.json",
    "predictions.json",
    "run.json",
    "overrides.json",
    "extras.json",
    "classes.json",
    "data/receipt.json",
    "data/images.json",
    "data/val.json",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "{}", "null", '[null, 3, "x"]', '{"values": 3, "bbox": [], "best": 4, "data": [1]}', "\xff"],
)
def test_a_file_that_is_missing_or_broken_never_stops_a_report(make_run: Any, name: str, content: str | None) -> None:
    run = make_run(images=2)
    if content is None:
        (run.path / name).unlink()
    else:
        (run.path / name).write_bytes(content.encode("latin-1"))
    page = read_page(write_report([run])[0])
    assert set(page.ids) >= SECTIONS


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (
            {"plan.json", "log.jsonl"},
            [
                "Not scored yet; Box AP was 49.8",
                "There is no run.json",
                "There is no predictions.json",
                "Training loss",
            ],
        ),
        (
            {"plan.json"},
            ["Not scored yet: nothing has been trained.", "There is no log of a training", "There are no scores"],
        ),
        (set(), ["There is no plan.", "There is no receipt.", "The command was not recorded.", "There is no run.json"]),
    ],
)
def test_runs_with_holes_say_so(make_run: Any, keep: set[str], expected: list[str]) -> None:
    run = make_run()
    for file in [path for path in run.path.rglob("*") if path.is_file() and path.name not in keep]:
        file.unlink()
    page = read_page(write_report([run])[0])
    for words in expected:
        assert words in page.words, words
    assert "Missing from this report" in page.words


def test_hostile_names_stay_text(make_run: Any) -> None:
    long = "x" * 10_000
    run = make_run(names=(HOSTILE, long), file_name="<img src=http://evil.example/{}>\u202e.png")
    for path, change in (
        (run.record, {"name": HOSTILE, "command": HOSTILE, "versions": {HOSTILE: HOSTILE}, "error": HOSTILE}),
        (run.extras, {HOSTILE: {"value": HOSTILE, "mechanism": long}}),
    ):
        write_json(path, read_json(path) | change)
    write_json(run.overrides, [dict.fromkeys(("key", "official", "value", "asked_by", "kind"), HOSTILE)])
    receipt = read_json(run.receipt)
    receipt["events"] += [dict.fromkeys(("kind", "code", "where", "detail"), HOSTILE)]
    write_json(run.receipt, receipt)
    log = run.log.read_text().replace("loss_classifier", '</svg><script src=\\"http://evil.example\\">')
    run.log.write_text(log)
    html, markdown, _ = write_report([run])
    page = read_page(html)
    assert [attrs.get("type") for tag, attrs in page.tags if tag == "script"] == ["application/json", None]
    assert "<script>alert(1)</script>" in page.words
    assert "{{ 7*7 }}" in page.words
    text = html.read_text(encoding="utf-8")
    assert "\u202e" not in text
    assert "x" * 200 not in text
    assert html.stat().st_size < 500_000
    written = markdown.read_text(encoding="utf-8")
    outside_code = re.sub(r"(`+)(.+?)\1", "", written, flags=re.DOTALL)
    assert "<" not in outside_code
    assert "\u202e" not in written
    assert "x" * 200 not in written


def test_right_to_left_names_are_isolated(make_run: Any) -> None:
    run = make_run(names=("חתול", "قطة"))
    html = write_report([run])[0].read_text(encoding="utf-8")
    assert "<bdi>חתול</bdi>" in html
    assert "<bdi>قطة</bdi>" in html


def test_a_thousand_classes_and_a_long_log_stay_small(make_run: Any) -> None:
    run = make_run(images=2)
    metrics = read_json(run.metrics)
    entry = metrics["bbox"]["per_class"]["red disc"]
    metrics["bbox"]["per_class"] = {f"class {i}": entry | {"ground_truth": i} for i in range(1203)}
    write_json(run.metrics, metrics)
    lines = run.log.read_text().splitlines()
    run.log.write_text("\n".join(lines * 1000))
    page = read_page(write_report([run])[0])
    assert "703 classes with fewer objects are left out here" in page.words
    assert "class 1202" in page.words
    assert "class 702 " not in page.words


def test_out_may_be_a_folder_or_a_file(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    assert write_report([run], tmp_path / "there")[0] == tmp_path / "there" / "report.html"
    html, markdown, _ = write_report([run], tmp_path / "a" / "mine.html")
    assert (html.name, markdown.name) == ("mine.html", "mine.md")
    assert html.exists()
    assert markdown.exists()
    assert not (run.path / "report.html").exists()


def test_no_other_file_is_overwritten(make_run: Any) -> None:
    run = make_run()
    before = run.predictions.read_bytes()
    with pytest.raises(SpecError, match=r"predictions\.json would be overwritten"):
        write_report([run], run.path / "predictions.html")
    assert run.predictions.read_bytes() == before
    assert not (run.path / "predictions.html").exists()
    # A report is.
    write_report([run])
    write_report([run])


def test_no_run_is_an_error() -> None:
    with pytest.raises(SpecError, match="no run was given"):
        write_report([])


def test_several_runs_side_by_side(make_run: Any, tmp_path: Path) -> None:
    runs = [make_run("first", ap=0.498), make_run("second", ap=0.531, lr=0.02), make_run("unscored")]
    runs[2].metrics.unlink()
    html, markdown, _ = write_report(runs)
    assert html == tmp_path / "runs" / "report.html"
    page = read_page(html)
    assert "second is ahead with box AP 53.1, 3.3 above first" in page.words
    assert "Box AP 49.8 53.1 +3.3 –" in page.words
    assert "train.optimizer.lr 0.01 0.02 0.01" in page.words
    assert "blue disc 39.8 43.1 +3.3 –" in page.words
    assert "all runs" in page.words
    curves = [attrs for tag, attrs in page.tags if tag == "polyline"]
    assert len(curves) == 6
    text = markdown.read_text(encoding="utf-8")
    assert "| Box AP | 49.8 | 53.1 (+3.3) | – |" in text
    assert "| `train.optimizer.lr` | `0.01` | `0.02` | `0.01` |" in text


@pytest.mark.parametrize(("step", "said"), [(1, r"above \w+ \(95 % interval .*: it may be chance\)\."), (3, r"\d\)\.")])
def test_who_is_ahead_of_several_runs_and_whether_it_may_be_chance(make_run: Any, step: int, said: str) -> None:
    runs = [make_run(name, images=30) for name in ("first", "second", "third")]
    for run in runs[1:]:
        found = read_json(run.predictions)
        write_json(run.predictions, found[::step])
    for run in runs:
        evaluate_run(run)
    assert re.match(r"\w+ is ahead with box AP [0-9.]+, [0-9.]+ above \w+ \(95 % interval ", _headline(runs))
    assert re.search(said, _headline(runs))


def _headline(runs: Any) -> str:
    _, markdown, _ = write_report(runs)
    return markdown.read_text(encoding="utf-8").splitlines()[0].strip("*")


def test_two_runs_are_compared_on_the_same_draws(make_run: Any) -> None:
    runs = [make_run("first", images=30), make_run("second", images=30)]
    # The second run finds a third of what the first does.
    write_json(runs[1].predictions, read_json(runs[1].predictions)[::3])
    for run in runs:
        evaluate_run(run)
    html, markdown, record = write_report(runs)
    page = read_page(html)
    assert re.search(r"first is better by [0-9.]+ AP, interval [0-9.]+ to [0-9.]+\.", page.words)
    assert re.search(r"Box AP [0-9.]+ [0-9.]+ −[0-9.]+ −[0-9.]+ to −[0-9.]+ Box AP50", page.words)
    assert re.search(r"red disc [0-9.]+ [0-9.]+ −[0-9.]+ −[0-9.]+ to [−+][0-9.]+ ", page.words)
    assert "95 % interval on the same draws of the same images" in page.words
    assert re.search(r"\| Box AP \| [0-9.]+ \| [0-9.]+ \(−[0-9.]+; −[0-9.]+ to −[0-9.]+\) \|", markdown.read_text())
    figure = read_json(record)["comparison"]["figures"][0]
    low, high = figure["intervals"][1]
    assert low < figure["differences"][1] < high < 0
    assert figure["intervals"][0] is None


def test_runs_that_do_not_compare_are_told_apart(make_run: Any, tmp_path: Path) -> None:
    first = make_run("a")
    other = RunDir(tmp_path / "elsewhere" / "a")
    other.path.parent.mkdir()
    make_run("b", split="test", images=4, names=("red disc", "green disc")).path.rename(other.path)
    other.update_record(name="a")
    page = read_page(write_report([first, other], tmp_path)[0])
    assert "Scored on different splits (a (1): val, a (2): test): the figures do not compare." in page.words
    assert "Scored on different numbers of images (a (1): 6, a (2): 4)" in page.words
    assert "different class locks" in page.words
    assert "The scored split also chose the checkpoint (a (1))" in page.words


@pytest.mark.real
def test_real_images(make_run: Any, real_data: Path) -> None:
    photos = sorted((real_data / "bccd" / "JPEGImages").glob("*.jpg"))[:12]
    run = make_run(images=12)
    truth = read_json(run.data("val"))
    for image, photo in zip(truth["images"], photos, strict=True):
        image |= {"file_name": str(photo), "width": 640, "height": 480}
    write_json(run.data("val"), truth)
    page = read_page(write_report([run])[0])
    assert [tag for tag, _ in page.tags].count("image") >= 10
    assert "cannot be shown" not in page.words
