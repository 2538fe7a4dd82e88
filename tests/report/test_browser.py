"""report.html in a real Chromium: what a reader does with it, what it asks the network for, how it fits a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from cvtune.evaluation import evaluate_run
from cvtune.report import write_report
from cvtune.runs import read_json, write_json

pytestmark = pytest.mark.browser

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "\"'><img src=http://evil.example/x onerror=\"document.title='owned'\">",
    "x" * 10_000,
    "safe\u202egpj.exe",
    "<!--<script>",
]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """open_page(path, **context): the page; at the end it must have said nothing and asked for nothing."""
    contexts, heard = [], []

    def opened(path: Path, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
        own = path.resolve().as_uri()
        page.on("request", lambda r: None if r.url == own or r.url.startswith("data:") else heard.append(r.url[:200]))
        page.goto(own)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert heard == []


def row(page: Page, name: str = "all") -> dict[str, str]:
    """One row of the table of counts."""
    cells: list[tuple[str, str]] = page.locator(f"#tally-{name} [data-n]").evaluate_all(
        "cells => cells.map(c => [c.dataset.n, c.textContent])"
    )
    return dict(cells)


def cards(page: Page) -> Locator:
    return page.locator(".card:visible")


def set_threshold(page: Page, value: int) -> None:
    page.locator("#threshold").evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')) }", value)


def test_the_slider_redraws_and_counts(make_run: Any, open_page: Any) -> None:
    page = open_page(write_report([make_run(masks=True)])[0])
    assert row(page) == {
        "images": "6", "right": "11", "false": "2", "missed": "1", "precision": "84.6", "recall": "91.7", "f1": "88.0",
    }  # fmt: skip
    worst = page.locator(".card", has_text="disc 3.png")
    assert worst.locator("g.d:visible").count() == 4
    slider = page.locator("#threshold")
    slider.focus()
    slider.press("End")
    assert page.locator("#threshold-value").inner_text() == "1.00"
    assert row(page)["right"] == "0"
    assert row(page)["missed"] == "12"
    assert row(page)["precision"] == "–"
    assert page.locator(".card g.d:visible").count() == 0
    assert page.locator(".card g.o.missed").count() == 12
    # 0.95 and 0.94 are the false ones, 0.90 ... 0.85 the right ones, two an image.
    set_threshold(page, 95)
    assert (row(page)["false"], row(page)["right"]) == ("1", "0")
    set_threshold(page, 88)
    assert (row(page)["false"], row(page)["right"], row(page)["missed"]) == ("2", "5", "7")
    assert worst.locator("g.d:visible").count() == 2
    assert worst.locator("[data-n=missed]").inner_text() == "2 missed"
    expect(page.locator("#said")).to_contain_text("Threshold 0.88: 5 found, 2 false, 7 missed on the whole split.")
    assert slider.get_attribute("aria-valuetext") == "scores of 0.88 and more"
    page.locator("#reset").click()
    assert row(page)["right"] == "11"


def test_filters_by_class_mistake_and_reason(make_run: Any, open_page: Any) -> None:
    page = open_page(write_report([make_run()])[0])
    page.get_by_label("Class", exact=True).select_option(label="blue disc")
    # Of 12 objects each class has 6; red has both false detections, and the missed object is red.
    assert (row(page)["right"], row(page)["false"], row(page)["missed"]) == ("6", "0", "0")
    assert page.locator(".card").first.locator("g.d.dim").count() == 3
    page.get_by_label("Class", exact=True).select_option(label="red disc")
    assert (row(page)["right"], row(page)["false"], row(page)["missed"]) == ("5", "2", "1")
    page.get_by_label("Class", exact=True).select_option(label="all classes")
    page.get_by_label("Mistake", exact=True).select_option(label="missed")
    assert cards(page).count() == 1
    assert "disc 2.png" in cards(page).inner_text()
    assert row(page, "shown")["images"] == "1"
    page.get_by_label("Mistake", exact=True).select_option(label="background")
    assert cards(page).locator(".file").all_inner_texts() == ["photos/disc 3.png most mistakes"]
    page.get_by_label("Mistake", exact=True).select_option(label="duplicate")
    assert cards(page).count() == 0
    assert page.locator("#nothing").is_visible()
    page.get_by_label("Mistake", exact=True).select_option(label="no mistake")
    assert cards(page).count() == 4
    page.get_by_label("Mistake", exact=True).select_option(label="with and without")
    page.get_by_label("Shown as").select_option(label="drawn at random")
    assert cards(page).count() == 1


def test_names_masks_and_size(make_run: Any, open_page: Any) -> None:
    page = open_page(write_report([make_run(masks=True)])[0])
    assert page.locator("g.o path:visible").count() == 12
    page.get_by_label("masks").uncheck()
    page.get_by_label("names").uncheck()
    assert page.locator(".card path:visible, .card text:visible").count() == 0
    card = cards(page).first
    before = card.bounding_box()
    card.get_by_role("button").click()
    after = card.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > 1.8 * before["width"]
    assert card.get_by_role("button").get_attribute("aria-pressed") == "true"


def test_tables_sort_by_keyboard(make_run: Any, open_page: Any) -> None:
    page = open_page(write_report([make_run()])[0])
    first = page.locator("#classes tbody tr").first
    assert "red disc" in first.inner_text()
    head = page.locator("#classes").get_by_role("button", name="objects")
    head.focus()
    page.keyboard.press("Enter")
    assert "blue disc" in first.inner_text()
    assert page.locator("#classes th[aria-sort=descending]").count() == 1
    page.keyboard.press("Enter")
    assert "red disc" in first.inner_text()
    assert page.locator("#classes th[aria-sort=ascending]").count() == 1


def test_charts_say_values_to_pointer_and_keys(make_run: Any, open_page: Any) -> None:
    page = open_page(write_report([make_run()])[0])
    chart = page.locator("figure", has_text="Validation AP").locator("svg[data-chart]")
    tip = page.locator("figure", has_text="Validation AP").locator(".tip")
    chart.focus()
    page.keyboard.press("End")
    assert "epoch 4" in tip.inner_text()
    assert "Box AP 49.8" in tip.inner_text()
    page.keyboard.press("ArrowLeft")
    assert "epoch 3" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    chart.hover(position={"x": 60, "y": 60})
    assert "epoch 1" in tip.inner_text()


@pytest.mark.parametrize("several", [False, True])
def test_a_phone_scrolls_only_down(make_run: Any, open_page: Any, several: bool) -> None:
    runs = [make_run(masks=True, names=("W" * 300, "blue disc"), file_name="a" * 300 + "{}.png")]
    write_json(runs[0].record, read_json(runs[0].record) | {"device": "d" * 300, "command": "c" * 3000})
    evaluate_run(runs[0])  # what stands behind the scores is shown too
    if several:
        runs.append(make_run("n" * 90, lr=0.3))
    page = open_page(write_report(runs)[0], viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "15px"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_have_contrast(make_run: Any, open_page: Any, scheme: str) -> None:
    page = open_page(write_report([make_run()])[0], color_scheme=scheme)
    back = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (back < 0.1) is (scheme == "dark")
    for selector in ("h1", ".facts", ".say", "nav a", "#classes thead th", ".card .file", ".card .tally b", "label"):
        ink = luminance(page.locator(selector).first.evaluate("e => getComputedStyle(e).color"))
        assert (max(ink, back) + 0.05) / (min(ink, back) + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """Relative luminance of an rgb(...) colour (WCAG 2)."""
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_every_control_is_reached_by_the_tab_key_and_named(make_run: Any, open_page: Any) -> None:
    page = open_page(write_report([make_run()])[0])
    controls = page.locator("input:visible, select:visible, button:visible, svg[tabindex]")
    wanted, reached = controls.count(), set()
    for _ in range(wanted + 20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    indices = controls.evaluate_all("found => found.map(e => [...document.querySelectorAll('*')].indexOf(e))")
    assert set(indices) <= reached
    snapshot = page.locator("#gallery").aria_snapshot()
    for name in (
        'slider "Score threshold',
        'combobox "Class"',
        'combobox "Mistake"',
        'button "Enlarge photos/disc 3.png"',
    ):
        assert name in snapshot, snapshot[:2000]


def test_hostile_names_do_nothing(make_run: Any, open_page: Any) -> None:
    for i, text in enumerate(HOSTILE):
        run = make_run(f"hostile{i}", names=(text, "b"), file_name=text[:200] + "{}.png", masks=True)
        write_json(run.record, read_json(run.record) | {"command": text, "name": text, "versions": {text: text}})
        write_json(run.overrides, [dict.fromkeys(("key", "official", "value", "asked_by", "kind"), text)])
        run.log.write_text(run.log.read_text().replace("loss_classifier", text.replace('"', "'")[:300]))
        html = write_report([run])[0]
        assert html.stat().st_size < 1_000_000
        page = open_page(html, viewport={"width": 400, "height": 800})
        assert "49.8" in page.title()
        assert page.locator("script").count() == 2
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert "\u202e" not in page.content()
        # The names are there, as text.
        option = page.locator("#class-filter option").nth(1).inner_text()
        assert option[:10] == text.replace("\u202e", "")[:10]
        page.get_by_label("Class", exact=True).select_option(index=1)
        assert (row(page)["right"], row(page)["false"]) == ("5", "2")


def test_it_is_whole_without_scripts_and_in_print(make_run: Any, open_page: Any) -> None:
    html = write_report([make_run(masks=True)])[0]
    page = open_page(html, java_script_enabled=False)
    assert cards(page).count() == 6
    assert page.locator(".controls:visible").count() == 0
    assert page.locator("#tally-all [data-n=right]").inner_text() == "11"
    page = open_page(html, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    assert page.locator(".controls:visible, nav:visible").count() == 0
    assert len(page.pdf()) > 10_000
