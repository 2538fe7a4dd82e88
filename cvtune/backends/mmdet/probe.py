"""What MMDetection, its kernels and the machine offer."""

from __future__ import annotations

from dataclasses import replace

from cvtune.backends.base import Host
from cvtune.backends.mmdet.zoo import INSTALL, package_root
from cvtune.backends.torch_host import torch_host
from cvtune.errors import MissingDependencyError

__all__ = ["import_framework", "probe"]


def import_framework() -> None:
    """Import MMDetection, with stand-ins where its compiled operators are missing.

    Raises:
        MissingDependencyError: it is installed but does not import; its error is shown.
    """
    try:
        from cvtune.kernels.finder import install

        install()
        import mmcv  # noqa: F401
        import mmdet.models  # noqa: F401
        import mmengine  # noqa: F401
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise MissingDependencyError(f"backend mmdet: installed but broken: {said}; reinstall: {INSTALL}") from error


def probe() -> Host:
    """Import the framework and look.

    Raises:
        MissingDependencyError: a package is not installed, or is installed but does not import (its error is shown).
    """
    package_root()
    found = torch_host()
    import_framework()
    import mmcv
    import mmdet
    import mmengine

    from cvtune.kernels.finder import kernels_in_use

    kernels = {**found.kernels, "mmcv._ext": kernels_in_use("mmcv._ext")["mmcv._ext"]}
    versions = {"mmdet": mmdet.__version__, "mmengine": mmengine.__version__, "mmcv": mmcv.__version__}
    return replace(
        found,
        backend_version=mmdet.__version__,
        versions={**found.versions, **versions},
        kernels=kernels,
    )
