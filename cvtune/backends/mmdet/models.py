"""Families and backbones -> official configs. `model.zoo` reaches every other official config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cvtune.backends.base import ModelInfo
from cvtune.backends.edits import Path
from cvtune.backends.mmdet.translate_data import with_masks
from cvtune.backends.mmdet.zoo import find_config, left_out, published, read_official
from cvtune.errors import SpecError, UnsupportedError, nearest
from cvtune.plan import Plan
from cvtune.spec import ModelSpec

__all__ = ["FAMILIES", "LAYER_COUNTS", "Model", "model_of", "model_of_plan", "models", "task_of"]

_R50, _R101, _X101, _X101_64 = "resnet50_fpn", "resnet101_fpn", "resnext101_32x4d_fpn", "resnext101_64x4d_fpn"


def _resnets(folder: str, prefix: str, suffix: str, **more: str) -> dict[str, str]:
    """The four backbones that most families have at the same recipe."""
    names = {_R50: "r50", _R101: "r101", _X101: "x101-32x4d", _X101_64: "x101-64x4d"}
    return {name: f"{folder}/{prefix}_{short}_{suffix}" for name, short in names.items()} | more


# The first backbone is the default.
FAMILIES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "faster_rcnn": _resnets(
            "faster_rcnn",
            "faster-rcnn",
            "fpn_1x_coco",
            resnet50_caffe_fpn="faster_rcnn/faster-rcnn_r50-caffe_fpn_1x_coco",
            resnet50_c4="faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco",
            resnet50_dc5="faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco",
            hrnet_w32="hrnet/faster-rcnn_hrnetv2p-w32-1x_coco",
            regnetx_3_2gf_fpn="regnet/faster-rcnn_regnetx-3.2GF_fpn_1x_coco",
            res2net101_fpn="res2net/faster-rcnn_res2net-101_fpn_2x_coco",
        ),
        "mask_rcnn": _resnets(
            "mask_rcnn",
            "mask-rcnn",
            "fpn_1x_coco",
            resnet50_caffe_fpn="mask_rcnn/mask-rcnn_r50-caffe_fpn_1x_coco",
            resnet50_c4="mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco",
            swin_t_fpn="swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco",
            swin_s_fpn="swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco",
            hrnet_w32="hrnet/mask-rcnn_hrnetv2p-w32-1x_coco",
            regnetx_3_2gf_fpn="regnet/mask-rcnn_regnetx-3.2GF_fpn_1x_coco",
        ),
        "cascade_rcnn": _resnets("cascade_rcnn", "cascade-rcnn", "fpn_1x_coco"),
        "cascade_mask_rcnn": _resnets("cascade_rcnn", "cascade-mask-rcnn", "fpn_1x_coco"),
        "retinanet": _resnets(
            "retinanet",
            "retinanet",
            "fpn_1x_coco",
            resnet18_fpn="retinanet/retinanet_r18_fpn_1x_coco",
            swin_t_fpn="swin/retinanet_swin-t-p4-w7_fpn_1x_coco",
            pvt_v2_b2_fpn="pvt/retinanet_pvtv2-b2_fpn_1x_coco",
        ),
        "fcos": {
            "resnet50_caffe_fpn": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
            "resnet101_caffe_fpn": "fcos/fcos_r101-caffe_fpn_gn-head-1x_coco",
            _R50: "fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco",
            _X101_64: "fcos/fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco",
        },
        "atss": {_R50: "atss/atss_r50_fpn_1x_coco", _R101: "atss/atss_r101_fpn_1x_coco"},
        "gfl": {
            _R50: "gfl/gfl_r50_fpn_1x_coco",
            _R101: "gfl/gfl_r101_fpn_ms-2x_coco",
            _X101: "gfl/gfl_x101-32x4d_fpn_ms-2x_coco",
        },
        "tood": {
            _R50: "tood/tood_r50_fpn_1x_coco",
            _R101: "tood/tood_r101_fpn_ms-2x_coco",
            _X101_64: "tood/tood_x101-64x4d_fpn_ms-2x_coco",
        },
        "ssd": {"vgg16_300": "ssd/ssd300_coco", "vgg16_512": "ssd/ssd512_coco"},
        "ssdlite": {"mobilenet_v2": "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco"},
        "yolov3": {
            "darknet53_608": "yolo/yolov3_d53_8xb8-ms-608-273e_coco",
            "darknet53_416": "yolo/yolov3_d53_8xb8-ms-416-273e_coco",
            "darknet53_320": "yolo/yolov3_d53_8xb8-320-273e_coco",
            "mobilenet_v2_416": "yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco",
        },
        "yolof": {"resnet50_c5": "yolof/yolof_r50-c5_8xb8-1x_coco"},
        "yolox": {size: f"yolox/yolox_{size}_8xb8-300e_coco" for size in ("s", "nano", "tiny", "m", "l", "x")},
        "rtmdet": {size: f"rtmdet/rtmdet_{size}_8xb32-300e_coco" for size in ("s", "tiny", "m", "l", "x")},
        "rtmdet_ins": {
            **{size: f"rtmdet/rtmdet-ins_{size}_8xb32-300e_coco" for size in ("s", "tiny", "m", "l")},
            "x": "rtmdet/rtmdet-ins_x_8xb16-300e_coco",
        },
        "condinst": {_R50: "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance"},
        "solov2": {
            _R50: "solov2/solov2_r50_fpn_1x_coco",
            _R101: "solov2/solov2_r101_fpn_ms-3x_coco",
            "light_resnet18_fpn": "solov2/solov2-light_r18_fpn_ms-3x_coco",
        },
        "deformable_detr": {
            "resnet50": "deformable_detr/deformable-detr_r50_16xb2-50e_coco",
            "resnet50_two_stage": "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco",
        },
        "dino": {
            "resnet50_4scale": "dino/dino-4scale_r50_8xb2-12e_coco",
            "swin_l_5scale": "dino/dino-5scale_swin-l_8xb2-12e_coco",
        },
        "mask2former": {
            "resnet50": "mask2former/mask2former_r50_8xb2-lsj-50e_coco",
            "resnet101": "mask2former/mask2former_r101_8xb2-lsj-50e_coco",
            "swin_t": "mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco",
            "swin_s": "mask2former/mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco",
        },
    }
)

_NECK: Path = ("model", "neck", "in_channels")
_BACKBONE: Path = ("model", "backbone")


def _resnet(depth: int, channels: list[int]) -> tuple[tuple[Path, Any], ...]:
    return (
        ((*_BACKBONE, "depth"), depth),
        ((*_BACKBONE, "init_cfg"), {"type": "Pretrained", "checkpoint": f"torchvision://resnet{depth}"}),
        (_NECK, channels),
    )


@dataclass(frozen=True)
class LayerCount:
    """A backbone whose `frozen_stages` counts layers: its values for the stem and strides 4, 8, 16, 32; for nothing."""

    ends: tuple[int, ...]
    nothing: int = -1


LAYER_COUNTS: Mapping[str, LayerCount] = MappingProxyType(
    {
        "MobileNetV2": LayerCount((1, 2, 3, 5, 7)),
        "Darknet": LayerCount((2, 3, 4, 5, 6)),  # how many of its blocks, from the first
        "EfficientNet": LayerCount((2, 3, 4, 5, 6), nothing=0),  # the same
    }
)
"""By the backbone's type; all others count stages as the spec does."""

