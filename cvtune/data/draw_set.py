"""`cvtune draw`: images of a data set with their boxes and masks, one file each or all in a grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Annotation, Dataset, Id, Image
from cvtune.data.draw import Object, draw_objects
from cvtune.data.formats.writing import relative_name
from cvtune.data.geometry import segmentation_to_rle
from cvtune.data.images import image_header, read_rgb, write_png
from cvtune.data.parts import read_parts
from cvtune.errors import DataError
from cvtune.meter import stage
from cvtune.staging import staged

__all__ = ["draw_set", "grid", "pick"]

Rgb = NDArray[np.uint8]

CELL = 400  # longest side of a picture in the grid, in pixels
GAP = 6
CAPTION = 22


def draw_set(
    path: Path,
    out: Path,
    count: int = 16,
    as_grid: bool = False,
    format: str = "auto",
    images: Path | None = None,
    subset: str | None = None,
    origin: Literal["auto", 0, 1] = "auto",
    seed: int = 0,
) -> list[Path]:
    """Draw objects on images.

    Args:
        path: annotations in any known format.
        out: a folder, which gets a PNG an image; or a file name ending in .png, which gets a grid.
        count: how many images; chosen by a hash of the seed and their names, those with objects first.
        as_grid: write ``grid.png`` into the folder instead of single files.
        format: the format's name, or "auto".
        images: where the images are; else they are searched around the annotations.
        subset: a named part; else images of all parts are drawn.
        origin: where pixels start, for formats that leave it open.
        seed: another seed chooses other images.

    Returns:
        The files written.

    Raises:
        DataError: the data set is wrong, none of its images was found, or one is damaged.
        RunError: a file cannot be written.
    """
    source = read_parts(path, format, images, subset, origin)
    chosen = pick([part.dataset for part in source.parts], count, seed)
    if not chosen:
        raise DataError(
            f"{path}: none of its images was found; give their folder with --images, or take them out of the "
            "annotation files that hold them with `cvtune convert --copy`"
        )
    single = out.suffix.lower() == ".png"
    pictures: list[tuple[str, Rgb]] = []
    written: list[Path] = []
    folder = out.parent if single else out
    with stage("drawing", len(chosen)) as current:
        if single or as_grid:
            for image, dataset in chosen:
                pictures.append((image.file_name, _fitted(_draw(image, dataset))))
                current.advance()
            written = [out if single else out / "grid.png"]
            write_png(grid(pictures), written[0])
            return written
        with staged(folder):
            for image, dataset in chosen:
                target = folder / Path(relative_name(image.file_name)).with_suffix(".png")
                write_png(_draw(image, dataset), target)
                written.append(target)
                current.advance()
    return written


def pick(datasets: Sequence[Dataset], count: int, seed: int) -> list[tuple[Image, Dataset]]:
    """Up to `count` images that were found, each with its set, by name; those with objects are taken first."""
    ranked: list[tuple[bool, bytes, Image, Dataset]] = []
    for dataset in datasets:
        used = {annotation.image_id for annotation in dataset.annotations}
        for image in dataset.images:
            if image.path is not None:
                key = hashlib.blake2b(f"{seed}\0{image.file_name}".encode(), digest_size=8).digest()
                ranked.append((image.id not in used, key, image, dataset))
    chosen = sorted(ranked, key=lambda item: item[:2])[:count]
    return sorted(((image, dataset) for _, _, image, dataset in chosen), key=lambda item: item[0].file_name)


def grid(pictures: Sequence[tuple[str, Rgb]]) -> Rgb:
    """Pictures side by side, each with its name below: uint8 [h, w, 3], about as wide as high, on white."""
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    width = max(picture.shape[1] for _, picture in pictures)
    height = max(picture.shape[0] for _, picture in pictures) + CAPTION
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for i, (name, picture) in enumerate(pictures):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        h, w = picture.shape[:2]
        sheet[top : top + h, left : left + w] = picture
        text = "".join(c if " " <= c <= "~" else "?" for c in name)
        room = width // 8  # a character of this size is up to 8 pixels wide
        text = text if len(text) <= room else "..." + text[len(text) - room + 3 :]
        cv2.putText(sheet, text, (left, top + h + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    return sheet


def _draw(image: Image, dataset: Dataset) -> Rgb:
    assert image.path is not None
    header = image_header(image.path)
    # As the annotations have it: turned, unless their size is that of the stored pixels alone.
    stated = (image.width, image.height)
    rgb = read_rgb(image.path, exif=stated == header.turned_size_wh or stated != header.size_wh)
    names: dict[Id, str] = {category.id: category.name for category in dataset.categories}
    fits = rgb.shape[:2] == (image.height, image.width)
    objects = [_object(a, image, names, fits) for a in dataset.annotations if a.image_id == image.id]
    return draw_objects(rgb, objects)


def _object(annotation: Annotation, image: Image, names: dict[Id, str], fits: bool) -> Object:
    """What is drawn; a mask only where the image has the stated size."""
    name = names[annotation.category_id] + (" (crowd)" if annotation.iscrowd else "")
    mask = annotation.segmentation
    rle = segmentation_to_rle(mask, (image.height, image.width)) if mask and fits else None
    return annotation.bbox_xywh, name, None, rle


def _fitted(rgb: Rgb) -> Rgb:
    scale = CELL / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)
