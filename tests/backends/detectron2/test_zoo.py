"""The official configs are found, read and told apart without importing Detectron2 or torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cvtune.backends.detectron2 import zoo
from cvtune.backends.detectron2.models import FAMILIES, model_of, models
from cvtune.backends.detectron2.recipes import recipe
from cvtune.errors import MissingDependencyError, SpecError, UnsupportedError
from cvtune.spec import ModelSpec, Spec


def spec_of(**model: object) -> Spec:
    return Spec.model_validate(
        {"name": "x", "backend": "detectron2", "model": {"weights": "none", **model}, "data": {"train": ["a"]}}
    )


def test_every_config_that_a_family_names_is_in_the_package_and_has_its_task() -> None:
    for family, info in models().items():
        for config in info.backbones.values():
            if config is not None:
                assert config in zoo.zoo_names()
                assert zoo.left_out(config) is None
                has_weights = "weights" in info.published[config]
                assert has_weights == (family != "fcos"), "Detectron2 publishes no FCOS"
        for backbone in info.backbones:
            assert recipe(spec_of(family=family, backbone=backbone)).values["model.backbone"] == backbone
        assert recipe(spec_of(family=family)).config == model_of(ModelSpec(family=family)).config


def test_the_rule_leaves_out_what_is_no_detector_and_says_why() -> None:
    reasons = {name: zoo.left_out(name) for name in zoo.zoo_names()}
    taken = [name for name, reason in reasons.items() if reason is None]
    assert len([name for name in taken if not zoo.is_lazy(name)]) == 46
    assert len([name for name in taken if zoo.is_lazy(name)]) == 17
    assert {name.split("/")[0] for name in taken} >= {
        "COCO-Detection",
        "COCO-InstanceSegmentation",
        "Misc",
        "Cityscapes",
    }
    assert "whole images" in str(reasons["Misc/torchvision_imagenet_R_50"])
    assert "proposals" in str(reasons["COCO-Detection/fast_rcnn_R_50_FPN_1x"])
    assert "part of other configs" in str(reasons["Base-RCNN-FPN"])


def test_every_yaml_config_reads_as_detectron2_reads_it() -> None:
    """In a process of its own: `detectron2.config` imports torch."""
    script = """
import sys
from cvtune.backends.detectron2 import zoo
names = [name for name in zoo.zoo_names() if zoo.left_out(name) is None and not zoo.is_lazy(name)]
read = {name: zoo.read_official(name).content for name in names}
assert not {"torch", "detectron2"} & set(sys.modules), "reading the zoo imports a framework"
from detectron2.config import get_cfg
for name in names:
    config = get_cfg()
    config.merge_from_file(zoo.config_path(name))
    assert zoo.plain(config) == read[name], name
from detectron2.model_zoo.model_zoo import _ModelZooUrls
from detectron2.utils.file_io import PathManager
for name in names:
    said = zoo.checkpoint(name)
    assert (said and zoo.weights_url(said)) == _ModelZooUrls.query(name + ".yaml"), name
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("!!python/object/apply:eval ['__import__(\"os\").getcwd()']", "expressions are not evaluated"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_no_expression_in_a_config_is_evaluated(text: str, fragment: str) -> None:
    import yaml

    with pytest.raises((ValueError, yaml.YAMLError), match=fragment):
        yaml.load(f"SIZES: {text}", Loader=zoo._Loader)


@pytest.mark.parametrize(
    ("model", "fragments"),
    [
        ({"zoo": "COCO-Detection/faster_rcnn_R_50_FPN_2x"}, ["unknown config", "did you mean 'COCO-Detection/faster"]),
        (
            {"zoo": "faster_rcnn_R_50_FPN_1"},
            ["unknown config", "did you mean 'COCO-Detection/faster_rcnn_R_50_FPN_1x'"],
        ),
        ({"zoo": "mask_rcnn_R_50_FPN_1x"}, ["several configs", "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"]),
        (
            {"zoo": "mask_rcnn_R50_FPN_3x"},
            ["unknown config", "did you mean 'COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x'"],
        ),
        ({"family": "faster_rcn"}, ["unknown family", "did you mean 'faster_rcnn'"]),
        ({"family": "retinanet", "backbone": "resnet51_fpn"}, ["unknown backbone", "did you mean 'resnet50_fpn'"]),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(model: dict[str, str], fragments: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        recipe(spec_of(**model))
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x", "keypoints"),
        ("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x", "panoptically"),
        ("Misc/semantic_R_50_FPN_1x", "labels pixels"),
        ("COCO-Detection/fast_rcnn_R_50_FPN_1x", "proposals computed beforehand"),
        ("COCO-Detection/rpn_R_50_FPN_1x", "names no classes"),
        ("Misc/torchvision_imagenet_R_50", "classifies whole images"),
        ("Base-RCNN-FPN", "part of other configs"),
    ],
)
def test_configs_of_another_task_are_refused_with_the_reason(name: str, fragment: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        recipe(spec_of(zoo=name))
    assert fragment in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "detectron2" else found(name))
    zoo.package_root.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match=r"detectron2 is not installed; run .*install_detectron2\.py"):
            zoo.package_root()
    finally:
        zoo.package_root.cache_clear()


def test_the_recipe_is_read_from_the_config() -> None:
    found = recipe(spec_of(zoo="COCO-Detection/retinanet_R_50_FPN_1x", weights="imagenet"))
    assert found.task == "detect"
    assert found.values["train.optimizer.lr"] == 0.01
    assert found.values["data.batch_size"] == 16
    assert found.values["train.iterations"] == 90_000
    assert found.values["train.epochs"] == 12
    assert found.values["train.schedule.milestones"] == pytest.approx([8.0, 10.667])
    assert found.values["model.frozen_stages"] == 1
    assert found.values["model.norm"] == "frozen"
    assert found.values["weights.scope"] == "backbone"
    assert set(FAMILIES["retinanet"]) == {"resnet50_fpn", "resnet101_fpn"}
