"""What Detectron2, its kernels and the machine offer."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

from cvtune.backends.base import Host
from cvtune.backends.detectron2.zoo import INSTALL, package_root
from cvtune.backends.torch_host import torch_host
from cvtune.errors import MissingDependencyError

__all__ = ["install_kernels", "probe"]

PACKAGES = (
    "fvcore",
    "iopath",
    "omegaconf",
    "hydra",
    "pycocotools",
    "cloudpickle",
    "tabulate",
    "termcolor",
    "matplotlib",
)


def install_kernels() -> str:
    """Before Detectron2's operators are imported: stand-ins where the compiled ones are missing, repairs of its code.

    Returns:
        What `detectron2._C` is: compiled, stand-in, or compiled but broken.

    Raises:
        MissingDependencyError: Detectron2 is not installed, or does not import.
    """
    package_root()
    from cvtune.kernels.detectron2_repairs import install_repairs
    from cvtune.kernels.finder import install, kernels_in_use

    install()
    install_repairs()
    state = kernels_in_use("detectron2._C")["detectron2._C"]
    if state != "compiled":
        from cvtune.kernels.detectron2_c import register_operators

        register_operators()
    return state


def probe() -> Host:
    """Import the framework and look.

    Raises:
        MissingDependencyError: a package is not installed, or is installed but does not import (its error is shown).
    """
    package_root()
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"backend detectron2: not installed: {', '.join(missing)}; run {INSTALL}")
    found = torch_host()
    try:
        state = install_kernels()
        import detectron2
        import detectron2.engine
        import detectron2.modeling
    except Exception as error:
        raise MissingDependencyError(
            f"backend detectron2: installed but broken: {type(error).__name__}: {error}; reinstall: {INSTALL}"
        ) from error
    return replace(
        found,
        backend_version=detectron2.__version__,
        versions={**found.versions, "detectron2": detectron2.__version__},
        kernels={**found.kernels, "detectron2._C": state},
    )
