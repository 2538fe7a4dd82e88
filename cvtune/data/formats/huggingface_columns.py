"""Which columns of a Hugging Face table hold the image, its size and its objects, and which split a file belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtune.data.formats.csv_columns import find_columns
from cvtune.data.formats.listing import levels
from cvtune.data.formats.object_lists import BOXES, CLASSES, MASKS
from cvtune.data.split_names import SPLITS

__all__ = ["ImageColumns", "find_image_columns", "part_of", "table_files"]

SUFFIXES = (".parquet", ".arrow")
# data/<config>/<split>/0000.parquet
DEEPEST = 3
SHARD = re.compile(r"[-_.]?\d+([-_.]of[-_.]\d+)?([-_.][0-9a-f]{8,})?$", re.IGNORECASE)
# What a split is called, and what tells nothing of one.
CALLED = {*SPLITS, "eval"}
DULL = frozenset({"", "data", "part", "shard", "file", "chunk", "batch", "dataset", "default"})
CACHE = "cache-"  # what `datasets` leaves of its own computations
IMAGES = ("image", "img", "images", "jpg", "jpeg", "png", "picture", "image_bytes")
PATHS = ("file_name", "filename", "image_path", "image_name", "img_path", "path", "image_file", "image_id", "img_id")
OBJECTS = ("objects", "annotations", "object", "annotation", "detections", "targets", "target", "labels", "faces")


@dataclass(frozen=True)
class ImageColumns:
    """`content` and `name` hold the image (or where it is), `size` width and height, `objects` one list or several.

    A field of a column of structs is ``image.path``. `rest` are plain values of the image, `unread` all other columns.
    """

    content: str | None
    name: tuple[str, ...]
    size: tuple[str, ...]
    objects: tuple[str, ...]
    rest: tuple[str, ...]
    unread: tuple[str, ...]

    def describe(self) -> str:
        """What was found, for people."""
        image = self.content or ", ".join(self.name)
        return f"{image} and {', '.join(self.objects)}"

    def objects_of(self, row: dict[str, Any]) -> Any:
        """The objects of a row: as its one column has them, or as an object of its lists."""
        return row[self.objects[0]] if len(self.objects) == 1 else {key: row[key] for key in self.objects}


def find_image_columns(schema: Any) -> ImageColumns | None:
    """The columns of images and objects of pyarrow's schema; None where one of the two is not there."""
    types = {field.name: field.type for field in schema}
    objects = _objects(types)
    content, name = _image(types)
    if not objects or not (content or name):
        return None
    lower = {key.lower(): key for key in types}
    size = tuple(lower[key] for key in ("width", "height") if key in lower)
    size = size or tuple(lower[key] for key in ("image_width", "image_height") if key in lower)
    size = size if len(size) == 2 else ()
    used = {*objects, *size, *(key.split(".")[0] for key in (content, *name) if key)}
    rest = tuple(key for key, kind in types.items() if key not in used and _is_plain(kind))
    return ImageColumns(content, name, size, objects, rest, tuple(k for k in types if k not in {*used, *rest}))


def table_files(path: Path) -> list[Path]:
    """The Parquet and Arrow files of a path: the file that it is, those right in it, or else those deepest below."""
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    found: list[Path] = []
    for names in levels(path, SUFFIXES, DEEPEST):
        found += [path.joinpath(*parts) for parts in names if not parts[-1].startswith(CACHE)]
    return found


def part_of(file: Path, root: Path) -> str:
    """The split that a file belongs to: what its name says without the shard's number, or else its folder's name."""
    stem = file.stem
    while (shorter := SHARD.sub("", stem)) != stem:
        stem = shorter
    above = [name for name in reversed(file.relative_to(root).parts[:-1]) if name.lower() not in DULL]
    if "-of-" not in file.stem or stem.lower() in DULL:
        words = re.split(r"[^a-z]+", stem.lower())
        named = sorted(CALLED.intersection(words))
        folder = next((name for name in above if name.lower() in CALLED), None)
        stem = folder or (named[0] if len(named) == 1 else stem)
    return stem if stem.lower() not in DULL else above[0] if above else "train"


def _objects(types: dict[str, Any]) -> tuple[str, ...]:
    """The column of objects, or the columns of a table that has one for each of their fields."""
    from pyarrow import types as kinds

    def boxed(kind: Any) -> bool:
        """Whether it is an object of lists, or a list of objects, with boxes."""
        inner = kind.value_type if _is_list(kind) else kind
        if not kinds.is_struct(inner) or (inner is kind and not any(_is_list(field.type) for field in inner)):
            return False
        keys = [field.name for field in inner]
        return bool(set(keys) & set(BOXES)) or find_columns(("filename", *keys)) is not None

    found = [key for key, kind in types.items() if boxed(kind) and key not in BOXES]
    if found:
        return (min(found, key=lambda key: OBJECTS.index(key) if key in OBJECTS else len(OBJECTS)),)
    lists = {key: kind for key, kind in types.items() if _is_list(kind)}
    boxes = [k for k in BOXES if k in lists and (_is_list(lists[k].value_type) or kinds.is_struct(lists[k].value_type))]
    if not boxes:
        return ()
    more = [key for key in (*CLASSES, *MASKS, "area", "iscrowd") if key in lists]
    return (boxes[0], *more) if more else (boxes[0], *boxes[1:2])


def _image(types: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """(the column of images' content, those of their names, the surest first)."""
    from pyarrow import types as kinds

    def is_binary(kind: Any) -> bool:
        return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))

    def is_image(kind: Any) -> bool:
        return kinds.is_struct(kind) and any(f.name == "bytes" and is_binary(f.type) for f in kind)

    structs = _first(IMAGES, [key for key, kind in types.items() if is_image(kind)])
    plain = _first(IMAGES, [key for key, kind in types.items() if is_binary(kind) and key.lower() in IMAGES])
    names = [key for key in (*PATHS, *IMAGES) if key in types and _is_plain(types[key])]
    if structs is not None:
        inside = [f"{structs}.path"] if any(field.name == "path" for field in types[structs]) else []
        return f"{structs}.bytes", (*inside, *names)
    return plain, tuple(names)


def _first(order: tuple[str, ...], found: list[str]) -> str | None:
    rank: Callable[[str], int] = lambda key: order.index(key.lower()) if key.lower() in order else len(order)  # noqa: E731
    return min(found, key=rank, default=None)


def _is_list(kind: Any) -> bool:
    from pyarrow import types as kinds

    tests: Iterable[Callable[[Any], bool]] = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _is_plain(kind: Any) -> bool:
    """Whether its values are those of JSON."""
    from pyarrow import types as kinds

    tests: Iterable[Callable[[Any], bool]] = (
        kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_string, kinds.is_large_string,
    )  # fmt: skip
    return any(test(kind) for test in tests)
