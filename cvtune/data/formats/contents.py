"""What lies at a path that is of no known format: for the error that says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from cvtune.data.formats import fitting_formats
from cvtune.data.formats.listing import folders_in, levels
from cvtune.data.formats.yolo_config import yolo_config
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.errors import DataError

__all__ = ["describe"]

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"})
# So many files of a kind are tried, down to so many folders below.
LOOK_AT, DEEPEST = 20, 3


def describe(path: Path) -> str:
    """What is there, and of annotation files that are damaged or all but of a format, what is wrong with the first."""
    below, (folder, wrong) = _sets_below(path), _first_fault(path)
    # What is wrong with the files of a set below is not what is wrong here.
    said = [below, wrong if below is None or folder == path else None]
    return "; ".join([_listed(path), *filter(None, said)])


def _sets_below(path: Path) -> str | None:
    """Which folders in it, or one folder deeper, are sets: a level too high is named easily."""
    level = [path] if path.is_dir() else []
    for _ in range(DEEPEST - 1):
        level = [folder / name for folder in level for name in folders_in(folder)][:LOOK_AT]
        fitting = {folder: " or ".join(names) for folder in level if (names := fitting_formats(folder))}
        if fitting:
            listed = ", ".join(f"{folder.relative_to(path)} ({names})" for folder, names in list(fitting.items())[:3])
            return f"sets lie below it: {listed}{' and more' if len(fitting) > 3 else ''}; give one of them"
    return None


def _listed(path: Path) -> str:
    if path.is_file():
        if path.suffix.lower() in ARCHIVES:
            return "it is an archive; unpack it, and give the folder"
        return f"it is a {path.suffix or 'suffixless'} file of {path.stat().st_size:,} bytes"
    found = Counter("folders" if e.is_dir() else e.suffix.lower() or "suffixless" for e in path.iterdir())
    listed = ", ".join(f"{n} {kind}" for kind, n in found.most_common(6))
    advice = "; unpack the archive" if found.keys() & ARCHIVES else ""
    if found and found.keys() <= set(IMAGE_SUFFIXES):
        advice = ", images alone; give the folder above, that holds their annotations too"
    return f"the folder holds {listed or 'nothing'}{advice}"


def _first_fault(path: Path) -> tuple[Path | None, str | None]:
    """(where it lies, what is wrong): the first file of annotations that is damaged, or all but of a format."""
    for suffixes, check in ((".xml",), _xml), ((".yaml", ".yml"), _yaml), ((".json",), _json):
        files = [path] if path.is_file() else _files(path, suffixes)
        for file in files:
            if not file.name.lower().endswith(suffixes):
                continue
            try:
                check(file)
            except DataError as error:
                return file.parent, str(error)
    try:
        yolo_config(path)
    except DataError as error:
        return path, str(error)
    return None, None


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found = next(filter(None, levels(path, suffixes, DEEPEST)), [])
    return [path.joinpath(*parts) for parts in found[:LOOK_AT] if parts[-1] != "receipt.json"]


def _xml(file: Path) -> None:
    from cvtune.data.formats.xml_files import parse_xml

    parse_xml(file)


def _yaml(file: Path) -> None:
    from cvtune.data.formats.text_yaml import parse_yaml

    parse_yaml(file)


def _json(file: Path) -> None:
    from cvtune.data.coco_file import LISTS, open_coco
    from cvtune.data.formats.texts import json_top

    top = json_top(file)
    if top is None or top.is_list or set(top.keys) & set(LISTS):
        try:
            coco = open_coco(file)
            first = {key: next(coco.chunks(key), [{}])[0] for key in LISTS}["annotations"]
        except DataError as error:
            raise DataError(f"read as COCO: {error}") from error
        if first and "category_id" not in first:
            raise DataError(f"{file.name}: its annotations are of no objects; their keys are {', '.join(first)}")
