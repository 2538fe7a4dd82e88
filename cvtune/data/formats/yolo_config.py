"""The file that describes a YOLO set: Ultralytics' data.yaml, darknet's .data file, or a list of names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvtune.data.formats.listing import levels, names_in
from cvtune.data.formats.text_yaml import parse_yaml
from cvtune.data.formats.texts import read_lines
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.split_names import is_split
from cvtune.errors import DataError

__all__ = [
    "MOST_CLASSES",
    "NAME_FILES",
    "OTHER_TEXTS",
    "PARTS",
    "listed_names",
    "parts_of",
    "plain_folder",
    "yolo_config",
]

# Classes beyond any model: a number of this size is a coordinate or an id.
MOST_CLASSES = 100_000
PARTS = ("train", "training", "trainval", "val", "valid", "validation", "minival", "test", "testing")
NAME_FILES = (
    "classes.txt", "obj.names", "predefined_classes.txt", "classes.names", "_darknet.labels", "class_names.txt",
    "labels.txt",
)  # fmt: skip
# Text files beside labels that are none.
OTHER_TEXTS = frozenset(
    {
        *NAME_FILES,
        "train.txt",
        "val.txt",
        "valid.txt",
        "test.txt",
        "readme.txt",
        "notes.txt",
        "readme.dataset.txt",
        "readme.roboflow.txt",
    }
)


def yolo_config(path: Path) -> Path | None:
    """The file that describes a set: data.yaml, a .data file or a list of names; None where there is none.

    Raises:
        DataError: several YAML files describe one, or several.
    """
    if path.is_file():
        suffix, name = path.suffix.lower(), path.name.lower()
        if suffix in {".yaml", ".yml"}:
            return path if _is_data_yaml(path) else None
        return path if suffix in {".data", ".names"} or name in NAME_FILES else None
    yamls = [file for file in sorted((*path.glob("*.yaml"), *path.glob("*.yml"))) if _is_data_yaml(file)]
    if len(yamls) > 1:
        usual = [file for file in yamls if file.name in {"data.yaml", "dataset.yaml"}]
        if len(usual) != 1:
            raise DataError(f"{path}: several files describe a YOLO set: {', '.join(f.name for f in yamls)}; name one")
        return usual[0]
    data = sorted(path.glob("*.data"))
    names = [folder / name for folder in (path, path / "labels") for name in NAME_FILES]
    found = [*yamls, *data, *(file for file in names if file.is_file()), *path.glob("*.names")]
    return found[0] if found else _list_of_splits(path) or _config_below(path)


def plain_folder(path: Path, config: Path | None) -> Path:
    """The folder of a set of which no file says where things are: that of its list of names, or what is above it."""
    here = path if path.is_dir() else path.parent
    if config is None or config.parent.name.lower() == "labels" or is_split(config.parent.name):
        return here
    pictured = (config.parent / "images").is_dir() or bool(names_in(config.parent, IMAGE_SUFFIXES))
    return config.parent if pictured or here not in config.parents else here


def _list_of_splits(path: Path) -> Path | None:
    """The list of names in folders of splits, or of their labels: the longest, where all begin alike.

    Raises:
        DataError: they number the classes differently.
    """
    for name in NAME_FILES:
        splits = [folder for folder in (*path.glob("*"), *path.glob("labels/*")) if is_split(folder.name)]
        lists = [file for split in splits for file in (split / name, split / "labels" / name) if file.is_file()]
        lists.sort(key=lambda file: len(listed_names(file)), reverse=True)
        for other in lists[1:]:
            if listed_names(lists[0])[: len(names := listed_names(other))] != names:
                raise DataError(f"{lists[0]} and {other} number the classes differently; read the splits one by one")
        if lists:
            return lists[0]
    return None


def listed_names(file: Path) -> list[str]:
    """The classes of a list, a line each."""
    lines = read_lines(file)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _config_below(path: Path) -> Path | None:
    """The describing file in the one folder below that has one: darknet's `data`, or what an archive made.

    Raises:
        DataError: several folders have one each, and so are sets of their own.
    """
    for found in list(levels(path, (".yaml", ".yml", ".data", ".names", ".labels", ".txt"), 2))[1:]:
        files = [path.joinpath(*parts) for parts in found]
        yamls = [file for file in files if file.suffix.lower() in {".yaml", ".yml"} and _is_data_yaml(file)]
        lists = [file for file in files if file.name in NAME_FILES or file.suffix == ".names"]
        if len(yamls) > 1 and len({file.parent for file in yamls}) == len(yamls) and not (path / "labels").is_dir():
            raise DataError(f"{path}: holds several YOLO sets: {', '.join(map(str, yamls))}; name one, or merge them")
        for kind in (yamls, [file for file in files if file.suffix == ".data"], lists):
            if kind:
                return kind[0] if len(kind) == 1 else None
    return None


def _is_data_yaml(path: Path) -> bool:
    try:
        values = parse_yaml(path)
    except DataError:
        return False
    return isinstance(values, dict) and ("names" in values or "nc" in values) and bool(parts_of(values))


def parts_of(values: Mapping[Any, Any]) -> dict[str, Any]:
    """The parts of a data.yaml in lower case, and what it says of each: CVAT calls them Train, Validation or anything.

    A part of an unusual name is known by its list of images.
    """
    said: dict[str, Any] = {}
    for key, value in values.items():
        said.setdefault(str(key).lower(), value)
    usual = {part: said[part] for part in PARTS if part in said}
    return usual | {
        part: value
        for part, value in said.items()
        if part not in {"path", "names", *usual} and isinstance(value, str) and value.lower().endswith(".txt")
    }
