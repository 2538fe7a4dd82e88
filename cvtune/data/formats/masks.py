"""Masks as image files: a folder of binary masks an image (as the Data Science Bowl 2018 has it), or one mask of ids.

Layouts, of which a set has one:

- ``<id>/images/<image>`` and ``<id>/masks/*.png``, one file an object; with or without a folder of the split above;
- ``images/<image>`` and ``masks/<image or its stem>/*.png``, one file an object; this one is written;
- ``images/<image>`` and ``masks/<stem>.png``, one file an image: each value but 0 is an object.

In the first two, folders among the masks (``masks/<class>/*.png``) are classes; else all objects are of one class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble, size_of_image
from cvtune.data.formats.mask_images import crop, mask_files, mask_size_wh, parts, read_values
from cvtune.data.formats.masks_write import ONE_CLASS, write
from cvtune.data.image_files import ImageFinder
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write"]

ENDINGS = ("", "_mask", "_masks", "_instances", "_instance", "_seg", "_label", "_labels")
VOID = 255  # the border between objects in masks with a palette, as VOC draws it
LOOK_AT = 8
SEVERAL = 4  # more values than this in a file that should have two: grey edges


@dataclass(frozen=True)
class _Item:
    """One image with its mask files: of one object each with its class, or (`together`) one file for all."""

    name: str
    image: Path | None
    masks: tuple[tuple[Path, str], ...]
    together: bool = False


def detect(path: Path) -> str | None:
    """Evidence that `path` holds images and masks: folders of both, whose sizes agree."""
    if not path.is_dir():
        return None
    items = list(_items(path, None))
    with_masks = [item for item in items if item.masks]
    looked = with_masks[:: max(1, len(with_masks) // LOOK_AT)][:LOOK_AT]
    if not looked or not all(_agree(item) for item in looked):
        return None
    count = sum(len(item.masks) for item in items)
    kind = "of ids, one an image" if looked[0].together else "of one object each"
    return f"{count:,} mask images {kind}, beside {len(items):,} images"


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits above the images' own folders, where there are several."""
    if not path.is_dir():
        return ()
    if pairs := _pairs(path):
        return tuple(pairs) if len(pairs) > 1 else ()
    if (path / "masks").is_dir() or any(_is_home(f) for f in _folders(path)):
        return ()
    found = tuple(f.name for f in _folders(path) if _is_set(f))
    return found if len(found) > 1 else ()


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
    everything = list(_items(source.path, source.images))
    if not any(item.masks for item in everything):
        raise DataError(
            f"{source.path}: no mask images; expected <id>/images and <id>/masks, or images and masks, in the folder"
        )
    first = 1
    items = everything
    if source.subset is not None:
        homes = _pairs(source.path).get(source.subset, (source.path / source.subset,))
        chosen = [any(_lies_in(item, home) for home in homes) for item in everything]
        items = [item for item, inside in zip(everything, chosen, strict=True) if inside]
        first += chosen.index(True) if True in chosen else 0
    entries = [_entry(item, source.path, receipt) for item in items]
    names = {name for item in everything for _, name in item.masks}
    if names == {ONE_CLASS}:
        receipt.note("class-assumed", str(source.path), f"{ONE_CLASS!r}")
    if any(item.together for item in items):
        detail = "each value but 0 is an object; values that stand for classes would join objects"
        receipt.note("mask-values", str(source.path), detail)
    receipt.files += [mask for item in items for mask, _ in item.masks]
    return assemble(entries, alphabetical(names), receipt, source=source.path, first_image_id=first, sized=False)


def _items(path: Path, images: Path | None) -> Iterator[_Item]:
    """The images of a set with their masks, in order, whichever layout it has."""
    if pairs := _pairs(path):
        for split, (own, mask_folder) in pairs.items():
            folders = [images / split, images] if images is not None else [own]
            yield from (replace(item, name=f"{split}/{item.name}") for item in _beside(folders, mask_folder))
        return
    if (path / "masks").is_dir() and not ((path / "images").is_dir() and _is_home(path)):
        folders = [images] if images is not None else [path / "images", path / "imgs", path]
        yield from _beside(folders, path / "masks")
        return
    for home in _homes(path):
        found = mask_files(home / "images")
        found_masks = tuple(_classed(home / "masks"))
        if found or found_masks:
            name = found[0] if found else home / "images" / f"{home.name}.png"
            yield _Item(name.relative_to(path).as_posix(), found[0] if found else None, found_masks)


