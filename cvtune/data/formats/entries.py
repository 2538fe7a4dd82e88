"""What readers of labelling tools' formats have in common: shapes as a file says them, judged against their image.

A reader turns its files into `Entry`s, one an image, of `Shape`s, one an object; `assemble` makes the Dataset of them:
it checks, clips, counts and says on the receipt what happened.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from cvtune.data.coco import (
    Annotation,
    Category,
    Dataset,
    Id,
    Image,
    Polygon,
    Segmentation,
    is_plausible_size,
    make_annotation,
)
from cvtune.data.geometry import mask_to_rle, rle_bbox_xywh, segmentation_area, segmentation_bbox_xywh
from cvtune.data.images import DAMAGED, image_header
from cvtune.data.outlines import clip_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = [
    "MOST_PIXELS",
    "ROUNDING",
    "Entry",
    "Patch",
    "Shape",
    "alphabetical",
    "assemble",
    "classes_of",
    "decode_png",
    "no_area",
    "size_of_image",
]

# What rounding in a file leaves open: a box that sticks out by less is clipped without a word. In pixels; half of the
# sixth decimal of a normalised coordinate, in an image 20,000 pixels wide.
ROUNDING = 0.01
WITHOUT_AREA = "shape-without-area"
# Larger masks than any image: 16,384 x 16,384.
MOST_PIXELS = 2**28
Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Patch:
    """A mask's cut-out: bool [h, w], with its left upper pixel at (`left`, `top`) of the image."""

    left: int
    top: int
    mask_hw: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shape:
    """One object as its file says it, in pixels, 0-based, continuous edges: of box, polygons and patch one is set.

    `fault` is a reason to leave it out that the format itself gives, `repairs` what was changed in reading: both a
    receipt's (code, detail). `category_id` is for formats that number their classes.
    """

    where: str
    name: str | None
    box_xyxy: Corners | None = None
    polygons: tuple[Polygon, ...] | None = None
    patch: Patch | None = None
    fault: tuple[str, str] | None = None
    repairs: tuple[tuple[str, str], ...] = ()
    iscrowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    category_id: Id | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One image and its objects. `size_wh` is None where the file does not say it, `path` where no image was found.

    `embedded` says that the annotation file holds the image itself.
    """

    where: str
    file_name: str
    size_wh: tuple[int, int] | None
    path: Path | None
    shapes: Sequence[Shape]
    extra: Mapping[str, Any] = field(default_factory=dict)
    embedded: bool = False


@dataclass(slots=True)
class _Names:
    """How many images something is true of, and the first one's name."""

    count: int = 0
    first: str = ""

    def add(self, name: str) -> None:
        self.first = self.first if self.count else name
        self.count += 1


def alphabetical(names: Iterable[str | None], listed: Iterable[str] = ()) -> tuple[Category, ...]:
    """Categories 1, 2, ... over the sorted names, for formats that do not number them; those of a list come first."""
    order = dict.fromkeys(listed)
    order |= dict.fromkeys(sorted({name for name in names if name}))
    return tuple(Category(i, name) for i, name in enumerate(order, start=1))


def classes_of(shapes: Iterable[Shape]) -> set[str | None]:
    """The classes that shapes name; what names points and lines alone is no class of objects."""
    return {shape.name for shape in shapes if shape.fault is None or shape.fault[0] != WITHOUT_AREA}


def size_of_image(path: Path) -> tuple[int, int]:
    """Width and height as displayed, from the file's header: labelling tools turn images by EXIF.

    Raises:
        DataError: it is no image.
    """
    return image_header(path).turned_size_wh


def no_area(kind: str) -> tuple[str, str]:
    """The fault of a shape that is a point or a line."""
    return WITHOUT_AREA, f"it is a {kind}"


def decode_png(content: bytes) -> NDArray[np.bool_] | str:
    """A mask in an image file, bool [h, w], what is not zero (of any channel but alpha, or of alpha alone) is inside.

    Returns what is wrong, in words, where it cannot be decoded.
    """
    try:
        with Pillow.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                return f"{image.width} x {image.height} pixels are too many"
            pixels = np.asarray(image)
    except (*DAMAGED, Pillow.DecompressionBombError) as error:
        return f"the mask cannot be decoded: {' '.join(str(error).split())}"
    if pixels.ndim == 3:
        colours = pixels[..., :-1] if pixels.shape[2] in {2, 4} else pixels
        pixels = np.asarray(colours.any(axis=2)) if colours.any() else pixels[..., -1]
    return pixels != 0 if pixels.ndim == 2 else f"the mask has {pixels.ndim} dimensions"


