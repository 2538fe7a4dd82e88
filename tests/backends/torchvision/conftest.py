"""A plan and a native config from a few lines of spec, without files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from cvtune.backends.base import Host
from cvtune.backends.torchvision.recipes import recipe
from cvtune.backends.torchvision.translate import translate
from cvtune.classes import ClassMap
from cvtune.plan import Plan
from cvtune.planner import make_plan
from cvtune.spec import Spec

HOSTS = {
    "cpu": Host("0.29", "cpu", 1, "CPU", 8 << 30, 2, False, {}, {}),
    "cuda8": Host("0.29", "cuda", 8, "GPU", 80 << 30, 64, True, {}, {}),
}


def _deep(base: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in added.items():
        merged[key] = _deep(base[key], value) if isinstance(base.get(key), dict) and isinstance(value, dict) else value
    return merged


def _plan(spec: dict[str, Any], classes: int = 3, host: str = "cpu", images: int = 100) -> Plan:
    base = {
        "name": "t",
        "model": {"weights": "none"},
        "data": {"train": "train.json", "batch_size": 16 if host == "cuda8" else 2},
        "run": {"device": "cuda" if host.startswith("cuda") else "cpu"},
    }
    resolved = Spec.model_validate(_deep(base, spec))
    names = tuple(f"class {i}" for i in range(classes))
    class_map = ClassMap(names, tuple(range(1, classes + 1)))
    return make_plan(resolved, {"train": {"images": images}}, class_map, recipe(resolved), HOSTS[host])


@pytest.fixture
def planned() -> Callable[..., Plan]:
    """``planned(spec, classes=3, host="cpu", images=100)``: a plan; the spec is laid over small defaults."""
    return _plan


@pytest.fixture
def native_config() -> Callable[..., dict[str, Any]]:
    """As `planned`, but the config.yaml that it is translated to, read back."""

    def make(spec: dict[str, Any], **options: Any) -> dict[str, Any]:
        config = yaml.safe_load(translate(_plan(spec, **options)).text)
        assert isinstance(config, dict)
        return config

    return make
