"""VOC files as most tools write them, by patterns: a parser of XML takes four times as long to the same end.

The patterns know a part of XML alone: tags without attributes in the usual order, texts without entities, nothing but
white space between. A file that is otherwise in any place is left to the parser.
"""

from __future__ import annotations

import re

__all__ = ["FLAGS", "HEAD", "match_file"]

HEAD = ("folder", "filename", "database", "annotation", "width", "height", "segmented")
"""What `match_file` gives of an image; None where a file has no such tag."""

FLAGS = ("pose", "truncated", "difficult", "occluded")
"""What `match_file` gives of an object between its name and its box."""

_GAP = r"[ \t\r\n]*+"  # XML knows no other white space
_TEXT = r"[^<>&\x00-\x08\x0b\x0c\x0e-\x1f]*+"
_SIDES = _GAP.join(rf"<{side}>{_GAP}([0-9.]{{1,12}}+){_GAP}</{side}>" for side in ("xmin", "ymin", "xmax", "ymax"))


def _leaf(tag: str, taken: bool = False) -> str:
    """A tag that may be missing, and the gap behind it."""
    return rf"(?:<{tag}>{f'({_TEXT})' if taken else _TEXT}</{tag}>{_GAP})?+"


def _group(tag: str, *leaves: str) -> str:
    return rf"(?:<{tag}>{_GAP}{''.join(leaves)}</{tag}>{_GAP})?+"


_OBJECT = re.compile(
    rf"<object>{_GAP}<name>({_TEXT})</name>{_GAP}{''.join(_leaf(tag, taken=True) for tag in FLAGS)}"
    rf"<bndbox>{_GAP}{_SIDES}{_GAP}</bndbox>{_GAP}</object>"
)
_BEFORE = re.compile(
    rf"""(?:<\?xml version=["']1\.0["'](?: encoding=["'](?i:utf-?8|us-ascii)["'])?\?>)?{_GAP}"""
    rf"<annotation(?: verified=\"(?:yes|no)\")?>{_GAP}"
    + _leaf("folder", taken=True)
    + _leaf("filename", taken=True)
    + _leaf("path")
    + _group(
        "source", _leaf("database", taken=True), _leaf("annotation", taken=True), _leaf("image"), _leaf("flickrid")
    )
    + _group("owner", _leaf("flickrid"), _leaf("name"))
    + _group("size", _leaf("width", taken=True), _leaf("height", taken=True), _leaf("depth"))
    + _leaf("segmented", taken=True)
)
_BEHIND = re.compile(rf"{_GAP}</annotation>{_GAP}")
# Groups of `_OBJECT`, and the text before each object.
_STEP = 1 + 1 + len(FLAGS) + 4


def match_file(content: bytes) -> tuple[dict[str, str | None], list[list[str]]] | None:
    """(what is said of the image, the columns of its objects), or None where only a parser will do.

    The columns are name, `FLAGS` (None where an object has no such tag), xmin, ymin, xmax and ymax.
    """
    try:
        pieces = _OBJECT.split(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return None
    if len(pieces) == 1:
        return None
    before, behind = _BEFORE.fullmatch(pieces[0]), _BEHIND.fullmatch("".join(pieces[_STEP::_STEP]))
    if before is None or behind is None:
        return None
    return dict(zip(HEAD, before.groups(), strict=True)), [pieces[place::_STEP] for place in range(1, _STEP)]
