"""VOC XML files: the folder's layout, and each file as plain records, without any judgement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cvtune.errors import DataError, nearest
from cvtune.meter import tick

__all__ = ["VocFile", "VocLayout", "VocObject", "find_layout", "is_voc", "parse_xml", "read_voc_file", "subset_ids"]

COORDINATES = ("xmin", "ymin", "xmax", "ymax")
# What an <object> is known to hold; anything else is reported as lost.
KNOWN_TAGS = frozenset({"name", "bndbox", "pose", "truncated", "difficult", "occluded", "occlusion", "attributes"})
# Nothing of the object: bookkeeping of labelling tools.
IGNORED_TAGS = frozenset({"deleted", "verified", "date", "id", "part"})
ALL_TAGS = KNOWN_TAGS | IGNORED_TAGS
OPTIONAL = ("pose", "truncated", "difficult", "occluded", "occlusion")


@dataclass(frozen=True, slots=True)
class VocObject:
    """One <object>: its 1-based place in the file, and its texts. `coordinates` is None without a <bndbox>."""

    index: int
    name: str
    coordinates: tuple[str, str, str, str] | None
    extra: dict[str, Any]
    parts: int
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VocFile:
    """One XML file. `label` is its path below the set's root, `key` what ImageSets call it; size 0 where missing."""

    path: Path
    label: str
    key: str
    file_name: str
    width: int
    height: int
    objects: tuple[VocObject, ...]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VocLayout:
    """Where things are: `root` for labels in messages, the folder of XML files, the lists, the XML files in order."""

    root: Path
    annotations: Path
    image_sets: Path | None
    files: tuple[Path, ...]

    def subsets(self) -> tuple[str, ...]:
        """The lists of images, by name; those of one class (with a flag on each line) are left out."""
        if self.image_sets is None:
            return ()
        return tuple(p.stem for p in sorted(self.image_sets.glob("*.txt")) if not _has_flags(_lines(p)))


def find_layout(path: Path) -> VocLayout:
    """Recognise a devkit root, its Annotations folder, a folder of XML files beside images, or one XML file.

    Raises:
        DataError: there is no XML file, or several sets lie side by side.
    """
    if path.is_file():
        return VocLayout(path.parent, path.parent, None, (path,))
    root = path
    if not (path / "Annotations").is_dir() and not any(path.glob("*.xml")):
        inner = sorted(folder.parent for folder in path.glob("*/Annotations") if folder.is_dir())
        if len(inner) > 1:
            names = ", ".join(folder.name for folder in inner)
            raise DataError(f"{path}: holds several VOC sets ({names}); give the path of one of them")
        root = inner[0] if inner else path
    if (root / "Annotations").is_dir():
        annotations = root / "Annotations"
    else:
        annotations = root
        if root.name == "Annotations":
            root = root.parent
    # Exports put the XML of images in subfolders into subfolders; a flat folder's subfolders are other things.
    found = annotations.rglob("*.xml") if annotations.name == "Annotations" else annotations.glob("*.xml")
    files = tuple(sorted(found))
    if not files:
        raise DataError(f"{path}: no .xml file in {annotations}; give the folder of the VOC annotations")
    sets = [root / "ImageSets" / name for name in ("Main", "Segmentation", "Layout", ".")]
    image_sets = next((folder for folder in sets if any(folder.glob("*.txt"))), None)
    return VocLayout(root, annotations, image_sets, files)


def subset_ids(layout: VocLayout, name: str) -> list[str]:
    """The image names that a list of ImageSets holds, in its order.

    Raises:
        DataError: there is no such list, or it is empty.
    """
    allowed = layout.subsets()
    path = (layout.image_sets or layout.root) / f"{name}.txt"
    if layout.image_sets is None or not re.fullmatch(r"[^\\/]+", name) or not path.is_file():
        listed = ", ".join(allowed) if allowed else "none, there is no ImageSets folder"
        raise DataError(f"{layout.root}: no subset {name!r}; allowed: {listed}{nearest(name, allowed)}")
    lines = _lines(path)
    if not lines:
        raise DataError(f"{path}: the subset {name!r} is empty")
    if _has_flags(lines):
        lines = [line.rsplit(maxsplit=1)[0] for line in lines]
    return list(dict.fromkeys(line.strip("\"'") for line in lines))


def parse_xml(path: Path) -> Element:
    """The root of an XML file, parsed without expanding entities.

    Raises:
        DataError: it is not well-formed, or declares entities.
    """
    tick()
    try:
        content = path.read_bytes()
        # Entities are declared in a document type alone. Without one, expat in C does, three times as fast; zeros are
        # UTF-16, whose letters are not those bytes.
        plain = not any(mark in content for mark in (b"<!DOCTYPE", b"<!ENTITY", b"\0"))
        root: Element = ElementTree.fromstring(content) if plain else fromstring(content)
    except DefusedXmlException:
        raise DataError(f"{path}: declares XML entities, which are not expanded, for safety; remove them") from None
    except (SyntaxError, ValueError, LookupError) as error:  # both parsers' ParseErrors are SyntaxErrors
        raise DataError(f"{path}: not valid XML: {error}; mend or remove the file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return root


def is_voc(root: Element) -> bool:
    """Whether it is VOC's <annotation>, which LabelMe 3.0 uses for its own files too."""
    if root.tag != "annotation" or root.find("imagesize") is not None:
        return False
    objects = root.findall("object")
    if objects:
        return any(o.find("bndbox") is not None for o in objects) or all(o.find("polygon") is None for o in objects)
    return root.find("size") is not None or root.find("filename") is not None


def read_voc_file(path: Path, layout: VocLayout) -> VocFile | str:
    """Read one file; the root's tag where it is no VOC file.

    Raises:
        DataError: it is not well-formed XML.
    """
    root = parse_xml(path)
    label = path.relative_to(layout.root).as_posix()
    if not is_voc(root):
        return str(root.tag)
    extra: dict[str, Any] = {}
    for key in ("folder", "segmented"):
        if text := _text(root, key):
            extra[key] = text
    if database := _text(root, "source/database"):
        extra["database"] = database
    return VocFile(
        path,
        label,
        path.relative_to(layout.annotations).with_suffix("").as_posix(),
        _text(root, "filename"),
        _whole(_text(root, "size/width")),
        _whole(_text(root, "size/height")),
        tuple(_object(element, i) for i, element in enumerate(root.findall("object"), start=1)),
        extra,
    )


def _object(element: Element, index: int) -> VocObject:
    children: dict[
        str, Element
    ] = {}  # the first of each tag, found in one walk: a search for each costs three times that
    parts = 0
    for child in element:
        parts += child.tag == "part"
        children.setdefault(child.tag, child)
    extra: dict[str, Any] = {}
    for key in OPTIONAL:
        if key in children and (text := (children[key].text or "").strip()):
            extra[key] = int(text) if text in {"0", "1"} else text
    if "attributes" in children:
        attributes = {_text(a, "name"): _text(a, "value") for a in element.findall("attributes/attribute")}
        if attributes:
            extra["attributes"] = attributes
    box = children.get("bndbox")
    corners = None
    if box is not None:
        said = {side.tag: side.text or "" for side in reversed(box)}  # of several the first
        x0, y0, x1, y1 = (said.get(key, "").strip() for key in COORDINATES)
        corners = (x0, y0, x1, y1)
    unknown = children.keys() - ALL_TAGS
    name = children.get("name")
    return VocObject(
        index,
        "" if name is None else (name.text or "").strip(),
        corners,
        extra,
        parts,
        tuple(sorted(unknown)) if unknown else (),
    )


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
