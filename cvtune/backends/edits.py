"""Changes to an official config, each recorded with the spec field that asked for it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

from cvtune.backends.base import Override

__all__ = ["Edits", "config_text", "delta"]

Kind = Literal["spec", "data", "host"]
Path = tuple[str | int, ...]
_ABSENT: Any = object()


class Edits:
    """A config that is being changed, and what was changed in it.

    `config` is the state so far: read it, change it through `set` and `remove` only.
    """

    def __init__(self, official: Mapping[str, Any]) -> None:
        """Start from an official config, which is left as it is."""
        self.config: dict[str, Any] = copy.deepcopy(dict(official))
        self._records: dict[Path, tuple[Any, str, Kind]] = {}
        self._official = copy.deepcopy(dict(official))

    def get(self, path: Path, default: Any = None) -> Any:
        """The value at `path`, or `default`."""
        return _at(self.config, path, default)

    def set(self, path: Path, value: Any, asked_by: str, kind: Kind = "spec") -> None:
        """Put `value` at `path`; dicts on the way are made. Nothing is recorded where it stood there already."""
        before = self.get(path, _ABSENT)
        if before is not _ABSENT and _same(before, value):
            return
        parent = self._parent(path)
        parent[path[-1]] = copy.deepcopy(value)
        self._record(path, before, value, asked_by, kind)

    def remove(self, path: Path, asked_by: str, kind: Kind = "spec") -> None:
        """Take the key at `path` away, if it is there; an item of a list goes and the rest moves up."""
        before = self.get(path, _ABSENT)
        if before is _ABSENT:
            return
        del self._parent(path)[path[-1]]
        self._record(path, before, None, asked_by, kind)

    def replace_list(self, path: Path, items: list[Any], asked_by: str, kind: Kind = "spec") -> None:
        """Put a changed list at `path`: recorded as a whole, since its items have moved."""
        before = self.get(path, _ABSENT)
        if before is not _ABSENT and _same(list(before or []), items):
            return
        self._parent(path)[path[-1]] = copy.deepcopy(items)
        self._record(path, before, items, asked_by, kind)

    @property
    def overrides(self) -> tuple[Override, ...]:
        """One record a changed key, in the order of the changes: its official value, and what stands there now."""
        return tuple(
            Override(
                ".".join(map(str, path)),
                _plain(None if before is _ABSENT else before),
                _plain(self.get(path)),
                asked_by,
                kind,
            )
            for path, (before, asked_by, kind) in self._records.items()
        )

    def _parent(self, path: Path) -> Any:
        node: Any = self.config
        for position, step in enumerate(path[:-1]):
            if isinstance(node, dict) and (step not in node or node[step] is None):
                node[step] = {}
            child = node[step]
            if isinstance(child, tuple):  # tuples cannot be changed in place
                child = node[step] = list(child)
            if not isinstance(child, dict | list):
                raise TypeError(
                    f"{'.'.join(map(str, path[: position + 1]))} holds {child!r}, no place for {path[-1]!r}"
                )
            node = child
        return node

    def _record(self, path: Path, before: Any, value: Any, asked_by: str, kind: Kind) -> None:
        """Keep one record of `path`, with the official value.

        What was recorded of its parts goes into it: beside it, it would say the same twice, by indices of before. What
        lies in a part that was replaced has no official value: it has the one that the replacement brought.
        """
        inside = [self._records.pop(one) for one in list(self._records) if _lies_in(one, path)]
        asked_by = ", ".join(dict.fromkeys([asked_by, *(one[1] for one in inside)]))
        if any(one[2] == "spec" for one in inside):
            kind = "spec"
        if not any(_lies_in(path, one) for one in self._records):
            before = _at(self._official, path, _ABSENT)
        elif path in self._records:
            before = self._records[path][0]
        if before is not _ABSENT and _same(before, value):
            self._records.pop(path, None)
            return
        self._records[path] = (before if before is _ABSENT else copy.deepcopy(before), asked_by, kind)


def _lies_in(path: Path, other: Path) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


def _at(node: Any, path: Path, default: Any) -> Any:
    """The value at `path` in `node`, or `default`."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(node, list | tuple) or step >= len(node):
                return default
        elif not isinstance(node, Mapping) or step not in node:
            return default
        node = node[step]
    return node


def _same(a: Any, b: Any) -> bool:
    """Equal, where a list and a tuple of equal items are the same; MMEngine reads either."""
    return bool(_plain(a) == _plain(b)) and isinstance(a, bool) == isinstance(b, bool)


def _plain(value: Any) -> Any:
    """JSON types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def config_text(config: Mapping[str, Any], header: str) -> str:
    """A config as a Python file that MMEngine reads: one assignment a key, literals only."""
    from pprint import pformat

    lines = [header]
    for key, value in config.items():
        lines.append(f"{key} = {pformat(value, width=116, sort_dicts=False)}\n")
    return "\n".join(lines)


def delta(official: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says beyond the official one it is based on, in MMEngine's rules of inheritance.

    A dict is merged key by key; a list is replaced; a dict that lost a key is replaced whole (`_delete_`).
    """
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if key not in official:
            changed[key] = value
            continue
        before = official[key]
        if _same(before, value):
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            lost = _loses_a_key(before, value)
            changed[key] = {"_delete_": True, **value} if lost else delta(before, value)
        elif isinstance(value, Mapping):
            changed[key] = {"_delete_": True, **value}
        else:
            changed[key] = value
    return changed


def _loses_a_key(before: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return any(key not in value for key in before)
