"""Families and backbones -> official configs. `model.zoo` reaches every other official config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from cvtune.backends.base import ModelInfo
from cvtune.backends.detectron2.zoo import find_config, left_out, published, read_official
from cvtune.errors import SpecError, UnsupportedError, nearest
from cvtune.spec import ModelSpec

__all__ = ["FAMILIES", "MOBILENET", "TORCHVISION_WEIGHTS", "Model", "model_of", "models", "task_of"]

Path = tuple[str, ...]
Change = tuple[Path, Any]

_R50, _R101, _X101 = "resnet50_fpn", "resnet101_fpn", "resnext101_32x8d_fpn"
_BOXES, _MASKS = "COCO-Detection", "COCO-InstanceSegmentation"
MOBILENET = "mobilenet_v2_fpn"


def _rcnn(folder: str, kind: str) -> dict[str, str]:
    """Where both are published, the longer schedule: its weights are the better start, at the same settings."""
    return {
        _R50: f"{folder}/{kind}_R_50_FPN_3x",
        _R101: f"{folder}/{kind}_R_101_FPN_3x",
        _X101: f"{folder}/{kind}_X_101_32x8d_FPN_3x",
        "resnet50_c4": f"{folder}/{kind}_R_50_C4_3x",
        "resnet101_c4": f"{folder}/{kind}_R_101_C4_3x",
        "resnet50_dc5": f"{folder}/{kind}_R_50_DC5_3x",
        "resnet101_dc5": f"{folder}/{kind}_R_101_DC5_3x",
    }


_CASCADE = {_R50: "Misc/cascade_mask_rcnn_R_50_FPN_3x"}

# The first backbone is the default.
FAMILIES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "faster_rcnn": _rcnn(_BOXES, "faster_rcnn"),
        "mask_rcnn": _rcnn(_MASKS, "mask_rcnn"),
        "cascade_rcnn": _CASCADE,
        "cascade_mask_rcnn": _CASCADE,
        "retinanet": {_R50: f"{_BOXES}/retinanet_R_50_FPN_3x", _R101: f"{_BOXES}/retinanet_R_101_FPN_3x"},
    }
)
_SEGMENTERS = ("mask_rcnn", "cascade_mask_rcnn")

_RESNETS: Path = ("MODEL", "RESNETS")
_WEIGHTS: Path = ("MODEL", "WEIGHTS")

# What a family is that the zoo has only with something more.
_FAMILY_CHANGES: Mapping[str, tuple[Change, ...]] = {"cascade_rcnn": ((("MODEL", "MASK_ON"), False),)}

# Backbones that take the place of an official ResNet-50 with an FPN, where the family has no official config of them.
COMPOSED: Mapping[str, tuple[Change, ...]] = MappingProxyType(
    {
        "resnet18_fpn": (((*_RESNETS, "DEPTH"), 18), ((*_RESNETS, "RES2_OUT_CHANNELS"), 64)),
        "resnet34_fpn": (((*_RESNETS, "DEPTH"), 34), ((*_RESNETS, "RES2_OUT_CHANNELS"), 64)),
        _R101: (
            ((*_RESNETS, "DEPTH"), 101),
            (_WEIGHTS, "detectron2://ImageNetPretrained/MSRA/R-101.pkl"),
        ),
        _X101: (
            ((*_RESNETS, "DEPTH"), 101),
            ((*_RESNETS, "STRIDE_IN_1X1"), False),
            ((*_RESNETS, "NUM_GROUPS"), 32),
            ((*_RESNETS, "WIDTH_PER_GROUP"), 8),
            (("MODEL", "PIXEL_STD"), [57.375, 57.12, 58.395]),
            (_WEIGHTS, "detectron2://ImageNetPretrained/FAIR/X-101-32x8d.pkl"),
        ),
        MOBILENET: ((("MODEL", "BACKBONE", "NAME"), "build_mobilenet_v2_fpn_backbone"),),
    }
)

TORCHVISION_WEIGHTS: Mapping[str, str] = MappingProxyType(
    {
        "resnet18_fpn": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "resnet34_fpn": "https://download.pytorch.org/models/resnet34-b627a593.pth",
        MOBILENET: "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    }
)
"""ImageNet weights of backbones that Detectron2 publishes none for: torchvision's."""


