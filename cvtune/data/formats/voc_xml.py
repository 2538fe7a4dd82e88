"""VOC XML files: the folder's layout, and each file as plain records, without any judgement."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import count, repeat
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from cvtune.data.coco import is_plausible_size
from cvtune.data.formats.file_sets import folders_apart
from cvtune.data.formats.listing import names_in, names_without_suffix
from cvtune.data.formats.texts import number
from cvtune.data.formats.voc_pattern import FLAGS as QUICK_FLAGS
from cvtune.data.formats.voc_pattern import HEAD, match_file
from cvtune.data.formats.voc_relatives import as_voc
from cvtune.data.formats.xml_files import content_of, guessed_encoding, parse_content
from cvtune.data.helpers import spread
from cvtune.errors import DataError, nearest

__all__ = [
    "ANNOTATIONS",
    "MASKS",
    "VocFile",
    "VocLayout",
    "VocObject",
    "find_layout",
    "is_voc",
    "read_voc_files",
    "subset_ids",
]

ANNOTATIONS = ("Annotations", "annotations")
MASKS = "SegmentationObject"
# Devkits below the folder that their archive makes.
DEEPER = ("*/Annotations", "*/*/Annotations")
COORDINATES = ("xmin", "ymin", "xmax", "ymax")
ROTATED = ("cx", "cy", "w", "h", "angle")
# DIOR-R's <robndbox> holds the corners instead.
CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")
# What an <object> is known to hold; anything else is reported as lost.
KNOWN_TAGS = frozenset(
    {"name", "bndbox", "robndbox", "polygon", "pose", "truncated", "difficult", "occluded", "occlusion", "attributes"}
)
# What `cvtune convert` writes about its own files.
ORIGIN = re.compile(r"pixels from ([01])$")
FLAGS = ("pose", "truncated", "difficult", "occluded", "occlusion")
WHOLE = {"0": 0, "1": 1}
# Nothing of the object: bookkeeping of labelling tools.
IGNORED_TAGS = frozenset({"deleted", "verified", "date", "id", "part", "type"})
# <x1>, <y1>, <x2>, ... of a <polygon>, as Roboflow writes them.
NUMBERED = re.compile(r"([xy])(\d{1,6})")


class VocObject(NamedTuple):
    """One <object>: its 1-based place in the file, its name, and what else it says, with its name, in `extra`.

    `corners` are those of its <bndbox>, None without one, or where one is no finite number; `coordinates` are the texts
    of a <bndbox>, or None where they say no more than `corners`. `rotated` are the centre, width, height and angle of
    roLabelImg's <robndbox>, or None; `outlines` the corners x, y, x, y, ... of each <polygon>.
    """

    place: int
    name: str
    coordinates: tuple[str, str, str, str] | None
    corners: tuple[float, float, float, float] | None
    extra: dict[str, Any]
    parts: int = 0
    unknown: tuple[str, ...] = ()
    rotated: tuple[str, ...] | None = None
    outlines: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class VocFile:
    """One XML file. `label` is its path below the set's root, `key` what ImageSets call it; size 0 where missing.

    `sha256` and `length` are of its content; `extra` holds what is said of the image. `counts_from` is the number of
    the first pixel, where the file says it, `encoding` is one that had to be guessed.
    """

    path: Path
    label: str
    key: str
    objects: tuple[VocObject, ...]
    file_name: str
    width: int
    height: int
    sha256: str
    length: int
    counts_from: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    encoding: str = ""


@dataclass(frozen=True)
class VocLayout:
    """Where things are: `root` for labels in messages, the folder of XML files, the lists.

    `names` are the XML files in order, each as the folders below `annotations` and its name. `splits` are the folders
    that keep them apart, `depth` folders below `annotations`.
    """

    root: Path
    annotations: Path
    image_sets: Path | None
    names: tuple[tuple[str, ...], ...]
    splits: tuple[str, ...] = ()
    depth: int = 0

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The XML files, in order."""
        return tuple(self.annotations.joinpath(*parts) for parts in self.names)

    def key(self, parts: tuple[str, ...]) -> str:
        """What an XML file is called: its path below `annotations` without the suffix."""
        return "/".join((*parts[:-1], os.path.splitext(parts[-1])[0]))

    def subsets(self) -> tuple[str, ...]:
        """The folders of splits, or the lists of images by name; empty ones and those of one class are left out."""
        if self.image_sets is None:
            return self.splits
        lists = {path.stem: _lines(path) for path in sorted(self.image_sets.glob("*.txt"))}
        return tuple(name for name, lines in lists.items() if lines and not _has_flags(lines))


