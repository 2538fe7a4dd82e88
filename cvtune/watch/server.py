"""The server of the live page: this machine only, four kinds of address, nothing else of the disk."""

from __future__ import annotations

import json
import re
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cvtune.errors import SpecError
from cvtune.runs import RunDir
from cvtune.watch.log_reader import LogReader
from cvtune.watch.page import make_page
from cvtune.watch.state import read_state

__all__ = ["WatchServer"]

HOST = "127.0.0.1"
# The numbers of an address make the path, so that no text of it reaches the disk.
SAMPLE = re.compile(r"/samples/([0-9]{1,12})/([1-9])\.jpg")


class WatchServer:
    """Serves one run's page. `url` is its address; `serve` runs until `close`, or until an interrupt."""

    def __init__(self, run: RunDir, port: int = 0) -> None:
        """Bind to `port` of 127.0.0.1; 0 takes a free one.

        Raises:
            SpecError: the port is taken, or not allowed.
        """
        self.run, self.log = run, LogReader(run.log)
        self.lock = threading.Lock()
        watch = self

        class Handler(_Handler):
            server_of = watch

        try:
            self.http = ThreadingHTTPServer((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            raise SpecError(
                f"watch: port {port} of {HOST} cannot be used: {error}; leave --port out, and a free one is taken"
            ) from error
        self.http.daemon_threads = True
        self.port = int(self.http.server_address[1])
        self.url = f"http://{HOST}:{self.port}/"

    def serve(self) -> None:
        """Answer requests; returns after an interrupt (Ctrl-C) or `close`."""
        try:
            self.http.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass
        finally:
            self.http.server_close()

    def close(self) -> None:
        """End `serve`, which runs in another thread."""
        self.http.shutdown()

    def state(self) -> dict[str, Any]:
        """The run's state now."""
        with self.lock:
            return read_state(self.run, self.log.poll(), time.time())


class _Handler(BaseHTTPRequestHandler):
    server_of: WatchServer
    server_version, sys_version = "cvtune", ""

    def do_GET(self) -> None:
        """Answer one of the known addresses; everything else is not found."""
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in (HOST, "localhost"):
            # Another site whose name was pointed at this machine must not read the run.
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"this address answers 127.0.0.1 and localhost only\n")
            return
        path, run = self.path.partition("?")[0], self.server_of.run
        sample = SAMPLE.fullmatch(path)
        if path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", make_page().encode())
        elif path == "/state.json":
            self._answer(HTTPStatus.OK, "application/json", json.dumps(self.server_of.state()).encode())
        elif path == "/report.html":
            self._file(run.path / "report.html", "text/html; charset=utf-8")
        elif sample:
            self._file(run.samples_at(int(sample[1])) / f"{int(sample[2])}.jpg", "image/jpeg")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")

    def _file(self, path: Any, kind: str) -> None:
        try:
            content = path.read_bytes()
        except OSError:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
            return
        self._answer(HTTPStatus.OK, kind, content)

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            # Pictures too: a resumed run draws them again.
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the page was closed

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a page that polls would fill the terminal."""
