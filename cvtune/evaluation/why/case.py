"""What a search for causes works on: ground truth, predictions with the ids as they came, a quick score of any reading.

A reading says how predictions are to be understood: which image and class their ids mean, how their boxes are written,
which way their scores point. The plain reading takes everything as COCO defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.columns import Columns
from cvtune.evaluation.engines import mean_counted
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.records import box_array, float_array
from cvtune.runs import RunDir

__all__ = ["Boxes", "Case", "Quality", "Reading", "make_case"]

Boxes = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""(boxes float64 [n, 4] as they came, their images' sizes float64 [n, 2] as width, height) -> boxes_xywh [n, 4]."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_IMAGES = 1_000
"""More images than this do not change which cause is the likeliest; they only take time."""
MOST_DETECTIONS = 1_000


@dataclass(frozen=True)
class Quality:
    """How well a reading scores, 0..1: AP at IoU 0.50 and over 0.50 to 0.95."""

    ap50: float
    ap: float

    @property
    def value(self) -> float:
        """What readings are compared by: an error of a few pixels shows in AP, a wrong place in AP50."""
        return (self.ap50 + self.ap) / 2


@dataclass(frozen=True, eq=False)
class Reading:
    """How predictions are understood.

    Attributes:
        images: int64, a number of the ground truth for each different image id (`Case.image_ids`), 0 for none.
        classes: int64, the same for each different category id.
        boxes: the boxes as COCO writes them.
        score: what detections are ordered by.
        keep: bool [n] or None: the detections that count.
        turn: how the boxes are read, after `boxes`, in the images of `turned` (bool [images + 1]) alone.
    """

    images: Ints
    classes: Ints
    boxes: Boxes
    score: Floats
    keep: NDArray[np.bool_] | None = None
    turn: Boxes | None = None
    turned: NDArray[np.bool_] | None = None


def as_xywh(boxes: Floats, sizes_wh: Floats) -> Floats:
    """The plain reading of boxes."""
    return boxes


@dataclass(frozen=True, eq=False)
class Case:
    """Ground truth and predictions, and the run they belong to, if any.

    Attributes:
        image_ids, category_ids: the different ids of the predictions, as they came.
        image, category: int64 [n], each prediction's position in the two.
        boxes: float64 [n, 4] as they came. score: float64 [n].
        segmentations: as they came, one a prediction.
        known_images, known_categories: what the ground truth's ids are, or in a run what the source's are.
        error: why the predictions cannot be scored as they are, or an empty string.
    """

    truth: GroundTruth
    image_ids: tuple[Any, ...]
    category_ids: tuple[Any, ...]
    image: Ints
    category: Ints
    boxes: Floats
    score: Floats
    segmentations: Sequence[Any]
    known_images: dict[Any, int]
    known_categories: dict[Any, int]
    columns: Columns
    run: RunDir | None = None
    split: str | None = None
    folder: Path | None = None
    error: str = ""
    _engines: dict[bool, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of predictions."""
        return len(self.score)

    @cached_property
    def sizes_wh(self) -> Floats:
        """float64 [images + 1, 2], width and height by number; the first row is of no image."""
        return np.array([(0, 0), *((w, h) for h, w in self.truth.sizes_hw)], np.float64)

    @cached_property
    def plain(self) -> Reading:
        """The predictions as they came."""
        images = np.array([self.known_images.get(i, 0) for i in self.image_ids], np.int64)
        classes = np.array([self.known_categories.get(i, 0) for i in self.category_ids], np.int64)
        return Reading(images, classes, as_xywh, self.score)

    @cached_property
    def objects(self) -> NDArray[np.bool_]:
        """bool [annotations]: those that can be found, so no crowds, of the images that are looked at."""
        return ~self.truth.crowd & self.chosen[self.truth.image]

    @cached_property
    def chosen(self) -> NDArray[np.bool_]:
        """bool [images + 1]: the images that are looked at, all or a fixed thousand."""
        count = len(self.truth.sizes_hw)
        chosen = np.ones(count + 1, bool)
        if count > MOST_IMAGES:
            chosen[:] = False
            filled = np.unique(self.truth.image)
            few = np.random.default_rng(0).permutation(filled)[:MOST_IMAGES]
            chosen[few] = True
        chosen[0] = False
        return chosen

    def apply(self, reading: Reading) -> tuple[Ints, Ints, Floats, Floats]:
        """Images, classes, boxes_xywh and scores of the detections that a reading places on images that are looked at.

        Classes may be 0 where the reading knows none.
        """
        image = reading.images[self.image] if len(self) else self.image
        kept = self.chosen[image]
        if reading.keep is not None:
            kept = kept & reading.keep
        rows = np.flatnonzero(kept)
        image = image[rows]
        return image, reading.classes[self.category[rows]], self.boxes_of(reading, rows), reading.score[rows]

    def boxes_of(self, reading: Reading, rows: Ints) -> Floats:
        """float64 [rows, 4], boxes_xywh of some predictions under a reading."""
        image = reading.images[self.image[rows]] if len(rows) else rows
        boxes = reading.boxes(self.boxes[rows], self.sizes_wh[image])
        if reading.turn is not None and reading.turned is not None:
            at = np.flatnonzero(reading.turned[image])
            boxes = boxes.copy()
            boxes[at] = reading.turn(boxes[at], self.sizes_wh[image[at]])
        return boxes

    def quality(self, reading: Reading, classes: bool = True) -> Quality:
        """AP of a reading; without `classes` as if there were one class only."""
        image, category, boxes, score = self.apply(reading)
        if classes:
            rows = np.flatnonzero(category)
            image, category, boxes, score = image[rows], category[rows], boxes[rows], score[rows]
        else:
            category = np.ones_like(image)
        sound = np.flatnonzero(np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1))
        if not len(sound) or not self.objects.any():
            return Quality(0.0, 0.0)
        rows_7 = np.column_stack([image, boxes, score, category])[sound]
        truth = self._ground_truth(classes)
        run = hotcoco.COCOeval(truth, truth.load_res(rows_7), "bbox")
        run.params.area_rng = [[0.0, 1e10]]
        run.params.area_rng_lbl = ["all"]
        run.params.max_dets = [100 if classes else MOST_DETECTIONS]
        run.evaluate()
        run.accumulate()
        tables = run.eval
        assert tables is not None
        precision = np.asarray(tables["precision"])
        return Quality(mean_counted(precision[0]), mean_counted(precision))

    def _ground_truth(self, classes: bool) -> Any:
        if classes not in self._engines:
            truth, rows = self.truth, np.flatnonzero(self.chosen[self.truth.image])
            numbers = np.flatnonzero(self.chosen)
            images = [
                {
                    "id": int(i),
                    "file_name": str(i),
                    "width": int(self.sizes_wh[i, 0]),
                    "height": int(self.sizes_wh[i, 1]),
                }
                for i in numbers
            ]
            names = range(1, len(truth.names) + 1) if classes else (1,)
            self._engines[classes] = hotcoco.COCO.from_arrays(
                images,
                [{"id": i, "name": str(i)} for i in names],
                truth.image[rows],
                truth.category[rows] if classes else np.ones(len(rows), np.int64),
                self.truth_boxes[rows],
                area=truth.area[rows],
                iscrowd=truth.crowd[rows],
            )
        return self._engines[classes]

    @property
    def truth_boxes(self) -> Floats:
        """float64 [annotations, 4], boxes_xywh."""
        return self.truth.boxes_xywh

    def with_truth_boxes(self, boxes_xywh: Floats) -> Case:
        """The same case with other boxes of the ground truth."""
        return replace(self, truth=replace(self.truth, boxes_xywh=boxes_xywh), _engines={})


