"""Receipt: sums, codes, merging, what is listed."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from cvtune.data.receipt import LISTED, REASONS, Receipt


def test_in_is_out_plus_dropped_by_class() -> None:
    receipt = Receipt()
    receipt.count_in(3, {"cat": 2, "dog": 3, None: 1})
    receipt.drop("box-zero-area", "a.xml object 1", "xmin=1", "cat")
    receipt.drop("class-missing", "a.xml object 2", "")
    receipt.drop_image("image-missing", "b.jpg", "not found", {"dog": 2})
    receipt.count_out(2, {"cat": 1, "dog": 1})
    receipt.check_sums()
    record = receipt.to_json()
    assert record["images"] == {"in": 3, "out": 2, "dropped": 1}
    assert record["annotations"] == {"in": 6, "out": 2, "dropped": 4}
    assert record["classes"] == {
        "cat": {"in": 2, "out": 1, "dropped": 1},
        "dog": {"in": 3, "out": 1, "dropped": 2},
    }
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(
    ("images_out", "classes_out", "message"),
    [
        (1, {"cat": 1}, "2 images in, but 1 out and 0 dropped"),
        (2, {}, "1 annotations of class 'cat' in, but 0 out and 0 dropped"),
        (2, {"cat": 1, "dog": 1}, "0 annotations of class 'dog' in, but 1 out"),
    ],
)
def test_sums_that_do_not_add_up_are_a_bug(images_out: int, classes_out: dict[str, int], message: str) -> None:
    receipt = Receipt()
    receipt.count_in(2, {"cat": 1})
    receipt.count_out(images_out, classes_out)
    with pytest.raises(RuntimeError, match=message):
        receipt.check_sums()


@pytest.mark.parametrize("call", ["drop", "repair", "note", "drop_image"])
def test_an_unknown_code_is_refused(call: str) -> None:
    with pytest.raises(ValueError, match="no-such-code"):
        getattr(Receipt(), call)("no-such-code", "here", "")


def test_every_code_is_kebab_case_with_a_sentence() -> None:
    for code, sentence in REASONS.items():
        assert code == code.lower().replace("_", "-").replace(".", "").replace(" ", "-")
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence[0].isdigit()


def test_repairs_are_capped_in_the_list_but_counted_and_drops_are_all_listed() -> None:
    receipt = Receipt()
    for i in range(LISTED + 5):
        receipt.repair("area-filled", f"annotation {i}", "")
        receipt.drop("box-outside", f"annotation {i}", "", "cat")
    record = receipt.to_json()
    assert record["counts"] == {"area-filled": LISTED + 5, "box-outside": LISTED + 5}
    kinds = [event["kind"] for event in record["events"]]
    assert (kinds.count("repair"), kinds.count("drop")) == (LISTED, LISTED + 5)


def test_merge_sums_counts_and_chains_events() -> None:
    one, two = Receipt(), Receipt()
    one.count_in(1, {"cat": 1})
    one.count_out(1, {"cat": 1})
    two.count_in(2, {"cat": 2})
    two.drop("box-outside", "b", "", "cat")
    two.drop_image("image-missing", "c", "", {"cat": 1})
    two.count_out(1, {})
    merged = Receipt.merge(one, two)
    merged.check_sums()
    assert (merged.images_in, merged.images_out, merged.annotations_in, merged.annotations_out) == (3, 2, 3, 1)
    assert [event.where for event in merged.events] == ["b", "c"]
    assert one.annotations_in == 1


def test_the_summary_has_the_counts_and_a_line_a_code_with_its_first_example() -> None:
    receipt = Receipt()
    receipt.count_in(2, {"cat": 3})
    receipt.note("origin-found", "set", "1-based")
    receipt.drop("box-zero-area", "a.xml object 4", "xmin=7", "cat")
    receipt.drop("box-zero-area", "b.xml object 1", "xmin=8", "cat")
    receipt.count_out(2, {"cat": 1})
    lines = receipt.summary_lines()
    assert lines[0] == "data: 2 of 2 images, 1 of 3 objects kept"
    assert lines[1].endswith("a.xml object 4: xmin=7 (and 1 more)")
    assert "origin-found" in lines[2]
    console = Console(record=True, width=200, quiet=False, file=None)
    with console.capture() as shown:
        console.print(receipt.table())
    assert "box-zero-area" in shown.get()
    assert "a.xml object 4" in shown.get()
