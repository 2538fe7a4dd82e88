"""TFRecord files and the tf.train.Example messages in them, without TensorFlow.

A record is its length (8 bytes, little endian), a checksum of the length, the content, and a checksum of the content:
CRC-32C, rotated right by 15 bits, plus 0xA282EAD8. Only that of the length is checked, since it guards the framing.
An Example is Features, a map from names to lists of bytes, floats or integers, in Protocol Buffers' wire format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.errors import DataError

__all__ = ["Feature", "is_tfrecord", "masked_crc32c", "read_examples"]

Feature = list[bytes] | list[float] | list[int]
HEAD = 12
MASK = 0xA282EAD8
POLYNOMIAL = 0x82F63B78  # Castagnoli's, reversed


def is_tfrecord(path: Path) -> bool:
    """Whether a file begins with a record: a length whose checksum is right, and that the file is long enough for."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            return len(head) == HEAD and _checked_length(head) is not None
    except OSError:
        return False


def read_examples(path: Path) -> Iterator[tuple[int, dict[str, Feature]]]:
    """(1-based number, name -> values) of every record of a file.

    Raises:
        DataError: the file cannot be read, is cut short, or a record is damaged; with its number.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            number = 0
            while head := file.read(HEAD):
                number += 1
                length = _checked_length(head) if len(head) == HEAD else None
                if length is None:
                    raise DataError(f"{path}: record {number} is damaged: its length does not match its checksum")
                if length > size:
                    raise DataError(f"{path}: record {number} is cut short: {length:,} bytes are announced")
                content = file.read(length)
                if len(content) != length or len(file.read(4)) != 4:
                    raise DataError(f"{path}: the file ends within record {number}: it was cut short; copy it again")
                try:
                    yield number, _example(memoryview(content))
                except (ValueError, IndexError, struct.error, UnicodeDecodeError) as error:
                    raise DataError(f"{path}: record {number} is no tf.train.Example: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


TABLE = _table()


def masked_crc32c(content: bytes) -> int:
    """TFRecord's checksum of some bytes, 32 bits."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + MASK) & 0xFFFFFFFF


def _checked_length(head: bytes) -> int | None:
    length, crc = struct.unpack("<QI", head)
    return int(length) if crc == masked_crc32c(head[:8]) else None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, where it ends)."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("an integer has more than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a message: integers, or views of bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(kind, -1)
        if kind == 2:
            length, at = _varint(data, at)
        if length < 0 or at + length > len(data):
            raise ValueError(f"a field of wire type {kind} runs over its end")
        yield key >> 3, data[at : at + length]
        at += length


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    for field, value in _fields(data):
        if field == number:
            if not isinstance(value, memoryview):
                raise ValueError(f"field {field} is no message")
            yield value


def _example(data: memoryview) -> dict[str, Feature]:
    found: dict[str, Feature] = {}
    for features in _messages(data, 1):
        for entry in _messages(features, 1):
            name = "".join(bytes(key).decode("utf-8") for key in _messages(entry, 1))
            for feature in _messages(entry, 2):
                found[name] = _feature(feature)
    return found


def _feature(data: memoryview) -> Feature:
    """The values of a feature: field 1 is a list of bytes, 2 of floats, 3 of integers, each in a message's field 1."""
    for kind, body in _fields(data):
        if not isinstance(body, memoryview):
            raise ValueError("a feature is no list")
        if kind == 1:
            return [bytes(value) for value in _messages(body, 1)]
        if kind == 2:
            floats: list[float] = []
            for field, value in _fields(body):
                if field == 1 and isinstance(value, memoryview):
                    floats += np.frombuffer(value, "<f4").astype(float).tolist()
            return floats
        if kind == 3:
            return list(_integers(body))
    return []


def _integers(body: memoryview) -> Iterator[int]:
    for field, value in _fields(body):
        if field != 1:
            continue
        if isinstance(value, int):
            yield _signed(value)
            continue
        at = 0
        while at < len(value):
            found, at = _varint(value, at)
            yield _signed(found)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
