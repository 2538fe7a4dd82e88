"""Seeds that are a function of what they are for, and of nothing that ran before."""

from __future__ import annotations

import hashlib

__all__ = ["mix_seed"]


def mix_seed(*parts: int | str) -> int:
    """A 63-bit seed from any parts: equal parts give an equal seed, whatever ran before."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
