"""The COCO core: Dataset, Image, Annotation, Category, and reading and writing of COCO JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from cvtune.errors import DataError
from cvtune.runs import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cvtune.data.receipt import Receipt

__all__ = [
    "Annotation",
    "Category",
    "Dataset",
    "Id",
    "Image",
    "Polygon",
    "Rle",
    "Segmentation",
    "is_plausible_size",
    "load_coco",
    "make_annotation",
    "save_coco",
    "to_coco_json",
]

Id = int | str
# So many records are written at a time.
BLOCK = 1000
# pycocotools counts pixels, and fifths of them along a side, in 32 bits, and takes memory for every fifth.
MOST_PIXELS, LONGEST_SIDE = 2**30, 2**20

Polygon: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True)
class Rle:
    """A run-length encoded mask: `size_hw` and COCO's compressed counts (column-major runs)."""

    size_hw: tuple[int, int]
    counts: bytes


Segmentation = tuple[Polygon, ...] | Rle
"""Polygons, each a flat float64 array x0, y0, x1, y1, ... in pixels, whose union is the object; or an RLE mask."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image. `file_name` is as the source says; `path` is where it was found, or None."""

    id: Id
    file_name: str
    width: int
    height: int
    path: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Category:
    """One category: the source's own id and name."""

    id: Id
    name: str
    supercategory: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object. `bbox_xywh` in pixels, 0-based, continuous edges; `area` is the mask's where there is a mask."""

    id: Id
    image_id: Id
    category_id: Id
    bbox_xywh: tuple[float, float, float, float]
    area: float
    iscrowd: bool = False
    segmentation: Segmentation | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class _Unfrozen:
    """An annotation that is being made: a frozen dataclass sets each field by a call, in three times the time."""

    __slots__ = Annotation.__slots__

    def __init__(
        self, id: Id, image_id: Id, category_id: Id, bbox_xywh: tuple[float, float, float, float], area: float,
        iscrowd: bool, segmentation: Segmentation | None, extra: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.id, self.image_id, self.category_id, self.bbox_xywh = id, image_id, category_id, bbox_xywh
        self.area, self.iscrowd, self.segmentation, self.extra = area, iscrowd, segmentation, extra
        self.__class__ = Annotation  # type: ignore[assignment]


make_annotation = cast(type[Annotation], _Unfrozen)
"""`Annotation`, with all of its arguments by place, for readers that make a million of them."""


@dataclass(frozen=True)
class Dataset:
    """Images, annotations and categories in source order, with the file's `info`, `licenses` and other keys."""

    images: tuple[Image, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)


def is_plausible_size(width: int, height: int) -> bool:
    """Whether masks of such an image can be counted. Larger than any image, a size is a mistake of the file."""
    return width * height <= MOST_PIXELS and max(width, height) <= LONGEST_SIDE


def load_coco(
    path: Path, images: Path | None = None, receipt: Receipt | None = None, root: Path | None = None
) -> Dataset:
    """Read COCO JSON.

    Ids are integers (whole floats too) or strings and stay as they are; annotations without one, or with that of an
    earlier one, get the next free integers. Keys that COCO's core does not know (keypoints, attributes, scores, ...)
    are kept in `extra`. An area that is missing is the mask's in pixels, else the box's; a stated one is kept. Polygons
    are read-only.

    Mended: a missing bbox is taken from the mask; a box that CVAT says is turned becomes a polygon; polygons of fewer
    than three points or with stray numbers are left out of their annotation. Left out: annotations of unlisted images,
    with a bbox that is not four finite numbers or has a negative size, with an RLE that is not their image's size, or
    with neither box nor mask. The receipt says so, with ``<file name> annotation <id>``; without a receipt a loss is an
    error.

    Args:
        path: the JSON file.
        images: the folder that file names are relative to; without it they are looked for around the JSON file. An
            image that is not found has the path None.
        receipt: where repairs and losses are noted. Counting in is left to the caller.
        root: the folder of the set, below which images that lie nowhere usual are searched; else the file's own.

    Raises:
        DataError: the file is missing, is no JSON or no COCO; an id, a name or a size is missing or malformed; two
            images or two categories share an id (an image of one name may be listed again); an annotation's category
            is not listed.
    """
    # The reader needs the types of this module.
    from cvtune.data.coco_read import read_coco

    return read_coco(Path(path), images, receipt, root)


def save_coco(dataset: Dataset, path: Path) -> None:
    """Write COCO JSON, a record a line; `load_coco` gives the same data set back, to the last bit.

    Raises:
        DataError: a box, an area or a polygon is not finite, which JSON cannot say.
        RunError: the file cannot be written; an older one is untouched.
    """
    write_bytes(Path(path), _pieces(dataset))


def to_coco_json(dataset: Dataset) -> dict[str, Any]:
    """A data set as plain JSON types in COCO's form: polygons as lists, RLE compressed to a string.

    An image's `path` is not written. Raises DataError where a box, an area or a polygon is not finite.
    """
    return _other_keys(dataset) | {key: list(records) for key, records in _lists(dataset)}


def _lists(dataset: Dataset) -> tuple[tuple[str, Iterable[dict[str, Any]]], ...]:
    return (
        ("categories", map(_category_json, dataset.categories)),
        ("images", map(_image_json, dataset.images)),
        ("annotations", map(_annotation_json, dataset.annotations)),
    )


def _other_keys(dataset: Dataset) -> dict[str, Any]:
    return {key: value for key, value in dataset.extra.items() if key not in ("images", "annotations", "categories")}


def _category_json(category: Category) -> dict[str, Any]:
    above = {} if category.supercategory is None else {"supercategory": category.supercategory}
    return {**category.extra, "id": category.id, "name": category.name, **above}


def _image_json(image: Image) -> dict[str, Any]:
    size = {"width": image.width, "height": image.height}
    return {**image.extra, "id": image.id, "file_name": image.file_name, **size}


def _annotation_json(annotation: Annotation) -> dict[str, Any]:
    x, y, w, h = bbox = [*map(float, annotation.bbox_xywh)]
    area = float(annotation.area)
    record: dict[str, Any] = {
        **annotation.extra,
        "id": annotation.id,
        "image_id": annotation.image_id,
        "category_id": annotation.category_id,
        "bbox": bbox,
        "area": area,
        "iscrowd": 1 if annotation.iscrowd else 0,
    }
    # Only a sum of huge numbers can be infinite where no part of it is.
    finite = math.isfinite(x + y + w + h + area) or all(map(math.isfinite, (x, y, w, h, area)))
    mask = annotation.segmentation
    if mask is None and finite:
        return record
    if isinstance(mask, Rle):
        record["segmentation"] = {"size": list(mask.size_hw), "counts": mask.counts.decode("ascii")}
    elif mask is not None:
        finite = finite and all(map(_is_finite, mask))
        record["segmentation"] = [polygon.tolist() for polygon in mask]
    if not finite:
        raise DataError(
            f"annotation {annotation.id!r} of image {annotation.image_id!r}: its bbox {record['bbox']}, its area "
            f"{record['area']} and its polygons must be finite numbers to be written as JSON"
        )
    return record


def _is_finite(polygon: Polygon) -> bool:
    return math.isfinite(polygon.sum()) or all(map(math.isfinite, polygon.tolist()))


def _pieces(dataset: Dataset) -> Iterator[bytes]:
    """The text of the file, some records at a time."""
    import msgspec

    encode = msgspec.json.Encoder().encode
    yield b"{\n"
    for key, value in _other_keys(dataset).items():
        yield encode(key) + b": " + encode(value) + b",\n"
    for n, (key, records) in enumerate(_lists(dataset)):
        yield (b",\n" if n else b"") + encode(key) + b": [\n"
        left, first = iter(records), True
        while block := list(itertools.islice(left, BLOCK)):
            yield (b"" if first else b",\n") + b",\n".join(map(encode, block))
            first = False
        yield b"\n]"
    yield b"\n}\n"
