"""Reading JSON for scoring: fast and typed where the file is sound, slow and exact about the place where it is not."""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvtune.errors import DataError

__all__ = [
    "Id",
    "box_array",
    "decode_fast",
    "decode_parts",
    "field",
    "float_array",
    "id_examples",
    "no_collection",
    "numbered",
    "parse_json",
    "read_bytes",
    "records",
]

Id = int | str
T = TypeVar("T")

# Bytes that are decoded at once: few enough that what is made of them is made in memory that is already there.
PART = 1 << 16
BETWEEN = re.compile(rb"\}\s*,\s*(?=\{)")


def read_bytes(path: Path) -> bytes:
    """The content of `path`, unpacked if gzip has packed it; DataError where there is none or it cannot be read."""
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: gzip has packed it, but it is damaged: {error}") from error
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def decode_fast(content: bytes, kind: type[T]) -> T | None:
    """Decode JSON into msgspec structs, five times as fast as `json`; None where the content does not fit `kind`."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def decode_parts(content: bytes, kind: type[T]) -> Iterator[list[T]]:
    """Decode a JSON list of objects part by part, which takes two thirds of the time and half of the memory.

    It is cut where one object seems to end and another to begin. A cut that is inside of an object, or of a string,
    leaves a part that is no JSON, and the part is made longer.

    Raises:
        msgspec.MsgspecError: it is no JSON list, or an element does not fit `kind`.
    """
    decode = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]
    start, size = content.find(b"[") + 1, PART
    if not start or content[: start - 1].strip():
        raise msgspec.ValidationError("Expected a list")
    while start < len(content):
        cut = BETWEEN.search(content, start + size)
        end = cut.start() + 1 if cut else len(content)
        try:
            rows = decode(b"[" + content[start:end] + (b"]" if cut else b""))
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if not cut:
                raise
            size *= 2
            continue
        yield rows
        start, size = cut.end() if cut else len(content), PART


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python from looking for cycles among a million new objects that have none: a tenth of a scoring's time."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def parse_json(content: bytes, where: str) -> Any:
    """Decode JSON as Python does, NaN and infinity included (their place is named later); DataError if it is none.

    Lines of JSON are a list.
    """
    try:
        return json.loads(content)
    except UnicodeDecodeError:
        raise DataError(f"{where}: not JSON, but a file of bytes; write what it holds as JSON") from None
    except json.JSONDecodeError as error:
        if not content.strip():
            raise DataError(f"{where}: the file is empty; expected JSON, such as [] for no predictions") from None
        with contextlib.suppress(json.JSONDecodeError):
            return [json.loads(line) for line in content.splitlines() if line.strip()]
        raise DataError(f"{where}: not valid JSON: {error}") from error


def records(value: Any, where: str) -> list[Mapping[str, Any]]:
    """`value` as a list of JSON objects, else a DataError that names the first that is not one."""
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: expected a list of objects, got {_kind(value)}")
    for i, record in enumerate(value):
        if not isinstance(record, Mapping):
            raise DataError(f"{where}[{i}]: expected an object, got {_kind(record)}")
    return list(value)


def field(rows: Sequence[Mapping[str, Any]], key: str, where: str) -> list[Any]:
    """``[row[key] for row in rows]``; a row without the key is a DataError with its position."""
    try:
        return [row[key] for row in rows]
    except KeyError:
        at = next(i for i, row in enumerate(rows) if key not in row)
        raise DataError(f"{where}[{at}]: {key!r} is missing; got the keys {', '.join(map(str, rows[at]))}") from None


def box_array(boxes: Sequence[Any] | NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """float64 [n, 4] boxes, x y w h in pixels; a box that is not four finite numbers is a DataError."""
    if not len(boxes):
        return np.zeros((0, 4))
    array = _numeric(boxes)
    if array is None or array.shape != (len(boxes), 4):
        at = next((i for i, box in enumerate(boxes) if not _is_box(box)), 0)
        raise DataError(f"{where}[{at}].bbox: expected four numbers x, y, w, h, got {_short(boxes[at])}")
    bad = np.flatnonzero(~np.isfinite(array).all(1))
    if len(bad):
        raise DataError(
            f"{where}[{bad[0]}].bbox: not finite: {_short(boxes[bad[0]])} ({len(bad)} such); "
            "four finite numbers are needed"
        )
    return array


def float_array(values: Sequence[Any] | NDArray[np.float64], key: str, where: str) -> NDArray[np.float64]:
    """float64 [n]; a value that is not a finite number is a DataError with its position."""
    array = _numeric(values)
    if array is None or array.ndim != 1:
        at = next((i for i, value in enumerate(values) if not _is_number(value)), 0)
        raise DataError(f"{where}[{at}].{key}: expected a number, got {_short(values[at])}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise DataError(f"{where}[{bad[0]}].{key}: {array[bad[0]]} is not finite ({len(bad)} such); drop it or mend it")
    return array


def _numeric(values: Sequence[Any] | NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The values as float64, or None where some are no numbers (strings of numbers included) or lengths differ."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        return None
    return array.astype(np.float64, copy=False) if array.dtype.kind in "biuf" else None


def id_examples(ids: Sequence[Any]) -> str:
    """Up to three different ids, as they are written in Python, in order of appearance."""
    different = list(dict.fromkeys(map(repr, ids)))
    return ", ".join(different[:3]) + (", ..." if len(different) > 3 else "")


def numbered(ids: Sequence[Any] | NDArray[np.int64], index: Mapping[Id, int]) -> NDArray[np.int64]:
    """int64 [n]: the numbers of ids, 0 for those that are unknown; TypeError where one is a list or an object."""
    if not isinstance(ids, np.ndarray):
        return np.fromiter(map(index.get, ids, repeat(0)), np.int64, len(ids))
    known = sorted(key for key in index if isinstance(key, int) and -(2**63) <= key < 2**63)
    if not known:
        return np.zeros(len(ids), np.int64)
    keys = np.array(known, np.int64)
    numbers = np.array([index[key] for key in known], np.int64)
    span = known[-1] - known[0] + 1
    if span <= 4 * (len(keys) + len(ids)):  # a table of all ids between is soon made
        table = np.zeros(span + 1, np.int64)  # the last is of all ids outside
        table[keys - known[0]] = numbers
        found: NDArray[np.int64] = table[np.where((ids >= known[0]) & (ids <= known[-1]), ids - known[0], span)]
        return found
    at = np.minimum(np.searchsorted(keys, ids), len(keys) - 1)
    return np.where(keys[at] == ids, numbers[at], 0)


def _is_number(value: Any) -> bool:
    # Integers beyond 64 bits are no pixels and no scores either.
    return isinstance(value, Real | np.bool_) and not (isinstance(value, int) and abs(value) >= 2**63)


def _is_box(box: Any) -> bool:
    return isinstance(box, Sequence | np.ndarray) and len(box) == 4 and all(_is_number(value) for value in box)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with the keys {', '.join(list(map(str, value))[:5])}" if value else "an empty object"
    return f"{type(value).__name__} {_short(value)}"
