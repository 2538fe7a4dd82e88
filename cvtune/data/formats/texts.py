"""Text and JSON files as labelling tools write them: any encoding, byte-order marks, NaN, mixed line ends."""

from __future__ import annotations

import codecs
import json
import math
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cvtune.data.coco import Polygon
from cvtune.errors import DataError
from cvtune.meter import tick

if TYPE_CHECKING:
    from cvtune.data.receipt import Receipt

__all__ = ["MARKS", "JsonTop", "json_top", "number", "points_of", "read_json", "read_lines", "read_text", "whole"]

# The longer marks first: UTF-32's begins like UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# JSON that is looked into, not read: the first records of a list.
LOOK_AT = 3
# Bytes; room for a photograph within a record, not for a list of all annotations.
LARGEST_RECORD = 2**26


def read_text(path: Path, receipt: Receipt | None = None, label: str | None = None) -> str:
    """A text file: in the encoding of its byte-order mark, else UTF-8 (or UTF-16 by its zeros), else Windows' Latin-1.

    Args:
        path: the file.
        receipt: where it is noted that the encoding had to be guessed.
        label: what the receipt calls the file.

    Raises:
        DataError: it cannot be read, or breaks off within a UTF-16 or UTF-32 character.
    """
    tick()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:4]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding not in {None, "utf-8-sig"}:
            raise DataError(f"{path}: not valid {encoding}: {error.reason}; write the file as UTF-8") from error
        place = error.start
    if receipt is not None:
        receipt.repair("text-encoding", label or path.name, f"byte {place} is not UTF-8; read as Latin-1")
    return content.decode("latin-1")


def read_lines(path: Path, receipt: Receipt | None = None, label: str | None = None) -> list[str]:
    """The lines of a text file, stripped, empty ones too, so that a line's number is its place plus one."""
    return [line.strip() for line in re.split(r"\r\n|\r|\n", read_text(path, receipt, label))]


def read_json(path: Path, receipt: Receipt | None = None, label: str | None = None) -> Any:
    """Decode a JSON file; NaN, Infinity and other encodings than UTF-8 are borne.

    Raises:
        DataError: it cannot be read or is no JSON: with line and column.
    """
    try:
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _json_loosely(path, read_text(path, receipt, label))


def _json_loosely(path: Path, text: str) -> Any:
    try:
        value = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be written again
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        what = "the file ends too early, it was cut short" if error.pos >= len(text.rstrip()) else error.msg
        raise DataError(f"{path}: not valid JSON at {place}: {what}; mend or export it again") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}; mend or export it again") from error
    return value


class JsonTop:
    """The top level of a JSON file: the keys of an object, or the first records of a list."""

    def __init__(self, values: Mapping[str, Any] | None, records: list[Any] | None) -> None:
        """Hold one or the other."""
        self._values = values or {}
        self.is_list = records is not None
        self.records = records or []

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of an object; none of a list."""
        return tuple(self._values)

    def first(self, key: str) -> list[Any]:
        """The first records of the list that a key holds, however long it is; none where it is no list."""
        value = self._values.get(key)
        if not isinstance(value, msgspec.Raw):
            return value[:LOOK_AT] if isinstance(value, list) else []
        try:
            return [msgspec.json.decode(raw) for raw in msgspec.json.decode(value, type=list[msgspec.Raw])[:LOOK_AT]]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []

    def get(self, key: str) -> Any:
        """The decoded value of a key; None where it is missing or too large to be one record."""
        value = self._values.get(key)
        if not isinstance(value, msgspec.Raw):
            return value
        if len(memoryview(value)) > LARGEST_RECORD:
            return None
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def json_top(path: Path) -> JsonTop | None:
    """Look into a JSON file without decoding all of it; None where it is no JSON object or list."""
    try:
        with open(path, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # ValueError: an empty file
        return None
    try:
        if content[:100].lstrip()[:1] == b"[":
            raw = msgspec.json.decode(content, type=list[msgspec.Raw])
            return JsonTop(None, [msgspec.json.decode(record) for record in raw[:LOOK_AT]])
        return JsonTop(msgspec.json.decode(content, type=dict[str, msgspec.Raw]), None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = _json_loosely(path, read_text(path))
    except DataError:
        return None
    if isinstance(value, list):
        return JsonTop(None, value[:LOOK_AT])
    return JsonTop(value, None) if isinstance(value, dict) else None


def number(value: Any) -> float:
    """A JSON or XML value as a float; NaN where it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def whole(value: Any) -> int:
    """A size in pixels, which some tools write as a float or a string; 0 where it is missing or nonsense."""
    found = number(value)
    return int(found) if 0 < found < 1e9 else 0


def points_of(value: Any) -> Polygon:
    """``[[x, y], ...]`` as a flat float64 array; what is no number, or no pair, is NaN."""
    import numpy as np  # texts are read without

    if not isinstance(value, list):
        return np.array([math.nan, math.nan])
    flat: list[float] = []
    for point in value:
        pair = point if isinstance(point, list) and len(point) == 2 else (None, None)
        flat += [number(pair[0]), number(pair[1])]
    return np.array(flat, np.float64)
