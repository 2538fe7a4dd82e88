"""Reading a spec file: overrides applied, paths absolute, and every mistake told at once, with its line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cvtune.errors import DataError, SpecError, UnsupportedError, nearest
from cvtune.spec import Spec, weights_kind
from cvtune.spec_names import check_names
from cvtune.spec_overrides import apply_overrides
from cvtune.spec_paths import resolve_paths
from cvtune.spec_problems import Mistake, allowed_at, is_key, mistakes
from cvtune.spec_yaml import Key, Node, Problem, free_value, node_at, parse_yaml, show

__all__ = ["check_spec", "errors_with_lines", "load_spec", "spec_hash", "spec_to_json"]

# Parts that no field describes: their values follow YAML's own rules.
FREE = (("native",), ("data", "augment"))
# A second look finds what the first could not see behind a mistake; each look removes one, so few are needed.
MOST_LOOKS = 10
_NAMED = re.compile(r"(\w+(?:\.\w+|\[\d+\])*): ")


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """Read a spec file.

    Values are read as their field wants them: ``lr: 1e-3`` is a number, a class named ``no`` is text, ``yes`` is true
    where a field is a switch. In `native` and augmentations, where no field says so, a bare yes, no, on or off is an
    error. Relative paths (data.*.annotations, data.*.images, model.weights) start from the file's folder, those of
    overrides too; ``$NAME``, ``${NAME}`` and ``~`` in them are expanded. A section that is left empty is left out.

    Args:
        path: a YAML file (JSON is YAML).
        overrides: ``KEY=VALUE`` texts; KEY is dotted, ``.0`` or ``[0]`` is an item of a list; VALUE is YAML.

    Raises:
        SpecError: one line for each mistake: where, key, what was got, what is allowed, and the nearest name.
    """
    spec, problems = _read(Path(path), overrides)
    if problems:
        raise SpecError("\n".join(map(str, problems)))
    assert spec is not None
    return spec


def check_spec(path: str | Path, overrides: Sequence[str] = ()) -> list[Problem]:
    """Every mistake of a spec file, in the order of its lines; overrides come last.

    Raises:
        SpecError: the file cannot be read at all, or is not YAML.
    """
    return _read(Path(path), overrides)[1]


@contextlib.contextmanager
def errors_with_lines(path: str | Path, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Put the place in the file before errors of a spec's use, such as ``data.classes: 'x' is not in the data``.

    Raises:
        SpecError, DataError, UnsupportedError: those of the block, each line that begins with a key of the spec with
            ``spec.yaml:7: `` before it; the file alone where the key is not written there.
    """
    try:
        yield
    except (SpecError, DataError, UnsupportedError) as error:
        try:
            root, _ = _tree(Path(path), overrides)
        except SpecError:  # the file is no longer what it was
            raise error from None
        lines = [_placed(line, root) for line in str(error).splitlines()]
        raise type(error)("\n".join(lines)) from error


def _placed(line: str, root: Node) -> str:
    named = _NAMED.match(line)
    key = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", named[1])] if named else []
    if not is_key(key):
        return line
    node = root
    for part in key:
        node = node.child(part) or node
    return f"{node.where}: {line}"


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """The whole spec, defaults included, in JSON types; ``Spec.model_validate`` reads it back."""
    return spec.model_dump(mode="json")


