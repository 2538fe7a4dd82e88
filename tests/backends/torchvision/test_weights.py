from __future__ import annotations

import copy
import hashlib
import re
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torchvision.models import mobilenet_v2, mobilenet_v3_large, resnet18, vgg16
from torchvision.models.detection import ssdlite

from cvtune.backends.layouts import find_layout, peek_scope
from cvtune.backends.torchvision.build import build_model
from cvtune.backends.torchvision.weights import load_checkpoint, load_weights
from cvtune.errors import DataError, RunError

Config = Callable[..., dict[str, Any]]
torch.set_num_threads(1)


@pytest.fixture
def model_of(native_config: Config) -> Callable[..., torch.nn.Module]:
    def make(family: str, backbone: str | None = None, classes: int = 3, **model: Any) -> torch.nn.Module:
        torch.manual_seed(1)
        spec = {"model": {"family": family, **({"backbone": backbone} if backbone else {}), **model}}
        return build_model(native_config(spec, classes=classes))

    return make


def _path(path: Path) -> dict[str, Any]:
    return {"kind": "path", "value": str(path), "sha256": None, "scope": None}


def _saved(tmp_path: Path, content: Any, **options: Any) -> dict[str, Any]:
    torch.save(content, tmp_path / "w.pth", **options)
    return _path(tmp_path / "w.pth")


@pytest.mark.real
def test_real_mobilenet_v2_weights_give_torchvisions_features(real_weights: Path, native_config: Config) -> None:
    file = real_weights / "mobilenet_v2_imagenet.pth"
    config = native_config({"model": {"family": "faster_rcnn", "backbone": "mobilenet_v2_fpn", "weights": str(file)}})
    assert config["weights"]["scope"] == "backbone"
    model = build_model(config)
    report = load_weights(model, config["weights"])
    body = {f"backbone.body.{n}" for n in model.backbone.body.state_dict() if not n.endswith("num_batches_tracked")}
    assert set(report.loaded) == body
    assert all(name.startswith("classifier.") for name, _ in report.skipped)
    assert not [name for name in report.missing if name.startswith("backbone.body.")]
    theirs = mobilenet_v2(weights=None)
    assert theirs.features.load_state_dict(
        {n.removeprefix("features."): v for n, v in torch.load(file, weights_only=True).items() if n[0] == "f"}
    )
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    theirs.eval()
    with torch.no_grad():
        wanted = theirs.features(image)
        # Frozen batch norm multiplies in another order than BatchNorm2d: equal but for rounding, so in float64.
        found = list(model.eval().double().backbone.body(image.double()).values())[-1]
        torch.testing.assert_close(found, copy.deepcopy(theirs).double().features(image.double()))
    config["model"] |= {"norm": "batch", "frozen_stages": None}
    exact = build_model(config)
    load_weights(exact, config["weights"])
    with torch.no_grad():
        assert torch.equal(list(exact.eval().backbone.body(image).values())[-1], wanted)


