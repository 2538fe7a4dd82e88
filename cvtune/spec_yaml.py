"""YAML as a tree of nodes that know where they stand, so that every mistake can be told with its line.

Scalars stay text: what `1e-3`, `off` or `012` means is decided by the field that they are for, not by YAML 1.1, which
reads them as text, false and ten. Where no field decides (`native`, augmentations), YAML 1.2's core schema does, and
what the two versions read differently is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

from cvtune.errors import SpecError

__all__ = ["Node", "Problem", "free_value", "node_at", "parse_yaml", "show", "show_key"]

Key = tuple[str | int, ...]

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
SWITCHES = frozenset(form for word in ("yes", "no", "on", "off") for form in (word, word.capitalize(), word.upper()))
# Aliases may multiply a few lines into billions of nodes.
MOST_NODES = 100_000
_CORE = "tag:yaml.org,2002:"
_TAGS = frozenset(
    _CORE + name for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
)
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# An escape such as "\ud800", half of a surrogate pair, which no file can hold.
_HALF = re.compile("[\ud800-\udfff]")
_SHOWN = 60
# Python's limit for turning text into an integer is near 4,300 digits.
_DIGITS = 100


@dataclass(frozen=True)
class Problem:
    """One mistake: where it stands (``spec.yaml:12``), the key (``train.optmizer``, may be empty), what is wrong."""

    where: str
    key: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        """One line."""
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


@dataclass(eq=False, slots=True)
class Node:
    """A mapping, a list, a text, or None for null.

    `where` (``spec.yaml:12``) and `line` are its key's, if it has one; the line is 0 in an override.
    """

    value: dict[str, Node] | list[Node] | str | None
    where: str
    line: int = 0
    quoted: bool = False

    def child(self, part: str | int) -> Node | None:
        """The item of a list or the value of a mapping, or None."""
        if isinstance(self.value, dict):
            return self.value.get(part) if isinstance(part, str) else None
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None


def parse_yaml(text: str, source: str, key: Key = (), *, lines: bool = True) -> tuple[Node, list[Problem]]:
    """Parse one YAML document.

    Args:
        text: the document.
        source: what `where` begins with: the file's name, or ``override 'a=1'``.
        key: where the document stands in the spec.
        lines: whether `where` has a line number.

    Returns:
        The tree, and the mistakes that leave one: doubled keys (the first is kept), keys that are no text.

    Raises:
        SpecError: it is not YAML, holds several documents or unknown tags, or its aliases run wild.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark and lines else source
        what = ", ".join(part for part in (error.context, error.problem) if part)
        tab = "; indent with spaces, not with tabs" if "'\\t'" in what else ""
        raise SpecError(f"{place}: not valid YAML: {what}{tab}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise SpecError(f"{source}: the document is nested too deeply; write it flatter") from None
    builder = _Builder(source, lines)
    if root is None:
        return Node(None, source), []
    return builder.build(root, key, None), builder.problems


class _Builder:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, source: str, lines: bool) -> None:
        self.source = source
        self.lines = lines
        self.problems: list[Problem] = []
        self.count = 0
        self.open: set[int] = set()

    def build(self, node: yaml.Node, key: Key, at: yaml.Node | None) -> Node:
        """`node`, which stands at `key` and is written beside the key `at`."""
        where, line = self._where(at or node)
        self.count += 1
        if self.count > MOST_NODES or id(node) in self.open:
            raise SpecError(f"{where}: an alias (*name) makes the document endless or too large; write the values out")
        if node.tag not in _TAGS:
            raise SpecError(f"{where}: {show_key(key) or 'document'}: got the tag {node.tag}; allowed: none, remove it")
        if isinstance(node, yaml.ScalarNode):
            if _HALF.search(node.value):
                raise SpecError(f"{where}: {show_key(key) or 'document'}: got half a character, {node.value!r}")
            quoted = node.style is not None
            return Node(node.value if quoted or node.value not in NULLS else None, where, line, quoted)
        self.open.add(id(node))
        built: dict[str, Node] | list[Node]
        if isinstance(node, yaml.SequenceNode):
            built = [self.build(child, (*key, i), None) for i, child in enumerate(node.value)]
        else:
            assert isinstance(node, yaml.MappingNode)
            built = self._mapping(node, key)
        self.open.discard(id(node))
        return Node(built, where, line)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Node]:
        built: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for name, value in node.value:
            where, line = self._where(name)
            if name.tag == _CORE + "merge":
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    other = self.build(part, key, None).value
                    if not isinstance(other, dict):
                        self.problems.append(Problem(where, show_key(key), "<< takes a mapping (*name)", line))
                    else:
                        merged = {**other, **merged}
            elif not isinstance(name, yaml.ScalarNode):
                self.problems.append(Problem(where, show_key(key), "a key must be text, got a list or mapping", line))
            elif name.value in built:
                first = f", first at line {built[name.value].line}" if self.lines else ""
                message = f"the key is given twice{first}; keep one"
                self.problems.append(Problem(where, show_key((*key, name.value)), message, line))
            else:
                built[name.value] = self.build(value, (*key, name.value), name)
        return {**merged, **built}

    def _where(self, node: yaml.Node) -> tuple[str, int]:
        line = node.start_mark.line + 1
        return (f"{self.source}:{line}", line) if self.lines else (self.source, 0)


def free_value(node: Node, key: Key, problems: list[Problem]) -> Any:
    """A value that no field describes, by YAML 1.2's core schema; `problems` gets what is read in two ways."""
    if isinstance(node.value, dict):
        return {name: free_value(child, (*key, name), problems) for name, child in node.value.items()}
    if isinstance(node.value, list):
        return [free_value(child, (*key, i), problems) for i, child in enumerate(node.value)]
    text = node.value
    if text is None or node.quoted:
        return text
    if text in SWITCHES:
        meant = "true" if text.lower() in ("yes", "on") else "false"
        message = f"got {text}, which YAML 1.1 reads as {meant} and YAML 1.2 as text; write {meant} or '{text}'"
        problems.append(Problem(node.where, show_key(key), message, node.line))
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INT.fullmatch(text) and len(text) <= _DIGITS:
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if text.lower().lstrip("+-") in (".inf", ".nan") or _FLOAT.fullmatch(text):
        problems.append(Problem(node.where, show_key(key), f"got {text}; allowed: finite numbers", node.line))
    return text


def node_at(root: Node, *key: str | int) -> Node | None:
    """The node at a key, or None."""
    node: Node | None = root
    for part in key:
        node = node.child(part) if node else None
    return node


def show(node: Node) -> str:
    """What was got, for an error: on one line, and not too long."""
    if node.value is None:
        return "nothing"
    if isinstance(node.value, dict):
        return _short(f"a mapping with {', '.join(node.value) or 'no keys'}")
    if isinstance(node.value, list):
        return _short("[" + ", ".join(show(child) for child in node.value) + "]")
    if not node.quoted and _FLOAT.fullmatch(node.value):
        return node.value
    return _short(repr(node.value))


def show_key(key: Key) -> str:
    """``data.train[0].images`` from ("data", "train", 0, "images")."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 4] + " ..."
