"""What MMDetection, its kernels and the machine offer."""

from __future__ import annotations

from cvtune.backends.base import Host
from cvtune.backends.mmdet.zoo import INSTALL, package_root
from cvtune.errors import MissingDependencyError

__all__ = ["probe"]


def probe() -> Host:
    """Import the framework and look.

    Raises:
        MissingDependencyError: a package is not installed, or is installed but does not import (its error is shown).
    """
    from cvtune.backends.torchvision.probe import probe as probe_torch

    package_root()
    torch_host = probe_torch()
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
    kernels = {**torch_host.kernels, "mmcv._ext": kernels_in_use("mmcv._ext")["mmcv._ext"]}
    versions = {"mmdet": mmdet.__version__, "mmengine": mmengine.__version__, "mmcv": mmcv.__version__}
    return Host(
        backend_version=mmdet.__version__,
        device=torch_host.device,
        devices=torch_host.devices,
        device_name=torch_host.device_name,
        memory_bytes=torch_host.memory_bytes,
        cpus=torch_host.cpus,
        bf16=torch_host.bf16,
        versions={**torch_host.versions, **versions},
        kernels=kernels,
        problems=torch_host.problems,
    )
