from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest
import yaml

from cvtune.backends.torchvision.models import BUILDERS
from cvtune.backends.torchvision.recipes import recipe
from cvtune.backends.torchvision.translate import FIELDS, translate
from cvtune.errors import SpecError, UnsupportedError
from cvtune.plan import Plan
from cvtune.spec import Spec

Planned = Callable[..., Plan]
Config = Callable[..., dict[str, Any]]
COCO_IMAGES = 117_266


def _leaves(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        parts = typing.get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else ()
        inner = [t for t in (field.annotation, *parts) if isinstance(t, type) and issubclass(t, pydantic.BaseModel)]
        if inner:
            yield from _leaves(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_field_of_the_spec_has_a_row_and_no_row_is_left_over() -> None:
    assert set(FIELDS) == set(_leaves(Spec))


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_official_recipe_on_coco_gives_no_override_of_the_spec(planned: Planned, builder: str) -> None:
    spec = {
        "model": {"zoo": builder, "weights": "coco"},
        "data": {"batch_size": "auto"},
        "train": {"recipe": "official"},
    }
    plan = planned(spec, classes=80, host="cuda8", images=COCO_IMAGES)
    overrides = translate(plan).overrides
    assert [o for o in overrides if o.kind == "spec"] == []
    # What is left: 80 classes for the 91 outputs of torchvision's COCO weights, and the machine's precision.
    assert {o.key for o in overrides} <= {"model.num_classes", "train.precision", "model.channels_last"}


def test_the_reference_leaves_empty_images_out(planned: Planned) -> None:
    for train, keeps in (({"recipe": "official"}, False), ({"recipe": "finetune"}, True)):
        plan = planned({"model": {"family": "faster_rcnn"}, "train": train})
        assert plan["data.keep_empty_images"] == keeps
        assert yaml.safe_load(translate(plan).text)["data"]["keep_empty_images"] == keeps


def test_the_demo_recipes_learning_rates_and_lengths() -> None:
    def values(family: str) -> dict[str, Any]:
        spec = Spec.model_validate(
            {"name": "t", "model": {"family": family, "weights": "coco"}, "data": {"train": "a.json"}}
        )
        return dict(recipe(spec).values)

    table = {
        family: (
            found["data.batch_size"],
            found["train.optimizer.lr"],
            found["train.epochs"],
            found["train.schedule.milestones"],
            found["train.optimizer.weight_decay"],
        )
        for family in ("faster_rcnn", "mask_rcnn", "retinanet", "fcos", "ssd", "ssdlite")
        for found in [values(family)]
    }
    assert table == {
        "faster_rcnn": (16, 0.02, 26, [16, 22], 1e-4),
        "mask_rcnn": (16, 0.02, 26, [16, 22], 1e-4),
        "retinanet": (16, 0.01, 26, [16, 22], 1e-4),
        "fcos": (16, 0.01, 26, [16, 22], 1e-4),
        "ssd": (32, 0.002, 120, [80, 110], 5e-4),
        "ssdlite": (192, 0.15, 660, [], 4e-5),
    }
    assert values("ssdlite")["train.schedule.name"] == "cosine"


def test_a_v2_recipe_says_that_it_is_the_familys() -> None:
    spec = Spec.model_validate(
        {"name": "t", "model": {"zoo": "fasterrcnn_resnet50_fpn_v2"}, "data": {"train": "a.json"}}
    )
    found = recipe(spec)
    assert "pull request" in found.source
    assert found.values["model.norm"] == "batch"
    assert found.values["weights.scope"] == "detector"


def test_augmentations_of_the_recipes_are_known_to_albumentations() -> None:
    import albumentations

    for family in ("faster_rcnn", "ssd", "ssdlite"):
        spec = Spec.model_validate({"name": "t", "model": {"family": family}, "data": {"train": "a.json"}})
        for step in recipe(spec).values["data.augment"]:
            for name, arguments in step.items():
                assert getattr(albumentations, name)(**arguments).p == arguments["p"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"model": {"family": "faster_rcnn"}}, {"num_classes": 4, "class_offset": 1}),
        ({"model": {"family": "faster_rcnn"}}, {"builder": "fasterrcnn_resnet50_fpn", "backbone": "resnet50_fpn"}),
        ({"model": {"family": "mask_rcnn", "backbone": "mobilenet_v2_fpn"}}, {"num_classes": 4, "builder": "compose"}),
        ({"model": {"family": "retinanet"}}, {"num_classes": 3, "class_offset": 0, "norm_eps": None}),
        ({"model": {"family": "fcos"}}, {"num_classes": 3, "class_offset": 0}),
        ({"model": {"family": "ssd"}}, {"num_classes": 4, "class_offset": 1, "fpn": None}),
        ({"model": {"family": "ssdlite", "weights": "imagenet"}}, {"reduced_tail": False}),
        ({"model": {"family": "ssdlite", "weights": "coco"}}, {"reduced_tail": True}),
        ({"model": {"family": "faster_rcnn", "weights": "coco"}}, {"norm_eps": 0.0, "norm": "frozen"}),
        ({"model": {"family": "faster_rcnn", "weights": "coco"}}, {"frozen_stages": 1}),
        ({"model": {"family": "fcos", "weights": "coco"}}, {"norm_eps": None}),
        (
            {"model": {"family": "retinanet", "weights": "x/retinanet_resnet50_fpn_coco-eeacb38b.pth"}},
            {"norm_eps": 0.0},
        ),
        ({"model": {"family": "faster_rcnn", "norm": "sync"}}, {"norm": "batch"}),
        ({"model": {"family": "faster_rcnn", "norm": "batch"}}, {"norm": "batch"}),
        (
            {"model": {"family": "retinanet", "backbone": "mobilenet_v2_fpn"}},
            {"fpn": {"channels": 256, "levels": ["6", "13", "18"]}},
        ),
    ],
)  # fmt: skip
def test_model_section(native_config: Config, spec: dict[str, Any], expected: dict[str, Any]) -> None:
    section = native_config(spec)["model"]
    assert {key: section.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("family", "size", "kwargs"),
    [
        ("faster_rcnn", {"short": 320, "long": 640}, {"min_size": [320], "max_size": 640}),
        ("faster_rcnn", {"short": 400}, {"min_size": [400], "max_size": 667}),
        ("retinanet", {"short": [512, 256], "long": 640}, {"min_size": [256, 512], "max_size": 640}),
        ("fcos", {"square": 256}, {"min_size": [256], "max_size": 256, "fixed_size": [256, 256]}),
        ("fcos", {"square": 256, "fit": "pad"}, {"min_size": [256], "max_size": 256, "fixed_size": None}),
        ("ssd", {"square": 512}, {"size": [512, 512], "min_size": None}),
        ("ssd", None, {"size": [300, 300]}),
        ("faster_rcnn", None, {"min_size": [800], "max_size": 1333}),
    ],
)
def test_image_size(native_config: Config, family: str, size: dict[str, Any] | None, kwargs: dict[str, Any]) -> None:
    spec: dict[str, Any] = {"model": {"family": family}}
    if size:
        spec["data"] = {"image_size": size}
    found = native_config(spec)["model"]["kwargs"]
    assert {key: found.get(key) for key in kwargs} == kwargs


