"""What the paths in a YOLO set mean, and where labels lie beside images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from cvtune.data.split_names import is_split

__all__ = ["after_images", "first", "images_beside", "labels_beside", "labels_place", "resolve", "ways"]


def labels_beside(image: Path) -> list[Path]:
    """Where an image's labels may be: the last folder `images` of its path replaced by `labels`, else beside it."""
    if not image.name:  # the root of the file system, where a list says "/"
        return []
    parts = list(image.with_suffix(".txt").parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            return [Path(*parts[:i], "labels", *parts[i + 1 :]), image.with_suffix(".txt")]
    return [image.with_suffix(".txt"), image.parent / "labels" / f"{image.stem}.txt"]


def images_beside(folder: Path) -> Path:
    """The folder of the images of a folder below `labels`; else the folder itself."""
    parts = folder.parts
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] == "labels" and (there := Path(*parts[:i], "images", *parts[i + 1 :])).is_dir():
            return there
    return folder


def labels_place(text: str, bases: Iterable[Path]) -> Path | None:
    """The folder of labels that belongs to a folder of images, be that there or not."""
    for base in bases:
        for way in ways(text, base):
            labels = labels_beside(way / "x")[0].parent
            if labels.is_dir() and labels != way:
                return labels
    return None


def resolve(text: str, bases: Iterable[Path]) -> Path | None:
    """The file or folder that a set names, from any of the places that its paths may be relative to."""
    if not text or "\0" in text:
        return None
    return first(way for base in bases for way in ways(text, base))


def ways(text: str, base: Path) -> list[Path]:
    """What a path in a set may mean: as it stands, without leading `..` (Roboflow), or without its leading folders
    (darknet's `data/`, or another machine's), last."""
    plain = text.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in {"", ".", ".."} and not part.endswith(":")]
    ways = [base / plain] + [base.joinpath(*parts[i:]) for i in range(min(len(parts), 12))]
    # A lone base name among many folders could be anything, but for a split's, or a list, which lies beside the set's
    # file.
    sure = len(parts) <= 2 or plain.endswith(".txt") or parts[-1].lower() == "images" or is_split(parts[-1])
    return ways if sure else ways[: max(2, len(ways) - 1)]


def first(paths: Iterable[Path]) -> Path | None:
    """The first that is there."""
    for path in paths:
        try:
            if path.exists():
                return path
        except (OSError, ValueError):  # a name too long, or with a null byte
            continue
    return None


def after_images(path: PurePosixPath) -> str:
    """What follows the last folder `images` of a path, or darknet's `obj_train_data`; else the path below `..`."""
    parts = [part for part in path.parts if part not in {"..", "/"} and not part.endswith(":")]
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images" or (parts[i].startswith("obj_") and parts[i].endswith("_data")):
            return "/".join(parts[i + 1 :])
    absolute = path.is_absolute() or any(part.endswith(":") for part in path.parts[:1])
    return parts[-1] if absolute and parts else "/".join(parts)
