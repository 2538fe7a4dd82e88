"""Plan -> Detectron2's config: the official one and the fewest overrides, each recorded."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cvtune.backends.base import NativeConfig
from cvtune.backends.detectron2.fields import FIELDS
from cvtune.backends.detectron2.native import checked
from cvtune.backends.detectron2.translate import translate
from cvtune.backends.detectron2.zoo import is_lazy, left_out, read_official, zoo_names
from cvtune.errors import SpecError, UnsupportedError
from cvtune.plan import Plan

MakePlan = Callable[..., Plan]
R50 = "COCO-Detection/faster_rcnn_R_50_FPN_1x"


def read(native: NativeConfig) -> dict[str, Any]:
    return checked(yaml.safe_load(native.text))


def at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def keys(native: NativeConfig) -> set[str]:
    return {override.key for override in native.overrides}


def own_weights(name: str) -> str:
    """The spec's word for what the official config starts from."""
    weights = read_official(name).content["MODEL"]["WEIGHTS"]
    if not weights:
        return "none"
    return "imagenet" if "ImageNetPretrained" in weights else "zoo:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"


def test_an_official_yaml_config_with_the_official_recipe_changes_nothing_but_data(plan_for: MakePlan) -> None:
    tried = 0
    for name in zoo_names():
        if left_out(name) or is_lazy(name):
            continue
        content = read_official(name).content
        classes = [f"class {i}" for i in range(content["MODEL"]["ROI_HEADS"]["NUM_CLASSES"])]
        weights = own_weights(name)
        native = translate(
            plan_for(classes, gpus=True, model__zoo=name, model__weights=weights, train__recipe="official")
        )
        assert not [o for o in native.overrides if o.kind == "spec"], (name, native.overrides)
        assert {o.key for o in native.overrides} <= {
            *("DATASETS.TRAIN", "DATASETS.TEST", "DATALOADER.SAMPLER_TRAIN", "MODEL.RETINANET.NUM_CLASSES"),
        }, name
        assert set(native.extras) == {"weights"}, name
        tried += 1
    assert tried == 46


