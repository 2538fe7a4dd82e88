"""What MMDetection's classes accept, read from their source: nothing is imported, so no torch is needed."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cvtune.backends.mmdet.zoo import package_root

__all__ = ["accepts", "arguments", "default_of", "keeps_statistics"]


def accepts(kind: str | None, name: str) -> bool:
    """Whether a class of MMDetection takes an argument of this name; False for a class that is not its own."""
    found = arguments(str(kind))
    return found is not None and name in found


@lru_cache(maxsize=256)
def arguments(kind: str) -> frozenset[str] | None:
    """The arguments of a class by its registered name, its bases' where it passes `**kwargs` on; None: not found."""
    node = _definition(kind.split(".")[-1])
    if node is None:
        return None
    init = _init_of(node)
    names: set[str] = set()
    if init is not None:
        names |= {argument.arg for argument in (*init.args.args, *init.args.kwonlyargs)} - {"self"}
    if init is None or init.args.kwarg is not None:
        for base in node.bases:
            name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            if name != kind:
                names |= arguments(name) or frozenset()
    return frozenset(names)


@lru_cache(maxsize=256)
def default_of(kind: str, name: str) -> Any:
    """The default of an argument of a class, or of the base that it passes it on to; None where it is no constant."""
    node = _definition(kind.split(".")[-1])
    if node is None:
        return None
    init = _init_of(node)
    if init is not None:
        by_place = [one.arg for one in (*init.args.posonlyargs, *init.args.args)]
        by_name = [one.arg for one in init.args.kwonlyargs]
        defaults = dict(zip(reversed(by_place), reversed(init.args.defaults), strict=False))
        if name in by_place or name in by_name:
            value = {**defaults, **dict(zip(by_name, init.args.kw_defaults, strict=True))}.get(name)
            return value.value if isinstance(value, ast.Constant) else None
        if init.args.kwarg is None:
            return None
    found = (default_of(base.id, name) for base in node.bases if isinstance(base, ast.Name) and base.id != kind)
    return next((value for value in found if value is not None), None)


def keeps_statistics(backbone: Mapping[str, Any]) -> bool:
    """Whether a backbone's norm layers keep their statistics in training: as its config says, or else its class."""
    value = backbone.get("norm_eval")
    return bool(default_of(str(backbone.get("type")), "norm_eval") if value is None else value)


@lru_cache(maxsize=1)
def _sources() -> tuple[str, ...]:
    """The text of every module of mmdet, mmcv and mmengine."""
    root = package_root()
    texts = []
    for package in (root, root.parent / "mmcv", root.parent / "mmengine"):
        for path in sorted(package.glob("**/*.py")):
            if not {"configs", ".mim", "tests"} & set(path.relative_to(package).parts):
                texts.append(path.read_text(encoding="utf-8", errors="replace"))
    return tuple(texts)


def _init_of(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)


def _definition(kind: str) -> ast.ClassDef | None:
    pattern = re.compile(rf"^class {re.escape(kind)}\b", re.MULTILINE)
    for text in _sources():
        if pattern.search(text):
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef) and node.name == kind:
                    return node
    return None
