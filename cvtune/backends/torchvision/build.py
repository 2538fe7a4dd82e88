"""config.yaml -> a torchvision detector: torchvision's own classes and modules, without weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torchvision
import yaml
from torch import nn
from torchvision.models import detection
from torchvision.models.detection import _utils as detection_utils
from torchvision.models.detection import ssd, ssdlite
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from cvtune.backends.torchvision.backbones import BACKBONES, Backbone
from cvtune.backends.torchvision.ignore import ignore_crowds
from cvtune.backends.torchvision.models import BUILDERS
from cvtune.backends.torchvision.native import check_kwargs
from cvtune.backends.torchvision.norms import freeze, freeze_norms, set_frozen_eps
from cvtune.backends.torchvision.resize import fit_transform
from cvtune.backends.torchvision.roi_pool import use_fast_roi_align
from cvtune.errors import SpecError
from cvtune.runs import RunDir

__all__ = ["build_model", "read_config", "stage_modules"]

_CLASSES = {
    "faster_rcnn": detection.FasterRCNN,
    "mask_rcnn": detection.MaskRCNN,
    "retinanet": detection.RetinaNet,
    "fcos": detection.FCOS,
}
_TWO_STAGE = {"faster_rcnn", "mask_rcnn"}
_BODIES = {"resnet50_fpn_v2": "resnet50_fpn", "mobilenet_v3_large_320_fpn": "mobilenet_v3_large_fpn"}
_POOLED_LEVELS = 4  # torchvision's default RoI pools look for pyramid levels "0" to "3"
_ROI_SIZES = {"box": 7, "mask": 14}
# conv1_1 to conv4_3 and conv5 of VGG-16 in torchvision's SSD extractor.
_VGG_STAGES = ((0, 4), (4, 9), (9, 16), (16, 23))
_FILL_IN = 16  # pixels; an image this small is enough to read channel counts off a backbone


def read_config(run: RunDir) -> dict[str, Any]:
    """The native config in the run directory."""
    config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    assert isinstance(config, dict)
    return config


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """Build the detector of a native config, in training mode, on the CPU, with random weights.

    Args:
        config: config.yaml as `translate` writes it; `model`, `weights.scope`, `data.image_size` and `data.crowd`
            are read.

    Returns:
        FasterRCNN, MaskRCNN, RetinaNet, FCOS or SSD of torchvision; for an official builder with the builder's
        state-dict names (less `num_batches_tracked` where batch norm is frozen).

    Raises:
        SpecError: an argument that the class does not know, or anchors that do not fit the pyramid.
    """
    section = config["model"]
    check_kwargs(section["kwargs"], section["family"], "model.kwargs")
    kwargs = {name: _tuples(value) for name, value in section["kwargs"].items()}
    is_ssd = section["family"] in ("ssd", "ssdlite")
    model: nn.Module = _ssd(section, kwargs) if is_ssd else _with_pyramid(section, kwargs)
    _set_norms(model, section, config["weights"]["scope"])
    if section["frozen_stages"] is not None:
        stages = stage_modules(section["family"], section["backbone"])
        freeze(model, [name for stage in stages[: section["frozen_stages"] + 1] for name in stage])
    if section["norm_eps"] is not None:
        set_frozen_eps(model, float(section["norm_eps"]))
    fit_transform(model, config["data"]["image_size"])
    if config["data"]["crowd"] == "ignore":
        ignore_crowds(model)
    use_fast_roi_align(model)
    if section["channels_last"]:
        model.backbone.to(memory_format=torch.channels_last)
    return model.train()


def stage_modules(family: str, backbone: str) -> list[list[str]]:
    """Modules of the detector by stage: the stem, then strides 4, 8, 16, 32; what `frozen_stages` counts."""
    if family == "ssd":
        stages = [[f"backbone.features.{i}" for i in range(a, b)] for a, b in _VGG_STAGES]
        return [*stages, [f"backbone.extra.0.{i}" for i in range(7)]]
    if family == "ssdlite":
        # torchvision splits MobileNetV3 inside block 13, whose expansion still has stride 16.
        ends = (1, 3, 6, 12)
        starts = (0, 2, 4, 7)
        stages = [[f"backbone.features.0.{i}" for i in range(a, b + 1)] for a, b in zip(starts, ends, strict=True)]
        return [*stages, ["backbone.features.0.13", "backbone.features.1"]]
    body = _body(backbone)
    return [[f"backbone.body.{name}" for name in stage] for stage in body.stages]


def _body(backbone: str) -> Backbone:
    return BACKBONES[_BODIES.get(backbone, backbone)]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _with_pyramid(section: Mapping[str, Any], kwargs: dict[str, Any]) -> Any:
    """R-CNN, RetinaNet and FCOS: a classifier's stages, a pyramid, the family's heads."""
    family, fpn = section["family"], section["fpn"]
    v2 = section["builder"] != "compose" and BUILDERS[section["builder"]].is_v2
    backbone = _pyramid(section, v2)
    maps = len(fpn["levels"]) + (1 if family in _TWO_STAGE else 2)
    anchors = _anchors(section, maps)
    classes, channels = section["num_classes"], fpn["channels"]
    if family == "fcos":
        return detection.FCOS(backbone, classes, anchor_generator=anchors, **kwargs)
    if family == "retinanet":
        if v2:
            head = RetinaNetHead(
                channels, anchors.num_anchors_per_location()[0], classes, norm_layer=partial(nn.GroupNorm, 32)
            )
            head.regression_head._loss_type = "giou"
            kwargs["head"] = head
        return detection.RetinaNet(backbone, classes, anchor_generator=anchors, **kwargs)
    if len(fpn["levels"]) > _POOLED_LEVELS:
        names = [str(i) for i in range(len(fpn["levels"]))]
        kwargs["box_roi_pool"] = MultiScaleRoIAlign(names, output_size=_ROI_SIZES["box"], sampling_ratio=2)
        if family == "mask_rcnn":
            kwargs["mask_roi_pool"] = MultiScaleRoIAlign(names, output_size=_ROI_SIZES["mask"], sampling_ratio=2)
    if v2:
        kwargs["rpn_head"] = RPNHead(channels, anchors.num_anchors_per_location()[0], conv_depth=2)
        kwargs["box_head"] = FastRCNNConvFCHead((channels, 7, 7), [256] * 4, [1024], norm_layer=nn.BatchNorm2d)
        if family == "mask_rcnn":
            kwargs["mask_head"] = MaskRCNNHeads(channels, [256] * 4, 1, norm_layer=nn.BatchNorm2d)
    return _CLASSES[family](backbone, classes, rpn_anchor_generator=anchors, **kwargs)


def _pyramid(section: Mapping[str, Any], v2: bool) -> Any:
    fpn, family = section["fpn"], section["family"]
    extractor = _extractor(section)
    known = dict(extractor.named_children())
    for level in fpn["levels"]:
        if level not in known:
            raise SpecError(
                f"model.fpn.levels: no module {level!r} in {section['backbone']}; allowed: {', '.join(known)}"
            )
    taps = {level: str(i) for i, level in enumerate(fpn["levels"])}
    counts = _channels(extractor, fpn["levels"])
    channels = int(fpn["channels"])
    top = LastLevelMaxPool() if family in _TWO_STAGE else LastLevelP6P7(counts[-1] if v2 else channels, channels)
    norm = nn.BatchNorm2d if v2 and family in _TWO_STAGE else None
    return BackboneWithFPN(extractor, taps, counts, channels, extra_blocks=top, norm_layer=norm)


def _extractor(section: Mapping[str, Any]) -> Any:
    """The classifier's part that a pyramid taps; children are named as `Backbone.taps` has them."""
    body = _body(section["backbone"])
    # torchvision's own detectors give every norm layer its default epsilon; others keep what their weights expect.
    own = {} if section["builder"] == "compose" else {"norm_layer": nn.BatchNorm2d}
    classifier = getattr(torchvision.models, body.model)(weights=None, **own)
    if body.container == "whole":
        return classifier
    if body.container == "features":
        return classifier.features
    blocks = OrderedDict(classifier.trunk_output.named_children())
    return nn.Sequential(OrderedDict([("stem", classifier.stem), *blocks.items()]))


