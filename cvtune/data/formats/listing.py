"""What lies in a folder, by its listing alone: of a hundred thousand files none is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["folders_in", "kinds_below", "levels", "names_in", "names_without_suffix", "walk"]

# x.tfrecord-00003-of-00010 is a .tfrecord; of many XML files some are looked into.
LOOK_AT = 8
HEAD = 1 << 20  # bytes
TAGS = {
    "<annotation>": re.compile(rb"<(annotation|doc|HRSC_Image)[\s>/]"),
    "<annotations>": re.compile(rb"<annotations[\s>/]"),
    "<polygon>": re.compile(rb"<(polygon|segm|imagesize)[\s>/]"),
}
SHARD = re.compile(r"-\d+-of-\d+$")
# Where XML files may lack their suffix, as Stanford Dogs has them.
ANNOTATION_FOLDERS = frozenset({"annotation", "annotations"})


def kinds_below(path: Path) -> frozenset[str]:
    """The suffixes of all files below a path (or of the file that it is) and the names of all folders, as "masks/".

    All in lower case. The folder's own name counts too. Links to folders are followed, once each. Of XML files some in
    each folder are looked into: `TAGS` that occur are among the kinds.
    """
    if not path.is_dir():
        suffix = Path(SHARD.sub("", path.name)).suffix.lower()
        return frozenset({suffix}) | (_tags(str(path)) if suffix == ".xml" else frozenset())
    kinds = {f"{os.path.basename(os.path.realpath(path)).lower()}/"}
    for above, folders, files in walk(str(path)):
        kinds.update(f"{name.lower()}/" for name in folders)
        kinds.update({os.path.splitext(SHARD.sub("", name))[1] for name in files})
        bare = not ANNOTATION_FOLDERS.isdisjoint(name.lower() for name in (os.path.basename(path), *above))
        xml = sorted(name for name in files if name.lower().endswith(".xml") or (bare and "." not in name))
        for name in xml[:: max(1, len(xml) // LOOK_AT)][:LOOK_AT]:
            kinds |= _tags(os.path.join(path, *above, name))
    return frozenset(kind.lower() for kind in kinds)


def _tags(path: str) -> frozenset[str]:
    """Which of `TAGS` an XML file holds; all where its letters are not single bytes, or it cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return frozenset(TAGS)
    return frozenset(TAGS) if b"\0" in head else frozenset(tag for tag, mark in TAGS.items() if mark.search(head))


def names_in(folder: Path, suffixes: tuple[str, ...], deep: bool = False) -> list[tuple[str, ...]]:
    """The files of a folder (with `deep`, also of all folders below) that have one of `suffixes`, in order.

    Each as the folders above it and its name: paths of a hundred thousand files take a second to make.
    """
    found: list[tuple[str, ...]] = []
    for above, _, files in walk(str(folder), deep):
        found += [(*above, name) for name in files if name.lower().endswith(suffixes)]
    return sorted(found)


def names_without_suffix(folder: Path) -> list[tuple[str, ...]]:
    """As `names_in` with `deep`, the files without a suffix in a folder of annotations, and those below it."""
    found: list[tuple[str, ...]] = []
    for above, _, files in walk(str(folder)):
        if not ANNOTATION_FOLDERS.isdisjoint(name.lower() for name in (folder.name, *above)):
            found += [(*above, name) for name in files if "." not in name]
    return sorted(found)


def folders_in(folder: Path) -> list[str]:
    """The names of the folders right in one, in order."""
    return _entries(str(folder))[0]


def levels(folder: Path, suffixes: tuple[str, ...], deepest: int) -> Iterator[list[tuple[str, ...]]]:
    """As `names_in` those right in a folder, then those one folder deeper, and so on."""
    level: list[tuple[tuple[str, ...], str]] = [((), str(folder))]
    for _ in range(deepest + 1):
        found: list[tuple[str, ...]] = []
        below: list[tuple[tuple[str, ...], str]] = []
        for above, path in level:
            folders, files = _entries(path)
            found += [(*above, name) for name in files if name.lower().endswith(suffixes)]
            below += [((*above, name), os.path.join(path, name)) for name in folders]
        yield sorted(found)
        level = below


def walk(root: str, deep: bool = True) -> Iterator[tuple[tuple[str, ...], list[str], list[str]]]:
    """(the folders above, the names of folders, the names of files) of a folder and those below; cycles end."""
    seen: set[str] = set()
    waiting: list[tuple[tuple[str, ...], str]] = [((), root)]
    while waiting:
        above, path = waiting.pop()
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        folders, files = _entries(path)
        yield above, folders, files
        if deep:
            waiting += [((*above, name), os.path.join(path, name)) for name in reversed(folders)]


def _entries(path: str) -> tuple[list[str], list[str]]:
    """(names of folders, names of files) of one that can be read."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():
                    files.append(entry.name)
    except OSError:
        pass
    return sorted(folders), files
