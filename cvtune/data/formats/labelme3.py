"""LabelMe 3.0 XML (the web tool, and Datumaro's and CVAT's exports): one file an image, masks in `Masks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Patch, Shape, alphabetical, assemble, classes_of, decode_png
from cvtune.data.formats.file_sets import FileSet, Finders, detected, find_files
from cvtune.data.formats.texts import number, whole
from cvtune.data.formats.xml_files import parse_xml
from cvtune.data.outlines import box_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["detect", "read", "subsets", "write"]

IMAGES = ("Images", "images", "../Images", "../images")


def detect(path: Path) -> str | None:
    """Evidence that `path` is LabelMe 3.0: <annotation> with <imagesize>, or objects of <polygon> or <segm> alone."""
    return detected(path, _accept, "polygons of LabelMe 3.0", ".xml", deep=True)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits that the files lie in."""
    return find_files(path, ".xml", deep=True).splits


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a file, a folder of files, or a folder of folders.

    Category ids are 1, 2, ... over the sorted names of the whole folder. Objects marked deleted are dropped, parts of
    the same name as their whole are joined to it. `attributes` and `occluded` are in `Annotation.extra`. `where`
    counts objects from 1.

    Raises:
        DataError: no such file, malformed XML, or an unknown subset.
    """
    files = find_files(source.path, ".xml", deep=True)
    finders = Finders(files.root, source.images, map(files.label, files.files), IMAGES)
    entries: dict[Path, Entry] = {}
    for file in files.files:
        root = parse_xml(file, receipt, files.label(file))
        if _is_labelme(root):
            entries[file] = _entry(root, file, files, finders)
        else:
            receipt.note("file-skipped", files.label(file), f"its root <{root.tag}> is not LabelMe's")
    if not entries:
        raise DataError(f"{source.path}: none of its {len(files.files)} .xml files is of LabelMe 3.0")
    chosen = [file for file in files.of_subset(source.subset) if file in entries]
    receipt.files += chosen
    categories = alphabetical(name for entry in entries.values() for name in classes_of(entry.shapes))
    return assemble([entries[file] for file in chosen], categories, receipt, source=source.path)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always an error.

    Raises:
        UnsupportedError: the format can only be read.
    """
    raise UnsupportedError("labelme3: LabelMe 3.0 XML can be read only; write 'labelme' (JSON), or 'cvat'")


def _accept(file: Path) -> bool:
    try:
        return _is_labelme(parse_xml(file))
    except DataError:
        return False


def _is_labelme(root: Element) -> bool:
    if root.tag != "annotation":
        return False
    objects = root.findall("object")
    shaped = any(o.find(tag) is not None for o in objects for tag in ("polygon/pt", "segm"))
    boxed = any(o.find("bndbox") is not None for o in objects)
    return not boxed and (shaped or root.find("imagesize") is not None)


def _entry(root: Element, file: Path, files: FileSet, finders: Finders) -> Entry:
    label = files.label(file)
    stated, folder = _text(root, "filename"), _text(root, "folder")
    path, name = finders.find(f"{folder}/{stated}" if folder and stated else stated, file, stem=True)
    size = whole(_text(root, "imagesize/ncols")), whole(_text(root, "imagesize/nrows"))
    objects = root.findall("object")
    shapes = [_shape(element, f"{label} object {n}", file) for n, element in enumerate(objects, start=1)]
    return Entry(label, name, None if 0 in size else size, path, _joined(objects, shapes))


