"""Predictions that other programs wrote: unwrapped, and their image and category ids brought to the ground truth's.

What is taken, beside plain COCO results: Detectron2's ``coco_instances_results.json`` and MMDetection's ``*.bbox.json``
and ``*.segm.json`` (COCO results already); a COCO file or any object with the list under a key; torchvision's and
MMDetection's per-image outputs (boxes as corners, labels, scores); Ultralytics' ``predictions.json``, whose image ids
are file stems and whose category ids count from 1 or are COCO's 91.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.errors import DataError
from cvtune.evaluation.detections import Columns, read_columns
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.records import Id, decode_fast, id_examples, numbered, parse_json, read_bytes

__all__ = ["COCO_91", "Foreign", "IdMap", "map_categories", "map_images", "read_foreign", "unwrap"]

COCO_91 = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""The ids that COCO's 80 categories have among its 91."""
LISTS = ("annotations", "predictions", "results", "detections")
BOXES, LABELS = ("boxes", "bboxes", "pred_boxes"), ("labels", "pred_classes")


@dataclass(frozen=True)
class IdMap:
    """The predictions' ids -> the ground truth's numbers, and a sentence about it."""

    index: Mapping[Id, int]
    said: str


@dataclass(frozen=True)
class Foreign:
    """Predictions, how their ids map (None: they are the ground truth's), and what was done to take them."""

    columns: Columns
    image_index: Mapping[Id, int] | None
    category_index: Mapping[Id, int] | None
    said: tuple[str, ...]


def read_foreign(source: Path | Any, truth: GroundTruth) -> Foreign:
    """Read predictions of any known form.

    Ids that the ground truth does not know are mapped where one reading fits all of them; otherwise they stay, and
    the scoring names them.

    Raises:
        DataError: no such file, not JSON, or none of the known forms.
    """
    columns, said = unwrap(source, truth)
    images = map_images(columns.image_ids, truth)
    categories = map_categories(columns.category_ids, truth)
    return Foreign(
        columns,
        images.index if images else None,
        categories.index if categories else None,
        (*said, *(found.said for found in (images, categories) if found)),
    )


def unwrap(source: Path | Any, truth: GroundTruth) -> tuple[Columns, tuple[str, ...]]:
    """The columns of predictions of any known form, and what was unwrapped."""
    if not isinstance(source, str | Path):
        return _from_content(source, truth, "predictions")
    content = read_bytes(Path(source))
    where = str(source)
    head = content[:200].lstrip()
    if head.startswith(b"[") and b'"boxes"' not in head and b'"bboxes"' not in head:
        return read_columns(where, content), ()
    parsed = decode_fast(content, dict[str, Any]) or parse_json(content, where)
    return _from_content(parsed, truth, where)


def _from_content(content: Any, truth: GroundTruth, where: str) -> tuple[Columns, tuple[str, ...]]:
    if isinstance(content, Mapping):
        key = next((key for key in LISTS if isinstance(content.get(key), list)), None)
        if key is not None:
            columns = _columns(content[key], where)
            said = (f"The predictions are the list under {key!r}.",)
            return _by_name(columns, content, truth, said)
        rows = [
            {"image_id": key, **value} for key, value in content.items() if isinstance(value, Mapping) and _boxes(value)
        ]
        if rows and len(rows) == sum(isinstance(value, Mapping) for value in content.values()):
            return _columns(_per_image(rows, where), where), (_CORNERS,)
    elif isinstance(content, list | tuple) and content and all(isinstance(r, Mapping) and _boxes(r) for r in content):
        return _columns(_per_image(content, where), where), (_CORNERS,)
    return _columns(content, where), ()


_CORNERS = "The predictions are lists of boxes, labels and scores by image; boxes are read as x0, y0, x1, y1."


def _columns(content: Any, where: str) -> Columns:
    columns = read_columns(content)
    return Columns(where, columns.image_ids, columns.category_ids, columns.scores, columns.boxes, columns.segmentations)


def _boxes(row: Mapping[str, Any]) -> str | None:
    return next((key for key in BOXES if isinstance(row.get(key), list)), None)


