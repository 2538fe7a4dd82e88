"""The annotation files of a folder, for formats of many files: where they are, and which parts they make."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cvtune.data.far_images import LABEL_FOLDERS, FarImages, without_address
from cvtune.data.formats.listing import levels
from cvtune.data.formats.texts import json_top, read_json
from cvtune.data.image_files import ImageFinder, image_folders
from cvtune.data.split_names import split_words
from cvtune.errors import DataError, nearest

if TYPE_CHECKING:
    from cvtune.data.receipt import Receipt

__all__ = [
    "FileSet",
    "Finders",
    "detected",
    "file_names",
    "find_files",
    "folders_apart",
    "part_names",
    "parts_of",
    "read_documents",
    "splits_among",
]

# Of a folder of many files not all are opened to tell what they are.
LOOK_AT = 8
# Folders of annotations lie this deep at most: Annotations/users/<user>/<collection>/<image>.
DEEPEST = 5


@dataclass(frozen=True)
class FileSet:
    """`files` in order, below `root`, and the part of the set that each is of; none where there are no parts."""

    root: Path
    files: tuple[Path, ...]
    parts: tuple[str, ...] = ()

    @property
    def subsets(self) -> tuple[str, ...]:
        """The names of the parts."""
        return tuple(dict.fromkeys(self.parts))

    @property
    def splits(self) -> tuple[str, ...]:
        """The subsets that a set falls into unasked: those of splits, not of classes, of jobs, of cameras."""
        return splits_among(self.subsets)

    def label(self, file: Path) -> str:
        """The file's path below the root, as messages call it."""
        return file.relative_to(self.root).as_posix()

    def of_subset(self, subset: str | None) -> tuple[Path, ...]:
        """The files of a subset; all where it is None.

        Raises:
            DataError: there is no such subset.
        """
        if subset is None:
            return self.files
        if subset not in self.subsets:
            allowed = ", ".join(self.subsets) or "none"
            raise DataError(f"{self.root}: no subset {subset!r}; allowed: {allowed}{nearest(subset, self.subsets)}")
        return tuple(file for file, part in zip(self.files, self.parts, strict=True) if part == subset)


def parts_of(names: Sequence[tuple[str, ...]], by_stem: bool = False) -> tuple[str, ...]:
    """Which part of a set each of its files is of; none where they make no parts.

    Parts are the folders right below the set's, where all files lie in two or more; or below the folders that all
    share, as from one level too high, where they are called as splits are; or, with `by_stem`, files of one folder that
    are called so.

    Args:
        names: each file as the folders above it and its name.
        by_stem: whether a file's own name counts; not that of a file an image.
    """
    shared = _shared(names)
    if all(len(parts) > shared + 1 for parts in names):
        return folders_apart(names)[1]
    if not by_stem or any(len(parts) > shared + 1 for parts in names):
        return ()
    words = [split_words(Path(parts[-1]).stem) for parts in names]
    if len(set(words)) < 2 or any(len(found) != 1 for found in words):
        return ()
    return tuple(word for found in words for word in found)


