"""Predictions as other programs write them score as the same predictions do with the ground truth's ids."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_api
import pytest

from cvtune.errors import DataError
from cvtune.evaluation import evaluate
from cvtune.evaluation.engines import NAMES as NAMES_12
from cvtune.evaluation.foreign import COCO_91

Json = dict[str, Any]
Rows = list[Json]


@pytest.fixture
def truth() -> Json:
    """Three images with telling file names; category ids that are no one's indices."""
    boxes = [(7, 10, [2, 3, 10, 20]), (7, 20, [20, 5, 8, 8]), (30, 10, [0, 0, 30, 30]), (4, 35, [5, 5, 9, 40])]
    return {
        "images": [{"id": i, "file_name": f"val/{i + 100:06d}.jpg", "width": 64, "height": 48} for i in (7, 30, 4)],
        "categories": [{"id": 20, "name": "dog"}, {"id": 10, "name": "cat"}, {"id": 35, "name": "cow"}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, (image, category, box) in enumerate(boxes, 1)
        ],
    }


@pytest.fixture
def rows(truth: Json) -> Rows:
    return [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": [v + 0.5 for v in a["bbox"]], "score": s}
        for a, s in zip(truth["annotations"], (0.9, 0.8, 0.7, 0.6), strict=True)
    ]


NAMES = {10: "cat", 20: "dog", 35: "cow"}
FROM_1 = {10: 1, 20: 2, 35: 3}


def changed(rows: Rows, **change: Callable[[Any], Any]) -> Rows:
    return [{key: change.get(key, lambda v: v)(value) for key, value in row.items()} for row in rows]


def by_image(rows: Rows, box_key: str) -> Json:
    found: Json = {}
    for row in rows:
        x, y, w, h = row["bbox"]
        entry = found.setdefault(str(row["image_id"]), {box_key: [], "labels": [], "scores": []})
        entry[box_key].append([x, y, x + w, y + h])
        entry["labels"].append(FROM_1[row["category_id"]])
        entry["scores"].append(row["score"])
    return found


def named(row: Json) -> str:
    return f"{row['image_id'] + 100:06d}.jpg"


def without(row: Json, key: str, **more: Any) -> Json:
    return {k: v for k, v in row.items() if k != key} | more


FORMS: list[tuple[str, Callable[[Rows], Any], str | None]] = [
    ("detectron2", lambda r: r, None),
    ("mmdet bbox.json", lambda r: changed(r, score=float), None),
    ("string ids", lambda r: changed(r, image_id=str), "'30' are numbers written as text"),
    ("zero-padded ids", lambda r: changed(r, image_id="{:012d}".format), "numbers written as text"),
    ("stems", lambda r: changed(r, image_id=lambda i: f"{i + 100:06d}"), "without folder and suffix"),
    ("numbers of stems", lambda r: changed(r, image_id=lambda i: i + 100), "numbers of file names"),
    ("file names", lambda r: changed(r, image_id=lambda i: f"val/{i + 100:06d}.jpg"), "are file names"),
    ("base names", lambda r: changed(r, image_id=lambda i: f"{i + 100:06d}.jpg"), "without their folder"),
    ("other folder", lambda r: changed(r, image_id=lambda i: f"/data/{i + 100:06d}.jpg"), "without their folder"),
    ("names for classes", lambda r: changed(r, category_id=NAMES.get), "names of classes"),
    ("ultralytics",
     lambda r: changed(r, image_id=lambda i: i + 100, category_id=FROM_1.get), "count the classes from 1"),
    ("class indices", lambda r: changed(r, category_id=lambda i: FROM_1[i] - 1), "count the classes from 0"),
    ("strings for classes", lambda r: changed(r, category_id=str), "numbers written as text"),
    ("under annotations", lambda r: {"info": {}, "annotations": r}, "the list under 'annotations'"),
    ("under results", lambda r: {"results": r}, "the list under 'results'"),
    ("under predictions", lambda r: {"predictions": r}, "the list under 'predictions'"),
    ("a COCO file with its own ids",
     lambda r: {
         "images": [{"id": i * 2, "file_name": f"val/{i + 100:06d}.jpg"} for i in (7, 30, 4)],
         "categories": [{"id": 30 - i, "name": name} for i, name in NAMES.items()],
         "annotations": changed(r, image_id=lambda i: i * 2, category_id=lambda i: 30 - i),
     }, "by the names"),
    ("file names beside the numbers of other images",
     lambda r: [{**row, "image_id": {7: 30, 30: 4, 4: 7}[row["image_id"]], "file_name": named(row)} for row in r],
     "the file names beside"),
    ("file names beside the same ids",
     lambda r: [{**row, "file_name": "/x/val/" + named(row)} for row in r], None),
    ("file names of elsewhere", lambda r: [{**row, "file_name": f"{i}.jpg"} for i, row in enumerate(r)], None),
    ("file names alone", lambda r: [without(row, "image_id", file_name=named(row)) for row in r],
     "are file names"),
    ("objects inside", lambda r: [{**row, "more": [{"a": [{}]}, {}]} for row in r], None),
    ("a list an image", lambda r: [r[:1], [], r[1:]], "lists of results by image"),
    ("detectron2 by image",
     lambda r: [{"image_id": row["image_id"], "instances": [without(row, "image_id")]} for row in r],
     "lists of results by image"),
    ("mmdet by image and file",
     lambda r: [{"img_path": f"/x/{int(k) + 100:06d}.jpg", **v} for k, v in by_image(r, "bboxes").items()],
     "x0, y0, x1, y1"),
    ("torchvision by image", lambda r: by_image(r, "boxes"), "x0, y0, x1, y1"),
    ("mmdet by image", lambda r: [{"image_id": k, **v} for k, v in by_image(r, "bboxes").items()], "x0, y0, x1, y1"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "said"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS])
