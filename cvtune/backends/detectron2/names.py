"""Other libraries' names of tensors as Detectron2's, so that one rule of suffixes finds them in any model."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

__all__ = ["from_caffe2", "from_torchvision_resnet", "match_by_suffix"]

Tensors = dict[str, torch.Tensor]


def from_torchvision_resnet(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """torchvision's ResNet: layer1 to layer4 are res2 to res5, each batch norm stands in its convolution."""
    renamed = {}
    for name, tensor in tensors.items():
        new = re.sub(r"\.downsample\.0\.", ".shortcut.", name)
        new = re.sub(r"\.downsample\.1\.", ".shortcut.norm.", new)
        new = re.sub(r"(^|\.)bn(\d)\.", r"\1conv\2.norm.", new)
        new = re.sub(r"^layer(\d)\.", lambda match: f"res{int(match[1]) + 1}.", new)
        new = re.sub(r"^conv1\.", "stem.conv1.", new)
        renamed[new] = tensor
    return renamed


def from_caffe2(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Detectron's Caffe2 names, renamed by Detectron2 itself; the background class goes where Detectron2 has it."""
    from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names

    renamed: Tensors = convert_c2_detectron_names(dict(tensors))[0]
    return renamed


def match_by_suffix(own: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Own name -> the name in `other` that is its longest whole suffix: `backbone.bottom_up.res2.0.conv1.weight` ->
    `res2.0.conv1.weight`. Names without one are left out.
    """
    pairs = {}
    for name in own:
        parts = name.split(".")
        # A suffix of one part, such as `weight`, says nothing.
        for start in range(len(parts) - 1):
            suffix = ".".join(parts[start:])
            if suffix in other:
                pairs[name] = suffix
                break
    return pairs
