"""The last resort for an image: anywhere below the set's folder, where only one can be meant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from cvtune.data.formats.listing import walk
from cvtune.data.split_names import split_words

__all__ = ["LABEL_FOLDERS", "FarImages", "images_of_sources", "without_address"]

# A folder of so many folders is no data set: somebody's home, say.
MOST_FOLDERS = 2000
# Folders of annotations, whose images lie beside them.
LABEL_FOLDERS = frozenset({"annotations", "annotation", "labels", "label", "ann", "json", "xml"})
# Those that hold folders of annotations.
OUTER_FOLDERS = frozenset({"annotations", "annotation", "labels", "label"})


class FarImages:
    """All images below a folder by their name; none is opened, and nothing is listed before the first question."""

    def __init__(self, root: Path, annotations: Path | None = None) -> None:
        """Search below `root`.

        Args:
            root: the folder of the set, or of the images.
            annotations: the file that names the images. What lies in the folder of another split than its own is not
                taken: parts of a set call their images alike.
        """
        self._root = root.parent if root.name.lower() in LABEL_FOLDERS else root
        below: tuple[str, ...] = ()
        if root.parent.name.lower() in OUTER_FOLDERS:  # annotations/train, beside images/train
            self._root, below = root.parent.parent, (root.name,)
        self._words = split_words(*below, *(annotations.parts if annotations is not None else ()))
        self._by_stem: dict[str, list[tuple[str, ...]]] | None = None
        self._folders: set[tuple[str, ...]] = set()  # of images, in lower case
        self._known: dict[tuple[str, ...], bool] = {}

    def find(self, parts: Sequence[str], suffixes: tuple[str, ...], any_suffix: bool) -> Path | None:
        """The one image of that name, or of several the one in the folders that `parts` tell.

        Args:
            parts: the folders and the name that are stated.
            suffixes: of images, in lower case.
            any_suffix: whether another suffix than the stated one will do.
        """
        if self._by_stem is None:
            self._by_stem = self._listed(suffixes)
        name = parts[-1].lower()
        stem = next((name[: -len(suffix)] for suffix in suffixes if name.endswith(suffix)), name)
        words = self._words | split_words(*parts)
        same = self._by_stem.get(stem, [])
        # a.jpg counts before a.png, its mask.
        named = [found for found in same if found[-1].lower() == name]
        same = named if named or not any_suffix else same
        fitting = [found for found in same if not words or split_words(*found[:-1]) <= words]
        stated = _lower(parts[:-1])
        # Where the stated folder is there, an image of that name in another one is another image.
        if len(fitting) > 1 or self._has(stated):
            exact = [found for found in fitting if _lower(found[:-1]) == stated]
            fitting = exact or [f for f in fitting if stated and _lower(f[:-1])[-len(stated) :] == stated]
        return self._root.joinpath(*fitting[0]) if len(fitting) == 1 else None

    @property
    def root(self) -> Path:
        """The folder that is searched."""
        return self._root

    def _has(self, stated: tuple[str, ...]) -> bool:
        """Whether a folder of images is called so."""
        if stated not in self._known:
            self._known[stated] = any(stated and folder[-len(stated) :] == stated for folder in self._folders)
        return self._known[stated]

    def _listed(self, suffixes: tuple[str, ...]) -> dict[str, list[tuple[str, ...]]]:
        found: dict[str, list[tuple[str, ...]]] = {}
        for number, (above, _, files) in enumerate(walk(str(self._root))):
            if number == MOST_FOLDERS:
                return {}
            for file in files:
                suffix = next((suffix for suffix in suffixes if file.lower().endswith(suffix)), None)
                if suffix is not None:
                    found.setdefault(file[: -len(suffix)].lower(), []).append((*above, file))
                    self._folders.add(_lower(above))
        return found


def images_of_sources(file: Path) -> list[FarImages]:
    """Where the images of a file that cvtune made may be, as receipt.json beside it says.

    That is in the folders where they were found, and below what it was made from; the folders of the file's own split
    count first.
    """
    try:
        record = msgspec.json.decode((file.parent / "receipt.json").read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    said = record.get("from") if isinstance(record, dict) else None
    sources = [source for source in (said if isinstance(said, list) else [said]) if isinstance(source, dict)]
    listed = [source["images"] for source in sources if isinstance(source.get("images"), list)]
    paths = [*chain.from_iterable(listed), *(source.get("path") for source in sources)]
    roots = [Path(path) for path in paths if isinstance(path, str) and os.path.isabs(path) and os.path.exists(path)]
    folders = dict.fromkeys(root if root.is_dir() else root.parent for root in roots)
    return [FarImages(folder, own) for own in (file, None) for folder in folders]


def without_address(name: str) -> str:
    """Of the address of an image (https://, s3://, file://) its path; else the name as it is."""
    if "://" not in name:
        return name
    try:
        return unquote(urlsplit(name).path) or name
    except ValueError:
        return name


def _lower(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.lower() for part in parts)
