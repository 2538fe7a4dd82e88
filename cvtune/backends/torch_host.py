"""What torch and torchvision offer on this machine; every backend stands on them."""

from __future__ import annotations

import importlib.util
import os
import platform

from cvtune.backends.base import Host
from cvtune.errors import MissingDependencyError

__all__ = ["torch_host"]

PACKAGES = ("torch", "torchvision", "lightning", "albumentations")
INSTALL = "pip install 'cvtune[torchvision]'"


def torch_host() -> Host:
    """Import them and look.

    Raises:
        MissingDependencyError: a package is not installed, or is installed but does not import.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"backend torchvision: not installed: {', '.join(missing)}; run {INSTALL}")
    try:
        import lightning
        import torch
        import torchvision
        from torchvision.ops import nms
    except Exception as error:
        raise MissingDependencyError(
            f"backend torchvision: installed but broken: {type(error).__name__}: {error}; reinstall: {INSTALL}"
        ) from error
    try:
        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        kernels = {"torchvision.ops": "compiled"}
        problems: tuple[str, ...] = ()
    except Exception as error:
        kernels = {"torchvision.ops": f"compiled but broken: {error}"}
        problems = (f"torchvision {torchvision.__version__} does not fit torch {torch.__version__}: {INSTALL}",)
    cuda = torch.cuda.is_available()
    if cuda:
        properties = torch.cuda.get_device_properties(0)
        name, memory = properties.name, int(properties.total_memory)
    else:
        name, memory = platform.processor() or platform.machine(), _memory_of_this_machine()
    return Host(
        backend_version=torchvision.__version__,
        device="cuda" if cuda else "cpu",
        devices=torch.cuda.device_count() if cuda else 1,
        device_name=name if cuda else f"CPU ({name}, {_cpus()} cores)",
        memory_bytes=memory,
        cpus=_cpus(),
        bf16=cuda and torch.cuda.is_bf16_supported(),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "lightning": lightning.__version__,
        },
        kernels=kernels,
        problems=problems,
    )


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_of_this_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
