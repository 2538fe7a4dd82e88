"""The table of formats, and telling them apart."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.coco import Dataset
from cvtune.data.formats import FORMATS, ReadSource, detect_format, load_format, read_source
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

COCO = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_offers_the_four_functions(name: str, tmp_path: Path) -> None:
    module = load_format(name)
    assert list(inspect.signature(module.detect).parameters) == ["path"]
    assert list(inspect.signature(module.subsets).parameters) == ["path"]
    assert list(inspect.signature(module.read).parameters) == ["source", "receipt"]
    assert list(inspect.signature(module.write).parameters) == ["dataset", "path", "receipt"]
    assert module.detect(tmp_path) is None


def test_an_unknown_format_and_a_missing_path() -> None:
    with pytest.raises(DataError, match=r"'cocoo' is unknown; allowed: auto, coco.*did you mean 'coco'"):
        load_format("cocoo")
    for call in (lambda p: detect_format(p), lambda p: read_source(ReadSource(p), "coco", Receipt())):
        with pytest.raises(DataError, match="nowhere: no such file or folder"):
            call(Path("nowhere"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"x.json": json.dumps(COCO)}, "coco"),
        ({"_annotations.coco.json": json.dumps(COCO)}, "coco"),
        ({"annotations/instances_default.json": json.dumps(COCO)}, "coco"),
        ({"train/_annotations.coco.json": json.dumps(COCO), "valid/_annotations.coco.json": json.dumps(COCO)}, "coco"),
        ({"a.xml": "<annotation><filename>a.jpg</filename><size/></annotation>"}, "voc"),
    ],
)
def test_content_decides(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    name, evidence = detect_format(tmp_path)
    assert name == expected
    assert evidence


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"not annotations of a known format: the folder holds nothing; known: coco, lvis, voc"),
        ({"a.jpg": "", "b.PNG": ""}, r"images alone; give the folder above, that holds their annotations too; known"),
        ({"a.json": '{"shapes": []}', "a.jpg": ""}, r"the folder holds 1 \.jpg, 1 \.json|1 \.json, 1 \.jpg"),
        (
            {"a.json": json.dumps(COCO), "a.xml": "<annotation><size/></annotation>"},
            r"several formats fit.*candidates: coco: a\.json.*voc: 1 \.xml",
        ),
    ],
)
def test_what_cannot_be_told_is_an_error_with_what_is_there(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": "", "b.json": '{"images": [], "categories": []}'}, "b.json: .*'annotations' is missing"),
        ({"a.jpg": "", "s/b.json": '{"images": [], '}, "b.json: the file ends too early"),
        ({"b.json": json.dumps({**COCO, "annotations": None})}, "b.json: 'annotations' must be a list of objects"),
        ({"a.xml": "<annotation><object>", "a.jpg": ""}, r"a\.xml: not valid XML"),
        ({"data.yaml": "train: [", "a.jpg": ""}, r"data\.yaml: not valid YAML"),
        ({"a.zip": "PK"}, "unpack the archive"),
    ],
)
def test_a_damaged_file_of_a_folder_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"images": [', "read as COCO: .*a.json"),
        ("a.json", "[]", "read as COCO: .*a list"),
        ("a.csv", "x", r"a \.csv file of 1 bytes"),
    ],
)
def test_a_single_file_that_is_none_says_why(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        detect_format(tmp_path / name)


def test_auto_reads_what_it_finds(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(COCO))
    assert read_source(ReadSource(tmp_path), "auto", Receipt()).categories[0].name == "a"


REAL = {
    "bccd": "voc",
    "nuclei": "masks",
    "fruit_nuts": "coco",
    "fruit_nuts/trainval.json": "coco",
    "one_set_nine_formats/coco1.0": "coco",
    "one_set_nine_formats/voc1.1": "voc",
    "one_set_nine_formats/labelImg": "voc",
    "one_set_nine_formats/phones/vocs": "voc",
    "one_set_nine_formats/phones": "yolo",
    "one_set_nine_formats/yolo": "yolo",
    "one_set_nine_formats/yolo1.1": "yolo",
    "one_set_nine_formats/yolo1.1/obj.data": "yolo",
    "one_set_nine_formats/labelme": "labelme",
    "one_set_nine_formats/grapes": "labelme",
    "one_set_nine_formats/grapes/1.json": "labelme",
    "one_set_nine_formats/labelme3.0": "labelme3",
    "one_set_nine_formats/cvat1.1": "cvat",
    "one_set_nine_formats/via": "via",
    "one_set_nine_formats/via/via_region_data.csv": "via",
    "one_set_nine_formats/via/via_region_data.json": "via",
    "one_set_nine_formats/CreateML": "createml",
    "one_set_nine_formats/CreateML/birds.json": "createml",
}


@pytest.mark.real
@pytest.mark.parametrize(("path", "expected"), REAL.items())
def test_real_sets_are_claimed_by_their_format_alone(real_data: Path, path: str, expected: str) -> None:
    claims = {name for name in FORMATS if load_format(name).detect(real_data / path)}
    assert claims == {expected}


@pytest.mark.real
def test_real_sets_of_no_known_format_are_not_claimed(real_data: Path) -> None:
    assert [name for name in FORMATS if load_format(name).detect(real_data / "nuclei" / "none")] == []
    assert [name for name in FORMATS if load_format(name).detect(real_data / "one_set_nine_formats" / "LICENSE")] == []


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_writes_is_claimed_by_it_alone(name: str, tmp_path: Path, awkward: Dataset) -> None:
    try:
        files = load_format(name).write(awkward, tmp_path, Receipt())
    except UnsupportedError:
        return
    assert {other for other in FORMATS if load_format(other).detect(tmp_path)} == {name}
    for file in files:
        assert {other for other in FORMATS if load_format(other).detect(file)} <= {name}


POLYGONS = ("coco", "yolo", "labelme", "cvat", "via", "label_studio", "datumaro", "lvis", "supervisely")


@pytest.mark.real
@pytest.mark.parametrize("name", POLYGONS)
def test_real_polygons_survive_every_format_that_has_some(
    real_data: Path, tmp_path: Path, read: Any, objects: Any, name: str
) -> None:
    before, _ = read("coco", real_data / "fruit_nuts")
    target = tmp_path / "a.json" if name in {"coco", "lvis"} else tmp_path
    written = Receipt()
    load_format(name).write(before, target, written)
    after, receipt = read(name, target, images=real_data / "fruit_nuts" / "images")
    assert [event for event in receipt.events if event.kind == "drop"] == []
    # The file's boxes are rounded; with a mask the other formats state none.
    assert ("box-replaced" in written.counts) == (name not in {"coco", "lvis"})
    assert [(*row[:2], row[4]) for row in objects(after)] == [(*row[:2], row[4]) for row in objects(before)]
    assert all(np.allclose(a[2], b[2], atol=1.01) for a, b in zip(objects(after), objects(before), strict=True))


@pytest.mark.real
@pytest.mark.parametrize("name", [*POLYGONS, "voc", "createml", "csv", "kitti", "imagefolder"])
def test_real_boxes_survive_every_format(real_data: Path, tmp_path: Path, read: Any, objects: Any, name: str) -> None:
    before, _ = read("voc", real_data / "bccd", subset="test")
    target = tmp_path / "a.json" if name in {"coco", "lvis"} else tmp_path
    load_format(name).write(before, target, Receipt())
    after, receipt = read(name, target, images=real_data / "bccd" / "JPEGImages")
    assert [event for event in receipt.events if event.kind == "drop"] == []
    assert objects(after) == objects(before)
