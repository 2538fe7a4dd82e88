"""The ground truth of a scoring as columns, with every id renumbered to 1..n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cvtune.errors import DataError
from cvtune.evaluation.masks import Mask, box_polygon, checked_masks, has_mask, mask_areas
from cvtune.evaluation.records import (
    Id,
    box_array,
    decode_fast,
    field,
    float_array,
    numbered,
    parse_json,
    read_bytes,
    records,
)

__all__ = ["GroundTruth", "read_ground_truth"]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Columns of n annotations over images and categories, which are numbered 1, 2, ... in the order of their ids.

    pycocotools takes an annotation with id 0 for an unmatched one and a doubled id for the later annotation, so ids
    never reach an engine: images, categories and annotations get 1..n. The order is pycocotools' own (images and
    categories by id, annotations by their place in the file), since it decides between equal scores and in which
    order class APs are added up. Annotations of unlisted images and categories are left out, as pycocotools does.
    `file_names` are the images', in their order; `listed` are the images' numbers in the order of the file.
    """

    where: str
    image_index: Mapping[Id, int]
    category_index: Mapping[Id, int]
    names: tuple[str, ...]
    sizes_hw: tuple[tuple[int, int], ...]
    image: NDArray[np.int64]
    category: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    segmentations: tuple[Any, ...]
    positions: tuple[int, ...]
    dropped: int
    file_names: tuple[str | None, ...] = ()
    listed: tuple[int, ...] = ()

    @property
    def without_mask(self) -> int:
        """How many annotations that are not crowds have no mask."""
        crowds = self.crowd.tolist()
        return sum(not crowd and not has_mask(s) for s, crowd in zip(self.segmentations, crowds, strict=True))

    def masks(self) -> list[Mask]:
        """Every annotation's mask, checked; a crowd that comes as a box alone is its box."""
        filled = [segmentation if has_mask(segmentation) else None for segmentation in self.segmentations]
        at = [i for i, segmentation in enumerate(filled) if segmentation is not None]
        masks: list[Mask] = [
            None if filled[i] is not None else box_polygon(self.boxes_xywh[i]) for i in range(len(filled))
        ]
        decoded = checked_masks(
            [filled[i] for i in at],
            [self.sizes_hw[self.image[i] - 1] for i in at],
            [self.positions[i] for i in at],
            f"{self.where}: annotations",
        )
        for i, mask in zip(at, decoded, strict=True):
            masks[i] = mask
        return masks


class _Image(msgspec.Struct, gc=False):
    id: int | str
    width: float | None = None
    height: float | None = None
    file_name: str | None = None


class _Category(msgspec.Struct, gc=False):
    id: int | str
    name: str


class _Annotation(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool | None = None
    segmentation: msgspec.Raw = msgspec.Raw()


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True)
class _Columns:
    """What a file says, before any check: images as (id, height, width, file name), categories as (id, name)."""

    images: list[tuple[Id, Any, Any, Any]]
    categories: list[tuple[Id, Any]]
    image_ids: list[Id]
    category_ids: list[Id]
    boxes: list[Any] | NDArray[np.float64]
    areas: list[Any]
    crowds: list[Any]
    segmentations: list[Any]


def read_ground_truth(source: Path | Mapping[str, Any]) -> GroundTruth:
    """Read COCO ground truth.

    Args:
        source: a COCO file, or what one holds. `area`, `iscrowd`, annotation ids and `info` may be missing: the area is
            then the mask's, else the box's, in pixels; nothing is a crowd.

    Raises:
        DataError: no such file, no JSON, no images or categories, a doubled category id, a box that is not four
            finite numbers.
    """
    where = "ground truth" if isinstance(source, Mapping) else str(source)
    if isinstance(source, Mapping):
        columns = _from_objects(source, where)
    else:
        content = read_bytes(Path(source))
        file = decode_fast(content, _File)
        columns = _from_structs(file) if file else _from_objects(parse_json(content, where), where)
    return _ground_truth(columns, where)


def _from_structs(file: _File) -> _Columns:
    rows = file.annotations
    return _Columns(
        [(image.id, image.height, image.width, image.file_name) for image in file.images],
        [(category.id, category.name) for category in file.categories],
        [row.image_id for row in rows],
        [row.category_id for row in rows],
        np.fromiter(chain.from_iterable(row.bbox for row in rows), np.float64, 4 * len(rows)).reshape(-1, 4),
        [row.area for row in rows],
        [row.iscrowd for row in rows],
        [row.segmentation for row in rows],
    )


