"""The spec's `native` section: merged last into the config, every key checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cvtune.backends.detectron2.zoo import defaults, plain
from cvtune.errors import SpecError, nearest

__all__ = ["merge_native"]

# Keys that another spec field decides, and what is refused since it asks for data of another kind.
_ELSEWHERE = {
    "DATASETS.TRAIN": "data.train",
    "DATASETS.TEST": "data.val",
    "MODEL.WEIGHTS": "model.weights",
    "MODEL.ROI_HEADS.NUM_CLASSES": "data.classes",
    "MODEL.RETINANET.NUM_CLASSES": "data.classes",
    "MODEL.DEVICE": "run.device",
    "MODEL.MASK_ON": "model.family",
}
_REFUSED = {
    "MODEL.KEYPOINT_ON": "keypoints are no task of cvtune",
    "MODEL.LOAD_PROPOSALS": "proposals computed beforehand are not read",
}
Change = tuple[str, Any, Any]


def merge_native(config: Mapping[str, Any], native: Mapping[str, Any]) -> tuple[dict[str, Any], list[Change]]:
    """`config` with `native` merged into it, and (key, value before, value) of each change.

    A section is merged key by key, lists are replaced.

    Raises:
        SpecError: Detectron2 has no such key (the nearest one is named), or the value has another type than its
            default.
    """
    merged = copy.deepcopy(dict(config))
    changed: list[Change] = []
    _put(merged, native, "", changed)
    return checked(merged), changed


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as Detectron2 reads it: by yacs, which knows every key's type.

    Raises:
        SpecError: a value has another type than its default.
    """
    from yacs.config import CfgNode

    node = defaults().clone()
    try:
        node.merge_from_other_cfg(CfgNode(copy.deepcopy(dict(config))))
    except (KeyError, ValueError, AssertionError) as error:
        raise SpecError(f"native: Detectron2 refuses the config: {' '.join(str(error).split())}") from error
    found: dict[str, Any] = plain(node)
    return found


def _put(section: dict[str, Any], native: Mapping[str, Any], path: str, changed: list[Change]) -> None:
    for key, value in native.items():
        full = f"{path}{key}"
        if key not in section:
            raise SpecError(
                f"native.{full}: Detectron2 has no such key; allowed: {', '.join(section)}{nearest(str(key), section)}"
            )
        if full in _ELSEWHERE:
            raise SpecError(f"native.{full}: the spec has a field for it; set {_ELSEWHERE[full]} instead")
        if full in _REFUSED and value:
            raise SpecError(f"native.{full}: {_REFUSED[full]}; leave it out")
        before = section[key]
        if isinstance(before, dict):
            if not isinstance(value, Mapping):
                raise SpecError(f"native.{full}: got {value!r}; a mapping is needed, with keys of {', '.join(before)}")
            _put(before, value, f"{full}.", changed)
            continue
        if isinstance(before, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        wanted = tuple(value) if isinstance(before, tuple) and isinstance(value, list) else value
        if before is not None and value is not None and type(wanted) is not type(before):
            raise SpecError(
                f"native.{full}: got {value!r}; {type(before).__name__} is needed, as in the default {before!r}"
            )
        if wanted != before:
            section[key] = copy.deepcopy(wanted)
            changed.append((full, before, wanted))
