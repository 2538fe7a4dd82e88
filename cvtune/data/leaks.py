"""Images that are in two splits at once, or twice in one."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from cvtune.data.coco import Image
from cvtune.data.receipt import Receipt

__all__ = ["note_leaks"]

Key = tuple[str, int]


def note_leaks(splits: Mapping[str, Sequence[Image]], receipt: Receipt) -> None:
    """Note images of one split that are also in another: the same file, or a copy under the same name.

    The keys are what the receipt calls the splits.

    Files that one split lists twice are noted too: each entry has but a part of the objects.

    Copies are told by name and length first, so that content is read of suspects alone.
    """
    files = {split: [image.path for image in images if image.path is not None] for split, images in splits.items()}
    real = {split: {os.path.realpath(path): path for path in paths} for split, paths in files.items()}
    keys = {split: {_key(path): path for path in paths if path.exists()} for split, paths in files.items()}
    for split, paths in files.items():
        listed = Counter(map(os.path.realpath, paths))
        doubled = [real[split][path].name for path, n in listed.items() if n > 1]
        if doubled:
            receipt.note("image-doubled", split, f"{len(doubled):,} files, the first: {doubled[0]}")
    for a, b in combinations(splits, 2):
        same = [real[b][path].name for path in real[a].keys() & real[b].keys()]
        same += [
            path.name
            for key in keys[a].keys() & keys[b].keys()
            if os.path.realpath(path := keys[a][key]) != os.path.realpath(keys[b][key])
            and _digest(path) == _digest(keys[b][key])
        ]
        if same:
            shown = ", ".join(sorted(same)[:3]) + (", ..." if len(same) > 3 else "")
            receipt.note("train-val-leak", f"{a} and {b}", f"{len(same):,} images: {shown}")


def _key(path: Path) -> Key:
    return path.name, path.stat().st_size


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
