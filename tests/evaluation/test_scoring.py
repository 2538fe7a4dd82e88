"""Ids, missing keys, notes, and every error of evaluate()."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvtune.evaluation.scoring as scoring
from cvtune.errors import DataError, RunError, SpecError
from cvtune.evaluation import Scorer, evaluate, evaluate_canonical
from cvtune.evaluation.engines import EngineScores

SQUARE = [[2, 3, 12, 3, 12, 23, 2, 23]]
Json = dict[str, Any]


def with_masks(truth: Json) -> Json:
    for a in truth["annotations"]:
        x, y, w, h = a["bbox"]
        a["segmentation"] = [[x, y, x, y + h, x + w, y + h, x + w, y]]
    return truth


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_exact_predictions_score_one(small: Json, found: list[Json], engine: Any) -> None:
    metrics = evaluate(small, found, engine)
    assert metrics["bbox"]["AP"] == pytest.approx(1, abs=1e-12)
    assert metrics["bbox"]["APl"] == metrics["bbox"]["ARl"] == -1
    assert metrics["bbox"]["per_class"]["cat"]["ground_truth"] == 2
    assert metrics["bbox"]["per_class"]["dog"]["detections"] == 1
    assert "segm" not in metrics
    assert metrics["engine"] == engine
    assert metrics["checked_with"] is None
    assert metrics["split"] is None
    json.dumps(metrics, allow_nan=False)


def test_annotation_id_0_counts(small: Json, found: list[Json], reference: Callable[..., Json]) -> None:
    right = reference(small, found, "bbox")
    for i, annotation in enumerate(small["annotations"]):
        annotation["id"] = i
    assert reference(small, found, "bbox") != right  # the trap in pycocotools
    for engine in ("hotcoco", "pycocotools"):
        assert {k: evaluate(small, found, engine)["bbox"][k] for k in right} == right


@pytest.mark.parametrize("ids", [[5, 5, 5], [None, None, None], ["a", "b", "c"], [0, 0, 1]])
def test_annotation_ids_do_not_matter(small: Json, found: list[Json], ids: list[Any]) -> None:
    right = evaluate(small, found)
    for annotation, value in zip(small["annotations"], ids, strict=True):
        annotation.pop("id") if value is None else annotation.update(id=value)
    assert evaluate(small, found, check=True)["bbox"] == right["bbox"]


def test_ids_0_and_strings_of_images_and_categories(small: Json, found: list[Json]) -> None:
    right = evaluate(small, found)["bbox"]
    renamed = {1: "night/0001", 2: "zebra"}
    for maps in ({1: 0, 2: 1}, renamed):
        truth, results = copy.deepcopy(small), copy.deepcopy(found)
        for image in truth["images"]:
            image["id"] = maps[image["id"]]
        for category in truth["categories"]:
            category["id"] = maps[category["id"]]
        for row in [*truth["annotations"], *results]:
            row["image_id"], row["category_id"] = maps[row["image_id"]], maps[row["category_id"]]
        assert evaluate(truth, results, check=True)["bbox"] == right


def test_numpy_values_and_unchanged_inputs(small: Json, found: list[Json]) -> None:
    right = evaluate(small, found)["bbox"]
    before = copy.deepcopy((small, found))
    results = [
        {
            "image_id": np.int64(r["image_id"]),
            "category_id": np.int32(r["category_id"]),
            "bbox": np.array(r["bbox"], np.float32),
            "score": np.float64(r["score"]),
        }
        for r in found
    ]
    assert evaluate(small, results, check=True)["bbox"] == right
    assert (small, found) == before


def test_without_area_and_iscrowd(small: Json, found: list[Json]) -> None:
    right = evaluate(small, found)["bbox"]
    for annotation in small["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    assert evaluate(small, found, check=True)["bbox"] == right


def test_missing_area_is_the_masks(small: Json, found: list[Json]) -> None:
    """A thin triangle in a box of 48 x 48 has an area below 32 x 32: small, though its box is medium."""
    triangle = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 48, 40], "segmentation": [[0, 0, 48, 0, 0, 40]]}
    small["annotations"] = [triangle]
    [first, *_] = found
    metrics = evaluate(small, [{**first, "bbox": [0, 0, 48, 40]}])
    assert metrics["bbox"]["APs"] == pytest.approx(1)
    assert metrics["bbox"]["APm"] == -1


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("masks", [False, True])
def test_no_predictions_give_0_and_a_reason(small: Json, engine: Any, masks: bool) -> None:
    metrics = evaluate(with_masks(small) if masks else small, [], engine, check=True)
    for kind in ("bbox", "segm") if masks else ("bbox",):
        assert metrics[kind]["AP"] == metrics[kind]["AR100"] == 0
        assert metrics[kind]["APl"] == -1
    assert ("segm" in metrics) == masks
    assert any("no predictions" in note for note in metrics["notes"])


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("predicted", [True, False])
def test_no_ground_truth_gives_minus_1(small: Json, found: list[Json], engine: Any, predicted: bool) -> None:
    small["annotations"] = []
    metrics = evaluate(small, found if predicted else [], engine)
    assert {metrics["bbox"][name] for name in ("AP", "AP50", "APs", "AR1", "ARl")} == {-1}
    assert any("no objects" in note for note in metrics["notes"])


def test_two_categories_with_one_name(small: Json, found: list[Json]) -> None:
    small["categories"] = [{"id": 1, "name": "cell"}, {"id": 2, "name": "cell"}, {"id": 9, "name": "cell (id 1)"}]
    per_class = evaluate(small, found)["bbox"]["per_class"]
    assert [(key, row["ground_truth"]) for key, row in per_class.items()] == [
        ("cell (id 1)'", 2),
        ("cell (id 2)", 1),
        ("cell (id 1)", 0),
    ]


def test_crowds_are_not_objects(small: Json, found: list[Json]) -> None:
    small["annotations"][1]["iscrowd"] = 1
    metrics = evaluate(small, found, check=True)
    assert metrics["bbox"]["per_class"]["dog"] == {
        "AP": -1, "AP50": -1, "AP75": -1, "AR100": -1, "ground_truth": 0, "detections": 1,
    }  # fmt: skip
    assert metrics["annotations"] == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, r: t["categories"].append({"id": 7, "name": "owl"}), "Class owl has no ground truth: AP is -1"),
        (lambda t, r: r.pop(1), "Class dog has no predictions: AP is 0 there."),
        (lambda t, r: [x.update(score=0.5) for x in r], "All scores are 0.5"),
        (lambda t, r: t["annotations"][0].update(image_id=77), "1 ground-truth annotations belong to images or"),
        (lambda t, r: None, "The ground truth has no medium or large objects"),
        (lambda t, r: t["annotations"][0].update(segmentation=SQUARE), "2 of 3 ground-truth objects have no mask"),
    ],
)
def test_notes(small: Json, found: list[Json], change: Any, said: str) -> None:
    change(small, found)
    notes = evaluate(small, found)["notes"]
    assert sum(note.startswith(said) for note in notes) == 1, notes


def test_nothing_to_say_is_not_said(small: Json, found: list[Json]) -> None:
    small["annotations"][0]["area"], small["annotations"][1]["area"] = 2000, 20000
    assert evaluate(small, found)["notes"] == []


def test_masks_are_scored_where_both_sides_have_them(small: Json, found: list[Json]) -> None:
    boxes_only = copy.deepcopy(small)
    with_masks(small)
    masked = [{**r, "segmentation": a["segmentation"]} for r, a in zip(found, small["annotations"], strict=True)]
    assert "segm" in evaluate(small, masked)
    assert "segm" not in evaluate(small, found)
    assert "segm" not in evaluate(boxes_only, masked)
    assert "segm" not in evaluate(small, masked, iou_types=["bbox"])
    assert "bbox" not in evaluate(small, masked, iou_types=["segm"])


def test_a_crowd_without_a_mask_is_its_box(small: Json, found: list[Json]) -> None:
    with_masks(small)
    masked = [{**r, "segmentation": a["segmentation"]} for r, a in zip(found, small["annotations"], strict=True)]
    small["annotations"][0]["iscrowd"] = 1
    right = evaluate(small, masked, check=True)
    del small["annotations"][0]["segmentation"]
    assert evaluate(small, masked, check=True) == right


def test_a_scorer_is_used_again(small: Json, found: list[Json]) -> None:
    scorer = Scorer(small)
    for results in (found, [], found[:1], found):
        assert scorer.score(results) == evaluate(small, results) == evaluate_canonical(scorer, results)
    assert evaluate_canonical(small, found) == evaluate(small, found)


def test_engines_print_nothing(small: Json, found: list[Json], capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(small, found, "pycocotools")
    evaluate(small, found, check=True)
    assert capfd.readouterr() == ("", "")


def test_a_difference_between_the_engines_is_an_error(
    small: Json, found: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scoring.ENGINES["hotcoco"]

    def off_by_a_bit(truth: Any) -> Any:
        def run(results: Any, kind: Any) -> EngineScores:
            scores = real(truth)(results, kind)
            stats = list(scores.stats)
            stats[8] = float(np.nextafter(stats[8], 2))
            return EngineScores(tuple(stats), scores.precision, scores.recall)

        return run

    monkeypatch.setattr(scoring, "ENGINES", {**scoring.ENGINES, "hotcoco": off_by_a_bit})
    with pytest.raises(RunError, match=r"bbox/AR100: hotcoco gives 1\.0000000000000002 and pycocotools 1\.0"):
        evaluate(small, found, check=True)


def result(**values: Any) -> Json:
    return {"image_id": 1, "category_id": 1, "bbox": [1.0, 1.0, 5.0, 5.0], "score": 0.5, **values}


RLE = {"size": [48, 64], "counts": "PPQ1"}
WRONG = [
    ("unknown image", [result(image_id=i) for i in (1, 90, 91, 92, 93)],
     r"4 of 5 predictions have an image_id that .* does not list: 90, 91, 92, \.\.\.; its ids are like 1, 2$"),
    ("string image", [result(image_id="1")] * 2, r"2 of 2 .*: '1'; .*strings of numbers: write 1 instead of '1'"),
    ("unknown category", [result(category_id=3)], r"category_id that .* does not list: 3; allowed: 1, 2$"),
    ("class index", [result(category_id=0), result()], r"1 of 2 .*: 0; allowed: 1, 2; 0 looks like a class index"),
    ("list as id", [result(image_id=[1])], r"\[0\]\.image_id: expected a number or a string, got \[1\]"),
    ("nan score", [result(), result(score=float("nan"))], r"\[1\]\.score: nan is not finite \(1 such\)"),
    ("inf score", [result(score=float("inf"))], r"\[0\]\.score: inf is not finite"),
    ("text score", [result(score="high")], r"\[0\]\.score: expected a number, got 'high'"),
    ("string score", [result(), result(score="0.5")], r"\[1\]\.score: expected a number, got '0\.5'"),
    ("huge score", [result(score=10**400)], r"\[0\]\.score: expected a number, got 1000"),
    ("string in box", [result(bbox=["1", 2, 3, 4])], r"\[0\]\.bbox: expected four numbers"),
    ("nested box", [result(bbox=[[1], [2], [3], [4]])], r"\[0\]\.bbox: expected four numbers"),
    ("null score", [result(score=None)], r"\[0\]\.score: expected a number, got None"),
    ("nan box", [result(), result(bbox=[1, 2, float("nan"), 4])], r"\[1\]\.bbox: not finite"),
    ("short box", [result(bbox=[1, 2, 3])], r"\[0\]\.bbox: expected four numbers x, y, w, h, got \[1, 2, 3\]"),
    ("text box", [result(bbox=[1, 2, "w", 4])], r"\[0\]\.bbox: expected four numbers"),
    ("number as box", [result(bbox=7)], r"\[0\]\.bbox: expected four numbers x, y, w, h, got 7"),
    ("no box, no mask", [{"image_id": 1, "category_id": 1, "score": 1}], r"\[0\]: neither 'bbox' nor 'segmentation'"),
    ("one box missing", [result(), {**result(), "bbox": None}], r"\[1\]: 'bbox' is missing, but 1 of 2"),
    ("no score", [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}], r"\[0\]: 'score' is missing; got the keys"),
    ("an object", {"annotations": [], "images": []}, r"a list of objects, got an object .*'annotations' may be the"),
    ("a string", "text", r"expected a list of objects, got str 'text'"),
    ("not objects", [result(), 5], r"\[1\]: expected an object, got int 5"),
    ("one mask missing", [result(segmentation=SQUARE), result()], r"\[1\]: 'segmentation' is missing, but 1 of 2"),
    ("mask of another size", [result(segmentation={"size": [64, 48], "counts": "PPQ1"})],
     r"\[0\]\.segmentation: the mask's size \[64, 48\] is not its image's \[height, width\] = \[48, 64\]"),
    ("broken counts", [result(segmentation={"size": [48, 64], "counts": "garbage"})], r"\[0\].*counts are broken"),
    ("counts too short", [result(segmentation={"size": [48, 64], "counts": [5, 7]})], r"\[0\].*counts are broken"),
    ("no counts", [result(segmentation={"size": [48, 64]})], r"\[0\].*needs 'size' and 'counts'; got size"),
    ("two points", [result(segmentation=[[1, 2, 3, 4]])], r"at least three x, y pairs, got \[1, 2, 3, 4\]"),
    ("odd polygon", [result(segmentation=[[1, 2, 3, 4, 5, 6, 7]])], r"at least three x, y pairs"),
    ("flat polygon", [result(segmentation=[1, 2, 3, 4, 5, 6])], r"at least three x, y pairs, got 1"),
    ("far polygon", [result(segmentation=[[1, 2, 3, 4, 5, 1e12]])], r"within 1e\+06 pixels"),
]  # fmt: skip


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize(("results", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_predictions(small: Json, results: Any, message: str, from_file: bool, tmp_path: Path) -> None:
    with_masks(small)
    source: Any = results
    if from_file:
        source = tmp_path / "p.json"
        source.write_text(json.dumps(results))
    elif isinstance(results, str):
        source = list(results)
        message = r"\[0\]: expected an object, got str 't'"
    with pytest.raises(DataError, match=message) as caught:
        evaluate(small, source)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(source) if from_file else "predictions")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("images"), r"'images' is missing; got the keys categories, annotations"),
        (lambda t: t.update(images=[]), r"images: the list is empty"),
        (lambda t: t.update(categories=[]), r"categories: the list is empty"),
        (lambda t: t["categories"].append({"id": 1, "name": "x"}), r"id 1 is given twice: 'cat' and 'x'"),
        (lambda t: t["annotations"][1].pop("bbox"), r"annotations\[1\]: 'bbox' is missing"),
        (lambda t: t["annotations"][1].update(bbox=[1, 2]), r"annotations\[1\]\.bbox: expected four numbers"),
        (lambda t: t["annotations"][2].update(area=float("nan")), r"annotations\[2\]\.area: nan is not finite"),
        (lambda t: t.update(annotations=7), r"annotations: expected a list of objects, got int 7"),
    ],
)
@pytest.mark.parametrize("from_file", [False, True])
def test_wrong_ground_truth(
    small: Json, found: list[Json], change: Any, message: str, from_file: bool, tmp_path: Path
) -> None:
    change(small)
    source: Any = small
    if from_file:
        source = tmp_path / "gt.json"
        source.write_text(json.dumps(small))
    with pytest.raises(DataError, match=message):
        evaluate(source, found)


def test_masks_asked_for_but_not_there(small: Json, found: list[Json]) -> None:
    with pytest.raises(DataError, match="masks are to be scored, but 3 of 3 annotations have no segmentation"):
        evaluate(small, found, iou_types=["segm"])
    with pytest.raises(DataError, match="predictions: masks are to be scored, but no prediction has a segmentation"):
        evaluate(with_masks(small), found, iou_types=["bbox", "segm"])


def test_masks_need_image_sizes(small: Json, found: list[Json]) -> None:
    for image in small["images"]:
        del image["width"], image["height"]
    assert evaluate(small, found)["bbox"]["AP"] > 0.9
    with_masks(small)
    masked = [{**r, "segmentation": a["segmentation"]} for r, a in zip(found, small["annotations"], strict=True)]
    with pytest.raises(DataError, match="no width and height"):
        evaluate(small, masked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"engine": "hotcocoa"},
            "engine: 'hotcocoa' is unknown; allowed: hotcoco, pycocotools; did you mean 'hotcoco'",
        ),
        ({"iou_types": ["box"]}, "iou_types: 'box' is unknown; allowed: bbox, segm"),
        ({"iou_types": []}, "iou_types: expected a list"),
        ({"iou_types": "bbox"}, "iou_types"),
    ],
)
def test_wrong_arguments(small: Json, found: list[Json], arguments: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        evaluate(small, found, **arguments)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not valid JSON"), (None, "no such file"), ("[NaN]", "got float")]
)
def test_files_that_are_not_there_or_not_json(small: Json, tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        evaluate(small, path)


def test_imports_no_torch() -> None:
    code = "import sys, cvtune.evaluation, cvtune.evaluation.table as t; print({'torch', 'cv2'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