def find_layout(path: Path) -> VocLayout:
    """Recognise a devkit root, its Annotations folder, XML files beside images, folders of splits, or one XML file.

    A set of masks alone, as CVAT exports it, has the files of SegmentationObject in place of XML files.

    Raises:
        DataError: there is no XML file, or several sets lie side by side.
    """
    if path.is_file():
        return VocLayout(path.parent, path.parent, None, ((path.name,),))
    root = path
    if not names_in(path, (".xml",)) and _annotations(path) is None:
        inner = [folder.parent for pattern in DEEPER for folder in sorted(path.glob(pattern)) if folder.is_dir()]
        devkits = [folder for folder in inner if folder.name.startswith("VOC") or (folder / "ImageSets").is_dir()]
        if len(devkits) > 1:
            names = ", ".join(folder.relative_to(path).as_posix() for folder in devkits)
            raise DataError(f"{path}: holds several VOC sets ({names}); give the path of one of them")
        root = inner[0] if len(inner) == 1 else path
    annotations = _annotations(root) or root
    if root.name in ANNOTATIONS:
        root = root.parent
    # Exports put the XML of images in subfolders into subfolders; a flat folder's subfolders are other things.
    deep = annotations.name in ANNOTATIONS
    xml = tuple(names_in(annotations, (".xml",), deep))
    if not xml:
        xml = tuple(names_in(annotations, (".xml",), deep=True))
    if not xml and (root / MASKS).is_dir():
        annotations, xml = root / MASKS, tuple(names_in(root / MASKS, (".png",), deep=True))
    xml = xml or tuple(names_without_suffix(annotations))
    if not xml:
        raise DataError(f"{path}: no .xml file in {annotations}; give the folder of the VOC annotations")
    sets = [root / "ImageSets" / name for name in ("Main", "Segmentation", "Layout", "DET", "CLS-LOC", ".")]
    image_sets = next((folder for folder in sets if names_in(folder, (".txt",))), None)
    # Below `Annotations` folders may be anything: those of images, of classes.
    apart = annotations.name != MASKS and not (deep and image_sets is not None)
    depth, tops = folders_apart(xml, only_splits=deep) if apart else (0, ())
    return VocLayout(root, annotations, image_sets, xml, tuple(dict.fromkeys(tops)), depth)


def _annotations(root: Path) -> Path | None:
    """The folder of a set's XML files, where it has one of its own."""
    return next((root / name for name in ANNOTATIONS if (root / name).is_dir()), None)


def subset_ids(layout: VocLayout, name: str) -> list[str]:
    """The image names that a list of ImageSets holds, in its order.

    Raises:
        DataError: there is no such list, or it is empty.
    """
    allowed = layout.subsets()
    if name in layout.splits:
        return [layout.key(parts) for parts in layout.names if parts[layout.depth] == name]
    path = (layout.image_sets or layout.root) / f"{name}.txt"
    if layout.image_sets is None or not re.fullmatch(r"[^\\/]+", name) or not path.is_file():
        listed = ", ".join(allowed) if allowed else "none, there is no ImageSets folder"
        raise DataError(f"{layout.root}: no subset {name!r}; allowed: {listed}{nearest(name, allowed)}")
    lines = _lines(path)
    if not lines:
        raise DataError(f"{path}: the subset {name!r} is empty")
    if _has_flags(lines) or all(re.search(r"\S\s+\d+$", line) for line in lines):  # ImageNet numbers its lines
        lines = [line.rsplit(maxsplit=1)[0] for line in lines]
    return list(dict.fromkeys(line.strip("\"'") for line in lines))