@torch.no_grad()
def _channels(extractor: nn.Module, levels: Sequence[str]) -> list[int]:
    """Channels of each level, read off one tiny image."""
    training = extractor.training
    extractor.eval()
    x = torch.zeros(1, 3, _FILL_IN * 4, _FILL_IN * 4)
    counts: dict[str, int] = {}
    for name, child in extractor.named_children():
        x = child(x)
        counts[name] = x.shape[1]
        if len(counts.keys() & set(levels)) == len(levels):
            break
    extractor.train(training)
    return [counts[level] for level in levels]


def _anchors(section: Mapping[str, Any], maps: int) -> AnchorGenerator:
    """The config's anchors, or the defaults of torchvision's builders.

    Raises:
        SpecError: another number of sizes than feature maps, or more than one anchor a place for FCOS.
    """
    family, given = section["family"], section["anchors"]
    if given is None:
        sizes = _default_sizes(family, maps)
        ratios: tuple[float, ...] = (1.0,) if family == "fcos" else (0.5, 1.0, 2.0)
        return AnchorGenerator(sizes, (ratios,) * maps)
    sizes = tuple(tuple(size) if isinstance(size, list) else (size,) for size in given["sizes"])
    listed = given.get("aspect_ratios") or ([1.0] if family == "fcos" else [0.5, 1.0, 2.0])
    per_map = tuple(map(tuple, listed)) if isinstance(listed[0], list) else (tuple(listed),) * maps
    for name, count in (("sizes", len(sizes)), ("aspect_ratios", len(per_map))):
        if count != maps:
            raise SpecError(f"model.anchors.{name}: got {count} lists, but the pyramid has {maps} maps; give one a map")
    places = {len(size) * len(ratio) for size, ratio in zip(sizes, per_map, strict=True)}
    if len(places) > 1 or (family == "fcos" and places != {1}):
        allowed = "1" if family == "fcos" else "the same number"
        raise SpecError(
            f"model.anchors: got {sorted(places)} anchors a place; allowed for {family}: {allowed} on every map"
        )
    return AnchorGenerator(sizes, per_map)


