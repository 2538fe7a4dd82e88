"""VGG Image Annotator: project files and exports of versions 1, 2 and 3, JSON and CSV."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble, classes_of, no_area
from cvtune.data.formats.file_sets import Finders, detected, find_files
from cvtune.data.formats.texts import number
from cvtune.data.formats.via_files import ViaImage, ViaRegion, is_via, read_via
from cvtune.data.formats.via_write import write
from cvtune.data.outlines import ellipse_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["detect", "read", "subsets", "write"]

NO_AREA = frozenset({"point", "line", "polyline"})
# What people call the attribute that holds the class, likeliest first.
CLASS_NAMES = (
    "label",
    "labels",
    "class",
    "class_name",
    "classname",
    "category",
    "name",
    "type",
    "object",
    "object_type",
)
# The class where no region has an attribute at all.
ONLY = "object"
# What VIA's own first attributes hold until somebody says otherwise.
UNSAID = "not_defined"
# Files of one folder that are compared with each other.
MANY_FILES = 100


@dataclass(frozen=True, slots=True)
class _ClassAttribute:
    """Which attribute is the class, and why; `key` None where there are none, or where each class is one of its own."""

    key: str | None
    evidence: str
    own: frozenset[str] = frozenset()

    def said(self, attributes: Mapping[str, Any]) -> list[str]:
        """The classes that a region's attributes name."""
        if self.own:
            return [key for key in attributes if key in self.own]
        return [ONLY] if self.key is None else _values(attributes.get(self.key))


def detect(path: Path) -> str | None:
    """Evidence that `path` is VIA's: its project's keys, or images with filename and regions, or its CSV header."""
    return detected(path, is_via, "regions of VIA", ".json", ".csv")


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits that the files lie in."""
    return find_files(path, ".json", ".csv").splits


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a file, or those of a folder: of JSON and CSV side by side, which hold the same, only JSON.

    The class is one of the attributes of the regions; which one is decided over all files, and noted. Category ids are
    1, 2, ... over the sorted classes. Circles and ellipses become polygons, points and lines are dropped. The other
    attributes are in `Annotation.extra["attributes"]`; one called iscrowd is COCO's. VIA does not state the sizes of
    images, so images that are missing are dropped. `where` counts the regions of an image from 1.

    Raises:
        DataError: no such file, a malformed one, or an unknown subset.
    """
    files = find_files(source.path, ".json", ".csv")
    known = [file for file in files.files if is_via(file)]
    if len(files.files) == 1:
        known = list(files.files)  # whatever is wrong with it is said
    jsons = [file for file in known if file.suffix.lower() == ".json"]
    taken = jsons or known
    for file in files.files:
        if file not in taken:
            why = "VIA's JSON in the same folder is read" if file in known else "it is not VIA's"
            receipt.note("file-skipped", files.label(file), why)
    if not taken:
        raise DataError(f"{source.path}: none of its {len(files.files)} .json and .csv files is of VIA")
    chosen = set(files.of_subset(source.subset))
    documents = {file: read_via(file, files.label(file), receipt) for file in taken}
    for file, other in _repeated(documents, dict(zip(files.files, files.parts, strict=False))).items():
        receipt.note("file-skipped", files.label(file), f"{files.label(other)} holds all of it")
        del documents[file]
    images = [image for document in documents.values() for image in document]
    finders = Finders(files.root, source.images, (image.file_name for image in images))
    attribute = _class_attribute(images)
    if any(image.regions for image in images):
        code = "class-found" if attribute.key or attribute.own else "class-assumed"
        receipt.note(code, str(source.path), attribute.evidence)
    entries: list[Entry] = []
    names: set[str | None] = set()
    for file, document in documents.items():
        for image in document:
            shapes = [_shape(region, attribute) for region in image.regions]
            names.update(classes_of(shapes))
            if file in chosen:
                path, name = finders.find(image.file_name, file)
                extra = {"file_attributes": image.attributes} if image.attributes else {}
                entries.append(Entry(image.where, name, None, path, shapes, extra))
    receipt.files += [file for file in documents if file in chosen]
    return assemble(entries, alphabetical(names), receipt, source=source.path, sized=False)


def _repeated(documents: Mapping[Path, Sequence[ViaImage]], parts: Mapping[Path, str]) -> dict[Path, Path]:
    """Files whose images and regions another one of the same folder and part has too, as project and export do."""
    held = {
        file: {
            (image.file_name, repr([(sorted(r.shape.items()), sorted(r.attributes.items())) for r in image.regions]))
            for image in images
        }
        for file, images in documents.items()
    }
    found: dict[Path, Path] = {}
    for file, other in permutations(held, 2) if len(held) <= MANY_FILES else ():
        same = file.parent == other.parent and parts.get(file) == parts.get(other)
        if same and (held[file] < held[other] or (held[file] == held[other] and file > other)):
            found[file] = other
    return found


