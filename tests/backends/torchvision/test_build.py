from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection import retinanet, ssd
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import FrozenBatchNorm2d

from cvtune.backends.torchvision.build import build_model, stage_modules
from cvtune.backends.torchvision.models import BUILDERS
from cvtune.errors import SpecError

Config = Callable[..., dict[str, Any]]
torch.set_num_threads(1)
_V3_BLOCK_2 = "backbone.features.0.2.block.0.0.weight"

OFFICIAL = [
    ("fasterrcnn_resnet50_fpn", detection.FasterRCNN),
    ("fasterrcnn_resnet50_fpn_v2", detection.FasterRCNN),
    ("fasterrcnn_mobilenet_v3_large_fpn", detection.FasterRCNN),
    ("fasterrcnn_mobilenet_v3_large_320_fpn", detection.FasterRCNN),
    ("maskrcnn_resnet50_fpn", detection.MaskRCNN),
    ("maskrcnn_resnet50_fpn_v2", detection.MaskRCNN),
    ("retinanet_resnet50_fpn", detection.RetinaNet),
    ("retinanet_resnet50_fpn_v2", detection.RetinaNet),
    ("fcos_resnet50_fpn", detection.FCOS),
    ("ssd300_vgg16", ssd.SSD),
    ("ssdlite320_mobilenet_v3_large", ssd.SSD),
]


def _settings(model: nn.Module) -> dict[str, Any]:
    """Everything about a detector that its state dict does not show: thresholds, sizes, epsilons, coders, anchors."""
    plain = (bool, int, float, str, tuple, list, dict)
    found = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            simple = isinstance(value, plain) and not key.startswith("_") and "cell_anchors" not in key
            if simple and not _holds_tensors(value):
                found[f"{name}.{key}"] = _as_lists(value)
            elif type(value).__module__.startswith("torchvision.models.detection"):
                found[f"{name}.{key}"] = sorted((k, v) for k, v in vars(value).items() if isinstance(v, int | float))
    return found