def is_voc(root: Element) -> bool:
    """Whether it is VOC's <annotation>, which LabelMe 3.0 uses for its own files too."""
    if root.tag != "annotation" or root.find("imagesize") is not None:
        return False
    objects = root.findall("object")
    if objects:
        return any(o.find(tag) is not None for o in objects for tag in ("bndbox", "robndbox", "polygon/x1")) or all(
            o.find("polygon") is None for o in objects
        )
    return len(root) == 0 or root.find("size") is not None or root.find("filename") is not None


def read_voc_files(layout: VocLayout) -> list[VocFile | str]:
    """Every file of a layout, in order; the root's tag of one that is no VOC file.

    Raises:
        DataError: a file is not well-formed XML.
    """
    found: list[VocFile | str] = []
    above = len(layout.root.parts)
    for path, parts, fields in zip(layout.files, layout.names, spread(_fields, layout.files), strict=True):
        if isinstance(fields, str):
            found.append(fields)
            continue
        rows, *rest = fields
        # A call of VocObject for each would take four times as long.
        objects = tuple(map(tuple.__new__, repeat(VocObject), rows))
        found.append(VocFile(path, "/".join(path.parts[above:]), layout.key(parts), objects, *rest))
    return found


def _fields(path: Path) -> Any:
    """The fields of a VocFile from `objects` on, those as plain tuples; the root's tag of a file of another kind."""
    content = content_of(path)
    if path.parent.name == MASKS or path.suffix.lower() == ".png":
        return _of_mask(content)
    found, encoding = _matched(content), ""
    if found is None:
        root, encoding = as_voc(parse_content(content, path)), guessed_encoding(content)
        if not is_voc(root):
            return str(root.tag)
        found = _head(root), [_object(o, i) for i, o in enumerate(root.iterfind("object"), start=1)]
    said, rows = found
    texts = {key: (said[key] or "").strip() for key in HEAD}
    extra = {key: texts[key] for key in ("folder", "segmented", "database") if texts[key]}
    origin = ORIGIN.search(texts["annotation"])
    width, height = _whole(texts["width"]), _whole(texts["height"])
    if not is_plausible_size(width, height):  # it is read from the image then
        width = height = 0
    counts_from = None if origin is None else int(origin[1])
    digest = hashlib.sha256(content).hexdigest()
    return rows, texts["filename"], width, height, digest, len(content), counts_from, extra, encoding


def _of_mask(content: bytes) -> Any:
    """The fields of an image of which nothing but the masks is there."""
    from cvtune.data.images import size_of_content

    width, height = size_of_content(content) or (0, 0)
    return [], "", width, height, hashlib.sha256(content).hexdigest(), len(content), None, {}, ""


def _head(root: Element) -> dict[str, str | None]:
    """What an <annotation> says of its image."""
    inner = {"database": "source", "annotation": "source", "width": "size", "height": "size"}
    return {key: root.findtext(f"{inner[key]}/{key}" if key in inner else key) for key in HEAD}


def _matched(content: bytes) -> tuple[dict[str, str | None], list[tuple[Any, ...]]] | None:
    """What is said of the image, and the objects, where the file is as most tools write them."""
    found = match_file(content)
    if found is None:
        return None
    said, (names, *flags, xmin, ymin, xmax, ymax) = found
    try:
        corners = list(zip(*(map(float, side) for side in (xmin, ymin, xmax, ymax)), strict=True))
    except ValueError:
        return None
    extras = list(map(_extra, names, *flags))
    stripped = [extra["name"] for extra in extras]
    more = (repeat(0), repeat(()), repeat(None), repeat(()))  # as of VocObject's defaults
    return said, list(zip(count(1), stripped, repeat(None), corners, extras, *more))