def _from_objects(content: Any, where: str) -> _Columns:
    if not isinstance(content, Mapping):
        raise DataError(f"{where}: expected COCO ground truth, an object with 'images', 'annotations' and 'categories'")
    for key in ("images", "annotations", "categories"):
        if key not in content:
            raise DataError(f"{where}: {key!r} is missing; got the keys {', '.join(map(str, content)) or 'none'}")
    images = records(content["images"], f"{where}: images")
    categories = records(content["categories"], f"{where}: categories")
    rows = records(content["annotations"], f"{where}: annotations")
    at = f"{where}: annotations"
    return _Columns(
        [
            (image_id, image.get("height"), image.get("width"), image.get("file_name"))
            for image_id, image in zip(field(images, "id", f"{where}: images"), images, strict=True)
        ],
        list(
            zip(
                field(categories, "id", f"{where}: categories"),
                field(categories, "name", f"{where}: categories"),
                strict=True,
            )
        ),
        field(rows, "image_id", at),
        field(rows, "category_id", at),
        field(rows, "bbox", at),
        [row.get("area") for row in rows],
        [row.get("iscrowd") for row in rows],
        [row.get("segmentation") for row in rows],
    )


def _ground_truth(columns: _Columns, where: str) -> GroundTruth:
    if not columns.images or not columns.categories:
        empty = "images" if not columns.images else "categories"
        raise DataError(f"{where}: {empty}: the list is empty; at least one is needed to score")
    # As in pycocotools, of two images with one id the later counts.
    sizes = {image_id: (int(h or 0), int(w or 0)) for image_id, h, w, _ in columns.images}
    files = {image_id: file if isinstance(file, str) else None for image_id, _, _, file in columns.images}
    names: dict[Id, str] = {}
    for category_id, name in columns.categories:
        if category_id in names:
            raise DataError(
                f"{where}: categories: id {category_id!r} is given twice: {names[category_id]!r} and {name!r}"
            )
        names[category_id] = str(name)
    image_index = {image_id: i for i, image_id in enumerate(_in_order(sizes), 1)}
    category_index = {category_id: i for i, category_id in enumerate(_in_order(names), 1)}
    image, category = numbered(columns.image_ids, image_index), numbered(columns.category_ids, category_index)
    kept = np.flatnonzero((image > 0) & (category > 0))
    boxes = box_array(columns.boxes, f"{where}: annotations")
    ordered_sizes = tuple(sizes[image_id] for image_id in image_index)
    segmentations = tuple(columns.segmentations[i] for i in kept.tolist())
    area = _areas(columns, boxes, image, ordered_sizes, where)
    return GroundTruth(
        where,
        image_index,
        category_index,
        tuple(names[category_id] for category_id in category_index),
        ordered_sizes,
        image[kept],
        category[kept],
        boxes[kept],
        area[kept],
        np.fromiter(map(bool, columns.crowds), bool, len(image))[kept],
        segmentations,
        tuple(kept.tolist()),
        len(image) - len(kept),
        tuple(files[image_id] for image_id in image_index),
        tuple(image_index[image_id] for image_id in sizes),
    )


def _areas(
    columns: _Columns,
    boxes_xywh: NDArray[np.float64],
    image: NDArray[np.int64],
    sizes_hw: Sequence[tuple[int, int]],
    where: str,
) -> NDArray[np.float64]:
    """The given areas; where one is missing, the mask's, else the box's."""
    at = f"{where}: annotations"
    if None not in columns.areas:
        return float_array(columns.areas, "area", at)
    missing = [i for i, area in enumerate(columns.areas) if area is None]
    area = float_array([0.0 if area is None else area for area in columns.areas], "area", at)
    area[missing] = boxes_xywh[missing, 2] * boxes_xywh[missing, 3]
    masked = [i for i in missing if image[i] and has_mask(columns.segmentations[i])]
    sizes = [sizes_hw[image[i] - 1] for i in masked]
    area[masked] = mask_areas(checked_masks([columns.segmentations[i] for i in masked], sizes, masked, at), sizes)
    return area


def _in_order(ids: Mapping[Id, Any]) -> list[Id]:
    """Ids as pycocotools orders them: numbers by size, strings by their letters; numbers first where there are both."""
    return sorted(ids, key=lambda value: (isinstance(value, str), value))
