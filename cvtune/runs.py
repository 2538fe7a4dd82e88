"""The run directory: the names of its files, atomic writes, the lock that keeps two runs apart."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cvtune.classes import ClassMap
from cvtune.errors import DataError, RunError, SpecError
from cvtune.staging import staging_of

__all__ = ["RunDir", "append_jsonl", "open_run", "read_json", "read_jsonl", "write_bytes", "write_json", "write_text"]

LOCK_PATIENCE = 5.0
"""Seconds to wait for a run directory: a killed run on a busy machine takes a moment to be gone."""


@dataclass(frozen=True)
class RunDir:
    """The files of one run. Every arrow of the data flow is one of them."""

    path: Path

    @property
    def spec(self) -> Path:
        """The spec as it was resolved: overrides applied, paths absolute (JSON is YAML)."""
        return self.path / "spec.yaml"

    @property
    def recipe(self) -> Path:
        """The official recipe that the plan started from."""
        return self.path / "recipe.json"

    @property
    def plan(self) -> Path:
        """Every setting's value with its reason."""
        return self.path / "plan.json"

    @property
    def classes(self) -> Path:
        """The class lock."""
        return self.path / "classes.json"

    @property
    def config(self) -> Path:
        """The native file, whichever of the two suffixes it has."""
        python = self.path / "config.py"
        return python if python.exists() else self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        """The list of differences between the official config and the native file."""
        return self.path / "overrides.json"

    @property
    def extras(self) -> Path:
        """What the native file cannot say: field, value, mechanism."""
        return self.path / "extras.json"

    @property
    def images(self) -> Path:
        """Per split: canonical image id -> source image id and file name."""
        return self.path / "data" / "images.json"

    @property
    def receipt(self) -> Path:
        """What the conversion of the data did."""
        return self.path / "data" / "receipt.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of `last.pth` and `best.pth`."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint: everything that a resume needs."""
        return self.checkpoints / "last.pth"

    @property
    def best(self) -> Path:
        """The checkpoint with the best score of the metric that selects."""
        return self.checkpoints / "best.pth"

    @property
    def selected(self) -> Path:
        """The checkpoint that predicts: best.pth, or last.pth where no evaluation has chosen one."""
        return self.best if self.best.exists() else self.last

    @property
    def log(self) -> Path:
        """One JSON record a logged step and one an evaluation."""
        return self.path / "log.jsonl"

    @property
    def predictions(self) -> Path:
        """COCO results of the split that is scored: source ids, original pixels."""
        return self.path / "predictions.json"

    @property
    def metrics(self) -> Path:
        """The scores."""
        return self.path / "metrics.json"

    @property
    def scored_split(self) -> str:
        """The split whose scores are the run's: test where there is one, else val."""
        return "test" if self.data("test").exists() else "val"

    def predictions_of(self, split: str) -> Path:
        """The predictions of a split: those of another than the run's own lie beside them."""
        return self.predictions if split == self.scored_split else self.path / f"predictions-{split}.json"

    def metrics_of(self, split: str) -> Path:
        """The scores of a split: those of another than the run's own lie beside them."""
        return self.metrics if split == self.scored_split else self.path / f"metrics-{split}.json"

    def analysis_of(self, split: str) -> Path:
        """What stands behind the scores of a split."""
        return self.path / ("analysis.json" if split == self.scored_split else f"analysis-{split}.json")

    def explanation_of(self, split: str) -> Path:
        """Why the scores of a split are low."""
        return self.path / ("explanation.json" if split == self.scored_split else f"explanation-{split}.json")

    @property
    def record(self) -> Path:
        """`run.json`: versions, device, kernels, seed, command, hashes, state."""
        return self.path / "run.json"

    @property
    def error(self) -> Path:
        """What a worker that failed leaves for the process that started it."""
        return self.path / "error.json"

    @property
    def samples(self) -> Path:
        """The folder of sample predictions; its `images.json` names the images."""
        return self.path / "samples"

    def samples_at(self, step: int) -> Path:
        """The folder of the pictures that the evaluation after `step` has drawn: 1.jpg, 2.jpg, ..."""
        return self.samples / f"step-{step:06d}"

    @property
    def watch_page(self) -> Path:
        """The page of `cvtune watch --once`."""
        return self.path / "watch.html"

    @property
    def loggers(self) -> Path:
        """What a resumed run needs to go on in the same runs of MLflow and Weights & Biases: their ids."""
        return self.path / "loggers.json"

    @property
    def lr_trial(self) -> Path:
        """The (learning rate, loss) pairs of `--find-lr`."""
        return self.path / "lr_trial.json"

    @property
    def stop(self) -> Path:
        """A file whose presence ends a run cleanly after the current step."""
        return self.path / "STOP"

    def data(self, split: str) -> Path:
        """The canonical COCO file of `split` (train, val or test)."""
        return self.path / "data" / f"{split}.json"

    def class_map(self) -> ClassMap:
        """Read the class lock."""
        return ClassMap.from_json(read_json(self.classes))

    def update_record(self, **values: Any) -> None:
        """Merge `values` into run.json."""
        record = read_json(self.record) if self.record.exists() else {}
        write_json(self.record, record | values)

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the run directory; a second holder gets a RunError after LOCK_PATIENCE seconds.

        Yields the lock's file descriptor: a worker that inherits it keeps the lock after its parent is gone, and a
        killed holder leaves no lock behind (flock).
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / ".lock", "a+") as lock:
            deadline = time.monotonic() + LOCK_PATIENCE
            while not _takes_lock(lock):
                if time.monotonic() > deadline:
                    lock.seek(0)
                    holder = lock.read().strip() or "unknown"
                    raise RunError(
                        f"{self.path}: this run directory is in use by process {holder}; "
                        "wait for it, or choose another name"
                    )
                time.sleep(0.1)
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            yield lock.fileno()


def open_run(path: str | Path) -> RunDir:
    """A run directory that exists.

    Raises:
        SpecError: there is no such folder, or it is no run directory.
    """
    run = RunDir(Path(path).resolve())
    if not run.path.is_dir():
        raise SpecError(f"{path}: no such run directory; `cvtune train SPEC` makes runs/<name>")
    if not run.record.exists():
        raise SpecError(f"{path}: not a run directory: it has no run.json")
    return run


def _takes_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_bytes(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write `content` under a temporary name beside `path`, then rename: readers see the old file or the new one.

    Within `cvtune.staging.staged` a file of the staged folder is held back with the others.

    Args:
        path: the file.
        content: all of it, or its pieces one after another, so that a large file is never whole in memory.

    Raises:
        RunError: the disk is full or the folder cannot be written; the old file, if any, is untouched.
    """
    path = Path(path)
    held = staging_of(path)
    if held is not None:
        held.write(path, content)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written: {error.strerror or error}; free space or choose another folder"
        ) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if not isinstance(error, OSError):
            raise
        raise RunError(
            f"{path}: cannot be written: {error.strerror or error}; free space or choose another folder"
        ) from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, record: Any) -> None:
    """Write `record` as indented JSON; NaN and infinity are refused, since they are not JSON."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing or is not JSON, with the line and column.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error


def append_jsonl(path: Path, record: Any) -> None:
    """Append one record as a line; raises RunError where the disk is full."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written: {error.strerror or error}; free space or choose another folder"
        ) from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All whole records of a JSON-lines file: none where it is missing; a line that a kill cut short is left out."""
    if not Path(path).exists():
        return []
    records = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
