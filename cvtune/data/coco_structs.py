"""A run's canonical ground truth as msgspec reads it: masks stay undecoded, for those who need a few of them."""

from __future__ import annotations

import msgspec

__all__ = ["CocoAnnotation", "CocoImage", "CocoTruth"]


class CocoImage(msgspec.Struct, gc=False):
    """An image; its size is in pixels."""

    id: int
    file_name: str
    width: int
    height: int


class CocoAnnotation(msgspec.Struct, gc=False):
    """An object: `bbox` is x, y, w, h in pixels, `segmentation` JSON, empty where there is none."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool = 0
    segmentation: msgspec.Raw = msgspec.Raw()


class CocoTruth(msgspec.Struct):
    """A file's images and annotations."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