def make_case(
    truth: GroundTruth,
    columns: Columns,
    known_images: dict[Any, int] | None = None,
    known_categories: dict[Any, int] | None = None,
    run: RunDir | None = None,
    split: str | None = None,
    error: str = "",
) -> Case:
    """A case of predictions whose ids need not be known.

    Raises:
        DataError: a score or a box is not made of finite numbers.
    """
    boxes = columns.boxes
    if not isinstance(boxes, np.ndarray):
        if boxes and all(box is None for box in boxes):
            boxes = [_mask_box(segmentation) for segmentation in columns.segmentations]
        boxes = [(0, 0, 0, 0) if box is None else box for box in boxes]
    image_ids, image = _codes(columns.image_ids)
    category_ids, category = _codes(columns.category_ids)
    folder = Path(truth.where).parent if Path(truth.where).suffix else None
    return Case(
        truth,
        image_ids,
        category_ids,
        image,
        category,
        box_array(boxes, columns.where),
        float_array(columns.scores, "score", columns.where),
        columns.segmentations,
        dict(truth.image_index) if known_images is None else known_images,
        dict(truth.category_index) if known_categories is None else known_categories,
        columns,
        run,
        split,
        folder,
        error,
    )


def _mask_box(segmentation: Any) -> tuple[float, ...]:
    """The box around a mask; an empty one where it cannot be read, which the scoring says."""
    import msgspec
    import pycocotools.mask as mask_api

    try:
        value = msgspec.json.decode(segmentation) if isinstance(segmentation, msgspec.Raw) else segmentation
        if isinstance(value, dict):
            height, width = value["size"]
            if isinstance(value["counts"], list):
                value = mask_api.frPyObjects(value, height, width)
            return tuple(map(float, mask_api.toBbox(value)))
        xy = np.concatenate([np.reshape(part, (-1, 2)) for part in value]).astype(np.float64)
        low, high = xy.min(0), xy.max(0)
        return (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    except (TypeError, ValueError, KeyError, IndexError, msgspec.MsgspecError):
        return (0.0, 0.0, 0.0, 0.0)


def _codes(values: Sequence[Any] | Ints) -> tuple[tuple[Any, ...], Ints]:
    """The different values in order of appearance, and each value's position among them."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    keys = [value if isinstance(value, int | str | float) else repr(value) for value in values]
    index = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return tuple(index), np.array([index[key] for key in keys], np.int64)
