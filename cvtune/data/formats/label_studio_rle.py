"""Label Studio's brush masks: the RLE of thi.ng/rle-pack over an image's RGBA bytes, row by row.

A stream of bits: 32 for the number of values, 5 for the bits of a value less one, four times 4 for the possible bits
of a length less one; then, until all values are there, 1 bit (a run of one value, or single values), 2 bits that choose
the bits of the length, the length less one, and the value or the values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_brush", "encode_brush"]

CHANNELS = 4
LENGTH_BITS = (3, 4, 8, 16)
# 8,192 x 8,192 pixels, of four bytes each
MOST_PIXELS = 2**26


def decode_brush(rle: Sequence[int], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask, bool [h, w]: pixels whose alpha is not zero.

    Args:
        rle: the bytes of the stream, 0..255 each.
        size_wh: the image's width and height in pixels.

    Raises:
        ValueError: the stream is broken, or not of an image of that size.
    """
    width, height = size_wh
    if not all(type(value) is int and 0 <= value < 256 for value in rle):
        raise ValueError("its rle must be a list of integers from 0 to 255")
    bits = np.unpackbits(np.array(rle, np.uint8))
    text = (bits + ord("0")).tobytes().decode("ascii")
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        if at > len(text):
            raise ValueError("its rle is cut short")
        return int(text[at - count : at], 2)

    total, word = take(32), take(5) + 1
    if total != width * height * CHANNELS or width * height > MOST_PIXELS:
        raise ValueError(f"its rle holds {total} values, not those of {width} x {height} pixels in four channels")
    sizes = [take(4) + 1 for _ in LENGTH_BITS]
    set_ = np.zeros(total, np.bool_)
    done = 0
    while done < total:
        run = take(1)
        length = take(sizes[take(2)]) + 1
        if done + length > total:
            raise ValueError("its rle holds more values than it says")
        if run:
            set_[done : done + length] = take(word) != 0
        else:
            end = at + length * word
            if end > len(bits):
                raise ValueError("its rle is cut short")
            set_[done : done + length] = bits[at:end].reshape(length, word).any(axis=1)
            at = end
        done += length
    alpha: NDArray[np.bool_] = set_[CHANNELS - 1 :: CHANNELS].reshape(height, width)
    return alpha


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """The stream of a mask, bool [h, w]: 255 in all channels where it is set.

    `decode_brush` gives the mask back.
    """
    flat = mask.reshape(-1)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [len(flat)]])
    runs = np.diff(edges) * CHANNELS
    values = flat[edges[:-1]]
    longest = 1 << LENGTH_BITS[-1]
    pieces = -(-runs // longest)  # a run that is too long for one length is written in pieces
    values = np.repeat(values, pieces)
    lengths = np.full(len(values), longest, np.int64)
    lengths[np.cumsum(pieces) - 1] = runs - (pieces - 1) * longest
    records = np.concatenate(
        [
            np.ones((len(values), 3), np.uint8),  # a run; the last of the four sizes
            _bits(lengths - 1, LENGTH_BITS[-1]),
            np.repeat(values.astype(np.uint8)[:, None], 8, axis=1),
        ],
        axis=1,
    )
    head = np.array([[len(flat) * CHANNELS]])
    sizes = np.array([[size - 1] for size in LENGTH_BITS])
    stream = [_bits(head[0], 32), _bits(np.array([7]), 5), _bits(sizes[:, 0], 4), records]
    packed: list[int] = np.packbits(np.concatenate([part.reshape(-1) for part in stream])).tolist()
    return packed


def _bits(values: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    """[n] -> [n, count], the highest bit first."""
    return ((values[:, None] >> np.arange(count - 1, -1, -1)) & 1).astype(np.uint8)
