"""The spec's `native` section merged into a LazyConfig, last."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cvtune.errors import SpecError, nearest

__all__ = ["merge_native"]

# Keys that another spec field decides.
_ELSEWHERE = {
    "dataloader.train.dataset.names": "data.train",
    "dataloader.test.dataset.names": "data.val",
    "train.init_checkpoint": "model.weights",
    "train.device": "run.device",
    "model.num_classes": "data.classes",
    "model.roi_heads.num_classes": "data.classes",
}
# What Detectron2's tool reads beside the keys that its configs have.
_KNOWN = {"train": ("seed", "cudnn_benchmark", "float32_precision")}
Change = tuple[str, Any, Any]


def merge_native(config: Mapping[str, Any], native: Mapping[str, Any]) -> tuple[dict[str, Any], list[Change]]:
    """`config` with `native` merged into it, and (key, value before, value) of each change.

    A section is merged key by key, lists are replaced. Where a section describes a call (it has a `_target_`), a new
    key is another argument of it: whether it takes one shows when the model is built.

    Raises:
        SpecError: a section or a setting that there is none of (the nearest one is named), or one of another kind.
    """
    merged = copy.deepcopy(dict(config))
    changed: list[Change] = []
    _put(merged, native, "", changed)
    return merged, changed


def _put(section: dict[str, Any], native: Mapping[str, Any], path: str, changed: list[Change]) -> None:
    for key, value in native.items():
        full = f"{path}{key}"
        if key not in section and "_target_" not in section and key not in _KNOWN.get(path.rstrip("."), ()):
            raise SpecError(
                f"native.{full}: the LazyConfig has no such key; allowed: {', '.join(section)}"
                f"{nearest(str(key), section)}"
            )
        if full in _ELSEWHERE:
            raise SpecError(f"native.{full}: the spec has a field for it; set {_ELSEWHERE[full]} instead")
        before = section.get(key)
        if isinstance(before, dict) and not (isinstance(value, Mapping) and "_target_" in value):
            if not isinstance(value, Mapping):
                raise SpecError(f"native.{full}: got {value!r}; a mapping is needed, with keys of {', '.join(before)}")
            _put(before, value, f"{full}.", changed)
            continue
        if key not in section or before != value or type(before) is not type(value):
            section[key] = copy.deepcopy(value)
            changed.append((full, before, value))
