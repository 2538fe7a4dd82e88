"""Other meanings of the predictions' image and category ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.foreign import image_maps, map_categories
from cvtune.evaluation.why.case import Case, Reading
from cvtune.evaluation.why.overlap import first_hits

__all__ = ["IdReading", "class_readings", "image_readings"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class IdReading:
    """A meaning of ids: the rule it belongs to, what it says, how to mend it, a number for each different id."""

    rule: str
    what: str
    fix: str
    numbers: Ints
    sure: bool = False


def image_readings(case: Case) -> Iterator[IdReading]:
    """Other meanings of image ids. A `sure` one fits ids of which the ground truth knows none as they are."""
    ids = case.image_ids
    view = replace(case.truth, image_index=case.known_images)
    unknown = not any(i in case.known_images for i in ids)
    told: list[Ints] = []
    for found in image_maps(ids, view):
        numbers = _numbers(ids, found.index)
        if any(np.array_equal(numbers, other) for other in told):
            continue
        told.append(numbers)
        as_text = "written as text" in found.said
        rule = "image_ids_text" if as_text else "image_ids_file_names"
        fix = "write each prediction's image_id exactly as the ground truth writes the image's id" + (
            ", as a number" if as_text and any(isinstance(i, str) for i in ids) else ""
        )
        yield IdReading(rule, found.said.rstrip("."), fix, numbers, unknown)
    fix = "write each prediction's image_id as the ground truth's id of that image, not its position"
    if case.run is not None and set(ids) <= set(case.truth.image_index):
        numbers = _numbers(ids, case.truth.image_index)
        yield IdReading("image_ids_other", "Image ids are those of the run's own data files", fix, numbers)
    if not all(isinstance(i, int) for i in ids):
        return
    for step in (1, -1):
        numbers = np.array([case.known_images.get(i + step, 0) for i in ids], np.int64)
        yield IdReading(
            "image_ids_shifted", f"Image ids are {abs(step)} too {'low' if step > 0 else 'high'}", fix, numbers
        )
    orders: list[tuple[str, list[int]]] = [
        ("of the file", list(case.truth.listed)),
        ("of the ids", sorted(case.truth.listed)),
    ]
    names = case.truth.file_names
    if names and all(name is not None for name in names):
        ordered = sorted(range(len(names)), key=lambda k: Path(str(names[k])).name)
        orders.append(("of the file names", [k + 1 for k in ordered]))
        stems = {Path(str(name)).stem.lstrip("0"): k for k, name in enumerate(names, 1)}
        numbers = np.array([stems.get(str(i).lstrip("0"), 0) for i in ids], np.int64)
        yield IdReading("image_ids_file_names", "Image ids are the numbers of file names", fix, numbers)
    for how, order in orders:
        for first in (0, 1):
            numbers = np.array([order[i - first] if 0 <= i - first < len(order) else 0 for i in ids], np.int64)
            what = f"Image ids are positions in the order {how}, counted from {first}"
            yield IdReading("image_ids_positions", what, fix, numbers)


def class_readings(case: Case, reading: Reading) -> Iterator[IdReading]:
    """Other meanings of category ids, the simplest first; the last is whatever fits the boxes best."""
    ids = case.category_ids
    known, names = case.known_categories, case.truth.names
    n = len(names)
    fix = "write the ground truth's category ids; a framework's class index or label is turned back into the id"
    for step in (1, -1):
        if all(isinstance(i, int) for i in ids):
            numbers = np.array([known.get(i + step, 0) for i in ids], np.int64)
            what = f"Category ids are {abs(step)} too {'low' if step > 0 else 'high'}"
            yield IdReading("class_ids_shifted", what, fix + f" (here: id {'+' if step > 0 else '-'} 1)", numbers)
    view = replace(case.truth, category_index=known)
    found = map_categories(ids, view)
    if found is not None:
        shifted = "from 0" in found.said and set(known) == set(range(1, n + 1))
        text = "written as text" in found.said or "names of classes" in found.said
        rule = "class_ids_shifted" if shifted else "category_ids_text" if text else "category_ids_of_another_set"
        yield IdReading(rule, found.said.rstrip("."), fix, _numbers(ids, found.index), text)
    numbers_now = reading.classes
    for step in (1, -1):
        wrapped = np.where(numbers_now > 0, (numbers_now - 1 + step) % n + 1, 0)
        if n > 2:
            what = f"Every class is taken for the {'one before' if step > 0 else 'next'} it, in the order of the ids"
            yield IdReading("class_ids_shifted", what, fix, wrapped)
    fitted = _fitted(case, reading)
    if fitted is not None:
        yield fitted


def _numbers(ids: tuple[Any, ...], index: Any) -> Ints:
    return np.array([index.get(i, 0) for i in ids], np.int64)


def _fitted(case: Case, reading: Reading) -> IdReading | None:
    """The assignment of ids to classes, one to one, under which most boxes have their object's class."""
    if not len(case.category_ids) or len(case.category_ids) > 500:
        return None
    hit, by = first_hits(case, reading)
    if len(hit) < 5:
        return None
    n = len(case.truth.names)
    counts = np.zeros((len(case.category_ids), n + 1))
    np.add.at(counts, (case.category[by], case.truth.category[hit]), 1)
    assigned = assign(counts[:, 1:])
    numbers = np.where(assigned >= 0, assigned + 1, reading.classes)
    moved = [(k, int(m)) for k, m in enumerate(numbers) if m != reading.classes[k] and counts[k, m] > 0]
    # An id is moved on the evidence of its own boxes: most of them lie on objects of the new class.
    moved = [(k, m) for k, m in moved if counts[k, m] >= max(3, 1.5 * counts[k, reading.classes[k]])]
    if not moved:
        return None
    mended = reading.classes.copy()
    for k, m in moved:
        mended[k] = m
    examples = ", ".join(f"{case.category_ids[k]!r} is {case.truth.names[m - 1]!r}" for k, m in moved[:4])
    unknown = (reading.classes == 0).mean() > 0.3
    rule = "category_ids_of_another_set" if unknown else "class_order"
    what = f"Category ids mean other classes: {examples}" + (", ..." if len(moved) > 4 else "")
    fix = (
        "map the predictions' ids by class name to the ground truth's category ids"
        if unknown
        else ("use one order of class names in training and scoring: a framework's class index follows its own list")
    )
    return IdReading(rule, what, fix, mended)


def assign(counts: NDArray[np.float64]) -> Ints:
    """int64 [rows], a column for each row, none twice, -1 for none: swaps raise the sum of `counts` no further."""
    rows, columns = counts.shape
    chosen = np.full(rows, -1, np.int64)
    free = np.ones(columns, bool)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for flat in np.argsort(-(share + 1e-6 * counts), axis=None, kind="stable").tolist():
        row, column = divmod(flat, columns)
        if chosen[row] < 0 and free[column] and counts[row, column] > 0:
            chosen[row] = column
            free[column] = False
    improved = rows <= 100
    while improved:
        improved = False
        for a in range(rows):
            for b in range(a + 1, rows):
                i, j = chosen[a], chosen[b]
                if i >= 0 and j >= 0 and counts[a, j] + counts[b, i] > counts[a, i] + counts[b, j]:
                    chosen[a], chosen[b] = j, i
                    improved = True
    return chosen