def test_detectron2_itself_reads_both_files_and_finds_the_same(plan_for: MakePlan, tmp_path: Path) -> None:
    names = [
        R50,
        "COCO-Detection/retinanet_R_50_FPN_1x",
        "Misc/cascade_mask_rcnn_R_50_FPN_3x",
        "Misc/mask_rcnn_R_50_FPN_3x_gn",
    ]
    for index, name in enumerate(names):
        native = translate(plan_for(model__zoo=name, data__batch_size=2, train__epochs=3))
        (tmp_path / f"{index}.yaml").write_text(native.text)
        assert native.delta is not None
        assert len(native.delta) < len(native.text) / 3
        (tmp_path / f"{index}_delta.yaml").write_text(native.delta)
    script = f"""
import json
from detectron2.config import get_cfg
from cvtune.backends.detectron2.zoo import plain
for index in range({len(names)}):
    whole, short = get_cfg(), get_cfg()
    whole.merge_from_file(f"{tmp_path}/{{index}}.yaml", allow_unsafe=False)
    short.merge_from_file(f"{tmp_path}/{{index}}_delta.yaml")
    # A tuple of tuples comes back as a tuple of lists.
    assert json.dumps(plain(whole)) == json.dumps(plain(short)), index
    assert whole.MODEL.DEVICE == "cpu"
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("changes", "expected", "asked_by"),
    [
        ({}, {"MODEL.ROI_HEADS.NUM_CLASSES": 3, "MODEL.RETINANET.NUM_CLASSES": 3}, "data.classes"),
        ({}, {"MODEL.DEVICE": "cpu"}, "run.device"),
        ({"data__batch_size": 4}, {"SOLVER.IMS_PER_BATCH": 4, "SOLVER.BASE_LR": 0.005}, "data.batch_size"),
        (
            {"train__epochs": 12, "data__batch_size": 2},
            {"SOLVER.MAX_ITER": 1200, "SOLVER.STEPS": (800, 1067), "SOLVER.WARMUP_ITERS": 120},
            "train.epochs",
        ),
        ({"train__iterations": 90}, {"SOLVER.MAX_ITER": 90}, "train.iterations"),
        ({"data__keep_empty_images": True}, {"DATALOADER.FILTER_EMPTY_ANNOTATIONS": False}, "data.keep_empty_images"),
        ({"model__frozen_stages": 0}, {"MODEL.BACKBONE.FREEZE_AT": 1}, "model.frozen_stages"),
        ({"model__frozen_stages": None}, {"MODEL.BACKBONE.FREEZE_AT": 0}, "model.frozen_stages"),
        ({"model__frozen_stages": 3}, {"MODEL.BACKBONE.FREEZE_AT": 4}, "model.frozen_stages"),
        ({"model__frozen_stages": 4}, {"MODEL.BACKBONE.FREEZE_AT": 5}, "model.frozen_stages"),
        ({"model__norm": "batch"}, {"MODEL.RESNETS.NORM": "BN"}, "model.norm"),
        ({"model__norm": "sync"}, {"MODEL.RESNETS.NORM": "BN"}, "run.devices"),
        (
            {"data__image_size": {"short": [480, 640], "sampling": "range"}},
            {
                "INPUT.MIN_SIZE_TRAIN": (480, 640),
                "INPUT.MAX_SIZE_TRAIN": 1066,
                "INPUT.MIN_SIZE_TEST": 640,
                "INPUT.MAX_SIZE_TEST": 1066,
            },
            "data.image_size.short",
        ),
        (
            {"data__image_size": {"short": [480, 640], "sampling": "range"}},
            {"INPUT.MIN_SIZE_TRAIN_SAMPLING": "range"},
            "data.image_size.sampling",
        ),
        (
            {"data__image_size": {"square": 320, "fit": "pad"}},
            {"INPUT.MIN_SIZE_TRAIN": (320,), "INPUT.MAX_SIZE_TRAIN": 320, "INPUT.MIN_SIZE_TEST": 320},
            "data.image_size.square",
        ),
        ({"eval__score_threshold": 0.2}, {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.2}, "eval.score_threshold"),
        ({"eval__nms_iou": 0.6}, {"MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.6}, "eval.nms_iou"),
        ({"eval__model_max_detections": 7}, {"TEST.DETECTIONS_PER_IMAGE": 7}, "eval.model_max_detections"),
        ({"eval__every_epochs": 2, "data__batch_size": 2}, {"TEST.EVAL_PERIOD": 200}, "eval.every_epochs"),
        ({"train__seed": 5}, {"SEED": 5}, "train.seed"),
        ({"data__augment": [{"Transpose": {}}]}, {"INPUT.RANDOM_FLIP": "none"}, "data.augment"),
        (
            {"train__schedule": {"name": "cosine", "warmup_iterations": 7}},
            {"SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR"},
            "train.schedule.name",
        ),
        ({"train__schedule": {"warmup_iterations": 7}}, {"SOLVER.WARMUP_ITERS": 7}, "train.schedule.warmup_iterations"),
        ({"train__schedule": {"name": "constant"}}, {"SOLVER.STEPS": ()}, "train.schedule.name"),
        ({"native": {"MODEL": {"RPN": {"NMS_THRESH": 0.5}}}}, {"MODEL.RPN.NMS_THRESH": 0.5}, "native"),
    ],
)
def test_a_field_reaches_its_key_and_is_recorded(
    changes: dict[str, Any], expected: dict[str, Any], asked_by: str, plan_for: MakePlan
) -> None:
    native = translate(plan_for(**{"model__zoo": R50, "model__weights": "imagenet", "data__batch_size": 16, **changes}))
    config = read(native)
    for key, value in expected.items():
        assert at(config, key) == value, key
        (record,) = [o for o in native.overrides if o.key == key]
        assert record.asked_by == asked_by
        assert record.official == at(yaml_lists(read_official(R50).content), key)


def yaml_lists(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: yaml_lists(value) for key, value in node.items()}
    return [yaml_lists(item) for item in node] if isinstance(node, list | tuple) else node


def test_retinanets_thresholds_are_its_own(plan_for: MakePlan) -> None:
    native = translate(plan_for(model__family="retinanet", data__batch_size=2, eval__score_threshold=0.3))
    assert read(native)["MODEL"]["RETINANET"]["SCORE_THRESH_TEST"] == 0.3
    assert "MODEL.ROI_HEADS.SCORE_THRESH_TEST" not in keys(native)


def test_gpus_leave_the_device_and_sync_norms_alone(plan_for: MakePlan) -> None:
    native = translate(plan_for(model__zoo="Misc/mask_rcnn_R_50_FPN_3x_syncbn", gpus=True, data__batch_size=128))
    assert read(native)["MODEL"]["FPN"]["NORM"] == "SyncBN"
    assert "MODEL.DEVICE" not in keys(native)
    alone = read(translate(plan_for(model__zoo="Misc/mask_rcnn_R_50_FPN_3x_syncbn", data__batch_size=16)))["MODEL"]
    assert {alone[part]["NORM"] for part in ("RESNETS", "FPN", "ROI_BOX_HEAD", "ROI_MASK_HEAD")} == {"BN"}


@pytest.mark.parametrize(
    ("family", "changes", "rle_masks", "expected"),
    [
        ("mask_rcnn", {}, 0, "polygon"),
        ("mask_rcnn", {}, 2, "bitmask"),
        ("mask_rcnn", {"data__augment": [{"Transpose": {}}]}, 0, "bitmask"),
        ("mask_rcnn", {"data__augment": []}, 0, "polygon"),
        ("faster_rcnn", {}, 2, "polygon"),
    ],
)
def test_masks_that_polygons_cannot_say_are_bitmasks(
    family: str, changes: dict[str, Any], rle_masks: int, expected: str, plan_for: MakePlan
) -> None:
    native = translate(plan_for(model__family=family, data__batch_size=2, rle_masks=rle_masks, **changes))
    assert read(native)["INPUT"]["MASK_FORMAT"] == expected


def test_weights_bring_the_way_images_are_fed_to_them(plan_for: MakePlan, tmp_path: Path) -> None:
    classifier = tmp_path / "resnet.pth"
    classifier.write_bytes(pickle.dumps({"conv1.weight": 0, "layer1.0.conv1.weight": 0}, protocol=2))
    backbone = tmp_path / "R-50.pkl"
    backbone.write_bytes(pickle.dumps({"model": {"stem.conv1.weight": 0, "res2.0.conv1.weight": 0}}, protocol=2))
    rgb = ("RGB", [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], False)
    msra = ("BGR", [103.53, 116.28, 123.675], [1.0, 1.0, 1.0], True)
    resnext = ("BGR", [103.53, 116.28, 123.675], [57.375, 57.12, 58.395], False)
    for weights, backbone_name, expected, scope in (
        ("imagenet", "resnet50_fpn", msra, "backbone"),
        ("coco", "resnet50_fpn", msra, "detector"),
        (str(classifier), "resnet50_fpn", rgb, "backbone"),
        (str(backbone), "resnet50_fpn", msra, "backbone"),
        ("imagenet", "resnet18_fpn", rgb, "backbone"),
        ("https://download.pytorch.org/models/resnet50-0676ba61.pth", "resnet50_fpn", rgb, "backbone"),
        ("coco", "resnext101_32x8d_fpn", resnext, "detector"),
        ("zoo:COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x", "resnet50_fpn", resnext, "detector"),
    ):
        plan = plan_for(
            model__family="faster_rcnn", model__backbone=backbone_name, model__weights=weights, data__batch_size=2
        )
        native = translate(plan)
        config = read(native)
        model = config["MODEL"]
        found = (config["INPUT"]["FORMAT"], model["PIXEL_MEAN"], model["PIXEL_STD"], model["RESNETS"]["STRIDE_IN_1X1"])
        assert found == expected, (weights, backbone_name)
        assert plan.recipe.values["weights.scope"] == scope, weights
        assert native.extras["weights"]["scope"] == scope, weights


RGB = ("RGB", [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], False)
MSRA = ("BGR", [103.53, 116.28, 123.675], [1.0, 1.0, 1.0], True)
KEYS = ("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "MODEL.RESNETS.STRIDE_IN_1X1")
CAFFE2 = {"conv1_w": 0, "res2_0_branch2a_w": 0}
D2_BACKBONE = {"stem.conv1.weight": 0, "res2.0.conv1.weight": 0}
D2_DETECTOR = {"backbone.bottom_up.res2.0.conv1.weight": 0, "proposal_generator.rpn_head.conv.weight": 0}


@pytest.mark.parametrize(
    ("content", "config", "expected", "scope"),
    [
        # What Detectron2's own converter makes of torchvision's weights.
        ({"model": D2_BACKBONE, "__author__": "torchvision", "matching_heuristics": True}, R50, RGB, "backbone"),
        ({"blobs": CAFFE2}, R50, MSRA, "backbone"),
        (CAFFE2, "Misc/scratch_mask_rcnn_R_50_FPN_3x_gn", MSRA, "backbone"),
        (
            {**CAFFE2, "conv1_gn_s": 0},
            "Misc/scratch_mask_rcnn_R_50_FPN_3x_gn",
            (*MSRA[:3], False),
            "backbone",
        ),
        ({"blobs": {**CAFFE2, "conv_rpn_w": 0}}, R50, MSRA, "detector"),
        ({"model": D2_DETECTOR, "__author__": "Detectron2 Model Zoo"}, R50, MSRA, "detector"),
        ({"model": D2_DETECTOR, "iteration": 9}, R50, MSRA, "detector"),
        ({"state_dict": D2_BACKBONE}, R50, MSRA, "backbone"),
        ({"model": D2_DETECTOR, "cvtune": {}, "input": dict(zip(KEYS, RGB, strict=True))}, R50, RGB, "detector"),
    ],
)
def test_a_file_of_weights_is_fed_as_whoever_made_it_did(
    content: dict[str, Any], config: str, expected: tuple[Any, ...], scope: str, plan_for: MakePlan, tmp_path: Path
) -> None:
    is_torchs = bool({"cvtune", "iteration", "state_dict"} & set(content))
    path = tmp_path / ("x.pth" if is_torchs else "x.pkl")
    torch.save(content, path) if is_torchs else path.write_bytes(pickle.dumps(content, protocol=2))
    native = translate(plan_for(model__zoo=config, model__weights=str(path), data__batch_size=2))
    found = read(native)
    assert tuple(at(found, key) for key in KEYS) == expected
    assert native.extras["weights"]["scope"] == scope


def test_what_yaml_cannot_say_is_an_extra(plan_for: MakePlan) -> None:
    native = translate(
        plan_for(
            model__family="faster_rcnn",
            model__backbone="mobilenet_v2_fpn",
            data__batch_size=2,
            data__augment=[{"Transpose": {}}],
            train__optimizer={"name": "adamw", "lr": 1e-4},
            train__schedule={"name": "cosine", "min_lr": 1e-6},
            train__gradient_clip=10,
            train__ema=0.99,
            train__accumulate=2,
            train__early_stopping={"patience": 3},
        )
    )
    values = {field: extra["value"] for field, extra in native.extras.items() if field != "weights"}
    assert values["train.optimizer.name"] == "adamw"
    assert values["train.schedule"]["min_lr"] == 1e-6
    assert values["train.gradient_clip"] == 10
    assert values["train.ema"] == 0.99
    assert values["train.accumulate"] == 2
    assert values["train.early_stopping"]["patience"] == 3
    assert values["data.augment"] == [{"Transpose": {}}]
    assert values["model.backbone"] == "cvtune.backends.detectron2.mobilenet"
    config = read(native)
    assert config["MODEL"]["BACKBONE"]["NAME"] == "build_mobilenet_v2_fpn_backbone"
    assert config["SOLVER"]["BASE_LR"] == 1e-4
    assert config["SOLVER"]["WEIGHT_DECAY"] == 0.05
    json.dumps(native.extras)
    for field in native.extras:
        assert field in {"weights", "train.schedule", "train.early_stopping"} or FIELDS[field]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"data__crowd": "ignore"}, ["data.crowd", "nearest: official"]),
        ({"data__image_size": {"square": 320}}, ["data.image_size.fit", "short: 320, long: 320"]),
        ({"train__precision": "fp16"}, ["train.precision", "on a CPU", "nearest: fp32"]),
        ({"train__checkpoint": {"best": "segm/AP"}}, ["predicts no masks", "nearest: bbox/AP"]),
        (
            {"model__backbone": "resnet50_c4", "model__frozen_stages": 4},
            ["model.frozen_stages", "the head of the boxes", "nearest: 3"],
        ),
        (
            {"model__backbone": "resnet18_fpn", "model__weights": "coco"},
            ["publishes no checkpoint", "nearest: imagenet"],
        ),
        (
            {"model__zoo": "Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic", "model__family": None, "model__weights": "coco"},
            ["publishes no checkpoint", "nearest: imagenet"],
        ),
        (
            {"model__zoo": "Cityscapes/mask_rcnn_R_50_FPN", "model__family": None, "model__weights": "imagenet"},
            ["does not start from ImageNet", "nearest: coco"],
        ),
    ],
)
def test_what_detectron2_cannot_do_is_refused_with_the_nearest(
    changes: dict[str, Any], fragments: list[str], plan_for: MakePlan
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        translate(plan_for(**{"model__family": "faster_rcnn", "data__batch_size": 2, **changes}))
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "period"),
    [
        ({}, 100),
        ({"checkpoint": {"every_epochs": 3}}, 300),
        ({"checkpoint": {"every_iterations": 7}}, 7),
        ({"recipe": "official"}, 5000),
        ({"recipe": "official", "epochs": 2}, 100),
        ({"recipe": "official", "checkpoint": {"every_epochs": 2}}, 200),
    ],
)
def test_checkpoints_are_as_often_as_the_plan_says(train: dict[str, Any], period: int, plan_for: MakePlan) -> None:
    native = translate(plan_for(model__family="faster_rcnn", data__batch_size=2, train=train))
    assert read(native)["SOLVER"]["CHECKPOINT_PERIOD"] == period


def test_an_official_run_is_scored_at_its_end_unless_scores_are_asked_for(plan_for: MakePlan) -> None:
    changes: dict[str, Any] = {"model__family": "faster_rcnn", "data__batch_size": 2}
    for train, period in (({}, 0), ({"early_stopping": {"patience": 2}}, 100)):
        plan = plan_for(**changes, train={"recipe": "official", **train})
        assert read(translate(plan))["TEST"]["EVAL_PERIOD"] == period == plan["eval.every_epochs"] * 100
    again = plan_for(**changes, train={"recipe": "official"}, eval__every_epochs=3)
    assert read(translate(again))["TEST"]["EVAL_PERIOD"] == 300


@pytest.mark.parametrize(
    ("native", "fragments"),
    [
        ({"MODLE": {}}, ["native.MODLE", "did you mean 'MODEL'"]),
        ({"MODEL": {"RPN": {"NMS_TRESH": 0.5}}}, ["native.MODEL.RPN.NMS_TRESH", "did you mean 'NMS_THRESH'"]),
        ({"MODEL": {"RPN": 3}}, ["native.MODEL.RPN", "a mapping is needed"]),
        ({"MODEL": {"RPN": {"NMS_THRESH": "high"}}}, ["native.MODEL.RPN.NMS_THRESH", "float is needed"]),
        ({"MODEL": {"WEIGHTS": "x"}}, ["set model.weights instead"]),
        ({"MODEL": {"KEYPOINT_ON": True}}, ["keypoints are no task"]),
        ({"SOLVER": {"MAX_ITER": 7}}, ["native.SOLVER.MAX_ITER", "set train.iterations instead"]),
        ({"SOLVER": {"STEPS": [7]}}, ["set train.schedule.milestones instead"]),
        ({"SEED": 7}, ["set train.seed instead"]),
        ({"TEST": {"AUG": {"ENABLED": True}}}, ["native.TEST.AUG.ENABLED", "predicts an image once"]),
        ({"DATALOADER": {"SAMPLER_TRAIN": "RepeatFactorTrainingSampler"}}, ["visits each image once"]),
    ],
)
def test_native_keys_are_held_to_detectron2s_own(
    native: dict[str, Any], fragments: list[str], plan_for: MakePlan
) -> None:
    with pytest.raises(SpecError) as caught:
        translate(plan_for(model__family="faster_rcnn", data__batch_size=2, native=native))
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)
    assert "\n" not in str(caught.value)


def test_translating_imports_no_framework(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="mask_rcnn", data__batch_size=2)
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    script = f"""
import json, sys
from cvtune.backends import load_backend
from cvtune.plan import Plan
load_backend("detectron2").translate(Plan.from_json(json.load(open("{tmp_path}/plan.json"))))
assert not {{"torch", "detectron2", "fvcore"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_field_of_a_spec_is_in_the_table() -> None:
    from cvtune.backends.mmdet.fields import FIELDS as OTHER

    assert set(FIELDS) == set(OTHER)
