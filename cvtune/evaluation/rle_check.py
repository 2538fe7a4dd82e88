"""Whether compressed RLE counts fit their image, for many masks at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["first_broken", "fits"]

CHUNK = 50_000  # characters decoded at once: the temporaries stay in the processor's cache
LONGEST = 7  # characters of a count: five bits each, and a count has at most 32


def first_broken(counts: Sequence[bytes], sizes_hw: Sequence[tuple[int, int]]) -> int | None:
    """The position of the first compressed RLE that does not cover exactly its h x w pixels, or None.

    pycocotools reads past the end of such a mask, hotcoco scores it as if nothing were there: neither says so.
    """
    start = 0
    while start < len(counts):
        stop, characters = start, 0
        while stop < len(counts) and (stop == start or characters + len(counts[stop]) <= CHUNK):
            characters += len(counts[stop])
            stop += 1
        pixels = np.array([h * w for h, w in sizes_hw[start:stop]], np.int64)
        bad = np.flatnonzero(~fits(counts[start:stop], pixels))
        if len(bad):
            return start + int(bad[0])
        start = stop
    return None


def fits(counts: Sequence[bytes], pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Bool [n]: whether each string is well formed, its runs are not negative and add up to its number of pixels.

    The format is that of rleToString in COCO's maskApi.c: characters 48..111 hold five bits each, lowest first; bit
    0x20 says that more follow, bit 0x10 of the last is the sign; from the fourth run on, the difference to the run
    before the last is stored.
    """
    lengths = np.array([len(text) for text in counts], np.int64)
    good = lengths > 0
    characters = np.frombuffer(b"".join(counts), np.uint8)
    ends = np.cumsum(lengths)
    if len(characters) == 0:
        return good
    # A string of strange characters, or one that stops within a count, must not shift the strings after it.
    strange = np.flatnonzero((characters < 48) | (characters > 111))
    good[np.searchsorted(ends, strange, side="right")] = False
    good[good] &= characters[ends[good] - 1] < 48 + 0x20
    if not good.all():
        kept = np.flatnonzero(good)
        good[kept] = fits([counts[i] for i in kept], pixels[kept]) if len(kept) else False
        return good

    code = characters - np.uint8(48)
    last = np.flatnonzero(code < 0x20)
    first = np.concatenate([[0], last[:-1] + 1])
    width = last - first + 1
    value = (code[last] & 0x1F).astype(np.int64)
    value -= (value & 0x10) << 1
    for k in range(2, min(int(width.max()), LONGEST) + 1):
        longer = width >= k
        value[longer] = (value[longer] << 5) | (code[last[longer] - (k - 1)] & 0x1F)
    # value[i] is the i-th stored number of all masks together; runs of mask j are at starts[j] .. starts[j] + n[j] - 1.
    stops = np.searchsorted(last, ends - 1) + 1
    starts = np.concatenate([[0], stops[:-1]])
    n = stops - starts
    place = np.arange(len(value)) - np.repeat(starts, n)
    runs = value
    for parity in (0, 1):  # undo the differences: sums within a mask, over every second run, the very first left alone
        at = np.flatnonzero((place % 2 == parity) & (place > 0))
        summed = np.cumsum(runs[at])
        begins = np.flatnonzero(place[at] <= 2)
        before = np.concatenate([[0], summed])[begins]
        runs[at] = summed - np.repeat(before, np.diff(np.concatenate([begins, [len(at)]])))
    too_wide, negative = width > LONGEST, runs < 0
    bad = np.add.reduceat((too_wide | negative).astype(np.int64), starts) > 0
    covered: NDArray[np.bool_] = np.add.reduceat(runs, starts) == pixels
    return covered & ~bad
