"""Writing Pascal VOC XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

from cvtune.data.coco import Annotation, Dataset, Id, Image
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError
from cvtune.runs import write_text

__all__ = ["write"]

PLAIN = ("pose", "truncated", "difficult", "occluded", "occlusion")


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``Annotations/<image>.xml`` below the folder `path`, one file an image, empty images too.

    Coordinates are VOC's: counted from 1, edges inclusive (xmin = x + 1, xmax = x + w), floats where the box is not on
    whole pixels. Crowds are kept as an attribute `iscrowd`. Masks and category ids have no place.

    Returns:
        The files written.

    Raises:
        DataError: a class name is empty.
        RunError: a file cannot be written.
    """
    names = {category.id: category.name for category in dataset.categories}
    objects: dict[Id, list[Annotation]] = {image.id: [] for image in dataset.images}
    for annotation in dataset.annotations:
        if not names[annotation.category_id].strip():
            raise DataError(f"annotation {annotation.id}: its class name is empty, which VOC cannot hold; name it")
        objects[annotation.image_id].append(annotation)
    files: list[Path] = []
    taken: set[str] = set()
    lost: Counter[str] = Counter()
    for image in dataset.images:
        key = _key(image.file_name, taken)
        taken.add(key)
        texts = [_object(a, names[a.category_id], image, receipt, lost) for a in objects[image.id]]
        target = path / "Annotations" / f"{key}.xml"
        write_text(target, _file(image, texts))
        files.append(target)
    for field, n in sorted(lost.items()):
        receipt.note("attributes-lost", str(path), f"{field} of {n:,} objects")
    if [category.id for category in sorted(dataset.categories, key=lambda c: c.name)] != list(
        range(1, len(dataset.categories) + 1)
    ):
        receipt.note("attributes-lost", str(path), "category ids: VOC has names alone, read back in alphabetical order")
    return tuple(files)


def _key(file_name: str, taken: set[str]) -> str:
    """The XML's path without suffix: the image's own, inside the folder; with the image's suffix where it is taken."""
    parts = [part for part in file_name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    name = PurePosixPath(*parts) if not PurePosixPath(file_name).is_absolute() else PurePosixPath(parts[-1])
    key = str(name.with_suffix(""))
    number = 1
    while key in taken:
        key = str(name) if number == 1 else f"{name}-{number}"
        number += 1
    return key


def _file(image: Image, objects: list[str]) -> str:
    name = (
        image.file_name.replace("\\", "/").rsplit("/", 1)[-1]
        if Path(image.file_name).is_absolute()
        else image.file_name
    )
    return (
        "<annotation>\n"
        f"  <folder>{_escaped(str(image.extra.get('folder', '')))}</folder>\n"
        f"  <filename>{_escaped(name)}</filename>\n"
        f"  <source><database>{_escaped(str(image.extra.get('database', 'Unknown')))}</database>"
        "<annotation>cvtune, pixels from 1</annotation></source>\n"
        f"  <size><width>{image.width}</width><height>{image.height}</height><depth>3</depth></size>\n"
        f"  <segmented>{_escaped(str(image.extra.get('segmented', 0)))}</segmented>\n"
        + "".join(objects)
        + "</annotation>\n"
    )


def _object(annotation: Annotation, name: str, image: Image, receipt: Receipt, lost: Counter[str]) -> str:
    where = f"annotation {annotation.id} of {image.file_name}"
    if annotation.segmentation is not None:
        receipt.repair("mask-lost", where, "only its box was written", name)
    x, y, w, h = annotation.bbox_xywh
    x0, x1 = _inside(x, x + w, image.width)
    y0, y1 = _inside(y, y + h, image.height)
    if (x0, y0, x1, y1) != (x, y, x + w, y + h):
        small = min(w, h) <= 1
        # A 1-pixel box has xmin = xmax, which many readers (this one too) take for no box.
        detail = f"x={x:g} y={y:g} w={w:g} h={h:g} in {image.width}x{image.height}"
        receipt.repair("box-grown" if small else "box-clipped", where, detail, name)
    extra = {key: value for key, value in annotation.extra.items() if key != "name"}
    plain = "".join(f"    <{key}>{_escaped(str(extra.pop(key)))}</{key}>\n" for key in PLAIN if key in extra)
    attributes: dict[str, Any] = {}
    if isinstance(given := extra.pop("attributes", None), Mapping):
        attributes.update(given)
    for key, value in extra.items():
        if isinstance(value, str | int | float) and key not in attributes:
            attributes[key] = value
        else:
            lost[key] += 1
    if annotation.iscrowd:
        attributes["iscrowd"] = 1
    else:
        attributes.pop("iscrowd", None)
    listed = "".join(
        f"      <attribute><name>{_escaped(str(k))}</name><value>{_escaped(str(v))}</value></attribute>\n"
        for k, v in attributes.items()
    )
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (x0 + 1, y0 + 1, x1, y1), strict=True)
    box = "".join(f"<{key}>{_number(value)}</{key}>" for key, value in corners)
    return (
        f"  <object>\n    <name>{_escaped(name)}</name>\n{plain}    <bndbox>{box}</bndbox>\n"
        + (f"    <attributes>\n{listed}    </attributes>\n" if listed else "")
        + "  </object>\n"
    )


def _inside(low: float, high: float, size: int) -> tuple[float, float]:
    """Clip an interval to 0..size; one of at most 1 px becomes 2 px wide, moved inside where it must."""
    low, high = max(low, 0.0), min(high, float(size))
    if high - low > 1:
        return low, high
    low = max(0.0, min(low, size - 2.0))
    return low, min(low + 2, float(size))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return escape(text, quote=False)
