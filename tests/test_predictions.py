from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from cvtune.backends.base import Detection
from cvtune.classes import ClassMap
from cvtune.data.coco import Rle
from cvtune.data.geometry import mask_to_rle, rle_from_json, rle_to_mask
from cvtune.errors import DataError, RunError
from cvtune.predictions import load_predictions, save_predictions, to_results

CLASSES = ClassMap(("cat", "dog", "émeu"), (7, "0", 42))
IMAGES = {1: "a", 2: 900, "x": 3}
MASK = np.zeros((20, 30), bool)
MASK[4:9, 10:25] = True


def _detection(**changes: Any) -> Detection:
    values = {"image_id": 1, "class_index": 0, "score": 0.5, "bbox_xywh": (1.0, 2.0, 3.0, 4.0)}
    return Detection(**{**values, **changes})


def _result(**changes: Any) -> dict[str, Any]:
    result = {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5, **changes}
    return {key: value for key, value in result.items() if value is not ...}


def _file(folder: Path, content: Any) -> Path:
    path = folder / "predictions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_results_have_source_ids_and_rounded_numbers() -> None:
    detections = [
        _detection(bbox_xywh=np.array([1.234, 2.345678, 0.004, 100.999], np.float32), score=np.float32(0.123456)),
        _detection(image_id=2, class_index=2, rle=mask_to_rle(MASK)),
        _detection(image_id="x", class_index=np.int64(1), score=1),
    ]
    results = to_results(iter(detections), CLASSES, IMAGES)
    assert [(r["image_id"], r["category_id"]) for r in results] == [("a", 7), (900, 42), (3, "0")]
    assert results[0] == {"image_id": "a", "category_id": 7, "bbox": [1.23, 2.35, 0.0, 101.0], "score": 0.12346}
    assert all(type(value) is float for result in results for value in (*result["bbox"], result["score"]))
    assert results[1]["segmentation"]["size"] == [20, 30]
    np.testing.assert_array_equal(rle_to_mask(rle_from_json(results[1]["segmentation"], (20, 30))), MASK)
    assert json.loads(json.dumps(results)) == results


def test_no_detections_are_no_results(tmp_path: Path) -> None:
    assert to_results([], CLASSES, {}) == []
    save_predictions([], tmp_path / "p.json", CLASSES)
    assert json.loads((tmp_path / "p.json").read_text()) == []
    assert load_predictions(tmp_path / "p.json") == ([], CLASSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": math.nan}, r"prediction 1, image 1: .* the score nan; allowed: finite"),
        ({"bbox_xywh": (0, 0, math.inf, 1)}, r"the box \[0.0, 0.0, inf, 1.0\]"),
        ({"bbox_xywh": (0, 0, -1, 1)}, "not negative"),
        ({"class_index": 3}, r"class index 3 is none of the 3 of \[7=cat, 0=dog, 42=émeu\].*; allowed: 0 to 2"),
        ({"class_index": -1}, "class index -1"),
        ({"image_id": 17}, "image 17: is none of the 3 images"),
    ],
)
def test_impossible_detections_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        to_results([_detection(), _detection(**changes)], CLASSES, IMAGES)


def test_a_file_is_read_back_the_same(tmp_path: Path) -> None:
    results = to_results([_detection(), _detection(rle=mask_to_rle(MASK))], CLASSES, IMAGES)
    path = tmp_path / "deep" / "my.predictions.json"
    save_predictions(results, path, CLASSES)
    assert json.loads(path.read_text()) == results
    assert json.loads((tmp_path / "deep" / "my.predictions.lock.json").read_text()) == {"classes": CLASSES.to_json()}
    assert load_predictions(path) == (results, CLASSES)
    assert sorted(p.name for p in path.parent.iterdir()) == ["my.predictions.json", "my.predictions.lock.json"]


def test_pycocotools_reads_the_file(tmp_path: Path) -> None:
    lock = ClassMap(("cat",), (7,))
    save_predictions(to_results([_detection(rle=mask_to_rle(MASK))], lock, {1: 5}), tmp_path / "p.json", lock)
    truth = COCO()
    truth.dataset = {"images": [{"id": 5, "height": 20, "width": 30}], "categories": [{"id": 7}], "annotations": []}
    truth.createIndex()
    loaded = truth.loadRes(str(tmp_path / "p.json"))
    assert loaded.anns[1]["bbox"] == [1, 2, 3, 4]
    np.testing.assert_array_equal(loaded.annToMask(loaded.anns[1]), MASK)


