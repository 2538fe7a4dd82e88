"""Objects as Hugging Face's data sets hold them: an object of lists, or a list of objects, in a column `objects`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cvtune.data.coco import Category, Id, Polygon
from cvtune.data.formats.box_layout import BoxLayout
from cvtune.data.formats.csv_columns import find_columns
from cvtune.data.formats.entries import Shape, alphabetical
from cvtune.data.formats.masks_write import ONE_CLASS
from cvtune.data.formats.texts import number

__all__ = ["BOXES", "CLASSES", "MASKS", "Item", "categories_of", "items_of", "shape_of"]

BOXES = ("bbox", "bboxes", "boxes", "box", "bounding_box", "bounding_boxes")
CLASSES = (
    "categories", "category", "labels", "label", "category_id", "category_ids", "class", "classes", "class_id",
    "class_label", "class_labels", "category_name", "label_name", "name",
)  # fmt: skip
MASKS = ("segmentation", "segmentations", "polygon", "polygons")
# Said of an object beside these, in words of the format's own.
OWN = frozenset({*BOXES, *CLASSES, *MASKS, "iscrowd", "is_crowd", "area"})


@dataclass(frozen=True, slots=True)
class Item:
    """An object as it is said. `given` is its class, a number or a name; `numbers` are its box, None where it has none.

    `classed` says that the file has a place for classes, `named` that the box's fields have names, so that `numbers`
    are left, top, width, height for certain. `said` is the box as it stands, for messages. `mask` is None, polygons, or
    False for one that cannot be read.
    """

    given: int | str | None
    classed: bool
    numbers: tuple[float, float, float, float] | None
    named: bool
    said: Any
    area: float
    crowd: bool
    mask: tuple[Polygon, ...] | bool | None
    extra: dict[str, Any] = field(default_factory=dict)


def items_of(objects: Any) -> list[Item]:
    """The objects of an image, from either form; none of anything else."""
    rows: list[dict[str, Any]] = []
    classed = isinstance(objects, dict) and not objects.keys().isdisjoint(CLASSES)
    if isinstance(objects, dict):
        columns = {key: value for key, value in objects.items() if isinstance(value, list)}
        for i in range(max(map(len, columns.values()), default=0)):
            rows.append({key: value[i] for key, value in columns.items() if i < len(value)})
    elif isinstance(objects, list):
        rows = [item if isinstance(item, dict) else {"": item} for item in objects]
    return [_item(row, classed or not row.keys().isdisjoint(CLASSES)) for row in rows]


def _item(row: dict[str, Any], classed: bool) -> Item:
    given = next((row[key] for key in CLASSES if row.get(key) is not None), None)
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    given = given if type(given) is int or (isinstance(given, str) and given.strip()) else None
    box = next((row[key] for key in BOXES if row.get(key) is not None), None)
    numbers, named = _numbers(row if box is None else box)
    used = set(numbers[1]) if box is None and numbers else set()
    mask = next((row[key] for key in MASKS if row.get(key)), None)
    return Item(
        given.strip() if isinstance(given, str) else given,
        classed,
        numbers[0] if numbers else None,
        named,
        box,
        number(row.get("area")),
        any(row.get(key) in (1, True, "1") for key in ("iscrowd", "is_crowd")),
        None if mask is None else _polygons(mask) or False,
        {key: value for key, value in row.items() if key not in OWN | used and value is not None},
    )


def _numbers(box: Any) -> tuple[tuple[tuple[float, float, float, float], tuple[str, ...]] | None, bool]:
    """((the four finite numbers, the keys that hold them) or None, whether the keys name what they are)."""
    if isinstance(box, dict):
        keys = tuple(key for key in box if isinstance(key, str))
        columns = find_columns(("filename", *keys))
        if columns is None or len(columns.box) != 4:
            return None, True
        places = tuple(columns.names[i] for i in columns.box)
        a, b, c, d = (number(box[key]) for key in places)
        if columns.kind == "corners":
            c, d = c - a, d - b
        elif columns.kind == "centre and size":
            a, b = a - c / 2, b - d / 2
        return (((a, b, c, d), places) if math.isfinite(a + b + c + d) else None), True
    if not isinstance(box, list) or len(box) != 4:
        return None, False
    a, b, c, d = map(number, box)
    return (((a, b, c, d), ()) if math.isfinite(a + b + c + d) else None), False


def _polygons(mask: Any) -> tuple[Polygon, ...]:
    """COCO's polygons; none where the mask is of another form."""
    parts = mask if isinstance(mask, list) and all(isinstance(part, list) for part in mask) else [mask]
    found: list[Polygon] = []
    for part in parts:
        values = [number(value) for value in part] if isinstance(part, list) else []
        if len(values) < 6 or len(values) % 2 or not all(map(math.isfinite, values)):
            return ()
        found.append(np.array(values, np.float64))
    return tuple(found)


def shape_of(
    item: Item, where: str, layout: BoxLayout, size_wh: tuple[int, int] | None, names: Sequence[str] = (),
    one_class: bool = False,
) -> Shape:  # fmt: skip
    """The object as a shape.

    Args:
        item: the object.
        where: its place, for messages.
        layout: what the numbers of all boxes are.
        size_wh: its image's size, where it is known.
        names: of the classes 0, 1, ...; without them a number is its own name.
        one_class: whether no object says a class, so that all are of one.
    """
    name = str(item.given) if item.given is not None else ONE_CLASS if one_class else None
    fault, category_id = None, None
    if names and isinstance(item.given, int):
        known = 0 <= item.given < len(names)
        # -1 is the hub's "no label".
        name, category_id = (names[item.given], item.given) if known else (None, None)
        if not known and item.given != -1:
            fault = ("class-unknown", f"class {item.given}, but there are {len(names)} names, from 0")
    extra, crowd = item.extra, item.crowd
    if fault is not None:
        return Shape(where, None, fault=fault, iscrowd=crowd, extra=extra)
    if isinstance(item.mask, tuple):
        return Shape(where, name, polygons=item.mask, iscrowd=crowd, extra=extra, category_id=category_id)
    if item.numbers is None:
        code = "box-missing" if item.said is None else "box-not-numeric"
        return Shape(where, name, fault=(code, f"bbox={item.said!r:.100}"), iscrowd=crowd, extra=extra)
    repairs = (("mask-not-read", "its mask is of no known form; its box was read"),) if item.mask is False else ()
    box = layout.corners(item.numbers, size_wh)
    return Shape(where, name, box, repairs=repairs, iscrowd=crowd, extra=extra, category_id=category_id)


def categories_of(values: Iterable[int | str], one_class: bool = False) -> tuple[Category, ...]:
    """The classes that objects name: numbers keep themselves as ids, names are numbered in alphabetical order."""
    listed = set(values)
    if not listed and one_class:
        return (Category(1, ONE_CLASS),)
    numbers = sorted(value for value in listed if isinstance(value, int))
    if len(numbers) == len(listed):
        ids: list[Id] = list(numbers)
        return tuple(Category(i, str(i)) for i in ids)
    return alphabetical(str(value) for value in listed)