def assemble(
    entries: Iterable[Entry],
    categories: Sequence[Category],
    receipt: Receipt,
    *,
    source: Path,
    first_image_id: int = 1,
    sized: bool = True,
) -> Dataset:
    """Judge every shape against its image and count in.

    Image ids run from `first_image_id`, annotation ids from 1. An image of which neither file nor annotation gives the
    size is dropped with its objects.

    Args:
        entries: the images, in order; each is let go of before the next is asked for.
        categories: every class that a shape may name.
        receipt: where drops, repairs and notes go.
        source: what was read, for messages.
        first_image_id: the first image's id.
        sized: whether the format states sizes, so that a missing one is worth a word.

    Raises:
        DataError: objects there are, but no image has a size.
    """
    ids = {category.name: category.id for category in categories}
    images: list[Image] = []
    annotations: list[Annotation] = []
    missing, embedded, unsized = _Names(), _Names(), _Names()
    owners: dict[Path, str] = {}
    count = objects = 0
    for image_id, entry in enumerate(entries, start=first_image_id):
        count += 1
        objects += len(entry.shapes)
        names = Counter(shape.name or None for shape in entry.shapes)
        receipt.count_in(1, names)
        if entry.path is None:
            (embedded if entry.embedded else missing).add(entry.file_name)
        if entry.size_wh is not None and not is_plausible_size(*entry.size_wh):
            detail = f"{entry.size_wh[0]} x {entry.size_wh[1]} pixels"
            receipt.repair("image-size-implausible", entry.where, detail)
            entry = replace(entry, size_wh=None)
        size, problem = _size(entry)
        if size is None:
            unsized.add(entry.file_name)
            receipt.drop_image(*problem, names)
            continue
        if sized and entry.size_wh is None:
            receipt.repair("image-size-filled", entry.where, f"{entry.file_name} is {size[0]} x {size[1]} pixels")
        if entry.path in owners:
            receipt.note("image-doubled", entry.where, f"names the image of {owners[entry.path]}: {entry.file_name}")
        elif entry.path is not None:
            owners[entry.path] = entry.where
        image = Image(image_id, entry.file_name, *size, entry.path, entry.extra)
        images.append(image)
        for shape in entry.shapes:
            annotation = _annotation(shape, image, ids, len(annotations) + 1, receipt)
            if annotation is not None:
                annotations.append(annotation)
        _note_doubles(entry, receipt)
    if unsized.count and not images and objects:
        raise DataError(
            f"{source}: none of its {count:,} images has a known size (the first: {unsized.first!r}); give the "
            "folder of the images with `images`"
        )
    if missing.count:
        receipt.note("image-missing", str(source), f"{missing.count:,} of {count:,}, the first: {missing.first}")
    if embedded.count:
        receipt.note("image-embedded", str(source), f"{embedded.count:,} images, the first: {embedded.first}")
    return Dataset(tuple(images), tuple(annotations), tuple(categories))


def _size(entry: Entry) -> tuple[tuple[int, int] | None, tuple[str, str, str]]:
    """The image's size, or None and what to say: code, where, detail."""
    if entry.size_wh is not None:
        return entry.size_wh, ("", "", "")
    if entry.path is None:
        detail = f"{entry.file_name} was not found, and nothing else gives its size"
        return None, ("image-missing", entry.where, detail)
    try:
        return size_of_image(entry.path), ("", "", "")
    except DataError as error:
        return None, ("image-unreadable", entry.where, str(error))


def _note_doubles(entry: Entry, receipt: Receipt) -> None:
    seen: Counter[tuple[Any, ...]] = Counter(
        (shape.name, shape.box_xyxy, tuple(p.tobytes() for p in shape.polygons or ()))
        for shape in entry.shapes
        if shape.patch is None and shape.fault is None
    )
    doubled = sum(n - 1 for n in seen.values())
    if doubled:
        detail = f"{doubled:,} of its {len(entry.shapes):,} objects repeat another's class and coordinates"
        receipt.note("object-doubled", entry.where, detail)


def _annotation(
    shape: Shape, image: Image, ids: Mapping[str, Id], annotation_id: int, receipt: Receipt
) -> Annotation | None:
    """The shape as an annotation, or None and a drop."""
    if shape.fault is not None:
        receipt.drop(shape.fault[0], shape.where, shape.fault[1], shape.name or None)
        return None
    if not shape.name:
        receipt.drop("class-missing", shape.where, "no class")
        return None
    for code, detail in shape.repairs:
        receipt.repair(code, shape.where, detail, shape.name)
    size_hw = (image.height, image.width)
    segmentation: Segmentation | None = None
    if shape.box_xyxy is not None:
        box = _box(shape, image, receipt)
        if box is None:
            return None
        area = box[2] * box[3]
    else:
        segmentation = _polygons(shape, image, receipt) if shape.patch is None else _pasted(shape, image, receipt)
        if segmentation is None:
            return None
        box = segmentation_bbox_xywh(segmentation, size_hw)
        area = segmentation_area(segmentation, size_hw)
    category_id = ids[shape.name] if shape.category_id is None else shape.category_id
    extra = dict(shape.extra)
    return make_annotation(annotation_id, image.id, category_id, box, area, shape.iscrowd, segmentation, extra)


