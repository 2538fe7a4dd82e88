"""Masks as the engines take them: polygons or RLE objects, checked against the size of their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pycocotools.mask as mask_api
from numpy.typing import NDArray

from cvtune.errors import DataError
from cvtune.evaluation.rle_check import first_broken

__all__ = ["box_polygon", "checked_masks", "has_mask", "mask_areas", "to_rles"]

Mask = Any
"""A list of polygons ``[[x0, y0, x1, y1, ...], ...]``, or ``{"size": [h, w], "counts": ...}``."""

FARTHEST = 1e6  # rasterising takes memory by a polygon's extent, image or not
NO_MASK: tuple[Any, ...] = (None, [], [[]], "")
NO_MASK_JSON = (b"", b"null", b"[]", b"[[]]", b'""')


def has_mask(segmentation: Any) -> bool:
    """Whether a `segmentation` says anything: missing, null and empty lists are no masks."""
    if isinstance(segmentation, msgspec.Raw):
        content = bytes(segmentation)
        return len(content) > 16 or b"".join(content.split()) not in NO_MASK_JSON
    return isinstance(segmentation, Mapping) or segmentation not in NO_MASK


def checked_masks(
    segmentations: Sequence[Any], sizes_hw: Sequence[tuple[int, int]], positions: Sequence[int], where: str
) -> list[Mask]:
    """Decode and check masks.

    Args:
        segmentations: undecoded JSON or Python values, one a mask.
        sizes_hw: the height and width of each mask's image in pixels; (0, 0) where they are not known.
        positions: where each mask stands in its file, for errors.
        where: the file and the list, for errors.

    Returns:
        Polygon lists, each polygon of at least three points, and RLE objects of the image's size.

    Raises:
        DataError: a mask is neither, a size is missing or differs.
    """
    decoded = list(segmentations)
    if decoded and all(isinstance(segmentation, msgspec.Raw) for segmentation in decoded):
        decoded = msgspec.json.decode(b"[" + b",".join(map(bytes, decoded)) + b"]")
    for mask, size_hw, position in zip(decoded, sizes_hw, positions, strict=True):
        if type(mask) is dict or isinstance(mask, Mapping):  # asking the type is much the quicker
            size = mask.get("size")
            if size is None or tuple(size) != size_hw or "counts" not in mask:
                _refuse_rle(mask, size_hw, f"{where}[{position}].segmentation")
        else:
            _check_polygons(mask, size_hw, f"{where}[{position}].segmentation")
    _check_counts(decoded, sizes_hw, positions, where)
    return decoded


def _check_counts(
    masks: Sequence[Mask], sizes_hw: Sequence[tuple[int, int]], positions: Sequence[int], where: str
) -> None:
    """Refuse RLE whose runs do not cover the image: the engines would read past its end, or score nothing."""
    at = [i for i, mask in enumerate(masks) if type(mask) is dict or isinstance(mask, Mapping)]
    compressed: list[bytes] = []
    where_from: list[int] = []
    broken: int | None = None
    for i in at:
        counts = masks[i]["counts"]
        if isinstance(counts, str | bytes):
            compressed.append(counts.encode("utf-8", "replace") if isinstance(counts, str) else counts)
            where_from.append(i)
        elif not _covers(counts, sizes_hw[i]):
            broken = i
            break
    found = first_broken(compressed, [sizes_hw[i] for i in where_from])
    if found is not None and (broken is None or where_from[found] < broken):
        broken = where_from[found]
    if broken is not None:
        height, width = sizes_hw[broken]
        raise DataError(
            f"{where}[{positions[broken]}].segmentation: the RLE counts are broken: their runs do not add up to "
            f"{height} x {width} pixels"
        )


def _covers(counts: Any, size_hw: tuple[int, int]) -> bool:
    """Whether uncompressed counts are runs that add up to the image."""
    if not isinstance(counts, list | tuple) or not all(isinstance(run, int) and run >= 0 for run in counts):
        return False
    return sum(counts) == size_hw[0] * size_hw[1]


def _refuse_rle(mask: Mapping[str, Any], size_hw: tuple[int, int], where: str) -> None:
    if not {"size", "counts"} <= mask.keys():
        raise DataError(f"{where}: an RLE mask needs 'size' and 'counts'; got {', '.join(map(str, mask))}")
    height, width = size_hw
    if size_hw == (0, 0):
        raise DataError(f"{where}: its image has no width and height in the ground truth, which masks need")
    raise DataError(
        f"{where}: the mask's size {list(mask['size'])} is not its image's [height, width] = [{height}, {width}]"
    )


def _check_polygons(mask: Any, size_hw: tuple[int, int], where: str) -> None:
    if size_hw == (0, 0):
        raise DataError(f"{where}: its image has no width and height in the ground truth, which masks need")
    if not isinstance(mask, list | tuple) or not mask:
        raise DataError(f"{where}: expected a list of polygons or an RLE object, got {type(mask).__name__}")
    for polygon in mask:
        if not isinstance(polygon, list | tuple | np.ndarray) or len(polygon) < 6 or len(polygon) % 2:
            raise DataError(
                f"{where}: a polygon is a flat list of at least three x, y pairs, got {str(polygon)[:60]}; "
                "`cvtune convert` mends or drops such masks"
            )
        try:
            sane = bool((np.abs(np.asarray(polygon, np.float64)) <= FARTHEST).all())
        except (TypeError, ValueError):
            sane = False
        if not sane:
            raise DataError(
                f"{where}: a polygon's coordinates must be numbers within {FARTHEST:g} pixels, got {str(polygon)[:60]}"
            )


def box_polygon(box_xywh: NDArray[np.float64]) -> Mask:
    """A box as one polygon."""
    x, y, w, h = box_xywh.tolist()
    return [[x, y, x, y + h, x + w, y + h, x + w, y]]


def to_rles(masks: Sequence[Mask], sizes_hw: Sequence[tuple[int, int]]) -> list[Mapping[str, Any]]:
    """Compressed RLE of every mask, rasterised by pycocotools; the parts of a polygon list are united."""
    rles: list[Mapping[str, Any]] = []
    for mask, (height, width) in zip(masks, sizes_hw, strict=True):
        if type(mask) is not dict and not isinstance(mask, Mapping):
            rles.append(mask_api.merge(mask_api.frPyObjects([list(map(float, part)) for part in mask], height, width)))
        elif isinstance(mask["counts"], list | tuple):
            rles.append(mask_api.frPyObjects(dict(mask), height, width))
        else:
            rles.append(mask)
    return rles


def mask_areas(masks: Sequence[Mask], sizes_hw: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """float64 [n]: the number of pixels of every mask."""
    # One by one: pycocotools keeps the length of a list in a uint8, and NumPy 2 refuses more than 255.
    return np.array([mask_api.area(rle) for rle in to_rles(masks, sizes_hw)], np.float64)
