"""MobileNetV2 as a backbone of Detectron2: torchvision's feature extractor under Detectron2's own pyramid.

Importing this module registers the two builders. State-dict names below `bottom_up` are torchvision's (`features.*`).
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from torch import nn
from torchvision.models import mobilenet_v2

__all__ = ["MobileNetV2", "build_mobilenet_v2_fpn_backbone", "build_retinanet_mobilenet_v2_fpn_backbone"]

# The last module of the stem and of strides 4, 8, 16 and 32; their channels. Names are those of a ResNet's stages.
STAGES = {"stem": (1, 16), "res2": (3, 24), "res3": (6, 32), "res4": (13, 96), "res5": (18, 1280)}


class MobileNetV2(Backbone):  # type: ignore[misc, unused-ignore]
    """Images float32 [n, 3, h, w] -> res2 [n, 24, h/4, w/4], res3 with 32, res4 with 96, res5 with 1280 channels."""

    def __init__(self, norm: str, freeze_at: int) -> None:
        """`norm`: Detectron2's name of a norm layer; `freeze_at`: how many stages are frozen, the stem being one."""
        super().__init__()
        self.features = mobilenet_v2(weights=None, norm_layer=lambda channels: get_norm(norm, channels)).features
        ends = [end for end, _ in list(STAGES.values())[:freeze_at]]
        for index in range(ends[-1] + 1 if ends else 0):
            for parameter in self.features[index].parameters():
                parameter.requires_grad = False
            self.features[index] = FrozenBatchNorm2d.convert_frozen_batchnorm(self.features[index])

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Feature maps by stage."""
        ends = {end: name for name, (end, _) in STAGES.items() if name != "stem"}
        found = {}
        for index, module in enumerate(self.features):
            images = module(images)
            if index in ends:
                found[ends[index]] = images
        return found

    def output_shape(self) -> dict[str, Any]:
        """Channels and stride of each stage."""
        named = [(name, channels) for name, (_, channels) in STAGES.items() if name != "stem"]
        return {name: ShapeSpec(channels=channels, stride=4 << i) for i, (name, channels) in enumerate(named)}


def _with_pyramid(config: Any, top_block: nn.Module) -> Any:
    bottom_up = MobileNetV2(config.MODEL.RESNETS.NORM, config.MODEL.BACKBONE.FREEZE_AT)
    return FPN(
        bottom_up=bottom_up,
        in_features=config.MODEL.FPN.IN_FEATURES,
        out_channels=config.MODEL.FPN.OUT_CHANNELS,
        norm=config.MODEL.FPN.NORM,
        top_block=top_block,
        fuse_type=config.MODEL.FPN.FUSE_TYPE,
    )


@BACKBONE_REGISTRY.register()  # type: ignore[untyped-decorator, unused-ignore]
def build_mobilenet_v2_fpn_backbone(config: Any, input_shape: Any) -> Any:
    """For detectors of two stages: levels p2 to p6."""
    return _with_pyramid(config, LastLevelMaxPool())


@BACKBONE_REGISTRY.register()  # type: ignore[untyped-decorator, unused-ignore]
def build_retinanet_mobilenet_v2_fpn_backbone(config: Any, input_shape: Any) -> Any:
    """For RetinaNet: levels p3 to p7."""
    return _with_pyramid(config, LastLevelP6P7(STAGES["res5"][1], config.MODEL.FPN.OUT_CHANNELS))
