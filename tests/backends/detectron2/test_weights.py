"""Starting weights: whose names a file has, what fits, what is left out by name, and what is refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import yaml

from cvtune.backends.detectron2.probe import install_kernels
from cvtune.backends.detectron2.translate import translate
from cvtune.errors import DataError
from cvtune.plan import Plan
from cvtune.runs import RunDir, write_json, write_text

install_kernels()

from cvtune.backends.detectron2.config import build_model, read_config, read_extras  # noqa: E402
from cvtune.backends.detectron2.models import model_of  # noqa: E402
from cvtune.backends.detectron2.unpickle import read_pickle  # noqa: E402
from cvtune.backends.detectron2.weights import load_weights  # noqa: E402
from cvtune.backends.detectron2.weights_names import PYCLS_INPUT, starting_weights  # noqa: E402
from cvtune.spec import ModelSpec  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def build(plan_for: MakePlan, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A model of Detectron2 for keyword arguments of a spec."""

    def make(**changes: Any) -> Any:
        run = RunDir(tmp_path_factory.mktemp("model"))
        native = translate(plan_for(data__batch_size=2, **changes))
        write_text(run.path / native.file_name, native.text)
        write_json(run.extras, native.extras)
        read_extras(run)
        return build_model(read_config(run))

    return make


def a_path(path: Path) -> dict[str, Any]:
    return {"kind": "path", "value": str(path), "sha256": None}


