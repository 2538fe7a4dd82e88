"""What writers of labelling tools' formats have in common: files per image, and saying what has no place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cvtune.data.coco import Annotation, Dataset, Id, Image, Polygon, Rle
from cvtune.data.geometry import mask_to_polygons, rle_iou, rle_to_mask, segmentation_bbox_xywh, segmentation_to_rle
from cvtune.data.outlines import join_polygons
from cvtune.data.receipt import Receipt

__all__ = [
    "Groups",
    "Losses",
    "flat_key",
    "flat_name",
    "labels_key",
    "names_of",
    "note_boxes",
    "note_categories",
    "objects_of",
    "one_polygon",
    "place_of",
    "plain",
    "polygons_of",
    "relative_name",
    "unique_key",
]

# Boxes closer than this, in pixels, are the same.
ROUNDING = 0.01


def names_of(dataset: Dataset) -> dict[Id, str]:
    """Category id -> name."""
    return {category.id: category.name for category in dataset.categories}


def objects_of(dataset: Dataset) -> dict[Id, list[Annotation]]:
    """Image id -> its annotations, of every image."""
    objects: dict[Id, list[Annotation]] = {image.id: [] for image in dataset.images}
    for annotation in dataset.annotations:
        objects[annotation.image_id].append(annotation)
    return objects


class Groups:
    """Group ids of one image for formats that join shapes of one class and group to one object."""

    def __init__(self, annotations: Sequence[Annotation]) -> None:
        """Look at the group ids that the image's annotations bring along."""
        self._given = Counter((a.category_id, self._own(a)) for a in annotations)
        self._next = 1 + max((g for _, g in self._given if g is not None), default=0)

    def of(self, annotation: Annotation) -> int | None:
        """The group id of an object of several parts, or one's own where no other object would be joined by it."""
        mask, own = annotation.segmentation, self._own(annotation)
        if isinstance(mask, tuple) and len(mask) > 1:
            self._next += 1
            return self._next - 1
        return own if self._given[annotation.category_id, own] == 1 else None

    @staticmethod
    def _own(annotation: Annotation) -> int | None:
        group = annotation.extra.get("group_id")
        return group if type(group) is int and group > 0 else None


def relative_name(file_name: str) -> str:
    """An image's name as a relative path with forward slashes that stays below its folder."""
    plain = file_name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in {"", ".", ".."}]
    outside = plain.startswith("/") or plain[1:2] == ":"
    return parts[-1] if outside else str(PurePosixPath(*parts))


def unique_key(file_name: str, taken: set[str]) -> str:
    """The path, without suffix, of an image's own file, with the suffix where it is in `taken`, which grows."""
    name = PurePosixPath(relative_name(file_name))
    key, number = str(name.with_suffix("")), 1
    while key in taken:
        key = str(name) if number == 1 else f"{name}-{number}"
        number += 1
    taken.add(key)
    return key


def labels_key(file_name: str, taken: set[str]) -> str:
    """As `unique_key`, without folders `images`: where images lie in one, labels are found by the last one's place."""
    *folders, last = PurePosixPath(relative_name(file_name)).parts
    return unique_key("/".join([*(folder for folder in folders if folder != "images"), last]), taken)


def flat_key(file_name: str, taken: set[str]) -> str:
    """As `unique_key`, for formats without subfolders: their names become part of the key."""
    return unique_key(relative_name(file_name).replace("/", "_"), taken)


def flat_name(file_name: str, taken: set[str]) -> str:
    """The name, with its suffix, of an image in a format without subfolders; `taken` grows."""
    name = relative_name(file_name).replace("/", "_")
    while name in taken:
        name = f"_{name}"
    taken.add(name)
    return name


class Losses:
    """Counts, over a whole set, the fields that a format has no place for, and says them once each."""

    def __init__(self, receipt: Receipt, where: str) -> None:
        """Say it on `receipt`, at `where`."""
        self._receipt = receipt
        self._where = where
        self._fields: Counter[str] = Counter()

    def add(self, annotation: Annotation, kept: Collection[str] = (), crowd: bool = False) -> None:
        """Count what of an annotation's extra fields is not among `kept`, and its being a crowd where that is lost."""
        self._fields.update(key for key in annotation.extra if key not in kept)
        if annotation.iscrowd and not crowd:
            self._fields["iscrowd"] += 1

    def say(self) -> None:
        """Write the notes."""
        for key, n in sorted(self._fields.items()):
            self._receipt.note("attributes-lost", self._where, f"{key} of {n:,} objects")


