"""How a worker is started, and how its errors come back."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cvtune.errors import RunError, SpecError
from cvtune.launch import in_process, python_of, run_worker
from cvtune.runs import RunDir, read_json, write_json
from cvtune.spec import Spec
from cvtune.spec_file import spec_to_json
from cvtune.worker import parent_is_gone


def run_with_spec(folder: Path, family: str) -> RunDir:
    run = RunDir(folder / "run")
    model = {"family": family, "weights": "none"}
    write_json(run.spec, spec_to_json(Spec.model_validate({"name": "x", "model": model, "data": {"train": "a.json"}})))
    return run


def python_that(folder: Path, code: str) -> str:
    """An executable that stands in for an interpreter."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n" + textwrap.dedent(code))
    path.chmod(0o755)
    return str(path)


def test_a_worker_answers_in_files(tmp_path: Path) -> None:
    run = run_with_spec(tmp_path, "faster_rcnn")
    run_worker("torchvision", "recipe", run)
    assert read_json(run.recipe)["values"]["model.family"] == "faster_rcnn"
    assert not run.error.exists()


def test_its_error_is_raised_here_with_its_class_and_message(tmp_path: Path) -> None:
    run = run_with_spec(tmp_path, "faster_rcn")
    with pytest.raises(SpecError, match="did you mean 'faster_rcnn'"):
        run_worker("torchvision", "recipe", run)
    assert "error: " in (run.path / "worker.log").read_text()


def test_a_worker_that_dies_without_a_word_shows_the_end_of_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
    import os, signal
    print("reading weights", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    monkeypatch.setenv("CVTUNE_PYTHON_TORCHVISION", python_that(tmp_path, code))
    assert not in_process("torchvision")
    with pytest.raises(RunError, match=r"signal 9 \(killed, perhaps for memory.*reading weights"):
        run_worker("torchvision", "train", RunDir(tmp_path / "run"))


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVTUNE_PYTHON_TORCHVISION", str(tmp_path / "missing"))
    assert python_of("torchvision") == str(tmp_path / "missing")
    with pytest.raises(RunError, match="set CVTUNE_PYTHON_TORCHVISION"):
        run_worker("torchvision", "probe", RunDir(tmp_path / "run"))


def test_several_processes_are_started_by_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
    import json, os, sys
    run = sys.argv[sys.argv.index("train") + 1]
    json.dump([sys.argv[1:], os.environ["OMP_NUM_THREADS"]], open(run + "/seen.json", "w"))
    """
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CVTUNE_PYTHON_TORCHVISION", python_that(tmp_path, code))
    run_worker("torchvision", "train", RunDir(tmp_path / "run"), "--resume", processes=2)
    arguments, threads = read_json(tmp_path / "run/seen.json")
    assert arguments[:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert arguments[5:] == ["-m", "cvtune.worker", "train", str(tmp_path / "run"), "--resume"]
    assert int(threads) >= 1


def test_a_parent_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVTUNE_PARENT_PID", raising=False)
    assert not parent_is_gone()
    monkeypatch.setenv("CVTUNE_PARENT_PID", str(os.getpid()))
    assert not parent_is_gone()
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    monkeypatch.setenv("CVTUNE_PARENT_PID", str(ended.pid))
    assert parent_is_gone()
