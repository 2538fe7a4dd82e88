"""The spec's `native` section: merged last into the config, every key checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cvtune.backends.mmdet.signatures import arguments
from cvtune.errors import SpecError, nearest

__all__ = ["merge_native"]

# Sections that another spec field decides.
_ELSEWHERE = {"train_dataloader.dataset.ann_file": "data.train", "load_from": "model.weights"}
_PIPELINES = frozenset({"pipeline", "switch_pipeline", "transforms"})
_NEW_SECTIONS = (
    "randomness",
    "custom_hooks",
    "custom_imports",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "compile",
)


def merge_native(
    config: Mapping[str, Any], native: Mapping[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, Any, Any]]]:
    """`config` with `native` merged into it, and (key, value before, value) of each change.

    A dict is merged key by key, everything else is replaced; a dict with another `type` is replaced whole. A number as
    a key reaches an item of a list (`native.model.roi_head.bbox_head.0`). YAML has no tuples, and transforms refuse a
    list for a size: a list in a tuple's place becomes one, and so do two whole numbers in a pipeline.

    Raises:
        SpecError: no part of the config has such a key and its class takes no such argument; the nearest key is named.
    """
    merged = copy.deepcopy(dict(config))
    changed: list[tuple[str, Any, Any]] = []
    for key, value in native.items():
        if key not in merged and key not in _NEW_SECTIONS:
            raise SpecError(f"native.{key}: unknown key; allowed: {', '.join(merged)}{nearest(key, merged)}")
        _put(merged, key, value, str(key), changed)
    return merged, changed


def _put(parent: Any, key: Any, value: Any, path: str, changed: list[tuple[str, Any, Any]]) -> None:
    if path in _ELSEWHERE:
        raise SpecError(f"native.{path}: the spec has a field for it; set {_ELSEWHERE[path]} instead")
    before = parent[key] if isinstance(parent, list) or key in parent else None
    if isinstance(before, tuple) and isinstance(value, Mapping):
        before = parent[key] = list(before)
    if isinstance(before, dict | list) and isinstance(value, Mapping) and not _other_type(before, value):
        for name, item in value.items():
            _put(before, _checked(before, name, path), item, f"{path}.{name}", changed)
        return
    new = _with_tuples(value, not _PIPELINES.isdisjoint(path.split(".")))
    if isinstance(before, tuple) and isinstance(new, list):
        new = tuple(new)
    if before != new:
        parent[key] = new
        changed.append((path, before, new))


def _other_type(before: dict[str, Any] | list[Any], value: Mapping[str, Any]) -> bool:
    return isinstance(before, dict) and "type" in value and value["type"] != before.get("type")


def _with_tuples(node: Any, in_pipeline: bool) -> Any:
    """A copy of what the spec says, with tuples where a transform takes them."""
    if isinstance(node, Mapping):
        return {key: _with_tuples(value, in_pipeline or key in _PIPELINES) for key, value in node.items()}
    if isinstance(node, list):
        if in_pipeline and len(node) == 2 and all(type(item) is int for item in node):
            return tuple(node)
        return [_with_tuples(item, in_pipeline) for item in node]
    return copy.deepcopy(node)


def _checked(node: Any, name: Any, path: str) -> Any:
    """The key or index that `name` means in `node`, if it is there or could be."""
    if isinstance(node, list):
        if str(name).isdigit() and int(name) < len(node):
            return int(name)
        raise SpecError(f"native.{path}: holds a list of {len(node)}; got {name!r}; allowed: 0 to {len(node) - 1}")
    if name in node:
        return name
    kind = node.get("type")
    allowed = arguments(str(kind)) if kind else None
    if kind is not None and (allowed is None or name in allowed):
        return name  # a class of another package checks its own arguments when it is built
    known = sorted(set(node) | set(allowed or ()))
    if kind is None and not node:
        return name
    what = f"{kind} takes no such argument" if kind else "no part of the config has this key"
    raise SpecError(f"native.{path}.{name}: {what}; allowed: {', '.join(map(str, known))}{nearest(str(name), known)}")
