"""Helper processes: the results are those of one process, whatever becomes of the helpers."""

from __future__ import annotations

import os
import threading
import time

import pytest

from cvtune.data import helpers
from cvtune.data.helpers import spread

MAIN = os.getpid()


def work(number: int) -> tuple[int, str]:
    return number, "x" * (number % 7)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100, 1001])
@pytest.mark.parametrize("others", [0, 1, 3])
def test_results_keep_their_order(monkeypatch: pytest.MonkeyPatch, count: int, others: int) -> None:
    monkeypatch.setattr(helpers, "_how_many", lambda count: others)
    assert spread(work, range(count)) == [work(number) for number in range(count)]


def test_a_helper_does_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "_how_many", lambda count: 1)

    def slow(number: int) -> int:
        time.sleep(0.0005 if os.getpid() != MAIN else 0.001)
        return os.getpid()

    assert len(set(spread(slow, range(300)))) == 2


def test_helpers_that_die_or_fail_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "_how_many", lambda count: 3)

    def dies(number: int) -> int:
        if os.getpid() != MAIN and number % 50 == 0:
            os._exit(1) if number % 100 else [][number]
        return number

    assert spread(dies, range(500)) == list(range(500))


def test_an_error_is_raised_here_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "_how_many", lambda count: 2)

    def fails(number: int) -> int:
        if number in {170, 290}:
            raise ValueError(f"item {number}")
        return number

    with pytest.raises(ValueError, match="item 170"):
        spread(fails, range(300))
    with pytest.raises(ChildProcessError):  # none is left over
        os.waitpid(-1, os.WNOHANG)


def test_no_helpers_for_little_work_or_beside_threads() -> None:
    assert helpers._how_many(helpers.FEWEST - 1) == 0
    waiting = threading.Event()
    other = threading.Thread(target=waiting.wait)
    other.start()
    try:
        assert helpers._how_many(10**6) == 0
    finally:
        waiting.set()
        other.join()