def spec_hash(spec: Spec) -> str:
    """First 16 hex digits of the SHA-256 over what decides the run's outcome.

    Left out: `name`; `run` (a run may go on elsewhere); data.*.annotations, data.*.images, and model.weights where it
    is a path, since data and weights may move. The data's classes are watched by the class lock.
    """
    record = spec_to_json(spec)
    del record["name"], record["run"]
    for split in ("train", "val", "test"):
        for source in record["data"][split]:
            del source["annotations"], source["images"]
    if weights_kind(spec.model.weights) == "path":
        record["model"]["weights"] = "a path"
    return hashlib.sha256(json.dumps(record, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def _read(path: Path, overrides: Sequence[str]) -> tuple[Spec | None, list[Problem]]:
    root, problems = _tree(path, overrides)
    # First, since what a misspelt key holds decides which files and names are looked up.
    misspelt, removed = _mend_keys(root)
    problems += resolve_paths(root, Path(os.path.abspath(path)).parent)
    problems += check_names(root)
    problems += _check_validation_data(root)
    problems += misspelt
    spec, found = _validate(root, removed)
    told = {(problem.where, problem.key) for problem in problems}
    problems += [problem for problem in found if (problem.where, problem.key) not in told]
    order = {id(problem): i for i, problem in enumerate(problems)}
    return None if problems else spec, sorted(
        problems, key=lambda p: (p.where.startswith("override"), p.line, order[id(p)])
    )


def _tree(path: Path, overrides: Sequence[str]) -> tuple[Node, list[Problem]]:
    """The file as a tree, overrides applied; and the keys that are given twice, the overrides that do not fit."""
    root, problems = parse_yaml(_text(path), str(path))
    if root.value is None:
        raise SpecError(f"{path}: the file holds no spec; allowed: {allowed_at(())}; `cvtune init DATASET` writes one")
    if not isinstance(root.value, dict):
        raise SpecError(f"{path}: got {show(root)} at the top; allowed: {allowed_at(())}")
    root.where, root.line = str(path), 0
    return root, problems + apply_overrides(root, overrides)


def _text(path: Path) -> str:
    if not path.exists():
        beside = [entry.name for entry in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise SpecError(
            f"{path}: no such spec file{nearest(path.name, beside)}; `cvtune init DATASET -o {path.name}` writes one"
        )
    if path.is_dir():
        raise SpecError(f"{path}: is a folder; give the spec file in it")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"{path}:{line}: not UTF-8: got the byte 0x{content[error.start]:02x}; save the file as UTF-8"
        ) from error


def _mend_keys(root: Node) -> tuple[list[Problem], set[Key]]:
    """Give misspelt keys the names that they mean, and take out those that mean none; the tree is changed.

    Returns the mistakes, and the keys that are no longer there.
    """
    problems: list[Problem] = []
    removed: set[Key] = set()
    for _ in range(MOST_LOOKS):
        try:
            Spec.model_validate(_plain(root, (), []))
        except ValidationError as error:
            unknown = [mistake for mistake in mistakes(error, root) if mistake.kind == "unknown"]
        else:
            break
        for mistake in unknown:
            problems.append(mistake.problem)
            removed.add(_take_out(mistake.key, root, mistake.meant))
        if not unknown:
            break
    return problems, removed


def _validate(root: Node, removed: set[Key]) -> tuple[Spec | None, list[Problem]]:
    """Validate; take out what is wrong and look again, since pydantic checks no rule over a section with a mistake.

    The tree and `removed`, the keys that are no longer there, are changed. Returns the spec if there was no mistake,
    and the mistakes.
    """
    problems: list[Problem] = []
    seen: set[Problem] = set()
    data = _plain(root, (), problems)
    for look in range(MOST_LOOKS):
        try:
            spec = Spec.model_validate(data)
        except ValidationError as error:
            found = list(mistakes(error, root))
        else:
            return (None if look or problems else spec), problems
        new = [mistake for mistake in found if mistake.problem not in seen and not _follows(mistake, removed)]
        problems += [mistake.problem for mistake in new]
        for mistake in found:
            seen.add(mistake.problem)
            if mistake.kind != "missing":
                removed |= {_take_out(key, root, mistake.meant) for key in mistake.fields or (mistake.key,)}
        data = _plain(root, (), [])
        if not new:
            break
    return None, problems


def _follows(mistake: Mistake, removed: set[Key]) -> bool:
    """Whether a mistake is only there because another one was taken out."""
    if mistake.kind == "missing":
        return mistake.key in removed
    return mistake.kind == "lack" and any(key[:-1] == mistake.key for key in removed)


def _take_out(key: Key, root: Node, meant: str | None = None) -> Key:
    """Remove what is wrong from the tree; a misspelt key gets its right name, so that its value is checked too."""
    while key and isinstance(key[-1], int):
        key = key[:-1]
    parent = node_at(root, *key[:-1])
    if key and parent is not None and isinstance(parent.value, dict):
        node = parent.value.pop(str(key[-1]), None)
        if meant and node is not None:
            parent.value.setdefault(meant, node)
    return key


def _plain(node: Node, key: Key, problems: list[Problem]) -> Any:
    """The tree as plain data: texts, None, lists and dicts; by YAML's rules where no field decides."""
    if key in FREE:
        # An empty `native:` is left out; a text in its place is told by the field's own check.
        return free_value(node, key, problems)
    if isinstance(node.value, dict):
        return {
            name: _plain(child, (*key, name), problems)
            for name, child in node.value.items()
            if not (child.value is None and (*key, name) in _SECTIONS)
        }
    if isinstance(node.value, list):
        return [_plain(child, (*key, i), problems) for i, child in enumerate(node.value)]
    return node.value


_SECTIONS: frozenset[Key] = frozenset(
    {
        ("train",),
        ("eval",),
        ("run",),
        ("native",),
        ("train", "optimizer"),
        ("train", "schedule"),
        ("train", "checkpoint"),
    }
    | {("data", "val"), ("data", "test")}
)
"""Sections that may be left empty, such as a `train:` whose keys are all commented out."""


def _check_validation_data(root: Node) -> list[Problem]:
    data = node_at(root, "data")
    if data is None or not isinstance(data.value, dict) or "train" not in data.value:
        return []
    given = {name: node for name, node in data.value.items() if node.value not in (None, [])}
    if "val" in given and "split" in given:
        node = given["split"]
        message = "takes validation images out of data.train, but data.val gives some; remove one of them"
        return [Problem(node.where, "data.split", message, node.line)]
    if "val" in given or "split" in given:
        return []
    message = "missing; give validation data, or `split: {val: 0.15}` in data, which takes them out of data.train"
    return [Problem(data.where, "data.val", message, data.line)]
