"""Our own checkpoints: written whole or not at all, read as tensors only, held to their class lock."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cvtune.backends.weight_files import is_trusted, load_checkpoint
from cvtune.classes import ClassMap
from cvtune.errors import DataError, RunError

__all__ = ["check_class_lock", "read_checkpoint", "write_checkpoint"]


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write under a temporary name, then rename.

    Raises:
        RunError: the disk is full; the checkpoint that was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}; free space and `--resume`") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    # torch's zip writer turns a failed write into a RuntimeError.
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        kept = "the checkpoint of before is kept" if path.exists() else "no checkpoint was written yet"
        raise RunError(f"{path}: cannot be written: {error}; {kept}; free space and `--resume`") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that a run of cvtune wrote.

    Raises:
        DataError: missing, cut short, not one of ours, or in need of code to be read.
    """
    content = load_checkpoint(path, is_trusted())
    if not isinstance(content, dict) or "cvtune" not in content:
        raise DataError(f"{path}: not a checkpoint of cvtune: it has no class lock; use one that `cvtune train` wrote")
    return content


def check_class_lock(content: Mapping[str, Any], class_map: ClassMap, path: Path) -> None:
    """Refuse a checkpoint that was trained with other classes."""
    class_map.check_same(ClassMap.from_json(content["cvtune"]["classes"]), str(path))