def _default_sizes(family: str, maps: int) -> tuple[tuple[int, ...], ...]:
    if family == "fcos":
        return tuple((8 << i,) for i in range(maps))
    if family == "retinanet":
        return tuple(tuple(int((32 << i) * 2 ** (k / 3)) for k in range(3)) for i in range(maps))
    if maps == 5:
        return tuple((32 << i,) for i in range(5))
    return ((32, 64, 128, 256, 512),) * maps


def _ssd(section: Mapping[str, Any], kwargs: dict[str, Any]) -> Any:
    """SSD with VGG-16 or MobileNetV3, put together as torchvision's builders do, at any square size that fits."""
    size, classes = kwargs.pop("size"), section["num_classes"]
    if section["family"] == "ssd":
        backbone = ssd._vgg_extractor(torchvision.models.vgg16(weights=None), False, 5)
        official = tuple(size) == (300, 300)
        boxes = DefaultBoxGenerator(
            [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
            # At other sizes the steps follow from the feature maps.
            steps=[8, 16, 32, 64, 100, 300] if official else None,
        )
        _out_channels(backbone, size)
        return ssd.SSD(backbone, boxes, size, classes, **kwargs)
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    body = torchvision.models.mobilenet_v3_large(
        weights=None, norm_layer=norm, reduced_tail=bool(section["reduced_tail"])
    )
    ssdlite._normal_init(body)
    backbone = ssdlite._mobilenet_extractor(body, 6, norm)
    boxes = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95)
    head = ssdlite.SSDLiteHead(_out_channels(backbone, size), boxes.num_anchors_per_location(), classes, norm)
    return ssd.SSD(backbone, boxes, size, classes, head=head, **kwargs)


def _out_channels(backbone: nn.Module, size: tuple[int, int]) -> list[int]:
    try:
        return list(detection_utils.retrieve_out_channels(backbone, size))
    except RuntimeError as error:
        raise SpecError(
            f"data.image_size.square: got {size[0]}; too small for this SSD's six feature maps; use 300 or more"
        ) from error


def _set_norms(model: nn.Module, section: Mapping[str, Any], scope: str | None) -> None:
    """Frozen statistics make sense only where the weights bring some: the whole detector, or the body alone."""
    norm = section["norm"]
    if norm == "frozen":
        if scope == "detector":
            freeze_norms(model)
        else:
            backbone = model.backbone
            for name in ("body", "features"):
                if hasattr(backbone, name):
                    freeze_norms(getattr(backbone, name))
    elif norm == "sync":
        for name, child in list(model.named_children()):
            setattr(model, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
    elif norm != "batch":
        raise SpecError(f"model.norm: got {norm!r}; allowed in the native file: frozen, batch, sync")
