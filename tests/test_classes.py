"""The class lock."""

from __future__ import annotations

import pytest

from cvtune.classes import ClassMap, make_class_map
from cvtune.errors import DataError


def test_source_ids_are_kept_and_mapped_to_contiguous_indices_in_source_order() -> None:
    class_map, dropped = make_class_map([(7, "dog"), (0, "cat"), ("x3", "bird")])
    assert class_map.names == ("dog", "cat", "bird")
    assert class_map.source_ids == (7, 0, "x3")
    assert class_map.index_of_source_id == {7: 0, 0: 1, "x3": 2}
    assert dropped == ()


def test_an_explicit_list_reorders_and_reports_what_it_drops() -> None:
    class_map, dropped = make_class_map([(1, "a"), (2, "b"), (3, "c")], wanted=["c", "a"])
    assert class_map.names == ("c", "a")
    assert class_map.source_ids == (3, 1)
    assert dropped == ("b",)


@pytest.mark.parametrize(
    ("categories", "wanted", "fragment"),
    [
        ([(1, "platelet"), (2, "rbc")], ["platelets"], "did you mean 'platelet'"),
        ([(1, "a"), (2, "a")], None, "'a' is the name of both id 1 and id 2"),
        ([(1, "a"), (1, "b")], None, "source id '1' occurs more than once"),
        ([], None, "empty"),
        ([(1, "a")], ["a", "a"], "name 'a' occurs more than once"),
    ],
)
def test_wrong_lists_are_refused(categories: list[tuple[int, str]], wanted: list[str] | None, fragment: str) -> None:
    with pytest.raises(DataError) as caught:
        make_class_map(categories, wanted)
    assert fragment in str(caught.value)


def test_the_hash_sees_order_ids_and_names_and_survives_json() -> None:
    base = ClassMap(("a", "b"), (1, 2))
    others = [ClassMap(("b", "a"), (2, 1)), ClassMap(("a", "b"), (1, 3)), ClassMap(("a", "B"), (1, 2))]
    assert len({base.hash, *(other.hash for other in others)}) == 4
    assert ClassMap.from_json(base.to_json()) == base
    with pytest.raises(DataError, match="does not fit"):
        ClassMap.from_json({**base.to_json(), "names": ["a", "c"]})


def test_a_mismatch_shows_both_lists() -> None:
    with pytest.raises(DataError) as caught:
        ClassMap(("a", "b"), (1, 2)).check_same(ClassMap(("b", "a"), (1, 2)), "old.pth")
    message = str(caught.value)
    assert "old.pth" in message
    assert "[1=a, 2=b]" in message
    assert "[1=b, 2=a]" in message
