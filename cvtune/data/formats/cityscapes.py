"""Cityscapes: ``gtFine/<split>/<city>/*_instanceIds.png`` (or ``*_polygons.json``) and ``leftImg8bit/...``.

A pixel of an instance image is 1000 * class + n where the object is told apart from others, and the class alone where
it is not: surfaces, and groups of objects, which are read as crowds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from cvtune.data.coco import Category, Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, assemble
from cvtune.data.formats.mask_images import parts, read_values
from cvtune.data.formats.texts import json_top, points_of, read_json, whole
from cvtune.data.image_files import ImageFinder
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError, nearest

__all__ = ["detect", "read", "subsets", "write"]

# The classes of which objects are told apart, with Cityscapes' own numbers.
THINGS: Mapping[int, str] = MappingProxyType(
    {
        24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 29: "caravan", 30: "trailer", 31: "train",
        32: "motorcycle", 33: "bicycle",
    }
)  # fmt: skip
NUMBERS = {name: number for number, name in THINGS.items()}
SURFACE = 1  # on a painted canvas: any class without objects
# Cityscapes' other labels: surfaces, what is no part of the scene, and groups of poles.
OTHERS = frozenset(
    {
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road",
        "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole",
        "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky",
    }
)  # fmt: skip
UNPAINTED = "license plate"  # a part of a car, which the makers' own painting leaves out
FARTHEST = 1e6  # pixels that a corner may lie off
NUMBERED = "class "
MASKS, POLYGONS = "_instanceIds.png", "_polygons.json"


def detect(path: Path) -> str | None:
    """Evidence that `path` is Cityscapes: instance images or polygon files by their names, one of them looked into."""
    if not path.is_dir():
        return None
    files = _files(path)
    masks = [file for file in files.values() if file.name.endswith(MASKS)]
    if masks:
        return f"{len(masks):,} files such as {masks[0].name}" if _looks_right(masks[0]) else None
    first = next(iter(files.values()), None)
    top = json_top(first) if first is not None else None
    if first is None or top is None or not {"imgHeight", "imgWidth", "objects"} <= set(top.keys):
        return None
    return f"{len(files):,} files such as {first.name} with imgHeight, imgWidth and objects"


def subsets(path: Path) -> tuple[str, ...]:
    """The splits: folders above those of the cities, where there are several."""
    found = dict.fromkeys(_split(file) for file in _files(path).values()) if path.is_dir() else {}
    return tuple(found) if len(found) > 1 and None not in found else ()  # type: ignore[arg-type]


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read the objects of Cityscapes; category ids are Cityscapes' (24 to 33), groups are crowds.

    Instance images are read where they are there; else polygons are painted in their order, so that a later one hides
    an earlier one, as the makers of the set do it. Surfaces (road, sky) are no objects; the receipt counts them.

    Raises:
        DataError: there is no such file, an unknown subset, or no image has a size.
    """
    files = _files(source.path) if source.path.is_dir() else {}
    if not files:
        raise DataError(f"{source.path}: no file ends in {MASKS} or {POLYGONS}; give the folder that holds gtFine")
    numbers = {key: i for i, key in enumerate(files, start=1)}
    if source.subset is not None:
        allowed = subsets(source.path)
        if source.subset not in allowed:
            hint = nearest(source.subset, allowed)
            raise DataError(
                f"{source.path}: no subset {source.subset!r}; allowed: {', '.join(allowed) or 'none'}{hint}"
            )
        files = {key: file for key, file in files.items() if _split(file) == source.subset}
    surfaces: Counter[str] = Counter()
    entries = [_entry(key, file, source, surfaces, receipt) for key, file in files.items()]
    foreign = Counter({name: n for name, n in surfaces.items() if name not in OTHERS and not name.startswith(NUMBERED)})
    if surfaces - foreign:
        listed = ", ".join(f"{name} {n:,}" for name, n in (surfaces - foreign).most_common(5))
        receipt.note("surfaces-not-read", str(source.path), f"{(surfaces - foreign).total():,} regions: {listed}")
    if foreign:
        listed = ", ".join(f"{name} {n:,}" for name, n in foreign.most_common(40))
        receipt.note("class-unknown", str(source.path), f"labels that Cityscapes does not have were left out: {listed}")
    receipt.files += files.values()
    categories = tuple(Category(number, name) for number, name in THINGS.items())
    first = min((numbers[key] for key in files), default=1)
    return assemble(entries, categories, receipt, source=source.path, first_image_id=first, sized=False)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: the classes of Cityscapes are fixed."""
    raise UnsupportedError("format: 'cityscapes' is read only; write `masks` or `coco`")


def _files(path: Path) -> dict[str, Path]:
    """ "aachen_000000_000019" -> its instance image, else its polygons; in order."""
    found: dict[str, Path] = {}
    pattern = "*"
    for _ in range(4):
        for ending in (POLYGONS, MASKS):
            for file in sorted(path.glob(pattern + ending)):
                key = file.name[: -len(ending)].removesuffix("_gtFine").removesuffix("_gtCoarse")
                if file.parent.name + key in found and found[file.parent.name + key].parent != file.parent:
                    key = f"{file.parent.parent.name}/{key}"
                found[file.parent.name + key] = file
        pattern = "*/" + pattern
    return dict(sorted(found.items()))


def _split(file: Path) -> str | None:
    above = file.parent.parent.name
    return above if above in {"train", "val", "test", "train_extra", "demoVideo"} else None


def _looks_right(file: Path) -> bool:
    try:
        values = np.unique(read_values(file))
    except DataError:
        return False
    return bool(((values < 34) | ((values >= 24000) & (values < 34000))).all())


def _entry(key: str, file: Path, source: ReadSource, surfaces: Counter[str], receipt: Receipt) -> Entry:
    base = file.name
    for ending in (MASKS, POLYGONS):
        base = base.removesuffix(ending)
    kind = "_gtCoarse" if base.endswith("_gtCoarse") else "_gtFine"
    base = base.removesuffix(kind)
    path = _image(base, file, source)
    city = file.parent.name
    name = path.relative_to(source.path).as_posix() if path and path.is_relative_to(source.path) else ""
    name = name or (f"{city}/{path.name}" if path else f"{city}/{base}_leftImg8bit.png")
    where = file.relative_to(source.path).as_posix()
    try:
        if file.name.endswith(MASKS):
            values = read_values(file)
        else:
            values = _painted(read_json(file, receipt, where), file, where, surfaces, receipt)
    except DataError as error:
        receipt.note("mask-invalid", where, str(error))
        return Entry(where, name, None, path, ())
    shapes: list[Shape] = []
    for value, patch in parts(values):
        number = value if value < 1000 else value // 1000
        if number not in THINGS:
            if file.name.endswith(MASKS):
                surfaces[f"{NUMBERED}{number}"] += 1
            continue
        shapes.append(Shape(f"{where} value {value}", THINGS[number], patch=patch, iscrowd=value < 1000))
    return Entry(where, name, (values.shape[1], values.shape[0]), path, shapes)


def _image(base: str, file: Path, source: ReadSource) -> Path | None:
    """The photograph: below leftImg8bit, in the folders of the same split and city."""
    city, split = file.parent.name, file.parent.parent.name
    roots = [source.images] if source.images is not None else [source.path, *source.path.parents[:2], *file.parents[:4]]
    folders = [root / "leftImg8bit" / split / city for root in roots]
    folders += [root / split / city for root in roots] + [root / city for root in roots] + [file.parent, roots[0]]
    found = ImageFinder(folders).find(f"{base}_leftImg8bit", any_suffix=True)
    return found[0] if found else None


def _painted(record: Any, file: Path, where: str, surfaces: Counter[str], receipt: Receipt) -> Any:
    """The polygons painted as the instance image that they stand for, edges and corners included: int32 [h, w].

    https://github.com/mcordts/cityscapesScripts, preparation/json2instanceImg.py
    """
    record = record if isinstance(record, dict) else {}
    width, height = whole(record.get("imgWidth")), whole(record.get("imgHeight"))
    objects = record.get("objects")
    if not 0 < width * height <= 1 << 28 or not isinstance(objects, list):
        raise DataError(f"{file}: 'imgWidth' and 'imgHeight' must be sizes in pixels and 'objects' a list")
    canvas = np.zeros((height, width), np.int32)
    seen: Counter[int] = Counter()
    for index, name, points in _drawn(objects):
        single = name.removesuffix("group")
        number = NUMBERS.get(name) or NUMBERS.get(single)
        value = SURFACE if number is None else number
        if number is None:
            surfaces[name] += 1
        if number is not None and name == single:
            value = number * 1000 + seen[number]
            seen[number] += 1
        inside = _inside(points, (width, height))
        if number is not None and not inside.any():
            receipt.count_in(0, {single: 1})
            receipt.drop("mask-empty", f"{where} object {index}", "its polygon covers no pixel", single)
            continue
        covered = canvas[inside]
        canvas[inside] = value
        for hidden in np.unique(covered).tolist():
            if hidden >= 1000 and not (canvas == hidden).any():
                lost = THINGS[hidden // 1000]
                receipt.count_in(0, {lost: 1})
                receipt.drop("mask-hidden", f"{where} value {hidden}", f"object {index} covers all of it", lost)
    return canvas


def _inside(points: Any, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a polygon, bool [h, w]; none of a malformed one."""
    canvas = Pillow.new("1", size_wh)
    flat = points_of(points)
    if len(flat) >= 6 and np.isfinite(flat).all() and np.abs(flat).max() < FARTHEST:
        ImageDraw.Draw(canvas).polygon(flat.tolist(), fill=1)
    return np.asarray(canvas)


def _drawn(objects: list[Any]) -> Iterator[tuple[int, str, Any]]:
    """(1-based place, label, points) of the objects that are painted, and no leftovers of editing."""
    for index, item in enumerate(objects, start=1):
        label = item.get("label") if isinstance(item, dict) else None
        if isinstance(label, str) and not item.get("deleted") and label != UNPAINTED:
            yield index, item["label"], item.get("polygon")
