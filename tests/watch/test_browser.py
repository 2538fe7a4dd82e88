"""The live page in a real Chromium: curves and pictures are there, it says nothing, it asks its own server alone."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from cvtune.runs import RunDir, append_jsonl, write_bytes, write_json
from cvtune.watch import WatchServer

pytestmark = pytest.mark.browser

EVIL = "</script><img src=http://evil.example/x onerror=\"document.title='owned'\">"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def jpeg(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (96, 48), colour).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WatchServer]:
    """A run of twenty steps and two evaluations with a picture each, served."""
    run = RunDir(tmp_path / "runs" / "a")
    write_json(run.record, {"name": EVIL, "state": "stopped"})
    for step in range(1, 21):
        loss = 2 / step
        record = {"step": step, "epoch": 1, "lr": 0.01, "loss": loss, "losses": {EVIL: loss}, "seconds": float(step)}
        append_jsonl(run.log, record | {"memory_mb": 300})
        if step % 10 == 0:
            append_jsonl(run.log, {"eval": {"bbox": {"AP": step / 100, "AP50": step / 50}}, "step": step, "epoch": 1})
            write_bytes(run.samples_at(step) / "1.jpg", jpeg("red" if step == 10 else "blue"))
    write_json(run.samples / "images.json", [{"name": EVIL, "objects": 3}])
    server = WatchServer(run)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.close()
    thread.join(timeout=10)


def test_curves_and_pictures_are_shown_and_nothing_is_asked_elsewhere(chromium: str, server: WatchServer) -> None:
    heard: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(120_000)
        page.on("console", lambda message: heard.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda r: None if r.url.startswith((server.url, "data:")) else heard.append(r.url))
        page.goto(server.url)
        expect(page.locator("#curves")).to_be_visible(timeout=60_000)
        for chart in ("losses", "scores", "rates", "memory"):
            assert page.locator(f"#{chart} svg").locator("path, polyline").count() > 0, chart
        assert EVIL in page.locator("body").inner_text()
        picture = page.locator("#pictures img")
        expect(picture).to_have_count(1, timeout=60_000)
        expect(picture).to_have_attribute("src", "samples/20/1.jpg", timeout=60_000)
        page.wait_for_function("document.querySelector('#pictures img').naturalWidth === 96")
        page.locator("#before").click()
        expect(picture).to_have_attribute("src", "samples/10/1.jpg", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.title() != "owned"
        browser.close()
    assert heard == []
