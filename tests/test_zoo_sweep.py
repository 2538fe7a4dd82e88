"""The sweeps over a framework's zoo: what is tried again, what a kill leaves, how a failure reads."""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "zoo_sweep.py"
Options = Callable[..., argparse.Namespace]


@pytest.fixture(scope="module")
def zoo_sweep(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture
def options(zoo_sweep: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    def parse(*words: str) -> argparse.Namespace:
        monkeypatch.setattr("sys.argv", ["zoo", "--results", str(tmp_path / "results.jsonl"), *words])
        return zoo_sweep.arguments("", "", "")  # type: ignore[no-any-return]

    return parse


def attempt(name: str) -> dict[str, Any]:
    if name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "fails":
        raise ValueError("no such\nlayer")
    return {"parameters": "1.0 M"}


def test_each_config_is_tried_in_a_process_of_its_own(zoo_sweep: ModuleType, options: Options) -> None:
    results = zoo_sweep.sweep(options(), ["works", "fails", "dies"], attempt)
    assert [(r["outcome"], r.get("reason")) for r in results] == [
        ("works", None),
        ("fails", "ValueError: no such layer"),
        ("fails", "the process died"),
    ]


@pytest.mark.parametrize(
    ("words", "tried"),
    [
        ([], ["new"]),
        (["--failed"], ["failed", "new"]),
        (["--again"], ["known", "failed", "new"]),
        (["known", "failed", "new"], ["known", "failed", "new"]),
        (["--table-only"], []),
    ],
)
def test_a_sweep_goes_on_but_a_config_that_is_named_is_tried_anew(
    zoo_sweep: ModuleType,
    options: Options,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    tried: list[str],
) -> None:
    known = [{"config": "known", "outcome": "works", "seconds": 1}, {"config": "failed", "outcome": "fails"}]
    cut_short = '{"config": "new", "outco'
    (tmp_path / "results.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in known) + cut_short + "\n")
    zoo_sweep.sweep(options(*words), ["known", "failed", "new"], attempt)
    assert [line.split()[1].rstrip(":") for line in capsys.readouterr().out.splitlines()] == tried


def test_a_config_that_is_named_and_left_out_is_told(
    zoo_sweep: ModuleType, options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = {"rpn_r50": "RPN names no classes"}
    zoo_sweep.tell_left_out(options(), left_out)
    assert not capsys.readouterr().out
    zoo_sweep.tell_left_out(options("rpn_r50"), left_out)
    assert capsys.readouterr().out == "rpn_r50: left out: RPN names no classes\n"