@dataclass(frozen=True)
class Model:
    """What the spec's model means here: family, backbone, official config, and what is changed in it.

    `composed`: no official config has this backbone, so that no detector of it is published.
    """

    family: str
    backbone: str
    config: str
    changes: tuple[Change, ...] = ()
    composed: bool = False


def models() -> Mapping[str, ModelInfo]:
    """Family -> its backbones, each with its official config; composed ones have none."""
    infos = {}
    for family, backbones in FAMILIES.items():
        listed: dict[str, str | None] = dict(backbones)
        listed |= dict.fromkeys(name for name in COMPOSED if name not in listed)
        task: Literal["detect", "segment"] = "segment" if family in _SEGMENTERS else "detect"
        scores = _Published(tuple(backbones.values()), with_masks=task == "segment")
        infos[family] = ModelInfo(family, task, listed, next(iter(backbones)), scores)
    return infos


class _Published(Mapping[str, Mapping[str, Any]]):
    """Config name -> what is published for it, read when asked for: Detectron2 need not be installed before."""

    def __init__(self, names: tuple[str, ...], with_masks: bool) -> None:
        self.names, self.with_masks = names, with_masks

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        if name not in self.names:
            raise KeyError(name)
        entry = published(name)
        return entry if self.with_masks else {key: value for key, value in entry.items() if key != "mask_ap"}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def model_of(spec: ModelSpec) -> Model:
    """The official config that a spec's model names.

    Raises:
        SpecError: unknown family, backbone or zoo name, with the nearest ones.
        UnsupportedError: the config is not for detection or instance segmentation on a user's images, and why.
    """
    if spec.zoo is None:
        return _family(str(spec.family), spec.backbone)
    config = find_config(spec.zoo)
    reason = left_out(config)
    if reason:
        raise UnsupportedError(
            f"model.zoo: backend detectron2: {config} {reason}; nearest: a YAML config that detects or segments "
            f"objects, such as {FAMILIES['mask_rcnn'][_R50]}"
        )
    content = read_official(config).content["MODEL"]
    return Model(_family_name(content), _backbone_name(content), config)


def _family(family: str, backbone: str | None) -> Model:
    if family not in FAMILIES:
        raise SpecError(
            f"model.family: unknown family of backend detectron2, got {family!r}; allowed: {', '.join(FAMILIES)}"
            f"{nearest(family, FAMILIES)}; or model.zoo with an official config"
        )
    backbones = FAMILIES[family]
    name = backbone or next(iter(backbones))
    changes = _FAMILY_CHANGES.get(family, ())
    if name in backbones:
        return Model(family, name, backbones[name], changes)
    if name in COMPOSED:
        own = COMPOSED[name]
        if name == MOBILENET and family == "retinanet":
            own = ((("MODEL", "BACKBONE", "NAME"), "build_retinanet_mobilenet_v2_fpn_backbone"),)
        return Model(family, name, backbones[_R50], (*changes, *own), composed=True)
    allowed = [*backbones, *(name for name in COMPOSED if name not in backbones)]
    raise SpecError(
        f"model.backbone: unknown backbone for {family} of backend detectron2, got {name!r}; allowed: "
        f"{', '.join(allowed)}{nearest(name, allowed)}; or model.zoo with an official config"
    )


def _family_name(model: Mapping[str, Any]) -> str:
    if model["META_ARCHITECTURE"] == "RetinaNet":
        return "retinanet"
    kind = "mask_rcnn" if model["MASK_ON"] else "faster_rcnn"
    if model["ROI_HEADS"]["NAME"] == "CascadeROIHeads":
        return "cascade_mask_rcnn" if model["MASK_ON"] else "cascade_rcnn"
    return kind


def _backbone_name(model: Mapping[str, Any]) -> str:
    """A name for reports: ResNet-50-FPN."""
    resnet = model["RESNETS"]
    kind = "ResNet" if resnet["NUM_GROUPS"] == 1 else "ResNeXt"
    neck = "FPN" if "fpn" in model["BACKBONE"]["NAME"] else "DC5" if resnet["RES5_DILATION"] == 2 else "C4"
    return f"{kind}-{resnet['DEPTH']}-{neck}"


def task_of(config: Mapping[str, Any]) -> Literal["detect", "segment"]:
    """`segment` where the config predicts masks, else `detect`."""
    return "segment" if config["MODEL"]["MASK_ON"] else "detect"
