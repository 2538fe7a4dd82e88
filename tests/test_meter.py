"""Progress of long steps: silent at first, then a bar on a terminal or a line now and then elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cvtune import meter
from cvtune.meter import shown_on, stage, tick


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    return now


def test_a_short_step_shows_nothing_and_makes_no_console(clock: list[float]) -> None:
    def never() -> Console:
        raise AssertionError("a console was made")

    with shown_on(never), stage("reading", 10):
        tick(5)
        clock[0] += 0.9
        tick(5)


def test_a_pipe_gets_a_line_with_count_rate_and_time_left(clock: list[float]) -> None:
    text = io.StringIO()
    with shown_on(lambda: Console(file=text)), stage("reading", 1000) as current:
        tick(100)
        clock[0] += 20
        current.advance(100)
        clock[0] += 1
        tick(100)
    assert text.getvalue() == "reading: 200 of 1,000, 10 a second, about 80 s left\n"


def test_without_a_total_there_is_no_time_left(clock: list[float]) -> None:
    text = io.StringIO()
    with shown_on(lambda: Console(file=text)), stage("reading"):
        clock[0] += 20
        tick(100)
    assert text.getvalue() == "reading: 100, 5 a second\n"


def test_a_terminal_gets_a_bar(clock: list[float]) -> None:
    text = io.StringIO()
    with shown_on(lambda: Console(file=text, force_terminal=True, width=100)), stage("reading", 1000):
        clock[0] += 2
        tick(300)
        tick(100)
    assert "reading" in text.getvalue()
    assert "400 of 1,000" in text.getvalue()
    assert "200/s" in text.getvalue()


def test_ticks_outside_of_a_step_are_nothing() -> None:
    tick()
    with stage("silent") as current:
        tick(3)
    tick()
    assert current.done == 3