def _box(shape: Shape, image: Image, receipt: Receipt) -> Corners | None:
    """x, y, w, h inside the image."""
    assert shape.box_xyxy is not None
    x0, y0, x1, y1 = shape.box_xyxy
    said = f"x0={x0:g} y0={y0:g} x1={x1:g} y1={y1:g}"
    code = ""
    if not np.isfinite(shape.box_xyxy).all():
        code = "box-not-numeric"
    elif x1 < x0 or y1 < y0:
        code = "box-inverted"
    elif x1 == x0 or y1 == y0:
        code = "box-zero-area"
    if code:
        receipt.drop(code, shape.where, said, shape.name)
        return None
    within = f"{said} in an image of {image.width}x{image.height}"
    left, top = max(x0, 0.0), max(y0, 0.0)
    right, bottom = min(x1, float(image.width)), min(y1, float(image.height))
    if right <= left or bottom <= top:
        receipt.drop("box-outside", shape.where, within, shape.name)
        return None
    if max(left - x0, top - y0, x1 - right, y1 - bottom) > ROUNDING:
        receipt.repair("box-clipped", shape.where, within, shape.name)
    return left, top, right - left, bottom - top


def _polygons(shape: Shape, image: Image, receipt: Receipt) -> tuple[Polygon, ...] | None:
    """The parts that are polygons, inside the image; None, and a drop, where none is left."""
    parts = shape.polygons or ()
    kept: list[Polygon] = []
    usable, out = 0, 0.0
    for n, part in enumerate(parts, start=1):
        if len(part) < 6 or len(part) % 2 or not np.isfinite(part).all():
            numbers = f"{len(part)} numbers" if np.isfinite(part).all() else "a value that is no finite number"
            if len(parts) > 1:
                detail = f"polygon {n} of {len(parts)} has {numbers}"
                receipt.repair("mask-degenerate", shape.where, detail, shape.name)
                continue
            receipt.drop("mask-degenerate", shape.where, f"the polygon has {numbers}", shape.name)
            return None
        usable += 1
        far = max(-part.min(), part[::2].max() - image.width, part[1::2].max() - image.height)
        clipped = part if far <= 0 else clip_polygon(part, (image.width, image.height))
        out = max(out, far)
        if len(clipped) >= 6 and min(np.ptp(clipped[::2]), np.ptp(clipped[1::2])) > 0:
            clipped.flags.writeable = False
            kept.append(clipped)
    within = f"in an image of {image.width}x{image.height}"
    if kept:
        if out > ROUNDING:
            receipt.repair("mask-clipped", shape.where, f"{out:.2f} px out, {within}", shape.name)
        return tuple(kept)
    if not usable:
        receipt.drop("mask-degenerate", shape.where, f"none of {len(parts)} polygons is one", shape.name)
    else:
        receipt.drop("box-outside" if out > 0 else "mask-empty", shape.where, f"nothing of it {within}", shape.name)
    return None


def _pasted(shape: Shape, image: Image, receipt: Receipt) -> Segmentation | None:
    """The mask in its image."""
    patch = shape.patch
    assert patch is not None
    if image.width * image.height > MOST_PIXELS:
        detail = f"masks of an image of {image.width}x{image.height} are too large"
        receipt.drop("mask-invalid", shape.where, detail, shape.name)
        return None
    height, width = patch.mask_hw.shape
    left, top = max(patch.left, 0), max(patch.top, 0)
    right, bottom = min(patch.left + width, image.width), min(patch.top + height, image.height)
    mask = np.zeros((image.height, image.width), np.bool_)
    if right > left and bottom > top:
        inside = patch.mask_hw[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left]
        mask[top:bottom, left:right] = inside
    said = f"{width}x{height} at {patch.left}, {patch.top} in an image of {image.width}x{image.height}"
    rle = mask_to_rle(mask)
    if rle_bbox_xywh(rle)[2] == 0:
        receipt.drop("mask-empty", shape.where, said, shape.name)
        return None
    if np.count_nonzero(mask) != np.count_nonzero(patch.mask_hw):
        receipt.repair("mask-clipped", shape.where, said, shape.name)
    return rle
