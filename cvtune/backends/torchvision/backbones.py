"""The backbones that a feature pyramid is put on, as data: modules to tap, stages to freeze, weights to start from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BACKBONES", "Backbone"]


@dataclass(frozen=True)
class Backbone:
    """One torchvision classifier as a feature extractor.

    Module names are those inside the detector's `backbone.body`.

    Attributes:
        model: torchvision's builder, such as ``resnet50``.
        weights: its ImageNet weights as `torchvision.models.get_weight` names them.
        container: which part is used: the whole model, its `features`, or RegNet's stem and blocks side by side.
        taps: modules whose outputs have strides 4, 8, 16 and 32 pixels.
        stages: names (stem first, then one entry a stride: 4, 8, 16, 32) that `frozen_stages` freezes.
    """

    model: str
    weights: str
    container: str
    taps: tuple[str, str, str, str]
    stages: tuple[tuple[str, ...], ...]


def _numbered(*ends: int) -> tuple[tuple[str, ...], ...]:
    """Stages of a `features` sequence: modules up to and including each end."""
    starts = (0, *(end + 1 for end in ends))
    return tuple(tuple(map(str, range(a, b + 1))) for a, b in zip(starts, ends, strict=False))


def _resnet(model: str, weights: str) -> Backbone:
    layers = ("layer1", "layer2", "layer3", "layer4")
    return Backbone(model, weights, "whole", layers, (("conv1", "bn1"), *((layer,) for layer in layers)))


def _features(model: str, weights: str, *ends: int) -> Backbone:
    """`ends`: the last module of the stem and of strides 4, 8, 16 and 32."""
    return Backbone(model, weights, "features", tuple(map(str, ends[1:])), _numbered(*ends))  # type: ignore[arg-type]


def _regnet(model: str, weights: str) -> Backbone:
    blocks = ("block1", "block2", "block3", "block4")
    return Backbone(model, weights, "regnet", blocks, (("stem",), *((block,) for block in blocks)))


def _table() -> dict[str, Backbone]:
    v1 = "IMAGENET1K_V1"
    table = {f"resnet{n}_fpn": _resnet(f"resnet{n}", f"ResNet{n}_Weights.{v1}") for n in (18, 34, 50, 101, 152)}
    for model, enum in (
        ("resnext50_32x4d", "ResNeXt50_32X4D"),
        ("resnext101_32x8d", "ResNeXt101_32X8D"),
        ("resnext101_64x4d", "ResNeXt101_64X4D"),
        ("wide_resnet50_2", "Wide_ResNet50_2"),
        ("wide_resnet101_2", "Wide_ResNet101_2"),
    ):
        table[f"{model}_fpn"] = _resnet(model, f"{enum}_Weights.{v1}")
    table["mobilenet_v2_fpn"] = _features("mobilenet_v2", f"MobileNet_V2_Weights.{v1}", 1, 3, 6, 13, 18)
    table["mobilenet_v3_large_fpn"] = _features(
        "mobilenet_v3_large", f"MobileNet_V3_Large_Weights.{v1}", 1, 3, 6, 12, 16
    )
    table["mobilenet_v3_small_fpn"] = _features(
        "mobilenet_v3_small", f"MobileNet_V3_Small_Weights.{v1}", 0, 1, 3, 8, 12
    )
    for n in range(8):
        table[f"efficientnet_b{n}_fpn"] = _features(
            f"efficientnet_b{n}", f"EfficientNet_B{n}_Weights.{v1}", 1, 2, 3, 5, 8
        )
    for size, last in (("s", 7), ("m", 8), ("l", 8)):
        table[f"efficientnet_v2_{size}_fpn"] = _features(
            f"efficientnet_v2_{size}", f"EfficientNet_V2_{size.upper()}_Weights.{v1}", 1, 2, 3, 5, last
        )
    for size in ("tiny", "small", "base", "large"):
        table[f"convnext_{size}_fpn"] = _features(
            f"convnext_{size}", f"ConvNeXt_{size.title()}_Weights.{v1}", 0, 1, 3, 5, 7
        )
    for kind in ("x", "y"):
        for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf"):
            model = f"regnet_{kind}_{size}"
            enum = f"RegNet_{kind.upper()}_{size.upper()}_Weights"
            table[f"{model}_fpn"] = _regnet(model, f"{enum}.{v1}")
    return table


BACKBONES: dict[str, Backbone] = _table()
"""Backbone name in a spec -> how it is built."""
