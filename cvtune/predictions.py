"""Predictions as COCO results: from a backend's detections to a file, and back.

A results file is a plain list, as pycocotools reads it, of ``{"image_id", "category_id", "bbox", "score"}`` and, for
masks, ``"segmentation"``: source ids, boxes as left, top, width, height in pixels of the image as displayed. The class
lock lies beside it, in ``<stem>.lock.json``, since the list has no place for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cvtune.backends.base import Detection
from cvtune.classes import ClassMap
from cvtune.data.geometry import rle_bbox_xywh, rle_from_json, rle_to_json
from cvtune.errors import DataError, RunError
from cvtune.runs import read_json, write_bytes, write_json

__all__ = ["load_predictions", "lock_path", "save_predictions", "to_results"]

# A hundredth of a pixel and a 100,000th of a score: below what any score of COCO's can see, and half the bytes.
BOX_DECIMALS = 2
SCORE_DECIMALS = 5


def to_results(
    detections: Iterable[Detection], class_map: ClassMap, source_image_ids: Mapping[int | str, int | str]
) -> list[dict[str, Any]]:
    """Detections as COCO results with the source's ids, in the order given.

    Args:
        detections: of 0-based class indices, in original pixels.
        class_map: the class lock; its source ids become the category ids.
        source_image_ids: the detections' image id -> the source's image id.

    Returns:
        Plain JSON types. Boxes are rounded to 1/100 px, scores to 5 decimals; masks are compressed RLE.

    Raises:
        RunError: a score or a box is not finite, a box has a negative size, or a class or an image is not one of
            the run's.
    """
    results: list[dict[str, Any]] = []
    for detection in detections:
        where = f"prediction {len(results)}, image {detection.image_id!r}"
        numbers = [float(value) for value in (*detection.bbox_xywh, detection.score)]
        if not all(map(math.isfinite, numbers)) or numbers[2] < 0 or numbers[3] < 0:
            raise RunError(
                f"{where}: got the box {numbers[:4]} and the score {numbers[4]}; allowed: finite numbers, width and "
                "height not negative; the model has diverged, try an earlier checkpoint"
            )
        if not 0 <= detection.class_index < len(class_map):
            raise RunError(
                f"{where}: class index {detection.class_index} is none of the {len(class_map)} of "
                f"{class_map.describe()}; allowed: 0 to {len(class_map) - 1}"
            )
        if detection.image_id not in source_image_ids:
            raise RunError(f"{where}: is none of the {len(source_image_ids)} images that were to be predicted")
        result: dict[str, Any] = {
            "image_id": source_image_ids[detection.image_id],
            "category_id": class_map.source_ids[detection.class_index],
            "bbox": [round(value, BOX_DECIMALS) for value in numbers[:4]],
            "score": round(numbers[4], SCORE_DECIMALS),
        }
        if detection.rle is not None:
            result["segmentation"] = rle_to_json(detection.rle)
        results.append(result)
    return results


def lock_path(path: Path) -> Path:
    """Where the class lock of a predictions file lies: ``<stem>.lock.json`` beside it."""
    return path.with_name(path.stem + ".lock.json")


def save_predictions(results: Sequence[Mapping[str, Any]], path: Path, class_map: ClassMap) -> None:
    """Write COCO results, a record a line, and the class lock beside them in ``<stem>.lock.json``.

    Raises:
        DataError: a score or a box is malformed, or not finite, which JSON cannot say; nothing is written.
        RunError: the file cannot be written; an older one is untouched.
    """
    path = Path(path)
    for i, result in enumerate(results):
        _check_numbers(result, f"{path}[{i}]")
    write_bytes(path, _lines(results))
    write_json(lock_path(path), {"classes": class_map.to_json()})


def load_predictions(path: Path) -> tuple[list[dict[str, Any]], ClassMap | None]:
    """Read COCO results, and the class lock beside them if there is one.

    Every result has image_id, category_id, score and bbox afterwards: a missing bbox is taken from the segmentation.
    Whole floats as ids become integers. Other keys stay. Scores may be any finite number, as in COCO.

    Raises:
        DataError: the file is missing or is no list of results; an id, a score, a box or a mask is missing or
            malformed: with its index and key.
    """
    path = Path(path)
    results = _read(path)
    if not isinstance(results, list):
        keys = f" with the keys {', '.join(list(map(str, results))[:5])}" if isinstance(results, dict) else ""
        raise DataError(
            f"{path}: COCO results are a list of {{image_id, category_id, bbox, score}}; "
            f"got {type(results).__name__}{keys}"
        )
    for i, result in enumerate(results):
        _check(result, f"{path}[{i}]")
    lock = lock_path(path)
    if not lock.exists():
        return results, None
    record = read_json(lock)
    if not isinstance(record, dict) or not isinstance(record.get("classes"), dict):
        raise DataError(f"{lock}: must be an object with the key 'classes'; remove it, or predict again")
    return results, ClassMap.from_json(record["classes"])


def _lines(results: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    yield b"["
    for i, result in enumerate(results):
        yield (b",\n" if i else b"\n") + encode(result)
    yield b"\n]\n"


def _read(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, FileNotFoundError):
        return read_json(path)  # says what is wrong; or takes NaN, whose place is named below
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check(result: Any, where: str) -> None:
    if not isinstance(result, dict):
        raise DataError(f"{where}: must be an object, got {type(result).__name__}")
    for key in ("image_id", "category_id"):
        value = result.get(key)
        if type(value) is float and value.is_integer():
            result[key] = int(value)
        elif type(value) not in (int, str):
            raise DataError(f"{where}.{key}: {_got(result, key)}; allowed: an integer or a string")
    segmentation = result.get("segmentation")
    if result.get("bbox") is None and segmentation:
        result["bbox"] = _segmentation_bbox(segmentation, where)
    _check_numbers(result, where)


def _check_numbers(result: Mapping[str, Any], where: str) -> None:
    if not _finite(result.get("score")):
        raise DataError(f"{where}.score: {_got(result, 'score')}; allowed: a finite number")
    box = result.get("bbox")
    if not isinstance(box, list | tuple) or len(box) != 4 or not all(map(_finite, box)):
        raise DataError(f"{where}.bbox: {_got(result, 'bbox')}; allowed: [left, top, width, height], finite, in pixels")
    if box[2] < 0 or box[3] < 0:
        raise DataError(
            f"{where}.bbox: got {box}; width and height must not be negative; is it left, top, right, bottom?"
        )


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _segmentation_bbox(segmentation: Any, where: str) -> list[float]:
    try:
        if isinstance(segmentation, dict):
            size = segmentation.get("size")
            if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
                raise DataError(f"its size must be [height, width] in pixels, got {size!r}")
            return list(rle_bbox_xywh(rle_from_json(segmentation, (size[0], size[1]))))
        points = [float(value) for polygon in segmentation for value in polygon]
        if len(points) < 6 or len(points) % 2 or not all(map(math.isfinite, points)):
            raise ValueError
    except DataError as error:
        raise DataError(f"{where}.segmentation: {error}") from error
    except (TypeError, ValueError):
        raise DataError(
            f"{where}.segmentation: must be an RLE {{size, counts}} or polygons [[x0, y0, x1, y1, x2, y2, ...], ...]"
        ) from None
    left, top = min(points[::2]), min(points[1::2])
    return [left, top, max(points[::2]) - left, max(points[1::2]) - top]


def _got(result: Mapping[str, Any], key: str) -> str:
    return f"got {result[key]!r}" if key in result else f"is missing; got the keys {', '.join(result) or 'none'}"
