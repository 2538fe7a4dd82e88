"""Boxes, polygons and run-length masks: NumPy and pycocotools' rasteriser, in 0-based pixels with continuous edges.

Pixel (0, 0) covers x and y from 0 to 1. A polygon is rasterised as COCO does it: what counts is, to a fifth of a
pixel, whether the centre of a pixel lies inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_api
from numpy.typing import ArrayLike, NDArray

from cvtune.data.coco import Polygon, Rle, Segmentation
from cvtune.errors import DataError

__all__ = [
    "clip_xyxy",
    "mask_to_polygons",
    "mask_to_rle",
    "rings_to_rle",
    "rle_bbox_xywh",
    "rle_from_json",
    "rle_iou",
    "rle_to_json",
    "rle_to_mask",
    "segmentation_area",
    "segmentation_bbox_xywh",
    "segmentation_to_rle",
    "xywh_to_xyxy",
    "xyxy_to_xywh",
]

BoxXywh = tuple[float, float, float, float]

# pycocotools walks along every edge in steps of 1/5 px with 32-bit integers: far corners cost memory, then overflow.
FARTHEST = 1e5
LONGEST = 7  # characters of one compressed count: five bits each, and a count has at most 32


def xywh_to_xyxy(boxes_xywh: ArrayLike) -> NDArray[np.float64]:
    """Boxes as left, top, right, bottom.

    Args:
        boxes_xywh: [n, 4] left, top, width, height in pixels; an empty list is n = 0.

    Returns:
        float64 [n, 4], a new array.
    """
    boxes = np.array(boxes_xywh, np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def xyxy_to_xywh(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Boxes as left, top, width, height: the inverse of `xywh_to_xyxy`, up to rounding. float64 [n, 4], a new array."""
    boxes = np.array(boxes_xyxy, np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def clip_xyxy(boxes_xyxy: ArrayLike, size_wh: tuple[float, float]) -> NDArray[np.float64]:
    """Boxes clipped to an image. float64 [n, 4], a new array; a box wholly outside ends with no width or height.

    Args:
        boxes_xyxy: [n, 4] left, top, right, bottom in pixels.
        size_wh: the image's width and height in pixels.
    """
    boxes = np.array(boxes_xyxy, np.float64).reshape(-1, 4)
    width, height = size_wh
    clipped: NDArray[np.float64] = np.clip(boxes, 0.0, np.array([width, height, width, height], np.float64))
    return clipped


def segmentation_to_rle(segmentation: Segmentation, size_hw: tuple[int, int]) -> Rle:
    """Rasterise a segmentation; the parts are united.

    Args:
        segmentation: polygons or an RLE. Polygons of fewer than three points, of an odd number of coordinates or with
            a coordinate that is not finite cover nothing.
        size_hw: the image's height and width in pixels.

    Raises:
        DataError: an RLE is of another size.
    """
    if isinstance(segmentation, Rle):
        if tuple(segmentation.size_hw) != tuple(size_hw):
            raise DataError(_size_differs(segmentation.size_hw, size_hw))
        return segmentation
    height, width = size_hw
    parts = [_near(polygon, size_hw) for polygon in segmentation if _usable(polygon)]
    parts = [part for part in parts if len(part) >= 6]
    if not parts:
        return mask_to_rle(np.zeros(size_hw, np.bool_))
    merged = mask_api.merge(mask_api.frPyObjects(parts, height, width))
    return Rle((height, width), merged["counts"])


def segmentation_area(segmentation: Segmentation, size_hw: tuple[int, int]) -> float:
    """How many pixels of an image of `size_hw` a segmentation covers: the area of its mask, as COCO counts it."""
    return float(mask_api.area(_coco(segmentation_to_rle(segmentation, size_hw))))


def segmentation_bbox_xywh(segmentation: Segmentation, size_hw: tuple[int, int]) -> BoxXywh:
    """The upright box around a segmentation, clipped to its image: left, top, width, height in pixels.

    Of polygons it is the box of their corners, not of their pixels. Four zeros where nothing is covered.
    """
    if isinstance(segmentation, Rle):
        return rle_bbox_xywh(segmentation)
    usable = [polygon.reshape(-1, 2) for polygon in segmentation if _usable(polygon)]
    if not usable:
        return (0.0, 0.0, 0.0, 0.0)
    points = np.concatenate(usable)
    corners = np.concatenate([points.min(axis=0), points.max(axis=0)])
    x0, y0, x1, y1 = clip_xyxy(corners, (size_hw[1], size_hw[0]))[0].tolist()
    return (x0, y0, x1 - x0, y1 - y0)


def rings_to_rle(exteriors: Iterable[Polygon], holes: Iterable[Polygon], size_hw: tuple[int, int]) -> Rle:
    """Rasterise outlines with holes.

    A hole is cut out of the exteriors that it lies in (which are larger and cover more than half of it), so an island,
    an exterior within a hole, stays.

    Args:
        exteriors: outlines, each a flat float64 array x0, y0, x1, y1, ... in pixels; they are united.
        holes: outlines of what is cut out, in any order.
        size_hw: the image's height and width in pixels.
    """
    cuts = [mask for mask in (rle_to_mask(segmentation_to_rle((hole,), size_hw)) for hole in holes) if mask.any()]
    if not cuts:
        return segmentation_to_rle(tuple(exteriors), size_hw)
    union = np.zeros(size_hw, np.bool_)
    for exterior in exteriors:
        mask = rle_to_mask(segmentation_to_rle((exterior,), size_hw))
        area = np.count_nonzero(mask)
        within = [
            cut
            for cut in cuts
            if np.count_nonzero(cut) <= area and 2 * np.count_nonzero(cut & mask) > np.count_nonzero(cut)
        ]
        for cut in within:
            mask &= ~cut
        union |= mask
    return mask_to_rle(union)


def rle_to_mask(rle: Rle) -> NDArray[np.bool_]:
    """Decode to bool [h, w]. The RLE must be a valid one, as those of `rle_from_json` and `mask_to_rle` are."""
    if 0 in rle.size_hw:
        return np.zeros(rle.size_hw, np.bool_)
    runs = _runs(rle.counts)
    inside = np.zeros(len(runs), np.bool_)
    inside[1::2] = True
    height, width = rle.size_hw
    # Columns after columns.
    return np.ascontiguousarray(np.repeat(inside, runs).reshape(width, height).T)


def mask_to_rle(mask: NDArray[Any]) -> Rle:
    """Encode a mask.

    Args:
        mask: [h, w], any dtype; what is not zero is inside.

    Raises:
        ValueError: it is not two-dimensional.
    """
    if mask.ndim != 2:
        raise ValueError(f"a mask has two dimensions [h, w], got the shape {mask.shape}")
    encoded = mask_api.encode(np.asfortranarray(mask != 0, np.uint8))
    height, width = mask.shape
    return Rle((height, width), encoded["counts"])


def mask_to_polygons(mask: NDArray[Any]) -> tuple[Polygon, ...]:
    """Outlines of a mask's parts (pixels that touch, corners included) along pixel edges; holes are lost.

    Rasterising them gives the mask back where it has no holes, and their box is the mask's.

    Args:
        mask: [h, w], any dtype; what is not zero is inside.

    Returns:
        One flat float64 array x0, y0, x1, y1, ... a part, in pixels; none for an empty mask.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ()
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : rows[-1] + 1, left : columns[-1] + 1] != 0
    # OpenCV's contours run through pixel centres, half a pixel inside of the edge. On this lattice corners and edges of
    # pixels are points too (at even places), so that a contour runs along the edges, and one pixel is a square.
    height, width = inside.shape
    lattice = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    lattice[1::2, 1::2] = inside
    lattice = np.asarray(cv2.dilate(lattice, np.ones((3, 3), np.uint8)), np.uint8)
    contours, _ = cv2.findContours(lattice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    # contour: [n, 1, 2]
    return tuple((contour.reshape(-1, 2) / 2.0 + (left, top)).reshape(-1) for contour in contours)


def rle_bbox_xywh(rle: Rle) -> BoxXywh:
    """The box around a mask's pixels: left, top, width, height; four zeros for an empty mask."""
    x, y, width, height = mask_api.toBbox(_coco(rle)).tolist()
    return (x, y, width, height)


def rle_iou(a: Rle, b: Rle) -> float:
    """Intersection over union of two masks, 0..1; 0 where both are empty.

    Raises:
        DataError: they differ in size.
    """
    if tuple(a.size_hw) != tuple(b.size_hw):
        raise DataError(_size_differs(b.size_hw, a.size_hw))
    return float(mask_api.iou([_coco(a)], [_coco(b)], [0])[0, 0])


def rle_to_json(rle: Rle) -> dict[str, Any]:
    """A mask as COCO JSON has it: ``{"size": [h, w], "counts": str}``, compressed."""
    return {"size": list(rle.size_hw), "counts": rle.counts.decode("ascii")}


def rle_from_json(record: Mapping[str, Any], size_hw: tuple[int, int]) -> Rle:
    """Read and check a mask of COCO JSON, compressed or not. Runs of no pixels are joined away.

    Args:
        record: ``{"size": [h, w], "counts": counts}``; counts are compressed (str or bytes) or a list of integers.
        size_hw: the image's height and width in pixels.

    Raises:
        DataError: a key is missing, the size is not the image's, the counts are malformed or do not add up to h x w.
    """
    size, counts = record.get("size"), record.get("counts")
    if size is None or counts is None:
        raise DataError(f"an RLE mask needs 'size' and 'counts'; got the keys {', '.join(map(str, record)) or 'none'}")
    if not isinstance(size, Sequence) or tuple(size) != tuple(size_hw):
        raise DataError(_size_differs(size, size_hw))
    height, width = size_hw
    runs = _runs(counts)
    if len(runs) == 0 or runs.min() < 0 or int(runs.sum()) != height * width:
        raise DataError(
            f"the RLE counts are broken: their runs must be non-negative and add up to {height} x {width} = "
            f"{height * width} pixels; got {len(runs)} runs that add up to {int(runs.sum())}"
        )
    if isinstance(counts, str | bytes) and runs[1:].all():
        return Rle((height, width), counts.encode("ascii") if isinstance(counts, str) else counts)
    plain = {"size": [height, width], "counts": _joined(runs).tolist()}
    return Rle((height, width), mask_api.frPyObjects(plain, height, width)["counts"])


def _runs(counts: Any) -> NDArray[np.int64]:
    """The run lengths of compressed or plain counts.

    The format is that of rleToString in COCO's maskApi.c: characters 48..111 hold five bits each, lowest first; bit
    0x20 says that more follow, bit 0x10 of the last is the sign; from the fourth run on, the difference to the run
    before the last is stored.
    """
    if isinstance(counts, list | tuple):
        if not all(type(run) is int and -1 < run < 2**32 for run in counts):
            raise DataError("the RLE counts are broken: a list of counts must hold non-negative integers only")
        return np.array(counts, np.int64)
    if not isinstance(counts, str | bytes):
        raise DataError(f"the RLE counts must be a string or a list of integers, got {type(counts).__name__}")
    text = counts.encode("utf-8", "replace") if isinstance(counts, str) else counts
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 0x3F or codes[-1] >= 0x20:
        raise DataError(f"the RLE counts are broken: {text[:20]!r}... is not COCO's compressed form")
    last = np.flatnonzero(codes < 0x20)
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > LONGEST:
        raise DataError(f"the RLE counts are broken: {text[:20]!r}... holds a count of more than 32 bits")
    place = np.arange(len(codes)) - np.repeat(first, length)
    runs = np.add.reduceat((codes & 0x1F) << (5 * place), first)
    runs -= np.where(codes[last] & 0x10, np.int64(1) << (5 * length), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _joined(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same mask without runs of no pixels, but for the first: pycocotools' boxes go wrong on them."""
    at = np.flatnonzero(runs)
    if len(at) == 0:
        return np.zeros(1, np.int64)
    begins = np.flatnonzero(np.diff(at % 2, prepend=-1))
    joined: NDArray[np.int64] = np.add.reduceat(runs[at], begins)
    return np.concatenate([[0], joined]) if at[0] % 2 else joined


def _coco(rle: Rle) -> dict[str, Any]:
    """A mask as pycocotools takes it."""
    return {"size": list(rle.size_hw), "counts": rle.counts}


def _size_differs(size_hw: Any, expected_hw: tuple[int, int]) -> str:
    height, width = expected_hw
    got = list(size_hw) if isinstance(size_hw, Sequence) and not isinstance(size_hw, str) else size_hw
    return f"the RLE mask's size {got} is not its image's [height, width] = [{height}, {width}]"


def _usable(polygon: Polygon) -> bool:
    """Whether a polygon has at least three points, whole pairs and finite coordinates."""
    return len(polygon) >= 6 and len(polygon) % 2 == 0 and bool(np.isfinite(polygon).all())


def _near(polygon: Polygon, size_hw: tuple[int, int]) -> Polygon:
    """The polygon itself, or, where a corner is very far away, what of it lies around the image.

    Sutherland and Hodgman 1974, one side of the window after another. The window is a pixel larger than the image, so
    the edges along it cover no pixel.
    """
    if np.abs(polygon).max() <= FARTHEST:
        return polygon
    points = polygon.reshape(-1, 2).tolist()
    for axis, size in ((0, size_hw[1]), (1, size_hw[0])):
        for sign, limit in ((1.0, -1.0), (-1.0, -size - 1.0)):  # inside is sign * coordinate >= limit
            kept = []
            for i, point in enumerate(points):
                before = points[i - 1]
                this, other = sign * point[axis] - limit, sign * before[axis] - limit
                if (this >= 0) != (other >= 0):
                    share = other / (other - this)
                    cut = [b + share * (p - b) for b, p in zip(before, point, strict=True)]
                    cut[axis] = sign * limit  # what is computed is rounded by as much as the corner is far
                    kept.append(cut)
                if this >= 0:
                    kept.append(point)
            points = kept
    return np.array(points, np.float64).reshape(-1)
