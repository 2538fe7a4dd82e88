"""Masks as image files: a folder of binary masks an image (as the Data Science Bowl 2018 has it), or one mask of ids.

`cvtune.data.formats.mask_layout` says where images and masks may lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble, size_of_image
from cvtune.data.formats.mask_classes import BACKGROUND, connected_parts, value_names
from cvtune.data.formats.mask_images import crop, mask_size_wh, parts, read_values
from cvtune.data.formats.mask_layout import MaskItem, find_items, find_parts, lies_in
from cvtune.data.formats.masks_write import ONE_CLASS, write
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write"]

VOID = 255  # the border between objects in masks with a palette, as VOC draws it
LOOK_AT = 8
BRIGHTEST = 255  # white, of a mask drawn as a picture
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")
SEVERAL = 4  # more values than this in a file that should have two: grey edges


def detect(path: Path) -> str | None:
    """Evidence that `path` holds images and masks: folders of both, whose sizes agree."""
    if not path.is_dir():
        return None
    items = list(find_items(path, None))
    with_masks = [item for item in items if item.masks]
    looked = with_masks[:: max(1, len(with_masks) // LOOK_AT)][:LOOK_AT]
    agreed = [_agree(item) for item in looked]
    if False in agreed or True not in agreed:
        return None
    count = sum(len(item.masks) for item in items)
    kind = "of ids, one an image" if looked[0].together else "of one object each"
    return f"{count:,} mask images {kind}, beside {len(items):,} images"


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits above the images' own folders, where there are several."""
    return tuple(find_parts(path))


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a set of mask images; masks are exact, as RLE, and may overlap.

    Image names are paths below the set (or below its ``images`` folder), category ids 1, 2, ... over the sorted
    classes.

    Raises:
        DataError: there is no set of masks, an unknown subset, or no image has a size.
    """
    allowed = subsets(source.path)
    if source.subset is not None and source.subset not in allowed:
        listed = ", ".join(allowed) or "none"
        hint = nearest(source.subset, allowed)
        raise DataError(f"{source.path}: no subset {source.subset!r}; allowed: {listed}{hint}")
    if not source.path.is_dir():
        raise DataError(f"{source.path}: masks are read from a folder with `images` and `masks`, and this is a file")
    everything = list(find_items(source.path, source.images))
    if not any(item.masks for item in everything):
        raise DataError(
            f"{source.path}: no mask images; expected <id>/images and <id>/masks, or images and masks, in the folder, "
            "or <image>.jpg and <image>_mask.png side by side"
        )
    first = 1
    items = everything
    if source.subset is not None:
        homes = find_parts(source.path)[source.subset]
        chosen = [any(lies_in(item, home) for home in homes) for item in everything]
        items = [item for item, inside in zip(everything, chosen, strict=True) if inside]
        first += chosen.index(True) if True in chosen else 0
    names = {name for item in everything for _, name in item.masks}
    together = any(item.together for item in items)
    classes: dict[int, str] = {}
    if together and names == {ONE_CLASS}:
        classes, file = value_names(source.path)
        if file is not None:
            names = {name for name in classes.values() if name.strip("_ ").lower() not in BACKGROUND}
            receipt.files.append(file)
            receipt.note("mask-classes", str(source.path), f"{len(names):,} names in {file.name}")
    entries = [_entry(item, source.path, classes, receipt) for item in items]
    if names == {ONE_CLASS}:
        receipt.note("class-assumed", str(source.path), f"{ONE_CLASS!r}")
    if together and not classes:
        detail = "each value but 0 is an object; values that stand for classes would join objects"
        receipt.note("mask-values", str(source.path), detail)
    receipt.files += [mask for item in items for mask, _ in item.masks]
    return assemble(entries, alphabetical(names), receipt, source=source.path, first_image_id=first, sized=False)


def _agree(item: MaskItem) -> bool | None:
    """Whether the image and its first mask look the part: of one size, and the mask no photograph.

    None where the mask is empty, which tells nothing.
    """
    size = mask_size_wh(item.masks[0][0])
    if size is None or (item.together and item.image is None):
        return False
    try:
        if item.image is not None and size != size_of_image(item.image):
            return False
        values = np.unique(read_values(item.masks[0][0]))
    except DataError:
        return False
    if item.together and not values.any():
        return None
    if item.together:
        # Few values for so many pixels; a photograph has as many as it can.
        return 1 < len(values) < max(4, size[0] * size[1] // 16)
    return len(values) <= 64


def _entry(item: MaskItem, root: Path, classes: Mapping[int, str], receipt: Receipt) -> Entry:
    """The item as shapes. Without its image the size is that of its first mask that can be read.

    `classes` are the names of values, where these are classes.
    """
    label = f"{item.name}"
    size: tuple[int, int] | None = None
    if item.image is not None:
        try:
            size = size_of_image(item.image)
        except DataError as error:
            receipt.note("image-unreadable", label, str(error))
    shapes: list[Shape] = []
    used: NDArray[np.uint8] | None = None
    for file, name in item.masks:
        where = file.relative_to(root).as_posix()
        try:
            values = read_values(file)
        except DataError as error:
            shapes.append(Shape(where, name, fault=("mask-invalid", str(error))))
            continue
        got = (values.shape[1], values.shape[0])
        size = size or got
        if got != size:
            detail = f"{got[0]}x{got[1]}, but its image {item.name} is {size[0]}x{size[1]}"
            shapes.append(Shape(where, name, fault=("mask-size-differs", detail)))
            continue
        if not item.together or (not classes and _has_grey_edges(values, file)):
            new = [_of_one(values, where, name)]
        else:
            new = list(_of_classes(values, where, classes) if classes else _of_ids(values, where, name, receipt))
        used = np.zeros(values.shape, np.uint8) if used is None else used
        for shape in new:
            if shape.patch is not None:
                height, width = shape.patch.mask_hw.shape
                left, top = shape.patch.left, shape.patch.top
                region = used[top : top + height, left : left + width]
                region[shape.patch.mask_hw & (region < 2)] += 1
        shapes += new
    overlap = 0 if used is None else int(np.count_nonzero(used > 1))
    if overlap:
        receipt.note("masks-overlap", label, f"{overlap:,} pixels belong to several of its {len(shapes):,} masks")
    return Entry(label, item.name, size, item.image, shapes)


def _has_grey_edges(values: NDArray[Any], file: Path) -> bool:
    """Whether a mask tells inside from outside alone: its other values are noise of JPEG, or edges drawn smoothly."""
    if file.suffix.lower() in LOSSY:
        return True
    inside = values[values != 0]
    bright = np.count_nonzero(inside == BRIGHTEST)
    return 2 * bright > len(inside) > bright and len(np.unique(inside)) > SEVERAL


def _of_one(values: NDArray[Any], where: str, name: str) -> Shape:
    """The object of a binary mask: what is not 0, or, where edges are grey, above half of the greatest value."""
    greatest = int(values.max(initial=0))
    shape = Shape(where, name)
    inside = values != 0
    if greatest > 1:
        middle = inside & (values < greatest)
        if middle.any() and len(found := np.unique(values[middle])) >= SEVERAL:
            detail = f"{len(found) + 2} values up to {greatest}; inside is what is above {greatest // 2}"
            inside = values > greatest // 2
            shape = replace(shape, repairs=(("mask-thresholded", detail),))
    if not inside.any():
        return replace(shape, fault=("mask-empty", "every pixel is 0"), repairs=())
    return replace(shape, patch=crop(inside))


def _of_ids(
    values: NDArray[Any],
    where: str,
    name: str,
    receipt: Receipt,
) -> Iterator[Shape]:
    """The objects of a mask of ids. 255 among small numbers is the border that belongs to no object."""
    found = list(parts(values))
    if len(found) > 2 and found[-1][0] == VOID and found[-2][0] < VOID // 2:
        receipt.note("mask-void", where, f"{int(np.count_nonzero(values == VOID)):,} pixels of value {VOID}")
        found = found[:-1]
    for value, patch in found:
        yield Shape(f"{where} value {value}", name, patch=patch)


def _of_classes(values: NDArray[Any], where: str, classes: Mapping[int, str]) -> Iterator[Shape]:
    """The connected parts of each class; 255 without a name is the border that belongs to no object."""
    for value, number, name, patch in connected_parts(values, classes):
        if name is not None:
            yield Shape(f"{where} value {value} part {number}", name, patch=patch)
        elif value != VOID:
            yield Shape(f"{where} value {value}", None, fault=("class-unknown", f"no class has the value {value}"))
