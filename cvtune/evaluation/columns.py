"""What a results file says, as columns: COCO results, before any of it is checked against a ground truth."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvtune.errors import DataError
from cvtune.evaluation.records import decode_parts, field, parse_json, read_bytes, records

__all__ = ["Columns", "decode_columns", "read_columns"]


@dataclass(frozen=True)
class Columns:
    """What a results file says: n values each, None where a box or a mask is not given.

    Ids, scores and boxes are arrays already where all are given and of the right type. `file_names`: those that some
    programs write beside or instead of image ids; None where not every result has one.
    """

    where: str
    image_ids: list[Any] | NDArray[np.int64]
    category_ids: list[Any] | NDArray[np.int64]
    scores: list[Any] | NDArray[np.float64]
    boxes: list[Any] | NDArray[np.float64]
    segmentations: list[Any]
    file_names: list[str] | None = None


class _Result(msgspec.Struct, gc=False, kw_only=True):
    image_id: int | str
    category_id: int | str
    score: float
    bbox: tuple[float, float, float, float] | None = None
    segmentation: msgspec.Raw = msgspec.Raw()
    file_name: str | None = None


class _Numbered(_Result, gc=False, kw_only=True):
    image_id: int
    category_id: int


def read_columns(source: Path | str | Sequence[Mapping[str, Any]]) -> Columns:
    """Read a COCO results file, or its list.

    Raises:
        DataError: it is no list of objects with the keys that are needed.
    """
    where = "predictions" if not isinstance(source, str | Path) else str(source)
    if isinstance(source, str | Path):
        content = read_bytes(Path(source))
        columns = decode_columns(content, where)
        if columns is not None:
            return columns
        source = parse_json(content, where)
    if isinstance(source, Mapping):
        keys = ", ".join(list(map(str, source))[:5])
        fix = "; its 'annotations' may be the list" if "annotations" in source else ""
        raise DataError(f"{where}: expected COCO results, a list of objects, got an object with the keys {keys}{fix}")
    rows = records(source, where)
    names: list[Any] | None = [row.get("file_name") for row in rows]
    if not rows or not all(isinstance(name, str) for name in names or ()):
        names = None
    return Columns(
        where,
        # Where no image has an id, the file names are the ids.
        names if names and not any("image_id" in row for row in rows) else field(rows, "image_id", where),
        field(rows, "category_id", where),
        field(rows, "score", where),
        [row.get("bbox") for row in rows],
        [row.get("segmentation") for row in rows],
        names,
    )


def decode_columns(content: bytes, where: str) -> Columns | None:
    """The columns of a file of COCO results; None where some of it is of another form, or wrong."""
    for kind in (_Numbered, _Result):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, OverflowError):
            return _joined([_part(rows, where) for rows in decode_parts(content, kind)], where)
    return None


def _part(rows: Sequence[_Result], where: str) -> Columns:
    images = [row.image_id for row in rows]
    categories = [row.category_id for row in rows]
    boxes: list[Any] | NDArray[np.float64] = [row.bbox for row in rows]
    with contextlib.suppress(TypeError):  # some are missing
        boxes = np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(rows)).reshape(-1, 4)
    plain = bool(rows) and isinstance(rows[0], _Numbered)
    names = [row.file_name for row in rows if row.file_name is not None]
    return Columns(
        where,
        np.array(images, np.int64) if plain else images,
        np.array(categories, np.int64) if plain else categories,
        np.array([row.score for row in rows], np.float64),
        boxes,
        [row.segmentation for row in rows],
        names if rows and len(names) == len(rows) else None,
    )


def _joined(parts: Sequence[Columns], where: str) -> Columns:
    names = [part.file_names for part in parts if part.file_names is not None]
    return Columns(
        where,
        _join([part.image_ids for part in parts]),
        _join([part.category_ids for part in parts]),
        _join([part.scores for part in parts]),
        _join([part.boxes for part in parts]),
        _join([part.segmentations for part in parts]),
        _join(names) if len(names) == len(parts) else None,
    )


def _join(columns: Sequence[list[Any] | NDArray[Any]]) -> Any:
    """One after the other: an array where all are."""
    if columns and all(isinstance(column, np.ndarray) for column in columns):
        return np.concatenate(columns)
    return list(chain.from_iterable(c.tolist() if isinstance(c, np.ndarray) else c for c in columns))
