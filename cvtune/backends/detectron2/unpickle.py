"""Detectron2's and Caffe2's .pkl files, read by an unpickler that knows NumPy's arrays and nothing else."""

from __future__ import annotations

import codecs
import collections
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cvtune.errors import DataError

__all__ = ["read_pickle"]

_core = getattr(np, "_core", None) or np.core
_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): getattr(_core.multiarray, name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): codecs.encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array or container")
        return _ALLOWED[module, name]


def read_pickle(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The arrays of a .pkl file as tensors, and whose names they have: ``Caffe2`` or ``Detectron2``.

    Detectron2's own files hold {"model", "__author__"}; those of Caffe2 hold the arrays, or {"blobs"}.

    Raises:
        DataError: the file is missing or damaged, or holds anything but arrays and containers: no code of it is run.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such weights file; give a path, coco, imagenet or none as model.weights")
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except Exception as error:  # whatever a damaged file makes of the unpickler
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as weights: {reason}; download it again, or convert it") from error
    author = "Detectron2"
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, no dict of arrays; download it again")
    if "model" in content and "__author__" in content:
        author = "Caffe2" if content["__author__"] == "Caffe2" else "Detectron2"
        content = content["model"]
    else:
        author, content = "Caffe2", content.get("blobs", content)
    arrays = {str(name): np.asarray(value) for name, value in content.items() if isinstance(value, np.ndarray)}
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind in "fiub"}
    tensors = {name: torch.from_numpy(array.copy()) for name, array in numbers.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("_momentum")}
    if not tensors:
        raise DataError(f"{path}: holds no arrays under {', '.join(map(str, list(content)[:5]))}; download it again")
    return tensors, author
