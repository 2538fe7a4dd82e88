"""Staging: a folder of results appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cvtune.errors import RunError
from cvtune.runs import write_json, write_text
from cvtune.staging import staged


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_nothing_is_there_before_the_end_and_all_of_it_after(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged(out) as staging:
        write_text(out / "a" / "b.txt", "x")
        write_json(out / "c.json", {})
        write_text(tmp_path / "elsewhere.txt", "y")
        assert not out.exists()
        assert (tmp_path / "elsewhere.txt").exists()
    assert names(out) == ["a/b.txt", "c.json"]
    first = staging.files["a/b.txt"]
    assert (first.path, first.sha256, first.bytes) == ("a/b.txt", hashlib.sha256(b"x").hexdigest(), 1)
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(error: type[BaseException], tmp_path: Path) -> None:
    write_text(tmp_path / "out" / "a.txt", "old")

    def fail() -> None:
        with staged(tmp_path / "out"):
            write_text(tmp_path / "out" / "a.txt", "new")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_into_a_folder_that_exists_files_are_merged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("a.txt", "d/b.txt", "d/c.txt"):
        write_text(out / name, "old")
    with staged(out):
        write_text(out / "a.txt", "new")
        write_text(out / "d" / "b.txt", "new")
        write_text(out / "e" / "f.txt", "new")
    found = {name: (out / name).read_text() for name in names(out)}
    assert found == {"a.txt": "new", "d/b.txt": "new", "d/c.txt": "old", "e/f.txt": "new"}


def test_a_dry_run_has_hashes_and_leaves_no_file(tmp_path: Path) -> None:
    with staged(tmp_path / "out", keep=False) as staging:
        write_text(tmp_path / "out" / "a.txt", "x")
    assert list(staging.files) == ["a.txt"]
    assert list(tmp_path.iterdir()) == []


def test_images_are_copied_or_linked(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with staged(tmp_path / "out") as staging:
        staging.place(tmp_path / "out" / "copy.jpg", tmp_path / "a.jpg")
        staging.place(tmp_path / "out" / "link.jpg", tmp_path / "a.jpg", link=True)
    assert (tmp_path / "out" / "copy.jpg").read_bytes() == b"x"
    assert not (tmp_path / "out" / "copy.jpg").is_symlink()
    assert (tmp_path / "out" / "link.jpg").readlink() == (tmp_path / "a.jpg").resolve()


def test_a_place_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/out: cannot be written: "), staged(tmp_path / "file" / "out"):
        pass


def test_ctrl_c_during_a_conversion_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it
        "from cvtune.runs import write_text\n"
        "from cvtune.staging import staged\n"
        f"with staged({str(tmp_path / 'out')!r}):\n"
        f"    write_text({str(tmp_path / 'out' / 'a.txt')!r}, 'x')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.wait(timeout=20) != 0
        assert time.monotonic() - start < 20
    assert list(tmp_path.iterdir()) == []
