"""An installed Detectron2 0.6 is repaired while it is imported; one that is healthy is left alone."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from cvtune.kernels import detectron2_repairs
from cvtune.kernels.detectron2_repairs import install_repairs, repairs_made, uninstall_repairs

BROKEN = '''\
import numpy as np


def count(classes):
    """How many there are of each."""
    histogram = np.zeros((3,), dtype=np.int)
    return histogram + np.bincount(np.asarray(classes, dtype=np.int
    ), minlength=3)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `detectron2` with a subpackage `data`, before any real one; everything is put back afterwards."""
    folder = tmp_path / "detectron2"
    (folder / "data").mkdir(parents=True)
    for part in (folder, folder / "data"):
        (part / "__init__.py").write_text("")
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "detectron2"}
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(detectron2_repairs, "_made", [])
    yield folder
    uninstall_repairs()
    for name in list(sys.modules):
        if name.split(".")[0] == "detectron2":
            del sys.modules[name]
    sys.modules.update(before)


def test_what_is_broken_is_repaired_in_memory(package: Path) -> None:
    source = package / "data" / "build.py"
    source.write_text(BROKEN)
    for _ in range(2):
        install_repairs()
    build = importlib.import_module("detectron2.data.build")
    assert build.count([0, 2, 2]).tolist() == [1, 0, 2]
    assert [patch.name for patch in repairs_made()] == ["class-histogram"]
    assert source.read_text() == BROKEN
    # No byte code of the changed text is left for an interpreter without repairs.
    assert not list(package.glob("data/__pycache__/build.*"))


def test_what_is_healthy_is_loaded_as_ever(package: Path) -> None:
    healthy = BROKEN.replace("np.int", "int")
    (package / "data" / "build.py").write_text(healthy)
    install_repairs()
    spec = importlib.util.find_spec("detectron2.data.build")
    assert spec is not None
    assert type(spec.loader) is SourceFileLoader
    assert importlib.import_module("detectron2.data.build").count([1]).tolist() == [0, 1, 0]
    assert repairs_made() == ()


def test_another_release_is_not_touched(package: Path) -> None:
    (package / "data" / "build.py").write_text('TEXT = "dtype=np.int"\n')  # once, where 0.6 has it twice
    install_repairs()
    assert importlib.import_module("detectron2.data.build").TEXT == "dtype=np.int"
    assert repairs_made() == ()


def test_other_modules_are_not_looked_at(package: Path) -> None:
    (package / "data" / "other.py").write_text("import numpy as np\nA = np.int\n")
    install_repairs()
    with pytest.raises(AttributeError, match=r"np\.int"):
        importlib.import_module("detectron2.data.other")


def test_a_module_that_is_missing_is_reported_as_ever(package: Path) -> None:
    install_repairs()
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'detectron2\.data\.build'"):
        importlib.import_module("detectron2.data.build")
