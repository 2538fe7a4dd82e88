"""Helper processes for a long list of small tasks: each works from the end of its share towards the one who waits."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cvtune.meter import tick

__all__ = ["spread"]

T = TypeVar("T")

# A helper is worth its start where it has a tenth of a second of work.
FEWEST = 2000
MOST_HELPERS = 3
# A helper reports so many results at a time; this process looks for them as often.
STEP = 32
PIPE_BYTES = 1 << 20


def spread(work: Callable[[T], Any], items: Sequence[T]) -> list[Any]:
    """``[work(item) for item in items]``, by several processes where there are thousands of items and idle processors.

    A helper is a fork that shares nothing and writes nothing but its results, so `work` must not change anything. This
    process takes what no helper has done yet, so a helper that is slow, or dies, costs time alone; what raises in a
    helper is done again here, and raises here.

    Args:
        work: gives what `marshal` can hold: None, numbers, texts, bytes, and tuples, lists and dictionaries of them.
        items: in the order of the results.
    """
    helpers: list[_Helper] = []
    results: list[Any] = []
    try:
        others = _how_many(len(items))
        share = len(items) // (1 + others)
        own = len(items) - others * share
        for start in range(own, len(items), share) if share else ():
            helpers.append(_Helper(work, items, start, start + share))
        for helper in [None, *helpers]:
            stop = own if helper is None else helper.stop
            while len(results) < (stop if helper is None else helper.reached()):
                batch = items[len(results) : min(len(results) + STEP, stop)]
                results += map(work, batch)
                tick(len(batch))
                for other in helpers:
                    other.look()
            if helper is not None:
                behind = helper.results()
                tick(len(behind) - (len(results) - helper.reached()))
                results = results[: helper.reached()] + behind
        return results
    finally:
        for helper in helpers:
            helper.end()


def _how_many(count: int) -> int:
    """Helpers for so many items; none where a fork is not safe or has no processor of its own."""
    if count < FEWEST or not hasattr(os, "fork") or threading.active_count() > 1:
        return 0
    idle = len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else 0
    return max(0, min(idle, MOST_HELPERS, count // FEWEST))


class _Helper:
    """A forked process that does items[start:stop] from the end."""

    def __init__(self, work: Callable[[T], Any], items: Sequence[T], start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._blocks: list[list[Any]] = []  # the last one first
        self._count = 0
        self._buffer = bytearray()
        self._pipe, into = os.pipe()
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with warnings.catch_warnings():
            # Threads of numerical libraries lie idle, and the fork calls no such library.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = os.fork()
        if not self._process:
            self._serve(work, items, into)
        os.close(into)
        os.set_blocking(self._pipe, False)

    def reached(self) -> int:
        """The first item that it has done, and all behind it."""
        return self.stop - self._count

    def results(self) -> list[Any]:
        """Of the items from `reached` on."""
        return [result for block in reversed(self._blocks) for result in block]

    def look(self) -> None:
        """Take what it has sent."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._pipe, PIPE_BYTES):
                self._buffer += piece
        while len(self._buffer) >= 8:
            end = 8 + int.from_bytes(self._buffer[:8], "little")
            if len(self._buffer) < end:
                break
            block = marshal.loads(memoryview(self._buffer)[8:end].tobytes())
            del self._buffer[:end]
            self._blocks.append(block)
            self._count += len(block)

    def end(self) -> None:
        """End it, whatever it does."""
        os.close(self._pipe)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def _serve(self, work: Callable[[T], Any], items: Sequence[T], into: int) -> None:
        """What the fork does; it never returns."""
        try:
            os.close(self._pipe)
            for stop in range(self.stop, self.start, -STEP):
                block = marshal.dumps([work(item) for item in items[max(self.start, stop - STEP) : stop]])
                content = memoryview(len(block).to_bytes(8, "little") + block)
                while content:
                    content = content[os.write(into, content) :]
        except BaseException:  # this process finds the same, and says it
            pass
        finally:
            os._exit(0)
