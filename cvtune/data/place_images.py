"""Bringing the images of a converted set to where its format looks for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from cvtune.data.coco import Image
from cvtune.data.formats.writing import flat_key, flat_name, labels_key, relative_name
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError
from cvtune.meter import stage
from cvtune.staging import Staging

__all__ = ["place_images"]

# The folder of images that belongs to a format, below its own; others have them beside the annotations.
FOLDERS = MappingProxyType(
    {
        "yolo": "images", "voc": "JPEGImages", "cvat": "images", "kitti": "image_2", "dota": "images",
        "supervisely": "ds0/img", "datumaro": "images/default", "masks": "images",
    }
)  # fmt: skip


def place_images(
    images: Sequence[Image], format: str, target: Path, how: Literal["copy", "link"], staging: Staging,
    receipt: Receipt, embedded: Iterable[tuple[str, bytes]] = (), part: str | None = None,
) -> None:  # fmt: skip
    """Copy images into the staged folder, or link to them, under the names that the annotations written give them.

    Args:
        images: of one part; those that are nowhere are noted.
        format: the format written.
        target: where its annotations are: a folder, or a file of COCO, LVIS or Datumaro, whose images lie in a folder
            of its name.
        how: whether to copy or to leave symbolic links.
        staging: of the whole output.
        receipt: gets a note of missing images, and of those taken out of annotation files.
        embedded: (name, content) of images inside of the annotation files; they are written where no file was found.
        part: the part's name in a format of projects.

    Raises:
        DataError: two images would get the same name, or one would replace another.
    """
    folder = target / FOLDERS.get(format, "")
    if part is not None:
        folder = target / part / "img"
    if target.suffix == ".json":
        top = target.parent.parent if format == "datumaro" else target.parent
        folder = top / "images" / (target.stem if target.stem != "annotations" else "")
    missing: dict[str, str] = {}
    taken: set[str] = set()
    owners: dict[str, Path] = {}
    own = {os.path.realpath(image.path) for image in images if image.path is not None} if folder.exists() else set()
    with stage("copying images" if how == "copy" else "linking images", len(images)):
        for image in images:
            name = _name(image.file_name, format, taken)
            if image.path is None:
                missing[image.file_name] = name
                continue
            if owners.setdefault(name, image.path) != image.path:
                raise DataError(f"{image.path}: {owners[name]} would get the same name, {name}; rename one of them")
            there = os.path.realpath(folder / name)
            if there in own and there == os.path.realpath(image.path):
                continue  # where it belongs
            if there in own:
                raise DataError(f"{folder / name}: {image.path} would replace this image of the set; choose another "
                                "folder with `-o`")  # fmt: skip
            staging.place(folder / name, image.path, link=how == "link")
        extracted = 0
        for file_name, content in embedded if missing else ():
            if (called := missing.pop(file_name, None)) is not None:
                staging.write(folder / called, content)
                extracted += 1
    if not missing:
        receipt.forget("images-not-written")
    if extracted:
        receipt.note("image-extracted", str(folder), f"{extracted:,} of {len(images):,}")
    if missing:
        first = next(iter(missing))
        receipt.note("image-missing", str(folder), f"{len(missing):,} of {len(images):,}, the first: {first}")


def _name(file_name: str, format: str, taken: set[str]) -> str:
    """What the format's writer calls an image; it renames where a.jpg and a.png, or a/b.jpg, would share a file."""
    name = relative_name(file_name)
    if format == "yolo":
        return labels_key(file_name, taken) + PurePosixPath(name).suffix
    if format in {"kitti", "dota"}:
        return flat_key(file_name, taken) + PurePosixPath(name).suffix
    return flat_name(file_name, taken) if format == "supervisely" else name