@pytest.mark.parametrize("wrap", [dict, lambda s: {"model": s}, lambda s: {"state_dict": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapped_classifiers_load_the_whole_body(tmp_path: Path, model_of: Any, wrap: Any, prefix: str) -> None:
    source = {prefix + k: v for k, v in resnet18().state_dict().items()}
    model = model_of("retinanet", "resnet18_fpn")
    report = load_weights(model, _saved(tmp_path, wrap(source)))
    assert report.layout == "torchvision ResNet classifier"
    assert {n.rsplit(".", 1)[0] for n, reason in report.skipped if "own head" in reason} == {"fc"}
    assert not [n for n in report.missing if n.startswith("backbone.body.")]
    for name, value in model.backbone.body.state_dict().items():
        assert torch.equal(value, source[prefix + name])


def test_the_old_file_format_is_read(tmp_path: Path, model_of: Any) -> None:
    weights = _saved(tmp_path, resnet18().state_dict(), _use_new_zipfile_serialization=False)
    report = load_weights(model_of("fcos", "resnet18_fpn"), weights)
    assert len(report.loaded) == 100
    assert peek_scope(Path(weights["value"])) == "backbone"


def test_regnet_classifier(tmp_path: Path, model_of: Any) -> None:
    source = torchvision.models.regnet_x_400mf().state_dict()
    model = model_of("faster_rcnn", "regnet_x_400mf_fpn")
    report = load_weights(model, _saved(tmp_path, source))
    assert not [n for n in report.missing if n.startswith("backbone.body.")]
    name = "block2.block2-0.f.a.0.weight"
    assert torch.equal(model.backbone.body.state_dict()[name], source[f"trunk_output.{name}"])


def test_vgg_into_ssd_is_where_torchvision_puts_it(tmp_path: Path, model_of: Any) -> None:
    source = vgg16()
    model = model_of("ssd")
    report = load_weights(model, _saved(tmp_path, source.state_dict()))
    theirs = torchvision.models.detection.ssd._vgg_extractor(source, False, 5).state_dict()
    convolutions = {n for n in theirs if n.startswith("features.") or re.match(r"extra\.0\.[0-6]\.", n)}
    assert {n.removeprefix("backbone.") for n in report.loaded} == convolutions
    for name in convolutions:
        assert torch.equal(model.backbone.state_dict()[name], theirs[name])


def test_mobilenet_into_ssdlite_is_where_torchvision_puts_it(tmp_path: Path, native_config: Config) -> None:
    source = mobilenet_v3_large()
    model = build_model(native_config({"model": {"family": "ssdlite", "weights": "imagenet"}}))
    report = load_weights(model, _saved(tmp_path, source.state_dict()))
    theirs = ssdlite._mobilenet_extractor(source, 6, torch.nn.BatchNorm2d).state_dict()
    wanted = {n for n in theirs if n.startswith("features.") and not n.endswith("num_batches_tracked")}
    assert {n.removeprefix("backbone.") for n in report.loaded} == wanted
    for name in wanted:
        assert torch.equal(model.backbone.state_dict()[name], theirs[name])


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("faster_rcnn", {"roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"}),
        (
            "mask_rcnn",
            {
                "roi_heads.box_predictor.cls_score",
                "roi_heads.box_predictor.bbox_pred",
                "roi_heads.mask_predictor.mask_fcn_logits",
            },
        ),
        ("retinanet", {"head.classification_head.cls_logits"}),
        ("fcos", {"head.classification_head.cls_logits"}),
    ],
)
def test_another_number_of_classes_drops_only_the_class_tensors(
    tmp_path: Path, model_of: Any, family: str, names: set[str]
) -> None:
    source = model_of(family, "resnet18_fpn", classes=7).state_dict()
    model = model_of(family, "resnet18_fpn", classes=3)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    report = load_weights(model, _saved(tmp_path, source))
    assert report.layout == "torchvision detector"
    assert {n.rsplit(".", 1)[0] for n, _ in report.skipped} == names
    assert {reason.split(" (")[0] for _, reason in report.skipped} == {"another number of classes"}
    assert {n for n, _ in report.skipped} == set(report.missing)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in report.missing else source[name]), name
    text = "\n".join(report.lines())
    assert f"{len(report.loaded)} of {len(report.loaded) + len(report.missing)} tensors loaded" in text
    assert "another number of classes" in text
    assert "start at random" in text