@pytest.mark.parametrize("from_file", [False, True])
def test_forms(truth: Json, rows: Rows, form: Any, said: str | None, from_file: bool, tmp_path: Path) -> None:
    expected = evaluate(truth, rows)
    assert expected["bbox"]["AP50"] > 0.99
    given = form(rows)
    if from_file:
        (tmp_path / "p.json").write_text(json.dumps(given))
        given = tmp_path / "p.json"
    got = evaluate(truth, given, foreign=True)
    assert {key: got["bbox"][key] for key in NAMES_12} == pytest.approx(
        {key: expected["bbox"][key] for key in NAMES_12}
    )
    taken = got["notes"][: len(got["notes"]) - len(expected["notes"])]
    assert bool(taken) == (said is not None)
    assert said is None or any(said in note for note in taken), taken


def test_masks_without_boxes_as_in_segm_json(truth: Json, rows: Rows) -> None:
    for item in [*truth["annotations"], *rows]:
        x, y, w, h = item["bbox"]
        [rle] = mask_api.frPyObjects([[x, y, x + w, y, x + w, y + h, x, y + h]], 48, 64)
        item["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    only_masks = [{key: value for key, value in row.items() if key != "bbox"} for row in rows]
    assert evaluate(truth, only_masks, foreign=True)["segm"] == evaluate(truth, only_masks)["segm"]


def test_coco_91(rows: Rows) -> None:
    """Ultralytics writes COCO's own 91 ids; the ground truth may count its 80 classes from 0."""
    truth: Json = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 999, "height": 99}],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(80)],
        "annotations": [{"id": i + 1, "image_id": 1, "category_id": i, "bbox": [9 * i, 9, 8, 8]} for i in range(80)],
    }
    results = [{"image_id": 1, "category_id": COCO_91[i], "bbox": [9 * i, 9, 8, 8], "score": 0.5} for i in range(80)]
    assert evaluate(truth, results, foreign=True)["bbox"]["AP"] == pytest.approx(1.0)


UNCLEAR: list[tuple[str, Callable[[Rows], Any], str]] = [
    ("an image of elsewhere", lambda r: changed(r, image_id=lambda i: i if i != 4 else 999), "does not list: 999"),
    ("a class of elsewhere", lambda r: changed(r, category_id=lambda i: i if i != 35 else 99), "does not list: 99"),
    ("no list inside", lambda r: {"model": "x"}, "an object with the keys model"),
    ("lengths differ", lambda r: {"7": {"boxes": [[1, 2, 3, 4]], "labels": [], "scores": [0.5]}}, "of one length"),
    ("a short box", lambda r: {"7": {"boxes": [[1, 2]], "labels": [1], "scores": [0.5]}}, "expected four numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "message"), [case[1:] for case in UNCLEAR], ids=[case[0] for case in UNCLEAR])
def test_what_fits_no_reading_is_an_error(truth: Json, rows: Rows, form: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(truth, form(rows), foreign=True)


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: gzip.compress(json.dumps(rows).encode()),
        lambda rows: "\n".join(map(json.dumps, rows)).encode() + b"\n",
        lambda rows: b"\xef\xbb\xbf" + json.dumps(rows, indent=2).encode(),
    ],
    ids=["gzip", "lines", "byte order mark"],
)
def test_files_that_are_not_plain_json(truth: Json, rows: Rows, write: Callable[[Rows], bytes], tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(write(rows))
    assert evaluate(truth, path, foreign=True)["bbox"] == evaluate(truth, rows)["bbox"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (pickle.dumps([{"image_id": 7}]), "not JSON, but a file of bytes"),
        (gzip.compress(b"[]" * 99)[:-9], "gzip has packed it, but it is damaged"),
        (b'[{"image_id": 7', "not valid JSON"),
        (b'{"a": 1}\n{"b": ', "not valid JSON"),
    ],
    ids=["empty", "blank", "pickle", "damaged-gzip", "cut-array", "cut-lines"],
)
def test_files_that_are_no_json_say_so(truth: Json, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(DataError, match=f"p.json: {message}"):
        evaluate(truth, tmp_path / "p.json", foreign=True)


def test_two_images_of_one_stem_are_not_guessed(truth: Json, rows: Rows) -> None:
    truth["images"][0]["file_name"] = "a/000130.jpg"
    with pytest.raises(DataError, match="image_id"):
        evaluate(truth, changed(rows, image_id=lambda i: f"{i + 100:06d}"), foreign=True)
