"""What checks need of image files: size, orientation, content hash, a perceptual hash, and whether they can be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cvtune.data.images import image_header, read_rgb
from cvtune.errors import DataError
from cvtune.meter import stage

__all__ = ["ImageFacts", "look_at_images", "near_pairs"]

# Side of the picture whose cosine transform is hashed, and of the one that decides.
LARGE, SMALL = 32, 16
# Two copies of one photograph in other sizes and qualities differ in up to this many of 64 bits ...
BITS = 8
# ... and their small pictures correlate this much; other frames of a fixed camera do too, which is as bad.
CORRELATION = 0.98
# A picture of less contrast (standard deviation of its grey values, of 255) is like any other such one.
FLAT = 4.0


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One file. `size_wh` is of the stored pixels, `turned_size_wh` as displayed; `problem` says why it is unreadable.

    `sha256` is of the file. `phash` has 64 bits; `small` is its grey picture, float32 [256], of mean 0 and norm 1. Both
    are None where it cannot be read or has next to no contrast.
    """

    size_wh: tuple[int, int] | None
    turned_size_wh: tuple[int, int] | None
    orientation: int
    sha256: bytes
    phash: int | None
    small: NDArray[np.float32] | None
    problem: str | None


def look_at_images(paths: Iterable[Path]) -> dict[Path, ImageFacts]:
    """Read every file once, whole: path -> facts. Files are read by several threads."""
    listed = list(dict.fromkeys(paths))
    with stage("looking at images", len(listed)) as current:
        facts: dict[Path, ImageFacts] = {}
        with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
            try:
                for path, found in zip(listed, pool.map(_look, listed), strict=True):
                    facts[path] = found
                    current.advance()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return facts


def near_pairs(a: Mapping[Path, ImageFacts], b: Mapping[Path, ImageFacts]) -> list[tuple[Path, Path]]:
    """Pairs of one image of `a` and one of `b` that show the same, though their files differ.

    The perceptual hash is the sign of the lowest 8 x 8 frequencies of a cosine transform against their median; pairs
    that it finds are kept where their small grey pictures correlate.
    """
    left, right = _hashed(a), _hashed(b)
    if not left or not right:
        return []
    hashes = np.array([b[path].phash for path in right], np.uint64)
    pairs = []
    for path in left:
        one = a[path]
        assert one.phash is not None
        assert one.small is not None
        apart = _bits(hashes ^ np.uint64(one.phash))
        for i in np.flatnonzero(apart <= BITS):
            other = b[right[i]]
            assert other.small is not None
            if float(one.small @ other.small) >= CORRELATION and one.sha256 != other.sha256:
                pairs.append((path, right[i]))
    return pairs


def _hashed(facts: Mapping[Path, ImageFacts]) -> list[Path]:
    return [path for path, found in facts.items() if found.phash is not None]


def _look(path: Path) -> ImageFacts:
    size = turned = None
    orientation, digest = 1, b""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        header = image_header(path)
        size, turned, orientation = header.size_wh, header.turned_size_wh, header.orientation
        phash, small = _picture(read_rgb(path))
    except (DataError, OSError) as error:
        return ImageFacts(size, turned, orientation, digest, None, None, str(error))
    return ImageFacts(size, turned, orientation, digest, phash, small, None)


def _picture(rgb: NDArray[np.uint8]) -> tuple[int | None, NDArray[np.float32] | None]:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    large = cv2.resize(grey, (LARGE, LARGE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(large.std()) < FLAT:
        return None, None
    low = cv2.dct(large)[:8, :8].reshape(-1)
    bits = low > np.median(low[1:])
    small = cv2.resize(large, (SMALL, SMALL), interpolation=cv2.INTER_AREA).reshape(-1)
    small = small - small.mean()
    norm = float(np.linalg.norm(small))
    if norm == 0:
        return None, None
    return int.from_bytes(np.packbits(bits).tobytes(), "big"), np.asarray(small / norm, np.float32)


def _bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many bits of each are set."""
    # [n, 64]; NumPy 1.26 has no bitwise_count
    counted: NDArray[np.int64] = np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1, dtype=np.int64)
    return counted