def test_nothing_is_written_of_results_that_json_cannot_say(tmp_path: Path) -> None:
    path = _file(tmp_path, [])
    with pytest.raises(DataError, match=r"predictions.json\[1\].score: got nan; allowed: a finite number"):
        save_predictions([_result(), _result(score=math.nan)], path, CLASSES)
    assert path.read_text() == "[]"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"predictions.json: not valid JSON: .*line 1"),
        ("", "not valid JSON"),
        (b"\xff".decode("latin-1"), "not valid JSON"),
        ({"annotations": [], "images": []}, r"results are a list .*; got dict with the keys annotations, images"),
        ("3", "got int"),
        ([[1]], r"predictions.json\[0\]: must be an object, got list"),
        ([_result(), _result(image_id=...)], r"\[1\].image_id: is missing; got the keys category_id, bbox, score"),
        ([_result(image_id=None)], r"\[0\].image_id: got None; allowed: an integer or a string"),
        ([_result(image_id=True)], r"\[0\].image_id: got True"),
        ([_result(category_id=1.5)], r"\[0\].category_id: got 1.5"),
        ([_result(category_id=[1])], r"\[0\].category_id: got \[1\]"),
        ([_result(score=...)], r"\[0\].score: is missing"),
        ([_result(score="0.5")], r"\[0\].score: got '0.5'; allowed: a finite number"),
        ([_result(score=True)], r"\[0\].score: got True"),
        ([_result(score=math.nan)], r"\[0\].score: got nan"),
        ([_result(), _result(), _result(score=-math.inf)], r"\[2\].score: got -inf"),
        ([_result(bbox=...)], r"\[0\].bbox: is missing"),
        ([_result(bbox=None)], r"\[0\].bbox: got None; allowed: \[left, top, width, height\]"),
        ([_result(bbox=[1, 2, 3])], r"\[0\].bbox: got \[1, 2, 3\]"),
        ([_result(bbox=[1, 2, 3, "4"])], r"\[0\].bbox: got"),
        ([_result(bbox=[1, 2, 3, math.nan])], r"\[0\].bbox: got \[1, 2, 3, nan\]"),
        ([_result(bbox=[10, 10, -5, 3])], r"\[0\].bbox: .*must not be negative; is it left, top, right, bottom"),
        ([_result(bbox=..., segmentation=[])], r"\[0\].bbox: is missing"),
        ([_result(bbox=..., segmentation=[[1, 2, 3, 4]])], r"\[0\].segmentation: must be an RLE"),
        ([_result(bbox=..., segmentation=5)], r"\[0\].segmentation: must be an RLE"),
        ([_result(bbox=..., segmentation={"counts": "1"})], r"\[0\].segmentation: its size must be \[height, width\]"),
        ([_result(bbox=..., segmentation={"size": [5, 5], "counts": [3]})], r"\[0\].segmentation: the RLE counts are"),
        ([_result(bbox=..., segmentation={"size": [5, 5]})], r"\[0\].segmentation: .*needs 'size' and 'counts'"),
    ],
)
def test_malformed_files_are_refused_with_index_and_key(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_predictions(_file(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.json: no such file"):
        load_predictions(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read"):
        load_predictions(tmp_path)


@pytest.mark.parametrize(
    "result",
    [
        _result(score=17.5),
        _result(score=-3),
        _result(bbox=[-5.5, 0, 0, 0]),
        _result(image_id="photo 1", category_id="cat"),
        _result(id=3, area=12.5, attributes={"a": None}),
    ],
)
def test_what_coco_allows_is_kept(tmp_path: Path, result: dict[str, Any]) -> None:
    assert load_predictions(_file(tmp_path, [result])) == ([result], None)


def test_whole_floats_as_ids_become_integers(tmp_path: Path) -> None:
    ((loaded,), _) = load_predictions(_file(tmp_path, [_result(image_id=3.0, category_id=7.0)]))
    assert (type(loaded["image_id"]), loaded["image_id"], loaded["category_id"]) == (int, 3, 7)


def _json(rle: Rle, counts: Any) -> dict[str, Any]:
    return {"size": list(rle.size_hw), "counts": counts}


@pytest.mark.parametrize(
    "segmentation",
    [
        _json(mask_to_rle(MASK), mask_to_rle(MASK).counts.decode()),
        {"size": [20, 30], "counts": [10 * 20 + 4, *([5, 15] * 14), 5, 5 * 20 + 11]},
        [[10, 4, 20, 4, 20, 9], [20, 4, 25, 9, 20, 9]],
    ],
    ids=["compressed", "plain", "polygons"],
)
def test_a_missing_box_is_taken_from_the_segmentation(tmp_path: Path, segmentation: Any) -> None:
    given = _result(bbox=..., segmentation=segmentation)
    ((loaded,), _) = load_predictions(_file(tmp_path, [given]))
    assert loaded == {**given, "bbox": [10, 4, 15, 5]}


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        ("[]", "predictions.lock.json: must be an object with the key 'classes'"),
        ("{", "predictions.lock.json: not valid JSON"),
        ('{"classes": {"names": ["a"], "source_ids": [1], "hash": "0"}}', "does not fit its list"),
    ],
)
def test_a_broken_lock_is_refused(tmp_path: Path, lock: str, message: str) -> None:
    path = _file(tmp_path, [])
    (tmp_path / "predictions.lock.json").write_text(lock)
    with pytest.raises(DataError, match=message):
        load_predictions(path)
