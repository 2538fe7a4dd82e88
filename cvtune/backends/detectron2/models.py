"""Families and backbones -> official configs. `model.zoo` reaches every other official config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from cvtune.backends.base import ModelInfo
from cvtune.backends.detectron2.lazy.recipes import backbone_name, family_name, predicts_masks
from cvtune.backends.detectron2.zoo import find_config, is_lazy, left_out, published, read_official
from cvtune.backends.edits import Edits
from cvtune.errors import SpecError, UnsupportedError, nearest
from cvtune.spec import ModelSpec

__all__ = [
    "ABSENT",
    "FAMILIES",
    "MOBILENET",
    "PYCLS_WEIGHTS",
    "TORCHVISION_WEIGHTS",
    "Model",
    "change",
    "composed",
    "model_of",
    "models",
    "task_of",
]

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


_REGNETS = {
    f"regnet{kind}_4gf_fpn": f"new_baselines/mask_rcnn_regnet{kind}_4gf_dds_FPN_400ep_LSJ" for kind in ("x", "y")
}
_CASCADE = {_R50: "Misc/cascade_mask_rcnn_R_50_FPN_3x"}

# The first backbone is the default.
FAMILIES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "faster_rcnn": _rcnn(_BOXES, "faster_rcnn"),
        "mask_rcnn": {**_rcnn(_MASKS, "mask_rcnn"), **_REGNETS},
        "cascade_rcnn": _CASCADE,
        "cascade_mask_rcnn": _CASCADE,
        "retinanet": {_R50: f"{_BOXES}/retinanet_R_50_FPN_3x", _R101: f"{_BOXES}/retinanet_R_101_FPN_3x"},
        "fcos": {_R50: f"{_BOXES}/fcos_R_50_FPN_1x"},
    }
)
ABSENT: Any = object()
"""As the value of a change: the key is taken away."""
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

_STAGES: Path = ("model", "backbone", "bottom_up", "stages")
_BASIC_BLOCKS: Change = ((*_STAGES, "stride_in_1x1"), ABSENT)  # they have no 1x1
# The same for the families whose official config is a LazyConfig.
LAZY_COMPOSED: Mapping[str, tuple[Change, ...]] = MappingProxyType(
    {
        "resnet18_fpn": (((*_STAGES, "depth"), 18), _BASIC_BLOCKS),
        "resnet34_fpn": (((*_STAGES, "depth"), 34), _BASIC_BLOCKS),
        _R101: (
            ((*_STAGES, "depth"), 101),
            (("train", "init_checkpoint"), "detectron2://ImageNetPretrained/MSRA/R-101.pkl"),
        ),
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


PYCLS_WEIGHTS: Mapping[str, str] = MappingProxyType(
    {
        f"regnet{kind}": "https://dl.fbaipublicfiles.com/pycls/dds_baselines/"
        f"{number}/RegNet{kind.upper()}-4.0GF_dds_8gpu.pyth"
        for kind, number in (("x", 160906383), ("y", 160906838))
    }
)
"""ImageNet weights of the RegNets, from which Detectron2's 1x configs start."""


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


def change(edits: Edits, path: Path, value: Any, asked_by: str) -> None:
    """Make one change of a `Model` to its official config."""
    if value is ABSENT:
        edits.remove(path, asked_by)
    else:
        edits.set(path, value, asked_by)


def composed(family: str) -> Mapping[str, tuple[Change, ...]]:
    """Backbone -> changes, for the backbones of a family that no official config of it has."""
    return LAZY_COMPOSED if family == "fcos" else COMPOSED


def models() -> Mapping[str, ModelInfo]:
    """Family -> its backbones, each with its official config; composed ones have none."""
    infos = {}
    for family, backbones in FAMILIES.items():
        listed: dict[str, str | None] = dict(backbones)
        listed |= dict.fromkeys(name for name in composed(family) if name not in listed)
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
            f"model.zoo: backend detectron2: {config} {reason}; nearest: a config that detects or segments "
            f"objects, such as {FAMILIES['mask_rcnn'][_R50]}"
        )
    if is_lazy(config):
        lazy = read_official(config).content
        return Model(family_name(lazy), backbone_name(lazy), config)
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
    if name in composed(family):
        own = composed(family)[name]
        if name == MOBILENET and family == "retinanet":
            own = ((("MODEL", "BACKBONE", "NAME"), "build_retinanet_mobilenet_v2_fpn_backbone"),)
        return Model(family, name, backbones[_R50], (*changes, *own), composed=True)
    allowed = [*backbones, *(name for name in composed(family) if name not in backbones)]
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
    """`segment` where the config, YAML's or a LazyConfig's, predicts masks, else `detect`."""
    masks = config["MODEL"]["MASK_ON"] if "MODEL" in config else predicts_masks(config)
    return "segment" if masks else "detect"
