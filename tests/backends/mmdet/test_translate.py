"""Plan -> MMDetection's config: the official one and the fewest overrides, each recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from cvtune.backends.base import NativeConfig
from cvtune.backends.edits import Edits
from cvtune.backends.mmdet.recipes import warmup_of
from cvtune.backends.mmdet.translate import translate
from cvtune.backends.mmdet.translate_model import official_classes, pretrained_places
from cvtune.backends.mmdet.zoo import left_out, read_official, walk, zoo_names
from cvtune.errors import CvtuneError, SpecError, UnsupportedError
from cvtune.plan import Plan

MakePlan = Callable[..., Plan]


def read(native: NativeConfig, folder: Path) -> dict[str, Any]:
    (folder / "config.py").write_text(native.text)
    content: dict[str, Any] = Config.fromfile(folder / "config.py", import_custom_modules=False).to_dict()
    return content


def without_scope(node: Any) -> Any:
    """MMEngine marks what it inherits from another package; lists and tuples are the same to it."""
    if isinstance(node, dict):
        return {key: without_scope(value) for key, value in node.items() if key != "_scope_"}
    return [without_scope(value) for value in node] if isinstance(node, list | tuple) else node


def keys(native: NativeConfig) -> set[str]:
    return {override.key for override in native.overrides}


@pytest.mark.train
def test_an_official_config_with_the_official_recipe_changes_nothing_but_data(plan_for: MakePlan) -> None:
    tried = 0
    for name in zoo_names():
        try:
            content = read_official(name).content
        except CvtuneError:
            continue
        if left_out(content):
            continue
        classes = [f"class {i}" for i in range(official_classes(content))]
        weights = "imagenet" if pretrained_places(Edits(content)) else "none"
        more: dict[str, Any] = {"run__devices": 5} if "10xb5" in name else {}
        stages = (content["model"].get("backbone") or {}).get("frozen_stages", -1)
        if weights == "none" and stages >= 0:
            more["model__frozen_stages"] = stages  # or else random weights would all train
        plan = plan_for(classes, gpus=True, model__zoo=name, model__weights=weights, train__recipe="official", **more)
        native = translate(plan)
        asked = {"model.weights", "run.devices"}
        changed = [o for o in native.overrides if o.kind == "spec" and o.asked_by not in asked]
        assert not changed, (name, changed)
        tried += 1
    assert tried > 600


@pytest.mark.parametrize(
    "name",
    [
        "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
        "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco",
        "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco",
        "yolox/yolox_tiny_8xb8-300e_coco",
        "mask2former/mask2former_r50_8xb2-lsj-50e_coco",
        "detectors/detectors_htc-r50_1x_coco",
        "openimages/ssd300_32xb8-36e_openimages",
        "cityscapes/mask-rcnn_r50_fpn_1x_cityscapes",
        "lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1",
        "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712",
    ],
)
def test_the_short_file_says_the_same_as_the_flat_one(name: str, plan_for: MakePlan, tmp_path: Path) -> None:
    native = translate(plan_for(model__zoo=name, data__batch_size=2))
    flat = read(native, tmp_path)
    assert native.delta is not None
    (tmp_path / "config_delta.py").write_text(native.delta)
    short = Config.fromfile(tmp_path / "config_delta.py", import_custom_modules=False).to_dict()
    for key, value in flat.items():
        assert without_scope(short[key]) == without_scope(value), key
    assert len(native.delta) < len(native.text)


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco", 4),
        ("htc/htc_r50_fpn_1x_coco", 6),
        ("dino/dino-4scale_r50_8xb2-12e_coco", 1),
        ("point_rend/point-rend_r50-caffe_fpn_ms-1x_coco", 3),
        ("seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1", 3),
        ("openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages", 1),
    ],
)
def test_the_number_of_classes_reaches_every_head(name: str, heads: int, plan_for: MakePlan, tmp_path: Path) -> None:
    config = read(translate(plan_for(model__zoo=name, data__batch_size=2)), tmp_path)
    counts = [node["num_classes"] for path, node in walk(config["model"]) if "num_classes" in node]
    assert [count for count in counts if count != 183] == [3] * heads
    for split in ("train", "val"):
        leaf = config[f"{split}_dataloader"]["dataset"]
        while "dataset" in leaf:
            leaf = leaf["dataset"]
        assert leaf["type"] == "CocoDataset"
        assert list(leaf["metainfo"]["classes"]) == ["a", "b", "c"]
        assert leaf["ann_file"] == f"{tmp_path}/data/{split}.json"
    assert config["val_evaluator"]["ann_file"] == f"{tmp_path}/data/val.json"


@pytest.mark.parametrize(
    ("changes", "trains"),
    [
        ({"model__family": "faster_rcnn"}, True),  # officially only the statistics are frozen
        ({"model__family": "faster_rcnn", "model__norm": "frozen"}, False),
        ({"model__family": "faster_rcnn", "model__backbone": "mobilenet_v2_fpn"}, False),
    ],
)
def test_frozen_norm_layers(changes: dict[str, Any], trains: bool, plan_for: MakePlan, tmp_path: Path) -> None:
    weights = {"model__weights": "x.pth"}  # random weights would all train
    backbone = read(translate(plan_for(data__batch_size=2, **weights, **changes)), tmp_path)["model"]["backbone"]
    assert backbone["norm_eval"] is True
    assert backbone["norm_cfg"]["requires_grad"] is trains


@pytest.mark.parametrize(("epochs", "gamma"), [(20, 200), (1, 10), (1000, 2000)])
def test_an_average_of_weights_forgets_the_start_within_the_run(
    epochs: int, gamma: int, plan_for: MakePlan, tmp_path: Path
) -> None:
    plan = plan_for(model__family="faster_rcnn", data__batch_size=4, train__epochs=epochs, train__ema=0.998)
    (hook,) = read(translate(plan), tmp_path)["custom_hooks"]
    assert (hook["ema_type"], hook["momentum"], hook["gamma"]) == ("ExpMomentumEMA", 0.002, gamma)


@pytest.mark.parametrize(("stages", "layers"), [("auto", 2), (0, 1), (1, 2), (2, 3), (3, 5), (4, 7), (None, -1)])
def test_stages_of_mobilenet_end_where_the_stride_doubles(
    stages: int | str | None, layers: int, plan_for: MakePlan, tmp_path: Path
) -> None:
    changes = {} if stages == "auto" else {"model__frozen_stages": stages}
    plan = plan_for(
        model__family="faster_rcnn",
        model__backbone="mobilenet_v2_fpn",
        model__weights="x.pth",
        data__batch_size=2,
        **changes,
    )
    assert plan["model.frozen_stages"] == (1 if stages == "auto" else stages)
    config = read(translate(plan), tmp_path)
    assert config["model"]["backbone"]["frozen_stages"] == layers


@pytest.mark.parametrize(
    ("name", "weights", "stages", "native"),
    [
        ("efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco", "imagenet", "auto", 0),  # there 0 freezes nothing
        ("efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco", "none", "auto", 0),
        ("efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco", "imagenet", 1, 3),
        ("yolo/yolov3_d53_8xb8-320-273e_coco", "none", 0, 2),
        ("yolo/yolov3_d53_8xb8-320-273e_coco", "imagenet", 4, 6),
    ],
)
def test_stages_of_backbones_that_count_their_layers(
    name: str, weights: str, stages: int | str, native: int, plan_for: MakePlan, tmp_path: Path
) -> None:
    size = {"square": 320 if "320" in name else 896, "fit": "pad"}
    spec = {"model__zoo": name, "model__weights": weights, "data__image_size": size, "data__batch_size": 2}
    plan = plan_for(model__frozen_stages=stages, **spec)
    assert plan["model.frozen_stages"] == (None if stages == "auto" else stages)
    assert read(translate(plan), tmp_path)["model"]["backbone"]["frozen_stages"] == native


@pytest.mark.parametrize(
    "name",
    ["hrnet/faster-rcnn_hrnetv2p-w18-1x_coco", "yolo/yolov3_d53_8xb8-320-273e_coco"],
)
def test_random_weights_learn_their_statistics_where_the_class_alone_would_keep_them(
    name: str, plan_for: MakePlan, tmp_path: Path
) -> None:
    assert "norm_eval" not in read_official(name).content["model"]["backbone"]
    spec: dict[str, Any] = {"model__zoo": name, "data__batch_size": 2}
    if "yolo" in name:
        spec["data__image_size"] = {"square": 320, "fit": "pad"}
    config = read(translate(plan_for(model__weights="none", **spec)), tmp_path)
    assert config["model"]["backbone"]["norm_eval"] is False
    native = translate(plan_for(model__weights="x.pth", **spec))
    assert "model.backbone.norm_eval" not in keys(native)


def test_a_backbone_that_ends_early_has_fewer_stages_to_freeze(plan_for: MakePlan) -> None:
    model: dict[str, Any] = {"model__family": "faster_rcnn", "model__backbone": "resnet50_c4", "data__batch_size": 2}
    translate(plan_for(**model, model__frozen_stages=3))
    with pytest.raises(SpecError, match=r"model\.frozen_stages: got 4; allowed: 0 \(the stem\) to 3, or null"):
        translate(plan_for(**model, model__frozen_stages=4))


def test_files_are_read_from_the_disk_whatever_storage_the_official_config_asks(
    plan_for: MakePlan, tmp_path: Path
) -> None:
    name = "dsdl/openimagesv6"
    assert "petrel" in str(read_official(name).content["train_dataloader"])
    text = translate(plan_for(model__zoo=name, data__batch_size=2)).text
    assert "petrel" not in text


def test_mask2formers_class_weights_have_an_entry_a_class_and_one_for_the_background(
    plan_for: MakePlan, tmp_path: Path
) -> None:
    config = read(translate(plan_for(model__family="mask2former", data__batch_size=2)), tmp_path)
    head = config["model"]["panoptic_head"]
    assert (head["num_things_classes"], head["num_stuff_classes"]) == (3, 0)
    assert list(head["loss_cls"]["class_weight"]) == [1.0, 1.0, 1.0, 0.1]
    assert config["model"]["panoptic_fusion_head"]["num_things_classes"] == 3


def test_lengths_rates_and_warm_up_move_together(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="faster_rcnn", data__batch_size=4, train__epochs=24)
    config = read(translate(plan), tmp_path)
    warm, steps = config["param_scheduler"]
    assert config["train_cfg"]["max_epochs"] == 24
    assert (list(steps["milestones"]), steps["end"], steps["by_epoch"]) == ([16, 22], 24, True)
    assert warm["end"] == 120  # a tenth of 24 epochs of 50 steps
    assert config["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(0.02 * 4 / 16)
    assert config["train_dataloader"]["batch_size"] == 4
    plan = plan_for(model__family="faster_rcnn", data__batch_size=4, train__epochs=5)
    _, steps = read(translate(plan), tmp_path)["param_scheduler"]
    assert (list(steps["milestones"]), steps["end"], steps["by_epoch"]) == ([167, 229], 250, False)


def test_yolox_keeps_its_phases_in_a_short_run(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="yolox", data__batch_size=8, train__epochs=30)
    config = read(translate(plan), tmp_path)
    hooks = {hook["type"]: hook for hook in config["custom_hooks"]}
    assert hooks["YOLOXModeSwitchHook"]["num_last_epochs"] == 3
    warm, cosine, last = config["param_scheduler"]
    assert (warm["begin"], warm["end"], warm["by_epoch"]) == (0, 75, False)  # a tenth of 750 steps
    assert (cosine["begin"], cosine["end"]) == (75, 712)
    assert (last["begin"], last["end"]) == (712, 750)
    lr = config["optim_wrapper"]["optimizer"]["lr"]
    assert lr == pytest.approx(0.01 * 8 / 64)
    assert cosine["eta_min"] == pytest.approx(0.05 * lr)
    assert hooks["EMAHook"]["momentum"] > 0.0001
    assert "dynamic_intervals" not in config["train_cfg"]


def test_rtmdet_switches_its_pipeline_late_and_scales_adam_by_the_root(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="rtmdet", data__batch_size=16, train__epochs=40)
    config = read(translate(plan), tmp_path)
    hooks = {hook["type"]: hook for hook in config["custom_hooks"]}
    assert hooks["PipelineSwitchHook"]["switch_epoch"] == 36
    assert config["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(0.004 * (16 / 256) ** 0.5)
    assert config["optim_wrapper"]["paramwise_cfg"]["norm_decay_mult"] == 0
    assert "SyncBN" not in str(config["model"])
    host = {o.key for o in translate(plan).overrides if o.kind == "host"}
    assert "model.backbone.norm_cfg.type" in host


def test_a_square_reaches_every_place(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(
        model__family="rtmdet", model__backbone="tiny", data__batch_size=4, data__image_size={"square": 320}
    )
    config = read(translate(plan), tmp_path)
    steps = {step["type"]: step for step in config["train_dataloader"]["dataset"]["pipeline"]}
    assert tuple(steps["CachedMosaic"]["img_scale"]) == (320, 320)
    assert tuple(steps["RandomResize"]["scale"]) == (640, 640)
    assert tuple(steps["RandomCrop"]["crop_size"]) == (320, 320)
    switched = next(hook for hook in config["custom_hooks"] if hook["type"] == "PipelineSwitchHook")["switch_pipeline"]
    assert tuple(next(step for step in switched if step["type"] == "RandomResize")["scale"]) == (320, 320)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"short": 320, "long": 640}, {"type": "Resize", "scale": (640, 320), "keep_ratio": True}),
        (
            {"short": [256, 320], "long": 640},
            {"type": "RandomChoiceResize", "scales": [(640, 256), (640, 320)], "keep_ratio": True},
        ),
        (
            {"short": [256, 320], "long": 640, "sampling": "range"},
            {"type": "RandomResize", "scale": [(640, 256), (640, 320)], "keep_ratio": True},
        ),
        ({"square": 320}, {"type": "Resize", "scale": (320, 320), "keep_ratio": False}),
    ],
)
def test_two_sides_become_the_step_that_resizes(
    size: dict[str, Any], expected: dict[str, Any], plan_for: MakePlan, tmp_path: Path
) -> None:
    for family in ("faster_rcnn", "deformable_detr"):  # DETR's choice between two ways to resize goes as a whole
        config = read(translate(plan_for(model__family=family, data__batch_size=2, data__image_size=size)), tmp_path)
        pipeline = config["train_dataloader"]["dataset"]["pipeline"]
        resizing = [step for step in pipeline if "Resize" in step["type"] or step["type"] == "RandomChoice"]
        assert without_scope(resizing) == [without_scope(expected)]


def test_augment_takes_the_place_of_flips_and_colours(plan_for: MakePlan, tmp_path: Path) -> None:
    steps = [{"VerticalFlip": {"p": 0.5}}]
    plan = plan_for(model__family="ssd", data__batch_size=2, data__augment=steps)
    native = translate(plan)
    config = read(native, tmp_path)
    kinds = [step["type"] for step in config["train_dataloader"]["dataset"]["dataset"]["pipeline"]]
    assert kinds[kinds.index("LoadAnnotations") + 1] == "CvtuneAugment"
    assert "RandomFlip" not in kinds
    assert "PhotoMetricDistortion" not in kinds
    assert {"Expand", "MinIoURandomCrop"} <= set(kinds)
    assert config["custom_imports"]["imports"] == ["cvtune.backends.mmdet.augment"]
    assert any(o.asked_by == "data.augment" for o in native.overrides)


def test_masks_with_holes_are_loaded_as_bitmaps(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(rle_masks=3, model__zoo="mask_rcnn/mask-rcnn_r50_fpn_ms-poly-3x_coco", data__batch_size=2)
    dataset = read(translate(plan), tmp_path)["train_dataloader"]["dataset"]["dataset"]
    assert [step["poly2mask"] for step in dataset["pipeline"] if "poly2mask" in step] == [True]


def test_a_schedule_of_the_specs_own_is_by_iteration(plan_for: MakePlan, tmp_path: Path) -> None:
    changes = {"train__schedule": {"name": "cosine", "warmup_iterations": 20}, "train__epochs": 4}
    config = read(translate(plan_for(model__family="retinanet", data__batch_size=10, **changes)), tmp_path)
    warm, cosine = config["param_scheduler"]
    assert (warm["type"], warm["end"]) == ("LinearLR", 20)
    assert (cosine["type"], cosine["begin"], cosine["end"], cosine["T_max"]) == ("CosineAnnealingLR", 20, 80, 60)


def test_an_official_schedule_with_milestones_of_the_specs_own(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(
        model__family="retinanet", data__batch_size=10, train__epochs=6, train__schedule={"milestones": [1.5, 4]}
    )
    _, steps = read(translate(plan), tmp_path)["param_scheduler"]
    assert (steps["milestones"], steps["end"], steps["by_epoch"]) == ([30, 80], 120, False)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", {"images": 117_266}, (500, "unchanged")),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", {"images": 200}, (15, "data")),  # a tenth of 12 epochs of 13 steps
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", {"train__accumulate": 2, "images": 117_266}, (1000, "spec")),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", {"train__schedule": {"warmup_iterations": 7}}, (7, "spec")),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", {"train__schedule": {"warmup_iterations": 0}}, (0, "spec")),
        ("dino/dino-4scale_r50_8xb2-12e_coco", {"train__schedule": {"warmup_iterations": 7}}, (7, "spec")),
        ("yolox/yolox_s_8xb8-300e_coco", {"images": 640}, (50, "unchanged")),  # 5 epochs of 10 steps
    ],
)
def test_the_plans_warm_up_is_the_files(
    name: str, changes: dict[str, Any], expected: tuple[int, str], plan_for: MakePlan, tmp_path: Path
) -> None:
    plan = plan_for(model__zoo=name, gpus=True, train__recipe="official", **changes)
    native = translate(plan)
    config = read(native, tmp_path)
    index, end = warmup_of(config)
    per_epoch = -(-plan["data.train_images"] // plan["data.batch_size"])
    unit = per_epoch if index is not None and config["param_scheduler"][index].get("by_epoch", True) else 1
    assert end * unit == plan["train.schedule.warmup_iterations"] * plan["train.accumulate"] == expected[0]
    kinds = [override.kind for override in native.overrides if override.key.startswith("param_scheduler")]
    assert kinds == ([] if expected[1] == "unchanged" else [expected[1]])


@pytest.mark.parametrize(("gpus", "each"), [(True, 2), (False, 16)])
def test_the_official_batch_is_shared_by_the_processes_that_there_are(
    gpus: bool, each: int, plan_for: MakePlan, tmp_path: Path
) -> None:
    native = translate(plan_for(model__family="faster_rcnn", gpus=gpus, train__recipe="official"))
    assert read(native, tmp_path)["train_dataloader"]["batch_size"] == each
    kinds = [override.kind for override in native.overrides if override.key == "train_dataloader.batch_size"]
    assert kinds == ([] if gpus else ["host"])


def test_official_iterations_are_updates_of_the_weights_with_accumulation_too(
    plan_for: MakePlan, tmp_path: Path
) -> None:
    plan = plan_for(model__family="condinst", gpus=True, train__recipe="official", train__accumulate=2)
    config = read(translate(plan), tmp_path)
    assert plan["train.iterations"] == 90_000
    assert config["train_cfg"]["max_iters"] == 180_000
    assert config["optim_wrapper"]["accumulative_counts"] == 2
    assert list(config["param_scheduler"][1]["milestones"]) == [120_000, 160_000]


def test_an_evaluation_interval_that_was_asked_for_holds_to_the_end(plan_for: MakePlan, tmp_path: Path) -> None:
    official = {"model__family": "rtmdet", "gpus": True, "train__recipe": "official"}
    assert plan_for(**official)["eval.every_epochs"] == 10
    train = read(translate(plan_for(**official)), tmp_path)["train_cfg"]
    assert (train["val_interval"], [tuple(one) for one in train["dynamic_intervals"]]) == (10, [(280, 1)])
    train = read(translate(plan_for(**official, eval__every_epochs=5)), tmp_path)["train_cfg"]
    assert train["val_interval"] == 5
    assert "dynamic_intervals" not in train


@pytest.mark.parametrize(("epochs", "initial"), [(6, 2), (1, 0), (12, 4), (50, 4)])
def test_toods_first_phase_takes_its_share_of_a_shorter_run(
    epochs: int, initial: int, plan_for: MakePlan, tmp_path: Path
) -> None:
    plan = plan_for(model__family="tood", data__batch_size=4, train__epochs=epochs)
    assert read(translate(plan), tmp_path)["model"]["train_cfg"]["initial_epoch"] == initial


def test_boxinsts_pairwise_loss_is_at_full_weight_early_in_a_short_run(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__zoo="boxinst/boxinst_r50_fpn_ms-90k_coco", data__batch_size=4, train__epochs=18)
    assert read(translate(plan), tmp_path)["model"]["mask_head"]["warmup_iters"] == 100  # 10,000 of 90,000; of 900


def test_a_cosine_that_follows_a_shorter_warm_up_ends_with_the_run(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="yolox", data__batch_size=8, train__epochs=30)
    _, cosine, _ = read(translate(plan), tmp_path)["param_scheduler"]
    share = cosine["T_max"] / (cosine["end"] - cosine["begin"])
    assert share == pytest.approx(285 / 280, abs=0.002)  # as in the official file


@pytest.mark.parametrize("epochs", [1, 2, 3, 20])
def test_a_run_of_a_few_steps_has_no_part_without_a_step(epochs: int, plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="yolox", images=4, data__batch_size=2, train__epochs=epochs)
    schedulers = read(translate(plan), tmp_path)["param_scheduler"]
    assert schedulers
    assert all(item["begin"] < item["end"] for item in schedulers)


def test_steps_after_an_inherited_end_are_taken(plan_for: MakePlan, tmp_path: Path) -> None:
    name = "faster_rcnn/faster-rcnn_r50-caffe-dc5_ms-3x_coco"
    official = read_official(name).content["param_scheduler"][1]
    assert max(official["milestones"]) > official["end"]
    _, steps = read(translate(plan_for(model__zoo=name, data__batch_size=4)), tmp_path)["param_scheduler"]
    assert max(steps["milestones"]) < steps["end"] == 2500  # 50 epochs of 50 steps


def test_a_warm_up_with_accumulation_ends_within_the_run(plan_for: MakePlan, tmp_path: Path) -> None:
    schedule = {"name": "cosine", "warmup_iterations": 50}
    spec = {"model__family": "retinanet", "data__batch_size": 6, "train__accumulate": 3, "images": 60}
    warm, cosine = read(translate(plan_for(**spec, train__epochs=12, train__schedule=schedule)), tmp_path)[
        "param_scheduler"
    ]
    assert warm["end"] == cosine["begin"] < cosine["end"] == 120


@pytest.mark.parametrize(("family", "has_its_own"), [("yolox", True), ("faster_rcnn", False)])
def test_an_average_that_is_only_asked_for_keeps_its_share_of_the_run(
    family: str, has_its_own: bool, plan_for: MakePlan, tmp_path: Path
) -> None:
    spec = {"model__family": family, "data__batch_size": 8, "train__epochs": 30}
    asked = read(translate(plan_for(**spec, train__ema=True)), tmp_path)["custom_hooks"]
    hook = next(hook for hook in asked if hook["type"] == "EMAHook")
    assert hook["momentum"] * 750 > 0.5  # its horizon, 1 / momentum, is within twice the run
    if has_its_own:
        assert asked == read(translate(plan_for(**spec)), tmp_path)["custom_hooks"]


def test_iterations_that_are_no_whole_epochs_need_a_loop_by_iteration(plan_for: MakePlan, tmp_path: Path) -> None:
    plan = plan_for(model__family="retinanet", data__batch_size=10, train__iterations=30)
    config = read(translate(plan), tmp_path)
    assert (config["train_cfg"]["type"], config["train_cfg"]["max_iters"]) == ("IterBasedTrainLoop", 30)
    with pytest.raises(UnsupportedError, match=r"train\.iterations: .*YOLOXModeSwitchHook.*nearest: train\.epochs: 2"):
        translate(plan_for(model__family="yolox", data__batch_size=10, train__iterations=30))


def test_sizes_in_a_native_pipeline_are_tuples_as_transforms_want_them(plan_for: MakePlan, tmp_path: Path) -> None:
    steps = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": [96, 64], "keep_ratio": True},
        {"type": "RandomChoice", "transforms": [[{"type": "RandomCrop", "crop_size": [64, 64]}]]},
        {"type": "RandomFlip", "prob": [0.25, 0.25], "direction": ["horizontal", "vertical"]},
    ]
    native = {
        "train_dataloader": {"dataset": {"pipeline": steps}},
        "custom_hooks": [{"type": "PipelineSwitchHook", "switch_epoch": 1, "switch_pipeline": steps}],
        "model": {"neck": {"in_channels": [96, 192]}},
    }
    tiny = {"model__family": "rtmdet", "model__backbone": "tiny", "data__batch_size": 4}
    config = read(translate(plan_for(**tiny, native=native)), tmp_path)
    for pipeline in (config["train_dataloader"]["dataset"]["pipeline"], config["custom_hooks"][0]["switch_pipeline"]):
        assert pipeline[1]["scale"] == (96, 64)
        assert pipeline[2]["transforms"][0][0]["crop_size"] == (64, 64)
        assert pipeline[3]["prob"] == [0.25, 0.25]
    assert config["model"]["neck"]["in_channels"] == [96, 192]
    mosaic = {"train_dataloader": {"dataset": {"pipeline": {"2": {"img_scale": [320, 320]}}}}}
    config = read(translate(plan_for(**tiny, native=mosaic)), tmp_path)
    assert config["train_dataloader"]["dataset"]["pipeline"][2]["img_scale"] == (320, 320)


def test_two_sizes_to_choose_from_stay_a_list(plan_for: MakePlan, tmp_path: Path) -> None:
    steps = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "RandomChoiceResize", "scales": [64, 96], "keep_ratio": True},
        {"type": "RandomChoiceResize", "scales": [[64, 48], [96, 64]], "keep_ratio": True},
        {"type": "PackDetInputs"},
    ]
    native = {"train_dataloader": {"dataset": {"pipeline": steps}}}
    config = read(translate(plan_for(model__family="faster_rcnn", data__batch_size=4, native=native)), tmp_path)
    ints, pairs = (config["train_dataloader"]["dataset"]["pipeline"][index]["scales"] for index in (2, 3))
    assert (ints, pairs) == ([64, 96], [(64, 48), (96, 64)])


def test_native_reaches_what_only_a_class_takes_and_may_say_none(plan_for: MakePlan, tmp_path: Path) -> None:
    pipeline = {"1": {"poly2mask": True}, "2": {"interpolation": "area"}, "3": {"direction": "vertical"}}
    native = {
        "model": {"backbone": {"norm_cfg": None}},
        "train_dataloader": {"dataset": {"pipeline": pipeline}},
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.1}],
    }
    name = "hrnet/faster-rcnn_hrnetv2p-w18-1x_coco"
    assert "norm_cfg" not in read_official(name).content["model"]["backbone"]
    translated = translate(plan_for(model__zoo=name, data__batch_size=2, native=native))
    config = read(translated, tmp_path)
    steps = config["train_dataloader"]["dataset"]["pipeline"]
    assert (steps[1]["poly2mask"], steps[2]["interpolation"], steps[3]["direction"]) == (True, "area", "vertical")
    assert config["model"]["backbone"]["norm_cfg"] is None
    assert {"model.backbone.norm_cfg", "train_dataloader.dataset.pipeline.2.interpolation"} <= keys(translated)


def test_every_logger_is_a_visualization_backend_of_the_native_file(plan_for: MakePlan) -> None:
    native = translate(
        plan_for(model__family="faster_rcnn", data__batch_size=2, train__loggers=["tensorboard", "mlflow", "wandb"])
    )
    (override,) = [o for o in native.overrides if o.asked_by == "train.loggers"]
    kinds = ["LocalVisBackend", "TensorboardVisBackend", "MLflowVisBackend", "WandbVisBackend"]
    assert [backend["type"] for backend in override.value] == kinds


def test_mixed_precision_becomes_fp32_on_a_cpu_and_stays_on_a_gpu(plan_for: MakePlan) -> None:
    name = "faster_rcnn/faster-rcnn_r50_fpn_amp-1x_coco"
    cpu = translate(plan_for(model__zoo=name, data__batch_size=2))
    assert [(o.value, o.kind) for o in cpu.overrides if o.key == "optim_wrapper.type"] == [("OptimWrapper", "host")]
    gpu = translate(plan_for(model__zoo=name, data__batch_size=16, gpus=True))
    assert "'dtype': 'bfloat16'" in gpu.text


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"model__family": "dino", "eval__nms_iou": 0.5}, "eval.nms_iou: backend mmdet: dino/"),
        ({"model__family": "ssd", "model__frozen_stages": 1}, "model.frozen_stages: backend mmdet cannot freeze"),
        ({"model__family": "faster_rcnn", "data__crowd": "ignore"}, "data.crowd"),
        ({"model__family": "faster_rcnn", "train__precision": "bf16"}, "nearest: fp32"),
        ({"model__family": "faster_rcnn", "train__checkpoint": {"best": "segm/AP"}}, "nearest: bbox/AP"),
        ({"model__family": "yolox", "data__image_size": {"short": 320}}, "nearest: data.image_size.square"),
        ({"model__family": "yolox", "data__image_size": {"square": 333}}, "nearest: 320"),
        ({"model__family": "ssd", "data__image_size": {"square": 320}}, "nearest: 300"),
        ({"model__family": "yolox", "model__weights": "imagenet"}, "nearest: coco, none or a path"),
        ({"model__family": "faster_rcnn", "native": {"modle": {}}}, "did you mean 'model'"),
        (
            {"model__family": "faster_rcnn", "native": {"model": {"roi_head": {"bbox_head": {"fc_out_chanels": 8}}}}},
            "did you mean 'fc_out_channels'",
        ),
        (
            {"model__family": "cascade_rcnn", "native": {"model": {"roi_head": {"bbox_head": {"3": {}}}}}},
            "allowed: 0 to 2",
        ),
        ({"model__zoo": "crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman"}, "nearest: one class"),
        ({"model__family": "faster_rcnn", "native": {"load_from": "x"}}, "set model.weights instead"),
        ({"model__family": "yolox", "data__image_size": {"square": 320, "fit": "stretch"}}, "nearest: pad"),
        ({"model__family": "yolov3", "data__image_size": {"square": 320, "fit": "stretch"}}, "nearest: pad"),
        ({"model__family": "rtmdet", "data__image_size": {"square": 330}}, "multiple of 32; nearest: 320"),
        (
            {"model__zoo": "rtmdet/rtmdet_x_p6_4xb8-300e_coco", "data__image_size": {"square": 416}},
            "multiple of 64; nearest: 384",
        ),
        ({"model__family": "tood", "train__iterations": 150}, "changes at an epoch (initial_epoch)"),
        (
            {"model__family": "faster_rcnn", "train__schedule": {"min_lr": 1e-5}},
            "train.schedule.min_lr: backend mmdet cannot keep 1e-05",
        ),
        (
            {"model__family": "faster_rcnn", "train__checkpoint": {"best": "bbox/AR100"}},
            "train.checkpoint.best: backend mmdet cannot do bbox/AR100",
        ),
        (
            {"model__family": "faster_rcnn", "model__backbone": "resnet18_fpn", "model__weights": "coco"},
            "backend mmdet has no coco for faster_rcnn with resnet18_fpn",
        ),
        (
            {"model__zoo": "mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco", "model__weights": "coco"},
            "backend mmdet has no coco for mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco",
        ),
        (
            {
                "model__family": "faster_rcnn",
                "native": {"train_dataloader": {"dataset": {"pipeline": {"2": {"keep_raito": True}}}}},
            },
            "did you mean 'keep_ratio'",
        ),
        (
            {"model__family": "deformable_detr", "eval__model_max_detections": 1000},
            "300 queries for 3 classes give at most 900 detections an image; nearest: 900",
        ),
        (
            {"model__zoo": "detr/detr_r50_8xb2-150e_coco", "eval__model_max_detections": 101},
            "100 queries for 3 classes give at most 100 detections an image; nearest: 100",
        ),
        (
            {"model__zoo": "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco", "eval__model_max_detections": 301},
            "100 queries for 3 classes give at most 300 detections an image; nearest: 300",
        ),
        (
            {"model__family": "mask2former", "native": {"model": {"panoptic_head": {"num_queries": 30}}}},
            "30 queries for 3 classes give at most 90 detections an image; nearest: 90",
        ),
    ],
)
def test_what_a_config_cannot_do_is_one_line(changes: dict[str, Any], fragment: str, plan_for: MakePlan) -> None:
    with pytest.raises((SpecError, UnsupportedError)) as caught:
        translate(plan_for(data__batch_size=2, **changes))
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_native_reaches_nested_keys_and_items_of_lists(plan_for: MakePlan, tmp_path: Path) -> None:
    native = {"model": {"roi_head": {"bbox_head": {"1": {"fc_out_channels": 256}}}, "rpn_head": {"feat_channels": 64}}}
    translated = translate(plan_for(model__family="cascade_rcnn", data__batch_size=2, native=native))
    config = read(translated, tmp_path)
    heads = config["model"]["roi_head"]["bbox_head"]
    assert [head["fc_out_channels"] for head in heads] == [1024, 256, 1024]
    assert {"model.roi_head.bbox_head.1.fc_out_channels", "model.rpn_head.feat_channels"} <= keys(translated)


@pytest.mark.parametrize(
    ("native", "known"),
    [
        ({"randomness": {"deterministic": True}}, True),
        ({"optim_wrapper": {"paramwise_cfg": {"custom_keys": {"neck": {"lr_mult": 0.1}}}}}, True),
        ({"optim_wrapper": {"paramwise_cfg": {"dwconv_decay_mult": 0.5}}}, True),
        ({"env_cfg": {"mp_cfg": {"opencv_num_threads": 1}}}, True),
        ({"model": {"test_cfg": {"max_per_img": 20}}}, True),
        ({"randomness": {"determinstic": True}}, False),
        ({"optim_wrapper": {"paramwise_cfg": {"custom_kyes": {}}}}, False),
        ({"model": {"test_cfg": {"max_per_imgs": 20}}}, False),
        ({"model": {"test_cfg": {"nms": {"split_thr": 100}}}}, True),  # read on the way to `nms`, which has no such one
        ({"model": {"test_cfg": {"nms": {"iou_treshold": 0.5}}}}, False),
        ({"model": {"train_cfg": {"assigner": {"topk": 9}}}}, True),
        ({"model": {"bbox_head": {"bbox_coder": {"target_means": [0.0]}}}}, False),
        ({"optim_wrapper": {"optimizer": {"amsgrad": True}}}, True),
        ({"optim_wrapper": {"optimizer": {"momentum": 0.9}}}, False),  # AdamW has none
    ],
)
def test_native_keys_are_those_that_somebody_reads(native: dict[str, Any], known: bool, plan_for: MakePlan) -> None:
    plan = plan_for(model__family="rtmdet", data__batch_size=2, native=native)
    if known:
        assert any(override.asked_by == "native" for override in translate(plan).overrides)
        return
    with pytest.raises(SpecError, match=r"no part of the config has this key|takes no such argument"):
        translate(plan)


def test_native_may_hold_a_part_for_each_backend(plan_for: MakePlan) -> None:
    parts = {"mmdet": {"model": {"rpn_head": {"feat_channels": 64}}}, "torchvision": {"model": {"fpn": {}}}}
    native = translate(plan_for(model__family="faster_rcnn", data__batch_size=2, native=parts))
    assert "model.rpn_head.feat_channels" in keys(native)
    with pytest.raises(SpecError, match=r"native: holds parts for backends \(mmdet\) and other keys \(model\)"):
        plan_for(model__family="faster_rcnn", data__batch_size=2, native={"mmdet": {}, "model": {}})


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_a_checkpoint_that_the_spec_does_not_ask_for_is_not_loaded(
    weights: str, plan_for: MakePlan, tmp_path: Path
) -> None:
    name = "faster_rcnn/faster-rcnn_r50-caffe_fpn_ms-1x_coco-person"
    assert read_official(name).content["load_from"].startswith("https://")
    translated = translate(plan_for(model__zoo=name, model__weights=weights, data__batch_size=2))
    assert read(translated, tmp_path)["load_from"] is None
    assert "load_from" in keys(translated)


@pytest.mark.parametrize("weights", ["coco", "zoo:retinanet/retinanet_r50_fpn_2x_coco"])
def test_official_checkpoints_come_from_the_metafile(weights: str, plan_for: MakePlan, tmp_path: Path) -> None:
    native = translate(plan_for(model__family="retinanet", model__weights=weights, data__batch_size=2))
    config = read(native, tmp_path)
    assert config["load_from"].startswith("https://")
    assert config["load_from"].endswith(".pth")
    assert "init_cfg" not in config["model"]["backbone"]  # the checkpoint has the backbone: nothing else is fetched
