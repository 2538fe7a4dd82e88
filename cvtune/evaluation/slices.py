"""Parts of the images to score apart: by an attribute of theirs, or by a file that lists them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.errors import DataError, SpecError, nearest
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.records import Id, parse_json, read_bytes
from cvtune.runs import read_json

__all__ = ["BUILT_IN", "make_slices"]

MOST_VALUES = 20


def _objects(truth: GroundTruth) -> list[str]:
    counts = np.bincount(truth.image[~truth.crowd], minlength=len(truth.sizes_hw) + 1)[1:]
    steps = ((0, "none"), (1, "1"), (5, "2 to 5"), (20, "6 to 20"))
    return [next((name for most, name in steps if count <= most), "above 20") for count in counts.tolist()]


def _folder(truth: GroundTruth) -> list[str]:
    return [Path(name).parent.name if name else "" for name in truth.file_names]


def _shape(truth: GroundTruth) -> list[str]:
    return ["wide" if w > h else "tall" if h > w else "square" for h, w in truth.sizes_hw]


def _size(truth: GroundTruth) -> list[str]:
    return [f"{w} x {h}" for h, w in truth.sizes_hw]


BUILT_IN: Mapping[str, Callable[[GroundTruth], list[str]]] = {
    "folder": _folder,
    "objects": _objects,
    "shape": _shape,
    "size": _size,
}
"""Attributes that every ground truth has: name -> a value for each image."""


def make_slices(
    asked: Sequence[str],
    truth: GroundTruth,
    ground_truth: Path | None = None,
    source_ids: Mapping[Id, int] | None = None,
) -> dict[str, list[int]]:
    """Slices as image numbers.

    Args:
        asked: each a file or an attribute. A JSON file holds ``{name: [image ids or file names]}``; any other file
            lists image ids or file names, one a line, and makes two slices: those, and the others. An attribute is one
            of BUILT_IN or a key of the ground truth's images, such as ``camera``; each of its values is a slice.
        truth: the ground truth.
        ground_truth: its file, for attributes.
        source_ids: the run's source image ids -> numbers, if not the ground truth's own ids.

    Raises:
        SpecError: there is neither such a file nor such an attribute, or the attribute has more than 20 values.
        DataError: a file lists an image that the ground truth does not have.
    """
    slices: dict[str, list[int]] = {}
    for name in asked:
        path = Path(name)
        if path.is_file():
            slices |= _from_file(path, truth, source_ids)
        else:
            slices |= _from_attribute(name, truth, ground_truth)
    return slices


def _from_file(path: Path, truth: GroundTruth, source_ids: Mapping[Id, int] | None) -> dict[str, list[int]]:
    known: dict[Any, int] = {}
    names = [name or "" for name in truth.file_names]
    for short in (lambda name: Path(name).stem, lambda name: Path(name).name, lambda name: name):
        shortened = [short(name) for name in names]
        counts = Counter(shortened)
        known |= {key: i for i, key in enumerate(shortened, 1) if key and counts[key] == 1}
    ids = {**truth.image_index, **(source_ids or {})}
    known |= {str(key): number for key, number in ids.items()} | ids

    def numbers(values: Sequence[Any], where: str) -> list[int]:
        unknown = [value for value in values if not isinstance(value, Id) or value not in known]
        if unknown:
            raise DataError(
                f"{where}: {len(unknown)} of {len(values)} entries are no image of {truth.where}, such as "
                f"{unknown[0]!r}; give image ids or file names"
            )
        return [known[value] for value in values]

    if path.suffix == ".json":
        content = read_json(path)
        if not isinstance(content, dict) or not all(isinstance(values, list) for values in content.values()):
            raise DataError(f"{path}: expected an object of lists, {{name: [image ids or file names]}}")
        return {str(name): numbers(values, f"{path}: {name}") for name, values in content.items()}
    listed = numbers([line.strip() for line in path.read_text().splitlines() if line.strip()], str(path))
    others = sorted(set(range(1, len(truth.sizes_hw) + 1)) - set(listed))
    return {path.stem: listed, f"not {path.stem}": others} if others else {path.stem: listed}


def _images(ground_truth: Path) -> list[dict[str, Any]]:
    content = parse_json(read_bytes(ground_truth), str(ground_truth))
    return list(content.get("images", []))


def _from_attribute(name: str, truth: GroundTruth, ground_truth: Path | None) -> dict[str, list[int]]:
    if name in BUILT_IN:
        values: list[Any] = BUILT_IN[name](truth)
    else:
        images = _images(ground_truth) if ground_truth else []
        keys = {key for image in images for key in image} - {"id", "file_name"}
        if name not in keys:
            allowed = sorted(keys | BUILT_IN.keys())
            raise SpecError(
                f"--slice: {name!r} is neither a file nor an attribute of the images; "
                f"allowed: {', '.join(allowed)}{nearest(name, allowed)}"
            )
        by_number = {truth.image_index[image["id"]]: image.get(name) for image in images}
        values = [by_number.get(i) for i in range(1, len(truth.sizes_hw) + 1)]
    told = [value if isinstance(value, str) else json.dumps(value) for value in values]
    counts = Counter(told)
    if len(counts) > MOST_VALUES:
        raise SpecError(f"--slice: {name} has {len(counts)} different values; at most {MOST_VALUES} are scored apart")
    return {
        f"{name}: {value}": [i for i, own in enumerate(told, 1) if own == value] for value, _ in counts.most_common()
    }