def _class_attribute(images: Sequence[ViaImage]) -> _ClassAttribute:
    regions = [region for image in images for region in image.regions]
    filled: Counter[str] = Counter()
    values: dict[str, set[str]] = {}
    for region in regions:
        for key, value in region.attributes.items():
            if key != "iscrowd" and (said := _values(value)):
                filled[key] += 1
                values.setdefault(key, set()).add(said[0])
    if not filled:
        keys = {key for region in regions for key in region.attributes} - {"iscrowd"}
        if len(keys) == 1 and not any(key.lower() in CLASS_NAMES or not key.strip() for key in keys):
            evidence = f"{min(keys)!r}, the only attribute, which no region gives a value"
            return _ClassAttribute(None, evidence, frozenset(keys))
        return _ClassAttribute(None, f"none of {len(regions):,} regions has an attribute; the class is {ONLY!r}")
    most = max(filled.values())
    likely = [key for name in CLASS_NAMES for key in filled if key.lower() == name and 2 * filled[key] >= most]
    named = [[key for key in region.attributes if key in filled] for region in regions]
    if not likely and len(filled) > 1 and max(map(len, named)) == 1 and max(map(len, values.values())) == 1:
        return _ClassAttribute(None, f"{', '.join(sorted(filled))}: one for each class", frozenset(filled))
    # Of unknown names the one that most regions have, then the one of the fewest values.
    key = likely[0] if likely else min(filled, key=lambda k: (-filled[k], len(values[k]), k))
    among = "the only attribute" if len(filled) == 1 else f"of {', '.join(sorted(filled))}"
    return _ClassAttribute(
        key, f"{key!r}, {among}: on {filled[key]:,} of {len(regions):,} regions, {len(values[key]):,} values"
    )


def _values(value: Any) -> list[str]:
    """What an attribute says: a text, or the options of a checkbox that are ticked."""
    if isinstance(value, Mapping):
        return [str(key).strip() for key, ticked in value.items() if ticked and str(key).strip()]
    if isinstance(value, list):
        return [str(item).strip() for item in value if isinstance(item, str | int) and str(item).strip()]
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    return [text] if text and text != UNSAID else []


def _shape(region: ViaRegion, attribute: _ClassAttribute) -> Shape:
    said = attribute.said(region.attributes)
    repairs: tuple[tuple[str, str], ...] = ()
    if len(said) > 1:
        repairs = (("class-several", ", ".join(said)),)
    told = {attribute.key, "iscrowd", *attribute.own}
    others = {k: v for k, v in region.attributes.items() if k not in told and v not in ("", None, {})}
    crowd = str(region.attributes.get("iscrowd", "")).lower() in {"1", "true"}
    extra = {"attributes": others} if others else {}
    shape = Shape(region.where, said[0] if said else None, repairs=repairs, iscrowd=crowd, extra=extra)
    if region.fault:
        return replace(shape, fault=("value-malformed", region.fault))
    values = region.shape
    kind = values.get("name")
    if kind in NO_AREA:
        return replace(shape, fault=no_area(str(kind)))
    if kind == "rect":
        x, y, w, h = (number(values.get(k)) for k in ("x", "y", "width", "height"))
        return replace(shape, box_xyxy=(x, y, x + w, y + h))
    if kind in {"polygon", "polyline"}:
        xs, ys = values.get("all_points_x"), values.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
            return replace(shape, fault=("mask-degenerate", "all_points_x and all_points_y are no lists of one length"))
        points = np.array([[number(x), number(y)] for x, y in zip(xs, ys, strict=True)], np.float64)
        return replace(shape, polygons=(points.reshape(-1),))
    if kind in {"circle", "ellipse"}:
        cx, cy = number(values.get("cx")), number(values.get("cy"))
        rx, ry = (number(values.get(k, values.get("r"))) for k in ("rx", "ry"))
        theta = number(values.get("theta", 0))
        if not np.isfinite([cx, cy, rx, ry, theta]).all() or min(rx, ry) <= 0 or max(abs(cx), abs(cy), rx, ry) > 1e9:
            return replace(shape, fault=("mask-degenerate", f"{kind} of {rx:g} x {ry:g} about {cx:g}, {cy:g}"))
        round_ = ("shape-approximated", f"{kind} of half axes {rx:g}, {ry:g} about {cx:g}, {cy:g}")
        polygon = ellipse_polygon(cx, cy, rx, ry, math.degrees(theta))
        return replace(shape, polygons=(polygon,), repairs=(*repairs, round_))
    return replace(shape, fault=("shape-unknown", f"{kind!r:.60}"))
