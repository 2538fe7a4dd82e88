"""The contents of the official LazyConfigs, read once by Detectron2 in a child process and kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cvtune.backends.detectron2.lazy.values import from_json
from cvtune.errors import MissingDependencyError
from cvtune.runs import write_json

__all__ = ["lazy_contents"]

READER = "cvtune.backends.detectron2.lazy.reader"
_FORMAT = 1  # of the cached file


@lru_cache(maxsize=1)
def lazy_contents(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name -> content of the LazyConfigs `names` below `folder`: dicts, lists, scalars and Code. Not to be changed.

    Raises:
        MissingDependencyError: Detectron2 does not import, or cannot read its own files.
    """
    path = _cache_file(folder, names)
    if path.is_file():
        with contextlib.suppress(ValueError):  # a file that was cut off is read anew
            found: dict[str, dict[str, Any]] = from_json(json.loads(path.read_text(encoding="utf-8")))
            return found
    record = _read(folder, names)
    with contextlib.suppress(OSError):  # a home that cannot be written costs seconds, no more
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)
    return from_json(record)  # type: ignore[no-any-return]


def _read(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cvtune-lazy-") as scratch:
        output = Path(scratch) / "configs.json"
        command = [sys.executable, "-W", "ignore", "-m", READER, str(folder), str(output), *names]
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise MissingDependencyError(
                f"backend detectron2: its LazyConfigs cannot be read: {reason}; see `cvtune backends`"
            )
        record: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return record


def _cache_file(folder: Path, names: Sequence[str]) -> Path:
    """One file for each interpreter, version of Detectron2 and text of the configs."""
    digest = hashlib.sha256(json.dumps([_FORMAT, sys.executable, sys.version, str(folder), list(names)]).encode())
    package = folder.parent.parent if folder.parent.name == "model_zoo" else folder.parent / "detectron2"
    for path in [package / "__init__.py", *sorted(folder.glob("**/*.py"))]:
        digest.update(path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "cvtune" / f"detectron2-lazy-{digest.hexdigest()[:16]}.json"
