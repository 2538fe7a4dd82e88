"""What is recorded of changes to an official config: one record a key, true on both sides."""

from __future__ import annotations

from typing import Any

from cvtune.backends.edits import Edits


def records(edits: Edits) -> list[tuple[str, Any, Any, str, str]]:
    return [(one.key, one.official, one.value, one.asked_by, one.kind) for one in edits.overrides]


def test_a_list_that_is_replaced_takes_the_records_of_its_items_in() -> None:
    official = {"pipeline": [{"type": "Load", "with_seg": True}, {"type": "Flip"}]}
    edits = Edits(official)
    edits.set(("pipeline", 0, "with_seg"), False, "data.train", "data")
    edits.replace_list(("pipeline",), [{"type": "Load", "with_seg": False}], "data.augment")
    expected = [{"type": "Load", "with_seg": False}]
    assert records(edits) == [("pipeline", official["pipeline"], expected, "data.augment, data.train", "spec")]


def test_a_value_below_a_replaced_part_leaves_the_parts_record_true() -> None:
    edits = Edits({"evaluator": [{"type": "A"}, {"type": "B"}]})
    edits.set(("evaluator",), {"type": "A"}, "data.val", "data")
    edits.set(("evaluator", "file"), "val.json", "data.val", "data")
    whole, part = records(edits)
    assert whole[1:3] == ([{"type": "A"}, {"type": "B"}], {"type": "A", "file": "val.json"})
    assert part[1:3] == (None, "val.json")


def test_a_value_that_returns_to_the_official_one_is_no_change() -> None:
    edits = Edits({"model": {"depth": 50, "norm": {"type": "BN"}}})
    edits.set(("model", "depth"), 18, "model.backbone")
    edits.set(("model", "depth"), 50, "native")
    edits.set(("model", "norm", "type"), "GN", "model.norm")
    edits.set(("model", "norm"), {"type": "BN"}, "native")
    assert records(edits) == []


def test_what_was_not_there_has_no_official_value() -> None:
    edits = Edits({"model": {}})
    edits.set(("model", "neck", "channels"), 8, "native")
    edits.set(("model", "neck", "channels"), 16, "native")
    assert records(edits) == [("model.neck.channels", None, 16, "native", "spec")]