@pytest.mark.parametrize(
    ("family", "prefix"), [("faster_rcnn", "box_"), ("mask_rcnn", "box_"), ("retinanet", ""), ("ssd", "")]
)
def test_thresholds_get_the_familys_names(native_config: Config, family: str, prefix: str) -> None:
    evaluation = {"model_max_detections": 7, "score_threshold": 0.3, "nms_iou": 0.4}
    found = native_config({"model": {"family": family}, "eval": evaluation})["model"]["kwargs"]
    names = ("detections_per_img", "score_thresh", "nms_thresh")
    assert [found[prefix + name] for name in names] == [7, 0.3, 0.4]


def test_what_the_training_loop_reads_is_there(native_config: Config) -> None:
    config = native_config({"model": {"family": "faster_rcnn"}, "train": {"epochs": 3, "ema": 0.99}})
    assert list(config) == ["model", "weights", "classes", "class_lock", "data", "train", "eval", "run"]
    assert config["classes"] == ["class 0", "class 1", "class 2"]
    assert (config["train"]["iterations"], config["train"]["steps_per_epoch"]) == (150, 50)
    assert config["train"]["ema"] == 0.99
    assert config["train"]["checkpoint"]["best"] == "bbox/AP"
    assert config["weights"] == {"kind": "none", "value": None, "sha256": None, "scope": None}
    assert config["run"] == {"device": "cpu", "devices": 1, "nodes": 1}


def test_overrides_name_the_field_and_who_asked(planned: Planned) -> None:
    spec = {
        "model": {"family": "faster_rcnn", "weights": "coco"},
        "data": {"image_size": {"short": 320, "long": 640}},
        "train": {"optimizer": {"lr": 0.01}, "schedule": {"name": "cosine"}},
        "eval": {"nms_iou": 0.6},
        "native": {"model": {"kwargs": {"rpn_post_nms_top_n_train": 500}}},
    }
    found = {o.key: o for o in translate(planned(spec)).overrides}
    rows = {
        "model.num_classes": (91, 4, "data.classes", "data"),
        "model.kwargs.min_size": ([800], [320], "data.image_size.short", "spec"),
        "model.kwargs.max_size": (1333, 640, "data.image_size.long", "spec"),
        "model.kwargs.box_nms_thresh": (0.5, 0.6, "eval.nms_iou", "spec"),
        "train.optimizer.lr": (0.02, 0.01, "train.optimizer.lr", "spec"),
        "train.schedule.name": ("multistep", "cosine", "train.schedule.name", "spec"),
        "train.schedule.milestones": ([16, 22], [], "train.schedule.name", "spec"),
        "train.epochs": (26, 50, "train.recipe", "spec"),
        "data.batch_size": (16, 2, "data.batch_size", "spec"),
        "model.kwargs.rpn_post_nms_top_n_train": (None, 500, "native", "spec"),
    }
    for key, row in rows.items():
        assert (found[key].official, found[key].value, found[key].asked_by, found[key].kind) == row, key


