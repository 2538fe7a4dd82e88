"""`python -m cvtune.native RUN TOOL.py`: what it says and what it passes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cvtune.classes import ClassMap
from cvtune.native import main
from cvtune.runs import RunDir

RECIPE = {"config": "", "source": "", "task": "detect", "dataset_images": 1, "values": {}}
SHOW = "import json, sys; print(json.dumps(sys.argv))"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "usage: python -m cvtune.native RUN TOOL.py"),
        (["runs/none"], 2, "usage: python -m cvtune.native RUN TOOL.py"),
        (["runs/none", "tool.py"], 1, "runs/none: holds no translated run"),
    ],
)
def test_what_is_no_run_is_said(
    arguments: list[str], status: int | None, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = list(sys.meta_path)
    try:
        found = main(arguments)
    finally:
        sys.meta_path[:] = before
    assert found == status
    assert message in capsys.readouterr().err


def test_a_backend_without_catalogs_needs_no_preparation(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    (run.path / "config.yaml").write_text("")
    (run.path / "extras.json").write_text("{}")
    plan = {
        "values": {"backend": {"value": "torchvision", "reason": "spec"}},
        "data": {},
        "recipe": RECIPE,
        "host": None,
    }
    classes = ClassMap(("nut",), (7,)).to_json()
    (run.path / "plan.json").write_text(json.dumps(plan | {"classes": classes}))
    (tmp_path / "tool.py").write_text(SHOW)
    command = [sys.executable, "-m", "cvtune.native", str(run.path), str(tmp_path / "tool.py"), "--option", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [str(tmp_path / "tool.py"), "--option", "1"]
