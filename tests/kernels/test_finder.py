"""Which module `mmcv._ext` is: compiled, stand-in, or a stand-in for a broken one. On packages made up for the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvtune.errors import SpecError
from cvtune.kernels.finder import chosen_mode
from cvtune.kernels.table import SERVED

ROOT = Path(__file__).resolve().parents[2]

ASK = """
import importlib.util, json, sys
from cvtune.kernels import install, kernels_in_use
install()
install()
assert "torch" not in sys.modules
found = importlib.util.find_spec("mmcv._ext") is not None
state = kernels_in_use()["mmcv._ext"]
ours = sum(type(finder).__module__.startswith("cvtune") for finder in sys.meta_path)
print(json.dumps([found, state, ours]))
"""

EXTENSIONS = {
    "none": None,
    "works": "def nms(): return 'compiled'",
    "broken": "raise ImportError('_ext.so: undefined\\n symbol: _ZN3c10')",
}


def make_packages(folder: Path, extension: str | None, framework: str = "") -> None:
    for name, text in (("torch", ""), ("mmcv", framework)):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text)
    if extension is not None:
        (folder / "mmcv" / "_ext.py").write_text(extension)


def run_python(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, "CVTUNE_KERNELS": "", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("mode", "extension", "found", "state"),
    [
        ("auto", "none", True, "stand-in"),
        ("auto", "works", True, "compiled"),
        (
            "auto",
            "broken",
            True,
            "compiled but broken: ImportError: _ext.so: undefined symbol: _ZN3c10 (stand-in used)",
        ),
        ("compiled", "none", False, "not compiled"),
        ("compiled", "works", True, "compiled"),
        ("compiled", "broken", True, "compiled but broken: ImportError: _ext.so: undefined symbol: _ZN3c10"),
        ("standin", "none", True, "stand-in"),
        ("standin", "works", True, "stand-in"),
        ("standin", "broken", True, "stand-in"),
    ],
)
def test_which_module_is_used(tmp_path: Path, mode: str, extension: str, found: bool, state: str) -> None:
    make_packages(tmp_path, EXTENSIONS[extension])
    done = run_python(tmp_path, "-c", ASK, CVTUNE_KERNELS=mode)
    assert done.returncode == 0, done.stderr
    finders = {"auto": 3, "compiled": 1, "standin": 2}[mode]  # one of them repairs mmdet
    assert json.loads(done.stdout) == [found, state, finders]
    assert ("stand-in is used" in done.stderr) == (mode == "auto" and extension == "broken")


def test_a_framework_that_does_not_import_is_named(tmp_path: Path) -> None:
    make_packages(tmp_path, None, framework="raise RuntimeError('cv2 is missing')")
    done = run_python(tmp_path, "-c", "from cvtune.kernels import *; print(kernels_in_use())")
    assert "'broken: RuntimeError: cv2 is missing'" in done.stdout, done.stderr


def test_a_function_without_a_stand_in_says_how_to_get_it(tmp_path: Path) -> None:
    make_packages(tmp_path, None)
    code = "from cvtune.kernels import install; install(); from mmcv import _ext; _ext.no_such_operator(1, a=2)"
    done = run_python(tmp_path, "-c", code)
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingDependencyError: mmcv._ext.no_such_operator: not compiled here" in last
    assert "pip install onedl-mmcv" in last


def test_private_names_are_not_answered(tmp_path: Path) -> None:
    make_packages(tmp_path, None)
    code = "from cvtune.kernels import install; install(); from mmcv import _ext; print(hasattr(_ext, '_nms'))"
    assert run_python(tmp_path, "-c", code).stdout == "False\n"


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVTUNE_KERNELS", "fast")
    with pytest.raises(SpecError, match="CVTUNE_KERNELS: got 'fast'; allowed: auto, compiled, standin"):
        chosen_mode()


@pytest.mark.parametrize("module", sorted({home for served in SERVED.values() for home in served.homes}))
def test_every_stand_in_of_the_table_exists(module: str) -> None:
    import importlib

    found = importlib.import_module(module)
    promised = [names for served in SERVED.values() for home, names in served.homes.items() if home == module]
    for name in (name for names in promised for name in names):
        assert callable(getattr(found, name)), name


def test_the_page_of_stand_ins_names_each_of_them() -> None:
    page = (ROOT / "docs/kernels.md").read_text(encoding="utf-8")
    section = page.partition("## What has a stand-in")[2].partition("## What has none")[0]
    promised = {name for names in SERVED["mmcv._ext"].homes.values() for name in names}
    assert {name for name in promised if f"`{name}`" not in section} == set()
