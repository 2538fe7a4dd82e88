"""Fixtures that all tests share: where the real data and weights are."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

STARTED = time.monotonic()

# A shell ignores interrupts for what it starts in the background, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    assert value, f"{variable} is not set: tests marked `real` need it (deselect them with -m 'not real')"
    folder = Path(value)
    assert folder.is_dir(), f"{variable}={value}: no such folder"
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets."""
    return _folder("CVTUNE_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder of real weights."""
    return _folder("CVTUNE_WEIGHTS")


@pytest.fixture(scope="session")
def load_script() -> Callable[[Path], ModuleType]:
    """Import a file that no package holds: a script of datasets/, docs/ or benchmarks/, each time anew."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def make_shapes(load_script: Callable[[Path], ModuleType]) -> Callable[..., Any]:
    """The demo set's generator."""
    make: Callable[..., Any] = load_script(Path(__file__).resolve().parents[1] / "datasets" / "shapes.py").make_shapes
    return make


CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _find_chromium() -> str | None:
    """The program that CVTUNE_CHROMIUM names, else the first on PATH."""
    return os.environ.get("CVTUNE_CHROMIUM") or next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium that browser tests drive."""
    found = _find_chromium()
    assert found, "no Chromium found: install one (Debian: apt-get install chromium), or set CVTUNE_CHROMIUM"
    path = shutil.which(found)
    assert path, f"CVTUNE_CHROMIUM={found}: no such program"
    return path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests on real data, or in a browser, where neither was announced or found.

    Where CVTUNE_DATA or CVTUNE_CHROMIUM is set, they run, and fail if it is missing. That browser tests were left out
    stands at the end of the output.
    """
    unwanted = [] if os.environ.get("CVTUNE_DATA") else ["real"]
    if not _find_chromium():
        unwanted.append("browser")
    deselected = [item for item in items if any(item.get_closest_marker(mark) for mark in unwanted)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


MINUTES_LIMIT = 55
"""What one run of pytest may take: minutes on the clock, or of processors where those are fewer (a busy machine)."""


def _minutes() -> float:
    """Minutes since the tests began, or that this process and those it waited for have computed, if that is less."""
    return min(time.monotonic() - STARTED, sum(os.times()[:4])) / 60


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the minutes of each suite: a folder of tests, its setups included."""
    if not _find_chromium():
        terminalreporter.line("browser tests did NOT run: no Chromium on PATH, and CVTUNE_CHROMIUM is not set")
    seconds: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                parts = Path(report.nodeid.split("::")[0]).parts
                suite = "/".join(parts[:3] if parts[1:2] == ("backends",) and len(parts) > 3 else parts[:2])
                seconds[suite] = seconds.get(suite, 0.0) + report.duration
    if sum(seconds.values()) < 60:
        return
    terminalreporter.section("minutes a suite")
    for suite, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        if spent >= 6:
            terminalreporter.line(f"{spent / 60:6.1f}  {suite}")
    terminalreporter.line(f"{sum(seconds.values()) / 60:6.1f}  together; {_minutes():.1f} count, limit {MINUTES_LIMIT}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of tests that took longer than the limit."""
    minutes = _minutes()
    if minutes > MINUTES_LIMIT and not hasattr(session.config, "workerinput"):
        print(f"\nthe tests took {minutes:.0f} minutes; the limit is {MINUTES_LIMIT}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
