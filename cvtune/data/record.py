"""receipt.json: the receipt, with the formats and the sha256 of every file read and written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtune.data.parts import Parts
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError
from cvtune.meter import stage
from cvtune.runs import write_json
from cvtune.staging import Staging

__all__ = ["keep_sources", "refuse_beside", "refuse_losses", "write_record"]

# An error names this many reasons.
NAMED = 5
# The record names this many folders of images, else the one above them all.
MOST_FOLDERS = 20


def write_record(staging: Staging, receipt: Receipt, sources: Sequence[Parts], to: Mapping[str, Any]) -> None:
    """Write `receipt.json` into the staged folder, after everything else.

    Args:
        staging: knows the files that were written.
        receipt: of the whole.
        sources: what was read.
        to: the format written, and what else the verb did.

    Raises:
        DataError: a file of the sources would be replaced.
    """
    _refuse_replaced(staging, receipt)
    outputs = [{"path": f.path, "sha256": f.sha256, "bytes": f.bytes} for f in staging.files.values()]
    described = [_described(source) for source in sources]
    for old in _outdated(staging, receipt):
        staging.remove(old)
        receipt.note("output-removed", old, "")
    files = list(dict.fromkeys(receipt.files))
    bases = [source.path if source.path.is_dir() else source.path.parent for source in sources]
    with stage("hashing what was read", len(files)) as current:
        inputs = []
        for file in files:
            digest, length = receipt.hashes.get(file) or _hashed(file)
            inputs.append({"path": _shown(file, bases), "sha256": digest, "bytes": length})
            current.advance()
    record = {
        "from": described[0] if len(described) == 1 else described,
        "to": dict(to),
        **receipt.to_json(),
        "inputs": inputs,
        "outputs": outputs,
    }
    write_json(staging.folder / "receipt.json", record)


def keep_sources(sources: Sequence[Path], target: Path, same_format: bool) -> None:
    """Refuse to write over what is read.

    Args:
        sources: the annotation files that were read.
        target: the file or folder to write.
        same_format: whether it is of their format, and so would get files of their names.

    Raises:
        DataError: a source would be replaced.
    """
    real = target.resolve()
    # A format of many files is written over files of its own names, VOC below one folder alone.
    folder = real if same_format else real / "Annotations"
    parents = {source.parts[:-1] for source in sources}  # many files lie in few folders
    within = any(Path(*parent).resolve().is_relative_to(folder) for parent in parents)
    if within or any(source.resolve() == real for source in sources if source.parts[-1:] == (target.name,)):
        raise DataError(f"{target}: the output would replace the source; choose another folder with `-o`")


def refuse_beside(sources: Sequence[Path], target: Path) -> None:
    """Refuse to write a JSON file among those of a source of JSON files: they would be read as parts of one set.

    Raises:
        DataError: it would lie there, under another name than the source's.
    """
    if target.suffix != ".json" or not all(source.suffix == ".json" for source in sources):
        return
    if target.parent.resolve() in {source.resolve().parent for source in sources}:
        raise DataError(f"{target}: the output would lie among the source's files, and be read with them; choose "
                        "another folder with `-o`")  # fmt: skip


def refuse_losses(receipt: Receipt) -> None:
    """For `--strict`.

    Raises:
        DataError: something was lost; the reasons are named.
    """
    losses = receipt.losses()
    if losses:
        named = "; ".join(f"{code} ({n:,}), the first: {example}" for code, n, example in losses[:NAMED])
        more = f"; and {len(losses) - NAMED} more reasons" if len(losses) > NAMED else ""
        raise DataError(f"--strict: something would be lost: {named}{more}; leave --strict out to accept it")


def _refuse_replaced(staging: Staging, receipt: Receipt) -> None:
    if staging.dry or not staging.folder.exists():
        return
    read = {os.path.realpath(file) for file in receipt.files}
    for name in staging.files:
        if os.path.realpath(file := staging.folder / name) in read:
            raise DataError(f"{file}: the output would replace the source; choose another folder with `-o`")


def _described(source: Parts) -> dict[str, Any]:
    """What was read, and, where images were found elsewhere, in which folders."""
    path = os.path.abspath(source.path)
    said = {"format": source.format, "evidence": source.evidence, "path": path}
    below = os.path.join(path if source.path.is_dir() else os.path.dirname(path), "")
    folders: dict[str, None] = {}
    for image in (image for part in source.parts for image in part.dataset.images):
        file, name = os.path.abspath(image.path) if image.path is not None else "", image.file_name.replace("\\", "/")
        if file and not file.startswith(below):
            folders[file[: -len(name) - 1] if file.endswith(f"/{name}") else os.path.dirname(file)] = None
    listed = list(folders) if len(folders) <= MOST_FOLDERS else [os.path.commonpath(folders)]
    return said | ({"images": listed} if listed else {})


def _outdated(staging: Staging, receipt: Receipt) -> list[str]:
    """What the receipt in the folder says that an earlier call wrote, and nobody has changed or now reads."""
    try:
        record = json.loads((staging.folder / "receipt.json").read_bytes())
        outputs = [(str(file["path"]), file["sha256"]) for file in record["outputs"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
    read = {os.path.realpath(file) for file in receipt.files}
    old = []
    for name, digest in outputs:
        file = staging.folder / name
        if name in staging.files or not staging.holds(file) or os.path.realpath(file) in read or not file.is_file():
            continue
        if _hashed(file)[0] == digest:
            old.append(name)
    return old


def _hashed(file: Path) -> tuple[str, int]:
    """(sha256, bytes)."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size


def _shown(file: Path, bases: Sequence[Path]) -> str:
    """The file's path below the source's folder where there is one source, else whole."""
    if len(bases) == 1 and file.parts[: len(bases[0].parts)] == bases[0].parts:
        return "/".join(file.parts[len(bases[0].parts) :])
    return file.as_posix()
