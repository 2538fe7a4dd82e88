"""A run's ground truth and predictions as columns, with masks left undecoded: a report shows a dozen images only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cvtune.data.coco_structs import CocoTruth
from cvtune.data.image_files import ImageFinder, image_folders
from cvtune.errors import DataError
from cvtune.evaluation.analyse import Pair
from cvtune.evaluation.records import numbered
from cvtune.report.facts import Files, RunFacts
from cvtune.report.matching import Objects
from cvtune.runs import read_json

__all__ = ["PictureData", "picture_data", "read_picture_data"]


class _Result(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int | str
    score: float
    bbox: tuple[float, float, float, float] | None = None
    segmentation: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, eq=False)
class PictureData:
    """The images of a split with what is on them and what was found.

    Attributes:
        paths, names, sizes_wh: one an image: where it lies, the name to show, its size in pixels.
        truth, found: boxes; `truth_masks` and `found_masks` are their segmentations as undecoded JSON.
        unknown: predictions whose image or class is not the run's; they are left out.
        without_box: predictions that have no box; they are left out.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    sizes_wh: tuple[tuple[int, int], ...]
    class_names: tuple[str, ...]
    truth: Objects
    found: Objects
    truth_masks: tuple[bytes, ...]
    found_masks: tuple[bytes, ...]
    unknown: int
    without_box: int


def read_picture_data(facts: RunFacts) -> PictureData:
    """Read a run's canonical data and predictions.

    Raises:
        DataError: a file is missing or has another form; the message is a sentence for a reader.
    """
    if facts.class_map is None:
        raise DataError("The classes are unknown, so predictions cannot be drawn.")
    class_map, path = facts.class_map, facts.run.data(facts.split)
    if not facts.run.predictions.exists():
        raise DataError("There is no predictions.json: the run has not predicted its images yet.")
    if not path.exists():
        raise DataError(f"There is no data/{path.name}, so there is no ground truth to draw.")
    truth = _decode(path, CocoTruth)
    position = {image.id: i for i, image in enumerate(truth.images)}
    results = _decode(facts.run.predictions, list[_Result])
    source, names = _image_names(facts, position)
    annotations = [a for a in truth.annotations if a.image_id in position and 1 <= a.category_id <= len(class_map)]
    index_of = class_map.index_of_source_id
    known = [r for r in results if r.image_id in source and r.category_id in index_of]
    boxed = [r for r in known if r.bbox is not None]
    return PictureData(
        paths=tuple(Path(image.file_name) for image in truth.images),
        names=tuple(names.get(i) or Path(image.file_name).name for i, image in enumerate(truth.images)),
        sizes_wh=tuple((image.width, image.height) for image in truth.images),
        class_names=class_map.names,
        truth=_objects(
            [position[a.image_id] for a in annotations],
            [a.category_id - 1 for a in annotations],
            [a.bbox for a in annotations],
            [1.0] * len(annotations),
            [bool(a.iscrowd) for a in annotations],
        ),
        found=_objects(
            [source[r.image_id] for r in boxed],
            [index_of[r.category_id] for r in boxed],
            [r.bbox for r in boxed],
            [r.score for r in boxed],
            [False] * len(boxed),
        ),
        truth_masks=tuple(bytes(a.segmentation) for a in annotations),
        found_masks=tuple(bytes(r.segmentation) for r in boxed),
        unknown=len(results) - len(known),
        without_box=len(known) - len(boxed),
    )


def picture_data(pair: Pair, files: Files) -> PictureData:
    """Of two files, as `cvtune eval --gt --pred` reads them: predictions of other programs too."""
    truth, foreign = pair.scorer.truth, pair.foreign
    columns = foreign.columns
    finder = ImageFinder(image_folders(files.truth, files.images))
    names = [name or str(image_id) for name, image_id in zip(truth.file_names, truth.image_index, strict=True)]
    found = [finder.find(name, any_suffix=True) for name in names]
    # Numbers from 1 on; 0 is what this ground truth has not.
    image = numbered(columns.image_ids, foreign.image_index or truth.image_index).tolist()
    category = numbered(columns.category_ids, foreign.category_index or truth.category_index).tolist()
    known = [k for k in range(len(image)) if image[k] and category[k]]
    boxed = [k for k in known if columns.boxes[k] is not None]
    return PictureData(
        paths=tuple(path[0] if path else Path(name) for name, path in zip(names, found, strict=True)),
        names=tuple(names),
        sizes_wh=tuple((width, height) for height, width in truth.sizes_hw),
        class_names=truth.names,
        truth=Objects(truth.image - 1, truth.category - 1, truth.boxes_xywh, np.ones(len(truth.image)), truth.crowd),
        found=_objects(
            [image[k] - 1 for k in boxed],
            [category[k] - 1 for k in boxed],
            [columns.boxes[k] for k in boxed],
            [columns.scores[k] for k in boxed],
            [False] * len(boxed),
        ),
        truth_masks=tuple(_raw(segmentation) for segmentation in truth.segmentations),
        found_masks=tuple(_raw(columns.segmentations[k]) for k in boxed),
        unknown=len(image) - len(known),
        without_box=len(known) - len(boxed),
    )


def _raw(segmentation: Any) -> bytes:
    if isinstance(segmentation, msgspec.Raw):
        return bytes(segmentation)
    return msgspec.json.encode(segmentation) if segmentation else b""


def _decode(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} has an unexpected form: {error}.") from error


def _image_names(facts: RunFacts, position: Mapping[int | str, int]) -> tuple[dict[int | str, int], dict[int, str]]:
    """Source image id -> position, and position -> the file name that the source gave. Canonical ids without a map."""
    listed: Any = []
    if facts.run.images.exists():
        content = read_json(facts.run.images)
        listed = content.get(facts.split, []) if isinstance(content, Mapping) else []
    rows = [row for row in listed if isinstance(row, Mapping) and row.get("id") in position]
    if not rows:
        return {key: position[key] for key in position}, {}
    source = {row.get("source_id", row["id"]): position[row["id"]] for row in rows}
    return source, {position[row["id"]]: str(row.get("file_name") or "") for row in rows}


def _objects(image: list[int], category: list[int], boxes: list[Any], score: list[float], crowd: list[bool]) -> Objects:
    return Objects(
        np.array(image, np.int64),
        np.array(category, np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(score, np.float64),
        np.array(crowd, bool),
    )
