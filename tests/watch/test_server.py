"""The live page and the static one: what is served, what is refused, and that names stay text."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cvtune import verbs
from cvtune.errors import SpecError
from cvtune.runs import RunDir, append_jsonl, write_bytes, write_json, write_text
from cvtune.watch import WatchServer, write_page
from cvtune.watch.page import MOST_BYTES, make_page

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of two steps, an evaluation and two pictures, with names that would be markup."""
    run = RunDir(tmp_path / "runs" / "a")
    write_json(run.record, {"name": EVIL, "state": "failed", "error": EVIL + "@SCRIPT@@CONTENT@", "secret": "key"})
    losses = {EVIL: 0.5}
    append_jsonl(run.log, {"step": 1, "epoch": 1, "lr": 0.1, "loss": 0.5, "losses": losses, "seconds": 1.0})
    append_jsonl(run.log, {"eval": {"bbox": {"AP": 0.5}}, "step": 1, "epoch": 1})
    write_json(run.samples / "images.json", [{"name": EVIL, "objects": 1}, {"name": "b.jpg", "objects": 1}])
    write_bytes(run.samples_at(1) / "1.jpg", b"first")
    write_bytes(run.samples_at(1) / "2.jpg", b"second")
    write_text(run.path / "report.html", "the report")
    write_text(run.path / "worker.log", "not for the page")
    write_text(tmp_path / "runs" / "other.jpg", "not of this run")
    return run


@pytest.fixture
def server(run: RunDir) -> Iterator[WatchServer]:
    """A server in a thread."""
    server = WatchServer(run)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.close()
    thread.join(timeout=10)
    assert not thread.is_alive()


def ask(server: WatchServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    """Status, content type, body; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    assert "://" not in answer.headers.get("Location", "")
    connection.close()
    return answer.status, answer.headers.get("Content-Type", ""), body


def test_the_page_its_state_and_its_pictures_are_served(server: WatchServer, run: RunDir) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/"
    status, kind, page = ask(server, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert page.decode() == make_page()
    status, kind, body = ask(server, "/state.json?x=1")
    assert (status, kind) == (200, "application/json")
    state = json.loads(body)
    assert (state["name"], state["state"], state["step"]) == (EVIL, "failed", 1)
    assert "key" not in body.decode()
    assert ask(server, "/samples/1/2.jpg") == (200, "image/jpeg", b"second")
    assert ask(server, "/report.html")[2] == b"the report"
    append_jsonl(run.log, {"step": 2, "epoch": 1, "lr": 0.1, "loss": 0.25, "losses": {}, "seconds": 2.0})
    assert json.loads(ask(server, "/state.json")[2])["step"] == 2


@pytest.mark.parametrize(
    "path",
    [
        "/worker.log",
        "/run.json",
        "/log.jsonl",
        "/../other.jpg",
        "/samples/../worker.log",
        "/samples/1/../../worker.log",
        "/samples/1/%2e%2e/1.jpg",
        "/samples/..%2f..%2fother.jpg",
        "/samples/1/0.jpg",
        "/samples/1/3.jpg",
        "/samples/2/1.jpg",
        "/samples/1/1.jpg/",
        "/samples/1/1.jpg%00",
        "//etc/passwd",
        "/state.json/",
        "http://127.0.0.1/worker.log",
    ],
)
def test_everything_else_is_not_found(server: WatchServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert (status, body) == (404, b"not found\n")


def test_other_hosts_and_methods_are_refused(server: WatchServer) -> None:
    assert ask(server, "/state.json", Host="evil.example")[0] == 403
    assert ask(server, "/", Host="127.0.0.1.evil.example:80")[0] == 403
    assert ask(server, "/", Host=f"localhost:{server.port}")[0] == 200
    assert ask(server, "/", method="POST")[0] == 501
    assert server.http.server_address[0] == "127.0.0.1"


def test_a_run_that_begins_later_is_waited_for(tmp_path: Path) -> None:
    server = WatchServer(RunDir(tmp_path / "later"))
    assert server.state()["state"] == "waiting"
    write_json(server.run.record, {"state": "planned"})
    assert server.state()["state"] == "planned"
    server.http.server_close()


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SpecError, match=f"port {port} of 127.0.0.1 cannot be used: .*leave --port out"):
            WatchServer(RunDir(tmp_path), port)


class Elements(HTMLParser):
    """The names of all elements, and their attributes that could ask another server."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_static_page_holds_everything_and_names_stay_text(run: RunDir) -> None:
    path = write_page(run)
    assert path == run.path / "watch.html"
    page = path.read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(page)
    assert elements.names.count("script") == 2
    assert elements.sources == ["data:,"]
    assert "connect-src 'none'" in page
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    content = json.loads(found[1])
    assert content["state"]["error"] == EVIL + "@SCRIPT@@CONTENT@"
    assert sorted(content["pictures"]) == ["1/1", "1/2"]
    assert content["pictures"]["1/1"] == "data:image/jpeg;base64,Zmlyc3Q="
    script = (Path(verbs.__file__).parent / "watch/templates/watch.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_a_static_page_of_many_pictures_keeps_the_newest(run: RunDir) -> None:
    for step in (10, 20, 30):
        write_bytes(run.samples_at(step) / "1.jpg", b"x" * (MOST_BYTES // 2))
    page = write_page(run)
    assert page.stat().st_size < 5_000_000
    found = re.search(r'id="content">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    assert [row["step"] for row in json.loads(found[1])["state"]["samples"]["steps"]] == [20, 30]


def test_ctrl_c_ends_the_verb_cleanly(run: RunDir) -> None:
    command = [sys.executable, "-m", "cvtune", "watch", str(run.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert re.fullmatch(r"watch: http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)\n", line)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such run directory"):
        verbs.watch(tmp_path / "far" / "no" / "where")
    with pytest.raises(SpecError, match="no such run directory"):
        verbs.watch_once(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="no such run directory"):
        verbs.watch(tmp_path / "file")
