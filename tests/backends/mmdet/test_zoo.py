"""The official configs are found, read and told apart without importing MMDetection or torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cvtune.backends.mmdet import zoo
from cvtune.backends.mmdet.models import FAMILIES, model_of, models
from cvtune.backends.mmdet.recipes import recipe
from cvtune.errors import MissingDependencyError, SpecError, UnsupportedError
from cvtune.spec import ModelSpec, Spec


def spec_of(**model: object) -> Spec:
    return Spec.model_validate(
        {"name": "x", "backend": "mmdet", "model": {"weights": "none", **model}, "data": {"train": ["a"]}}
    )


def test_every_config_that_a_family_names_is_in_the_package_and_has_its_task() -> None:
    for family, info in models().items():
        for config in info.backbones.values():
            if config is not None:
                assert config in zoo.zoo_names()
        model = model_of(ModelSpec(family=family))
        assert recipe(spec_of(family=family)).task == info.task
        assert zoo.left_out(zoo.read_official(model.config).content) is None


def test_most_configs_of_the_families_have_published_weights_and_scores() -> None:
    named = [config for backbones in FAMILIES.values() for config in backbones.values()]
    with_weights = [name for name in named if zoo.published(name).get("weights", "").startswith("https://")]
    assert len(with_weights) >= 0.85 * len(named)
    assert zoo.published("faster_rcnn/faster-rcnn_r50_fpn_1x_coco")["box_ap"] == pytest.approx(0.374)


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", 16),
        ("yolox/yolox_s_8xb8-300e_coco", 64),
        ("rtmdet/rtmdet_tiny_8xb32-300e_coco", 256),  # its inherited base_batch_size says 16
        ("rtmdet/rtmdet-ins_x_8xb16-300e_coco", 256),  # 8 GPUs, and 32 images a GPU in the file
        ("deformable_detr/deformable-detr_r50_16xb2-50e_coco", 32),
        ("ssd/ssd300_coco", 64),
    ],
)
def test_the_official_batch_is_that_of_the_recipe(name: str, batch: int) -> None:
    assert zoo.official_batch(zoo.read_official(name))[0] == batch


@pytest.mark.parametrize(
    ("model", "fragments"),
    [
        ({"zoo": "dino-4scale_r50_8xb2-12e_coc"}, ["unknown config", "did you mean 'dino-4scale_r50_8xb2-12e_coco'"]),
        ({"family": "rtmdett"}, ["unknown family", "did you mean 'rtmdet'"]),
        ({"family": "retinanet", "backbone": "resnet51_fpn"}, ["unknown backbone", "did you mean 'resnet50_fpn'"]),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(model: dict[str, str], fragments: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        recipe(spec_of(**model))
    assert all(fragment in str(caught.value) for fragment in fragments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365", "text"),
        ("panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco", "panoptic"),
        ("mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic", "panoptic"),
        ("rpn/rpn_r50_fpn_1x_coco", "names no classes"),
        ("fast_rcnn/fast-rcnn_r50_fpn_1x_coco", "proposals"),
        ("soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco", "without labels"),
        ("common/ms_3x_coco", "holds no model"),
    ],
)
def test_configs_of_other_tasks_are_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        recipe(spec_of(zoo=name))


def test_a_file_name_alone_is_enough() -> None:
    assert zoo.find_config("yolox_tiny_8xb8-300e_coco") == "yolox/yolox_tiny_8xb8-300e_coco"
    assert zoo.find_config("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py") == "yolox/yolox_tiny_8xb8-300e_coco"


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"mmdet is not installed; run .*pip install"):
        zoo.package_root()


def test_recipe_and_translation_import_neither_torch_nor_mmdet() -> None:
    code = (
        "import sys; from cvtune.spec import Spec; from cvtune.backends.mmdet.backend import recipe;"
        "recipe(Spec.model_validate({'name': 'x', 'backend': 'mmdet', 'model': {'family': 'yolox'}, "
        "'data': {'train': ['a']}})); "
        "import cvtune.backends.mmdet.translate; "
        "print([m for m in ('torch', 'mmdet', 'mmcv', 'cv2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "package", "command"),
    [
        ("convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco", "mmpretrain", r"cvtune\[mmdet-zoo\]"),
        ("timm_example/retinanet_timm-tv-resnet50_fpn_1x_coco", "timm", r"cvtune\[mmdet-zoo\]"),
        ("instaboost/mask-rcnn_r50_fpn_instaboost-4x_coco", "instaboostfast", "pip install instaboostfast"),
    ],
)
def test_a_package_that_only_some_configs_need_is_named(
    name: str, package: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = zoo.read_official(name).content
    found = zoo.importlib.util.find_spec
    monkeypatch.setattr(zoo.importlib.util, "find_spec", lambda wanted: found(wanted) if wanted != package else None)
    with pytest.raises(MissingDependencyError, match=f"needs {package}, which is not installed; run .*{command}"):
        zoo.require_packages(content)


def test_a_config_of_mmdetection_alone_needs_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    content = zoo.read_official("faster_rcnn/faster-rcnn_r50_fpn_1x_coco").content
    monkeypatch.setattr(zoo.importlib.util, "find_spec", lambda name: None)
    zoo.require_packages(content)
