"""The backends: a table of names, and how one is loaded. Imports no framework."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import cast

from cvtune.backends.base import Backend
from cvtune.errors import MissingDependencyError, SpecError, nearest

__all__ = ["BACKENDS", "backend_names", "load_backend"]

BACKENDS: dict[str, str] = {
    "torchvision": "cvtune.backends.torchvision.backend",
    "mmdet": "cvtune.backends.mmdet.backend",
    "detectron2": "cvtune.backends.detectron2.backend",
}
"""Name -> module that fulfils the Backend protocol. A package adds one by an entry point in group `cvtune.backends`."""


def backend_names() -> tuple[str, ...]:
    """Every backend's name, those of installed packages included."""
    added = importlib.metadata.entry_points(group="cvtune.backends")
    return (*BACKENDS, *(point.name for point in added if point.name not in BACKENDS))


def load_backend(name: str) -> Backend:
    """Import the backend's module. It imports its framework only inside `train`, `predict` and `probe`.

    Raises:
        SpecError: no backend has this name.
        MissingDependencyError: a package adds it, but its module does not import.
    """
    module = BACKENDS.get(name)
    if module is None:
        for point in importlib.metadata.entry_points(group="cvtune.backends"):
            if point.name == name:
                module = point.value
    if module is None:
        names = backend_names()
        raise SpecError(f"backend: unknown backend, got {name!r}; allowed: {', '.join(names)}{nearest(name, names)}")
    try:
        return cast(Backend, importlib.import_module(module))
    except ImportError as error:
        raise MissingDependencyError(f"backend {name}: its module {module} does not import: {error}") from error
