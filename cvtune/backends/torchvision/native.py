"""The spec's `native` section: merged last into config.yaml, every key checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cvtune.backends.torchvision.models import MODEL_KWARGS
from cvtune.errors import SpecError, UnsupportedError, nearest

__all__ = ["check_kwargs", "merge_native"]

# What these say comes from other spec fields: two places would contradict each other.
_ELSEWHERE = {
    "classes": "data.classes",
    "class_lock": "data.classes",
    "weights": "model.weights",
    "model.builder": "model.zoo",
    "model.family": "model.family",
    "model.backbone": "model.backbone",
    "model.num_classes": "data.classes",
    "model.class_offset": "model.family",
    "model.norm_eps": "model.weights",
    "model.frozen_stages": "model.frozen_stages",
    "model.norm": "model.norm",
    "model.kwargs.min_size": "data.image_size.short",
    "model.kwargs.max_size": "data.image_size.long",
    "model.kwargs.fixed_size": "data.image_size.square",
    "model.kwargs.size": "data.image_size.square",
    **{f"model.kwargs.{p}detections_per_img": "eval.model_max_detections" for p in ("", "box_")},
    **{f"model.kwargs.{p}score_thresh": "eval.score_threshold" for p in ("", "box_")},
    **{f"model.kwargs.{p}nms_thresh": "eval.nms_iou" for p in ("", "box_")},
    **{section: f"{section}.*" for section in ("data", "train", "eval", "run")},
}
_ANCHORS = ("sizes", "aspect_ratios")
_WITHOUT_PYRAMID = {"ssd", "ssdlite"}


def merge_native(config: Mapping[str, Any], native: Mapping[str, Any], family: str) -> dict[str, Any]:
    """`config` with `native` merged into it: mappings key by key, everything else replaced.

    Raises:
        SpecError: an unknown key, with the nearest one, or one that another spec field decides.
        UnsupportedError: pyramid or anchors of SSD, which are part of its architecture.
    """
    return _merge(config, native, "", family)


def check_kwargs(kwargs: Iterable[str], family: str, where: str) -> None:
    """Raise SpecError unless each name is an argument of the family's torchvision class."""
    for name in kwargs:
        _check_key(name, MODEL_KWARGS[family], where)


def _merge(base: Mapping[str, Any], added: Mapping[str, Any], prefix: str, family: str) -> dict[str, Any]:
    merged = dict(base)
    for key, value in added.items():
        path = f"{prefix}{key}"
        _check_place(path)
        _check_key(key, base, f"native.{prefix}".rstrip("."))
        if path in ("model.fpn", "model.anchors") and family in _WITHOUT_PYRAMID:
            raise UnsupportedError(
                f"native.{path}: backend torchvision cannot change it for {family}, whose boxes are part of its "
                "architecture; nearest: data.image_size.square, or family retinanet"
            )
        if path == "model.kwargs":
            check_kwargs(_mapping(value, path), family, "native.model.kwargs")
            for name in value:
                _check_place(f"{path}.{name}")
            merged[key] = {**base[key], **value}
        elif path == "model.anchors" and value is not None:
            for name in _mapping(value, path):
                _check_key(name, _ANCHORS, "native.model.anchors")
            if "sizes" not in value:
                raise SpecError("native.model.anchors: sizes is missing; give one list of pixels a pyramid level")
            merged[key] = dict(value)
        elif isinstance(base[key], Mapping):
            merged[key] = _merge(base[key], _mapping(value, path), f"{path}.", family)
        else:
            merged[key] = value
    return merged


def _check_place(path: str) -> None:
    if path in _ELSEWHERE:
        raise SpecError(f"native.{path}: the spec has a field for it; set {_ELSEWHERE[path]} instead")


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"native.{path}: got {value!r}; a mapping of keys to values is needed")
    return value


def _check_key(key: str, allowed: Iterable[str], where: str) -> None:
    names = list(allowed)
    if key not in names:
        raise SpecError(f"{where}: unknown key, got {key!r}; allowed: {', '.join(names)}{nearest(key, names)}")
