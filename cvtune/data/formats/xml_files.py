"""XML files as labelling tools write them: no entities, any encoding that Python knows, stated rightly or not."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cvtune.errors import DataError
from cvtune.meter import tick

if TYPE_CHECKING:
    from cvtune.data.receipt import Receipt

__all__ = ["content_of", "guessed_encoding", "parse_content", "parse_xml"]

PIECE = 1 << 16  # bytes that are read at a time
DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?(?:encoding\s*=\s*[\"']([\w.\-]+)[\"'][^>]*)?\?>")


def parse_xml(path: Path, receipt: Receipt | None = None, label: str | None = None) -> Element:
    """The root of an XML file, parsed without expanding entities.

    Args:
        path: the file.
        receipt: where it is noted that the encoding had to be guessed.
        label: what the receipt calls the file.

    Raises:
        DataError: it is not well-formed, or declares entities.
    """
    tick()
    content = content_of(path)
    root = parse_content(content, path)
    if receipt is not None and (encoding := guessed_encoding(content)):
        receipt.repair("text-encoding", label or path.name, f"it is not what it says; read as {encoding}")
    return root


def content_of(path: Path) -> bytes:
    """A whole file. Python's own file objects take longer to make than most of these files to read.

    Raises:
        DataError: it cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return b"".join(iter(lambda: os.read(file, PIECE), b""))
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def parse_content(content: bytes, path: Path) -> Element:
    """As `parse_xml`, of the content of a file."""
    try:
        return _parse(content)
    except DefusedXmlException:
        raise DataError(f"{path}: declares XML entities, which are not expanded, for safety; remove them") from None
    except (SyntaxError, ValueError, LookupError) as error:  # both parsers' ParseErrors are SyntaxErrors
        first = error
    for encoding in filter(None, (_declared(content), guessed_encoding(content))):
        try:
            return _parse(DECLARATION.sub(b"", content, count=1).decode(encoding).encode())
        except DefusedXmlException:
            break
        except (SyntaxError, ValueError, LookupError):
            continue
    raise DataError(f"{path}: not valid XML: {first}; mend or remove the file") from first


def guessed_encoding(content: bytes) -> str:
    """Latin-1 where a file is not UTF-8, has no zeros as UTF-16 has, and states no other encoding; else empty."""
    if b"\0" in content or (_declared(content) or "utf-8").lower().replace("_", "-") not in {"utf-8", "utf8"}:
        return ""
    try:
        content.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return ""


def _declared(content: bytes) -> str | None:
    found = DECLARATION.match(content)
    return found[1].decode("ascii", "replace") if found and found[1] else None


def _parse(content: bytes) -> Element:
    # Entities are declared in a document type alone. Without one, expat in C does, three times as fast; zeros are
    # UTF-16, whose letters are not those bytes.
    plain = not any(mark in content for mark in (b"<!DOCTYPE", b"<!ENTITY", b"\0"))
    root: Element = ElementTree.fromstring(content) if plain else fromstring(content)
    return root