def _per_image(rows: Sequence[Mapping[str, Any]], where: str) -> list[dict[str, Any]]:
    """torchvision's and MMDetection's outputs by image as COCO results."""
    results = []
    for i, row in enumerate(rows):
        key = _boxes(row)
        assert key is not None
        label_key = next((name for name in LABELS if isinstance(row.get(name), list)), None)
        labels, scores = row.get(label_key or ""), row.get("scores")
        image_id = row.get("image_id", row.get("file_name"))
        if labels is None or not isinstance(scores, list) or not len(row[key]) == len(labels) == len(scores):
            raise DataError(f"{where}[{i}]: 'boxes', 'labels' and 'scores' must be lists of one length")
        if image_id is None:
            raise DataError(f"{where}[{i}]: 'image_id' is missing; got the keys {', '.join(row)}")
        masks = row.get("masks")
        for k, box in enumerate(row[key]):
            try:
                x0, y0, x1, y1 = box
                result = {"image_id": image_id, "category_id": labels[k], "score": scores[k]}
                result["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            except (TypeError, ValueError):
                raise DataError(f"{where}[{i}].{key}[{k}]: expected four numbers, got {box!r}") from None
            if isinstance(masks, list) and len(masks) == len(scores) and isinstance(masks[k], Mapping):
                result["segmentation"] = masks[k]
            results.append(result)
    return results


def _by_name(
    columns: Columns, content: Mapping[str, Any], truth: GroundTruth, said: tuple[str, ...]
) -> tuple[Columns, tuple[str, ...]]:
    """Where the file lists its own images and categories, their names say what its ids mean."""
    images, categories = list(columns.image_ids), list(columns.category_ids)
    files = {e.get("id"): e.get("file_name") for e in content.get("images") or () if isinstance(e, Mapping)}
    names = {e.get("id"): e.get("name") for e in content.get("categories") or () if isinstance(e, Mapping)}
    own_files = dict(zip(truth.image_index, truth.file_names, strict=True))
    own_names = dict(zip(truth.category_index, truth.names, strict=True))
    if _covers(images, files) and any(files[i] != own_files.get(i) for i in set(images)):
        images = [files[i] for i in images]
        said += ("Images are taken by the file names that the predictions' file lists.",)
    if _covers(categories, names) and any(names[i] != own_names.get(i) for i in set(categories)):
        categories = [names[i] for i in categories]
        said += ("Classes are taken by the names that the predictions' file lists.",)
    return Columns(columns.where, images, categories, columns.scores, columns.boxes, columns.segmentations), said


def _covers(ids: Sequence[Any], names: Mapping[Any, Any]) -> bool:
    try:
        return bool(ids) and all(isinstance(names.get(i), str) for i in set(ids))
    except TypeError:
        return False


def map_images(ids: Sequence[Any] | NDArray[np.int64], truth: GroundTruth) -> IdMap | None:
    """A reading of image ids of which the ground truth lacks some; None where it knows all, or no reading fits."""
    different = _unknown(ids, truth.image_index)
    if different is None:
        return None
    by_text = {str(image_id): number for image_id, number in truth.image_index.items()}
    readings = (
        ("are numbers written as text, or text as numbers", lambda i: by_text.get(_plain(i))),
        ("are file names", _unique(truth, lambda name: name)),
        ("are file names without their folder", _unique(truth, lambda name: Path(name).name)),
        ("are file names without folder and suffix", _unique(truth, lambda name: Path(name).stem)),
        ("are the numbers of file names", _unique(truth, lambda name: _plain(Path(name).stem))),
        ("are file names that hold the ground truth's ids", lambda i: by_text.get(_plain(Path(str(i)).stem))),
    )
    for meaning, read in readings:
        index = {value: read(value) for value in different}
        if all(index.values()):
            told = f"Image ids such as {id_examples(sorted(different, key=str)[:1])} {meaning}."
            return IdMap({key: number for key, number in index.items() if number}, told)
    return None


def _unique(truth: GroundTruth, shorten: Any) -> Any:
    """Id -> number of the only image whose shortened file name it is."""
    keys = [None if name is None else shorten(name.replace("\\", "/")) for name in truth.file_names]
    counts = Counter(keys)
    index = {key: i for i, key in enumerate(keys, 1) if key is not None and counts[key] == 1}

    def read(value: Any) -> int | None:
        text = str(value).replace("\\", "/")
        return index.get(text) or index.get(shorten(text))

    return read


def _plain(value: Any) -> str:
    """``"000012"`` and 12.0 as ``"12"``."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text.lstrip("0") or "0" if text.isdecimal() else text


def map_categories(ids: Sequence[Any] | NDArray[np.int64], truth: GroundTruth) -> IdMap | None:
    """A reading of category ids of which the ground truth lacks some; None where it knows all, or no reading fits."""
    different = _unknown(ids, truth.category_index)
    if different is None:
        return None
    n = len(truth.names)
    by_text = {str(category_id): number for category_id, number in truth.category_index.items()}
    counts = Counter(truth.names)
    by_name = {name: i for i, name in enumerate(truth.names, 1) if counts[name] == 1}
    by_coco = {category_id: i for i, category_id in enumerate(COCO_91, 1)} if n == len(COCO_91) else {}
    order = "in the order of the ground truth's ids"
    readings: tuple[tuple[str, Mapping[Any, int]], ...] = (
        ("are numbers written as text, or text as numbers", by_text),
        ("are names of classes", by_name),
        ("are COCO's 91, taken as its 80 classes " + order, by_coco),
        ("count the classes from 1 " + order, {i: i for i in range(1, n + 1)}),
        ("count the classes from 0 " + order, {i: i + 1 for i in range(n)}),
    )
    for meaning, table in readings:
        index = {value: table.get(_plain(value) if table is by_text else value) for value in different}
        if all(index.values()):
            examples = id_examples(sorted(different, key=lambda i: (isinstance(i, str), i)))
            told = f"Category ids ({examples}) {meaning}."
            return IdMap({key: number for key, number in index.items() if number}, told)
    return None


def _unknown(ids: Sequence[Any] | NDArray[np.int64], index: Mapping[Id, int]) -> set[Any] | None:
    """The different ids, of which `index` lacks some; None where it knows all."""
    try:
        return None if numbered(ids, index).all() else set(np.asarray(ids, object).tolist())
    except TypeError:  # a list as an id: the scoring says where
        return None
