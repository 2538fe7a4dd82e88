"""Weights have a layout: found by key patterns, and read off a file without torch where only the scope matters."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

__all__ = ["LAYOUTS", "find_layout", "is_foreign", "peek_layout", "peek_scope"]

# The first pattern that a file's keys match names its layout; detectors come first, since they hold a classifier.
LAYOUTS: tuple[tuple[str, str], ...] = (
    ("torchvision detector", r"^backbone\.body\.|^head\.(classification|regression)_head\."),
    ("Detectron2", r"^backbone\.bottom_up\.|^proposal_generator\.|^backbone\.fpn_(lateral|output)\d|^res[2-5]\.\d+\."),
    ("MMDetection", r"^neck\.|^bbox_head\.|^roi_head\.|^rpn_head\.|^backbone\.(layer[1-4]|stages|stem|patch_embed)\."),
    ("pycls classifier", r"^s[1-4]\.b\d+\.f\.[ab](_bn)?\."),
    ("timm", r"^conv_stem\.|^stem\.conv\.|^stages\.\d+\.blocks\.|^patch_embed\.|^s[1-4]\.b\d+\."),
    ("torchvision RegNet classifier", r"^trunk_output\."),
    ("torchvision ResNet classifier", r"^layer[1-4]\.\d+\."),
    ("torchvision features classifier", r"^features\.\d+\."),
)
_FOREIGN = {"Detectron2", "MMDetection", "pycls classifier", "timm"}


def find_layout(keys: Iterable[str]) -> str | None:
    """The layout of a state dict's keys, or None where no pattern is found."""
    listed = list(keys)
    for name, pattern in LAYOUTS:
        expression = re.compile(pattern)
        if any(expression.search(key) for key in listed):
            return name
    return None


def is_foreign(layout: str | None) -> bool:
    """Whether a layout belongs to another framework."""
    return layout in _FOREIGN


def peek_scope(path: Path) -> Literal["detector", "backbone"]:
    """What a weights file holds, from the key names in its head; a file that cannot be read counts as a detector."""
    layout = peek_layout(path)
    return "backbone" if layout is not None and layout.endswith("classifier") else "detector"


def peek_layout(path: Path) -> str | None:
    """The layout of the key names in a weights file's head; None where it cannot be read or none is found.

    Nothing is unpickled: the names stand in the file as plain text.
    """
    try:
        head = _head(Path(path))
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    # A pickled checkpoint of cvtune or of a wrapped model has the same names behind a prefix.
    return find_layout(text.decode().removeprefix("module.") for text in re.findall(rb"[A-Za-z_][\w.]{4,200}", head))


def _head(path: Path) -> bytes:
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            return " ".join(json.loads(file.read(min(length, 1 << 26)))).encode()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    return archive.read(name)
        raise ValueError("no pickle inside")
    with path.open("rb") as file:  # the old format: the pickle precedes the tensors
        return file.read(1 << 22)
