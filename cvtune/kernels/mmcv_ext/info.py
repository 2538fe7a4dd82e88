"""What mmcv prints about the compiled module, said of one that was not compiled."""

__all__ = ["get_compiler_version", "get_compiling_cuda_version"]

STAND_IN = "none (cvtune's stand-in)"


def get_compiler_version() -> str:
    """The compiler's name: there was none."""
    return STAND_IN


def get_compiling_cuda_version() -> str:
    """The CUDA version compiled for: there was none; the stand-ins run on the CUDA that torch has."""
    return STAND_IN
