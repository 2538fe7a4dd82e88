"""The official LazyConfigs are read once, by a process of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cvtune.backends.detectron2.lazy import cache
from cvtune.backends.detectron2.lazy.values import Code
from cvtune.errors import MissingDependencyError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with two configs, and a cache of the test's own."""
    folder = tmp_path / "package/model_zoo/configs"
    folder.mkdir(parents=True)
    (tmp_path / "package/__init__.py").write_text("")
    for name in ("a", "b"):
        (folder / f"{name}.py").write_text("model = dict()\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache.lazy_contents.cache_clear()
    yield folder
    cache.lazy_contents.cache_clear()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Commands of the reader, which writes a config with a class."""
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        _, output, *names = command[command.index(cache.READER) + 1 :]
        content = {"block": {"_code_": "Block", "_imports_": [["blocks", "Block"]]}}
        Path(output).write_text(json.dumps(dict.fromkeys(names, content)))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(cache.subprocess, "run", run)
    return commands


def test_one_process_reads_them_all_and_the_next_look_reads_none(folder: Path, reads: list[Sequence[str]]) -> None:
    for _ in range(2):
        assert cache.lazy_contents(folder, ("a", "b"))["b"] == {"block": Code("Block", (("blocks", "Block"),))}
        cache.lazy_contents.cache_clear()
    assert len(reads) == 1


@pytest.mark.parametrize("change", ["config", "version", "damaged"])
def test_what_has_changed_is_read_again(change: str, folder: Path, reads: list[Sequence[str]], tmp_path: Path) -> None:
    cache.lazy_contents(folder, ("a",))
    cache.lazy_contents.cache_clear()
    if change == "config":
        (folder / "b.py").write_text("model = dict(a=1)\n")  # another one may import it
    elif change == "version":
        (tmp_path / "package/__init__.py").write_text("__version__ = '0.7'\n")
    else:
        (file,) = (tmp_path / "cache/cvtune").glob("*.json")
        file.write_text(file.read_text()[:20])
    cache.lazy_contents(folder, ("a",))
    assert len(reads) == 2


def test_a_reader_that_fails_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nImportError: no operators\n")

    monkeypatch.setattr(cache.subprocess, "run", run)
    with pytest.raises(MissingDependencyError) as caught:
        cache.lazy_contents(folder, ("a",))
    assert "cannot be read: ImportError: no operators" in str(caught.value)
    assert "\n" not in str(caught.value)