def _pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Split -> its folders of images and masks: ``train/images`` and ``train/masks``, or ``images/train`` and so on."""
    own = {f.name: (f / "images", f / "masks") for f in _folders(path) if not _is_home(f)}
    found = {split: pair for split, pair in own.items() if all(map(mask_files, pair))}
    if found or not (path / "images").is_dir():
        return found
    below = {f.name: (path / "images" / f.name, f) for f in _folders(path / "masks")}
    both = {split: pair for split, pair in below.items() if all(map(mask_files, pair))}
    return both if len(both) == len(below) else {}


def _homes(path: Path) -> Iterable[Path]:
    """The folders of one image each."""
    if _is_home(path):
        return [path]
    own = [folder for folder in _folders(path) if _is_home(folder)]
    return own or [f for split in _folders(path) for f in _folders(split) if _is_home(f)]


def _is_home(folder: Path) -> bool:
    """Whether it is the folder of one image: `masks`, and `images` (where it is there) with one image and not more."""
    if not (folder / "masks").is_dir():
        return False
    images = mask_files(folder / "images")
    if len(images) != 1:
        return not (folder / "images").is_dir() and bool(mask_files(folder / "masks")) and folder.parent.name != ""
    stem = images[0].stem
    named_like_it = [f for f in (folder / "masks").iterdir() if _stem_of(f) == stem or f.name == images[0].name]
    return not named_like_it


def _is_set(folder: Path) -> bool:
    return any(_is_home(f) for f in _folders(folder))


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))
    except OSError:
        return []


def _classed(folder: Path) -> Iterator[tuple[Path, str]]:
    """(mask file, class) below a folder of one image's masks."""
    for file in mask_files(folder):
        yield file, ONE_CLASS
    for inner in _folders(folder):
        for file in mask_files(inner):
            yield file, unquote(inner.name)


def _beside(images: Sequence[Path], masks: Path) -> Iterator[_Item]:
    """The items of a folder of masks, with the images that lie in one of some folders."""
    finder = ImageFinder(images)
    folders, files = _folders(masks), mask_files(masks)
    seen: set[Path] = set()
    for folder in folders:
        found = finder.find(unquote(folder.name), any_suffix=True)
        name = unquote(folder.name) if found is None else found[0].relative_to(found[1]).as_posix()
        seen.add(found[0] if found else folder)
        yield _Item(name, found[0] if found else None, tuple(_classed(folder)))
    for file in files:
        found = next((hit for stem in _stems(file) if (hit := finder.find(stem, any_suffix=True))), None)
        if found is not None and found[0] == file:
            found = None
        seen.add(found[0] if found else file)
        name = file.name if found is None else found[0].relative_to(found[1]).as_posix()
        yield _Item(name, found[0] if found else None, ((file, ONE_CLASS),), together=True)
    for folder in finder.folders[:1]:
        for image in mask_files(folder):
            if image not in seen:
                yield _Item(image.name, image, ())


def _stem_of(file: Path) -> str:
    return re.sub(f"({'|'.join(ENDINGS[1:])})$", "", file.stem if file.is_file() else file.name)


def _stems(file: Path) -> Sequence[str]:
    return list(dict.fromkeys((file.stem, _stem_of(file))))


def _lies_in(item: _Item, folder: Path) -> bool:
    places = [item.image] if item.image is not None else [mask for mask, _ in item.masks[:1]]
    return any(place is not None and folder in place.parents for place in places)


def _agree(item: _Item) -> bool:
    """Whether the image and its first mask look the part: of one size, and the mask no photograph."""
    size = mask_size_wh(item.masks[0][0])
    if size is None or (item.together and item.image is None):
        return False
    try:
        if item.image is not None and size != size_of_image(item.image):
            return False
        values = np.unique(read_values(item.masks[0][0]))
    except DataError:
        return False
    if item.together:
        # Few values for so many pixels; a photograph has as many as it can.
        return 1 < len(values) < max(4, size[0] * size[1] // 16)
    return len(values) <= 64


def _entry(item: _Item, root: Path, receipt: Receipt) -> Entry:
    """The item as shapes. Without its image the size is that of its first mask that can be read."""
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
        new = list(_of_ids(values, where, name, receipt)) if item.together else [_of_one(values, where, name)]
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
