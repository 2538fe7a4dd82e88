"""Operators of ours: where a framework's compiled one is missing, or is much slower than it need be.

`install()` makes `import mmcv.ops` work where `mmcv._ext` was never compiled; `python -m cvtune.kernels TOOL.py ARGS`
runs a framework's own tool so. Importing this package imports no framework.
"""

from cvtune.kernels.finder import install, kernels_in_use

__all__ = ["install", "kernels_in_use"]
