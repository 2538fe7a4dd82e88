"""Shapes that a labelling tool's group id makes the parts of one object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cvtune.data.coco import Polygon
from cvtune.data.formats.entries import MOST_PIXELS, Patch, Shape
from cvtune.data.outlines import box_polygon

__all__ = ["join_groups"]


def join_groups(shapes: Sequence[Shape]) -> list[Shape]:
    """The shapes, those of one class and ``extra["group_id"]`` made one object, at the place of the first.

    Boxes among polygons become polygons; masks of pixels are joined with each other alone.
    """
    groups: dict[tuple[Any, ...], list[Shape]] = defaultdict(list)
    for n, shape in enumerate(shapes):
        group = shape.extra.get("group_id")
        alone = shape.fault is not None or not isinstance(group, int | str) or shape.name is None
        groups[(n,) if alone else (shape.name, group, shape.patch is None)].append(shape)
    return [members[0] if len(members) == 1 else _one(members) for members in groups.values()]


def _one(members: Sequence[Shape]) -> Shape:
    first = members[0]
    places = ", ".join(shape.where.rsplit(" ", 1)[1] for shape in members[1:])
    joined = ("parts-joined", f"with shapes {places}, group_id {first.extra['group_id']}")
    repairs = (joined, *(repair for shape in members for repair in shape.repairs))
    crowd = any(shape.iscrowd for shape in members)
    patches = [shape.patch for shape in members if shape.patch is not None]
    if patches:
        left, top = min(p.left for p in patches), min(p.top for p in patches)
        right = max(p.left + p.mask_hw.shape[1] for p in patches)
        bottom = max(p.top + p.mask_hw.shape[0] for p in patches)
        if (right - left) * (bottom - top) > MOST_PIXELS:
            return replace(first, patch=None, fault=("mask-invalid", "its parts lie too far from each other"))
        union = np.zeros((bottom - top, right - left), np.bool_)
        for p in patches:
            height, width = p.mask_hw.shape
            union[p.top - top : p.top - top + height, p.left - left : p.left - left + width] |= p.mask_hw
        return replace(first, patch=Patch(left, top, union), repairs=repairs, iscrowd=crowd)
    polygons: list[Polygon] = []
    for shape in members:
        polygons += [box_polygon(*shape.box_xyxy)] if shape.box_xyxy is not None else shape.polygons or ()
    return replace(first, box_xyxy=None, polygons=tuple(polygons), repairs=repairs, iscrowd=crowd)
