"""ISAT's JSON (ISAT with Segment Anything): a file an image, of polygons in groups; ``isat.yaml`` lists the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import Entry, Shape, alphabetical, assemble
from cvtune.data.formats.file_sets import FileSet, Finders, detected, find_files, read_documents
from cvtune.data.formats.groups import join_groups
from cvtune.data.formats.text_yaml import parse_yaml
from cvtune.data.formats.texts import json_top, number, points_of, whole
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

__all__ = ["detect", "read", "subsets", "write"]

BACKGROUND = "__background__"


def detect(path: Path) -> str | None:
    """Evidence that `path` is ISAT's: JSON of its `info` and `objects` with a category and a segmentation."""
    return detected(path, _accept, "info and objects of ISAT", ".json", deep=True)


def subsets(path: Path) -> tuple[str, ...]:
    """The folders right below `path`, where all files lie in two or more."""
    return find_files(path, ".json", deep=True).subsets


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read polygons; those of one category and group are one object. What is of `__background__` is dropped.

    Category ids are 1, 2, ... in the order of isat.yaml, then over the sorted categories that it lacks. `group_id`,
    `layer` and `note` are in `Annotation.extra`.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_files(source.path, ".json", deep=True)
    chosen = set(files.of_subset(source.subset))
    documents = read_documents(files, chosen, receipt, _document, "no info and objects of ISAT")
    if not documents:
        raise DataError(f"{source.path}: none of its {len(files.files)} .json files is of ISAT")
    finders = Finders(files.root, source.images, [_name(document, file) for file, document in documents.items()])
    entries: list[Entry] = []
    names: set[str] = set()
    for file, document in documents.items():
        label = files.label(file)
        shapes = [_shape(item, f"{label} object {n}") for n, item in enumerate(document["objects"], start=1)]
        names.update(shape.name for shape in shapes if shape.name)
        if file not in chosen:
            continue
        path, called = finders.find(_name(document, file), file, stem=True)
        info = document["info"]
        size = whole(info.get("width")), whole(info.get("height"))
        joined = [*join_groups([s for s in shapes if not s.iscrowd]), *join_groups([s for s in shapes if s.iscrowd])]
        entries.append(Entry(label, called, size if all(size) else None, path, joined))
    receipt.files += [file for file in documents if file in chosen]
    listed = _listed(files, list(documents), receipt)
    return assemble(entries, alphabetical(names - {BACKGROUND}, listed), receipt, source=source.path)


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Always raises UnsupportedError: ISAT itself converts COCO."""
    raise UnsupportedError("format: 'isat' is read only; write `coco`, which ISAT itself converts")


def _accept(file: Path) -> bool:
    top = json_top(file)
    if top is None or not {"info", "objects"} <= set(top.keys):
        return False
    return _is_isat({"info": top.get("info"), "objects": top.first("objects")})


def _document(content: Any) -> dict[str, Any] | None:
    """The content of a file, where it is of this format."""
    return content if isinstance(content, dict) and _is_isat(content) else None


def _is_isat(document: dict[str, Any]) -> bool:
    info, objects = document.get("info"), document.get("objects")
    if not isinstance(info, dict) or not isinstance(objects, list) or not isinstance(info.get("name"), str):
        return False
    marked = str(info.get("description")).strip().upper() == "ISAT"
    first = objects[0] if objects else None
    return marked or (isinstance(first, dict) and {"category", "segmentation"} <= set(first))


def _name(document: dict[str, Any], file: Path) -> str:
    name: str = document["info"]["name"]
    return name.strip() or file.stem


def _listed(files: FileSet, read: Sequence[Path], receipt: Receipt) -> list[str]:
    """The classes of isat.yaml beside the annotations or above them."""
    places = dict.fromkeys([files.root, *(file.parent for file in read), files.root.parent])
    file = next((folder / "isat.yaml" for folder in places if (folder / "isat.yaml").is_file()), None)
    if file is None:
        return []
    document = parse_yaml(file)
    labels = document.get("label") if isinstance(document, dict) else None
    receipt.files.append(file)
    names = [item.get("name") for item in labels if isinstance(item, dict)] if isinstance(labels, list) else []
    return list(dict.fromkeys(str(name).strip() for name in names if name and str(name).strip() != BACKGROUND))


def _shape(item: Any, where: str) -> Shape:
    if not isinstance(item, dict):
        return Shape(where, None, fault=("value-malformed", f"an object must be an object, got {item!r:.60}"))
    category = item.get("category")
    name = str(category).strip() if isinstance(category, str | int) else ""
    extra: dict[str, Any] = {}
    if (group := whole(item.get("group"))) > 0:
        extra["group_id"] = group
    if isinstance(item.get("layer"), int | float):
        extra["layer"] = item["layer"]
    if isinstance(item.get("note"), str) and item["note"]:
        extra["note"] = item["note"]
    crowd = str(item.get("iscrowd")).lower() in {"true", "1"}
    shape = Shape(where, name or None, iscrowd=crowd, extra=extra)
    if name == BACKGROUND:
        return replace(shape, fault=("surfaces-not-read", "it is background; nothing was cut out of what lies below"))
    if item.get("segmentation"):
        return replace(shape, polygons=(points_of(item["segmentation"]),))
    box = item.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return replace(shape, fault=("box-missing", "neither a segmentation nor a bbox"))
    x0, y0, x1, y1 = map(number, box)
    return replace(shape, box_xyxy=(x0, y0, x1, y1))
