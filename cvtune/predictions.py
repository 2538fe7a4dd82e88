"""COCO results: detections with the source's ids, and the class lock that travels beside the file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtune.backends.base import Detection
from cvtune.classes import ClassMap
from cvtune.data.geometry import rle_bbox_xywh, rle_from_json, rle_to_json
from cvtune.errors import DataError
from cvtune.runs import read_json, write_json

__all__ = ["load_predictions", "lock_path", "save_predictions", "to_results"]

Id = int | str
# A hundredth of a pixel and a 100,000th of a score: below what any score of COCO's can see, and half the bytes.
BOX_DECIMALS = 2
SCORE_DECIMALS = 5


def to_results(
    detections: Iterable[Detection], class_map: ClassMap, source_image_ids: Mapping[Id, Id]
) -> list[dict[str, Any]]:
    """Detections as COCO results.

    Args:
        detections: with 0-based class indices, boxes in original pixels, scores in 0..1.
        class_map: gives each index its source category id.
        source_image_ids: detection's image id -> the id to write.

    Returns:
        Records with image_id, category_id, bbox (x y w h), score, and segmentation (compressed RLE) where there is a
        mask.
    """
    results = []
    for detection in detections:
        record: dict[str, Any] = {
            "image_id": source_image_ids[detection.image_id],
            "category_id": class_map.source_ids[detection.class_index],
            "bbox": [round(float(v), BOX_DECIMALS) for v in detection.bbox_xywh],
            "score": round(float(detection.score), SCORE_DECIMALS),
        }
        if detection.rle is not None:
            record["segmentation"] = rle_to_json(detection.rle)
        results.append(record)
    return results


def lock_path(path: Path) -> Path:
    """Where the class lock of a predictions file lies: ``<stem>.lock.json`` beside it."""
    return path.with_name(path.stem + ".lock.json")


def save_predictions(results: Sequence[Mapping[str, Any]], path: Path, class_map: ClassMap) -> None:
    """Write the list, which pycocotools reads as it is, and the class lock beside it."""
    write_json(path, list(results))
    write_json(lock_path(path), {"classes": class_map.to_json()})


def load_predictions(path: Path) -> tuple[list[dict[str, Any]], ClassMap | None]:
    """Read COCO results of any origin; boxes are computed from masks where they are missing.

    Raises:
        DataError: not a list of records with image_id, category_id, a finite score and a finite box or a mask; the
            index and key are named.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(
            f"{path}: COCO results are a list, got {type(content).__name__}; a whole data set is no results file"
        )
    results = [_checked(path, index, record) for index, record in enumerate(content)]
    lock = lock_path(path)
    class_map = ClassMap.from_json(read_json(lock)["classes"]) if lock.exists() else None
    return results, class_map


def _checked(path: Path, index: int, given: Any) -> dict[str, Any]:
    where = f"{path}[{index}]"
    if not isinstance(given, dict):
        raise DataError(f"{where}: expected an object with image_id, category_id, bbox, score; got {given!r:.80}")
    record: dict[str, Any] = given
    for key in ("image_id", "category_id", "score"):
        if key not in record:
            raise DataError(f"{where}: {key} is missing")
    if not _finite(record["score"]):
        raise DataError(f"{where}.score: a finite number is needed, got {record['score']!r:.80}")
    box = record.get("bbox")
    if box is None:
        if not isinstance(record.get("segmentation"), dict):
            raise DataError(f"{where}: neither a bbox nor a run-length mask")
        size = record["segmentation"].get("size", (0, 0))
        record = {**record, "bbox": list(rle_bbox_xywh(rle_from_json(record["segmentation"], (size[0], size[1]))))}
    elif not (isinstance(box, list) and len(box) == 4 and all(_finite(v) for v in box)):
        raise DataError(f"{where}.bbox: four finite numbers are needed, got {box!r:.80}")
    return record


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
