"""The two engines behind one function each: columns in, COCO's twelve numbers and the curves per class out."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import hotcoco
import numpy as np
from numpy.typing import NDArray

from cvtune.errors import DataError
from cvtune.evaluation.detections import Detections
from cvtune.evaluation.ground_truth import GroundTruth

__all__ = [
    "ENGINES",
    "IOU_50",
    "IOU_75",
    "NAMES",
    "Engine",
    "EngineScores",
    "IouType",
    "hotcoco_runs",
    "mean_counted",
]

IouType = Literal["bbox", "segm"]
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve numbers in pycocotools' order."""
IOU_50, IOU_75 = 0, 5
"""Positions in the IoU thresholds 0.50, 0.55, ..., 0.95."""


@dataclass(frozen=True, eq=False)
class EngineScores:
    """What an engine says.

    Attributes:
        stats: the twelve numbers, 0..1, or -1 where there is no ground truth.
        precision: float64 [10 IoU thresholds, 101 recalls, classes], all sizes, at most 100 detections; -1 as above.
        recall: float64 [10 IoU thresholds, classes], the same.
        run: hotcoco's COCOeval, from which more can be asked; None of pycocotools.
    """

    stats: tuple[float, ...]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    run: Any = None


Engine = Callable[[Detections, IouType], EngineScores]
"""An engine that holds its ground truth."""


def hotcoco_runs(truth: GroundTruth) -> Callable[[Detections, IouType], Any]:
    """Evaluate and accumulate with hotcoco: a function that gives its COCOeval.

    The ground truth is handed over once for each kind of IoU.
    """
    images, categories = _listed(truth)

    @cache
    def ground_truth(iou_type: IouType) -> Any:
        return hotcoco.COCO.from_arrays(
            images,
            categories,
            truth.image,
            truth.category,
            truth.boxes_xywh,
            area=truth.area,
            iscrowd=truth.crowd,
            segmentation=truth.masks() if iou_type == "segm" else None,
        )

    def run_of(found: Detections, iou_type: IouType) -> Any:
        rows = np.column_stack([found.image, found.boxes_xywh, found.score, found.category])
        masks = list(found.masks) if iou_type == "segm" and found.masks is not None else None
        try:
            results = ground_truth(iou_type).load_res(rows, segmentation=masks)
            if not found.with_boxes:
                results.update_anns(ids=np.arange(1, len(found) + 1), area=found.area)
            run = hotcoco.COCOeval(ground_truth(iou_type), results, iou_type)
            run.evaluate()
            run.accumulate()
        except (ValueError, TypeError) as error:
            raise DataError(f"{truth.where}: hotcoco cannot score {iou_type}: {error}") from error
        return run

    return run_of


def hotcoco_engine(truth: GroundTruth) -> Engine:
    """Score with hotcoco."""
    run_of = hotcoco_runs(truth)

    def score(found: Detections, iou_type: IouType) -> EngineScores:
        run = run_of(found, iou_type)
        tables = run.eval
        assert tables is not None
        return _scores(summarize(tables["precision"], tables["recall"]), tables, run)

    return score


def pycocotools_engine(truth: GroundTruth) -> Engine:
    """Score with pycocotools, which is slow and the reference. Its prints are swallowed."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images, categories = _listed(truth)

    def score(found: Detections, iou_type: IouType) -> EngineScores:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = {"images": images, "categories": categories, "annotations": _annotations(truth, iou_type)}
            coco.createIndex()
            if len(found):
                results = coco.loadRes(_results(found, iou_type))
            else:  # loadRes reads the first of its list
                results = COCO()
                results.dataset = {"images": images, "categories": categories, "annotations": []}
                results.createIndex()
            run = COCOeval(coco, results, iou_type)
            run.evaluate()
            run.accumulate()
            run.summarize()
        return _scores(run.stats, run.eval)

    return score


def summarize(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> list[float]:
    """The twelve numbers of an engine's curves, added up by NumPy in pycocotools' order.

    hotcoco's own summary adds in another order, and for some inputs differs from pycocotools' in the last bit,
    though the curves are equal. From COCOeval.summarize of pycocotools 2.0.11.

    Args:
        precision: float64 [10 IoU thresholds, 101 recalls, classes, 4 sizes, 3 maxDets], -1 where no ground truth.
        recall: float64 [10 IoU thresholds, classes, 4 sizes, 3 maxDets], the same.
    """
    return [
        mean_counted(precision[..., 0, 2]),
        mean_counted(precision[IOU_50, ..., 0, 2]),
        mean_counted(precision[IOU_75, ..., 0, 2]),
        *(mean_counted(precision[..., size, 2]) for size in (1, 2, 3)),
        *(mean_counted(recall[..., 0, most]) for most in (0, 1, 2)),
        *(mean_counted(recall[..., size, 2]) for size in (1, 2, 3)),
    ]


def mean_counted(values: NDArray[np.float64]) -> float:
    """The mean of what is not -1; -1 where nothing is left."""
    counted = values[values > -1]
    return float(np.mean(counted)) if counted.size else -1.0


ENGINES: Mapping[str, Callable[[GroundTruth], Engine]] = {
    "hotcoco": hotcoco_engine,
    "pycocotools": pycocotools_engine,
}


def _listed(truth: GroundTruth) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    images = [
        {"id": i, "file_name": str(i), "height": height, "width": width}
        for i, (height, width) in enumerate(truth.sizes_hw, 1)
    ]
    # Names are not the engines' business: two categories may share one.
    return images, [{"id": i, "name": str(i)} for i in range(1, len(truth.names) + 1)]


def _annotations(truth: GroundTruth, iou_type: IouType) -> list[dict[str, Any]]:
    masks = truth.masks() if iou_type == "segm" else None
    return [
        {
            "id": i + 1,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
            **({"segmentation": masks[i]} if masks is not None else {}),
        }
        for i, (image, category, box, area, crowd) in enumerate(
            zip(
                truth.image.tolist(),
                truth.category.tolist(),
                truth.boxes_xywh.tolist(),
                truth.area.tolist(),
                truth.crowd.tolist(),
                strict=True,
            )
        )
    ]


def _results(found: Detections, iou_type: IouType) -> list[dict[str, Any]]:
    """Fresh dicts: pycocotools writes into them. Without a box, loadRes takes box and area from the mask."""
    rows = [
        {"image_id": image, "category_id": category, "score": score}
        for image, category, score in zip(
            found.image.tolist(), found.category.tolist(), found.score.tolist(), strict=True
        )
    ]
    if found.with_boxes:
        for row, box in zip(rows, found.boxes_xywh.tolist(), strict=True):
            row["bbox"] = box
    if found.masks is not None and (iou_type == "segm" or not found.with_boxes):
        for row, mask in zip(rows, found.masks, strict=True):
            row["segmentation"] = mask
    return rows


def _scores(stats: Any, tables: Mapping[str, Any], run: Any = None) -> EngineScores:
    # [..., 0, 2]: all sizes, at most 100 detections
    return EngineScores(
        tuple(float(value) for value in stats),
        np.asarray(tables["precision"])[:, :, :, 0, 2],
        np.asarray(tables["recall"])[:, :, 0, 2],
        run,
    )
