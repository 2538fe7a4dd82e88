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
    init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
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
    init = (
        next((i for i in node.body if isinstance(i, ast.FunctionDef) and i.name == "__init__"), None) if node else None
    )
    if init is not None:
        given = [*init.args.posonlyargs, *init.args.args][-len(init.args.defaults) or None :]
        pairs = [
            *zip(given, init.args.defaults, strict=False),
            *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True),
        ]
        for argument, value in pairs:
            if argument.arg == name:
                return value.value if isinstance(value, ast.Constant) else None
    for base in node.bases if node and (init is None or init.args.kwarg is not None) else []:
        found = default_of(base.id, name) if isinstance(base, ast.Name) and base.id != kind else None
        if found is not None:
            return found
    return None


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


def _definition(kind: str) -> ast.ClassDef | None:
    pattern = re.compile(rf"^class {re.escape(kind)}\b", re.MULTILINE)
    for text in _sources():
        if pattern.search(text):
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef) and node.name == kind:
                    return node
    return None
