"""Fixtures that all tests share: where the real data and weights are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    assert value, f"{variable} is not set: tests marked `real` need it (deselect them with -m 'not real')"
    folder = Path(value)
    assert folder.is_dir(), f"{variable}={value}: no such folder"
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets."""
    return _folder("CVTUNE_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder of real weights."""
    return _folder("CVTUNE_WEIGHTS")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests on real data where no data was announced; where it was, they run and fail if it is missing."""
    if os.environ.get("CVTUNE_DATA"):
        return
    real = [item for item in items if item.get_closest_marker("real")]
    if real:
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if not item.get_closest_marker("real")]
