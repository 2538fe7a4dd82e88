"""Names for images that lie inside of annotation files, and so may have none, or the same."""

from __future__ import annotations

import re

__all__ = ["has_suffix", "unique_name"]

# The first bytes of an image -> its suffix.
MAGIC = (
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"RIFF", ".webp"),
    (b"BM", ".bmp"),
    (b"II*", ".tif"),
    (b"MM", ".tif"),
)
USUAL = ".jpg"
SUFFIX = re.compile(r"\.[a-z]{3,4}$", re.IGNORECASE)


def has_suffix(name: str) -> bool:
    """Whether a name ends in a suffix of letters, as images' names do."""
    return SUFFIX.search(name) is not None


def unique_name(name: str, content: bytes | None, taken: set[str]) -> str:
    """The name with a suffix, by the image's first bytes where it has none, and a number where it is in `taken`.

    Args:
        name: of a file, without folders.
        content: the image, or its beginning, where it is at hand.
        taken: names given before, in lower case; grows.
    """
    if not has_suffix(name):
        name += next((suffix for magic, suffix in MAGIC if (content or b"").startswith(magic)), USUAL)
    stem, dot, suffix = name.rpartition(".")
    found, again = name, 1
    while found.lower() in taken:
        again += 1
        found = f"{stem}-{again}{dot}{suffix}"
    taken.add(found.lower())
    return found