def test_names_of_torchvisions_first_coco_weights(tmp_path: Path, model_of: Any) -> None:
    """Files from before torchvision wrapped its convolutions have other names for the same tensors."""
    for family in ("mask_rcnn", "retinanet"):
        state = model_of(family, "resnet18_fpn").state_dict()
        old = {}
        for name, value in state.items():
            name = re.sub(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.0\.", r"\1.", name)
            name = re.sub(r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", name)
            name = re.sub(
                r"^roi_heads\.mask_head\.(\d)\.0\.", lambda m: f"roi_heads.mask_head.mask_fcn{int(m[1]) + 1}.", name
            )
            name = re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", name)
            old[name] = value
        assert len(old.keys() - state.keys()) > 10
        model = model_of(family, "resnet18_fpn")
        torch.nn.init.zeros_(model.backbone.fpn.inner_blocks[0][0].weight)
        report = load_weights(model, _saved(tmp_path, old))
        assert (report.missing, report.skipped) == ((), ())
        assert all(torch.equal(v, state[n]) for n, v in model.state_dict().items())


def test_a_cvtune_checkpoint_gives_its_averaged_weights(tmp_path: Path, model_of: Any) -> None:
    source = model_of("fcos", "resnet18_fpn").state_dict()
    averaged = {n: torch.full_like(v, 2) for n, v in source.items()}
    content = {"cvtune": {"classes": {}}, "model": source, "ema": averaged, "step": 3}
    model = model_of("fcos", "resnet18_fpn")
    report = load_weights(model, _saved(tmp_path, content))
    assert report.layout == "cvtune checkpoint"
    assert report.missing == ()
    assert float(model.backbone.body.conv1.weight.detach().mean()) == 2
    content["ema"] = None
    load_weights(model, _saved(tmp_path, content))
    assert torch.equal(model.backbone.body.conv1.weight, source["backbone.body.conv1.weight"])


def test_none_loads_nothing(model_of: Any) -> None:
    model = model_of("fcos", "resnet18_fpn")
    report = load_weights(model, {"kind": "none", "value": None, "sha256": None, "scope": None})
    assert (report.layout, report.loaded) == ("none", ())
    assert list(report.lines()) == ["weights: none; all tensors start at random"]


@pytest.mark.parametrize(
    ("keys", "layout"),
    [
        (["backbone.bottom_up.stem.conv1.weight", "roi_heads.box_head.fc1.weight"], "Detectron2"),
        (["stem.conv1.weight", "res2.0.conv1.weight"], "Detectron2"),
        (["backbone.layer1.0.conv1.weight", "neck.lateral_convs.0.conv.weight"], "MMDetection"),
        (["backbone.stem.0.conv.weight", "bbox_head.rtm_cls.0.weight"], "MMDetection"),
        (["stem.conv.weight", "s1.b1.f.a.weight", "s1.b1.f.a_bn.weight"], "pycls classifier"),
        (["conv_stem.weight", "blocks.0.0.conv_dw.weight"], "timm"),
        (["stem.0.weight", "stages.0.blocks.0.conv_dw.weight"], "timm"),
    ],
)
def test_layouts_of_other_frameworks_are_named(tmp_path: Path, model_of: Any, keys: list[str], layout: str) -> None:
    weights = _saved(tmp_path, {key: torch.zeros(2) for key in keys})
    with pytest.raises(DataError, match=rf"layout of its names is {layout}'s, as in {re.escape(keys[0])}"):
        load_weights(model_of("fcos", "resnet18_fpn"), weights)


@pytest.mark.parametrize(
    ("keys", "layout"),
    [
        (["backbone.body.conv1.weight", "roi_heads.box_head.fc6.weight"], "torchvision detector"),
        (["backbone.features.0.weight", "head.classification_head.module_list.0.weight"], "torchvision detector"),
        (["conv1.weight", "layer1.0.conv1.weight", "fc.weight"], "torchvision ResNet classifier"),
        (["features.0.0.weight", "classifier.1.weight"], "torchvision features classifier"),
        (["stem.0.weight", "trunk_output.block1.x"], "torchvision RegNet classifier"),
        (["a", "b"], None),
    ],
)
def test_layouts_that_are_read(keys: list[str], layout: str | None) -> None:
    assert find_layout(keys) == layout


def test_scope_is_read_off_a_file_without_unpickling_it(tmp_path: Path, model_of: Any) -> None:
    _saved(tmp_path, {"model": model_of("fcos", "resnet18_fpn").state_dict()})
    assert peek_scope(tmp_path / "w.pth") == "detector"
    _saved(tmp_path, {"state_dict": {f"module.{k}": v for k, v in mobilenet_v2().state_dict().items()}})
    assert peek_scope(tmp_path / "w.pth") == "backbone"
    assert peek_scope(tmp_path / "missing.pth") == "detector"


def test_a_file_that_fits_nowhere_lists_both_sides(tmp_path: Path, model_of: Any) -> None:
    weights = _saved(tmp_path, {f"encoder.{i}": torch.zeros(1) for i in range(9)})
    with pytest.raises(DataError) as caught:
        load_weights(model_of("fcos", "resnet18_fpn"), weights)
    message = str(caught.value)
    assert "encoder.0, encoder.1, encoder.2, encoder.3, encoder.4;" in message
    assert message.count("backbone.body.") == 5
    assert "encoder.5" not in message


class _Runs:
    """A pickle that would run code."""

    def __reduce__(self) -> Any:
        return (Path.write_text, (Path("/nonexistent/pwned"), "x"))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, model_of: Any) -> None:
    weights = _saved(tmp_path, {"model": resnet18().state_dict(), "extra": _Runs()})
    with pytest.raises(DataError, match=r"run code from the file.*--trust-checkpoint"):
        load_weights(model_of("fcos", "resnet18_fpn"), weights)


def test_trust_reads_it(tmp_path: Path, model_of: Any) -> None:
    weights = _saved(tmp_path, {"model": resnet18().state_dict(), "extra": Path("harmless")})
    with pytest.raises(DataError, match="--trust-checkpoint"):
        load_checkpoint(Path(weights["value"]))
    report = load_weights(model_of("fcos", "resnet18_fpn"), weights, trust=True)
    assert len(report.loaded) == 100


@pytest.mark.parametrize("name", ["w.pth", "old.pth"])
def test_damaged_files_are_errors(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    torch.save(resnet18().state_dict(), path, _use_new_zipfile_serialization=name == "w.pth")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=name):
        load_checkpoint(path)
    with pytest.raises(DataError, match="no such weights file"):
        load_checkpoint(tmp_path / "missing.pth")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}])
