"""The protocol needs nothing but files: a backend without torch, in an environment of its own, does the whole road."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtune.runs import RunDir, read_json

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def second_environment(tmp_path: Path) -> Path:
    """A fresh virtual environment with cvtune's base install: no torch in it. Returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*install, "--editable", str(ROOT)], check=True)
    return python


def test_a_backend_in_another_environment_does_the_whole_road(
    second_environment: Path, tmp_path: Path, make_shapes: Callable[..., Any], write_spec: Callable[..., Path]
) -> None:
    plugin = tmp_path / "plugin"
    info = plugin / "cvtune_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (plugin / "cvtune_toy.py").write_bytes((ROOT / "tests/backends/toy/cvtune_toy.py").read_bytes())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cvtune-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cvtune.backends]\ntoy = cvtune_toy\n")
    make_shapes(tmp_path / "shapes", train=6, val=3, size=96, seed=6)
    spec = write_spec(
        tmp_path / "shapes",
        tmp_path / "toy.yaml",
        backend="toy",
        model={"family": "colour", "weights": "none"},
    )
    environment = os.environ | {
        "PYTHONPATH": str(plugin),
        "CVTUNE_PYTHON_TOY": str(second_environment),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def cvtune(*arguments: str) -> str:
        command = [sys.executable, "-m", "cvtune", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    cvtune("train", str(spec))
    run = RunDir(tmp_path / "runs/toy")
    record = read_json(run.record)
    # Symbolic links: the interpreter of a virtual environment is told by its path, not by what it points to.
    assert record["python"] == str(second_environment)
    assert record["torch_imported"] is False
    assert read_json(run.plan)["host"]["device_name"] == "toy"
    metrics = read_json(run.metrics)
    assert metrics["images"] == 3
    assert metrics["detections"] > 0
    assert run.path.joinpath("report.html").exists()
    cvtune("predict", str(run.path), str(tmp_path / "shapes/images/val"), "-o", str(tmp_path / "p.json"))
    assert (tmp_path / "p.json").exists()
    assert "toy" in cvtune("backends")
