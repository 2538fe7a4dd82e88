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


def test_a_broken_installation_shows_its_import_error(tmp_path: Path) -> None:
    (tmp_path / "broken/mmcv").mkdir(parents=True)
    (tmp_path / "broken/mmcv/__init__.py").write_text("raise ImportError('libsomething.so.7: not found')")
    done = probe(tmp_path, PYTHONPATH=str(tmp_path / "broken"))
    assert done.returncode == 3
    message = read_json(tmp_path / "run/error.json")["message"]
    assert "installed but broken: ImportError: libsomething.so.7" in message
    assert "pip install" in message
    assert "\n" not in message
