"""What a LazyConfig holds besides data: classes and lambdas, kept as the text that makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Code", "from_json", "imports_of", "to_json"]

_CODE, _IMPORTS = "_code_", "_imports_"


@dataclass(frozen=True)
class Code:
    """An expression of Python, such as a class' name or a lambda, and its names as (module, name) pairs."""

    text: str
    imports: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """Return the expression: a config is written with it."""
        return self.text


def to_json(value: Any) -> Any:
    """A config of dicts, lists, scalars and Code as JSON can hold it."""
    if isinstance(value, Code):
        return {_CODE: value.text, _IMPORTS: [list(pair) for pair in value.imports]}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    return [to_json(item) for item in value] if isinstance(value, list | tuple) else value


def from_json(value: Any) -> Any:
    """What `to_json` was given; tuples come back as lists."""
    if isinstance(value, dict):
        if _CODE in value:
            return Code(value[_CODE], tuple((module, name) for module, name in value[_IMPORTS]))
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def imports_of(value: Any) -> set[tuple[str, str]]:
    """Every (module, name) that the code within a config needs."""
    if isinstance(value, Code):
        return set(value.imports)
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {pair for item in items for pair in imports_of(item)}
