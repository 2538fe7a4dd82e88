"""pydantic's errors as sentences: one line a field, whatever number of union branches failed."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cvtune.errors import nearest
from cvtune.spec import Allowed, ConflictError, LackError, Spec
from cvtune.spec_yaml import SWITCHES, Key, Node, Problem, node_at, show, show_key

__all__ = ["Mistake", "allowed_at", "is_key", "known_keys", "mistakes"]

Kind = Literal["unknown", "missing", "value", "rule", "lack"]


@dataclass(frozen=True)
class Mistake:
    """A problem with what the next look at the spec needs.

    Attributes:
        kind: "rule" where fields exclude each other, "lack" where one needs another that is left out.
        key: what is wrong; of a rule and a lack, the section.
        problem: where it stands, and the sentence.
        meant: the name that an unknown key means.
        fields: of a rule, the keys without which the rest of the section can be checked.
    """

    kind: Kind
    key: Key
    problem: Problem
    meant: str | None = None
    fields: tuple[Key, ...] = ()


def mistakes(error: ValidationError, root: Node) -> Iterator[Mistake]:
    """Every field that is wrong, once.

    Args:
        error: what pydantic says of the tree's plain data.
        root: the tree.
    """
    wrong: dict[Key, list[Key]] = {}
    for record in error.errors(include_url=False, include_input=False):
        kind, location = record["type"], record["loc"]
        key, node = _locate(location, root)
        if kind == "missing":
            key = (*key, location[-1])
            message = f"missing; allowed: {allowed_at(key)}"
            yield Mistake("missing", key, _problem(node, key, message))
        elif kind == "extra_forbidden":
            yield _unknown(key, node)
        elif kind == "value_error":
            yield _rule(record["ctx"]["error"], key, node, root)
        else:
            field = key
            while field and isinstance(field[-1], int):
                field = field[:-1]
            wrong.setdefault(field, []).append(key)
    for field, keys in wrong.items():
        # A list that is wrong in one item fails as a whole in the other branches of a union, which says nothing.
        for key in dict.fromkeys([key for key in keys if key != field] or [field]):
            node = node_at(root, *key) or root
            yield Mistake("value", key, _problem(node, key, _wrong(node, key)))


def _problem(node: Node, key: Key, message: str) -> Problem:
    return Problem(node.where, show_key(key), message, node.line)


def _locate(location: Sequence[str | int], root: Node) -> tuple[Key, Node]:
    """The deepest node on the way; names of union branches and the index of a lone source are no part of it."""
    key: Key = ()
    node = root
    for part in location:
        inner = node.child(part)
        if inner is not None:
            key, node = (*key, part), inner
    return key, node


def _rule(error: ValueError, key: Key, node: Node, root: Node) -> Mistake:
    """A rule over several fields. Its message may begin with the key that it is about."""
    message = str(error)
    kind: Kind = "lack" if isinstance(error, LackError) else "rule"
    named = error.fields if isinstance(error, ConflictError) else ()
    fields = tuple((*key, *field.split(".")) for field in named)
    head, colon, rest = message.partition(": ")
    path = (*key, *head.split("."))
    if colon and head.replace(".", "").replace("_", "").isalpha() and _field(path) is not None:
        found, node = _locate(path, root)
        return Mistake(kind, key, _problem(node, found, rest), fields=fields)
    return Mistake(kind, key, _problem(node, key, message), fields=fields)


def _unknown(key: Key, node: Node) -> Mistake:
    name = str(key[-1])
    model = _model(_annotation(key[:-1]))
    fields = list(model.model_fields) if model else []
    hint = nearest(name, fields)
    elsewhere = [known for known in known_keys() if known.rsplit(".", 1)[-1] == name]
    if not hint and elsewhere:
        hint = f"; it belongs to {' or '.join(elsewhere)}"
    elif not hint and ":" in name:
        hint = "; put a blank after the colon"
    message = f"unknown key, got {name!r}; allowed: {', '.join(fields)}{hint}"
    meant = next((field for field in fields if hint == nearest(name, [field])), None) if hint else None
    return Mistake("unknown", key, _problem(node, key, message), meant)


def _wrong(node: Node, key: Key) -> str:
    message = f"got {show(node)}; allowed: {allowed_at(key)}"
    text = node.value
    choices = _choices(_annotation(key))
    if isinstance(text, str) and choices:
        message += nearest(text, choices)
    if isinstance(text, str) and not node.quoted and text in {*SWITCHES, "true", "false"}:
        message += "; this is no switch"
    if text is None and isinstance(key[-1], str):
        message += "; remove the key to leave it out"
    return message


def allowed_at(key: Key) -> str:
    """What may stand at a key of the spec, in words; at the key (), the sections."""
    found = _field(key)
    if found is None:
        return _describe(Spec)
    return _describe(found.annotation, found.metadata)


@cache
def known_keys() -> tuple[str, ...]:
    """Every dotted key of the spec; sources under ``data.train``."""

    def walk(model: type[BaseModel], prefix: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            yield prefix + name
            inner = _model(field.annotation)
            if inner and prefix + name not in ("data.val", "data.test"):
                yield from walk(inner, f"{prefix}{name}.")

    return tuple(walk(Spec, ""))


def is_key(key: Sequence[str | int]) -> bool:
    """Whether a key is one of the spec; all below `native` are."""
    return key[:1] == ["native"] or _field(tuple(key)) is not None


def _field(key: Key) -> FieldInfo | None:
    model: type[BaseModel] | None = Spec
    field = None
    for part in key:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if model else None
        model = _model(field.annotation) if field else None
    return field


def _annotation(key: Key) -> Any:
    if not key:
        return Spec
    field = _field(key)
    return field.annotation if field else None


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation: itself, optional, or the item of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model(inner))), None)


def _choices(annotation: Any) -> list[str]:
    """The words of all literals inside."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for inner in get_args(annotation) for choice in _choices(inner)]


def _describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    said = next((m.text for m in metadata if isinstance(m, Allowed)), None)
    if said is not None:
        return str(said)
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        flat = [part for m in more for part in (m.metadata if isinstance(m, FieldInfo) else [m])]
        return _describe(inner, flat)
    if origin in (Union, types.UnionType):
        parts = [_describe(part) for part in get_args(annotation)]
        return f"{', '.join(parts[:-1])} or {parts[-1]}"
    if origin is Literal:
        return ", ".join(map(str, get_args(annotation)))
    if origin is tuple:
        item = get_args(annotation)[0]
        if inner_model := _model(item):
            return f"a path, a mapping with {', '.join(inner_model.model_fields)}, or a list of them"
        return f"[{_describe(item)}, ...]"
    if model := _model(annotation):
        return f"a mapping with {', '.join(model.model_fields)}"
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + _range(metadata)
    words: Mapping[Any, str] = {bool: "true, false", type(None): "null", str: "text", Path: "a path"}
    return words.get(annotation, "a mapping")


def _range(metadata: Sequence[Any]) -> str:
    """The bounds of a number, from annotated_types' Gt, Ge, Lt, Le."""
    bounds = {
        name: getattr(m, name)
        for m in metadata
        for name in ("gt", "ge", "lt", "le")
        if getattr(m, name, None) is not None
    }
    if bounds.keys() == {"ge", "le"}:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
    return "".join(f"{' and' if i else ''} {words[name]} {value}" for i, (name, value) in enumerate(bounds.items()))
