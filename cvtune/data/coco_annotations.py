"""COCO's annotations: what is checked, mended and dropped as they are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from cvtune.data.coco import Annotation, Category, Id, Image, Polygon, Segmentation, make_annotation
from cvtune.data.coco_file import LONGEST_ID, CocoFile
from cvtune.data.coco_shapes import NUMBERS, box_of, degrees_turned, is_polygons, polygon_views, turned_box
from cvtune.data.geometry import rle_from_json, segmentation_area, segmentation_bbox_xywh
from cvtune.errors import DataError

if TYPE_CHECKING:
    from cvtune.data.receipt import Receipt

__all__ = ["EMPTY", "AnnotationReader", "plain_id", "take", "take_id"]

# One for all records without unknown keys: a million empty dicts would take 64 MB.
EMPTY: Mapping[str, Any] = {}
BoxXywh = tuple[float, float, float, float]
T = TypeVar("T")


def plain_id(value: Any) -> Id | None:
    """An id as it is meant: 1.0 is 1; None for what is neither an integer nor a string."""
    if type(value) is int or type(value) is str:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def take(record: dict[str, Any], key: str, where: str) -> Any:
    """Take a value out of a record; `where` is what the error calls it.

    Raises:
        DataError: it is not there.
    """
    if key not in record:
        raise DataError(f"{where}: the key {key!r} is missing; got the keys {', '.join(record) or 'none'}")
    return record.pop(key)


def take_id(record: dict[str, Any], key: str, where: str) -> Id:
    """As `take`, an id.

    Raises:
        DataError: it is not there, or neither an integer nor a string.
    """
    value = take(record, key, where)
    found = plain_id(value)
    if found is None:
        raise DataError(f"{where}: {key!r} must be an integer or a string, got {value!r}")
    return found


def _repeated(annotations: list[Annotation]) -> list[int]:
    """The places of annotations whose id an earlier one has."""
    try:
        ids = np.fromiter((annotation.id for annotation in annotations), np.int64, len(annotations))
        ids.sort()
        if not (ids[1:] == ids[:-1]).any():  # a set of a million numbers would take 64 MB
            return []
    except (TypeError, ValueError, OverflowError):
        pass
    seen: set[Id] = set()
    repeated = []
    for place, annotation in enumerate(annotations):
        if annotation.id in seen:
            repeated.append(place)
        seen.add(annotation.id)
    return repeated


class _DroppedError(Exception):
    """The annotation at hand is left out, and the receipt says so."""


class AnnotationReader:
    """Reads annotations, with what they refer to and where to say what happened."""

    def __init__(
        self, path: Path, categories: Mapping[Id, Category], images: Mapping[Id, Image], receipt: Receipt | None
    ) -> None:
        """Read annotations of these categories on these images.

        Args:
            path: the file, for messages.
            categories: by id.
            images: by id; those of width 0 are of unknown size.
            receipt: what was mended and dropped; None: an annotation that would be dropped is an error.
        """
        self.path = path
        self.categories = categories
        self.images = images
        self.receipt = receipt
        self._respelled = 0  # ids of another type than the listed one's

    def read(self, file: CocoFile) -> tuple[Annotation, ...]:
        """The annotations of a file, in its order.

        Raises:
            DataError: one is malformed and cannot be left out.
        """
        annotations: list[Annotation] = []
        unnumbered: list[int] = []
        position = 0
        for records in file.chunks("annotations"):
            views = polygon_views(records)
            for record in records:
                position += 1
                try:
                    annotation = self._annotation(record, views, position)
                except _DroppedError:
                    continue
                if annotation.id is None:
                    unnumbered.append(len(annotations))
                annotations.append(annotation)
        if unnumbered:
            self._number(annotations, unnumbered, "have no id")
        if repeated := _repeated(annotations):
            self._number(annotations, repeated, "have the id of another one")
        if self._respelled and self.receipt is not None:
            detail = f"{self._respelled:,} ids are numbers in one place and strings in another"
            self.receipt.note("value-repaired", self.path.name, detail)
        return tuple(annotations)

    def _number(self, annotations: list[Annotation], places: list[int], fault: str) -> None:
        """Give annotations the integers above the greatest id, in the order of the file."""
        free = 1 + max((a.id for a in annotations if isinstance(a.id, int)), default=0)
        for new, i in enumerate(places, free):
            annotations[i] = replace(annotations[i], id=new)
        if self.receipt is not None:
            detail = f"{len(places)} annotations {fault}; they got {free} to {free + len(places) - 1}"
            self.receipt.note("annotation-ids-renumbered", self.path.name, detail)

    def _annotation(self, record: dict[str, Any], views: Iterator[Polygon] | None, position: int) -> Annotation:
        """One annotation. Takes its polygons from `views`, whatever becomes of it."""
        given = record.pop("id", None)
        annotation_id = plain_id(given)
        if annotation_id is None:
            who = f"annotation #{position} (which has no id)"
            if given is not None:
                self._refuse(f"annotation #{position}", f"'id' must be an integer or a string, got {given!r}")
        else:
            who = f"annotation {annotation_id}"
        mask = record.pop("segmentation", None)
        polygons = tuple(islice(views, len(mask))) if views is not None and is_polygons(mask) else None

        category = self._category(record, who)
        image_id = take_id(record, "image_id", f"{self.path}: {who}")
        image = self.images.get(image_id) or self._respelt(self.images, image_id)
        if image is None:
            detail = f"its image id {image_id!r} is not among the {len(self.images)} images of the file"
            self._drop("image-not-listed", who, detail, category)
        if not image.width:
            self._drop("image-size-missing", who, f"of image {image_id!r}, whose size is not known", category)
        size_hw = (image.height, image.width)

        segmentation: Segmentation | None
        if polygons is not None and all(len(part) >= 6 and not len(part) % 2 for part in polygons):
            segmentation = polygons
        elif isinstance(mask, dict) and mask:
            try:
                segmentation = rle_from_json(mask, size_hw)
            except DataError as error:
                self._drop("mask-invalid", who, str(error), category)
        else:
            segmentation = self._mended(mask, who, category) if mask else None

        bbox = record.pop("bbox", None)
        if bbox is None or bbox == []:
            box = self._box_of_mask(segmentation, size_hw, who, category)
        else:
            if self.receipt is not None and type(bbox) is list and any(type(value) is str for value in bbox):
                bbox = self._spelled(bbox, who, category)
            mistake, box = box_of(bbox)
            if mistake:
                self._drop(mistake, who, f"its bbox must be [x, y, width, height], got {bbox!r:.80}", category)

        degrees = degrees_turned(record.get("attributes")) if segmentation is None and self.receipt is not None else 0.0
        if degrees and box[2] > 0 and box[3] > 0:
            segmentation, box = turned_box(box, degrees)
            self._repair("rotation-as-polygon", who, f"turned by {degrees:g} degrees about its centre", category)

        area = record.pop("area", None)
        if type(area) not in NUMBERS or not 0 <= area < math.inf:
            area = segmentation_area(segmentation, size_hw) if segmentation is not None else box[2] * box[3]
        return make_annotation(
            annotation_id,  # type: ignore[arg-type]  # None until `_number`
            image.id,  # not image_id: a million equal integers would take 32 MB
            category.id,
            box,
            float(area),
            self._crowd(record, who, category),
            segmentation,
            record or EMPTY,
        )

    def _category(self, record: dict[str, Any], who: str) -> Category:
        category_id = take_id(record, "category_id", f"{self.path}: {who}")
        category = self.categories.get(category_id) or self._respelt(self.categories, category_id)
        if category is None:
            allowed = ", ".join(f"{c.id!r} ({c.name})" for c in self.categories.values()) or "none"
            self._refuse(who, f"no category has its category_id {category_id!r}; allowed: {allowed}")
        return category

    def _respelt(self, listed: Mapping[Id, T], given: Id) -> T | None:
        """What is listed as 1 where "1" is given, or the other way round; None without a receipt to say so."""
        if self.receipt is None:
            return None
        other: Id = str(given)
        if isinstance(given, str):
            if not given.isdecimal() or not given.isascii() or len(given) > LONGEST_ID:
                return None
            other = int(given)
        found = listed.get(other)
        self._respelled += found is not None
        return found

    def _spelled(self, bbox: list[Any], who: str, category: Category) -> list[Any]:
        """A box of strings as numbers, if they are."""
        try:
            numbers = [float(value) for value in bbox]
        except (TypeError, ValueError):
            return bbox
        self._repair("value-repaired", who, f"its bbox holds strings: {bbox!r:.80}", category)
        return numbers

    def _crowd(self, record: dict[str, Any], who: str, category: Category) -> bool:
        value = record.pop("iscrowd", None)
        if value is None or value == 0:
            return False
        if value == 1:
            return True
        if value in ("0", "1"):
            self._repair("value-repaired", who, f"iscrowd is the string {value!r}", category)
            return bool(value == "1")
        self._refuse(who, f"'iscrowd' must be 0 or 1, got {value!r}")

    def _box_of_mask(
        self, segmentation: Segmentation | None, size_hw: tuple[int, int], who: str, category: Category
    ) -> BoxXywh:
        if segmentation is None:
            self._drop("box-missing", who, "it has neither a bbox nor a usable segmentation", category)
        box = segmentation_bbox_xywh(segmentation, size_hw)
        if box[2] <= 0 or box[3] <= 0:
            self._drop("mask-empty", who, "it has no bbox, and its mask covers nothing of the image", category)
        self._repair("box-from-mask", who, f"got {[round(value, 2) for value in box]}", category)
        return box

    def _mended(self, mask: Any, who: str, category: Category) -> tuple[Polygon, ...] | None:
        """The polygons of a malformed segmentation that can be used; None where there are none."""
        if not isinstance(mask, list):
            detail = f"its segmentation must be polygons or an RLE, got {mask!r:.80}"
            self._repair("mask-degenerate", who, detail, category)
            return None
        if all(type(value) in NUMBERS for value in mask):
            self._repair("value-repaired", who, "its segmentation is one flat list: read as one polygon", category)
            mask = [mask]
        kept = []
        for n, part in enumerate(mask, 1):
            try:
                polygon: Polygon = np.asarray(part, np.float64).reshape(-1)
            except (TypeError, ValueError):
                polygon = np.array([np.nan])
            if len(polygon) == 0:
                continue
            numbers, odd = len(polygon), len(polygon) % 2
            polygon = polygon[: numbers - odd]
            if not np.isfinite(polygon).all() or (numbers == 1 and odd):
                fault = "is not a list of finite numbers and was left out"
            elif len(polygon) < 6:
                fault = f"has {numbers} numbers, fewer than three x, y pairs, and was left out"
            else:
                fault = f"has {numbers} numbers, which are no pairs; the last was left out" if odd else ""
                polygon.flags.writeable = False
                kept.append(polygon)
            if fault:
                self._repair("mask-degenerate", who, f"polygon {n} of {len(mask)} {fault}", category)
        return tuple(kept) or None

    def _drop(self, code: str, who: str, detail: str, category: Category) -> NoReturn:
        """Leave an annotation out and note it; without a receipt it would go unseen, so it is an error."""
        if self.receipt is None:
            self._refuse(who, f"{detail}; mend the file, or `cvtune convert` it to drop such annotations")
        self.receipt.drop(code, f"{self.path.name} {who}", detail, category.name)
        raise _DroppedError

    def _repair(self, code: str, who: str, detail: str, category: Category) -> None:
        if self.receipt is not None:
            self.receipt.repair(code, f"{self.path.name} {who}", detail, category.name)

    def _refuse(self, who: str, what: str) -> NoReturn:
        raise DataError(f"{self.path}: {who}: {what}")
