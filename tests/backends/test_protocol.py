"""A backend's functions stay functions, whatever its submodules are called and in which order they are imported."""

from __future__ import annotations

import importlib

import pytest

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