def test_torchvisions_resnet_gives_the_same_features_under_detectron2s_names(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    classifier = torchvision.models.resnet18(weights=None).eval()
    for name, value in classifier.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    model = build(model__family="faster_rcnn", model__backbone="resnet18_fpn", model__norm="frozen").eval()
    report = load_weights(model, a_path(tmp_path / "resnet18.pth"))
    assert report.layout == "torchvision ResNet classifier"
    assert [name for name, _ in report.skipped] == ["fc.weight", "fc.bias"]
    assert not [name for name in report.missing if "bottom_up" in name]
    image = torch.rand(1, 3, 64, 64)
    body = torch.nn.Sequential(*list(classifier.children())[:-2])
    with torch.no_grad():
        torch.testing.assert_close(model.backbone.bottom_up(image)["res5"], body(image))


def test_torchvisions_resnet_fits_a_model_of_mmdetections(build: Callable[..., Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = torchvision.models.resnet50(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnet50.pth")
    model = build(model__zoo="Misc/mmdet_mask_rcnn_R_50_FPN_1x")
    report = load_weights(model, a_path(tmp_path / "resnet50.pth"))
    assert [name for name, _ in report.skipped] == ["fc.weight", "fc.bias"]
    assert not [name for name in report.missing if "detector.backbone." in name]
    assert torch.equal(model.detector.backbone.layer4[2].conv3.weight, classifier.layer4[2].conv3.weight)


@pytest.mark.parametrize("kind", ["x", "y"])
def test_pycls_regnets_are_loaded_whole(kind: str, build: Callable[..., Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(model__zoo=f"COCO-InstanceSegmentation/mask_rcnn_regnet{kind}_4gf_dds_fpn_1x", model__norm="frozen")
    body = model.backbone.bottom_up
    published = {name: torch.rand_like(value) for name, value in body.state_dict().items()}
    head = {"head.fc.weight": torch.zeros(1000, 8), "head.fc.bias": torch.zeros(1000)}
    path = tmp_path / "RegNet.pyth"
    torch.save({"epoch": 100, "model_state": {**published, **head}, "cfg": "MODEL: {}"}, path)
    report = load_weights(model, a_path(path))
    assert report.layout == "pycls classifier"
    assert [name for name, _ in report.skipped] == list(head)
    assert not [name for name in report.missing if "bottom_up" in name]
    for name, value in body.state_dict().items():
        assert torch.equal(value, published[name]), name
    fed = starting_weights(str(path), model_of(ModelSpec(zoo="COCO-Detection/fcos_R_50_FPN_1x")))
    assert (fed["scope"], fed["input"]) == ("backbone", dict(PYCLS_INPUT))


@pytest.mark.parametrize(("family", "level"), [("faster_rcnn", "p6"), ("retinanet", "p7")])
def test_torchvisions_mobilenet_gives_the_same_features(
    family: str, level: str, build: Callable[..., Any], tmp_path: Path
) -> None:
    classifier = torchvision.models.mobilenet_v2(weights=None).eval()
    torch.save(classifier.state_dict(), tmp_path / "mobilenet.pth")
    model = build(model__family=family, model__backbone="mobilenet_v2_fpn", model__norm="frozen").eval()
    report = load_weights(model, a_path(tmp_path / "mobilenet.pth"))
    assert not [name for name in report.missing if "bottom_up" in name]
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.backbone.bottom_up(image)["res5"], classifier.features(image))
        assert level in model.backbone(image)


def test_frozen_stages_of_mobilenet_get_no_gradient(build: Callable[..., Any], tmp_path: Path) -> None:
    model = build(
        model__family="faster_rcnn", model__backbone="mobilenet_v2_fpn", model__norm="batch", model__frozen_stages=1
    )
    trained = {
        int(name.split(".")[2])
        for name, p in model.backbone.named_parameters()
        if "features" in name and p.requires_grad
    }
    assert trained == set(range(4, 19))  # the stem ends with module 1, the first stage with module 3


def test_a_detector_with_other_classes_loads_but_for_its_heads(build: Callable[..., Any], tmp_path: Path) -> None:
    official = build(model__family="mask_rcnn", model__backbone="resnet18_fpn", classes=[str(i) for i in range(80)])
    arrays = {name: value.numpy() for name, value in official.state_dict().items()}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    model = build(model__family="mask_rcnn", model__backbone="resnet18_fpn")
    report = load_weights(model, a_path(path))
    assert {name.rsplit(".", 1)[0] for name, _ in report.skipped} == {
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
        "roi_heads.mask_head.predictor",
    }
    assert all("another number of classes" in reason for _, reason in report.skipped)
    assert set(report.missing) == {name for name, _ in report.skipped}
    own = model.state_dict()
    assert all(np.array_equal(own[name].numpy(), arrays[name]) for name in report.loaded)


def test_caffe2_names_of_a_backbone_are_renamed(build: Callable[..., Any], tmp_path: Path) -> None:
    model = build(model__family="faster_rcnn", model__weights="imagenet")
    caffe = {
        "conv1_w": np.ones((64, 3, 7, 7), np.float32),
        "res_conv1_bn_s": np.full(64, 2.0, np.float32),
        "res_conv1_bn_b": np.full(64, 3.0, np.float32),
        "res2_0_branch2a_w": np.ones((64, 64, 1, 1), np.float32),
        "conv1_w_momentum": np.ones(3, np.float32),
    }
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps({"blobs": caffe}, protocol=2))
    with pytest.raises(DataError, match="another architecture"):  # four tensors are no ResNet-50
        load_weights(model, a_path(path))
    bottom_up = model.backbone.bottom_up
    assert (bottom_up.stem.conv1.norm.weight == 2).all()
    assert (bottom_up.stem.conv1.norm.bias == 3).all()
    assert (bottom_up.res2[0].conv1.weight == 1).all()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (pickle.dumps({"model": Evil(), "__author__": "x"}), "no array or container"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps({"model": {}, "__author__": "x"}), "holds no arrays"),
        (b"not a pickle", "cannot be read as weights"),
    ],
)
def test_a_pickle_of_anything_but_arrays_is_refused(
    content: bytes, fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_pickle(tmp_path / "x.pkl")
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("state", "fragment"),
    [
        ({"backbone.body.layer1.0.conv1.weight": torch.zeros(1)}, "torchvision detector"),
        ({"bbox_head.conv.weight": torch.zeros(1)}, "MMDetection"),
        ({"layer1.0.conv1.weight": torch.zeros(8, 8, 1, 1)}, "another architecture"),
        ({"features.0.0.weight": torch.zeros(1)}, "another architecture"),
    ],
)
def test_weights_of_another_architecture_or_framework_are_refused(
    state: dict[str, torch.Tensor], fragment: str, build: Callable[..., Any], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "other.pth")
    model = build(model__family="faster_rcnn", model__backbone="resnet18_fpn")
    with pytest.raises(DataError) as caught:
        load_weights(model, a_path(tmp_path / "other.pth"))
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_native_file_is_read_without_evaluating_anything(tmp_path: Path) -> None:
    from cvtune.errors import CvtuneError

    run = RunDir(tmp_path)
    run.config.write_text("MODEL: {WEIGHTS: !!python/object/apply:os.getcwd []}\nVERSION: 2\n")
    with pytest.raises((CvtuneError, yaml.YAMLError)):
        read_config(run)