def note_categories(dataset: Dataset, where: str, receipt: Receipt, order: Mapping[Id, Id] | None = None) -> None:
    """Note what is lost of the list of categories.

    Args:
        dataset: what is written.
        where: the place for the receipt.
        receipt: takes the notes.
        order: id -> the id that reading gives back, where the format lists classes; None for formats without a list,
            which are read back in alphabetical order.
    """
    if order is None:
        used = {annotation.category_id for annotation in dataset.annotations}
        unused = [category.name for category in dataset.categories if category.id not in used]
        if unused:
            receipt.note("classes-lost", where, f"{len(unused):,}, the first: {unused[0]}")
        ranked = sorted((c for c in dataset.categories if c.id in used), key=lambda c: c.name)
        order = {category.id: i for i, category in enumerate(ranked, start=1)}
    changed = [f"{old!r} becomes {new!r}" for old, new in order.items() if old != new]
    if changed:
        receipt.note("attributes-lost", where, f"category ids, {len(changed):,}, the first: {changed[0]}")
    above = sum(c.supercategory not in {None, "", "none", c.name} for c in dataset.categories)
    if above:
        receipt.note("attributes-lost", where, f"supercategory of {above:,} categories")


def note_boxes(dataset: Dataset, where: str, receipt: Receipt) -> None:
    """Note the objects whose box is not that of their mask: with a mask, these formats state no box of its own.

    The masks of `dataset` are those that are written.
    """
    images = {image.id: image for image in dataset.images}
    changed, most = 0, 0.0
    for annotation in dataset.annotations:
        if annotation.segmentation is None:
            continue
        image = images[annotation.image_id]
        box = segmentation_bbox_xywh(annotation.segmentation, (image.height, image.width))
        apart = max(abs(a - b) for a, b in zip(box, annotation.bbox_xywh, strict=True))
        changed += apart > ROUNDING
        most = max(most, apart)
    if changed:
        receipt.note("box-replaced", where, f"{changed:,} objects, by up to {most:.2f} px")


def polygons_of(annotation: Annotation, image: Image, where: str, name: str, receipt: Receipt) -> tuple[Polygon, ...]:
    """The outline of an annotation's mask; what changes thereby is on the receipt with the overlap. Empty for none."""
    mask = annotation.segmentation
    if not isinstance(mask, Rle):
        return mask or ()
    polygons = mask_to_polygons(rle_to_mask(mask))
    if not polygons:
        receipt.repair("mask-empty", where, "its box was written", name)
        return ()
    overlap = rle_iou(mask, segmentation_to_rle(polygons, (image.height, image.width)))
    code = "mask-outlined" if overlap == 1 else "holes-filled"
    receipt.repair(code, where, f"{len(polygons)} polygons, IoU {overlap:.4f}", name, overlap)
    return polygons


def one_polygon(annotation: Annotation, image: Image, where: str, name: str, receipt: Receipt) -> Polygon | None:
    """An annotation's mask as one polygon, its parts bridged; None where it has no mask."""
    polygons = polygons_of(annotation, image, where, name, receipt)
    if len(polygons) < 2:
        return polygons[0] if polygons else None
    size_hw = (image.height, image.width)
    whole = join_polygons(polygons)
    overlap = rle_iou(segmentation_to_rle(polygons, size_hw), segmentation_to_rle((whole,), size_hw))
    receipt.repair("parts-bridged", where, f"{len(polygons)} parts, IoU {overlap:.4f}", name, overlap)
    return whole


def place_of(annotation: Annotation, image: Image) -> str:
    """How the receipt calls an annotation that is written."""
    return f"annotation {annotation.id} of {image.file_name}"


def plain(value: Any) -> Any:
    """A float that is a whole number as an integer, for files that people read."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
