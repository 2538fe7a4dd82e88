"""The paths in a spec: variables and ~ expanded, made absolute from the spec's folder, looked up on the disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cvtune.errors import nearest
from cvtune.spec import weights_kind
from cvtune.spec_yaml import Key, Node, Problem, node_at, show_key

__all__ = ["resolve_paths", "sources"]

# A folder of a million images must not make a hint slow.
MOST_NAMES = 5000
SPLITS = ("train", "val", "test")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_KEYWORDS = ("coco", "imagenet", "none")


def resolve_paths(root: Node, folder: Path) -> list[Problem]:
    """Make every path in the tree absolute, in place; what is not there is a problem.

    Args:
        root: the spec's tree.
        folder: the folder of the spec file.
    """
    problems: list[Problem] = []
    for key, source in sources(root):
        if isinstance(source.value, str):
            _resolve(source, key, folder, "file or folder", problems)
        elif isinstance(source.value, dict):
            for name, wanted in (("annotations", "file or folder"), ("images", "folder")):
                if (node := source.value.get(name)) is not None and isinstance(node.value, str):
                    _resolve(node, (*key, name), folder, wanted, problems)
    weights = node_at(root, "model", "weights")
    if (
        weights is not None
        and isinstance(weights.value, str)
        and weights.value
        and weights_kind(weights.value) == "path"
    ):
        _resolve(weights, ("model", "weights"), folder, "file", problems)
    return problems


def sources(root: Node) -> Iterator[tuple[Key, Node]]:
    """Every source of data.train, data.val and data.test with its key."""
    for split in SPLITS:
        node = node_at(root, "data", split)
        if node is None:
            continue
        if isinstance(node.value, list):
            yield from ((("data", split, i), child) for i, child in enumerate(node.value))
        elif node.value is not None:
            yield ("data", split), node


def _resolve(node: Node, key: Key, folder: Path, wanted: str, problems: list[Problem]) -> None:
    assert isinstance(node.value, str)
    written = node.value
    unset = [name for name in _names(written) if name not in os.environ]
    if not written.strip():
        message = f"got an empty path; allowed: a {wanted}"
    elif unset:
        message = f"got {written!r}, but the environment variable {unset[0]} is not set; set it, or write the path out"
    else:
        expanded = os.path.expanduser(_VARIABLE.sub(lambda match: os.environ[match[1] or match[2]], written))
        path = Path(os.path.abspath(folder / expanded))
        node.value = str(path)
        # os.path answers no where pathlib raises: names that are too long, folders that may not be entered.
        there = os.path.exists(path)
        if {"file": os.path.isfile, "folder": os.path.isdir}.get(wanted, os.path.exists)(path):
            return
        if there:
            message = f"got {written!r}, which is a {'folder' if os.path.isdir(path) else 'file'}; allowed: a {wanted}"
        else:
            message = f"no such {wanted}, got {written!r}{_place(path, expanded)}{_hint(path, written, key)}"
    problems.append(Problem(node.where, show_key(key), message, node.line))


def _names(text: str) -> list[str]:
    return [match[1] or match[2] for match in _VARIABLE.finditer(text)]


def _place(path: Path, expanded: str) -> str:
    """Where it was looked for, if that is not what was written."""
    return "" if str(path) == expanded else f" ({path})"


def _hint(path: Path, written: str, key: Key) -> str:
    if key == ("model", "weights"):
        if "/" not in written and (close := nearest(written, _KEYWORDS)):
            return f"; allowed: {', '.join(_KEYWORDS)}, zoo:<config>, an https:// address, or a path{close}"
        return "; allowed: coco, imagenet, none, zoo:<config>, an https:// address, or a path"
    if not os.path.isabs(written) and os.path.exists(written):
        return "; a path starts from the spec file's folder, not from the current one"
    if os.path.isdir(path.parent):
        try:
            return nearest(path.name, sorted(os.listdir(path.parent))[:MOST_NAMES])
        except OSError:
            return ""
    above = next((parent for parent in path.parents if os.path.isdir(parent)), None)
    return f"; its folder does not exist either, {above} does" if above else ""