# Backbones that take the place of an official ResNet-50 with an FPN, where no official config has them.
COMPOSED: Mapping[str, tuple[tuple[Path, Any], ...]] = MappingProxyType(
    {
        "resnet18_fpn": _resnet(18, [64, 128, 256, 512]),
        "resnet34_fpn": _resnet(34, [64, 128, 256, 512]),
        "resnet152_fpn": _resnet(152, [256, 512, 1024, 2048]),
        "mobilenet_v2_fpn": (
            (
                _BACKBONE,
                {
                    "type": "MobileNetV2",
                    "out_indices": [1, 2, 4, 7],
                    "frozen_stages": 2,  # the stem and one stage; see LAYER_COUNTS
                    # Its scales and shifts have gradients so large that Faster R-CNN diverges at usual learning rates.
                    "norm_cfg": {"type": "BN", "requires_grad": False},
                    "norm_eval": True,
                },
            ),
            (_NECK, [24, 32, 96, 1280]),
        ),
    }
)


@dataclass(frozen=True)
class Model:
    """What the spec's model means here: family, backbone, official config, and what a composed backbone changes."""

    family: str
    backbone: str
    config: str
    changes: tuple[tuple[Path, Any], ...] = ()


def models() -> Mapping[str, ModelInfo]:
    """Family -> its backbones, each with its official config; composed ones have none."""
    infos = {}
    for family, backbones in FAMILIES.items():
        listed: dict[str, str | None] = dict(backbones)
        if _R50 in backbones:
            listed |= dict.fromkeys(name for name in COMPOSED if name not in listed)
        task = "segment" if family in _SEGMENTERS else "detect"
        infos[family] = ModelInfo(family, task, listed, next(iter(backbones)), _Published(tuple(backbones.values())))  # type: ignore[arg-type]
    return infos


