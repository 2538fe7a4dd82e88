"""The spec's `native` section: merged last into the config, every key checked."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from cvtune.backends.edits import Path
from cvtune.backends.mmdet.signatures import arguments, is_read, takes_tuple
from cvtune.errors import SpecError, nearest

__all__ = ["native_changes"]

# Sections that another spec field decides.
_ELSEWHERE = {"train_dataloader.dataset.ann_file": "data.train", "load_from": "model.weights"}
_PIPELINES = frozenset({"pipeline", "switch_pipeline", "transforms"})
_FREE = ("custom_keys",)  # names of parameters: any will do
_NEW_SECTIONS = (
    "randomness",
    "custom_hooks",
    "custom_imports",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "compile",
)


def native_changes(config: Mapping[str, Any], native: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """(path, value) of everything that `native` changes in `config`.

    A dict is merged key by key, everything else is replaced; a dict with another `type` is replaced whole. A number as
    a key reaches an item of a list (`native.model.roi_head.bbox_head.0`). YAML has no tuples, and transforms refuse a
    list for a size: a list in a tuple's place becomes one, and so do two whole numbers in a pipeline, unless the step
    wants a list there (`RandomChoiceResize.scales`: two sizes to choose from).

    Raises:
        SpecError: no part of the config has such a key and its class takes no such argument; the nearest key is named.
    """
    for key, value in native.items():
        if key not in config and key not in _NEW_SECTIONS:
            raise SpecError(f"native.{key}: unknown key; allowed: {', '.join(config)}{nearest(key, config)}")
        yield from _changes(config, key, value, (key,))


def _changes(parent: Any, key: Any, value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    name = ".".join(map(str, path))
    if name in _ELSEWHERE:
        raise SpecError(f"native.{name}: the spec has a field for it; set {_ELSEWHERE[name]} instead")
    before = parent[key] if isinstance(parent, list | tuple) or key in parent else None
    if isinstance(before, dict | list | tuple) and isinstance(value, Mapping) and not _other_type(before, value):
        for inner, item in value.items():
            found = _checked(before, inner, path)
            yield from _changes(before, found, item, (*path, found))
        return
    new = _with_tuples(value, not _PIPELINES.isdisjoint(path), _takes_tuple(parent, key))
    yield path, tuple(new) if isinstance(before, tuple) and isinstance(new, list) else new


def _other_type(before: dict[str, Any] | list[Any] | tuple[Any, ...], value: Mapping[str, Any]) -> bool:
    return isinstance(before, dict) and "type" in value and value["type"] != before.get("type")


def _with_tuples(node: Any, in_pipeline: bool, allowed: bool = True) -> Any:
    """A copy of what the spec says, with tuples where a transform takes them; `allowed`: whether it takes one here."""
    if isinstance(node, Mapping):
        return {
            key: _with_tuples(value, in_pipeline or key in _PIPELINES, _takes_tuple(node, key))
            for key, value in node.items()
        }
    if isinstance(node, list):
        if in_pipeline and allowed and len(node) == 2 and all(type(item) is int for item in node):
            return tuple(node)
        return [_with_tuples(item, in_pipeline) for item in node]
    return copy.deepcopy(node)


def _takes_tuple(step: Any, key: Any) -> bool:
    return not isinstance(step, Mapping) or "type" not in step or takes_tuple(str(step["type"]), str(key))


def _checked(node: Any, name: Any, path: Path) -> Any:
    """The key or index that `name` means in `node`, if it is there or could be."""
    where = "native." + ".".join(map(str, path))
    if isinstance(node, list | tuple):
        if str(name).isdigit() and int(name) < len(node):
            return int(name)
        raise SpecError(f"{where}: holds a list of {len(node)}; got {name!r}; allowed: 0 to {len(node) - 1}")
    kind = node.get("type")
    allowed = arguments(str(kind)) if kind else frozenset()
    if name in node or allowed is None or name in allowed:
        return name  # a class of another package checks its own arguments when it is built
    sections = [part for part in path if isinstance(part, str)][-2:]
    is_class = kind is not None and str(kind)[:1].isupper()
    if not is_class and (not node or sections[-1] in _FREE or any(is_read(str(name), part) for part in sections)):
        return name
    known = sorted(map(str, {*node, *allowed}))
    what = f"{kind} takes no such argument" if kind else "no part of the config has this key"
    raise SpecError(f"{where}.{name}: {what}; allowed: {', '.join(known)}{nearest(str(name), known)}")
