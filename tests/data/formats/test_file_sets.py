"""Annotation files of a folder and their images; text of any encoding; groups; what is judged alike for all formats."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.formats.entries import Entry, Patch, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import Finders, find_files
from cvtune.data.formats.groups import join_groups
from cvtune.data.formats.texts import json_top, number, points_of, read_json, read_text, whole
from cvtune.data.formats.writing import relative_name, unique_key
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError


def test_files_lie_in_the_folder_or_else_below_it(tmp_path: Path, files: Any) -> None:
    files(tmp_path, {"deep/one/two/a.json": "", "deep/one/b.txt": "", "flat/c.json": "", "flat/below/d.json": ""})
    assert [f.name for f in find_files(tmp_path / "flat", ".json").files] == ["c.json"]
    assert [f.name for f in find_files(tmp_path / "deep", ".json").files] == ["a.json"]
    assert find_files(tmp_path / "deep", ".json").subsets == ()
    both = find_files(tmp_path, ".json")
    assert [f.name for f in both.files] == ["c.json"]
    assert find_files(tmp_path / "flat" / "c.json", ".xml").files == ()


def test_the_receipt_of_a_conversion_is_no_annotation(tmp_path: Path, files: Any) -> None:
    record = {"from": {}, "to": {}, "counts": {}, "outputs": []}
    files(tmp_path, {"receipt.json": json.dumps(record), "a.json": "{}", "of/receipt.json": "{}"})
    assert [f.name for f in find_files(tmp_path, ".json").files] == ["a.json"]
    assert [f.name for f in find_files(tmp_path / "of", ".json").files] == ["receipt.json"]


def test_images_of_one_name_are_not_mixed_up(tmp_path: Path, files: Any) -> None:
    files(tmp_path, {"images/1.jpg": (9, 9), "images/two/1.jpg": (9, 9), "a.x": "", "three/a.x": ""})
    finders = Finders(tmp_path, None, ["1.jpg", "two/1.jpg", "four/1.jpg", "three/1.jpg"])
    here = tmp_path / "a.x"
    assert finders.find("1.jpg", here) == (tmp_path / "images" / "1.jpg", "1.jpg")
    assert finders.find("two\\1.jpg", here) == (tmp_path / "images" / "two" / "1.jpg", "two/1.jpg")
    assert finders.find("four/1.jpg", here) == (None, "four/1.jpg")
    assert finders.find("1.jpg", tmp_path / "three" / "a.x") == (None, "three/1.jpg")
    # A name that no other folder holds may lie anywhere.
    assert Finders(tmp_path, None, ["four/1.jpg"]).find("four/1.jpg", here)[0] == tmp_path / "images" / "1.jpg"
    assert finders.find("/elsewhere/9.jpg", here) == (None, "9.jpg")
    assert finders.find("", here)[0] is None


@pytest.mark.parametrize(
    ("content", "text", "guessed"),
    [
        ("é".encode(), "é", False),
        ("é".encode("utf-8-sig"), "é", False),
        ("é".encode("utf-16"), "é", False),
        ("aé".encode("utf-16-be"), "aé", False),
        ("é".encode("utf-32"), "é", False),
        (b"\xe9", "é", True),
        (b"", "", False),
    ],
)
def test_text(tmp_path: Path, content: bytes, text: str, guessed: bool) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    receipt = Receipt()
    assert read_text(tmp_path / "a.txt", receipt) == text
    assert [e.code for e in receipt.events] == (["text-encoding"] if guessed else [])


def test_json_is_borne_or_its_fault_named(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": [NaN, -Infinity]}')
    assert math.isnan(read_json(file)["a"][0])
    assert json_top(file).keys == ("a",)  # type: ignore[union-attr]
    for text, message in (
        ('{"a":\n 1', r"line 2, column 3: the file ends too early"),
        ("{]", "line 1, column 2"),
        ("[" * 100_000, "not valid JSON"),
        ('"\\udc00"', "not valid JSON"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_json(file)
    file.write_bytes(b"\xff\xfea")
    with pytest.raises(DataError, match="not valid utf-16"):
        read_json(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / "none.json")
    file.write_text("[1, 2, 3, 4]")
    assert json_top(file).records == [1, 2, 3]  # type: ignore[union-attr]
    assert json_top(tmp_path) is None


def test_numbers_and_points() -> None:
    assert [number(v) for v in (1, "2.5", 3.0)] == [1, 2.5, 3]
    assert all(math.isnan(number(v)) for v in (True, None, "x", [], 10**400))
    assert [whole(v) for v in ("640", 480.0, -1, "nan", None, 1e12)] == [640, 480, 0, 0, 0, 0]
    assert np.array_equal(points_of([[1, 2], ["3", 4]]), [1, 2, 3, 4])
    assert np.isnan(points_of([[1, 2], [3]])).tolist() == [False, False, True, True]
    assert np.isnan(points_of("x")).all()


def test_names_of_written_files_stay_below_their_folder() -> None:
    names = ["a.jpg", "a.png", "b/a.jpg", "../c.jpg", "/x/d.jpg", "C:\\x\\e.jpg"]
    assert [relative_name(name) for name in names[2:]] == ["b/a.jpg", "c.jpg", "d.jpg", "e.jpg"]
    taken: set[str] = set()
    assert [unique_key(name, taken) for name in [*names[:3], "a.png"]] == ["a", "a.png", "b/a", "a.png-2"]


def test_groups_of_boxes_polygons_and_masks() -> None:
    triangle = np.array([0.0, 0, 4, 0, 4, 4])
    one = np.ones((1, 1), np.bool_)
    group = {"group_id": 1}
    shapes = [
        Shape("f shape 1", "a", polygons=(triangle,), extra=group),
        Shape("f shape 2", "a", box_xyxy=(1, 1, 2, 2), extra=group),
        Shape("f shape 3", "b", box_xyxy=(1, 1, 2, 2), extra=group),
        Shape("f shape 4", "a", patch=Patch(0, 0, one), extra=group),
        Shape("f shape 5", "a", patch=Patch(2, 1, one), extra=group),
        Shape("f shape 6", "a", fault=("shape-unknown", ""), extra=group),
    ]
    joined = join_groups(shapes)
    assert [shape.where for shape in joined] == ["f shape 1", "f shape 3", "f shape 4", "f shape 6"]
    assert len(joined[0].polygons or ()) == 2
    assert joined[2].patch is not None
    assert joined[2].patch.mask_hw.tolist() == [[True, False, False], [False, False, True]]


def test_an_image_that_two_entries_name_and_objects_that_repeat_are_noted(tmp_path: Path, files: Any) -> None:
    picture = files(tmp_path, {"a.jpg": (20, 10)}) / "a.jpg"
    shapes = [Shape("x 1", "a", box_xyxy=(1, 1, 5, 5)), Shape("x 2", "a", box_xyxy=(1, 1, 5, 5))]
    entries = [Entry("x", "a.jpg", None, picture, shapes), Entry("y", "a.jpg", (20, 10), picture, [])]
    receipt = Receipt()
    dataset = assemble(entries, alphabetical(["a", None, ""]), receipt, source=tmp_path, first_image_id=5)
    assert [i.id for i in dataset.images] == [5, 6]
    assert [e.code for e in receipt.events] == ["image-size-filled", "object-doubled", "image-doubled"]
    assert (receipt.images_in, receipt.classes_in) == (2, {"a": 2})
