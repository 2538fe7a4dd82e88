"""The COCO core: Dataset, Image, Annotation, Category, and reading and writing of COCO JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Annotation", "Category", "Dataset", "Image", "Rle", "Segmentation"]

Id = int | str
Polygon = NDArray[np.float64]


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


@dataclass(frozen=True)
class Dataset:
    """Images, annotations and categories in source order, with the file's `info`, `licenses` and other keys."""

    images: tuple[Image, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
