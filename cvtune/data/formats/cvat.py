"""CVAT XML 1.1: boxes, polygons, masks and ellipses of all images, or of the frames of a video, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.cvat_tracks import DEFAULT, frames
from cvtune.data.formats.cvat_write import write
from cvtune.data.formats.entries import MOST_PIXELS, Entry, Patch, Shape, assemble, no_area
from cvtune.data.formats.file_sets import FileSet, Finders, detected, find_files
from cvtune.data.formats.groups import join_groups
from cvtune.data.formats.texts import number, whole
from cvtune.data.formats.xml_files import parse_xml
from cvtune.data.outlines import box_polygon, ellipse_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["detect", "read", "subsets", "write"]

NO_AREA = frozenset({"polyline", "points", "skeleton"})
SHAPES = frozenset({"box", "polygon", "mask", "ellipse", "cuboid", *NO_AREA})
# Attributes of a shape that are not its coordinates, and what they are when nothing is said.
PLAIN = {"occluded": "0", "source": "manual", "z_order": "0"}


def detect(path: Path) -> str | None:
    """Evidence that `path` is CVAT's: XML files of <annotations> with <image> or <meta>."""
    return detected(path, _accept, "<annotations> of CVAT", ".xml")


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of several files, or the subsets that a project's images name."""
    files = find_files(path, ".xml")
    if files.splits:
        return files.splits
    roots = [parse_xml(file) for file in files.files if _accept(file)]
    items = (item for root in roots for tag in ("image", "track") for item in root.iterfind(tag))
    names = tuple(dict.fromkeys(map(_part, items)))
    return names if len(names) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read one file, or those of a folder.

    Category ids are 1, 2, ... in the order of the labels in <meta>, then over the sorted labels that it lacks. Rotated
    boxes and ellipses become polygons, polygons of one label and group_id one object; points and lines are dropped.
    `occluded`, `z_order`, `source`, `group_id` and `attributes` are in `Annotation.extra`; an attribute `iscrowd` is
    COCO's. `where` counts the shapes of an image from 1.

    Raises:
        DataError: no such file, malformed XML, or an unknown subset.
    """
    files = find_files(source.path, ".xml")
    by_folder = source.subset in files.subsets
    chosen = set(files.of_subset(source.subset) if by_folder else files.files)
    roots: dict[Path, Element] = {}
    for file in files.files:
        root = parse_xml(file, receipt, files.label(file))
        if _is_cvat(root):
            roots[file] = root
        else:
            receipt.note("file-skipped", files.label(file), f"its root <{root.tag}> is not CVAT's")
    if not roots:
        raise DataError(f"{source.path}: none of its {len(files.files)} .xml files is of CVAT (<annotations>)")
    names = [image.get("name", "") for root in roots.values() for image in root.findall("image")]
    finders = Finders(files.root, source.images, names)
    entries: list[Entry] = []
    parts: dict[str, None] = {}
    for file, root in roots.items():
        parts |= dict.fromkeys(map(_part, (*root.iterfind("image"), *root.iterfind("track"))))
        if file in chosen and root.find("track") is not None:
            of_part = None if by_folder else source.subset
            entries += frames(root, files.label(file), partial(finders.find, file=file), _shape, of_part)
        for element in root.findall("image"):
            if file in chosen and (by_folder or source.subset in {None, _part(element)}):
                entries.append(_entry(element, file, files, finders, receipt))
    if source.subset is not None and not by_folder and source.subset not in parts:
        parts |= dict.fromkeys(files.subsets)
        allowed = ", ".join(parts) or "none"
        raise DataError(
            f"{source.path}: no subset {source.subset!r}; allowed: {allowed}{nearest(source.subset, parts)}"
        )
    receipt.files += [file for file in roots if file in chosen]
    return assemble(entries, _categories(roots.values()), receipt, source=source.path)


def _part(element: Element) -> str:
    """The subset of a project that an image or a track is of."""
    return element.get("subset") or DEFAULT


def _accept(file: Path) -> bool:
    try:
        return _is_cvat(parse_xml(file))
    except DataError:
        return False


def _is_cvat(root: Element) -> bool:
    if root.tag != "annotations":
        return False
    images = root.findall("image")
    named = any(image.get("name") and image.get("width") for image in images)
    return named or root.find("meta") is not None or root.find("track") is not None


def _categories(roots: Any) -> list[Category]:
    listed: dict[str, None] = {}
    used: set[str] = set()
    for root in roots:
        for label in root.findall("meta//labels/label"):
            name = (label.findtext("name") or "").strip()
            if name and not (label.findtext("parent") or "").strip():  # points of a skeleton have a parent
                listed.setdefault(name)
        used.update(track.get("label", "").strip() for track in root.findall("track"))
        for image in root.findall("image"):
            used.update(shape.get("label", "").strip() for shape in image if shape.tag in SHAPES)
    names = [*listed, *sorted(used - set(listed) - {""})]
    return [Category(i, name) for i, name in enumerate(names, start=1)]


def _entry(element: Element, file: Path, files: FileSet, finders: Finders, receipt: Receipt) -> Entry:
    stated = element.get("name", "")
    where = f"{files.label(file)} image {stated or element.get('id', '?')}"
    path, name = finders.find(stated, file)
    if path is None and element.get("subset"):  # images of a project may lie in folders of its subsets
        below = finders.find(f"{element.get('subset')}/{stated}", file)
        path, name = below if below[0] is not None else (path, name)
    size = whole(element.get("width")), whole(element.get("height"))
    shapes = [child for child in element if child.tag in SHAPES]
    tags = [child.get("label", "") for child in element if child.tag == "tag"]
    if tags:
        receipt.note("image-tags-lost", where, ", ".join(tags))
    unknown = [child.tag for child in element if child.tag not in SHAPES and child.tag != "tag"]
    found = [_shape(shape, f"{where} shape {n}") for n, shape in enumerate(shapes, start=1)]
    found += [Shape(where, None, fault=("shape-unknown", f"<{tag}>")) for tag in unknown]
    return Entry(where, name, None if 0 in size else size, path, join_groups(found))


def _shape(element: Element, where: str) -> Shape:
    extra: dict[str, Any] = {
        key: _plain(value) for key, default in PLAIN.items() if (value := element.get(key, default)) != default
    }
    if (group := whole(element.get("group_id"))) > 0:
        extra["group_id"] = group
    attributes = {a.get("name", ""): (a.text or "").strip() for a in element.findall("attribute")}
    crowd = attributes.get("iscrowd", "").lower() in {"1", "true"}
    if kept := {key: value for key, value in attributes.items() if key != "iscrowd"}:
        extra["attributes"] = kept
    shape = Shape(where, element.get("label", "").strip() or None, iscrowd=crowd, extra=extra)
    if element.tag in NO_AREA:
        return replace(shape, fault=no_area(str(element.tag)))
    if element.tag == "cuboid":
        return replace(shape, fault=("shape-unknown", "a cuboid, which has three dimensions"))
    if element.tag == "mask":
        return _mask(shape, element)
    if element.tag == "polygon":
        return replace(shape, polygons=(_points(element.get("points", "")),))
    degrees = number(element.get("rotation", "0"))
    turned = degrees % 360 != 0
    if element.tag == "ellipse":
        cx, cy, rx, ry = _numbers(element, "cx", "cy", "rx", "ry")
        if not np.isfinite([cx, cy, rx, ry, degrees]).all() or min(rx, ry) <= 0 or max(abs(cx), abs(cy), rx, ry) > 1e9:
            return replace(shape, fault=("mask-degenerate", f"an ellipse {cx:g}, {cy:g} of {rx:g} x {ry:g}"))
        detail = f"an ellipse of half axes {rx:g}, {ry:g} about {cx:g}, {cy:g}"
        return replace(
            shape,
            polygons=(ellipse_polygon(cx, cy, rx, ry, degrees),),
            repairs=(("shape-approximated", detail),),
        )
    x0, y0, x1, y1 = _numbers(element, "xtl", "ytl", "xbr", "ybr")
    if not turned or not np.isfinite([x0, y0, x1, y1, degrees]).all() or x1 <= x0 or y1 <= y0:
        return replace(shape, box_xyxy=(x0, y0, x1, y1))
    detail = f"turned by {degrees:g} degrees about its centre"
    return replace(shape, polygons=(box_polygon(x0, y0, x1, y1, degrees),), repairs=(("rotation-as-polygon", detail),))


def _mask(shape: Shape, element: Element) -> Shape:
    """CVAT's runs: along rows of the cut-out, beginning with those outside of the mask."""
    left, top, width, height = _numbers(element, "left", "top", "width", "height")
    try:
        runs = [int(run) for run in element.get("rle", "").split(",")]
    except ValueError:
        return replace(shape, fault=("mask-invalid", "its rle holds what is no whole number"))
    sized = np.isfinite([left, top, width, height]).all() and max(abs(left), abs(top)) < 1e6
    if not sized or width < 1 or height < 1 or width * height > MOST_PIXELS:
        return replace(shape, fault=("mask-invalid", f"{width:g} x {height:g} at {left:g}, {top:g}"))
    if min(runs) < 0 or sum(runs) != int(width) * int(height):
        detail = f"its {len(runs)} runs add up to {sum(runs)}, not to {width:g} x {height:g}"
        return replace(shape, fault=("mask-invalid", detail))
    inside = np.arange(len(runs)) % 2 == 1
    mask = np.repeat(inside, runs).reshape(int(height), int(width))
    return replace(shape, patch=Patch(int(left), int(top), mask))


def _points(text: str) -> Any:
    """``x,y;x,y`` as a flat array; what is no pair of numbers is NaN."""
    flat: list[float] = []
    for pair in filter(None, text.split(";")):
        values: Sequence[str] = pair.split(",")
        flat += [number(value) for value in values] if len(values) == 2 else [float("nan")] * 2
    return np.array(flat, np.float64)


def _numbers(element: Element, *keys: str) -> list[float]:
    return [number(element.get(key, "")) for key in keys]


def _plain(value: str) -> int | str:
    try:
        return int(value)
    except ValueError:
        return value
