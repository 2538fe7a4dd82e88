"""The images of a run as every reader sees them alike: checked against their annotations, copied where they differ."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cvtune.data.coco import Id, Image
from cvtune.data.images import image_header, read_rgb, write_png
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["canonical_images"]


@dataclass(frozen=True, slots=True)
class _Bad:
    """An image that cannot be used, and why, as a receipt code and a text."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class _View:
    """How an image is seen: receipt codes of a copy (none: the file as it is), and whether EXIF turns it."""

    codes: tuple[str, ...]
    exif: bool = True


def canonical_images(
    images: Sequence[Image],
    classes: Mapping[Id, Counter[str]],
    where: str,
    folder: Path,
    skip_bad: bool,
    receipt: Receipt,
) -> dict[Id, Path]:
    """Source image id -> the absolute path of a file that every reader shows alike, at the size its annotation says.

    That is the image itself or, where readers disagree (turned by EXIF, 16-bit, CMYK, palette, alpha, animated), an
    8-bit RGB PNG in `folder`. Headers alone are read but for images that are copied.

    Args:
        images: the images, in canonical order: copies are named by their 1-based place.
        classes: image id -> its objects by class name, for the receipt of what is left out.
        where: what to call them on the receipt, such as "train".
        folder: where copies go.
        skip_bad: leave images out that are missing, damaged or of another size, instead of raising.
        receipt: gets every copy and every loss.

    Raises:
        DataError: images are missing, damaged or of another size than annotated; the first ones are named.
        RunError: a copy cannot be written.
    """
    bad: dict[Id, _Bad] = {}
    paths: dict[Id, Path] = {}
    copies: list[tuple[Image, _View, Path]] = []
    for place, image in enumerate(images, start=1):
        view = _look(image)
        if isinstance(view, _Bad):
            bad[image.id] = view
            continue
        assert image.path is not None
        paths[image.id] = Path(os.path.abspath(image.path))
        if view.codes:
            name = re.sub(r"[^A-Za-z0-9.-]+", "_", image.path.stem)[:80]
            paths[image.id] = Path(os.path.abspath(folder)) / f"{place}-{name}.png"
            copies.append((image, view, paths[image.id]))
    if bad and not skip_bad:
        raise DataError(_message(images, bad, where))  # before copies are made: they may take long
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for (image, view, _), failed in zip(copies, pool.map(lambda copy: _copy(*copy), copies), strict=True):
            if failed:
                bad[image.id] = failed
                del paths[image.id]
                continue
            for code in view.codes:
                receipt.repair(code, f"{where}: {image.file_name}", "")
    if bad and not skip_bad:
        raise DataError(_message(images, bad, where))
    for image in images:
        if image.id in bad:
            found = bad[image.id]
            receipt.drop_image(found.code, f"{where}: {image.file_name}", found.reason, classes.get(image.id))
    return paths


def _look(image: Image) -> _Bad | _View:
    if image.path is None:
        return _Bad("image-missing", "the file was not found")
    try:
        header = image_header(image.path)
    except DataError as error:
        return _Bad("image-unreadable", str(error))
    said, stored, turned = (image.width, image.height), header.size_wh, header.turned_size_wh
    if said not in (stored, turned):
        also = f" ({turned[0]}x{turned[1]} when turned by EXIF)" if turned != stored else ""
        reason = f"annotated as {said[0]}x{said[1]}, the file is {stored[0]}x{stored[1]}{also}"
        return _Bad("image-size-differs", reason)
    if header.orientation == 1:
        return _View(header.special)
    if stored == turned:
        return _View(("image-exif-ambiguous", *header.special))
    if said == turned:
        return _View(("image-exif-turned", *header.special))
    return _View(("image-exif-ignored", *header.special), exif=False)


def _copy(image: Image, view: _View, target: Path) -> _Bad | None:
    assert image.path is not None
    try:
        rgb = read_rgb(image.path, exif=view.exif)
    except DataError as error:
        return _Bad("image-unreadable", str(error))
    if rgb.shape[:2] != (image.height, image.width):
        return _Bad("image-size-differs", f"it decodes to {rgb.shape[1]}x{rgb.shape[0]}")
    write_png(rgb, target)
    return None


def _message(images: Sequence[Image], bad: Mapping[Id, _Bad], where: str) -> str:
    named = [image for image in images if image.id in bad]
    # Errors of reading name the file already.
    shown = "; ".join(
        reason if (reason := bad[i.id].reason).startswith(str(i.path)) else f"{i.path or i.file_name}: {reason}"
        for i in named[:3]
    )
    more = f"; and {len(named) - 3:,} more" if len(named) > 3 else ""
    missing = any(found.code == "image-missing" for found in bad.values())
    inside = "(`cvtune convert --copy` takes images out of annotation files that hold them)"
    fix = f"give their folder as `images` {inside}, or " if missing else "mend them, or "
    return (
        f"data.{where}: {len(named):,} of {len(images):,} images cannot be used: {shown}{more}; "
        f"{fix}leave them out with `data.skip_bad_images: true`"
    )
