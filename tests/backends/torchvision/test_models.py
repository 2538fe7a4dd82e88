from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
import torchvision
from torchvision.models import detection, regnet
from torchvision.models.detection import ssd

from cvtune.backends.torchvision.backbones import BACKBONES
from cvtune.backends.torchvision.build import _channels, _extractor
from cvtune.backends.torchvision.models import (
    BUILDERS,
    MODEL_KWARGS,
    models,
    resolve_model,
    resolve_weights,
)
from cvtune.errors import SpecError, UnsupportedError


@pytest.mark.parametrize("name", BUILDERS)
def test_published_numbers_are_those_of_torchvisions_enums(name: str) -> None:
    builder = BUILDERS[name]
    weights = torchvision.models.get_weight(builder.weights)
    metrics = weights.meta["_metrics"]["COCO-val2017"]
    assert weights in torchvision.models.get_model_weights(name)
    assert weights.url.rsplit("/", 1)[-1] == builder.file
    assert builder.parameters == weights.meta["num_params"]
    assert builder.box_ap == pytest.approx(metrics["box_map"] / 100)
    assert builder.mask_ap == (pytest.approx(metrics["mask_map"] / 100) if "mask_map" in metrics else None)
    assert torchvision.models.get_weight(builder.backbone_weights).url.startswith("https://")


def test_every_builder_of_torchvision_but_keypoints_is_offered() -> None:
    assert set(BUILDERS) == set(torchvision.models.list_models(detection)) - {"keypointrcnn_resnet50_fpn"}
    named = {config for info in models().values() for config in info.backbones.values() if config}
    assert named == set(BUILDERS)


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_weights_exist(name: str) -> None:
    backbone = BACKBONES[name]
    weights = torchvision.models.get_weight(backbone.weights)
    assert weights in torchvision.models.get_model_weights(backbone.model)


@pytest.mark.parametrize("name", BACKBONES)
def test_taps_have_strides_4_8_16_32_and_stages_cover_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device: shapes only, so that the largest are as quick as the smallest."""
    widths = regnet.BlockParams.from_init_params

    def on_the_cpu(*arguments: object, **named: object) -> regnet.BlockParams:
        with torch.device("cpu"):  # RegNet computes its widths with tensors
            return widths(*arguments, **named)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", on_the_cpu)
    with torch.device("meta"):
        extractor = _extractor({"backbone": name, "builder": "compose"}).eval()
        x = torch.zeros(1, 3, 64, 64)
        strides, channels = {}, {}
        for child, module in extractor.named_children():
            if child in ("avgpool", "fc"):
                break
            x = module(x)
            strides[child], channels[child] = 64 // x.shape[-1], x.shape[1]
        backbone = BACKBONES[name]
        assert [strides[tap] for tap in backbone.taps] == [4, 8, 16, 32]
        assert _channels(extractor, backbone.taps) == [channels[tap] for tap in backbone.taps]
    assert len(backbone.stages) == 5
    listed = [module for stage in backbone.stages for module in stage]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(strides)
    for stage, stride in zip(backbone.stages[1:], (4, 8, 16, 32), strict=True):
        assert strides[stage[-1]] == stride
    with_weights = {child for child, module in extractor.named_children() if list(module.parameters())}
    assert with_weights - {"fc"} == {m for m in listed if list(extractor.get_submodule(m).parameters())}


@pytest.mark.parametrize(
    ("family", "cls"),
    [
        ("faster_rcnn", detection.FasterRCNN),
        ("mask_rcnn", detection.MaskRCNN),
        ("retinanet", detection.RetinaNet),
        ("fcos", detection.FCOS),
        ("ssd", ssd.SSD),
        ("ssdlite", ssd.SSD),
    ],
)
def test_arguments_are_those_of_torchvisions_class(family: str, cls: type) -> None:
    modules = {
        "self", "backbone", "num_classes", "kwargs", "anchor_generator", "head", "proposal_matcher",
        "rpn_anchor_generator", "rpn_head", "box_roi_pool", "box_head", "box_predictor",
        "mask_roi_pool", "mask_head", "mask_predictor",
    }  # fmt: skip
    transform = set() if family in ("ssd", "ssdlite") else {"size_divisible", "fixed_size"}
    assert set(MODEL_KWARGS[family]) == set(inspect.signature(cls.__init__).parameters) - modules | transform


@pytest.mark.parametrize(
    ("arguments", "error", "parts"),
    [
        (("faster_rcn",), SpecError, ["model.family", "'faster_rcn'", "did you mean 'faster_rcnn'", "retinanet"]),
        (("faster_rcnn", "resnet50"), SpecError, ["model.backbone", "'resnet50'", "did you mean 'resnet50_fpn'"]),
        (("fcos", "resnet50_fpn_v2"), SpecError, ["model.backbone", "'resnet50_fpn_v2'"]),
        (("ssd", "resnet50_fpn"), SpecError, ["model.backbone", "allowed: vgg16"]),
        ((None, None, "fasterrcnn_resnet50"), SpecError, ["model.zoo", "did you mean 'fasterrcnn_resnet50_fpn'"]),
        (
            (None, None, "keypointrcnn_resnet50_fpn"),
            UnsupportedError,
            ["model.zoo", "torchvision", "nearest: maskrcnn"],
        ),
    ],
)
def test_unknown_names_are_errors_with_the_nearest(
    arguments: tuple[str | None, ...], error: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(error) as caught:
        resolve_model(*arguments)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", BUILDERS)
def test_family_with_backbone_and_zoo_name_the_same_model(name: str) -> None:
    by_zoo = resolve_model(None, zoo=name)
    assert resolve_model(by_zoo.family, by_zoo.backbone) == by_zoo
    assert by_zoo.builder == name


def test_default_backbones_are_official() -> None:
    for info in models().values():
        assert info.backbones[info.default_backbone] is not None
        assert info.published


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("none", "none", None),
        ("coco", "enum", "FasterRCNN_ResNet50_FPN_Weights.COCO_V1"),
        ("imagenet", "enum", "ResNet50_Weights.IMAGENET1K_V1"),
        ("zoo:maskrcnn_resnet50_fpn", "enum", "MaskRCNN_ResNet50_FPN_Weights.COCO_V1"),
        ("https://x.org/a.pth", "url", "https://x.org/a.pth"),
        ("weights/a.pth", "path", "weights/a.pth"),
    ],
)
def test_weights_are_resolved(text: str, kind: str, value: str | None) -> None:
    assert resolve_weights(resolve_model("faster_rcnn"), text) == {"kind": kind, "value": value, "sha256": None}


def test_weights_with_a_hash() -> None:
    found = resolve_weights(resolve_model("fcos"), "https://x.org/a.pth#sha256=" + "aB" * 32)
    assert found == {"kind": "url", "value": "https://x.org/a.pth", "sha256": "ab" * 32}


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("http://x.org/a.pth", SpecError, "only https"),
        ("https://x.org/a.pth#md5=1", SpecError, "#sha256=<64 hex digits>"),
        ("coco", UnsupportedError, "nearest: imagenet"),
    ],
)
def test_weights_that_cannot_be(text: str, error: type[Exception], part: str) -> None:
    with pytest.raises(error, match=r"model\.weights") as caught:
        resolve_weights(resolve_model("faster_rcnn", "resnet18_fpn"), text)
    assert part in str(caught.value)


def test_planning_side_imports_no_torch() -> None:
    code = (
        "import sys; from cvtune.backends import layouts;"
        "from cvtune.backends.torchvision import models, recipes, translate;"
        "print([m for m in ('torch', 'torchvision', 'lightning') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"
