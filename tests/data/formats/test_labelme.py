"""LabelMe JSON: shapes, groups, masks, images, round trips."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Dataset, Rle
from cvtune.data.convert import convert
from cvtune.data.formats import detect_format, labelme
from cvtune.data.geometry import rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError


def png(*rows: str) -> str:
    stream = io.BytesIO()
    Pillow.fromarray(np.array([[c == "#" for c in row] for row in rows])).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def shape(kind: str | None, points: Any, label: Any = "a", **more: Any) -> dict[str, Any]:
    record = {"label": label, "points": points, "flags": {}, **more}
    return record if kind is None else record | {"shape_type": kind}


def document(*shapes: Any, path: Any = "x.jpg", **more: Any) -> str:
    record = {"version": "5", "shapes": list(shapes), "imagePath": path, "imageData": None}
    return json.dumps(record | {"imageHeight": 80, "imageWidth": 100} | more)


SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20]]


@pytest.mark.parametrize(
    ("record", "box", "area"),
    [
        (shape("rectangle", [[30, 40], [10, 20]]), (10, 20, 20, 20), 400),
        (shape("rectangle", SQUARE), (10, 10, 10, 10), 100),
        (shape("polygon", SQUARE), (10, 10, 10, 10), 100),
        (shape(None, SQUARE), (10, 10, 10, 10), 100),
        (shape("rotation", SQUARE), (10, 10, 10, 10), 100),
        (shape("quadrilateral", SQUARE), (10, 10, 10, 10), 100),
        (shape("circle", [[50, 40], [50, 60]]), (30, 20, 40, 40), math.pi * 400),
        (shape("mask", [[3, 4], [5, 5]], mask=png("#.#", "###")), (3, 4, 3, 2), 5),
        (shape("polygon", [[90, 10], [120, 10], [120, 20], [90, 20]]), (90, 10, 10, 10), 100),
    ],
)
def test_shapes(tmp_path: Path, read: Any, files: Any, record: Any, box: Any, area: float) -> None:
    dataset, _ = read("labelme", files(tmp_path, {"x.json": document(record)}))
    [annotation] = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx(box, abs=0.1)
    assert annotation.area == pytest.approx(area, rel=0.02)
    assert (annotation.segmentation is None) == (record.get("shape_type") == "rectangle")


@pytest.mark.parametrize(
    ("record", "code"),
    [
        *((shape(kind, SQUARE), "shape-without-area") for kind in ("point", "points", "line", "linestrip")),
        (shape("ellipse", SQUARE), "shape-unknown"),
        (shape(["x"], SQUARE), "shape-unknown"),
        (shape("polygon", SQUARE[:2]), "mask-degenerate"),
        (shape("polygon", [[1, 2], [3], "x"]), "mask-degenerate"),
        (shape("polygon", None), "mask-degenerate"),
        (shape("polygon", [[1, 2], [math.nan, 3], [3, 4]]), "mask-degenerate"),
        (shape("polygon", [[200, 2], [210, 3], [220, 90]]), "box-outside"),
        (shape("polygon", [[5, 5], [5, 6], [5, 9]]), "mask-empty"),
        (shape("rectangle", [[1, 2]]), "box-not-numeric"),
        (shape("rectangle", [[1, 2], [1, 9]]), "box-zero-area"),
        (shape("circle", [[1, 2]]), "mask-degenerate"),
        (shape("mask", [[1, 2], [3, 4]], mask="no png"), "mask-invalid"),
        (shape("mask", [[1, 2], [3, 4]]), "mask-invalid"),
        (shape("mask", [[1, 2], [3, 4]], mask=png("..")), "mask-empty"),
        (shape("polygon", SQUARE, label=None), "class-missing"),
        (shape("polygon", SQUARE, label=" "), "class-missing"),
        ("no shape", "value-malformed"),
    ],
)
def test_what_is_dropped(tmp_path: Path, read: Any, files: Any, codes: Any, record: Any, code: str) -> None:
    dataset, receipt = read("labelme", files(tmp_path, {"x.json": document(shape("polygon", SQUARE), record)}))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]
    assert receipt.events[0].where == "x.json shape 2"


def test_groups_are_one_object(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    far = [[50, 50], [60, 50], [60, 60]]
    content = document(
        shape("polygon", SQUARE, group_id=1),
        shape("polygon", far, group_id=1),
        shape("rectangle", [[70, 70], [75, 75]], group_id=1, flags={"iscrowd": True}),
        shape("polygon", far, group_id=1, label="b"),
        shape("mask", [[0, 0], [1, 0]], mask=png("##"), group_id=2),
        shape("mask", [[4, 1], [5, 1]], mask=png("##"), group_id=2),
        shape("line", far, group_id=1),
        shape("polygon", far, group_id=3, description="far", flags={"blurred": True, "cut": False}),
    )
    dataset, receipt = read("labelme", files(tmp_path, {"x.json": content}))
    assert [len(a.segmentation) for a in dataset.annotations if not isinstance(a.segmentation, Rle)] == [3, 1, 1]
    assert dataset.annotations[0].iscrowd
    assert rle_to_mask(dataset.annotations[2].segmentation).sum() == 4
    assert codes(receipt, "repair") == ["parts-joined", "parts-joined"]
    assert "with shapes 2, 3, group_id 1" in receipt.events[0].detail
    assert dataset.annotations[3].extra == {"group_id": 3, "description": "far", "flags": {"blurred": True}}


def test_what_is_only_drawn_as_points_and_lines_is_no_class(tmp_path: Path, read: Any, files: Any) -> None:
    joints = [shape("point", [[9, 9]], label="wrist"), shape("line", [[9, 9], [20, 20]], label="a")]
    files(tmp_path, {"x.json": document(shape("polygon", SQUARE), *joints)})
    dataset, receipt = read("labelme", tmp_path)
    assert [c.name for c in dataset.categories] == ["a"]
    assert receipt.classes_in["wrist"] == 1


def test_fields_of_x_anylabeling_are_kept(tmp_path: Path, read: Any, files: Any) -> None:
    said = {"score": 0.5, "difficult": True, "attributes": {"colour": "red"}}
    bare = {"score": None, "difficult": False, "attributes": {}, "kie_linking": [], "description": None, "flags": None}
    corners = [[10, 10], [30, 10], [30, 20], [10, 20]]
    files(tmp_path, {"x.json": document(shape("rectangle", corners, **said), shape("rectangle", corners, **bare))})
    dataset, _ = read("labelme", tmp_path)
    assert [a.extra for a in dataset.annotations] == [said, {}]
    assert [a.bbox_xywh for a in dataset.annotations] == [(10, 10, 20, 10)] * 2
    labelme.write(dataset, tmp_path / "out", Receipt())
    assert [a.extra for a in read("labelme", tmp_path / "out")[0].annotations] == [said, {}]


def test_images(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    small = shape("polygon", SQUARE)
    stream = io.BytesIO()
    Pillow.new("RGB", (30, 40)).save(stream, "JPEG")
    data = base64.b64encode(stream.getvalue()).decode()
    none = {"imageHeight": None, "imageWidth": None}
    content = {
        "set/one/1.json": document(small, path="1.jpg"), "set/one/1.jpg": (100, 80),
        "set/two/1.json": document(small, path="..\\two\\1.jpg"), "set/two/1.jpg": (100, 80),
        "set/two/2.json": document(small, path="C:\\photos\\2.png"), "set/two/2.jpeg": (100, 80),
        "set/two/3.json": document(small, path="gone.jpg"),
        "set/two/4.json": document(small, path="4.jpg", imageData=data, **none),
        "set/two/5.json": document(small, path=None, **none), "set/two/5.bmp": (60, 70),
        "set/two/6.json": document(small, path="6.jpg", **none),
    }  # fmt: skip
    root = files(tmp_path, content) / "set"
    assert labelme.subsets(root) == ()  # which are no splits, but may be asked for
    dataset, receipt = read("labelme", root)
    assert [(i.file_name, i.width, i.path is not None) for i in dataset.images] == [
        ("one/1.jpg", 100, True), ("two/1.jpg", 100, True), ("two/2.jpeg", 100, True), ("two/gone.jpg", 100, False),
        ("two/4.jpg", 30, False), ("two/5.bmp", 60, True),
    ]  # fmt: skip
    assert [e.where for e in receipt.events if e.kind == "drop"] == ["two/6.json"]
    assert sorted(codes(receipt, "note")) == ["image-embedded", "image-missing"]
    one, _ = read("labelme", root, subset="one")
    assert [i.file_name for i in one.images] == ["one/1.jpg"]
    with pytest.raises(DataError, match="no subset 'three'; allowed: one, two"):
        read("labelme", root, subset="three")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"shapes": [', r"x\.json: not valid JSON at line 1, column \d+: the file ends too early"),
        ('{"shapes": 5, "imagePath": ""}', "'shapes' must be a list"),
        ("[]", "none of its 1 .json files is of LabelMe"),
        ('{"shapes": [], "imagePath": "\\ud800"}', "not valid JSON"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, read: Any, files: Any, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read("labelme", files(tmp_path, {"x.json": text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32"])
def test_encodings(tmp_path: Path, read: Any, files: Any, codes: Any, encoding: str) -> None:
    text = document(shape("polygon", SQUARE, label="café")).replace("caf\\u00e9", "café").replace(", ", ",\r\n")
    dataset, receipt = read("labelme", files(tmp_path, {"x.json": text.encode(encoding)}))
    assert dataset.categories[0].name == "café"
    assert codes(receipt, "repair") == (["text-encoding"] if encoding == "latin-1" else [])


def test_a_round_trip_keeps_all(tmp_path: Path, read: Any, objects: Any, awkward: Dataset) -> None:
    receipt = Receipt()
    written = labelme.write(awkward, tmp_path / "out", receipt)
    assert [f.relative_to(tmp_path / "out").as_posix() for f in written] == ["a.json", "sub/a.json", "e.json"]
    assert sorted((e.code, e.detail.split(" ")[0]) for e in receipt.events) == [
        ("attributes-lost", "category"),
        ("images-not-written", "LabelMe"),
    ]
    assert detect_format(tmp_path / "out")[0] == "labelme"
    assert objects(read("labelme", tmp_path / "out")[0]) == objects(awkward)


@pytest.mark.real
@pytest.mark.parametrize(("folder", "images", "shapes", "kept"), [("labelme", 4, 25, 23), ("grapes", 11, 39, 39)])
def test_real_sets(
    real_data: Path, tmp_path: Path, read: Any, objects: Any, folder: str, images: int, shapes: int, kept: int
) -> None:
    path = real_data / "one_set_nine_formats" / folder
    assert detect_format(path)[0] == "labelme"
    before, receipt = read("labelme", path)
    assert (len(before.images), receipt.annotations_in, len(before.annotations)) == (images, shapes, kept)
    assert all(image.path is not None for image in before.images)
    labelme.write(before, tmp_path, Receipt())
    after, _ = read("labelme", tmp_path)
    assert objects(after) == objects(before)


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_an_image_inside_the_file_is_taken_out_by_copying(tmp_path: Path, files: Any, head: str) -> None:
    buffer = io.BytesIO()
    Pillow.new("RGB", (30, 20)).save(buffer, "PNG")
    shape = {"label": "x", "points": [[1, 2], [9, 8]], "shape_type": "rectangle"}
    data = head + base64.b64encode(buffer.getvalue()).decode()
    record = {"shapes": [shape], "imagePath": "..\\x\\a.png", "imageData": data}
    files(tmp_path / "set", {"a.json": json.dumps(record)})
    receipt = convert(tmp_path / "set", tmp_path / "out", place="copy")
    document = json.loads((tmp_path / "out/annotations.json").read_text())
    [image] = document["images"]
    assert (image["width"], image["height"]) == (30, 20)
    assert (tmp_path / "out/images" / image["file_name"]).read_bytes() == buffer.getvalue()
    assert receipt.counts["image-extracted"] == 1


def test_files_in_and_below_a_folder_are_all_read(tmp_path: Path, files: Any, read: Any) -> None:
    one = json.dumps(
        {"shapes": [shape("rectangle", [[1, 1], [5, 5]])], "imagePath": "a.jpg", "imageHeight": 9, "imageWidth": 9}
    )
    files(tmp_path, {"a.json": one, "s/a.json": one, "s/t/b.json": one})
    dataset, _ = read("labelme", tmp_path)
    assert len(dataset.images) == len(dataset.annotations) == 3
    assert labelme.subsets(tmp_path) == ()
