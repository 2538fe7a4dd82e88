"""Plan -> config.py: an official LazyConfig and the fewest overrides, each recorded; Detectron2 reads the file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtune.backends.detectron2.lazy.values import from_json
from cvtune.backends.detectron2.translate import translate
from cvtune.backends.detectron2.zoo import checkpoint, is_lazy, left_out, read_official, zoo_names
from cvtune.errors import SpecError, UnsupportedError
from cvtune.plan import Plan

MakePlan = Callable[..., Plan]
FCOS = "COCO-Detection/fcos_R_50_FPN_1x"
REGNET = "COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x"
LSJ = "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ"
LSJ_REGNET = "new_baselines/mask_rcnn_regnety_4gf_dds_FPN_400ep_LSJ"
WRAPPED = "Misc/mmdet_mask_rcnn_R_50_FPN_1x"
HEAD = ("model", "roi_heads")
MMDET = ("model", "detector")
RESIZE = ("dataloader", "train", "mapper", "augmentations", 0)
TEST_RESIZE = ("dataloader", "test", "mapper", "augmentations", 0)
SCHEDULER = ("lr_multiplier", "scheduler")


def lazy_names() -> list[str]:
    return [name for name in zoo_names() if is_lazy(name) and left_out(name) is None]


def own_weights(name: str) -> str:
    """The spec's word for what the official config starts from."""
    content = read_official(name).content
    return "imagenet" if content["train"]["init_checkpoint"] or "detector" in content["model"] else "none"


def test_an_official_config_with_the_official_recipe_changes_nothing_but_data(plan_for: MakePlan) -> None:
    names = lazy_names()
    assert len(names) == 17
    for name in names:
        classes = [f"class {i}" for i in range(80)]
        plan = plan_for(classes, gpus=True, model__zoo=name, model__weights=own_weights(name), train__recipe="official")
        native = translate(plan)
        assert native.file_name == "config.py"
        assert not [o for o in native.overrides if o.kind == "spec"], (name, native.overrides)
        assert {o.key for o in native.overrides} == {f"dataloader.{s}.dataset.names" for s in ("train", "test")}, name
        assert set(native.extras) == {"weights"}, name


