"""The installer, against a package index on this machine; nothing is installed into this environment."""

from __future__ import annotations

import functools
import http.server
import importlib.metadata
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cvtune.errors import RunError
from cvtune.kernels import detectron2_install
from cvtune.kernels.detectron2_install import fetch_archive, install, main
from cvtune.kernels.detectron2_patches import PATCHES
from cvtune.kernels.detectron2_wheel import VERSION, WHEEL_NAME, build_wheel

Archive = Callable[[], Path]


@pytest.fixture(autouse=True)
def pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip without any setting of this machine."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Path]:
    """The folder of an index that is served; pip has to be pointed at `index.name`."""
    folder = tmp_path / "simple"
    (folder / "pb1-detectron2").mkdir(parents=True)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        (folder / "url").write_text(f"http://127.0.0.1:{server.server_address[1]}/")
        yield folder
        server.shutdown()
        thread.join()


def offer(index: Path, source: Path) -> None:
    folder = index / "pb1-detectron2"
    (folder / source.name).write_bytes(source.read_bytes())
    (folder / "index.html").write_text(f'<html><body><a href="{source.name}">{source.name}</a></body></html>')


def test_from_an_index(
    index: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(index, archive())
    monkeypatch.setenv("PIP_INDEX_URL", (index / "url").read_text())
    assert main(["--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"{len(PATCHES)} changes match; nothing was installed" in out
    for patch in PATCHES:
        assert f"{patch.file}: {patch.name}: {patch.why}" in out


@pytest.mark.parametrize("setting", ["PIP_INDEX_URL", "PIP_FIND_LINKS"])
def test_from_a_folder(setting: str, tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    source = archive()
    index = tmp_path / "files"
    (index / "pb1-detectron2").mkdir(parents=True)
    offer(index, source)
    if setting == "PIP_INDEX_URL":
        monkeypatch.setenv(setting, index.as_uri())
    else:
        monkeypatch.setenv(setting, str(index / "pb1-detectron2"))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["--wheel-dir", str(tmp_path / "wheels")]) == 0
    assert (tmp_path / "wheels" / WHEEL_NAME).is_file()


def test_another_archive_than_the_tested_one(
    index: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(index, archive())
    monkeypatch.setenv("PIP_INDEX_URL", (index / "url").read_text())
    monkeypatch.setattr(detectron2_install, "ARCHIVE_SHA256", "f" * 64)
    assert main(["--dry-run"]) == 2
    error = capsys.readouterr().err
    assert f"expected {'f' * 64}" in error
    assert error.count("\n") == 1


def test_not_in_the_index(index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", (index / "url").read_text())
    assert main(["--dry-run"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: pb1-detectron2 0.6: pip could not download it: Could not find a version")
    assert error.count("\n") == 1


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/simple")
        with pytest.raises(RunError, match=r"could not download it: .*; check the network and pip's index .*--archive"):
            fetch_archive(tmp_path)


def test_a_change_that_does_not_match(
    archive: Archive, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    sources["detectron2/data/build.py"] = ""
    assert main(["--dry-run", "--archive", str(archive())]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: detectron2/data/build.py: patch 'class-histogram' does not match")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("version", "note"),
    [(VERSION, "nothing to do"), ("0.6", f"left as it is; --force replaces it by {VERSION}")],
)
def test_installed_already(
    version: str, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / f"detectron2-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: detectron2\nVersion: {version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["--archive", str(tmp_path / "not read")]) == 0
    assert capsys.readouterr().out == f"Detectron2 {version} is installed: {note}\n"


def test_install_keeps_other_packages(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = archive()
    wheel, _ = build_wheel(source, tmp_path, detectron2_install.ARCHIVE_SHA256)
    commands = []

    def run(arguments: list[str], environment: dict[str, str] | None = None) -> object:
        kept = Path(arguments[arguments.index("--constraint") + 1]).read_text()
        commands.append((arguments, kept))
        return original([*arguments, "--target", str(tmp_path / "site"), "--no-deps", "--no-index"], environment)

    original = detectron2_install._pip
    monkeypatch.setattr(detectron2_install, "_pip", run)
    install(wheel)
    assert (tmp_path / "site/detectron2/_C.py").is_file()
    for _, kept in commands:
        for name in ("numpy", "torch"):
            assert f"{name}=={importlib.metadata.version(name)}\n" in kept


def test_a_failed_installation_says_pips_reason(tmp_path: Path) -> None:
    wheel = tmp_path / WHEEL_NAME
    wheel.write_bytes(b"")
    with pytest.raises(RunError, match=rf"^{WHEEL_NAME.replace('+', '.')}: pip could not install it: .*"):
        install(wheel)


def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "absent.txt")
    assert main(["--force", "--constraint", missing]) == 2
    assert capsys.readouterr().err == f"error: --constraint: no such file, got {missing!r}\n"


def test_from_git_dry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--from-git", "--dry-run"]) == 0
    assert "facebookresearch/detectron2.git@main" in capsys.readouterr().out
