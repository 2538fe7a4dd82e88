"""Overrides of a spec: ``-s train.epochs=3``, ``-s data.train.0.images=photos``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from cvtune.errors import SpecError
from cvtune.spec_yaml import Key, Node, Problem, parse_yaml, show_key

__all__ = ["apply_overrides"]

_PART = re.compile(r"[^.\[\]]+")
_KEY = re.compile(r"[^.\[\]]+(\.[^.\[\]]+|\[\d+\])*")
_SOURCES: frozenset[Key] = frozenset({("data", "train"), ("data", "val"), ("data", "test")})


def apply_overrides(root: Node, overrides: Sequence[str]) -> list[Problem]:
    """Put each override into the tree, in order; sections that are missing are made.

    Args:
        root: the spec's tree, changed in place.
        overrides: ``KEY=VALUE``; KEY is dotted, with ``.0`` or ``[0]`` for items of lists; VALUE is YAML.

    Returns:
        What cannot be applied. That a key is unknown or a value wrong is left to the check of the whole.
    """
    problems: list[Problem] = []
    for override in overrides:
        where = f"override '{override}'"
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not _KEY.fullmatch(key):
            problems.append(Problem(where, "", "not an override; write KEY=VALUE, such as train.epochs=3"))
            continue
        parts = _PART.findall(key)
        try:
            value, inside = parse_yaml(text, where, tuple(parts), lines=False)
        except SpecError as error:
            message = f"{str(error).removeprefix(f'{where}: ')}; quote what YAML takes for its own"
            problems.append(Problem(where, "", message))
            continue
        problems += inside
        message = _set(root, parts, value, where)
        if message:
            problems.append(Problem(where, key, message))
    return problems


def _set(root: Node, parts: list[str], value: Node, where: str) -> str:
    """Put `value` at the end of `parts`; returns what is wrong, or an empty text."""
    node, key = root, cast(Key, ())
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(node.value, str) and key[:2] in _SOURCES and len(key) <= 3:
            # A bare path stands for a source with only annotations.
            node.value = {"annotations": Node(node.value, node.where, node.line, node.quoted)}
        if isinstance(node.value, dict) and key in _SOURCES and part.isdigit():
            # A lone source stands for a list of one.
            node.value = [Node(node.value, node.where, node.line)]
        if node.value is None:
            node.value = {}
        if isinstance(node.value, list):
            if not part.isdigit() or int(part) >= len(node.value):
                return f"no item {part!r} in {show_key(key)}; allowed: {_indices(len(node.value))}"
            index = int(part)
            if last:
                node.value[index] = value
            node, key = node.value[index], (*key, index)
        elif isinstance(node.value, dict):
            if last:
                node.value[part] = value
            node, key = node.value.setdefault(part, Node({}, where)), (*key, part)
        else:
            return f"{show_key(key)} is {node.value!r} and has no key {part!r}"
    return ""


def _indices(count: int) -> str:
    return "none, it is empty" if count == 0 else "0" if count == 1 else f"0 to {count - 1}"
