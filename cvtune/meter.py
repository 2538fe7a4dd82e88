"""Progress of long steps: count, rate and time left. Shown after a second, and only where a console was named."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

__all__ = ["Stage", "shown_on", "stage", "tick"]

# What is over sooner needs no bar.
QUIET_SECONDS = 1.0
# A terminal gets a bar; a file or a pipe gets a line now and then.
PLAIN_SECONDS = 15.0

_CONSOLE: ContextVar[Callable[[], Console] | None] = ContextVar("console", default=None)
_STAGE: ContextVar[Stage | None] = ContextVar("stage", default=None)


class Stage:
    """One step of `total` things, or of an unknown number; `advance` counts them."""

    def __init__(self, what: str, total: int | None, console: Callable[[], Console] | None) -> None:
        """`what` says what is done ("reading images"); `console` is asked for once there is something to show."""
        self.what, self.total, self.done = what, total, 0
        self._make_console = console
        self._console: Console | None = None
        self._start = self._line = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def advance(self, count: int = 1) -> None:
        """Count, and show it where it is time."""
        self.done += count
        now = time.monotonic()
        if self._make_console is None or now - self._start < QUIET_SECONDS:
            return
        if self._console is None:
            self._console = self._make_console()
        if self._bar is not None and self._task is not None:
            rate = f"{self.done / (now - self._start):,.0f}/s"
            self._bar.update(self._task, completed=self.done, rate=rate)
        elif self._console.is_terminal:
            self._open()
        elif now - self._line > PLAIN_SECONDS:
            self._line = now
            self._console.print(self._said(now - self._start), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _open(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,}" + (f" of {self.total:,}" if self.total else "")),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn() if self.total else TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(self.what, total=self.total, completed=self.done, rate="")
        self._bar.start()

    def _said(self, seconds: float) -> str:
        rate = self.done / seconds
        if not self.total:
            return f"{self.what}: {self.done:,}, {rate:,.0f} a second"
        left = max(0, self.total - self.done) / rate if rate else 0.0
        return f"{self.what}: {self.done:,} of {self.total:,}, {rate:,.0f} a second, about {left:,.0f} s left"


@contextlib.contextmanager
def shown_on(console: Callable[[], Console] | None) -> Iterator[None]:
    """Show the stages within on a console, which is made when one of them takes long."""
    before = _CONSOLE.set(console)
    try:
        yield
    finally:
        _CONSOLE.reset(before)


@contextlib.contextmanager
def stage(what: str, total: int | None = None) -> Iterator[Stage]:
    """A step of the work; `tick` within it, wherever that is called, counts for it."""
    current = Stage(what, total, _CONSOLE.get())
    before = _STAGE.set(current)
    try:
        yield current
    finally:
        _STAGE.reset(before)
        current.close()


def tick(count: int = 1) -> None:
    """Count for the step that is going on; nothing where none is."""
    current = _STAGE.get()
    if current is not None:
        current.advance(count)
