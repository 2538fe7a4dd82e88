"""`cvtune draw`: images of a data set with their boxes and masks, one file each or all in a grid."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Annotation, Dataset, Id, Image
from cvtune.data.draw import Object, draw_objects, in_ascii
from cvtune.data.formats.writing import names_of, objects_of, unique_key
from cvtune.data.geometry import mask_to_rle, rle_to_mask, segmentation_to_rle
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.images import image_header, read_rgb, write_png
from cvtune.data.parts import Parts, read_parts
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
        DataError: the data set is wrong, none of its images was found, one is damaged, or a drawing would replace a
            file of the set or lie among its images.
        RunError: a file cannot be written.
    """
    single = out.suffix.lower() == ".png"
    if not single and out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        raise DataError(
            f"{out}: drawings are PNG, got {out.suffix}; allowed: a folder, or a grid's name ending in .png"
        )
    source = read_parts(path, format, images, subset, origin)
    chosen = pick([part.dataset for part in source.parts], count, seed)
    if not any(part.dataset.images for part in source.parts):
        raise DataError(f"{path}: the set lists no image, so there is nothing to draw")
    if not chosen:
        raise DataError(
            f"{path}: none of its images was found; give their folder with --images, or take them out of the "
            "annotation files that hold them with `cvtune convert --copy`"
        )
    folder = out.parent if single else out
    taken: set[str] = set()
    targets = [folder / f"{unique_key(image.file_name, taken)}.png" for image, _ in chosen]
    if single or as_grid:
        targets = [out if single else out / "grid.png"]
    _keep_apart(source, targets, single or as_grid)
    objects = {id(part.dataset): objects_of(part.dataset) for part in source.parts}
    with stage("drawing", len(chosen)) as current:
        if single or as_grid:
            pictures: list[tuple[str, Rgb]] = []
            for image, dataset in chosen:
                rgb, listed = _fitted(*_read(image, dataset, objects[id(dataset)][image.id]))
                pictures.append((image.file_name, draw_objects(rgb, listed)))
                current.advance()
            write_png(grid(pictures), targets[0])
            return targets
        with staged(folder):
            for (image, dataset), target in zip(chosen, targets, strict=True):
                write_png(draw_objects(*_read(image, dataset, objects[id(dataset)][image.id])), target)
                current.advance()
    return targets


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
        text = in_ascii(name)
        room = width // 8  # a character of this size is up to 8 pixels wide
        text = text if len(text) <= room else "..." + text[len(text) - room + 3 :]
        cv2.putText(sheet, text, (left, top + h + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    return sheet


def _keep_apart(source: Parts, targets: Sequence[Path], single: bool) -> None:
    """Refuse to draw over the set's own files, or, drawings that bear its images' names, among them."""
    own = {os.path.realpath(file) for part in source.parts for file in part.receipt.files}
    own |= {os.path.realpath(i.path) for part in source.parts for i in part.dataset.images if i.path is not None}
    folders = set() if single else {os.path.dirname(file) for file in own}
    for target in targets:
        real = os.path.realpath(target)
        if real in own or os.path.dirname(real) in folders:
            fault = "replace a file of the set" if real in own else "be taken for an image of the set"
            raise DataError(f"{target}: the drawing would {fault}; choose another folder with `-o`")


def _read(image: Image, dataset: Dataset, annotations: Sequence[Annotation]) -> tuple[Rgb, list[Object]]:
    """An image and what is drawn on it."""
    assert image.path is not None
    header = image_header(image.path)
    # As the annotations have it: turned, unless their size is that of the stored pixels alone.
    stated = (image.width, image.height)
    rgb = read_rgb(image.path, exif=stated == header.turned_size_wh or stated != header.size_wh)
    names = names_of(dataset)
    fits = rgb.shape[:2] == (image.height, image.width)
    return rgb, [_object(annotation, image, names, fits) for annotation in annotations]


def _object(annotation: Annotation, image: Image, names: dict[Id, str], fits: bool) -> Object:
    """What is drawn; a mask only where the image has the stated size."""
    name = names[annotation.category_id] + (" (crowd)" if annotation.iscrowd else "")
    mask = annotation.segmentation
    rle = segmentation_to_rle(mask, (image.height, image.width)) if mask and fits else None
    return annotation.bbox_xywh, name, None, rle


def _fitted(rgb: Rgb, objects: Sequence[Object]) -> tuple[Rgb, list[Object]]:
    """An image and its objects in a grid's size, so that lines and letters are as wide on all of them."""
    scale = CELL / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    across, down = size[0] / rgb.shape[1], size[1] / rgb.shape[0]
    fitted: list[Object] = []
    for (x, y, w, h), name, score, rle in objects:
        if rle is not None:
            mask = cv2.resize(rle_to_mask(rle).view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            rle = mask_to_rle(mask)
        fitted.append(((x * across, y * down, w * across, h * down), name, score, rle))
    return np.asarray(resized, np.uint8), fitted
