"""Which compiled modules are stood in for, and where each of their functions is.

One row a module. Only names are here, no imports: the table is read at the start of every interpreter that
`python -m cvtune.kernels` starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["SERVED", "Served"]


class Served(NamedTuple):
    """A compiled module that has a stand-in.

    Attributes:
        homes: module of ours -> the functions of the compiled module that it holds, under the same names.
        needs: what must be imported before the compiled module can be (it links to libraries of these).
        compiled: how to get the compiled module, as the end of a sentence.
    """

    homes: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...]
    compiled: str

    def home_of(self, function: str) -> str | None:
        """The module that holds the stand-in of `function`, or None where there is none."""
        return next((module for module, names in self.homes.items() if function in names), None)


MMCV_HOMES = {
    "cvtune.kernels.mmcv_ext.info": ("get_compiler_version", "get_compiling_cuda_version"),
}

SERVED = {
    "mmcv._ext": Served(
        homes=MMCV_HOMES,
        needs=("torch",),
        compiled="a wheel for your CUDA and torch, such as `pip install onedl-mmcv-cu128-torch2-8`, "
        "or `pip install --no-binary onedl-mmcv onedl-mmcv` with a C++ compiler (about 20 minutes)",
    ),
}
