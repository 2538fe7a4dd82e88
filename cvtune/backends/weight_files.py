"""Files of weights: fetched, checked, read as tensors only, whoever wrote them."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cvtune.errors import DataError, MissingDependencyError, RunError

__all__ = ["LoadReport", "check_hash", "fetch", "is_trusted", "load_checkpoint", "state_dict_of"]

Tensors = dict[str, torch.Tensor]
_SHOWN = 5


@dataclass(frozen=True)
class LoadReport:
    """What became of a weights file.

    Attributes:
        source: where the weights came from.
        layout: whose names the file has.
        loaded: names of the model's tensors that were set.
        skipped: (name in the file, reason) of tensors that were not used.
        missing: names of the model's tensors that keep their random start.
    """

    source: str
    layout: str
    loaded: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """A summary to print: counts, then each reason and module with its names or their number."""
        if self.layout == "none":
            yield "weights: none; all tensors start at random"
            return
        total = len(self.loaded) + len(self.missing)
        yield f"weights: {self.source} ({self.layout}): {len(self.loaded)} of {total} tensors loaded"
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.skipped:
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            yield f"  not used: {_listed(names)}: {reason}"
        modules = Counter(".".join(name.split(".")[:2]) for name in self.missing)
        if modules:
            counts = ", ".join(f"{module} ({count})" for module, count in modules.items())
            yield f"  start at random: {counts}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def is_trusted() -> bool:
    """Whether the user said `--trust-checkpoint`, for this command alone: it is written to no file."""
    return os.environ.get("CVTUNE_TRUST_CHECKPOINT") == "1"


def load_checkpoint(path: Path, trust: bool = False) -> Any:
    """Read a weights file or checkpoint, tensors only unless `trust`.

    Returns:
        What the file holds: a dict of tensors, or a dict that has one. Tensors are on the CPU, read on demand.

    Raises:
        DataError: it is missing or damaged, or needs code to be run and `trust` is off.
        MissingDependencyError: a .safetensors file, and the package is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such weights file; give a path, coco, imagenet or none as model.weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        # Only the zip format can be mapped; the old one is read whole.
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(path, map_location="cpu", weights_only=not trust, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        if "weights_only" in str(error) or "Weights only load failed" in str(error):
            wanted = re.search(r"(?:Unsupported global: GLOBAL|unsupported operand|GLOBAL) ([\w.]+)", str(error))
            what = f" ({wanted[1]})" if wanted else ""
            raise DataError(
                f"{path}: holds more than tensors{what}: reading it would run code from the file; "
                "if you trust who made it, use --trust-checkpoint"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as weights: {reason}; download it again") from error


def _numpy_globals() -> list[Any]:
    """What the scores and settings beside the tensors are often made of: NumPy's numbers and arrays, nothing else."""
    core = getattr(np, "_core", None) or np.core
    dtypes = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")]
    named = [
        (core.multiarray.scalar, "numpy.core.multiarray.scalar"),
        (core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    ]
    return [core.multiarray.scalar, core.multiarray._reconstruct, np.ndarray, np.dtype, *dtypes, *named]


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{path}: needs a package that is not installed; run pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}; download it again") from error


def fetch(url: str, sha256: str | None) -> Path:
    """The file behind an address, in torch's cache; `sha256` may be the hash's beginning.

    Raises:
        RunError: it cannot be downloaded (where to put it by hand is said), or its hash is another.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[-1].split("?")[0]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (urllib.error.URLError, OSError) as error:
            path.unlink(missing_ok=True)
            raise RunError(
                f"{url}: cannot be downloaded: {getattr(error, 'reason', error)}; get it elsewhere and put it at {path}"
            ) from error
    if sha256:
        check_hash(path, sha256)
    return path


def check_hash(path: Path, sha256: str) -> None:
    """Raise RunError unless the file's SHA-256 begins with `sha256`."""
    if not path.is_file():
        raise DataError(f"{path}: no such weights file")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise RunError(f"{path}: its SHA-256 is {found}, expected {sha256}; delete the file and get it again")


def state_dict_of(content: Any, path: Path) -> tuple[Tensors, bool]:
    """The state dict inside a file, prefixes of wrappers stripped, and whether cvtune wrote it."""
    ours = isinstance(content, Mapping) and "cvtune" in content
    keys = ("ema", "model", "state_dict") if ours else ("state_dict", "model", "model_state", "model_state_dict", "ema")
    state = content
    for key in keys:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            state = content[key]
            break
    if not isinstance(state, Mapping):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a state dict; save model.state_dict() instead")
    tensors = {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise DataError(
            f"{path}: has no tensors under {', '.join(map(str, list(state)[:_SHOWN]))}; save model.state_dict()"
        )
    while tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors, ours