@lru_cache(maxsize=4096)
def _extra(name: str, *flags: str | None) -> dict[str, Any]:
    """Name and flags of an object; the same dictionary for all objects that say the same."""
    extra: dict[str, Any] = {"name": name.strip()}
    for key, value in zip(QUICK_FLAGS, flags, strict=True):
        if value and (value := value.strip()):
            extra[key] = WHOLE.get(value, value)
    return extra


def _object(element: Element, index: int) -> tuple[Any, ...]:
    children: dict[str, Element] = {}  # the first of each tag, by one walk: a search for each takes three times that
    parts = 0
    for child in element:
        parts += child.tag == "part"
        children.setdefault(child.tag, child)
    name = (children["name"].text or "").strip() if "name" in children else ""
    extra: dict[str, Any] = {"name": name}
    for key in FLAGS:
        if key in children and (text := (children[key].text or "").strip()):
            extra[key] = WHOLE.get(text, text)
    if "attributes" in children:
        listed = element.iterfind("attributes/attribute")
        if attributes := {_text(attribute, "name"): _text(attribute, "value") for attribute in listed}:
            extra["attributes"] = attributes
    coordinates = corners = rotated = None
    if "bndbox" in children:
        said = {side.tag: side.text or "" for side in reversed(children["bndbox"])}  # of several the first
        x0, y0, x1, y1 = (said.get(key, "").strip() for key in COORDINATES)
        corners = _numbers((x0, y0, x1, y1))
        coordinates = (x0, y0, x1, y1) if corners is None else None
    outlines: list[tuple[float, ...]] = []
    if "robndbox" in children:
        turned = [number(_text(children["robndbox"], f"{side}_{at}")) for at in CORNERS for side in "xy"]
        if all(map(math.isfinite, turned)):
            outlines.append(tuple(turned))
        else:
            rotated = tuple(_text(children["robndbox"], key) for key in ROTATED)
    lost = children.keys() - KNOWN_TAGS - IGNORED_TAGS
    if "polygon" in children:
        outlines += filter(None, map(_outline, element.iterfind("polygon")))
        lost |= set() if outlines else {"polygon"}
    return index, name, coordinates, corners, extra, parts, tuple(sorted(lost)), rotated, tuple(outlines)


def _outline(polygon: Element) -> tuple[float, ...]:
    """The corners of a polygon, by number or as <pt>s, the first once; NaN for what is no number."""
    sides: dict[str, dict[int, str]] = {"x": {}, "y": {}}
    for child in polygon:
        if found := NUMBERED.fullmatch(child.tag):
            sides[found[1]][int(found[2])] = child.text or ""
    texts = [(sides["x"].get(n, ""), sides["y"].get(n, "")) for n in sorted(sides["x"].keys() | sides["y"].keys())]
    texts = texts or [(_text(point, "x"), _text(point, "y")) for point in polygon.iterfind("pt")]
    corners = [(number(x), number(y)) for x, y in texts]
    if len(corners) > 3 and corners[0] == corners[-1]:
        corners.pop()
    return tuple(side for corner in corners for side in corner)


def _numbers(texts: tuple[str, str, str, str]) -> tuple[float, float, float, float] | None:
    """Four finite numbers, or None."""
    try:
        x0, y0, x1, y1 = map(float, texts)
    except ValueError:
        return None
    return (x0, y0, x1, y1) if math.isfinite(x0 + y0 + x1 + y1) else None


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _whole(text: str) -> int:
    """A size, which some tools write as a float; 0 where it is missing or nonsense."""
    try:
        return max(0, int(float(text)))
    except (ValueError, OverflowError):
        return 0


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _has_flags(lines: Sequence[str]) -> bool:
    """Whether every line ends in VOC's flag for one class: 1, 0 or -1."""
    return bool(lines) and all(re.search(r"\s(-1|0|1)$", line) for line in lines)
