"""Matches are pycocotools' own, and AP counted from them is the engines'."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest

from cvtune.evaluation import evaluate
from cvtune.evaluation.bootstrap import FIGURES, Resampler
from cvtune.evaluation.detections import read_detections
from cvtune.evaluation.ground_truth import read_ground_truth
from cvtune.evaluation.matching import AREAS, Matcher

Json = dict[str, Any]


def random_case(seed: int, masks: bool = False) -> tuple[Json, list[Json]]:
    """Crowds, ties of scores and of overlaps, boxes at the size limits, more than 100 detections of a class."""
    rng = np.random.default_rng(seed)
    images = [{"id": i, "width": 200, "height": 200} for i in (3, 1, 2)]
    annotations: list[Json] = []
    for i in range(60):
        x, y = rng.integers(0, 90, 2).tolist()
        w, h = rng.choice([8, 16, 32, 33, 96, 100], 2).tolist()
        annotations.append(
            {
                "id": i + 1,
                "image_id": int(rng.integers(1, 4)),
                "category_id": int(rng.integers(1, 4)),
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": int(rng.random() < 0.1),
            }
        )
    results: list[Json] = []
    for annotation in annotations * 8:
        if rng.random() < 0.3:
            continue
        moved = [v + float(d) for v, d in zip(annotation["bbox"], rng.integers(-4, 5, 4), strict=True)]
        moved[2:] = [max(2.0, side) for side in moved[2:]]
        category = annotation["category_id"] if rng.random() < 0.8 else int(rng.integers(1, 4))
        score = round(float(rng.random()), int(rng.choice([1, 4])))
        results.append({"image_id": annotation["image_id"], "category_id": category, "bbox": moved, "score": score})
    if masks:
        for row in [*annotations, *results]:
            x, y, w, h = row["bbox"]
            row["segmentation"] = [[x, y, x + w, y + 1, x + w, y + h, x + 2, y + h]]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": str(i)} for i in (1, 2, 3)]}
    return truth, results


def pycocotools_counts(truth: Json, results: list[Json], kind: str) -> dict[str, list[tuple[int, int]]]:
    """Right and ignored detections by size range and threshold."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), kind)
        run.evaluate()
    counts = {name: np.zeros((10, 2), int) for name in AREAS}
    for name, area in zip(AREAS, run.params.areaRng, strict=True):
        for entry in run.evalImgs:
            if entry is not None and entry["aRng"] == area and entry["maxDet"] == 100:
                right = (entry["dtMatches"] > 0) & ~entry["dtIgnore"].astype(bool)
                counts[name][:, 0] += right.sum(1).astype(int)
                counts[name][:, 1] += entry["dtIgnore"].sum(1).astype(int)
    return {name: [(int(a), int(b)) for a, b in table] for name, table in counts.items()}


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_matches_are_pycocotools(seed: int, kind: Any) -> None:
    truth, results = random_case(seed, kind == "segm")
    expected = pycocotools_counts(truth, results, kind)
    ground_truth = read_ground_truth(truth)
    matcher = Matcher(ground_truth, read_detections(results, ground_truth, kind == "segm"), kind)
    for name, area in AREAS.items():
        matches = matcher.match(area)
        got = [(int(a), int(b)) for a, b in zip(matches.matched.sum(1), matches.ignored.sum(1), strict=True)]
        assert got == expected[name], name


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_ap_of_every_image_once_is_the_engines(seed: int, kind: Any) -> None:
    truth, results = random_case(seed + 10, kind == "segm")
    metrics = evaluate(truth, results)[kind]
    ground_truth = read_ground_truth(truth)
    resampler = Resampler(ground_truth, read_detections(results, ground_truth, kind == "segm"), kind)
    draws = resampler.count(np.ones((3, 2), np.float32))
    for name in FIGURES:
        # A recall that is one of the 101 to the last bit may count on either side: a hundredth of a class at most.
        assert draws.figures[name] == pytest.approx([metrics[name]] * 2, abs=2e-3), name
    per_class = [entry["AP"] for entry in metrics["per_class"].values()]
    assert draws.per_class[:, 0] == pytest.approx(per_class, abs=2e-3)


def test_weights_are_copies_of_images() -> None:
    """Drawing an image twice is the data set that has it twice."""
    truth, results = random_case(20)
    for i, result in enumerate(results):
        result["score"] += 1e-7 * i  # no ties: copies of a tie would stand in another order
    twice = copy.deepcopy(truth)
    twice["images"].append({"id": 9, "width": 200, "height": 200})
    for annotation in truth["annotations"]:
        if annotation["image_id"] == 1:
            twice["annotations"].append({**annotation, "id": annotation["id"] + 1000, "image_id": 9})
    more = [*results, *({**result, "image_id": 9} for result in results if result["image_id"] == 1)]
    ground_truth = read_ground_truth(truth)
    resampler = Resampler(ground_truth, read_detections(results, ground_truth, False))
    drawn = resampler.count(np.array([[2], [1], [1]], np.float32))
    metrics = evaluate(twice, more)["bbox"]
    assert drawn.figures["AP"][0] == pytest.approx(metrics["AP"], abs=0.01)
    assert drawn.figures["AP50"][0] == pytest.approx(metrics["AP50"], abs=0.01)


def test_nothing_is_found() -> None:
    truth, _ = random_case(0)
    ground_truth = read_ground_truth(truth)
    resampler = Resampler(ground_truth, read_detections([], ground_truth, False))
    draws = resampler.count(np.ones((3, 4), np.float32))
    assert draws.figures["AP"].tolist() == [0.0] * 4
