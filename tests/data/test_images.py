"""Image files: headers, pixels of every kind, damage."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cvtune.data.images import image_header, read_rgb, write_png
from cvtune.errors import DataError

W, H = 7, 4


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)


def save(folder: Path, image: Image.Image, name: str, orientation: int | None = None, **options: object) -> Path:
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_pixels_once_and_size_says_so(
    tmp_path: Path, rgb: NDArray[np.uint8], orientation: int, suffix: str
) -> None:
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    path = save(tmp_path, Image.fromarray(rgb), f"a.{suffix}", orientation, **options)
    plain = save(tmp_path, Image.fromarray(rgb), f"b.{suffix}", None, **options)
    stored = np.asarray(Image.open(plain))
    with Image.open(io.BytesIO(_png_with(stored, orientation))) as image:
        displayed = np.asarray(ImageOps.exif_transpose(image))
    header = image_header(path)
    assert header.orientation == orientation
    assert header.size_wh == (W, H)
    assert header.turned_size_wh == ((H, W) if orientation >= 5 else (W, H))
    np.testing.assert_array_equal(read_rgb(path), displayed)
    np.testing.assert_array_equal(read_rgb(path, exif=False), stored)


def _png_with(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def test_exif_behind_the_pixels_of_a_png_counts_and_pixels_are_not_decoded(
    tmp_path: Path, rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _png_with(rgb, 6)
    start = content.index(b"eXIf") - 4
    length = 12 + int.from_bytes(content[start : start + 4], "big")
    chunk, end = content[start : start + length], content.index(b"IEND") - 4
    path = tmp_path / "late.png"
    path.write_bytes(content[:start] + content[start + length : end] + chunk + content[end:])
    np.testing.assert_array_equal(read_rgb(path), np.rot90(rgb, -1))
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    assert image_header(path).orientation == 6


def test_ordinary_images_come_through_unchanged(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = save(tmp_path, Image.fromarray(rgb), "a.png")
    np.testing.assert_array_equal(read_rgb(path), rgb)
    assert image_header(path).special == ()
    grey = save(tmp_path, Image.fromarray(rgb[..., 0]), "g.png")
    np.testing.assert_array_equal(read_rgb(grey), np.repeat(rgb[..., :1], 3, axis=2))
    assert image_header(grey).special == ()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_fast_way_of_jpeg_gives_pillows_pixels(tmp_path: Path, mode: str, progressive: bool) -> None:
    y, x = np.mgrid[0:90, 0:121]
    smooth = np.stack([x * 2, y * 2, x + y], axis=2).astype(np.uint8)
    path = save(tmp_path, Image.fromarray(smooth).convert(mode), "a.jpg", progressive=progressive)
    expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(read_rgb(path).astype(int) - expected).max() <= 2
    header = image_header(path)
    assert (header.size_wh, header.mode, header.orientation) == ((121, 90), mode, 1)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("palette.png", "image-palette"),
        ("palette.gif", "image-palette"),
        ("alpha.png", "image-alpha"),
        ("grey_alpha.png", "image-alpha"),
        ("cmyk.jpg", "image-cmyk"),
        ("grey16.png", "image-16-bit"),
        ("rgb16.png", "image-16-bit"),
        ("grey16.tiff", "image-16-bit"),
        ("moving.gif", "image-animated"),
        ("bits.png", "image-mode"),
    ],
)
def test_what_readers_disagree_on_is_marked_and_read_as_rgb(
    tmp_path: Path, rgb: NDArray[np.uint8], name: str, code: str
) -> None:
    path, expected = _unusual(tmp_path, rgb, name)
    assert code in image_header(path).special
    got = read_rgb(path)
    assert (got.dtype, got.shape) == (np.uint8, (H, W, 3))
    if expected is not None:
        np.testing.assert_array_equal(got, expected)


def _unusual(folder: Path, rgb: NDArray[np.uint8], name: str) -> tuple[Path, NDArray[np.uint8] | None]:
    image, path = Image.fromarray(rgb), folder / name
    grey3 = np.repeat(rgb[..., :1], 3, axis=2)
    if name.startswith("palette"):
        paletted = image.quantize(8)
        paletted.save(path)
        return path, np.asarray(paletted.convert("RGB"))
    if name == "alpha.png":
        Image.fromarray(np.dstack([rgb, rgb[..., 0]])).save(path)  # alpha is left out, whatever it is
        return path, rgb
    if name == "grey_alpha.png":
        Image.merge("LA", (Image.fromarray(rgb[..., 0]), Image.fromarray(rgb[..., 1]))).save(path)
        return path, grey3
    if name == "cmyk.jpg":
        image.convert("CMYK").save(path)
        return path, None
    if name.startswith("grey16"):
        cv2.imwrite(str(path), rgb[..., 0].astype(np.uint16) * 256 + 77)
        return path, grey3
    if name == "rgb16.png":
        cv2.imwrite(str(path), rgb[..., ::-1].astype(np.uint16) * 256 + 77)
        return path, rgb
    if name == "moving.gif":
        first, second = image.quantize(8), Image.fromarray(255 - rgb).quantize(8)
        first.save(path, save_all=True, append_images=[second])
        return path, np.asarray(first.convert("RGB"))
    Image.fromarray(rgb[..., 0] > 127).save(path)
    return path, np.where(grey3 > 127, 255, 0).astype(np.uint8)


def test_values_of_32_bits_are_refused_not_guessed(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(np.ones((3, 3), np.float32)), "a.tiff")
    assert image_header(path).special == ("image-mode",)
    with pytest.raises(DataError, match=r"a\.tiff.*32-bit"):
        read_rgb(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "gif", "bmp"])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path, Image.fromarray(noise), f"cut.{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"cut\.{suffix}"):
        read_rgb(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    for read in (image_header, read_rgb):
        with pytest.raises(DataError, match=r"odd\.jpg"):
            read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        for read in (image_header, read_rgb):
            with pytest.raises(DataError, match=path.name):
                read(path)


def test_copies_are_lossless(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    write_png(rgb, tmp_path / "deep" / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "deep" / "a.png"), rgb)
    assert image_header(tmp_path / "deep" / "a.png").special == ()


@pytest.mark.real
def test_real_images_have_the_pixels_that_pillow_reads(real_data: Path) -> None:
    paths = sorted((real_data / "bccd" / "JPEGImages").glob("*.jpg"))[:20]
    assert len(paths) == 20
    for path in paths:
        with Image.open(path) as image:
            np.testing.assert_allclose(read_rgb(path), np.asarray(image.convert("RGB")), atol=2)
        assert image_header(path).size_wh == (640, 480)


@pytest.mark.real
def test_real_microscopy_loses_its_alpha_alone(real_data: Path) -> None:
    path = next(iter(sorted((real_data / "nuclei" / "stage1_train").glob("*/images/*.png"))))
    assert image_header(path).special == ("image-alpha",)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_rgb(path), np.asarray(image)[..., :3])
