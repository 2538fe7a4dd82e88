"""What is installed, which GPU is used, what a training step takes of the memory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from cvtune.backends import load_backend
from cvtune.backends.base import Host
from cvtune.doctor.line import Level, Line
from cvtune.launch import run_worker
from cvtune.runs import RunDir, read_json
from cvtune.spec import Spec
from cvtune.training import MEMORY_SHARE

__all__ = ["check_environment", "check_memory"]

GIB = 2**30


def check_environment(spec: Spec, host: Host) -> Iterator[Line]:
    """The framework, its kernels, and whether the device that is there is the device that is used."""
    install = getattr(load_backend(spec.backend), "install", f"pip install 'cvtune[{spec.backend}]'")
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    yield Line("ok", "environment", f"{spec.backend} {host.backend_version} on {host.device_name} ({versions})")
    for problem in host.problems:
        yield Line("error", "environment", problem, install)
    for name, state in host.kernels.items():
        if "broken" in state:
            fix = f"reinstall it for this torch, or leave it: the stand-in works. {install}"
            yield Line("warning", "environment", f"{name}: {state}", fix)
    if host.device == "cpu" and spec.run.device == "cuda":
        fix = "install the CUDA build of torch that fits the driver (nvidia-smi names its CUDA), or run.device: cpu"
        yield Line("error", "environment", "run.device is cuda, but torch sees no GPU", fix)
    elif host.device == "cpu" and spec.run.device == "auto" and (gpu := _gpu()):
        torch = host.versions.get("torch", "of this environment")
        seen = f"there is a GPU ({gpu}), but torch {torch} sees none: it is a CPU build, or too new for the driver"
        yield Line("warning", "environment", seen, "install the CUDA build of torch that fits the driver")


def check_memory(spec: Spec, run: RunDir, host: Host, batch_size: int) -> Iterator[Line]:
    """Try one training step from the native file in `run`, in a process of its own.

    Raises:
        RunError: the step failed.
    """
    run_worker(spec.backend, "measure", run)
    taken, limit = int(read_json(run.path / "measured.json")["step_memory"]), MEMORY_SHARE * host.memory_bytes
    seen = (
        f"a step of {batch_size} images takes {taken / GIB:.2f} GiB of {host.memory_bytes / GIB:.1f} "
        f"({limit / GIB:.1f} are counted on)"
    )
    if taken <= limit:
        yield Line("ok", "memory", seen)
        return
    level: Level = "error" if taken > host.memory_bytes else "warning"
    yield Line(level, "memory", seen, "a smaller data.batch_size (auto finds it) or data.image_size")


def _gpu() -> str:
    """The name of the first NVIDIA GPU that the driver sees, or an empty text."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""
