"""Download an archive once, check its hash, unpack it without leaving the folder. Shared by the scripts beside it."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

CHUNK = 1 << 20
SECONDS = 60  # without a byte


@dataclass(frozen=True)
class Archive:
    """A file on the web. `digest` is "sha256:<hex>" or "md5:<hex>" as the publisher states it, or None.

    Where it is None, nothing vouches for the first download: its hash is kept in the folder, and later downloads must
    have it too.
    """

    url: str
    digest: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(self.url.split("?")[0]).name


def fetch(archive: Archive, folder: Path) -> Path:
    """The archive in `folder`; downloaded where it is not there yet, under a temporary name until its hash is right.

    One that was put there by hand is taken as a first download is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / archive.name
    note = folder / f"{archive.name}.digest"
    expected = archive.digest or (note.read_text().strip() if note.exists() else None)
    if target.exists():
        found = digest_of(target, expected)
        if expected is None:
            _keep(found, note)
        if found == expected or expected is None:
            return target
        raise SystemExit(f"error: {target}: its hash is {found}, not {expected}; delete it to download it again")
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{archive.name}.")
    try:
        print(f"downloading {archive.url}", flush=True)
        with os.fdopen(descriptor, "wb") as file, urllib.request.urlopen(archive.url, timeout=SECONDS) as answer:
            shutil.copyfileobj(answer, file, CHUNK)
        found = digest_of(Path(temporary), expected)
        if expected is not None and found != expected:
            raise SystemExit(f"error: {archive.url}: its hash is {found}, not {expected}; it was changed or cut short")
        if expected is None:
            _keep(found, note)
        os.replace(temporary, target)
    except (urllib.error.URLError, OSError) as error:
        raise SystemExit(f"error: {archive.url}: cannot be downloaded: {error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def _keep(found: str, note: Path) -> None:
    """Keep the hash of a first download, and say that it is no more than that."""
    print(
        f"the publisher states no hash, so this first download is taken as it is; its hash, {found}, is kept in {note}"
    )
    note.write_text(found + "\n")


def digest_of(path: Path, like: str | None) -> str:
    """``sha256:<hex>``, or another hash where `like` names one."""
    kind = like.split(":")[0] if like else "sha256"
    with open(path, "rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip or .tar into `folder`: regular files only, none outside of it."""
    folder.mkdir(parents=True, exist_ok=True)
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and (content := tar.extractfile(member)):
                    _write(content, member.name, archive, folder)
        return
    with zipfile.ZipFile(archive) as zipped:
        for entry in zipped.infolist():
            if not entry.is_dir():
                with zipped.open(entry) as content:
                    _write(content, entry.filename, archive, folder)


def _write(content: IO[bytes], name: str, archive: Path, folder: Path) -> None:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise SystemExit(f"error: {archive}: {name!r} would lie outside of {folder}; nothing more done")
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as file:
        shutil.copyfileobj(content, file)


def arguments(text: str) -> Path:
    """The folder that a script's command line names."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write; the archive is kept in OUT/download")
    folder: Path = parser.parse_args().out
    return folder
