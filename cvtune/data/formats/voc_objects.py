"""What VOC's objects come to: where pixels start, boxes in 0-based pixels, rotated boxes, masks of PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cvtune.data.coco import Annotation, Rle, Segmentation, make_annotation
from cvtune.data.formats.voc_xml import VocFile, VocObject
from cvtune.data.receipt import Receipt

__all__ = ["InstanceMask", "Judged", "Masks", "Numbers", "Origin", "find_origin", "judge"]

Corners = tuple[float, float, float, float]
Extra = dict[str, Any]
# The attribute `rotation` of a box that stands upright, as CVAT writes it.
NOT_TURNED = "0.0"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where pixels start, how sure that is, and why."""

    value: Literal[0, 1]
    code: Literal["origin-found", "origin-given", "origin-assumed"]
    evidence: str


@dataclass(frozen=True, slots=True)
class InstanceMask:
    """One value of a SegmentationObject image; `name` is its class, None where nothing tells it."""

    value: int
    where: str
    name: str | None
    rle: Rle
    bbox_xywh: Corners


@dataclass(frozen=True)
class Masks:
    """Key of an XML file -> its instance masks; `faults` are (code, where, detail) of images that were not used."""

    of_key: Mapping[str, tuple[InstanceMask, ...]]
    faults: tuple[tuple[str, str, str], ...] = ()
    files: tuple[Path, ...] = ()


class Numbers(NamedTuple):
    """What a file's objects are called: annotations `first` + place, of `image_id`, and each class its category id.

    An object's place is its 1-based one in the XML; masks without an object come behind.
    """

    first: int
    image_id: int
    category_ids: Mapping[str, int]


@dataclass
class Judged:
    """The objects of one file: what is kept, the classes of masks without an object, and how masks fitted."""

    annotations: list[Annotation] = field(default_factory=list)
    more_classes: list[str | None] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)
    by_place: int = 0
    without_mask: int = 0


def judge(file: VocFile, origin: int, masks: Sequence[InstanceMask], numbers: Numbers, receipt: Receipt) -> Judged:
    """Check, clip and convert the objects of one file; losses go on the receipt.

    A mask of SegmentationObject goes to the object that it fits; one that fits none is an object of its own where its
    class is known, as exports hold objects that were drawn as masks only there.
    """
    judged = Judged()
    first, image_id, category_ids = numbers
    if not masks and all(map(_is_plain, file.objects)):
        judged.annotations = _plain(file, origin, numbers, receipt)
        return judged
    # Sets of plain boxes, which most are, are read without what decodes masks.
    from cvtune.data.formats.voc_masks import match_masks
    from cvtune.data.geometry import rle_to_mask, segmentation_area

    boxes: dict[int, tuple[Corners, Segmentation | None, Extra]] = {}
    for o in file.objects:
        if (placed := _placed(o, file, origin, receipt)) is not None:
            boxes[o.place] = placed
    match = match_masks(masks, {index: (file.objects[index - 1].name, box) for index, (box, *_) in boxes.items()})
    segmentation: Segmentation | None
    for index, (box, segmentation, extra) in boxes.items():
        o = file.objects[index - 1]
        area = box[2] * box[3]
        if index in match.masks:
            mask, overlap = match.masks[index]
            segmentation = mask.rle
            judged.overlaps.append(overlap)
            judged.by_place += mask.value == index
        elif masks:
            judged.without_mask += 1
        if segmentation is not None:
            area = segmentation_area(segmentation, (file.height, file.width))
        judged.annotations.append(
            Annotation(first + index, image_id, category_ids[o.name], box, area, _is_crowd(o), segmentation, extra)
        )
    for n, mask in enumerate(match.rest, start=1):
        judged.more_classes.append(mask.name)
        if mask.name is None:
            receipt.drop("class-missing", mask.where, "it fits no object's box, and SegmentationClass gives no class")
            continue
        receipt.repair("box-from-mask", mask.where, f"no object's box fits it: got {list(mask.bbox_xywh)}", mask.name)
        area = float(rle_to_mask(mask.rle).sum())
        judged.annotations.append(
            Annotation(
                first + len(file.objects) + n,
                image_id,
                category_ids[mask.name],
                mask.bbox_xywh,
                area,
                False,
                mask.rle,
                {"name": mask.name},
            )
        )
    return judged


