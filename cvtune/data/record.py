"""receipt.json: the receipt, with the formats and the sha256 of every file read and written."""

from __future__ import annotations

import hashlib
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

__all__ = ["keep_sources", "refuse_losses", "write_record"]

# An error names this many reasons.
NAMED = 5


def write_record(staging: Staging, receipt: Receipt, sources: Sequence[Parts], to: Mapping[str, Any]) -> None:
    """Write `receipt.json` into the staged folder, after everything else.

    Args:
        staging: knows the files that were written.
        receipt: of the whole.
        sources: what was read.
        to: the format written, and what else the verb did.
    """
    outputs = [{"path": f.path, "sha256": f.sha256, "bytes": f.bytes} for f in staging.files.values()]
    described = [{"format": s.format, "evidence": s.evidence, "path": os.path.abspath(s.path)} for s in sources]
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


def _hashed(file: Path) -> tuple[str, int]:
    """(sha256, bytes)."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size


def _shown(file: Path, bases: Sequence[Path]) -> str:
    """The file's path below the source's folder where there is one source, else whole."""
    if len(bases) == 1 and file.parts[: len(bases[0].parts)] == bases[0].parts:
        return "/".join(file.parts[len(bases[0].parts) :])
    return file.as_posix()
