"""The names in a spec that tables outside of it decide: backends, their families and backbones, annotation formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cvtune.errors import CvtuneError, nearest
from cvtune.spec_paths import sources
from cvtune.spec_yaml import Key, Node, Problem, node_at, show, show_key

if TYPE_CHECKING:
    from cvtune.backends.base import ModelInfo

__all__ = ["check_names"]


def check_names(root: Node) -> list[Problem]:
    """Every name that its table does not have, with the nearest that it has."""
    from cvtune.data.formats import FORMATS

    problems: list[Problem] = []
    for key, source in sources(root):
        node = source.value.get("format") if isinstance(source.value, dict) else None
        if node is not None:
            problems += _unknown_name(node, (*key, "format"), "format", ("auto", *FORMATS))
    backend = node_at(root, "backend")
    models = _models(backend.value if backend and isinstance(backend.value, str) else "torchvision")
    if backend is not None:
        from cvtune.backends import backend_names

        problems += _unknown_name(backend, ("backend",), "backend", backend_names())
    family = node_at(root, "model", "family")
    if models and family is not None and isinstance(family.value, str):
        wrong = _unknown_name(family, ("model", "family"), "family", tuple(models))
        backbone = node_at(root, "model", "backbone")
        if not wrong and backbone is not None:
            what = f"backbone for {family.value}"
            wrong = _unknown_name(backbone, ("model", "backbone"), what, tuple(models[family.value].backbones))
        problems += wrong
    return problems


def _models(backend: str) -> dict[str, ModelInfo]:
    """The backend's families; none where it is unknown or lives in another environment, which is told elsewhere."""
    from cvtune.backends import backend_names, load_backend

    if backend not in backend_names():
        return {}
    try:
        return dict(load_backend(backend).models())
    except CvtuneError:
        return {}


def _unknown_name(node: Node, key: Key, what: str, names: Sequence[str]) -> list[Problem]:
    if not isinstance(node.value, str) or node.value in names:
        return []
    message = f"unknown {what}, got {show(node)}; allowed: {', '.join(names)}{nearest(node.value, names)}"
    return [Problem(node.where, show_key(key), message, node.line)]
