"""Mask images: their values, and the objects that the values tell apart."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from cvtune.data.formats.entries import Patch
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.errors import DataError

__all__ = ["crop", "mask_files", "mask_size_wh", "parts", "png_of_mask", "read_values"]

Values = NDArray[Any]
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError,
    struct.error, zlib.error, Pillow.DecompressionBombError,
)  # fmt: skip


def read_values(path: Path) -> Values:
    """A mask image as numbers, [h, w] of an integer dtype: its pixels are ids, not colours.

    Of a palette image they are the places in the palette, of grey ones the grey values (16 bits too). Colours become
    ``red * 65536 + green * 256 + blue``, or one channel where the three are the same; alpha is left out.

    Raises:
        DataError: it is missing, damaged or cut off, or its pixels are no whole numbers.
    """
    try:
        with Pillow.open(path) as image:
            image.load()
            mode = image.mode
            if mode in {"RGBA", "LA", "PA"}:
                image = image.convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[mode])  # type: ignore[assignment]
                mode = image.mode
            values = np.asarray(image)
    except DAMAGED as error:
        what = getattr(error, "strerror", None) or str(error).replace("\n", " ") or type(error).__name__
        raise DataError(f"{path}: the mask image cannot be read: {what}; replace or remove it") from error
    if values.ndim == 3 and values.shape[2] == 3:
        red, green, blue = (values[:, :, i].astype(np.int32) for i in range(3))
        same = np.array_equal(red, green) and np.array_equal(red, blue)
        return red if same else (red << 16) | (green << 8) | blue
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise DataError(f"{path}: a mask image needs whole numbers or colours as its pixels, got the mode {mode}")
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def mask_size_wh(path: Path) -> tuple[int, int] | None:
    """(width, height) of an image of a mask's kind, from its header; None for photographs and what is no image."""
    try:
        with Pillow.open(path) as image:
            return (
                image.size if image.mode in {"1", "L", "P", "I", "RGB", "RGBA", "LA"} or "I;16" in image.mode else None
            )
    except DAMAGED:
        return None


def mask_files(folder: Path) -> list[Path]:
    """The image files right in a folder, sorted; those whose name begins with a dot are left out."""
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def crop(inside: NDArray[np.bool_]) -> Patch:
    """What is inside of a mask, bool [h, w], as its smallest cut-out; an empty one is one pixel that is outside."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return Patch(0, 0, np.zeros((1, 1), np.bool_))
    top, left = int(rows[0]), int(columns[0])
    return Patch(left, top, inside[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def parts(values: Values) -> Iterator[tuple[int, Patch]]:
    """(value, where it is) for every value but 0, in rising order."""
    for value in np.unique(values).tolist():
        if value:
            yield int(value), crop(values == value)


def png_of_mask(inside: NDArray[np.bool_]) -> bytes:
    """A mask, bool [h, w], as a grey PNG of 0 and 255."""
    buffer = io.BytesIO()
    Pillow.fromarray(inside.astype(np.uint8) * np.uint8(255)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
