"""The page as HTML: one file that asks nobody but its own server, or, written once, nobody at all."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from cvtune.runs import RunDir, write_text
from cvtune.watch.log_reader import LogReader
from cvtune.watch.state import read_state

__all__ = ["make_page", "write_page"]

TEMPLATES = Path(__file__).parent / "templates"
REPORT_STYLE = Path(__file__).parent.parent / "report" / "templates" / "style.css"
# All pictures of a static page, before base64 makes them a third larger; the newest first.
MOST_BYTES = 3_300_000
# As a page's policy names them.
SELF, NOBODY = "'self'", "'none'"


def make_page(content: dict[str, Any] | None = None) -> str:
    """The page.

    Args:
        content: None for a live page, which fetches ``state.json``; else ``{"state": ..., "pictures": ...}``, all that
            it will ever show, with pictures by ``"STEP/NUMBER"`` as data URIs.
    """
    script = (TEMPLATES / "watch.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Names are anyone's text: within a script element nothing may look like its end.
    embedded = json.dumps(content, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e")
    parts = {
        "@POLICY@": f"default-src 'none'; img-src data:{'' if content else ' ' + SELF}; "
        f"connect-src {NOBODY if content else SELF}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
        "@STYLE@": REPORT_STYLE.read_text(encoding="utf-8") + (TEMPLATES / "watch.css").read_text(encoding="utf-8"),
        "@SCRIPT@": script,
        "@CONTENT@": embedded,  # last, so that no mark is looked for in anyone's text
    }
    page = (TEMPLATES / "page.html").read_text(encoding="utf-8")
    for mark, text in parts.items():
        page = page.replace(mark, text, 1)
    return page


def write_page(run: RunDir) -> Path:
    """Write the run's page as it is now to watch.html in the run directory, pictures included.

    Raises:
        RunError: the file cannot be written.
    """
    state = read_state(run, LogReader(run.log).poll(), time.time())
    pictures: dict[str, str] = {}
    room = MOST_BYTES
    shown: list[dict[str, Any]] = []
    for row in reversed(state["samples"]["steps"]):
        try:
            jpegs = {number: (run.samples_at(row["step"]) / f"{number}.jpg").read_bytes() for number in row["files"]}
        except OSError:  # a resume has just removed it
            continue
        room -= sum(map(len, jpegs.values()))
        if room < 0 and shown:
            break
        shown.insert(0, row)
        for number, jpeg in jpegs.items():
            pictures[f"{row['step']}/{number}"] = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    state["samples"]["steps"] = shown
    state["written"] = time.strftime("%Y-%m-%d %H:%M:%S %z")
    write_text(run.watch_page, make_page({"state": state, "pictures": pictures}))
    return run.watch_page
