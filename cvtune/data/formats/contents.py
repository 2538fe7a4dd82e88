"""What lies at a path that is of no known format: for the error that says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from cvtune.data.formats.listing import levels
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.errors import DataError

__all__ = ["describe"]

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"})
# So many files of a kind are tried, down to so many folders below.
LOOK_AT, DEEPEST = 20, 3


def describe(path: Path) -> str:
    """What is there, and of annotation files that are damaged or all but of a format, what is wrong with the first."""
    wrong = _first_fault(path)
    return f"{_listed(path)}; {wrong}" if wrong else _listed(path)


def _listed(path: Path) -> str:
    if path.is_file():
        if path.suffix.lower() in ARCHIVES:
            return "it is an archive; unpack it, and give the folder"
        return f"it is a {path.suffix or 'suffixless'} file of {path.stat().st_size:,} bytes"
    found = Counter("folders" if e.is_dir() else e.suffix.lower() or "suffixless" for e in path.iterdir())
    listed = ", ".join(f"{n} {kind}" for kind, n in found.most_common(6))
    archived = "; unpack the archive" if found.keys() & ARCHIVES else ""
    images = "; give the annotations, or the folder above" if found and found.keys() <= {*IMAGE_SUFFIXES} else ""
    return f"the folder holds {listed or 'nothing'}{archived}{images}"


def _first_fault(path: Path) -> str | None:
    for suffixes, check in ((".xml",), _xml), ((".yaml", ".yml"), _yaml), ((".json",), _json):
        files = [path] if path.is_file() else _files(path, suffixes)
        for file in files:
            if not file.name.lower().endswith(suffixes):
                continue
            try:
                check(file)
            except DataError as error:
                return str(error)
    return None


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
            for key in LISTS:
                next(coco.chunks(key), None)
        except DataError as error:
            raise DataError(f"read as COCO: {error}") from error
