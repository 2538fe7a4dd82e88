"""What MMDetection's classes accept, read from their source: nothing is imported, so no torch is needed."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cvtune.backends.mmdet.zoo import package_root

__all__ = ["accepts", "arguments", "default_of", "is_read", "keeps_statistics", "takes_tuple"]


def accepts(kind: str | None, name: str) -> bool:
    """Whether a class of MMDetection names an argument so; False for a class that is not its own."""
    return any(name in _named(maker.args) for maker in _makers(_registered(kind)))


@lru_cache(maxsize=256)
def arguments(kind: str) -> frozenset[str] | None:
    """The arguments of a class or function by its registered name, a base's where a class passes `**kwargs` on.

    None where that is not to be known: it is another package's, or its `**kwargs` go to something that it makes
    (`RandomResize` hands them to the resizing step).
    """
    found = list(_makers(_registered(kind)))
    if not found or _hands_on(found[-1]):
        return frozenset() if _classes(_registered(kind)) and not found else None
    return frozenset(name for maker in found for name in _named(maker.args))


@lru_cache(maxsize=256)
def default_of(kind: str, name: str) -> Any:
    """The default of an argument of a class, or of the base that it passes it on to; None where it is no constant."""
    for signature in (maker.args for maker in _makers(_registered(kind))):
        if name not in _named(signature):
            continue
        by_place = [one.arg for one in (*signature.posonlyargs, *signature.args)]
        by_name = [one.arg for one in signature.kwonlyargs]
        defaults = dict(zip(reversed(by_place), reversed(signature.defaults), strict=False))
        value = {**defaults, **dict(zip(by_name, signature.kw_defaults, strict=True))}.get(name)
        return None if value is None else _constant(value)
    return None


def takes_tuple(kind: str, name: str) -> bool:
    """Whether a class of MMDetection may want a tuple for an argument; True where it does not say, as for a size."""
    for signature in (maker.args for maker in _makers(_registered(kind))):
        for argument in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs):
            if argument.arg == name:
                return argument.annotation is None or _may_be_tuple(argument.annotation)
    return True


def is_read(name: str, section: str) -> bool:
    """Whether a module that knows a section of a config (`paramwise_cfg`) knows this key, too (`custom_keys`).

    Sections without a class have no signature: whoever reads them names both.
    """
    words = [re.compile(rf"\b{re.escape(word)}\b") for word in (section, name)]
    return any(all(word.search(text) for word in words) for text in _sources())


def keeps_statistics(backbone: Mapping[str, Any]) -> bool:
    """Whether a backbone's norm layers keep their statistics in training: as its config says, or else its class."""
    value = backbone.get("norm_eval")
    return bool(default_of(str(backbone.get("type")), "norm_eval") if value is None else value)


def _registered(kind: str | None) -> str:
    """The class's name without the scope that a config may give it (`mmdet.QuadraticWarmupLR`)."""
    return str(kind).split(".")[-1]


def _named(signature: ast.arguments) -> list[str]:
    every = (*signature.posonlyargs, *signature.args, *signature.kwonlyargs)
    return [argument.arg for argument in every if argument.arg != "self"]


def _makers(kind: str, nth: int = 0) -> Iterator[ast.FunctionDef]:
    """A function, or every `__init__` that making a class runs through by `**kwargs`, its own first.

    `nth`: of several of one name, which. A base of the class's own name is the one that it extends: MMCV's `Resize`.
    """
    found = _classes(kind)[nth:]
    if not found:
        return
    node, bases = found[0]
    if isinstance(node, ast.FunctionDef):
        yield node
        return
    init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    if init is not None:
        yield init
    if init is None or init.args.kwarg is not None:
        for base in bases:
            yield from _makers(base, nth + 1 if base == kind else 0)


def _hands_on(maker: ast.FunctionDef) -> bool:
    """Whether a function does something with its `**kwargs`; samplers and coders swallow theirs."""
    if maker.args.kwarg is None:
        return False
    return any(isinstance(node, ast.Name) and node.id == maker.args.kwarg.arg for node in ast.walk(maker))


@lru_cache(maxsize=512)
def _classes(kind: str) -> tuple[tuple[ast.ClassDef | ast.FunctionDef, tuple[str, ...]], ...]:
    """Every class (or function) of this name with its bases' names where they come from; MMDetection's first."""
    pattern = re.compile(rf"^(?:class|def) {re.escape(kind)}\b", re.MULTILINE)
    found = []
    for text in _sources():
        if not pattern.search(text):
            continue
        body = ast.parse(text).body
        imported = {
            alias.asname: alias.name
            for item in body
            if isinstance(item, ast.ImportFrom)
            for alias in item.names
            if alias.asname
        }
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == kind:
                given = node.bases if isinstance(node, ast.ClassDef) else []
                bases = [base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in given]
                found.append((node, tuple(imported.get(base, base) for base in bases)))
    return tuple(found)


@lru_cache(maxsize=1)
def _sources() -> tuple[str, ...]:
    """The text of every module of mmdet, mmcv and mmengine, and of torch's optimizers."""
    root = package_root()
    folders = [root, root.parent / "mmcv", root.parent / "mmengine"]
    torch = importlib.util.find_spec("torch")  # found, not imported
    folders += [Path(place) / "optim" for place in (torch.submodule_search_locations or [] if torch else [])]
    return tuple(
        path.read_text(encoding="utf-8", errors="replace")
        for folder in folders
        for path in sorted(folder.glob("**/*.py"))
        if not {"configs", ".mim", "tests"} & set(path.relative_to(folder).parts)
    )


def _constant(node: ast.expr) -> Any:
    """A literal, or `dict(...)` of literals; None for what is computed."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {one.arg: _constant(one.value) for one in node.keywords if one.arg}
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _may_be_tuple(annotation: ast.expr) -> bool:
    """Whether one of the types that an annotation lists is a tuple, or none of them is a sequence."""
    names = [ast.unparse(one).split("[")[0].split(".")[-1].lower() for one in _alternatives(annotation)]
    return "tuple" in names or not {"list", "sequence", "iterable"} & set(names)


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    """The types of `Union[...]`, `Optional[...]` and `a | b`, each alone."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("Union", "Optional"):
        inside = annotation.slice
        for one in inside.elts if isinstance(inside, ast.Tuple) else [inside]:
            yield from _alternatives(one)
    elif isinstance(annotation, ast.BinOp):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    else:
        yield annotation
