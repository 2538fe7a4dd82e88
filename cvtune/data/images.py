"""Image files: the size without decoding, and pixels as 8-bit RGB, turned as EXIF says."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from cvtune.errors import DataError
from cvtune.runs import write_bytes

__all__ = ["ImageHeader", "image_header", "read_rgb", "size_of_content", "write_png"]

Rgb = NDArray[np.uint8]
# Formats whose 8-bit RGB and grey images Pillow, OpenCV and torchvision decode alike.
COMMON = frozenset({"BMP", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP"})
SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
# EXIF orientation -> how to turn the stored pixels; 6 and 8 undo each other, every other one undoes itself.
TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
UNDO = {6: 8, 8: 6}
# What Pillow raises on files that are cut off or damaged, by format.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file's header says.

    `width` and `height` are of the stored pixels, before EXIF turns them; `orientation` is EXIF's 1..8 (1: as stored);
    `mode` is Pillow's. `special` holds the receipt codes of what readers disagree on, such as "image-palette".
    """

    width: int
    height: int
    orientation: int
    mode: str
    special: tuple[str, ...] = ()

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height) of the stored pixels."""
        return self.width, self.height

    @property
    def turned_size_wh(self) -> tuple[int, int]:
        """(width, height) of the image as displayed, turned as EXIF says: the size of `read_rgb`'s array."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def image_header(path: Path) -> ImageHeader:
    """Size, orientation and pixel format, without decoding pixels.

    Raises:
        DataError: the file is missing or is no image.
    """
    try:
        with open(path, "rb") as file:
            plain = _plain_jpeg(file.read(4096))
        return _header(plain, path)
    except (*DAMAGED, Pillow.DecompressionBombError) as error:
        raise _error(path, error) from error


def size_of_content(content: bytes) -> tuple[int, int] | None:
    """(width, height) of an encoded image as displayed, by its header; None where it is none."""
    try:
        return _header(_plain_jpeg(content[:4096]), io.BytesIO(content)).turned_size_wh
    except (*DAMAGED, Pillow.DecompressionBombError):
        return None


def _header(plain: tuple[int, int, int] | None, source: Path | io.BytesIO) -> ImageHeader:
    if plain:  # most images of most sets; Pillow is ten times slower
        width, height, channels = plain
        return ImageHeader(width, height, 1, "RGB" if channels == 3 else "L")
    with Pillow.open(source) as image:
        orientation = _orientation(image)
        width, height = image.size
        if isinstance(image, TiffImageFile):  # Pillow gives the turned size for TIFF alone
            width, height = image.tag_v2[256], image.tag_v2[257]
        return ImageHeader(width, height, orientation, image.mode, _special(image))


def read_rgb(path: Path, exif: bool = True) -> Rgb:
    """Read an image as uint8 [h, w, 3], RGB, 0..255.

    Turned as EXIF says unless `exif` is False. 16-bit values keep their upper 8 bits, alpha is left out (not blended),
    grey is repeated, CMYK and palette colours become RGB, and of several frames the first is taken.

    Raises:
        DataError: the file is missing, damaged, cut off, or holds 32-bit values, whose range nobody knows.
    """
    try:
        content = Path(path).read_bytes()
        # OpenCV reads a JPEG that is cut off without a word; such a file lacks the end marker.
        if content.endswith(b"\xff\xd9") and _plain_jpeg(content):
            import cv2  # reading headers, as converting does, starts sooner without

            # libjpeg in OpenCV too, so the same pixels as Pillow's, sooner.
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
            if bgr is not None:
                return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        with Pillow.open(io.BytesIO(content)) as image:
            orientation = _orientation(image)
            image.load()
            turned = image.format == "TIFF"  # Pillow has turned a TIFF by now
            rgb = _to_rgb(image)
        if exif and not turned and orientation in TURNS:
            rgb = rgb.transpose(TURNS[orientation])
        elif not exif and turned and orientation in TURNS:
            rgb = rgb.transpose(TURNS[UNDO.get(orientation, orientation)])
        return np.array(rgb, dtype=np.uint8)
    except (*DAMAGED, Pillow.DecompressionBombError) as error:
        raise _error(path, error) from error


def write_png(rgb: Rgb, path: Path) -> None:
    """Write uint8 [h, w, 3] RGB as PNG, losslessly, through a temporary name.

    Raises:
        RunError: the file cannot be written.
    """
    buffer = io.BytesIO()
    Pillow.fromarray(rgb).save(buffer, "PNG", compress_level=1)
    write_bytes(path, buffer.getvalue())


def _orientation(image: ImageFile) -> int:
    # Of PNG, Pillow's own getexif decodes all pixels to see what comes after them; the base class does not.
    exif = Pillow.Image.getexif(image)
    if image.format == "PNG" and 0x0112 not in exif and (late := _png_exif(image.fp)):
        exif.load(late)
    value = exif.get(0x0112, 1)
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def _png_exif(file: IO[bytes] | None) -> bytes:
    """The content of a PNG's eXIf chunk, wherever it is, or nothing; the place in the file is kept."""
    assert file is not None
    place = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                return b"Exif\0\0" + file.read(length)
            file.seek(length + 4, 1)
        return b""
    finally:
        file.seek(place)


def _special(image: ImageFile) -> tuple[str, ...]:
    codes = []
    mode, tile = image.mode, getattr(image, "tile", None)
    coding = str(tile[0][3]) if tile else ""
    if mode in SIXTEEN_BIT or ";16" in coding or (mode == "I" and image.format == "PNG"):
        codes.append("image-16-bit")
    elif mode in {"P", "PA"}:
        codes.append("image-palette")
    elif mode == "CMYK":
        codes.append("image-cmyk")
    elif mode not in {"RGB", "L", "RGBA", "LA", "RGBa", "La"}:
        codes.append("image-mode")
    if mode in {"RGBA", "LA", "PA", "RGBa", "La"}:
        codes.append("image-alpha")
    # An MPO is a JPEG with previews behind it: every reader takes the first picture.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        codes.append("image-animated")
    if image.format not in COMMON and not codes:
        codes.append("image-mode")
    return tuple(codes)


def _to_rgb(image: Pillow.Image) -> Pillow.Image:
    mode = image.mode
    if mode in SIXTEEN_BIT or (mode == "I" and image.format == "PNG"):
        # As OpenCV and libpng reduce 16 bits; Pillow's own conversion would cut everything above 255.
        return Pillow.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if mode in {"I", "F"}:
        raise ValueError(f"its values are 32-bit ({mode}), whose range is unknown; convert it to 8 or 16 bits")
    if mode in {"RGBa", "La"}:
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[mode])
    return image if mode == "RGB" else image.convert("RGB")


def _plain_jpeg(content: bytes) -> tuple[int, int, int] | None:
    """(width, height, channels) of an 8-bit grey or three-channel JPEG without EXIF and XMP (which may turn it)."""
    if not content.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 10 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xE1:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            # length, bits, height, width, channels
            _, bits, height, width, channels = struct.unpack_from(">HBHHB", content, at + 2)
            return (width, height, channels) if bits == 8 and channels in {1, 3} and height and width else None
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def _error(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such image file")
    if isinstance(error, PermissionError | IsADirectoryError):
        return DataError(f"{path}: the image cannot be read: {error.strerror}")
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{path}: not an image, or one that is cut off near its beginning; replace or remove it")
    return DataError(f"{path}: the image cannot be read: {error}; replace or remove it")
