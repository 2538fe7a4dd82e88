"""The COCO functions of detectron2._C against pycocotools, driven as Detectron2's evaluator drives them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cvtune.kernels.coco_eval import COCOevalAccumulate, COCOevalEvaluateImages, InstanceAnnotation

IMAGES, CATEGORIES = 12, 3


def box(random: Generator) -> list[float]:
    x, y = random.uniform(0, 150, 2)
    width, height = random.uniform(5, 120, 2)
    return [float(value) for value in (x, y, width, height)]


def made(seed: int) -> tuple[COCO, COCO]:
    """Objects (some crowds), and detections: moved objects, and others from nowhere; with equal scores."""
    random = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, IMAGES + 1):
        for _ in range(random.integers(0, 7) if image > 2 else 0):
            bbox, category = box(random), int(random.integers(1, CATEGORIES))  # the last category has no object
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3] * random.uniform(0.2, 1),
                    "iscrowd": int(random.random() < 0.15),
                }
            )
            for _ in range(random.integers(0, 4)):
                moved = [float(value) for value in np.array(bbox) + random.normal(0, 4, 4)]
                score = round(float(random.random()), 1)
                results.append({"image_id": image, "category_id": category, "bbox": moved, "score": score})
        for _ in range(random.integers(0, 4) if image != 5 else 0):
            one = {"image_id": image, "category_id": int(random.integers(1, CATEGORIES + 1)), "bbox": box(random)}
            results.append(one | {"score": float(random.random())})
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": image, "width": 300, "height": 300} for image in range(1, IMAGES + 1)],
        "categories": [{"id": category, "name": str(category)} for category in range(1, CATEGORIES + 1)],
        "annotations": annotations,
    }
    truth.createIndex()
    return truth, truth.loadRes(copy.deepcopy(results))


def as_detectron2_does(evaluator: COCOeval) -> dict[str, Any]:
    """What its COCOeval_opt hands to the two functions."""
    params = evaluator.params
    params.imgIds = [int(image) for image in np.unique(params.imgIds)]
    params.catIds = [int(category) for category in np.unique(params.catIds)]
    params.maxDets = sorted(params.maxDets)
    evaluator._prepare()
    categories = params.catIds if params.useCats else [-1]
    ious = {
        (image, category): evaluator.computeIoU(image, category) for image in params.imgIds for category in categories
    }
    evaluator.ious = ious

    def instances(found: list[dict[str, Any]]) -> list[InstanceAnnotation]:
        return [
            InstanceAnnotation(
                int(one["id"]), one.get("score", 0.0), one["area"], bool(one.get("iscrowd")), bool(one.get("ignore"))
            )
            for one in found
        ]

    def by_image(table: Any) -> list[list[list[InstanceAnnotation]]]:
        lists = [[instances(table[image, category]) for category in params.catIds] for image in params.imgIds]
        return lists if params.useCats else [[[one for some in row for one in some]] for row in lists]

    evaluations = COCOevalEvaluateImages(
        params.areaRng,
        params.maxDets[-1],
        params.iouThrs,
        [[ious[image, category] for category in categories] for image in params.imgIds],
        by_image(evaluator._gts),
        by_image(evaluator._dts),
    )
    return COCOevalAccumulate(params, evaluations)


@pytest.mark.parametrize("use_categories", [1, 0])
@pytest.mark.parametrize("limits", [[1, 10, 100], [1, 2, 3]])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_numbers_to_the_last_bit(seed: int, limits: list[int], use_categories: int) -> None:
    truth, found = made(seed)
    evaluators = [COCOeval(truth, found, "bbox") for _ in range(2)]
    for evaluator in evaluators:
        evaluator.params.maxDets, evaluator.params.useCats = limits, use_categories
    expected = evaluators[0]
    expected.evaluate()
    expected.accumulate()
    own = as_detectron2_does(evaluators[1])
    assert own["counts"] == list(expected.eval["counts"])
    for name in ("precision", "recall", "scores"):
        reference = expected.eval[name]
        assert (reference > 0).any()
        assert np.array_equal(np.array(own[name]).reshape(reference.shape), reference), name


def test_nothing_detected() -> None:
    truth, _ = made(0)
    nothing = COCO()
    nothing.dataset = truth.dataset | {"annotations": []}
    nothing.createIndex()
    own = as_detectron2_does(COCOeval(truth, nothing, "bbox"))
    assert set(np.unique(own["recall"])) == {-1.0, 0.0}
