"""Predictions that other programs wrote: unwrapped, and their image and category ids brought to the ground truth's.

What is taken, beside plain COCO results: Detectron2's ``coco_instances_results.json`` and MMDetection's ``*.bbox.json``
and ``*.segm.json`` (COCO results already); a COCO file or any object with the list under a key; lists of results by
image; torchvision's and MMDetection's per-image outputs (boxes as corners, labels, scores); Ultralytics'
``predictions.json``, whose image ids are file stems, often beside file names, and whose category ids count from 1 or
are COCO's 91.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.errors import DataError
from cvtune.evaluation.columns import Columns, decode_columns, read_columns
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.records import Id, id_examples, numbered, parse_json, read_bytes

__all__ = ["COCO_91", "Foreign", "IdMap", "image_maps", "map_categories", "map_images", "read_foreign", "unwrap"]

COCO_91 = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""The ids that COCO's 80 categories have among its 91."""
LISTS = ("annotations", "predictions", "results", "detections")
BY_IMAGE = (*LISTS, "instances")
FILES = ("file_name", "img_path", "image_path", "path")
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
        columns, said = _from_content(source, truth, "predictions")
    else:
        content, where = read_bytes(Path(source)), str(source)
        plain = decode_columns(content, where)
        columns, said = (plain, ()) if plain else _from_content(parse_json(content, where), truth, where)
    return _by_file_name(columns, truth, said)


def _from_content(content: Any, truth: GroundTruth, where: str) -> tuple[Columns, tuple[str, ...]]:
    said: tuple[str, ...] = ()
    if isinstance(content, Mapping):
        key = next((key for key in LISTS if isinstance(content.get(key), list)), None)
        if key is not None:
            columns = _columns(content[key], where)
            return _by_name(columns, content, truth, (f"The predictions are the list under {key!r}.",))
        rows = [
            {"image_id": key, **value} for key, value in content.items() if isinstance(value, Mapping) and _boxes(value)
        ]
        if rows and len(rows) == sum(isinstance(value, Mapping) for value in content.values()):
            return _columns(_per_image(rows, where), where), (_CORNERS,)
    elif isinstance(content, list | tuple) and content:
        if all(isinstance(row, Mapping) and _boxes(row) for row in content):
            return _columns(_per_image(content, where), where), (_CORNERS,)
        flat = _flat(content)
        if flat is not None:
            content, said = flat, ("The predictions are lists of results by image.",)
    return _columns(content, where), said


def _flat(rows: Sequence[Any]) -> list[Any] | None:
    """The results of lists by image, which may stand under a key beside the image's id; None where it is none."""
    flat: list[Any] = []
    for row in rows:
        key = next((k for k in BY_IMAGE if isinstance(row.get(k), list)), None) if isinstance(row, Mapping) else None
        inner = row if isinstance(row, list) else row[key] if key is not None else None
        if inner is None or not all(isinstance(result, Mapping) for result in inner):
            return None
        image = {} if key is None else {k: v for k, v in row.items() if k != key}
        flat += [{**image, **result} for result in inner]
    return flat


_CORNERS = "The predictions are lists of boxes, labels and scores by image; boxes are read as x0, y0, x1, y1."


def _columns(content: Any, where: str) -> Columns:
    columns = read_columns(content)
    return replace(columns, where=where)


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
        file = next((row[key] for key in FILES if isinstance(row.get(key), str)), None)
        image_id = row.get("image_id", file)
        if labels is None or not isinstance(scores, list) or not len(row[key]) == len(labels) == len(scores):
            raise DataError(f"{where}[{i}]: 'boxes', 'labels' and 'scores' must be lists of one length")
        if image_id is None:
            raise DataError(
                f"{where}[{i}]: 'image_id' is missing; got the keys {', '.join(row)}; allowed: the ground truth's id "
                "of the image, or its 'file_name'"
            )
        masks = row.get("masks")
        for k, box in enumerate(row[key]):
            try:
                x0, y0, x1, y1 = box
                result = {"image_id": image_id, "category_id": labels[k], "score": scores[k]}
                result["bbox"] = [x0, y0, x1 - x0, y1 - y0]
                result["file_name"] = file
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
    return replace(columns, image_ids=images, category_ids=categories), said


def _by_file_name(columns: Columns, truth: GroundTruth, said: tuple[str, ...]) -> tuple[Columns, tuple[str, ...]]:
    """Where file names stand beside image ids and say otherwise, they hold: a name is not right by chance."""
    if columns.file_names is None or columns.file_names is columns.image_ids:
        return columns, said
    for shorten in (str, _base):
        read = _unique(truth, shorten)
        index = {name: read(name) for name in set(columns.file_names)}
        if all(index.values()):
            meant = np.fromiter(map(index.__getitem__, columns.file_names), np.int64, len(columns.file_names))
            if np.array_equal(meant, numbered(columns.image_ids, truth.image_index)):
                return columns, said
            images = list(truth.image_index)
            told = "Images are taken by the file names beside the predictions' image ids, which say otherwise."
            return replace(columns, image_ids=[images[number - 1] for number in meant.tolist()]), (*said, told)
    return columns, said


def _base(name: str) -> str:
    return Path(name).name


def _covers(ids: Sequence[Any], names: Mapping[Any, Any]) -> bool:
    try:
        return bool(ids) and all(isinstance(names.get(i), str) for i in set(ids))
    except TypeError:
        return False


def map_images(ids: Sequence[Any] | NDArray[np.int64], truth: GroundTruth) -> IdMap | None:
    """A reading of image ids of which the ground truth lacks some; None where it knows all, or no reading fits."""
    found = image_maps(ids, truth)
    if not found:
        return None
    first = found[0]
    # What else they may mean is told, since only the scores show which is right (`cvtune eval --explain`).
    others = [other.said for other in found[1:] if other.index != first.index]
    return IdMap(first.index, first.said + (" It may be otherwise: " + others[0] if others else ""))


def image_maps(ids: Sequence[Any] | NDArray[np.int64], truth: GroundTruth) -> list[IdMap]:
    """All readings that fit image ids of which the ground truth lacks some, the likeliest first."""
    different = _unknown(ids, truth.image_index)
    if different is None:
        return []
    by_text = {str(image_id): number for image_id, number in truth.image_index.items()}
    readings = (
        ("are numbers written as text, or text as numbers", lambda i: by_text.get(_plain(i))),
        ("are file names", _unique(truth, lambda name: name)),
        ("are file names without their folder", _unique(truth, _base)),
        ("are file names without folder and suffix", _unique(truth, lambda name: Path(name).stem)),
        ("are the numbers of file names", _unique(truth, lambda name: _plain(Path(name).stem))),
        ("are file names that hold the ground truth's ids", lambda i: by_text.get(_plain(Path(str(i)).stem))),
    )
    found = []
    for meaning, read in readings:
        index = {value: read(value) for value in different}
        if all(index.values()):
            told = f"Image ids such as {id_examples(sorted(different, key=str)[:1])} {meaning}."
            found.append(IdMap({key: number for key, number in index.items() if number}, told))
    return found


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
