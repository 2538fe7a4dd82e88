"""The text of a COCO JSON file: decoded record by record, so that a large file needs little memory."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cvtune.errors import DataError
from cvtune.meter import tick

__all__ = ["LISTS", "LONGEST_ID", "CocoFile", "is_lvis", "open_coco"]

CHUNK = 128  # records decoded at once: their Python objects stay in the processor's cache; 4,096 took a third longer
LISTS = ("images", "annotations", "categories")
LONGEST_ID = 18  # digits that are read as a number


class CocoFile:
    """The top-level keys of a COCO file. `where` is its path, for errors.

    Nothing below the top level is decoded before it is asked for.
    """

    def __init__(self, where: str, values: Mapping[str, Any], text: mmap.mmap | None = None) -> None:
        """Hold `values`: decoded JSON, or msgspec.Raw views into `text`."""
        self.where = where
        self._values = values
        self._text = text

    def extra(self) -> dict[str, Any]:
        """What the file holds beside images, annotations and categories."""
        return {key: self._decode(value, key) for key, value in self._values.items() if key not in LISTS}

    def chunks(self, key: str) -> Iterator[list[dict[str, Any]]]:
        """The records of a list, some hundred at a time; the caller may change them.

        Of an object of records, as some sets have it, the values; a key stands in for a missing id.

        Raises:
            DataError: it is no list, or a record is no object.
        """
        records = self._values[key]
        if isinstance(records, msgspec.Raw):
            try:
                records = msgspec.json.decode(records, type=list[msgspec.Raw])
            except msgspec.ValidationError:
                records = self._decode(records, key)
        if isinstance(records, dict) and records:
            records = _listed(records)
        if not isinstance(records, list):
            raise DataError(f"{self.where}: {key!r} must be a list of objects, got {type(records).__name__}")
        for start in range(0, len(records), CHUNK):
            self._let_go()
            chunk = self._decode_all(records[start : start + CHUNK], key, start)
            for position, record in enumerate(chunk, start):
                if type(record) is not dict:
                    got = type(record).__name__
                    raise DataError(f"{self.where}: {key}[{position}] must be an object, got {got}")
            tick(len(chunk))
            yield chunk

    def is_keyed(self, key: str) -> bool:
        """Whether the records are not a list but an object, under their ids."""
        value = self._values[key]
        return memoryview(value)[:1].tobytes() == b"{" if isinstance(value, msgspec.Raw) else isinstance(value, dict)

    def _decode_all(self, records: list[Any], key: str, start: int) -> list[Any]:
        if not isinstance(records[0], msgspec.Raw):
            return records
        try:
            decoded: list[Any] = msgspec.json.decode(b"[" + b",".join(records) + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            decoded = [self._decode(record, f"{key}[{i}]") for i, record in enumerate(records, start)]
        return decoded

    def _decode(self, value: Any, key: str) -> Any:
        """Decode a Raw value: by the standard library where msgspec refuses, which allows numbers beyond float64."""
        if not isinstance(value, msgspec.Raw):
            return value
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            try:
                return json.loads(bytes(value))
            except ValueError as error:
                raise DataError(f"{self.where}: {key} is not valid JSON: {error}; write the file as UTF-8") from error

    def _let_go(self) -> None:
        """Give back the pages of the file that were read, which count as this process's memory; they return at need."""
        if self._text is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._text.madvise(mmap.MADV_DONTNEED)


def open_coco(path: Path) -> CocoFile:
    """Open a COCO file and look at its top level.

    NaN, Infinity and a byte-order mark, which are not JSON but which some tools write, are read, at the price of
    memory for the whole decoded file.

    Raises:
        DataError: no such file; no JSON (with line and byte); no object with images, annotations and categories.
    """
    where = str(path)
    try:
        with open(path, "rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise DataError(f"{where}: the file is empty; expected COCO JSON") from None
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror or error}") from error
    raw = True
    try:
        values: Any = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        kind = "a list" if text[:100].lstrip()[:1] == b"[" else "no object"
        raise DataError(
            f"{where}: not COCO annotations: the file holds {kind} at its top level (as COCO results, which are "
            "predictions, do); expected an object with 'images', 'annotations' and 'categories'"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        values, raw = _decode_loosely(text, where, error), False
    if not isinstance(values, dict):
        raise DataError(
            f"{where}: not COCO annotations: expected an object with 'images', 'annotations' and 'categories' at the "
            f"top level, got {type(values).__name__}"
        )
    missing = [repr(key) for key in LISTS if key not in values]
    if missing:
        keys = ", ".join(map(repr, list(values)[:12])) or "none"
        raise DataError(
            f"{where}: not COCO annotations: the key {', '.join(missing)} is missing; got the keys {keys}; add it, "
            "as an empty list where there is nothing"
        )
    return CocoFile(where, values, text if raw else None)


def is_lvis(file: CocoFile) -> bool:
    """Whether a file is LVIS, which is COCO with the classes' frequency and the classes that an image was checked for.

    Raises:
        DataError: images or categories are no lists of objects.
    """
    category = next((record for records in file.chunks("categories") for record in records), {})
    if "frequency" not in category:
        return False
    image = next((record for records in file.chunks("images") for record in records), {})
    return "neg_category_ids" in image or "not_exhaustive_category_ids" in image


def _listed(keyed: Mapping[str, Any]) -> Any:
    """{"7": {...}} as [{"id": 7, ...}], and names of categories {"7": "cat"} as records; else what was given."""
    ids = [int(key) if key.isdecimal() and key.isascii() and len(key) <= LONGEST_ID else key for key in keyed]
    if all(type(value) is dict for value in keyed.values()):
        return [{"id": i, **value} for i, value in zip(ids, keyed.values(), strict=True)]
    if all(type(value) is str for value in keyed.values()):
        return [{"id": i, "name": name} for i, name in zip(ids, keyed.values(), strict=True)]
    return keyed


def _decode_loosely(text: mmap.mmap, where: str, error: Exception) -> Any:
    """Decode what is JSON but for NaN, Infinity or its encoding; else raise with the place."""
    # UTF-16 and UTF-32 put zeros between Latin letters; UTF-8 JSON has none.
    loose = text[:3] == b"\xef\xbb\xbf" or b"\0" in text[:4] or text.find(b"NaN") >= 0 or text.find(b"Infinity") >= 0
    if not loose:
        raise DataError(_not_json(text, where, error)) from error
    try:
        return json.loads(text[:])
    except json.JSONDecodeError as second:
        byte = len(second.doc[: second.pos].encode())
        raise DataError(
            f"{where}: not valid JSON at line {second.lineno}, byte {byte}: {second.msg}; mend or export it again"
        ) from second
    except (UnicodeDecodeError, RecursionError) as second:
        raise DataError(f"{where}: not valid JSON: {second}; write the file as UTF-8") from second


def _not_json(text: mmap.mmap, where: str, error: Exception) -> str:
    found = re.search(r"\(byte (\d+)\)", str(error))
    byte = int(found[1]) if found else len(text)
    if isinstance(error, UnicodeDecodeError | RecursionError):
        return f"{where}: not valid JSON: {error}; write the file as UTF-8"
    line = text[:byte].count(b"\n") + 1
    reason = str(error).replace("JSON is malformed: ", "").split(" (byte")[0]
    if not found:
        return (
            f"{where}: the file ends too early, at line {line}, byte {byte}: it was cut short; copy or export it again"
        )
    return f"{where}: not valid JSON at line {line}, byte {byte}: {reason}; mend or export it again"
