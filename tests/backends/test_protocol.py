"""A backend's functions stay functions, whatever its submodules are called and in which order they are imported."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import cvtune.backends
from cvtune.backends import BACKENDS, load_backend
from cvtune.errors import SpecError

FUNCTIONS = ("models", "probe", "recipe", "translate", "step_memory", "find_lr", "train", "predict")


@pytest.mark.parametrize("name", BACKENDS)
def test_submodules_do_not_replace_the_functions(name: str) -> None:
    package = BACKENDS[name].rsplit(".", 1)[0]
    for module in ("translate", "train", "predict"):
        importlib.import_module(f"{package}.{module}")
    backend = load_backend(name)
    assert backend.name == name
    for function in FUNCTIONS:
        assert callable(getattr(backend, function)), function


def test_an_unknown_backend_is_told_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'torchvision'"):
        load_backend("torchvison")


def test_no_backend_imports_another() -> None:
    folder = Path(cvtune.backends.__file__).parent
    names = [path.name for path in folder.iterdir() if (path / "backend.py").exists()]
    assert len(names) == len(BACKENDS)
    for name in names:
        for path in (folder / name).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            others = [other for other in names if other != name and f"cvtune.backends.{other}" in text]
            assert not others, f"{path} imports {others}"
