"""What a file of weights says beside its numbers, read without torch and without running any code of the file."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Left", "read_outline"]


class Left:
    """Stands where a file has an array, a tensor or any other object."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take whatever the object would be made from."""

    def __setstate__(self, state: Any) -> None:
        """Take whatever it would be filled with."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """The same, for mappings."""

    def append(self, value: Any) -> None:
        """The same, for lists."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else Left

    def persistent_load(self, pid: Any) -> Any:
        return Left()


def read_outline(path: Path) -> Mapping[str, Any]:
    """The dict that a pickle or a checkpoint of torch holds: names, numbers and texts, and `Left` for everything else.

    Returns:
        {} for a file of another kind, or one that is damaged: whoever loads it says so.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
                content = _Unpickler(io.BytesIO(archive.read(name)), encoding="latin1").load()
        else:
            with Path(path).open("rb") as file:
                content = _Unpickler(file, encoding="latin1").load()
    except Exception:  # whatever a file that is none makes of the unpickler
        return {}
    return content if isinstance(content, dict) else {}
