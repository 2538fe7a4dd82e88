"""Label Studio: results, brushes, which annotation counts, image paths, round trips."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cvtune.data.coco import Dataset, Rle
from cvtune.data.formats import detect_format, label_studio
from cvtune.data.formats.label_studio_rle import decode_brush, encode_brush
from cvtune.data.formats.label_studio_tasks import image_names
from cvtune.data.geometry import rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

RECT = {"x": 10, "y": 25, "width": 30, "height": 50}
BOX = (20, 20, 60, 40)  # of 200 x 80 pixels
TURNED = {"x": 50, "y": 25, "width": 10, "height": 10, "rotation": 90}
ELLIPSE = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 12.5}
DIAGONAL = np.eye(80, 200, dtype=np.bool_)


def result(kind: str, value: Any, label: str | None = "a", size: bool = True, **more: Any) -> dict[str, Any]:
    sized = {"original_width": 200, "original_height": 80, "image_rotation": 0} if size else {}
    labels = {} if label is None else {f"{kind}labels": [label]}
    return {
        "type": f"{kind}labels",
        "from_name": "label",
        "to_name": "image",
        **sized,
        "value": {**value, **labels},
        **more,
    }


def task(*results: Any, image: str = "x.jpg", **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": [{"id": 1, "result": list(results)}], **more}


def png(mask: Any) -> str:
    stream = io.BytesIO()
    Pillow.fromarray(mask).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def test_a_stream_of_bits_is_decoded_as_the_format_defines_it() -> None:
    # 2 x 1 pixels = 8 values of 8 bits; sizes 3, 4, 8, 16. A run of 7 zeros, then one literal 255: the last alpha.
    bits = f"{8:032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += "1" + "00" + f"{6:03b}" + f"{0:08b}" + "0" + "01" + f"{0:04b}" + f"{255:08b}"
    bits += "0" * (-len(bits) % 8)
    stream = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_brush(stream, (2, 1)).tolist() == [[False, True]]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(0, 99))
def test_brushes_survive_a_round_trip(width: int, height: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    assert (decode_brush(encode_brush(mask), (width, height)) == mask).all()


def test_long_runs_are_written_in_pieces() -> None:
    mask = np.zeros((400, 500), np.bool_)
    mask[100:300] = True
    stream = encode_brush(mask)
    assert len(stream) < 60
    assert (decode_brush(stream, (500, 400)) == mask).all()


@pytest.mark.parametrize(
    ("stream", "message"),
    [([], "cut short"), ([0, 1], "cut short"), ([0] * 40, "holds 0 values"), (["a"], "integers"), ([300], "integers")],
)
def test_broken_brushes_say_why(stream: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_brush(stream, (2, 2))
    good = encode_brush(np.ones((3, 3), np.bool_))
    for cut in range(len(good)):
        with pytest.raises(ValueError, match="cut short"):
            decode_brush(good[:cut], (3, 3))


@pytest.mark.parametrize(
    ("record", "box", "area", "codes_"),
    [
        (result("rectangle", RECT), BOX, 2400, []),
        (result("rectangle", RECT | {"rotation": 360}), BOX, 2400, []),
        # About the left upper corner, clockwise: what was right of it is now below.
        (result("rectangle", TURNED), (92, 20, 8, 20), 160, ["rotation-as-polygon"]),
        (result("polygon", {"points": [[10, 25], [40, 25], [40, 75], [10, 75]], "closed": True}), BOX, 2400, []),
        (result("ellipse", ELLIPSE), (80, 30, 40, 20), math.pi * 200, ["shape-approximated"]),
        (result("brush", {"format": "rle", "rle": encode_brush(DIAGONAL)}), (0, 0, 80, 80), 80, []),
        (result("bitmask", {"imageDataURL": png(DIAGONAL)}), (0, 0, 80, 80), 80, []),
    ],
)  # fmt: skip
def test_results(
    tmp_path: Path, read: Any, files: Any, codes: Any, record: Any, box: Any, area: float, codes_: list[str]
) -> None:
    root = files(tmp_path, {"tasks.json": json.dumps([task(record)]), "x.jpg": (200, 80)})
    assert detect_format(root)[0] == "label_studio"
    dataset, receipt = read("label_studio", root)
    [annotation] = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx(box, abs=0.1)
    assert annotation.area == pytest.approx(area, rel=0.06)
    assert codes(receipt, "repair") == codes_
    assert (annotation.segmentation is None) == (box == BOX and record["type"] == "rectanglelabels")


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (result("keypoint", {"x": 1, "y": 2, "width": 1}), "shape-without-area"),
        (result("rectangle", {"x": 1, "y": 2, "width": None, "height": 3}), "box-not-numeric"),
        (result("rectangle", RECT | {"width": -3}), "box-inverted"),
        (result("rectangle", RECT | {"x": 130}), "box-outside"),
        (result("rectangle", RECT, label=None), "class-missing"),
        (result("rectangle", RECT) | {"value": 3}, "value-malformed"),
        (result("polygon", {"points": [[1, 2], [3, "x"], [5, 6]]}), "mask-degenerate"),
        (result("polygon", {"points": 5}), "mask-degenerate"),
        (result("ellipse", {"x": 50, "y": 50, "radiusX": 0, "radiusY": 1}), "mask-degenerate"),
        (result("brush", {"format": "rle", "rle": [1, 2, 3]}), "mask-invalid"),
        (result("brush", {"format": "rle"}), "mask-invalid"),
        (result("bitmask", {"imageDataURL": "data:,x"}), "mask-invalid"),
        (result("brush", {"format": "rle", "rle": encode_brush(np.zeros((80, 200), np.bool_))}), "mask-empty"),
        ("no result", "value-malformed"),
    ],
)
def test_what_is_dropped(tmp_path: Path, read: Any, files: Any, codes: Any, record: Any, code: str) -> None:
    text = json.dumps([task(result("rectangle", RECT), record)])
    dataset, receipt = read("label_studio", files(tmp_path, {"tasks.json": text}))
    assert (len(dataset.annotations), codes(receipt, "drop")) == (1, [code])
    assert receipt.events[0].where.startswith("tasks.json task 7 object ")


def test_results_of_one_id_are_one_object_and_answers_are_kept_or_named(
    tmp_path: Path, read: Any, files: Any, codes: Any
) -> None:
    results = [
        {**result("rectangle", RECT, label=None), "type": "rectangle", "id": "1"},
        {"type": "labels", "id": "1", "value": {**RECT, "labels": ["a"]}, "from_name": "label"},
        {"type": "choices", "id": "1", "value": {"choices": ["dark"]}, "from_name": "light"},
        {"type": "choices", "id": "2", "value": {"choices": ["sunny"]}, "from_name": "weather"},
        {"type": "labels", "id": "3", "value": {"points": [[1, 1], [9, 1], [9, 9]], "labels": ["b", "c"]}},
        {"type": "relation", "from_id": "1", "to_id": "3"},
        result("rectangle", {**RECT, "x": 20}, image_rotation=90),
    ]
    dataset, receipt = read("label_studio", files(tmp_path, {"t.json": json.dumps([task(*results, predictions=[{}])])}))
    names = {c.id: c.name for c in dataset.categories}
    assert [names[a.category_id] for a in dataset.annotations] == ["a", "b", "a"]
    assert dataset.annotations[0].extra == {"attributes": {"light": ["dark"]}}
    assert sorted(codes(receipt, "note")) == [
        "attributes-lost", "image-missing", "image-rotation-ignored", "image-tags-lost", "predictions-left-out",
    ]  # fmt: skip
    assert codes(receipt, "repair") == ["class-several"]


@pytest.mark.parametrize(
    ("marks", "kept"),
    [
        ([{}, {}], "b"),
        ([{"ground_truth": True}, {}], "a"),
        ([{}, {"was_cancelled": True}], "a"),
        ([{"was_cancelled": True}, {"was_cancelled": True}], None),
    ],
)
def test_which_annotation_counts(tmp_path: Path, read: Any, files: Any, codes: Any, marks: Any, kept: Any) -> None:
    annotations = [
        {"id": n, "result": [result("rectangle", RECT, label=label)], **mark}
        for n, (label, mark) in enumerate(zip("ab", marks, strict=True))
    ]
    record = {"id": 1, "data": {"image": "x.jpg"}, "annotations": annotations}
    dataset, receipt = read("label_studio", files(tmp_path, {"t.json": json.dumps([record])}))
    names = {c.id: c.name for c in dataset.categories}
    assert [names[a.category_id] for a in dataset.annotations] == ([kept] if kept else [])
    assert codes(receipt, "drop") == ["object-superseded"] * (1 if kept else 2)
    assert receipt.annotations_in == 2


def test_json_min(tmp_path: Path, read: Any, files: Any) -> None:
    item = {**RECT, "rotation": 0, "rectanglelabels": ["a"], "original_width": 200, "original_height": 80}
    polygon = {
        "points": [[10, 25], [40, 25], [40, 75]],
        "polygonlabels": ["b"],
        "original_width": 200,
        "original_height": 80,
    }
    record = {"image": "/data/upload/1/0a1b2c3d-x.jpg", "id": 1, "label": [item], "poly": [polygon], "annotator": 1}
    root = files(tmp_path, {"t.json": json.dumps([record]), "x.jpg": (200, 80)})
    assert detect_format(root)[0] == "label_studio"
    dataset, receipt = read("label_studio", root)
    assert [a.bbox_xywh for a in dataset.annotations] == [pytest.approx(BOX), pytest.approx(BOX)]
    assert dataset.images[0].file_name == "x.jpg"
    assert receipt.events == []


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ("x.jpg", ["x.jpg"]),
        ("/data/upload/12/0a1b2c3d-x%20y.jpg", ["0a1b2c3d-x y.jpg", "x y.jpg", "upload/12/0a1b2c3d-x y.jpg"]),
        ("/data/upload/0a1b2c3d-x.jpg", ["0a1b2c3d-x.jpg", "x.jpg", "upload/0a1b2c3d-x.jpg"]),
        ("/data/local-files/?d=set%2Fone/x.jpg", ["set/one/x.jpg"]),
        ("https://host:80/a/b%20c/x.jpg?token=1#z", ["a/b c/x.jpg"]),
        ("s3://bucket/one/x.jpg", ["one/x.jpg"]),
        ("/tasks/3/presign/?fileuri=" + base64.b64encode(b"gs://bucket/x.jpg").decode(), ["x.jpg"]),
        ("C:\\data\\x.jpg", ["data/x.jpg"]),
        ("http://[x", ["http://[x"]),
    ],
)
def test_what_an_image_may_be_called(stated: str, names: list[str]) -> None:
    assert image_names(stated) == names


def test_sizes_come_from_results_or_images_and_missing_ones_are_named(
    tmp_path: Path, read: Any, files: Any, codes: Any
) -> None:
    bare = result("rectangle", RECT, size=False)
    small = png(np.zeros((8, 9), np.uint8))
    tasks = [
        task(bare, image="/data/local-files/?d=one/x.jpg"),
        task(bare, image="/data/local-files/?d=two/x.jpg"),
        task(bare, image="gone.jpg"),
        task(result("rectangle", RECT), image=small),
        {"id": 5, "data": {"picture": "y.png"}, "annotations": []},
    ]
    root = files(tmp_path, {"t.json": json.dumps(tasks), "images/one/x.jpg": (200, 80), "images/two/x.jpg": (100, 40)})
    files(root, {"y.png": (3, 4)})
    dataset, receipt = read("label_studio", root)
    assert [(i.file_name, i.width) for i in dataset.images] == [
        ("one/x.jpg", 200), ("two/x.jpg", 100), ("7.png", 200), ("y.png", 3),
    ]  # fmt: skip
    assert [a.bbox_xywh[0] for a in dataset.annotations] == [20, 10, 20]
    assert codes(receipt, "drop") == ["image-missing"]
    assert "image-embedded" in codes(receipt, "note")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"data": ', "not valid JSON at line 1"),
        ('[{"data": {}, "annotations": []}, 5]', r"\[1\] is no task of Label Studio"),
        ('{"a": 1}', r"\[0\] is no task"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, read: Any, files: Any, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read("label_studio", files(tmp_path, {"t.json": text}))


def test_sizes_beyond_any_image_are_refused(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    huge = result("rectangle", RECT) | {"original_width": 10**8, "original_height": 10**8}
    text = json.dumps([task(huge), task(result("rectangle", RECT), image="y.jpg")])
    dataset, receipt = read("label_studio", files(tmp_path, {"t.json": text}))
    assert len(dataset.images) == 1
    assert codes(receipt, "repair") == ["image-size-implausible"]
    assert codes(receipt, "drop") == ["image-missing"]


def test_a_round_trip_keeps_all_but_parts_as_pixels(
    tmp_path: Path, read: Any, objects: Any, codes: Any, overlap: Any, awkward: Dataset
) -> None:
    receipt = Receipt()
    [written] = label_studio.write(awkward, tmp_path, receipt)
    assert codes(receipt, "repair") == ["mask-rasterised"]
    after, _ = read("label_studio", written)
    assert [i.file_name for i in after.images] == [i.file_name for i in awkward.images]
    joined = after.annotations[2]
    assert isinstance(joined.segmentation, Rle)
    assert overlap(awkward.annotations[2], joined, awkward.images[0]) == 1
    assert rle_to_mask(joined.segmentation).any()
    both = [Dataset(d.images, d.annotations[:2] + d.annotations[3:], d.categories) for d in (awkward, after)]
    assert objects(both[0]) == objects(both[1])
