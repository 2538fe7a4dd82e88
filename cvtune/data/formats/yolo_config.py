"""The file that describes a YOLO set: Ultralytics' data.yaml, darknet's .data file, or a list of names."""

from __future__ import annotations

from pathlib import Path

from cvtune.data.formats.text_yaml import parse_yaml
from cvtune.errors import DataError

__all__ = ["MOST_CLASSES", "NAME_FILES", "OTHER_TEXTS", "PARTS", "SPLITS", "plain_folder", "yolo_config"]

# Classes beyond any model: a number of this size is a coordinate or an id.
MOST_CLASSES = 100_000
PARTS = ("train", "val", "valid", "test", "minival")
NAME_FILES = (
    "classes.txt", "obj.names", "predefined_classes.txt", "classes.names", "_darknet.labels", "class_names.txt",
    "labels.txt",
)  # fmt: skip
# Folders of a set that no file describes.
SPLITS = ("train", "val", "valid", "validation", "test")
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
        DataError: several YAML files describe one.
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
    folders = [path, path / "labels", *(path / split for split in SPLITS)]
    names = [folder / name for folder in folders for name in NAME_FILES]
    found = next(iter([*yamls, *data, *(file for file in names if file.is_file())]), None)
    return found or _config_below(path)


def plain_folder(path: Path, config: Path | None) -> Path:
    """The folder of a set of which no file says where things are: that of its list of names, or what is above it."""
    if config is not None and config.parent.name not in {"labels", *SPLITS}:
        return config.parent
    return path if path.is_dir() else path.parent


def _config_below(path: Path) -> Path | None:
    """The describing file in the one folder right below that has one: darknet's `data`, or what an archive made."""
    yamls = [file for file in (*path.glob("*/*.yaml"), *path.glob("*/*.yml")) if _is_data_yaml(file)]
    for found in (yamls, [*path.glob("*/*.data")], [file for name in NAME_FILES for file in path.glob(f"*/{name}")]):
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _is_data_yaml(path: Path) -> bool:
    try:
        values = parse_yaml(path)
    except DataError:
        return False
    return isinstance(values, dict) and ("names" in values or "nc" in values) and any(p in values for p in PARTS)
