"""YAML of data sets: names of classes stay the texts that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cvtune.data.formats.texts import read_text
from cvtune.errors import DataError

__all__ = ["decode_yaml", "parse_yaml"]


class _TextLoader(yaml.SafeLoader):
    """YAML whose values stay text, but for null: a class may be called no, 007 or 2024-01-01."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _PlainLoader(_TextLoader):
    """Lists and mappings cannot be repeated by aliases, with which a short file says more than memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node of the file."""
        repeated = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if repeated and node is not None and not isinstance(node, yaml.ScalarNode):
            raise yaml.composer.ComposerError(None, None, "an alias of a list or mapping", node.start_mark)
        return node


def decode_yaml(text: str) -> Any:
    """The content of YAML, whose values stay text but for null; the same list may be in many places.

    Raises what yaml raises, and what it lets through: ValueError, TypeError, AttributeError, RecursionError.
    """
    return yaml.load(text, _TextLoader)


def parse_yaml(path: Path) -> Any:
    """The content of a YAML file, whose values stay text.

    Raises:
        DataError: it cannot be read, or is not valid.
    """
    try:
        return yaml.load(read_text(path), _PlainLoader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise DataError(f"{path}: not valid YAML: {message}; mend the file") from error
