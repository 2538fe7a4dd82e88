"""What is installed, and what an installation that is broken says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvtune.runs import read_json

pytestmark = pytest.mark.train


def probe(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cvtune.worker", "probe", str(folder / "run"), "--backend", "mmdet"]
    (folder / "run").mkdir()
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def test_the_kernels_in_use_are_told(tmp_path: Path) -> None:
    done = probe(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    host = read_json(tmp_path / "run/host.json")
    assert host["kernels"]["mmcv._ext"] == "stand-in"
    assert {"mmdet", "mmcv", "mmengine", "torch"} <= host["versions"].keys()


def break_mmcv(folder: Path) -> str:
    (folder / "broken/mmcv").mkdir(parents=True)
    (folder / "broken/mmcv/__init__.py").write_text("raise ImportError('libsomething.so.7: not found\\n  hint')")
    return str(folder / "broken")


def test_an_installation_that_broke_since_the_look_at_it_says_so_before_it_trains(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from cvtune.backends.mmdet import backend; from cvtune.runs import RunDir\n"
        f"backend.train(RunDir(Path({str(tmp_path)!r})), resume=False)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([break_mmcv(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert "installed but broken: ImportError: libsomething.so.7: not found hint; reinstall" in last


def test_a_broken_installation_shows_its_import_error(tmp_path: Path) -> None:
    done = probe(tmp_path, PYTHONPATH=os.pathsep.join([break_mmcv(tmp_path), *sys.path]))
    assert done.returncode == 3
    message = read_json(tmp_path / "run/error.json")["message"]
    assert "installed but broken: ImportError: libsomething.so.7" in message
    assert "pip install" in message
    assert "\n" not in message
