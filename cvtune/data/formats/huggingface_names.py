"""The names of classes in a Hugging Face data set: in its tables' schema, ``dataset_info.json`` or its card's head."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cvtune.data.formats.object_lists import CLASSES
from cvtune.data.formats.text_yaml import decode_yaml
from cvtune.data.formats.texts import read_json, read_text
from cvtune.errors import DataError

__all__ = ["class_names"]

CARD = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


def class_names(schema: Any, root: Path) -> tuple[tuple[str, ...], Path | None]:
    """(the names of the classes 0, 1, ..., the file beside the tables that has them); no names where nothing has them.

    Args:
        schema: pyarrow's, of the first table.
        root: the folder of the set.
    """
    for value, file in _documents(schema, root):
        for names in _labels(value, "", set()):
            return names, file
    return (), None


def _documents(schema: Any, root: Path) -> Iterator[tuple[Any, Path | None]]:
    """Where the features may be written down, and in which file."""
    said = (schema.metadata or {}).get(b"huggingface")
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        yield msgspec.json.decode(said or b"{}"), None
    for folder in (root, root.parent):
        stated, card = folder / "dataset_info.json", folder / "README.md"
        with contextlib.suppress(DataError):
            if stated.is_file():
                yield read_json(stated), stated
        head = CARD.match(read_text(card).replace("\r\n", "\n")) if card.is_file() else None
        with contextlib.suppress(yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
            if head is not None:
                yield decode_yaml(head[1]), card


def _labels(value: Any, key: str, seen: set[int]) -> Iterator[tuple[str, ...]]:
    """The names of every list of classes that belongs to a column with one of the usual names for it.

    The schema says ``{"category": {"names": [...], "_type": "ClassLabel"}}``, also below ``feature``; the card
    ``name: category`` with ``dtype``, ``sequence`` or ``list`` of ``class_label: {names: {"0": ...}}``. What YAML
    refers to again and again is looked into once.
    """
    if not isinstance(value, list | dict) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list):
        for item in value:
            yield from _labels(item, key, seen)
    else:
        here = value["name"] if isinstance(value.get("name"), str) else key
        label = value if value.get("_type") == "ClassLabel" else value.get("class_label")
        if isinstance(label, dict) and here.lower() in CLASSES and (names := _listed(label.get("names"))):
            yield names
        for inner, item in value.items():
            through = inner in {"feature", "dtype", "sequence", "list", "struct", "class_label"}
            yield from _labels(item, here if through else str(inner), seen)


def _listed(names: Any) -> tuple[str, ...]:
    """Names as a list, or by their numbers, which must be 0, 1, ..."""
    if isinstance(names, dict):
        by_number = {str(key): name for key, name in names.items()}
        names = [by_number.get(str(i)) for i in range(len(by_number))]
    if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
        return ()
    return tuple(str(name) for name in names)
