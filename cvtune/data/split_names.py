"""What the splits of a data set are called, in the names of files and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["SPLITS", "is_split", "split_words"]

SPLITS: Mapping[str, str] = MappingProxyType(
    {
        "train": "train", "training": "train", "trainval": "trainval", "val": "val", "valid": "val", "validate": "val",
        "validation": "val", "dev": "dev", "test": "test", "testing": "test",
    }
)  # fmt: skip
"""Word, in lower case -> the split that it means."""


def is_split(name: str) -> bool:
    """Whether a name is that of a split and nothing more: Train, val2017."""
    return name.lower().rstrip("0123456789") in SPLITS


def split_words(*parts: str) -> frozenset[str]:
    """The splits that occur in names of files and folders: train2017 and training_images are train."""
    words = {word for part in parts for word in re.split(r"[^a-z]+", part.lower())}
    return frozenset(SPLITS[word] for word in words & SPLITS.keys())