def splits_among(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names where any is that of a split; else none."""
    return names if any(map(split_words, names)) else ()


def folders_apart(names: Sequence[tuple[str, ...]], only_splits: bool = False) -> tuple[int, tuple[str, ...]]:
    """How many folders above them all files of a set share, and the folder below that keeps each apart from others.

    Right below the set's folder they may have any names, deeper down those of splits alone; none where a file lies in
    no such folder, or all in one.

    Args:
        names: each file as the folders above it and its name.
        only_splits: whether they must have names of splits right below the set's folder, too.
    """
    shared = _shared(names)
    if not all(len(parts) > shared + 1 for parts in names):
        return 0, ()
    tops = tuple(parts[shared] for parts in names)
    apart = len(set(tops)) > 1 and (not (shared or only_splits) or all(map(split_words, tops)))
    return (shared, tops) if apart else (0, ())


def part_names(names: Sequence[tuple[str, ...]]) -> list[str]:
    """What to call each file of a set where each is a part: by its stem, or of several folders by that of its split.

    Args:
        names: each file as the folders above it and its name.
    """
    shared = _shared(names)
    above = ["" if len(parts) < shared + 2 or parts[shared] == "annotations" else parts[shared] for parts in names]
    found: list[str] = []
    for parts, folder in zip(names, above, strict=True):
        stem = Path(parts[-1]).stem
        label = stem if not folder else folder if above.count(folder) == 1 else f"{folder}_{stem}"
        found.append(label if label not in found else "_".join((*parts[:-1], stem)))
    return found


def _shared(names: Sequence[tuple[str, ...]]) -> int:
    """How many folders lie above all of them."""
    shared = 0
    while names and all(len(parts) > shared + 1 and parts[shared] == names[0][shared] for parts in names):
        shared += 1
    return shared


def find_files(path: Path, *suffixes: str, deep: bool = False, skip: Sequence[str] = ()) -> FileSet:
    """The files with one of `suffixes`: `path` itself, those right in it, or else those up to five folders below.

    With `deep` those right in it and those below, for formats of a file an image, which may lie in subfolders; others
    may tell their part of the set by their name. Files called as in `skip` are no annotations.
    """
    if path.is_file():
        return FileSet(path.parent, (path,) if path.suffix.lower() in suffixes else ())
    names = file_names(path, suffixes, deep, skip)
    return FileSet(path, tuple(path.joinpath(*parts) for parts in names), parts_of(names, by_stem=not deep))


def file_names(path: Path, suffixes: tuple[str, ...], deep: bool, skip: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The files of `find_files` in a folder, each as the folders above it and its name: paths of many take a second."""
    every: list[tuple[str, ...]] = []
    for found in levels(path, suffixes, DEEPEST):
        found = [parts for parts in found if parts[-1] not in skip]
        every += [parts for parts in found if parts[-1] != "receipt.json" or not _is_receipt(path.joinpath(*parts))]
        if every and not deep:
            break
    return every


def _is_receipt(file: Path) -> bool:
    """Whether a file is what `cvtune convert` leaves beside its output; an image may be called receipt too."""
    top = json_top(file)
    return top is not None and {"from", "to", "counts", "outputs"} <= set(top.keys)


def detected(
    path: Path,
    accept: Callable[[Path], bool],
    what: str,
    *suffixes: str,
    deep: bool = False,
    skip: Sequence[str] = (),
) -> str | None:
    """Evidence that most files below `path` with one of `suffixes` are what `accept` takes, or None."""
    folder = path.parent if path.is_file() else path
    named = path.is_file() and path.suffix.lower() in suffixes
    names = [(path.name,)] if named else [] if path.is_file() else file_names(path, suffixes, deep, skip)
    looked = names[:: max(1, len(names) // LOOK_AT)][:LOOK_AT]
    hits = sum(accept(folder.joinpath(*parts)) for parts in looked)
    if not hits or 2 * hits <= len(looked):
        return None
    first = "/".join(names[0])
    return f"{first} with {what}" if len(names) == 1 else f"{len(names)} files such as {first} with {what}"


def read_documents(
    files: FileSet,
    chosen: Collection[Path],
    receipt: Receipt,
    told: Callable[[Any], dict[str, Any] | None],
    lacks: str,
) -> dict[Path, dict[str, Any]]:
    """Decode the JSON files of a set, an image each; those that are of another kind are left out, and noted.

    Args:
        files: all of the set.
        chosen: those that the receipt is about.
        receipt: gets the notes.
        told: the document in a file's content, or None where it is of another kind.
        lacks: what a file that is left out has not, for the note.

    Raises:
        DataError: JSON is malformed.
    """
    documents: dict[Path, dict[str, Any]] = {}
    for file in files.files:
        document = told(read_json(file, receipt if file in chosen else None, files.label(file)))
        if document is not None:
            documents[file] = document
        elif file in chosen:
            receipt.note("file-skipped", files.label(file), lacks)
    return documents


class Finders:
    """Finds the images that annotation files name: in `images`, or around each file; every folder is listed once."""

    def __init__(self, root: Path, images: Path | None, names: Iterable[str] = (), beside: Sequence[str] = ()) -> None:
        """Search for files of the set below `root`.

        Args:
            root: the folder of the set.
            images: where the images are, or None to search around the annotations.
            names: what all annotations call their images: of names that several folders share, only the image in the
                right folder counts.
            beside: more folders of images, relative to `root`.
        """
        self._root = root
        parents: dict[str, set[str]] = {}
        for name in names:
            *above, base = name.replace("\\", "/").lower().split("/")
            parents.setdefault(PurePosixPath(base).stem, set()).add("/".join(above))
        self._shared = {stem for stem, folders in parents.items() if len(folders) > 1}
        self._images = images
        self._more = [root / name for name in beside] if images is None else []
        self._finders: dict[Path, ImageFinder] = {}

    def find(self, name: str, file: Path, stem: bool = False) -> tuple[Path | None, str]:
        """(the image's path or None, what it is called).

        It is called by its path below the folder it was found in, or below the root of the set where that is in the
        annotation's own folders: images of one name in several folders stay apart.

        Args:
            name: as the annotation says it; slashes of either kind.
            file: the annotation file.
            stem: whether an image of the annotation file's own stem may stand in.

        Raises:
            DataError: `images` is no folder.
        """
        if file.parent not in self._finders:
            # The stem is not the file's own: only folders, not names, make a difference here.
            folders = image_folders(file.parent / "annotations.x", self._images)
            relative = file.relative_to(self._root) if file.is_relative_to(self._root) else file
            far = FarImages(self._images if self._images is not None else self._root, relative)
            self._finders[file.parent] = ImageFinder([*folders, *self._more], far)
        finder = self._finders[file.parent]
        plain = without_address(name).replace("\\", "/").replace("\0", "")
        parts = [part for part in plain.split("/") if part not in {"", ".", ".."} and not part.endswith(":")]
        below = file.parent.relative_to(self._root) if file.parent.is_relative_to(self._root) else Path()
        if below.parts and parts:
            for folder in finder.folders:
                path = folder / below / parts[-1]
                if path.is_file():
                    return path, path.relative_to(folder).as_posix()
        found = finder.find("/".join(parts), any_suffix=True) if parts else None
        if found is None and stem:
            found = finder.find(file.stem, any_suffix=True)
        if found is not None and found[0].stem.lower() in self._shared:
            above = found[0].parent.parts
            # A folder of annotations has no name in common with one of images.
            own = () if file.parent.name.lower() in LABEL_FOLDERS else below.parts
            full = tuple(parts[:-1]) or own
            if full and above[-len(full) :] not in {full, own}:
                found = None
        if found is None:
            outside = plain.startswith("/") or plain[1:2] == ":"
            rest = Path(parts[-1]) if parts and outside else Path(*parts)
            return None, (below / (rest if parts else file.stem)).as_posix()
        path, folder = found
        # Each split has its own `images`, and its own frame_000000.
        own_folder = folder == file.parent or (below.parts and path.is_relative_to(self._root / below.parts[0]))
        return path, path.relative_to(self._root if own_folder else folder).as_posix()