def _shape(element: Element, where: str, file: Path) -> Shape:
    extra: dict[str, Any] = {}
    attributes = _attributes(_text(element, "attributes"))
    if attributes:
        extra["attributes"] = attributes
    if _text(element, "occluded").lower() == "yes":
        extra["occluded"] = 1
    shape = Shape(where, _text(element, "name") or None, extra=extra)
    if _text(element, "deleted") == "1":
        return replace(shape, fault=("object-deleted", "<deleted>1"))
    segm = element.find("segm")
    if segm is not None:
        return _mask(shape, segm, file)
    polygon = element.find("polygon")
    if polygon is None:
        return replace(shape, fault=("box-missing", "neither <polygon> nor <segm>"))
    points = [(number(p.findtext("x", "")), number(p.findtext("y", ""))) for p in polygon.findall("pt")]
    corners = np.array(points, np.float64).reshape(-1)
    if _text(element, "type") != "bounding_box" or len(corners) < 4 or not np.isfinite(corners).all():
        return replace(shape, polygons=(corners,))
    x, y = corners[::2], corners[1::2]
    box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    degrees = number(attributes.get("rotation", "0"))
    if not np.isfinite(degrees) or degrees % 360 == 0:
        return replace(shape, box_xyxy=box)
    turned = ("rotation-as-polygon", f"turned by {degrees:g} degrees")
    # The angle is in the polygon now; read back with a box, it would turn that.
    if rest := {key: value for key, value in attributes.items() if key != "rotation"}:
        extra["attributes"] = rest
    else:
        del extra["attributes"]
    return replace(shape, polygons=(box_polygon(*box, degrees),), repairs=(turned,))


def _mask(shape: Shape, segm: Element, file: Path) -> Shape:
    """A mask in a file of its own: of the image's size, or cut out at the box beside it."""
    name = Path(_text(segm, "mask").replace("\\", "/")).name
    places = [file.parent / "Masks" / name, file.parent.parent / "Masks" / file.parent.name / name]
    places.append(file.parent.parent / "Masks" / name)
    # Annotations/<collection>/x.xml and Masks/<collection>/x_mask_0.png, as the web tool has them.
    parts = file.parent.parts
    tops = [n for n, part in enumerate(parts) if part.lower() == "annotations"]
    places += [Path(*parts[:n], "Masks", *parts[n + 1 :], name) for n in tops]
    found = next((place for place in places if name and place.is_file()), None)
    if found is None:
        return replace(shape, fault=("mask-missing-file", f"{name or 'its mask'} was not found in {places[0].parent}"))
    mask = decode_png(found.read_bytes())
    if isinstance(mask, str):
        return replace(shape, fault=("mask-invalid", f"{name}: {mask}"))
    x0, y0, x1, y1 = (number(_text(segm, f"box/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
    # Masks of the whole image lie at its corner; those cut out are as large as their box, edges counted or not.
    height, width = mask.shape
    if abs(x1 - x0 + 0.5 - width) <= 1 and abs(y1 - y0 + 0.5 - height) <= 1 and max(x0, y0) < 1e6:
        return replace(shape, patch=Patch(round(x0), round(y0), mask))
    return replace(shape, patch=Patch(0, 0, mask))


def _joined(objects: Sequence[Element], shapes: Sequence[Shape]) -> list[Shape]:
    """The shapes, a part of the same name as its whole joined to it where both are polygons."""
    at = {_text(element, "id"): n for n, element in enumerate(objects)}
    parts: dict[int, list[int]] = {}
    for n, element in enumerate(objects):
        owner = _text(element, "parts/ispartof")
        whole_at = at.get(owner) if owner else None
        if whole_at is None or whole_at == n or _text(objects[whole_at], "parts/ispartof"):
            continue
        same = shapes[n].name == shapes[whole_at].name
        if same and all(s.polygons is not None and s.fault is None for s in (shapes[n], shapes[whole_at])):
            parts.setdefault(whole_at, []).append(n)
    inside = {n for members in parts.values() for n in members}
    result: list[Shape] = []
    for n, shape in enumerate(shapes):
        if n in inside:
            continue
        if members := parts.get(n):
            polygons = [*(shape.polygons or ()), *(p for m in members for p in shapes[m].polygons or ())]
            said = ("parts-joined", "with objects " + ", ".join(str(m + 1) for m in members))
            shape = replace(shape, polygons=tuple(polygons), repairs=(*shape.repairs, said))
        result.append(shape)
    return result


def _attributes(text: str) -> Mapping[str, str]:
    """``rotation=0.0, colour=red``; a word alone is a flag."""
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if key:
            found[key.strip()] = value.strip() if equals else "1"
    return found


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()