def _holds_tensors(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    return any(isinstance(item, torch.Tensor) for item in items)


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(("builder", "cls"), OFFICIAL)
def test_an_official_config_is_torchvisions_builder(native_config: Config, builder: str, cls: type) -> None:
    """Class, names, shapes, and every setting, with random weights on both sides."""
    config = native_config({"model": {"zoo": builder, "frozen_stages": None, "norm": "batch"}}, classes=5)
    ours = build_model(config)
    classes = config["model"]["num_classes"]
    theirs = getattr(detection, builder)(weights=None, weights_backbone=None, num_classes=classes)
    assert type(ours) is cls
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    mine, other = _settings(ours), _settings(theirs)
    assert mine.keys() == other.keys()
    assert {key: (mine[key], other[key]) for key in mine if mine[key] != other[key]} == {}


def test_every_builder_is_in_the_test_above() -> None:
    assert [name for name, _ in OFFICIAL] == list(BUILDERS)


@pytest.mark.parametrize("builder", ["fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "ssd300_vgg16"])
def test_frozen_parameters_are_those_of_torchvision(
    native_config: Config, builder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the builder with pretrained weights, whose download is replaced by nothing."""
    config = native_config({"model": {"zoo": builder, "weights": "imagenet"}})
    ours = build_model(config)
    module = detection.faster_rcnn if "rcnn" in builder else ssd
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", lambda self, **_: {})
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda self, state, **_: None)
    theirs = getattr(module, builder)(num_classes=config["model"]["num_classes"])
    assert {n: p.requires_grad for n, p in ours.named_parameters()} == {
        n: p.requires_grad for n, p in theirs.named_parameters()
    }
    # Our RoI pooling is torchvision's with a faster gradient.
    kinds = {n: MultiScaleRoIAlign if isinstance(m, MultiScaleRoIAlign) else type(m) for n, m in ours.named_modules()}
    assert kinds == {n: type(m) for n, m in theirs.named_modules()}


@pytest.mark.parametrize(
    ("family", "backbone"),
    [
        ("faster_rcnn", "resnet18_fpn"),
        ("mask_rcnn", "mobilenet_v3_small_fpn"),
        ("retinanet", "mobilenet_v2_fpn"),
        ("fcos", "resnet18_fpn"),
        ("faster_rcnn", "regnet_x_400mf_fpn"),
        ("retinanet", "efficientnet_b0_fpn"),
        ("faster_rcnn", "convnext_tiny_fpn"),
        ("ssdlite", "mobilenet_v3_large"),
    ],
)
def test_losses_are_finite_and_detections_have_our_labels(native_config: Config, family: str, backbone: str) -> None:
    size = {"square": 64} if family == "ssdlite" else {"short": 64, "long": 64}
    native = {} if family == "ssdlite" else {"model": {"fpn": {"channels": 64}}}
    config = native_config(
        {
            "model": {"family": family, "backbone": backbone},
            "data": {"image_size": size},
            "eval": {"score_threshold": 0.0, "model_max_detections": 5},
            "native": native,
        }
    )
    torch.manual_seed(0)
    model = build_model(config)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [20.0, 10.0, 60.0, 50.0]])
    offset = config["model"]["class_offset"]
    targets = [
        {
            "boxes": boxes,
            "labels": torch.tensor([offset, offset + 2]),
            "masks": torch.ones(2, 64, 64, dtype=torch.uint8),
        }
        for _ in range(2)
    ]
    losses = model([torch.rand(3, 64, 64), torch.rand(3, 64, 48)], targets)
    total = torch.stack(list(losses.values())).sum()
    assert torch.isfinite(total)
    total.backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    found = model.eval()([torch.rand(3, 64, 80)])[0]
    assert 0 < len(found["labels"]) <= 5
    assert set(found["labels"].tolist()) <= {offset, offset + 1, offset + 2}


def test_the_first_coco_weights_get_a_batch_norm_without_epsilon(native_config: Config) -> None:
    for family, eps in (("faster_rcnn", 0.0), ("fcos", 1e-5)):
        model = build_model(native_config({"model": {"family": family, "weights": "coco"}}))
        assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {eps}


@pytest.mark.parametrize(
    ("norm", "weights", "in_body", "in_heads"),
    [
        ("batch", "imagenet", nn.BatchNorm2d, nn.BatchNorm2d),
        ("frozen", "imagenet", FrozenBatchNorm2d, nn.BatchNorm2d),  # heads have no statistics to freeze
        ("frozen", "coco", FrozenBatchNorm2d, FrozenBatchNorm2d),
    ],
)
def test_norms(native_config: Config, norm: str, weights: str, in_body: type, in_heads: type) -> None:
    spec = {"zoo": "fasterrcnn_resnet50_fpn_v2", "weights": weights, "norm": norm, "frozen_stages": None}
    model = build_model(native_config({"model": spec}))
    norms = (nn.BatchNorm2d, FrozenBatchNorm2d)
    assert {type(m) for m in model.backbone.body.modules() if isinstance(m, norms)} == {in_body}
    assert {type(m) for m in model.roi_heads.modules() if isinstance(m, norms)} == {in_heads}


def test_sync_norm_in_several_processes(native_config: Config) -> None:
    spec = {"model": {"family": "faster_rcnn", "backbone": "resnet18_fpn", "norm": "sync"}}
    model = build_model(native_config(spec, host="cuda8"))
    kinds = {type(m) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {nn.SyncBatchNorm}


def test_freezing_batch_norm_keeps_its_statistics_and_output() -> None:
    from cvtune.backends.torchvision.norms import freeze_norms

    torch.manual_seed(0)
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3))
    own.train()(torch.rand(4, 3, 8, 8))
    x = torch.rand(1, 3, 8, 8)
    wanted = own.eval()(x)
    frozen = freeze_norms(own).train()
    assert type(frozen[1]) is FrozenBatchNorm2d
    torch.testing.assert_close(frozen(x), wanted)


@pytest.mark.parametrize(
    ("family", "backbone", "stages", "last_frozen", "first_trained"),
    [
        ("faster_rcnn", "resnet18_fpn", 0, "backbone.body.conv1.weight", "backbone.body.layer1.0.conv1.weight"),
        ("fcos", "resnet18_fpn", 2, "backbone.body.layer2.0.conv2.weight", "backbone.body.layer3.0.conv1.weight"),
        ("faster_rcnn", "mobilenet_v2_fpn", 1, "backbone.body.3.conv.2.weight", "backbone.body.4.conv.0.0.weight"),
        ("faster_rcnn", "convnext_tiny_fpn", 1, "backbone.body.1.2.block.5.bias", "backbone.body.2.0.weight"),
        ("ssd", "vgg16", 1, "backbone.features.7.weight", "backbone.features.10.weight"),
        ("ssdlite", "mobilenet_v3_large", 0, "backbone.features.0.1.block.1.0.weight", _V3_BLOCK_2),
    ],
)  # fmt: skip
def test_frozen_stages(
    native_config: Config, family: str, backbone: str, stages: int, last_frozen: str, first_trained: str
) -> None:
    model = build_model(native_config({"model": {"family": family, "backbone": backbone, "frozen_stages": stages}}))
    parameters = dict(model.named_parameters())
    assert not parameters[last_frozen].requires_grad
    assert parameters[first_trained].requires_grad
    names = [name for stage in stage_modules(family, backbone)[: stages + 1] for name in stage]
    frozen = {name for name, p in parameters.items() if not p.requires_grad}
    assert frozen == {n for n in parameters if n.startswith(tuple(f"{name}." for name in names))}
    for name in names:
        assert not [m for m in model.get_submodule(name).modules() if type(m) is nn.BatchNorm2d]


def test_all_stages_of_ssd_cover_its_backbone(native_config: Config) -> None:
    for family, backbone, extra in (
        ("ssd", "vgg16", "backbone.extra."),
        ("ssdlite", "mobilenet_v3_large", "backbone.extra."),
    ):
        model = build_model(native_config({"model": {"family": family, "backbone": backbone, "frozen_stages": 4}}))
        trained = {n for n, p in model.backbone.named_parameters(prefix="backbone") if p.requires_grad}
        assert {n for n in trained if not n.startswith(extra)} <= {"backbone.scale_weight"}


@pytest.mark.parametrize(
    ("size", "training", "evaluation", "batch"),
    [
        ({"short": 64, "long": 128}, {64}, 64, (64, 96)),
        ({"short": 64, "long": 192, "test_short": 96}, {64}, 96, (96, 160)),
        ({"short": [32, 64], "long": 128}, {32, 64}, 64, (64, 96)),
        ({"short": [32, 64], "long": 128, "test_short": 32}, {32, 64}, 32, (32, 64)),
        ({"short": [40, 44], "long": 128, "sampling": "range"}, {40, 41, 42, 43, 44}, 44, (64, 96)),
        ({"square": 96}, {96}, 96, (96, 96)),
        ({"square": 96, "fit": "pad"}, {64}, 64, (96, 96)),
    ],
)
def test_image_sizes(
    native_config: Config, size: dict[str, Any], training: set[int], evaluation: int, batch: tuple[int, int]
) -> None:
    """On an image of 80 x 120 pixels: short sides in training and evaluation, and the padded batch in evaluation."""
    spec = {"model": {"family": "faster_rcnn", "backbone": "resnet18_fpn"}, "data": {"image_size": size}}
    transform = build_model(native_config(spec)).transform
    image, boxes = torch.rand(3, 80, 120), torch.tensor([[0.0, 0.0, 120.0, 80.0]])
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        images, targets = transform([image], [{"boxes": boxes}])
        height, width = images.image_sizes[0]
        seen.add(height)
        torch.testing.assert_close(targets[0]["boxes"], torch.tensor([[0.0, 0.0, width, height]]))
    assert seen == training
    transform.eval()
    images, _ = transform([image])
    assert images.image_sizes[0][0] == evaluation
    assert tuple(images.tensors.shape[-2:]) == batch


@pytest.mark.parametrize(("fit", "inside"), [("stretch", (320, 320)), ("pad", (213, 320))])
def test_ssd_takes_a_square(native_config: Config, fit: str, inside: tuple[int, int]) -> None:
    spec = {"model": {"family": "ssdlite"}, "data": {"image_size": {"square": 320, "fit": fit}}}
    transform = build_model(native_config(spec)).transform
    images, _ = transform([torch.rand(3, 80, 120)])
    assert tuple(images.tensors.shape[-2:]) == (320, 320)
    assert images.image_sizes == [inside]


def test_native_parts_reach_an_official_model(native_config: Config) -> None:
    native = {
        "model": {
            "fpn": {"channels": 64},
            "anchors": {"sizes": [[8], [16], [32], [64], [128]], "aspect_ratios": [1.0]},
            "kwargs": {"rpn_post_nms_top_n_train": 50, "box_batch_size_per_image": 32},
        }
    }
    model = build_model(native_config({"model": {"family": "faster_rcnn"}, "native": native}))
    assert model.backbone.out_channels == 64
    assert model.rpn.anchor_generator.sizes == ((8,), (16,), (32,), (64,), (128,))
    assert model.rpn.head.cls_logits.out_channels == 1
    assert model.rpn._post_nms_top_n["training"] == 50
    assert model.roi_heads.fg_bg_sampler.batch_size_per_image == 32


@pytest.mark.parametrize(
    ("family", "anchors", "part"),
    [
        ("faster_rcnn", {"sizes": [[16], [32]]}, "got 2 lists, but the pyramid has 5 maps"),
        ("faster_rcnn", {"sizes": [[16], [32], [64], [128], [256, 512]]}, "the same number on every map"),
        ("fcos", {"sizes": [[8, 9], [16, 17], [32, 33], [64, 65], [128, 129]]}, "allowed for fcos: 1"),
    ],
)
def test_anchors_that_do_not_fit(native_config: Config, family: str, anchors: dict[str, Any], part: str) -> None:
    spec = {"model": {"family": family, "backbone": "resnet18_fpn"}, "native": {"model": {"anchors": anchors}}}
    with pytest.raises(SpecError, match=r"model\.anchors") as caught:
        build_model(native_config(spec))
    assert part in str(caught.value)


def test_levels_that_are_not_there(native_config: Config) -> None:
    native = {"model": {"fpn": {"levels": ["layer1", "layer9"]}}}
    config = native_config({"model": {"family": "faster_rcnn", "backbone": "resnet18_fpn"}, "native": native})
    with pytest.raises(SpecError, match=r"model\.fpn\.levels: no module 'layer9'"):
        build_model(config)


def test_an_edited_file_with_an_unknown_argument(native_config: Config) -> None:
    config = native_config({"model": {"family": "fcos", "backbone": "resnet18_fpn"}})
    config["model"]["kwargs"]["center_sampling"] = 1.0
    with pytest.raises(SpecError, match=r"model\.kwargs: unknown key.*did you mean 'center_sampling_radius'"):
        build_model(config)


def test_an_ssd_too_small(native_config: Config) -> None:
    spec = {"model": {"family": "ssd"}, "data": {"image_size": {"square": 128}}}
    with pytest.raises(SpecError, match=r"data\.image_size\.square: got 128"):
        build_model(native_config(spec))


def test_retinanets_default_anchors_are_torchvisions(native_config: Config) -> None:
    model = build_model(native_config({"model": {"family": "retinanet", "backbone": "resnet18_fpn"}}))
    assert model.anchor_generator.sizes == retinanet._default_anchorgen().sizes


def test_channels_last_is_applied_to_the_backbone(native_config: Config) -> None:
    config = native_config({"model": {"family": "faster_rcnn", "backbone": "resnet18_fpn"}})
    config["model"]["channels_last"] = True
    model = build_model(config)
    weight = model.backbone.body.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
