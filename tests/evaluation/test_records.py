"""Reading in parts, and ids that become numbers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from cvtune.evaluation import records
from cvtune.evaluation.records import decode_parts, numbered


class Row(msgspec.Struct):
    id: int
    more: Any = None


ROWS = {
    "plain": [{"id": i} for i in range(100)],
    "objects inside": [{"id": i, "more": [{"a": {}}, {"b": 1}] * (i % 7)} for i in range(50)],
    "cuts inside of strings": [{"id": i, "more": '}, {"id": 7}, {' * i} for i in range(9)],
    "brackets inside of strings": [{"id": i, "more": ["}],[{", "\\", '"'] * 3} for i in range(20)],
    "one": [{"id": 1}],
    "none": [],
}


@pytest.mark.parametrize("part", [1, 17, 100, 1 << 16])
@pytest.mark.parametrize("separators", [None, (",", ":")], ids=["spaces", "dense"])
@pytest.mark.parametrize("name", ROWS)
def test_parts_are_the_whole(name: str, separators: Any, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PART", part)
    content = b" \n" + json.dumps(ROWS[name], separators=separators).encode() + b"\n"
    rows = [row for rows in decode_parts(content, Row) for row in rows]
    assert rows == msgspec.convert(ROWS[name], list[Row])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"a": [{"id": 1}]}',
        b'[{"id": 1}, {"id": 2}',
        b'[{"id": 1}, {"id": "2"}]',
        b'[{"id": 1}] [{"id": 2}]',
        b'[{"id": 1}], {"id": 2}]',
        b'[{"id": 1}, {"id": 2}, ]',
    ],
)
def test_parts_of_what_is_no_such_list_are_refused(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PART", 1)
    with pytest.raises(msgspec.MsgspecError):
        list(decode_parts(content, Row))


@pytest.mark.parametrize(
    "keys",
    [[1, 2, 3], [0, 10**12], [-5, 7], ["a", 3, "3"], ["a"], [2**63, 4], [-(2**63), 2**63 - 1]],
    ids=str,
)
def test_numbers_of_arrays_are_those_of_lists(keys: list[Any]) -> None:
    index = {key: i for i, key in enumerate(keys, 1)}
    whole = [key for key in keys if isinstance(key, int) and -(2**63) <= key < 2**63]
    ids = [*whole, 0, 1, 2, 3, 4, -1, 10**12 - 1, 2**63 - 1, -(2**63), *whole]
    assert numbered(np.array(ids, np.int64), index).tolist() == numbered(ids, index).tolist()
