"""The run directory: atomic writes, full disks, the lock."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvtune.errors import DataError, RunError
from cvtune.runs import RunDir, append_jsonl, read_json, read_jsonl, write_json, write_text


@pytest.fixture
def _small_files() -> Iterator[None]:
    """Files may not grow above 4 kB: what a full disk does to a write in the middle of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("_small_files")
def test_a_write_that_does_not_fit_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_text(path, "old")
    with pytest.raises(RunError, match=r"metrics\.json: cannot be written: .*free space"):
        write_text(path, "x" * 100_000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_when_a_log_is_appended() -> None:
    with pytest.raises(RunError, match="No space left on device"):
        append_jsonl(Path("/dev/full"), {"step": 1})


def test_json_is_read_back_and_mistakes_are_located(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ä": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, 2.5, None]}
    (tmp_path / "b.json").write_text('{"a": 1,}')
    with pytest.raises(DataError, match=r"b\.json: not valid JSON: .*line 1 column"):
        read_json(tmp_path / "b.json")
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "c.json")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "d.json", float("nan"))
    assert not (tmp_path / "d.json").exists()


def test_a_log_whose_last_line_was_cut_short_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_jsonl(path, {"step": 1})
    with open(path, "a") as file:
        file.write('{"step": 2, "lo')
    assert read_jsonl(path) == [{"step": 1}]
    assert read_jsonl(tmp_path / "missing.jsonl") == []


def test_a_run_directory_is_held_by_one_process_and_freed_by_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvtune.runs.LOCK_PATIENCE", 0.2)
    run = RunDir(tmp_path / "run")
    code = f"""
import time
from pathlib import Path
from cvtune.runs import RunDir
with RunDir(Path({str(run.path)!r})).locked():
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"in use by process {holder.pid}"), run.locked():
        pass
    monkeypatch.setattr("cvtune.runs.LOCK_PATIENCE", 10.0)
    holder.kill()
    with run.locked():  # without waiting for the killed process
        pass
    holder.wait()


def test_run_json_is_merged(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.update_record(name="a", seed=0)
    run.update_record(seed=1)
    assert read_json(run.record) == {"name": "a", "seed": 1}