def _plain(file: VocFile, origin: int, numbers: Numbers, receipt: Receipt) -> list[Annotation]:
    """The annotations of a file of nothing but boxes."""
    first, image_id, category_ids = numbers
    width, height = file.width, file.height
    annotations: list[Annotation] = []
    for o in file.objects:
        place, name, _, corners, extra, *_ = o  # by name each would be looked up for itself
        assert corners is not None
        x0, y0, x1, y1 = corners
        box: Corners | None
        if origin <= x0 < x1 <= width and origin <= y0 < y1 <= height:
            x0, y0 = x0 - origin, y0 - origin
            box = x0, y0, x1 - x0, y1 - y0
        elif (box := _box(o, file, origin, receipt)) is None:
            continue
        crowd = "attributes" in extra and _is_crowd(o)
        area = box[2] * box[3]
        annotations.append(make_annotation(first + place, image_id, category_ids[name], box, area, crowd, None, extra))
    return annotations


def _placed(
    o: VocObject, file: VocFile, origin: int, receipt: Receipt
) -> tuple[Corners, Segmentation | None, Extra] | None:
    """An object's box, its polygons and fields; None, and a drop, where it has no box.

    Polygons that do not fit the upright box beside them are another thing than the object's outline.
    """
    from cvtune.data.formats.entries import ROUNDING
    from cvtune.data.formats.voc_masks import LEAST, iou
    from cvtune.data.formats.voc_shapes import shape_of, within
    from cvtune.data.geometry import segmentation_bbox_xywh

    shape = shape_of(o, origin) if o.name else None
    where, size_wh = f"{file.label} object {o.place}", (file.width, file.height)
    box = None
    if shape is None or (_has_box(o) and not shape.around):
        if (box := _box(o, file, origin, receipt)) is None:
            return None
        if shape is None:
            return box, None, o.extra
    if box is None and shape.fault is not None:
        receipt.drop(*_at(shape.fault, where), o.name)
        return None
    kept, out = within(shape, size_wh) if shape.polygons else ((), 0.0)
    around = segmentation_bbox_xywh(kept, size_wh[::-1]) if kept else (0.0, 0.0, 0.0, 0.0)
    if box is None and not kept:
        receipt.drop("box-outside", where, f"nothing of it in an image of {file.width}x{file.height}", o.name)
        return None
    if box is not None and iou(box, around) < LEAST:
        fault = shape.fault or ("mask-not-read", "its polygon does not fit its box")
        receipt.repair(*_at(fault, where), o.name)
        return box, None, o.extra
    for repair in shape.repairs:
        receipt.repair(*_at(repair, where), o.name)
    if out > ROUNDING:
        receipt.repair("mask-clipped", where, f"{out:.2f} px out of {file.width}x{file.height}", o.name)
    extra = o.extra
    if shape.around:  # the angle is in the polygon now
        attributes = {key: value for key, value in extra["attributes"].items() if key != "rotation"}
        extra = {**extra, "attributes": attributes} if attributes else {**extra}
        if not attributes:
            del extra["attributes"]
    return around if box is None else box, kept, extra


def _at(said: tuple[str, str], where: str) -> tuple[str, str, str]:
    """(code, where, detail)"""
    return said[0], where, said[1]


def _is_plain(o: VocObject) -> bool:
    """Whether an object is a named box and nothing more."""
    turned = o.extra["attributes"].get("rotation", NOT_TURNED) != NOT_TURNED if "attributes" in o.extra else False
    return bool(o.corners and o.name) and not (o.rotated or o.outlines or turned)