_SEGMENTERS = {"mask_rcnn", "cascade_mask_rcnn", "rtmdet_ins", "condinst", "solov2", "mask2former"}


class _Published(Mapping[str, Mapping[str, Any]]):
    """Config name -> what its metafile publishes, read when asked for: MMDetection need not be installed before."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        if name not in self.names:
            raise KeyError(name)
        return published(name)

    def __iter__(self) -> Any:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def model_of(spec: ModelSpec) -> Model:
    """The official config that a spec's model names.

    Raises:
        SpecError: unknown family, backbone or zoo name, with the nearest ones.
        UnsupportedError: the config is not for detection or instance segmentation on a user's images, and why.
    """
    model = _zoo(spec.zoo) if spec.zoo is not None else _family(str(spec.family), spec.backbone)
    reason = left_out(read_official(model.config).content)
    if reason:
        raise UnsupportedError(f"model.zoo: {model.config}: {reason}; choose a detector or an instance segmenter")
    return model


def model_of_plan(plan: Plan) -> Model:
    """The model again, from a plan: it names family and backbone, or a zoo config under its own type."""
    family, backbone = plan["model.family"], plan["model.backbone"]
    if family in FAMILIES:
        return model_of(ModelSpec(family=family, backbone=backbone))
    return model_of(ModelSpec(zoo=plan["model.config"]))


def _zoo(name: str) -> Model:
    config = find_config(name)
    content = read_official(config).content
    kind = str(content["model"].get("type"))
    detector = content["model"].get("detector") or content["model"]
    return Model(kind, str((detector.get("backbone") or {}).get("type")), config)


def _family(family: str, backbone: str | None) -> Model:
    if family not in FAMILIES:
        raise SpecError(
            f"model.family: unknown family of backend mmdet, got {family!r}; allowed: {', '.join(FAMILIES)}"
            f"{nearest(family, FAMILIES)}; or model.zoo with any official config"
        )
    backbones = FAMILIES[family]
    name = backbone or next(iter(backbones))
    if name in backbones:
        return Model(family, name, backbones[name])
    if name in COMPOSED and _R50 in backbones:
        return Model(family, name, backbones[_R50], COMPOSED[name])
    allowed = [*backbones, *(name for name in COMPOSED if _R50 in backbones and name not in backbones)]
    raise SpecError(
        f"model.backbone: unknown backbone for {family} of backend mmdet, got {name!r}; allowed: {', '.join(allowed)}"
        f"{nearest(name, allowed)}; or model.zoo with any official config"
    )


def task_of(config: Mapping[str, Any]) -> str:
    """`segment` where the config is scored by masks, else `detect`."""
    return "segment" if with_masks(dict(config)) else "detect"
