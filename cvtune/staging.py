"""A folder of results that appears whole or not at all: files are written aside and moved into place at the end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from cvtune.errors import RunError
from cvtune.meter import tick

__all__ = ["Staging", "Written", "make_folder", "staged", "staging_of"]

# Larger files are forced to the disk one by one. For many small ones that takes ten times as long as writing them.
SYNCED = 1 << 20

_STAGING: ContextVar[Staging | None] = ContextVar("staging", default=None)


@dataclass(frozen=True, slots=True)
class Written:
    """A file's path below the folder, and the sha256 and size of what was written."""

    path: str
    sha256: str
    bytes: int


class Staging:
    """What is written for `folder` meanwhile lies in a folder beside it; nowhere where `aside` is None (a dry run)."""

    def __init__(self, folder: Path, aside: Path | None) -> None:
        """`folder` need not exist."""
        self.folder = Path(os.path.abspath(folder))
        self.files: dict[str, Written] = {}
        self._aside = aside
        self._prefix = f"{self.folder}{os.sep}"
        self._made: set[str] = set()
        self._removed: list[str] = []

    @property
    def dry(self) -> bool:
        """Whether nothing is written."""
        return self._aside is None

    def write(self, path: Path, content: bytes | Iterable[bytes]) -> None:
        """Write a file of the folder."""
        name = self._name(path)
        target, digest, length = self._target(name), hashlib.sha256(), 0
        pieces = [content] if isinstance(content, bytes) else content
        if target is None:
            for piece in pieces:
                digest.update(piece)
                length += len(piece)
        else:
            with open(target, "wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    length += len(piece)
                    file.write(piece)
                if length >= SYNCED:
                    file.flush()
                    os.fsync(file.fileno())
        self.files[name] = Written(name, digest.hexdigest(), length)
        tick()

    def place(self, path: Path, source: Path, link: bool = False) -> None:
        """Copy a file into the folder, or leave a symbolic link to it there."""
        target = self._target(self._name(path))
        if target is not None and link:
            Path(target).unlink(missing_ok=True)
            Path(target).symlink_to(source.resolve())
        elif target is not None:
            shutil.copyfile(source, target)
        tick()

    def make(self, path: Path) -> None:
        """Make a folder within the folder, which may stay empty."""
        self._target(os.path.join(self._name(path), ""))

    def remove(self, name: str) -> None:
        """Take a file of an earlier result out of the folder, once the new one appears."""
        self._removed.append(name)

    def publish(self) -> None:
        """Move everything into place; Ctrl-C waits until that is done."""
        if self._aside is None:
            return
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(self._aside, 0o777 & ~umask)
        with _uninterrupted():
            _move(self._aside, self.folder)
            for name in self._removed:
                (self.folder / name).unlink(missing_ok=True)

    def holds(self, path: Path) -> bool:
        """Whether a file lies in the folder."""
        text = os.fspath(path)
        plain = text.startswith(self._prefix) and ".." not in text
        return plain or Path(os.path.abspath(path)).is_relative_to(self.folder)

    def _name(self, path: Path) -> str:
        """A file's path below the folder; of a hundred thousand files the plain case counts."""
        text = os.fspath(path)
        if text.startswith(self._prefix) and ".." not in text:
            return text[len(self._prefix) :]
        return Path(os.path.relpath(os.path.abspath(path), self.folder)).as_posix()

    def _target(self, name: str) -> str | None:
        if self._aside is None:
            return None
        target = os.path.join(self._aside, name)
        above = os.path.dirname(target)
        if above not in self._made:
            os.makedirs(above, exist_ok=True)
            self._made.add(above)
        return target


@contextlib.contextmanager
def staged(folder: Path, keep: bool = True) -> Iterator[Staging]:
    """Within it, what `cvtune.runs` writes below `folder` is held back; it appears, all at once, at the end.

    An error or Ctrl-C leaves `folder` as it was. A new folder appears by one rename; into one that exists, files are
    moved one after another.

    Args:
        folder: made where missing.
        keep: False for a dry run, of which only names, sizes and hashes remain.

    Raises:
        RunError: a file cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    aside: Path | None = None
    try:
        if keep:
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.partial-"))
        current = Staging(folder, aside)
        before = _STAGING.set(current)
        try:
            yield current
        finally:
            _STAGING.reset(before)
        current.publish()
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written: {error.strerror or error}; free space or choose another folder"
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder, which may stay empty; within `staged` it appears with everything else."""
    current = staging_of(path)
    if current is not None:
        current.make(path)
    else:
        path.mkdir(parents=True, exist_ok=True)


def staging_of(path: Path) -> Staging | None:
    """The staging that holds back a file, if there is one."""
    current = _STAGING.get()
    return current if current is not None and current.holds(path) else None


def _move(source: Path, target: Path) -> None:
    if not target.exists() or source.is_symlink() or not source.is_dir():
        os.replace(source, target)
        return
    for entry in sorted(source.iterdir()):
        _move(entry, target / entry.name)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back; only the main thread may, and only there it arrives."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived:
        raise KeyboardInterrupt
