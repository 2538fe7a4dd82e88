"""torchvision's detectors: families, backbones, official configs (builders), published scores. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cvtune.backends.base import ModelInfo
from cvtune.backends.torchvision.backbones import BACKBONES
from cvtune.errors import SpecError, UnsupportedError, nearest
from cvtune.spec import ModelSpec

__all__ = [
    "BUILDERS",
    "CLASS_OFFSETS",
    "COCO_OUTPUTS",
    "MODEL_KWARGS",
    "Builder",
    "Model",
    "models",
    "of_spec",
    "resolve_model",
    "resolve_weights",
]

COCO_OUTPUTS = 91
"""torchvision's COCO weights have one output per COCO category id, 0 (background or unused) to 90."""

CLASS_OFFSETS = {"faster_rcnn": 1, "mask_rcnn": 1, "retinanet": 0, "fcos": 0, "ssd": 1, "ssdlite": 1}
"""Family -> torchvision's label of class index 0: families with a background class keep label 0 for it."""


@dataclass(frozen=True)
class Builder:
    """One official config: a function of `torchvision.models.detection`.

    `backbone` is its name in a spec, `backbone_weights` the ImageNet weights that its reference run starts from,
    `taps` the modules of the body that its pyramid uses, `zero_eps` whether its COCO weights were trained with a batch
    norm that adds no epsilon (torchvision's `overwrite_eps`), `kwargs` its own defaults where they differ from its
    class's. APs in 0..1 on COCO val2017; `file` (the end of the address), `parameters` and APs are those of the weights
    enum.
    """

    family: str
    backbone: str
    weights: str
    file: str
    parameters: int
    box_ap: float
    mask_ap: float | None
    backbone_weights: str
    taps: tuple[str, ...]
    frozen_stages: int | None
    kwargs: Mapping[str, Any]
    zero_eps: bool = False

    @property
    def is_v2(self) -> bool:
        """Whether heads and pyramid are the normalised ones of the `_v2` builders."""
        return self.backbone.endswith("_v2")


