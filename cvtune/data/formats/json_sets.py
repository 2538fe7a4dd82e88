"""Sets of a few JSON files, or of files with a JSON record a line: found, parted by folders or names, decoded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from cvtune.data.formats.file_sets import FileSet, file_names, find_files, parts_of
from cvtune.data.formats.texts import MARKS, read_lines
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["detect_lists", "find_lists", "first_records", "json_lines", "read_lists"]

# Of a folder of more files none is a list of a whole split.
MOST_LISTS = 50
# Of a large file so many lines are looked into, in so many bytes.
LOOK_AT, HEAD = 8, 2**22


def find_lists(path: Path, accept: Callable[[Path], bool], *suffixes: str) -> FileSet:
    """As `find_files`; of some files in one folder those that `accept` takes."""
    files = find_files(path, *suffixes)
    apart = any(file.parent != files.root for file in files.files)
    if path.is_file() or apart or not 1 < len(files.files) <= MOST_LISTS:
        return files
    good = tuple(filter(accept, files.files)) or files.files
    return FileSet(files.root, good, parts_of([file.relative_to(files.root).parts for file in good], by_stem=True))


def detect_lists(path: Path, accept: Callable[[Path], bool], what: str, *suffixes: str) -> str | None:
    """Evidence that some of a few files, or most of many, are what `accept` takes, as `find_lists` finds them."""
    folder = path.parent if path.is_file() else path
    names = [(path.name,)] if path.is_file() else file_names(path, suffixes, deep=False)
    names = [parts for parts in names if parts[-1].lower().endswith(suffixes)]
    many = len(names) > MOST_LISTS
    looked = names[:: len(names) // LOOK_AT][:LOOK_AT] if many else names
    good = [parts for parts in looked if accept(folder.joinpath(*parts))]
    if not good or (many and 2 * len(good) <= len(looked)):
        return None
    first, count = "/".join(good[0]), len(names) if many else len(good)
    return f"{count} files such as {first} with {what}" if count > 1 else f"{first} with {what}"


def read_lists(
    files: FileSet, chosen: Collection[Path], receipt: Receipt, accept: Callable[[list[Any]], bool], lacks: str
) -> Iterator[tuple[Path, int, Any]]:
    """(file, line, record) of a set of files with a record a line; files of another kind among them are noted.

    Args:
        files: all of the set.
        chosen: those that the receipt is about.
        receipt: gets the notes, and the files read.
        accept: whether the first records of a file are of the format.
        lacks: what a file that is left out has not, for the note.

    Raises:
        DataError: a file cannot be read, or a line is no JSON.
    """
    for file in files.files:
        head = first_records(file)
        # A first line that is broken is an error, but in JSON of another kind, which is no list of lines.
        if len(files.files) > 1 and (not accept(head) if head else file.suffix.lower() == ".json"):
            if file in chosen:
                receipt.note("file-skipped", files.label(file), lacks)
            continue
        for number, record in json_lines(file, receipt if file in chosen else None, files.label(file)):
            yield file, number, record
        if file in chosen:
            receipt.files.append(file)


def json_lines(file: Path, receipt: Receipt | None = None, label: str | None = None) -> Iterator[tuple[int, Any]]:
    """(line, counted from 1; the record on it) of a file; empty lines are left out.

    Raises:
        DataError: the file cannot be read, or a line is no JSON.
    """
    for number, line in enumerate(read_lines(file, receipt, label), start=1):
        text = line.strip("\ufeff")
        if not text:
            continue
        try:
            yield number, _decoded(text)
        except (ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{file}: line {number} is not valid JSON: {reason}; mend it or export it again") from error


def first_records(file: Path) -> list[Any]:
    """The records on the first lines that are not empty, up to one that is no JSON."""
    records: list[Any] = []
    try:
        for line in _first_lines(file):
            records.append(_decoded(line))
    except (DataError, OSError, ValueError, RecursionError):
        pass
    return records


def _first_lines(file: Path) -> list[str]:
    with open(file, "rb") as stream:
        head = stream.read(HEAD)
    # In other encodings than UTF-8 a line cannot be told by its bytes.
    if len(head) < HEAD or b"\0" in head[:4] or any(head.startswith(mark) for mark, _ in MARKS):
        lines = read_lines(file)
    else:
        *lines, _ = head.decode("utf-8", "replace").split("\n")
    filled = (line.strip("\ufeff\r ") for line in lines)
    return list(itertools.islice(filter(None, filled), LOOK_AT))


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError):
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be written again
        return value