def find_origin(files: Iterable[VocFile], given: Literal["auto", 0, 1]) -> Origin:
    """Decide where pixels start, over all files."""
    if given != "auto":
        return Origin(given, "origin-given", "as asked")
    touching = boxes = broken = 0
    first = ""
    for file in files:
        if file.counts_from is not None:
            return Origin(1 if file.counts_from else 0, "origin-found", f"{file.label} says so")
        width, height = file.width, file.height
        for o in file.objects:
            corners = o.corners
            if corners is None:
                continue
            x0, y0, x1, y1 = corners
            if x1 <= x0 or y1 <= y0:
                continue
            boxes += 1
            if x0 % 1 or y0 % 1 or x1 % 1 or y1 % 1:
                broken += 1
            # Pixels that are counted from 1 have no coordinate in [0, 1).
            if 0 <= x0 < 1 or 0 <= y0 < 1:
                return Origin(0, "origin-found", f"{file.label} object {o.place} starts at {min(x0, y0):g}")
            if x1 == width or y1 == height:
                touching += 1
                first = first or f"{file.label} object {o.place}"
    if 2 * broken > boxes:
        # Pixels are counted in whole numbers; edges between them, from 0.
        evidence = f"{broken:,} of {boxes:,} boxes have broken coordinates, as tools that count from 0 write"
        return Origin(0, "origin-found", evidence)
    if touching:
        evidence = f"no box starts below 1 and {touching:,} of {boxes:,} end at the image's edge (first: {first})"
        return Origin(1, "origin-found", evidence)
    return Origin(1, "origin-assumed", f"none of {boxes:,} boxes touches an edge; `origin: 0` says otherwise")


def _box(o: VocObject, file: VocFile, origin: int, receipt: Receipt) -> Corners | None:
    """The box as x, y, w, h with continuous 0-based edges, clipped; None, and a drop, where it is none.

    As Detectron2's loader reads VOC: x0 = xmin - 1, x1 = xmax.
    """
    where, name = f"{file.label} object {o.place}", o.name or None
    if not _has_box(o):
        receipt.drop("class-missing" if name is None else "box-missing", where, "no <bndbox>", name)
        return None
    texts = o.coordinates or [f"{corner:.12g}" for corner in o.corners or ()]
    said = ", ".join(f"{k}={v or 'missing'}" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), texts, strict=True))
    if name is None:
        receipt.drop("class-missing", where, f"box {said}")
        return None
    if o.corners is None:
        receipt.drop("box-not-numeric", where, said, name)
        return None
    x0, y0, x1, y1 = o.corners
    if x1 < x0 or y1 < y0:
        receipt.drop("box-inverted", where, said, name)
        return None
    if x1 == x0 or y1 == y0:
        # One pixel by the letter of VOC, but in practice a click without a drag.
        receipt.drop("box-zero-area", where, said, name)
        return None
    x0, y0 = x0 - origin, y0 - origin
    left, top = max(x0, 0.0), max(y0, 0.0)
    right, bottom = min(x1, float(file.width)), min(y1, float(file.height))
    if right <= left or bottom <= top:
        receipt.drop("box-outside", where, f"{said} in an image of {file.width}x{file.height}", name)
        return None
    if (left, top, right, bottom) != (x0, y0, x1, y1):
        receipt.repair("box-clipped", where, f"{said} in an image of {file.width}x{file.height}", name)
    return left, top, right - left, bottom - top


def _has_box(o: VocObject) -> bool:
    """Whether it has a <bndbox>, whatever that holds."""
    return o.corners is not None or o.coordinates is not None


def _is_crowd(o: VocObject) -> bool:
    """COCO's iscrowd, as `write` keeps it among the attributes."""
    return str(o.extra.get("attributes", {}).get("iscrowd", "")).lower() in {"1", "true"}