def test_native_is_merged_last(native_config: Config) -> None:
    native = {
        "model": {
            "fpn": {"channels": 128},
            "anchors": {"sizes": [[16], [32], [64], [128], [256]]},
            "kwargs": {"rpn_post_nms_top_n_train": 500, "box_batch_size_per_image": 128},
        }
    }
    section = native_config({"model": {"family": "faster_rcnn", "backbone": "mobilenet_v2_fpn"}, "native": native})[
        "model"
    ]
    assert section["fpn"] == {"channels": 128, "levels": ["3", "6", "13", "18"]}
    assert section["anchors"] == {"sizes": [[16], [32], [64], [128], [256]]}
    assert section["kwargs"]["box_batch_size_per_image"] == 128
    assert section["kwargs"]["box_nms_thresh"] == 0.5


@pytest.mark.parametrize(
    ("native", "parts"),
    [
        ({"modle": {}}, ["'modle'", "did you mean 'model'"]),
        ({"model": {"fnp": {}}}, ["native.model", "'fnp'", "did you mean 'fpn'"]),
        ({"model": {"fpn": {"chanels": 1}}}, ["native.model.fpn", "did you mean 'channels'"]),
        ({"model": {"kwargs": {"box_batch_size": 1}}}, ["mean 'box_batch_size_per_image'"]),
        ({"model": {"anchors": {"size": [[1]]}}}, ["native.model.anchors", "did you mean 'sizes'"]),
        ({"model": {"anchors": {"aspect_ratios": [1]}}}, ["native.model.anchors", "sizes is missing"]),
        ({"model": {"num_classes": 5}}, ["native.model.num_classes", "set data.classes instead"]),
        ({"model": {"kwargs": {"min_size": 5}}}, ["native.model.kwargs.min_size", "set data.image_size.short instead"]),
        ({"train": {"epochs": 5}}, ["native.train", "set train.* instead"]),
        ({"model": {"fpn": 3}}, ["native.model.fpn", "got 3", "mapping"]),
    ],
)  # fmt: skip
def test_native_with_unknown_keys_is_refused(planned: Planned, native: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        translate(planned({"model": {"family": "faster_rcnn"}, "native": native}))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ({"model": {"family": "fcos"}, "data": {"crowd": "ignore"}}, ["data.crowd", "nearest: official"]),
        ({"model": {"family": "ssd"}, "data": {"crowd": "ignore"}}, ["data.crowd", "ssd"]),
        ({"model": {"family": "ssd"}, "data": {"image_size": {"short": 300}}}, ["image_size.short", "nearest: square"]),
        ({"model": {"family": "faster_rcnn"}, "train": {"precision": "fp16"}}, ["train.precision", "nearest: bf16"]),
        (
            {"model": {"family": "faster_rcnn"}, "train": {"checkpoint": {"best": "segm/AP"}}},
            ["train.checkpoint.best", "nearest: bbox/AP"],
        ),
        (
            {"model": {"family": "fcos"}, "train": {"early_stopping": {"metric": "segm/AP50"}}},
            ["train.early_stopping.metric", "nearest: bbox/AP50"],
        ),
        (
            {"model": {"family": "ssd"}, "native": {"model": {"anchors": {"sizes": [[1]]}}}},
            ["native.model.anchors", "ssd", "nearest"],
        ),
    ],
)  # fmt: skip
def test_what_torchvision_cannot_do_is_said(planned: Planned, spec: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        translate(planned(spec))
    for part in [*parts, "torchvision"]:
        assert part in str(caught.value)


def test_sync_norm_in_one_process_is_an_override_of_the_host(planned: Planned) -> None:
    plan = planned({"model": {"zoo": "fasterrcnn_resnet50_fpn", "norm": "sync"}})
    (override,) = [o for o in translate(plan).overrides if o.key == "model.norm"]
    assert (override.value, override.kind) == ("batch", "host")


def test_the_file_is_plain_block_yaml(planned: Planned) -> None:
    native = translate(planned({"model": {"family": "ssd"}}))
    assert native.file_name == "config.yaml"
    assert "{" not in native.text.replace("{}", "")
    assert "!!" not in native.text
    assert "&id" not in translate(planned({"model": {"family": "fcos"}})).text
    assert yaml.safe_load(native.text)["model"]["kwargs"]["image_std"][0] == pytest.approx(1 / 255)
    assert native.extras == {}


def test_channels_last_comes_from_the_machine_even_where_the_precision_was_asked_for(planned: Planned) -> None:
    plan = planned({"model": {"family": "faster_rcnn"}, "train": {"precision": "fp16"}}, host="cuda8")
    kinds = {o.key: (o.value, o.asked_by, o.kind) for o in translate(plan).overrides}
    assert kinds["model.channels_last"] == (True, "run.device", "host")
    assert kinds["train.precision"] == ("fp16", "train.precision", "spec")