def test_detectron2_itself_reads_both_files_and_finds_the_same(plan_for: MakePlan, tmp_path: Path) -> None:
    """Its own LazyConfig.load; the model that it builds has the official one's tensors where nothing was asked."""
    changes: dict[str, dict[str, Any]] = {
        FCOS: {"train__optimizer": {"name": "adamw", "lr": 0.001}, "train__schedule": {"name": "cosine"}},
        REGNET: {"eval__score_threshold": 0.3, "data__augment": [{"Transpose": {}}]},
        LSJ: {"data__image_size": {"short": 256, "long": 320}},
        LSJ_REGNET: {"native": {"model": {"proposal_generator": {"nms_thresh": 0.6}}}},
    }
    for index, (name, asked) in enumerate(changes.items()):
        native = translate(plan_for(model__zoo=name, data__batch_size=2, train__epochs=3, **asked))
        (tmp_path / f"{index}.py").write_text(native.text)
        assert native.delta is not None
        assert len(native.delta) < len(native.text) / 2
        (tmp_path / f"{index}_delta.py").write_text(native.delta)
        classes = [f"{number}" for number in range(80)]
        given = {"model__zoo": name, "model__weights": own_weights(name), "train__recipe": "official"}
        official = translate(plan_for(classes, gpus=True, **given))
        (tmp_path / f"{index}_official.py").write_text(official.text)
    script = f"""
import json
from pathlib import Path
from cvtune.backends.detectron2.lazy.reader import read
from cvtune.backends.detectron2.lazy.values import to_json
from cvtune.backends.detectron2.probe import install_kernels
install_kernels()
from detectron2.config import LazyConfig, instantiate
from cvtune.backends.detectron2.zoo import config_path
found = {{}}
for index, name in enumerate({list(changes)}):
    whole, short = read(Path(f"{tmp_path}/{{index}}.py")), read(Path(f"{tmp_path}/{{index}}_delta.py"))
    assert to_json(whole) == to_json(short), name
    found[name] = to_json(whole)
    shapes = []
    for path in (f"{tmp_path}/{{index}}_official.py", str(config_path(name))):
        model = instantiate(LazyConfig.load(path).model)
        shapes.append([(key, value.shape) for key, value in model.state_dict().items()])
    assert shapes[0] == shapes[1], name
json.dump(found, open("{tmp_path}/found.json", "w"))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = from_json(json.loads((tmp_path / "found.json").read_text()))
    assert found[FCOS]["optimizer"]["_target_"] == "torch.optim.AdamW"
    assert "momentum" not in found[FCOS]["optimizer"]
    assert found[LSJ]["dataloader"]["train"]["mapper"]["augmentations"][1]["crop_size"] == [320, 320]
    assert found[LSJ_REGNET]["model"]["proposal_generator"]["nms_thresh"] == 0.6


@pytest.mark.parametrize(
    ("name", "changes", "expected", "asked_by"),
    [
        (FCOS, {}, {("model", "num_classes"): 3}, "data.classes"),
        (LSJ, {}, {(*HEAD, "num_classes"): 3}, "data.classes"),
        (FCOS, {}, {("train", "device"): "cpu"}, "run.device"),
        (
            FCOS,
            {"data__batch_size": 4, "train__recipe": "official"},
            {("dataloader", "train", "total_batch_size"): 4, ("optimizer", "lr"): 0.0025},
            "data.batch_size",
        ),
        (
            FCOS,
            {"train__epochs": 12, "data__batch_size": 2},
            {
                ("train", "max_iter"): 1200,
                (*SCHEDULER, "milestones"): [800, 1067],
                (*SCHEDULER, "num_updates"): 1200,
                ("lr_multiplier", "warmup_length"): 0.1,
            },
            "train.epochs",
        ),
        (
            LSJ,
            {"train__epochs": 12, "data__batch_size": 2},
            {("train", "max_iter"): 1200, (*SCHEDULER, "num_updates"): 1200},
            "train.epochs",
        ),
        (
            FCOS,
            {"train__schedule": {"name": "cosine", "min_lr": 0.0001}, "train__optimizer": {"lr": 0.01}},
            {
                SCHEDULER: {
                    "_target_": "fvcore.common.param_scheduler.CosineParamScheduler",
                    "start_value": 1.0,
                    "end_value": 0.01,
                }
            },
            "train.schedule.name",
        ),
        (
            FCOS,
            {"train__schedule": {"name": "constant"}},
            {(*SCHEDULER, "milestones"): [], (*SCHEDULER, "values"): [1.0]},
            "train.schedule.name",
        ),
        (
            FCOS,
            {"data__keep_empty_images": True},
            {("dataloader", "train", "dataset", "filter_empty"): False},
            "data.keep_empty_images",
        ),
        (
            FCOS,
            {"model__frozen_stages": 0},
            {("model", "backbone", "bottom_up", "freeze_at"): 1},
            "model.frozen_stages",
        ),
        (
            LSJ_REGNET,
            {"model__frozen_stages": 1},
            {("model", "backbone", "bottom_up", "freeze_at"): 2},
            "model.frozen_stages",
        ),
        (
            REGNET,
            {"model__norm": "batch"},
            {("model", "backbone", "bottom_up", "norm"): "BN"},
            "model.norm",
        ),
        (
            LSJ,
            {"model__norm": "sync"},
            {
                ("model", "backbone", "bottom_up", "stem", "norm"): "BN",
                ("model", "backbone", "bottom_up", "stages", "norm"): "BN",
                ("model", "backbone", "norm"): "BN",
                (*HEAD, "box_head", "conv_norm"): "BN",
                (*HEAD, "mask_head", "conv_norm"): "BN",
            },
            "run.devices",
        ),
        (
            FCOS,
            {"data__image_size": {"short": [480, 640], "sampling": "range"}},
            {
                (*RESIZE, "short_edge_length"): [480, 640],
                (*RESIZE, "max_size"): 1066,
                (*TEST_RESIZE, "short_edge_length"): 640,
                (*TEST_RESIZE, "max_size"): 1066,
            },
            "data.image_size.short",
        ),
        (
            LSJ,
            {"data__image_size": {"square": 512, "fit": "pad"}},
            {
                (*RESIZE, "target_height"): 512,
                (*RESIZE, "target_width"): 512,
                ("dataloader", "train", "mapper", "augmentations", 1, "crop_size"): [512, 512],
                (*TEST_RESIZE, "short_edge_length"): 512,
                (*TEST_RESIZE, "max_size"): 512,
            },
            "data.image_size.square",
        ),
        (
            LSJ,
            {"rle_masks": 2},
            {("dataloader", "train", "mapper", "instance_mask_format"): "bitmask"},
            "data.train",
        ),
        (FCOS, {"eval__score_threshold": 0.3}, {("model", "test_score_thresh"): 0.3}, "eval.score_threshold"),
        (
            FCOS,
            {"eval__model_max_detections": 7},
            {("model", "max_detections_per_image"): 7},
            "eval.model_max_detections",
        ),
        (LSJ, {"eval__nms_iou": 0.6}, {(*HEAD, "box_predictor", "test_nms_thresh"): 0.6}, "eval.nms_iou"),
        (FCOS, {"eval__every_epochs": 2, "data__batch_size": 2}, {("train", "eval_period"): 200}, "eval.every_epochs"),
        (
            WRAPPED,
            {},
            {(*MMDET, "roi_head", head, "num_classes"): 3 for head in ("bbox_head", "mask_head")},
            "data.classes",
        ),
        (WRAPPED, {"eval__nms_iou": 0.6}, {(*MMDET, "test_cfg", "rcnn", "nms", "iou_threshold"): 0.6}, "eval.nms_iou"),
        (WRAPPED, {"model__frozen_stages": 2}, {(*MMDET, "backbone", "frozen_stages"): 2}, "model.frozen_stages"),
        (FCOS, {"train__seed": 5}, {("train", "seed"): 5}, "train.seed"),
        (
            FCOS,
            {"native": {"model": {"center_sampling_radius": 2.5}}},
            {("model", "center_sampling_radius"): 2.5},
            "native",
        ),
    ],
)
def test_a_field_reaches_its_key_and_is_recorded(
    name: str, changes: dict[str, Any], expected: dict[tuple[Any, ...], Any], asked_by: str, plan_for: MakePlan
) -> None:
    native = translate(plan_for(**{"model__zoo": name, "data__batch_size": 16, **changes}))
    recorded = {override.key: override for override in native.overrides}
    for path, value in expected.items():
        key = ".".join(map(str, path))
        assert recorded[key].value == value, key
        assert recorded[key].asked_by == asked_by


def test_augmentation_takes_the_place_of_the_flip_and_of_nothing_else(plan_for: MakePlan) -> None:
    native = translate(plan_for(model__zoo=LSJ, data__batch_size=2, data__augment=[{"Transpose": {}}]))
    (steps,) = [o.value for o in native.overrides if o.key == "dataloader.train.mapper.augmentations"]
    assert [step["_target_"].rsplit(".", 1)[-1] for step in steps] == ["ResizeScale", "FixedSizeCrop"]
    assert any(o.key.endswith("instance_mask_format") and o.value == "bitmask" for o in native.overrides)
    assert set(native.extras) == {"weights", "data.augment"}


def test_gpus_leave_the_device_the_precision_and_sync_norms_alone(plan_for: MakePlan) -> None:
    native = translate(plan_for(model__zoo=LSJ, gpus=True, data__batch_size=128, train__recipe="official"))
    assert "lambda c: NaiveSyncBatchNorm(c, stats_mode='N')" in native.text
    assert "from detectron2.layers.batch_norm import NaiveSyncBatchNorm" in native.text
    assert not {"train.device", "train.amp.enabled"} & {o.key for o in native.overrides}


def test_weights_bring_the_way_images_are_fed_to_them(plan_for: MakePlan) -> None:
    plan = plan_for(model__family="fcos", model__backbone="resnet18_fpn", model__weights="imagenet", data__batch_size=2)
    native = translate(plan)
    keys = {o.key: o.value for o in native.overrides}
    assert keys["dataloader.train.mapper.image_format"] == "RGB"
    assert keys["model.pixel_std"] == [58.395, 57.12, 57.375]
    assert keys["model.backbone.bottom_up.stages.depth"] == 18
    assert keys["model.backbone.bottom_up.stages.stride_in_1x1"] is None
    assert native.extras["weights"]["value"].endswith("resnet18-f37072fd.pth")


@pytest.mark.parametrize("kind", ["x", "y"])
def test_regnets_start_from_their_published_detectors_or_from_pycls(kind: str, plan_for: MakePlan) -> None:
    backbone = f"regnet{kind}_4gf_fpn"
    for weights, part in (("coco", f"mask_rcnn_regnet{kind}_4gf_dds_FPN_400ep_LSJ/42"), ("imagenet", "/pycls/")):
        plan = plan_for(model__family="mask_rcnn", model__backbone=backbone, model__weights=weights, data__batch_size=2)
        native = translate(plan)
        assert part in native.extras["weights"]["value"]
        assert plan["model.config"] == f"new_baselines/mask_rcnn_regnet{kind}_4gf_dds_FPN_400ep_LSJ"
        assert not [o for o in native.overrides if "pixel" in o.key or "format" in o.key]


def test_a_regnet_of_the_zoo_starts_from_pycls_too(plan_for: MakePlan) -> None:
    native = translate(plan_for(model__zoo=LSJ_REGNET, model__weights="imagenet", data__batch_size=2))
    assert native.extras["weights"]["value"].endswith("160906838/RegNetY-4.0GF_dds_8gpu.pyth")
    assert native.extras["weights"]["scope"] == "backbone"


def test_coco_is_the_published_checkpoint_where_there_is_one(plan_for: MakePlan) -> None:
    published = 0
    for name in lazy_names():
        if checkpoint(name):
            native = translate(plan_for(model__zoo=name, model__weights="coco", data__batch_size=2))
            assert name in native.extras["weights"]["value"]
            published += 1
        else:
            with pytest.raises(UnsupportedError, match="publishes no checkpoint for"):
                plan_for(model__zoo=name, model__weights="coco", data__batch_size=2)
    assert published == 12


@pytest.mark.parametrize(
    ("name", "changes", "fragments"),
    [
        (LSJ, {"data__image_size": {"short": [480, 640]}}, ["jitter", "nearest: short: 640"]),
        (LSJ, {"data__image_size": {"square": 320, "fit": "stretch"}}, ["cannot stretch", "fit: pad"]),
        (LSJ, {"train__precision": "fp16"}, ["on a CPU", "nearest: fp32"]),
        (LSJ, {"model__weights": "imagenet"}, ["does not start from ImageNet weights (but from nothing)"]),
        (WRAPPED, {"model__norm": "batch"}, ["model.norm", "nearest: official, or backend mmdet"]),
        (FCOS, {"data__crowd": "ignore"}, ["data.crowd", "nearest: official"]),
    ],
)
def test_what_a_lazy_config_cannot_do_is_refused_with_the_nearest(
    name: str, changes: dict[str, Any], fragments: list[str], plan_for: MakePlan
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        translate(plan_for(**{"model__zoo": name, "data__batch_size": 2, **changes}))
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_part_that_is_code_may_be_replaced_by_native(plan_for: MakePlan) -> None:
    head = {"conv_norm": "GN"}
    bottom_up = {"_target_": "detectron2.modeling.backbone.resnet.ResNet", "freeze_at": 0}
    asked = {"model": {"roi_heads": {"box_head": head}, "backbone": {"bottom_up": bottom_up}}}
    native = translate(plan_for(model__zoo=LSJ_REGNET, gpus=True, data__batch_size=64, native=asked))
    recorded = {override.key: override for override in native.overrides}
    json.dumps([vars(override) for override in native.overrides])
    assert recorded["model.roi_heads.box_head.conv_norm"].official.startswith("lambda c: NaiveSync")
    assert recorded["model.backbone.bottom_up"].official["block_class"] == "ResBottleneckBlock"
    assert recorded["model.backbone.bottom_up"].value == bottom_up


@pytest.mark.parametrize(
    ("native", "fragments"),
    [
        ({"modle": {}}, ["native.modle", "did you mean 'model'"]),
        ({"train": {"max_itr": 3}}, ["native.train.max_itr", "did you mean 'max_iter'"]),
        ({"model": {"backbone": 3}}, ["native.model.backbone", "a mapping is needed"]),
        ({"train": {"init_checkpoint": "x"}}, ["set model.weights instead"]),
        ({"model": {"num_classes": 7}}, ["set data.classes instead"]),
        ({"train": {"max_iter": 7}}, ["set train.iterations instead"]),
        ({"lr_multiplier": {"scheduler": {"values": [1.0]}}}, ["set train.schedule instead"]),
    ],
)
def test_native_keys_are_held_to_the_configs_own(
    native: dict[str, Any], fragments: list[str], plan_for: MakePlan
) -> None:
    with pytest.raises(SpecError) as caught:
        translate(plan_for(model__zoo=FCOS, data__batch_size=2, native=native))
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)
    assert "\n" not in str(caught.value)


def test_translating_imports_no_framework(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="fcos", data__batch_size=2)
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    script = f"""
import json, sys
from cvtune.backends import load_backend
from cvtune.plan import Plan
load_backend("detectron2").translate(Plan.from_json(json.load(open("{tmp_path}/plan.json"))))
assert not {{"torch", "detectron2", "fvcore", "omegaconf"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