def test_files_without_a_state_dict(tmp_path: Path, model_of: Any, content: Any) -> None:
    with pytest.raises(DataError, match=r"save model\.state_dict\(\)"):
        load_weights(model_of("fcos", "resnet18_fpn"), _saved(tmp_path, content))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_without_a_network_the_address_and_the_place_are_named(
    hub: Path, model_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    weights = {"kind": "enum", "value": "FCOS_ResNet50_FPN_Weights.COCO_V1", "sha256": None, "scope": "detector"}
    with pytest.raises(RunError) as caught:
        load_weights(model_of("fcos"), weights)
    message = str(caught.value)
    assert "fcos_resnet50_fpn_coco-99b0c9b7.pth: cannot be downloaded: no route to host" in message
    assert str(hub / "fcos_resnet50_fpn_coco-99b0c9b7.pth") in message


def test_a_cached_file_with_another_hash_is_refused(hub: Path, model_of: Any) -> None:
    hub.mkdir(parents=True)
    torch.save(resnet18().state_dict(), hub / "resnet18-f37072fd.pth")
    weights = {"kind": "enum", "value": "ResNet18_Weights.IMAGENET1K_V1", "sha256": None, "scope": "backbone"}
    with pytest.raises(RunError, match="expected f37072fd; delete the file"):
        load_weights(model_of("fcos", "resnet18_fpn"), weights)


def test_an_address_is_downloaded_once_and_verified(
    hub: Path, tmp_path: Path, model_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "source.pth")
    content = (tmp_path / "source.pth").read_bytes()
    fetched = []

    def copy(url: str, path: str, progress: bool) -> None:
        fetched.append(url)
        Path(path).write_bytes(content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", copy)
    url = "https://example.org/r18.pth"
    weights = {"kind": "url", "value": url, "sha256": hashlib.sha256(content).hexdigest(), "scope": "backbone"}
    for _ in range(2):
        assert len(load_weights(model_of("fcos", "resnet18_fpn"), weights).loaded) == 100
    assert fetched == [url]
    with pytest.raises(RunError, match="expected " + "0" * 64):
        load_weights(model_of("fcos", "resnet18_fpn"), {**weights, "sha256": "0" * 64})
