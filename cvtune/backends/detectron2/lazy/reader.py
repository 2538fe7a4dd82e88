"""``python -m cvtune.backends.detectron2.lazy.reader FOLDER OUTPUT NAME...``: LazyConfigs as JSON, by Detectron2.

A process of its own, since reading one runs its code and imports Detectron2 and torch.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from cvtune.backends.detectron2.lazy.values import Code, to_json
from cvtune.backends.detectron2.probe import install_kernels

__all__ = ["main", "plain", "read"]


def main(argv: Sequence[str]) -> int:
    """Write {name: content} for the configs NAME below FOLDER to OUTPUT."""
    folder, output, *names = argv
    install_kernels()
    found = {name: to_json(read(Path(folder) / f"{name}.py")) for name in names}
    Path(output).write_text(json.dumps(found), encoding="utf-8")
    return 0


def read(path: Path) -> dict[str, Any]:
    """A LazyConfig as dicts, lists, scalars and Code: interpolations as they stand, `_target_`s by their names."""
    from detectron2.config import LazyConfig
    from omegaconf import OmegaConf

    found: dict[str, Any] = plain(OmegaConf.to_container(LazyConfig.load(str(path)), resolve=False))
    return found


def plain(value: Any) -> Any:
    """A value of a config without objects of Detectron2.

    Raises:
        TypeError: an object that is no class, no lambda and no shape.
    """
    from detectron2.layers import ShapeSpec
    from detectron2.utils.registry import _convert_target_to_string

    if isinstance(value, Mapping):
        items = {str(key): plain(item) for key, item in value.items() if key != "_target_"}
        if "_target_" not in value:
            return items
        target = value["_target_"]
        return {"_target_": _convert_target_to_string(target) if callable(target) else target, **items}
    if isinstance(value, ShapeSpec):
        known = {key: number for key, number in value._asdict().items() if number is not None}
        return {"_target_": "detectron2.layers.ShapeSpec", **known}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, type):
        return Code(value.__qualname__, ((value.__module__, value.__qualname__),))
    if isinstance(value, FunctionType):
        return _lambda(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a LazyConfig holds {value!r}, which cannot be written down")


def _lambda(function: FunctionType) -> Code:
    """A lambda as its source, and where the names in it come from."""
    path = inspect.getsourcefile(function) or function.__code__.co_filename
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    line = function.__code__.co_firstlineno
    (node,) = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and node.lineno == line]
    known = {name: function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__}
    return Code(ast.unparse(node), tuple((value.__module__, name) for name, value in known.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
