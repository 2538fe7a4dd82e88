"""What MMDetection, its kernels and the machine offer."""

from __future__ import annotations

from dataclasses import replace

from cvtune.backends.base import Host
from cvtune.backends.mmdet.zoo import INSTALL, package_root
from cvtune.backends.torch_host import torch_host
from cvtune.errors import MissingDependencyError

__all__ = ["probe"]


def probe() -> Host:
    """Import the framework and look.

    Raises:
        MissingDependencyError: a package is not installed, or is installed but does not import (its error is shown).
    """
    package_root()
    found = torch_host()
    try:
        from cvtune.kernels.finder import install, kernels_in_use

        install()
        import mmcv
        import mmdet
        import mmdet.models
        import mmengine
    except Exception as error:
        raise MissingDependencyError(
            f"backend mmdet: installed but broken: {type(error).__name__}: {error}; reinstall: {INSTALL}"
        ) from error
    kernels = {**found.kernels, "mmcv._ext": kernels_in_use("mmcv._ext")["mmcv._ext"]}
    versions = {"mmdet": mmdet.__version__, "mmengine": mmengine.__version__, "mmcv": mmcv.__version__}
    return replace(
        found,
        backend_version=mmdet.__version__,
        versions={**found.versions, **versions},
        kernels=kernels,
    )
