"""VOC's masks: SegmentationObject tells objects apart, SegmentationClass and labelmap.txt say what they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from cvtune.data.formats.mask_images import DAMAGED, parts, read_values
from cvtune.data.formats.texts import read_lines
from cvtune.data.formats.voc_objects import InstanceMask, Masks
from cvtune.data.formats.voc_xml import VocFile, VocLayout
from cvtune.data.geometry import mask_to_rle, rle_bbox_xywh
from cvtune.errors import DataError

__all__ = ["LEAST", "Match", "find_masks", "iou", "match_masks"]

VOID = frozenset({255, (224 << 16) | (224 << 8) | 192})  # as a place in the palette, and as a colour
LEAST = 0.5  # intersection over union of the mask's box and the object's; VOC's own are above 0.7 almost always
# VOC numbers its classes from 1 in this order; 0 is the background.
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BoxXywh = tuple[float, float, float, float]


@dataclass(frozen=True)
class Match:
    """Place of an object -> its mask and the overlap of their boxes; `rest` are masks that belong to no object."""

    masks: Mapping[int, tuple[InstanceMask, float]]
    rest: tuple[InstanceMask, ...]


def find_masks(layout: VocLayout, files: Sequence[VocFile]) -> Masks:
    """The instance masks of a devkit's images; none where it has no SegmentationObject folder.

    Raises:
        DataError: labelmap.txt cannot be read.
    """
    folder = layout.root / "SegmentationObject"
    if not folder.is_dir():
        return Masks({})
    colours = _colours(layout.root)
    found: dict[str, tuple[InstanceMask, ...]] = {}
    faults: list[tuple[str, str, str]] = []
    used: list[Path] = []
    for file in files:
        image = folder / f"{file.key}.png"
        if not image.is_file():
            continue
        label = image.relative_to(layout.root).as_posix()
        try:
            values = read_values(image)
        except DataError as error:
            faults.append(("mask-invalid", label, str(error)))
            continue
        if values.shape != (file.height, file.width):
            detail = f"{values.shape[1]}x{values.shape[0]}, but the image is {file.width}x{file.height}"
            faults.append(("mask-size-differs", label, detail))
            continue
        class_file = layout.root / "SegmentationClass" / f"{file.key}.png"
        classes = _rgb(class_file, values.shape) if class_file.is_file() else None
        found[file.key] = tuple(_instances(values, classes, colours, label))
        used += [image] if classes is None else [image, class_file]
    return Masks(found, tuple(faults), tuple(used))


def match_masks(masks: Sequence[InstanceMask], boxes: Mapping[int, tuple[str, BoxXywh]]) -> Match:
    """Give masks to the objects of one image.

    The classes must agree where both are known, and the boxes must overlap by half. Of several, an object whose place
    in the XML is the mask's value comes first, as VOC numbers them, then the greatest overlap.

    Args:
        masks: the image's.
        boxes: 1-based place of an object -> its class and box.
    """
    pairs = []
    for (n, mask), (index, (name, box)) in itertools.product(enumerate(masks), boxes.items()):
        overlap = iou(mask.bbox_xywh, box)
        if overlap >= LEAST and mask.name in {None, name}:
            pairs.append((mask.value != index, -overlap, n, index))
    taken: dict[int, tuple[InstanceMask, float]] = {}
    given: set[int] = set()
    for _, negative, n, index in sorted(pairs):
        if index not in taken and n not in given:
            taken[index] = (masks[n], -negative)
            given.add(n)
    return Match(taken, tuple(mask for n, mask in enumerate(masks) if n not in given))


def _instances(
    values: NDArray[Any], classes: NDArray[Any] | None, colours: Mapping[int, str], label: str
) -> Iterator[InstanceMask]:
    for value, patch in parts(values):
        if value in VOID:
            continue
        inside = values == value
        name = None
        if classes is not None:
            below, counts = np.unique(classes[inside], return_counts=True)
            name = colours.get(int(below[counts.argmax()]))
        rle = mask_to_rle(inside)
        height, width = patch.mask_hw.shape
        box = (float(patch.left), float(patch.top), float(width), float(height))
        assert rle_bbox_xywh(rle) == box
        yield InstanceMask(value, f"{label} value {value}", name, rle, box)


def _rgb(path: Path, size_hw: tuple[int, ...]) -> NDArray[np.int32] | None:
    """A class image's colours as red * 65536 + green * 256 + blue; None where it cannot be read or is of another size.

    Colours even of images with a palette, since tools order palettes differently.
    """
    try:
        with Pillow.open(path) as image:
            pixels = np.asarray(image.convert("RGB")).astype(np.int32)
    except DAMAGED:
        return None
    return _packed(pixels) if pixels.shape[:2] == size_hw else None


def _packed(pixels: NDArray[np.int32]) -> NDArray[np.int32]:
    packed: NDArray[np.int32] = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    return packed


def _colours(root: Path) -> dict[int, str]:
    """Packed colour -> class: of labelmap.txt (``name:r,g,b:parts:actions``), else VOC's own."""
    file = root / "labelmap.txt"
    if not file.is_file():
        return dict(zip(_palette(), CLASSES, strict=True))
    found: dict[int, str] = {}
    for line in read_lines(file):
        name, _, rest = line.partition(":")
        numbers = rest.split(":")[0].split(",")
        if line.startswith("#") or len(numbers) != 3 or not all(n.strip().isdecimal() for n in numbers):
            continue
        red, green, blue = (min(int(n), 255) for n in numbers)
        if red or green or blue:
            found[(red << 16) | (green << 8) | blue] = name.strip()
    return found


def _palette() -> Iterable[int]:
    """VOC's colours of the classes 1 to 20: each three bits of the number go to the channels' next lower bits."""
    for number in range(1, len(CLASSES) + 1):
        red = green = blue = 0
        rest = number
        for shift in range(7, -1, -1):
            red |= (rest & 1) << shift
            green |= (rest >> 1 & 1) << shift
            blue |= (rest >> 2 & 1) << shift
            rest >>= 3
        yield (red << 16) | (green << 8) | blue


def iou(a: BoxXywh, b: BoxXywh) -> float:
    """The overlap of two boxes, in [0, 1]."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inside = max(width, 0.0) * max(height, 0.0)
    return inside / (a[2] * a[3] + b[2] * b[3] - inside) if inside > 0 else 0.0