_R50 = "ResNet50_Weights.IMAGENET1K_V1"
_V3L = "MobileNet_V3_Large_Weights.IMAGENET1K_V1"
_VGG = "VGG16_Weights.IMAGENET1K_FEATURES"
_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_V3_TAPS = ("13", "16")
_320 = {"rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150, "rpn_score_thresh": 0.05}
_SSD_MEAN = {"image_mean": [0.48235, 0.45882, 0.40784], "image_std": [1 / 255, 1 / 255, 1 / 255]}
_SSDLITE = {"topk_candidates": 300, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

BUILDERS: dict[str, Builder] = {
    "fasterrcnn_resnet50_fpn": Builder(
        "faster_rcnn", "resnet50_fpn", "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 41755286, 0.370, None, _R50, _LAYERS, 1, {}, True,
    ),
    "fasterrcnn_resnet50_fpn_v2": Builder(
        "faster_rcnn", "resnet50_fpn_v2", "FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", 43712278, 0.467, None, _R50, _LAYERS, 1, {},
    ),
    "fasterrcnn_mobilenet_v3_large_fpn": Builder(
        "faster_rcnn", "mobilenet_v3_large_fpn", "FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1",
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth", 19386354, 0.328, None, _V3L, _V3_TAPS, 2,
        {"rpn_score_thresh": 0.05},
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Builder(
        "faster_rcnn", "mobilenet_v3_large_320_fpn", "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
        "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", 19386354, 0.228, None, _V3L, _V3_TAPS, 2, _320,
    ),
    "maskrcnn_resnet50_fpn": Builder(
        "mask_rcnn", "resnet50_fpn", "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", 44401393, 0.379, 0.346, _R50, _LAYERS, 1, {}, True,
    ),
    "maskrcnn_resnet50_fpn_v2": Builder(
        "mask_rcnn", "resnet50_fpn_v2", "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth", 46359409, 0.474, 0.418, _R50, _LAYERS, 1, {},
    ),
    "retinanet_resnet50_fpn": Builder(
        "retinanet", "resnet50_fpn", "RetinaNet_ResNet50_FPN_Weights.COCO_V1",
        "retinanet_resnet50_fpn_coco-eeacb38b.pth", 34014999, 0.364, None, _R50, _LAYERS[1:], 1, {}, True,
    ),
    "retinanet_resnet50_fpn_v2": Builder(
        "retinanet", "resnet50_fpn_v2", "RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1",
        "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", 38198935, 0.415, None, _R50, _LAYERS[1:], 1, {},
    ),
    "fcos_resnet50_fpn": Builder(
        "fcos", "resnet50_fpn", "FCOS_ResNet50_FPN_Weights.COCO_V1",
        "fcos_resnet50_fpn_coco-99b0c9b7.pth", 32269600, 0.392, None, _R50, _LAYERS[1:], 1, {},
    ),
    "ssd300_vgg16": Builder(
        "ssd", "vgg16", "SSD300_VGG16_Weights.COCO_V1",
        "ssd300_vgg16_coco-b556d3b4.pth", 35641826, 0.251, None, _VGG, (), 0, _SSD_MEAN,
    ),
    "ssdlite320_mobilenet_v3_large": Builder(
        "ssdlite", "mobilenet_v3_large", "SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
        "ssdlite320_mobilenet_v3_large_coco-a79551df.pth", 3440060, 0.213, None, _V3L, (), None, _SSDLITE,
    ),
}  # fmt: skip
"""Builder name -> what it is."""

_RCNN_KWARGS = (
    "min_size", "max_size", "image_mean", "image_std", "size_divisible", "fixed_size",
    "rpn_pre_nms_top_n_train", "rpn_pre_nms_top_n_test", "rpn_post_nms_top_n_train", "rpn_post_nms_top_n_test",
    "rpn_nms_thresh", "rpn_fg_iou_thresh", "rpn_bg_iou_thresh", "rpn_batch_size_per_image", "rpn_positive_fraction",
    "rpn_score_thresh", "box_score_thresh", "box_nms_thresh", "box_detections_per_img", "box_fg_iou_thresh",
    "box_bg_iou_thresh", "box_batch_size_per_image", "box_positive_fraction", "bbox_reg_weights",
)  # fmt: skip
_DENSE_KWARGS = (
    "min_size", "max_size", "image_mean", "image_std", "size_divisible", "fixed_size", "score_thresh", "nms_thresh",
    "detections_per_img", "topk_candidates",
)  # fmt: skip
_SSD_KWARGS = (
    "size", "image_mean", "image_std", "score_thresh", "nms_thresh", "detections_per_img", "iou_thresh",
    "topk_candidates", "positive_fraction",
)  # fmt: skip

MODEL_KWARGS: dict[str, tuple[str, ...]] = {
    "faster_rcnn": _RCNN_KWARGS,
    "mask_rcnn": _RCNN_KWARGS,
    "retinanet": (*_DENSE_KWARGS, "fg_iou_thresh", "bg_iou_thresh"),
    "fcos": (*_DENSE_KWARGS, "center_sampling_radius"),
    "ssd": _SSD_KWARGS,
    "ssdlite": _SSD_KWARGS,
}
"""Family -> the plain-valued arguments of its torchvision class that `native: {model: {kwargs: ...}}` may set."""

_FAMILY_BACKBONES = {
    family: tuple(BACKBONES) for family in ("faster_rcnn", "mask_rcnn", "retinanet", "fcos")
} | {"ssd": (), "ssdlite": ()}  # fmt: skip
_DEFAULT_BUILDERS = {
    "faster_rcnn": "fasterrcnn_resnet50_fpn",
    "mask_rcnn": "maskrcnn_resnet50_fpn",
    "retinanet": "retinanet_resnet50_fpn",
    "fcos": "fcos_resnet50_fpn",
    "ssd": "ssd300_vgg16",
    "ssdlite": "ssdlite320_mobilenet_v3_large",
}
_WITHOUT_SUPPORT = {"keypointrcnn_resnet50_fpn": "keypoints are not a task of cvtune"}


@dataclass(frozen=True)
class Model:
    """What a spec's `model` comes to.

    `builder` is torchvision's own builder, or None where backbone and detector are composed; `base` is the official
    builder that the recipe is taken from.
    """

    family: str
    backbone: str
    builder: str | None
    base: str


def models() -> dict[str, ModelInfo]:
    """Family name -> what it offers."""
    result = {}
    for family, default in _DEFAULT_BUILDERS.items():
        own = {b.backbone: name for name, b in BUILDERS.items() if b.family == family}
        backbones: dict[str, str | None] = {**own, **{n: None for n in _FAMILY_BACKBONES[family] if n not in own}}
        published = {name: _published(b) for name, b in BUILDERS.items() if b.family == family}
        task = "segment" if family == "mask_rcnn" else "detect"
        result[family] = ModelInfo(family, task, backbones, BUILDERS[default].backbone, published)  # type: ignore[arg-type]
    return result


def _published(builder: Builder) -> dict[str, Any]:
    entry = {"weights": builder.weights, "box_ap": builder.box_ap, "parameters": builder.parameters}
    return entry if builder.mask_ap is None else {**entry, "mask_ap": builder.mask_ap}


def resolve_model(family: str | None, backbone: str | None = None, zoo: str | None = None) -> Model:
    """Find family, backbone and official builder.

    Raises:
        SpecError: unknown family, backbone or zoo name; with what is allowed and the nearest name.
        UnsupportedError: torchvision has the zoo model, but its task is not one of ours.
    """
    if zoo is not None:
        if zoo in _WITHOUT_SUPPORT:
            raise UnsupportedError(
                f"model.zoo: backend torchvision does not train {zoo}: {_WITHOUT_SUPPORT[zoo]}; "
                "nearest: maskrcnn_resnet50_fpn"
            )
        if zoo not in BUILDERS:
            raise SpecError(
                f"model.zoo: unknown config, got {zoo!r}; allowed: {', '.join(BUILDERS)}{nearest(zoo, BUILDERS)}"
            )
        found = BUILDERS[zoo]
        return Model(found.family, found.backbone, zoo, zoo)
    table = models()
    if family not in table:
        raise SpecError(
            f"model.family: unknown in backend torchvision, got {family!r}; allowed: {', '.join(table)}"
            f"{nearest(str(family), table)}"
        )
    info = table[family]
    backbone = backbone or info.default_backbone
    if backbone not in info.backbones:
        raise SpecError(
            f"model.backbone: unknown for {family}, got {backbone!r}; allowed: {', '.join(info.backbones)}"
            f"{nearest(backbone, info.backbones)}"
        )
    builder = info.backbones[backbone]
    return Model(family, backbone, builder, builder or _DEFAULT_BUILDERS[family])


def resolve_weights(model: Model, weights: str) -> dict[str, Any]:
    """What `model.weights` comes to: {"kind": none|enum|url|path, "value", "sha256"}.

    Raises:
        SpecError: an address that is not https, or a hash that is not SHA-256.
        UnsupportedError: COCO weights were asked for where torchvision publishes none.
    """
    if weights == "none":
        return {"kind": "none", "value": None, "sha256": None}
    if weights == "imagenet":
        name = BACKBONES[model.backbone].weights if model.builder is None else BUILDERS[model.builder].backbone_weights
        return {"kind": "enum", "value": name, "sha256": None}
    if weights == "coco":
        if model.builder is None:
            official = [n for n, config in models()[model.family].backbones.items() if config]
            raise UnsupportedError(
                f"model.weights: backend torchvision has no COCO weights for {model.family} with {model.backbone}; "
                f"nearest: imagenet, or backbone {', '.join(official)}"
            )
        return {"kind": "enum", "value": BUILDERS[model.builder].weights, "sha256": None}
    if weights.startswith("zoo:"):
        other = resolve_model(None, zoo=weights.removeprefix("zoo:"))
        assert other.builder is not None
        return {"kind": "enum", "value": BUILDERS[other.builder].weights, "sha256": None}
    if "://" in weights:
        return _url_weights(weights)
    return {"kind": "path", "value": weights, "sha256": None}


def _url_weights(address: str) -> dict[str, Any]:
    url, _, fragment = address.partition("#")
    if not url.startswith("https://"):
        raise SpecError(
            f"model.weights: only https addresses are fetched, got {url}; download the file and give its path"
        )
    sha256 = None
    if fragment:
        match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
        if not match:
            raise SpecError(f"model.weights: got #{fragment}; allowed after the address: #sha256=<64 hex digits>")
        sha256 = match[1].lower()
    return {"kind": "url", "value": url, "sha256": sha256}


def of_spec(model: ModelSpec) -> Model:
    """`resolve_model` of a spec's model."""
    return resolve_model(model.family, model.backbone, model.zoo)
