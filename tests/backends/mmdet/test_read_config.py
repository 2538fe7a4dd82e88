"""Reading the native file of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cvtune.backends.mmdet.runner import read_config
from cvtune.errors import MissingDependencyError
from cvtune.runs import RunDir


def write(folder: Path, imports: str) -> RunDir:
    text = f"custom_imports = dict(imports=['{imports}'], allow_failed_imports=False)\nlr = 0.5\n"
    (folder / "config.py").write_text(text, encoding="utf-8")
    return RunDir(folder)


def test_what_a_native_file_imports_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_module_of_mine.py").write_text("seen = True\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = read_config(write(tmp_path, "a_module_of_mine"))
    assert config.lr == 0.5
    assert sys.modules.pop("a_module_of_mine").seen


def test_a_package_that_a_native_file_needs_is_named_before_it_is_imported(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="this config needs no_such_thing, which is not installed"):
        read_config(write(tmp_path, "no_such_thing"))
