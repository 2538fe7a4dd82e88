"""COCO files to a data set: categories and images, checked and mended; annotations are `coco_annotations`'."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvtune.data.coco import Category, Dataset, Id, Image, is_plausible_size
from cvtune.data.coco_annotations import EMPTY, AnnotationReader, plain_id, take, take_id
from cvtune.data.coco_file import LISTS, CocoFile, open_coco
from cvtune.data.coco_shapes import NUMBERS
from cvtune.data.far_images import FarImages, images_of_sources
from cvtune.data.formats.texts import whole
from cvtune.data.image_files import ImageFinder, image_folders
from cvtune.errors import DataError

if TYPE_CHECKING:
    from cvtune.data.receipt import Receipt

__all__ = ["read_coco", "read_coco_file"]


def read_coco(path: Path, images: Path | None, receipt: Receipt | None, root: Path | None = None) -> Dataset:
    """Read a COCO file; see `cvtune.data.coco.load_coco`."""
    return read_coco_file(open_coco(path), path, images, receipt, root)


def read_coco_file(
    file: CocoFile, path: Path, images: Path | None, receipt: Receipt | None, root: Path | None = None
) -> Dataset:
    """Read an opened COCO file, which may be another format's in COCO's form."""
    categories = _categories(file, path, receipt)
    listed = _images(file, _finder(path, images, root), path, receipt)
    keyed = [key for key in LISTS if file.is_keyed(key)]
    if keyed and receipt is not None:
        receipt.note("value-repaired", path.name, f"{', '.join(keyed)}: an object instead of a list; its values count")
    reader = AnnotationReader(path, categories, listed, receipt)
    with _no_garbage_collection():
        annotations = reader.read(file)
    kept = tuple(image for image in listed.values() if image.width)
    return Dataset(kept, annotations, tuple(categories.values()), file.extra())


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Among millions of new objects that all stay, looking for garbage takes a third of the time and finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _categories(file: CocoFile, path: Path, receipt: Receipt | None) -> dict[Id, Category]:
    found: dict[Id, Category] = {}
    for record in chain.from_iterable(file.chunks("categories")):
        at = f"{file.where}: categories[{len(found)}]"
        category_id, name = take_id(record, "id", at), take(record, "name", at)
        if type(name) in NUMBERS and receipt is not None:
            who = f"{path.name} category {category_id}"
            receipt.repair("value-repaired", who, f"its name is the number {name}")
            name = str(name)
        if not isinstance(name, str):
            raise DataError(f"{at}: 'name' must be a string, got {name!r}")
        if category_id in found:
            raise DataError(
                f"{file.where}: category id {category_id!r} is given twice, to {found[category_id].name!r} and "
                f"{name!r}; each category needs an id of its own"
            )
        above = record.pop("supercategory") if isinstance(record.get("supercategory"), str) else None
        found[category_id] = Category(category_id, name, above, record or EMPTY)
    return found


def _finder(path: Path, folder: Path | None, root: Path | None) -> ImageFinder:
    """Where the images of the file `path` of the set below `root` may lie."""
    given, where = folder.absolute() if folder else None, path.absolute()
    top = root.absolute() if root is not None else where.parent
    own = where.relative_to(top) if where.is_relative_to(top) else Path(where.name)
    made_from = images_of_sources(where) if given is None else []
    return ImageFinder(image_folders(where, given), FarImages(given or top, own), *made_from)


def _images(file: CocoFile, finder: ImageFinder, path: Path, receipt: Receipt | None) -> dict[Id, Image]:
    found: dict[Id, Image] = {}
    repeated = 0
    for record in chain.from_iterable(file.chunks("images")):
        at = f"{file.where}: images[{len(found)}]"
        image_id, file_name = take_id(record, "id", at), take(record, "file_name", at)
        if not isinstance(file_name, str) or not file_name:
            raise DataError(f"{at}: 'file_name' must be a non-empty string, got {file_name!r}")
        if image_id in found:
            if receipt is not None and found[image_id].file_name == file_name:
                repeated += 1  # a record for each of its objects, as some write it
                continue
            raise DataError(
                f"{file.where}: image id {image_id!r} is given twice, to {found[image_id].file_name!r} and "
                f"{file_name!r}; each image needs an id of its own"
            )
        where_found = _find(file_name, finder)
        width, height = record.pop("width", None), record.pop("height", None)
        who = f"{path.name} image {image_id}"
        if type(width) is type(height) is int and not is_plausible_size(width, height):
            if receipt is None:
                raise DataError(f"{at}: an image of {width} x {height} pixels is too large; correct width and height")
            receipt.repair("image-size-implausible", who, f"{width} x {height} pixels")
            width = height = None
        if _no_size(width, height):
            code, fault = "image-size-missing", f"no width and height, and {file_name} was not found"
            if where_found is not None:
                try:
                    width, height = _size_wh_of_file(where_found)
                except DataError as error:
                    if receipt is None:
                        raise
                    code, fault = "image-unreadable", str(error)
            if width and receipt is not None:
                receipt.repair("image-size-filled", who, f"{file_name} is {width} x {height} pixels")
            elif receipt is not None:
                # It stays listed, for its annotations to be told apart from those of unknown images.
                receipt.drop_image(code, who, fault)
                found[image_id] = Image(image_id, file_name, 0, 0)
                continue
        elif receipt is not None and type(width) is type(height) is str and whole(width) and whole(height):
            receipt.repair("value-repaired", who, f"its width and height are strings, {width!r} and {height!r}")
            width, height = whole(width), whole(height)
        width, height = _pixels(width, "width", image_id, file), _pixels(height, "height", image_id, file)
        found[image_id] = Image(image_id, file_name, width, height, where_found, record or EMPTY)
    if repeated and receipt is not None:
        receipt.note("value-repaired", path.name, f"{repeated:,} records repeat an image that was listed before")
    return found


def _find(file_name: str, finder: ImageFinder) -> Path | None:
    # A run's canonical files name images absolutely.
    if os.path.isabs(file_name) and os.path.isfile(file_name):
        return Path(file_name)
    found = finder.find(file_name)
    return found[0] if found else None


def _no_size(width: Any, height: Any) -> bool:
    return width in (None, 0, "") and height in (None, 0, "")


def _pixels(value: Any, key: str, image_id: Id, file: CocoFile) -> int:
    size = plain_id(value)
    if not isinstance(size, int) or size < 1:
        raise DataError(
            f"{file.where}: image {image_id!r}: {key!r} must be a positive integer, got {value!r}; where the image's "
            "file is found, width and height may be left out"
        )
    return size


def _size_wh_of_file(path: Path) -> tuple[int, int]:
    """Width and height as displayed: annotation tools turn images by EXIF before anybody draws on them."""
    from cvtune.data.images import image_header

    header = image_header(path)
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
