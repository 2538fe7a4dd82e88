"""What the machine offers a backend: asked once by the worker, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

from cvtune.backends.base import Host
from cvtune.launch import in_process, python_of, run_worker
from cvtune.runs import RunDir, read_json, write_json

__all__ = ["cached_host", "probe_host"]


def cached_host(backend: str) -> Host | None:
    """The last probe of this backend, interpreter, set of installed packages and visible devices, or None."""
    path = _cache_file(backend)
    return Host.from_json(read_json(path)) if path.exists() else None


def probe_host(backend: str) -> Host:
    """Ask the worker, and remember the answer.

    Raises:
        MissingDependencyError: the backend's framework is not installed or does not import.
    """
    with tempfile.TemporaryDirectory(prefix="cvtune-probe-") as folder:
        run = RunDir(Path(folder))
        run_worker(backend, "probe", run, "--backend", backend)
        host = Host.from_json(read_json(run.path / "host.json"))
    write_json(_cache_file(backend), host.to_json())
    return host


def _cache_file(backend: str) -> Path:
    python = python_of(backend)
    key = [python, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CVTUNE_KERNELS"), sys.version]
    if in_process(backend):
        key += _installed()
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "cvtune" / f"host-{backend}-{digest}.json"


def _installed() -> list[str]:
    """Every installed package with its version, as its folder is called: to read all their metadata takes longer."""
    folders = [folder for folder in sys.path if os.path.isdir(folder)]
    names = {name for folder in folders for name in os.listdir(folder)}
    return sorted(name for name in names if name.endswith((".dist-info", ".egg-info", ".egg-link")))
