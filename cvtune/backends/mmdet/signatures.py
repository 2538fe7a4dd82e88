"""What MMDetection's classes accept, read from their source: nothing is imported, so no torch is needed."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from cvtune.backends.mmdet.zoo import package_root

__all__ = ["accepts", "arguments"]


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
