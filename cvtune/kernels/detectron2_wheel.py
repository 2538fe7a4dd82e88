"""A pure-Python wheel of Detectron2 0.6 from its source archive: no compiler, no torch, none of the archive's code run.

The archive `pb1-detectron2` 0.6 holds the Python files of Detectron2's release v0.6 without the C++ sources, so its own
`setup.py` cannot build. A wheel is a zip file with a few text files beside the package (PEP 427): it is written here.
"""

from __future__ import annotations

import base64
import hashlib
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cvtune.errors import DataError
from cvtune.kernels.detectron2_patches import PATCHES, Patch, patch_text

__all__ = ["ARCHIVE_SHA256", "REQUIREMENTS", "VERSION", "WHEEL_NAME", "build_wheel", "patched_files"]

ARCHIVE_SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
"""Of pb1-detectron2-0.6.tar.gz."""
VERSION = "0.6+cvtune.3"
WHEEL_NAME = f"detectron2-{VERSION}-py3-none-any.whl"
# setup.py's list without upper bounds, without what is unused (future, pydot: the Caffe2 export) or only formats
# source (black, pinned to a version that does not install on Python 3.12). torch and OpenCV are the user's choice there
# too.
REQUIREMENTS = (
    "Pillow>=7.1",
    "cloudpickle",
    "fvcore>=0.1.5",
    "hydra-core>=1.1",
    "iopath>=0.1.7",
    "matplotlib",
    "numpy",
    "omegaconf>=2.1",
    "pycocotools>=2.0.2",
    "tabulate",
    "tensorboard",
    "termcolor>=1.1",
    "tqdm>4.29.0",
    "yacs>=0.1.8",
)
# setup.py installs three of the projects below detectron2.projects; its training tools are in the repository alone.
_FOLDERS = {
    "projects/PointRend/point_rend/": "detectron2/projects/point_rend/",
    "projects/DeepLab/deeplab/": "detectron2/projects/deeplab/",
    "projects/Panoptic-DeepLab/panoptic_deeplab/": "detectron2/projects/panoptic_deeplab/",
    "tools/": "detectron2/tools/",
    "detectron2/": "detectron2/",
}
_OPERATORS = '''\
"""Operators in torch, by cvtune. A compiled detectron2._C beside this file is found before it."""

try:
    from cvtune.kernels import detectron2_c as _stand_in
except ImportError as error:
    raise ImportError("detectron2._C is not compiled; its stand-in in cvtune does not import: " + str(error)) from error

_stand_in.register_operators()
__cvtune_standin__ = ""  # what finds this module can tell it from a compiled one
globals().update({_name: getattr(_stand_in, _name) for _name in _stand_in.OPERATORS})
'''


def patched_files(archive: Path, sha256: str = ARCHIVE_SHA256) -> tuple[dict[str, bytes], tuple[Patch, ...]]:
    """Read the archive and make every change of `detectron2_patches`.

    Args:
        archive: the source archive, a .tar.gz.
        sha256: what its content must hash to.

    Returns:
        The package's files, path below site-packages -> content, and the changes that were made.

    Raises:
        DataError: the hash is another, the file is no archive, or a change does not match.
    """
    try:
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{archive}: cannot be read: {error.strerror}") from error
    if digest != sha256:
        raise DataError(f"{archive}: its sha256 is {digest}, expected {sha256}: not the tested archive")
    files: dict[str, bytes] = {}
    made: list[Patch] = []
    try:
        for path, content in _package_files(archive):
            text, patches = patch_text(path, content.decode("utf-8"))
            files[path] = text.encode("utf-8")
            made.extend(patches)
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{archive}: not a source archive of Detectron2: {error}") from error
    absent = [patch for patch in PATCHES if patch not in made]
    if absent:
        raise DataError(f"{archive}: patch {absent[0].name!r} does not match: the archive has no {absent[0].file}")
    files["detectron2/_C.py"] = _OPERATORS.encode()
    return files, tuple(made)


def _package_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """(path below site-packages, content) of each source file and config that belongs into the package."""
    with tarfile.open(archive, "r:gz") as source:
        for member in source:
            below = member.name.partition("/")[2]
            folder = next((folder for folder in _FOLDERS if below.startswith(folder)), None)
            wanted = below == "LICENSE" or (folder is not None and below.endswith((".py", ".yaml")))
            if not (wanted and member.isfile()) or ".." in below.split("/"):
                continue
            content = source.extractfile(member)
            assert content is not None  # it is a regular file
            with content:
                yield (below if folder is None else _FOLDERS[folder] + below.removeprefix(folder)), content.read()


def build_wheel(archive: Path, folder: Path, sha256: str = ARCHIVE_SHA256) -> tuple[Path, tuple[Patch, ...]]:
    """Write the wheel; the same archive gives the same bytes.

    Args:
        archive: the source archive, a .tar.gz.
        folder: where the wheel goes; made where it does not exist.
        sha256: what the archive must hash to.

    Returns:
        The wheel's path, and the changes that were made.

    Raises:
        DataError: as `patched_files`.
    """
    files, made = patched_files(archive, sha256)
    info = f"detectron2-{VERSION}.dist-info"
    license_text = files.pop("LICENSE", b"")
    files |= {
        f"{info}/METADATA": _metadata().encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: cvtune\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/top_level.txt": b"detectron2\n",
        f"{info}/licenses/LICENSE": license_text,
        f"{info}/CHANGES": "".join(f"{patch.file}: {patch.name}: {patch.why}\n" for patch in made).encode(),
    }
    record = "".join(f"{path},sha256={_hash(content)},{len(content)}\n" for path, content in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / WHEEL_NAME
    part = wheel.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as target:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path)  # its date is 1980: nothing of the clock in the file
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, content)
    part.replace(wheel)
    return wheel, made


def _metadata() -> str:
    lines = [
        "Metadata-Version: 2.1",
        "Name: detectron2",
        f"Version: {VERSION}",
        "Summary: Detectron2 0.6 without compiled operators, changed by cvtune to run on today's packages",
        "Home-page: https://github.com/facebookresearch/detectron2",
        "License: Apache-2.0",
        "License-File: licenses/LICENSE",
        "Requires-Python: >=3.9",
        *(f"Requires-Dist: {requirement}" for requirement in REQUIREMENTS),
    ]
    return "\n".join(lines) + "\n"


def _hash(content: bytes) -> str:
    """As RECORD wants it: url-safe base 64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
