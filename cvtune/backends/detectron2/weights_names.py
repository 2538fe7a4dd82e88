"""Which file the starting weights are, and how images have to be fed to them: order of channels, mean, deviation.

Weights that were trained on RGB images and are fed BGR ones give no error, only worse results; the same holds for the
deviation, and for which convolution of a bottleneck has the stride.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cvtune.backends.detectron2.lazy.keys import INPUT_PATHS
from cvtune.backends.detectron2.models import PYCLS_WEIGHTS, TORCHVISION_WEIGHTS, Model
from cvtune.backends.detectron2.zoo import checkpoint, find_config, is_lazy, read_official
from cvtune.backends.edits import Edits
from cvtune.backends.layouts import peek_layout
from cvtune.backends.outline import read_outline
from cvtune.errors import UnsupportedError

__all__ = ["INPUT_KEYS", "TORCHVISION_INPUT", "WEIGHTS_PATHS", "starting_weights"]

# Where a config names what it starts from: YAML, LazyConfig.
WEIGHTS_PATHS = (("MODEL", "WEIGHTS"), ("train", "init_checkpoint"))
INPUT_KEYS = ("INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "MODEL.RESNETS.STRIDE_IN_1X1")
TORCHVISION_INPUT: Mapping[str, Any] = MappingProxyType(
    {
        "INPUT.FORMAT": "RGB",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
    }
)
"""What torchvision's ImageNet weights expect: RGB, its statistics of 0..1 times 255, the stride in the 3 x 3."""
PYCLS_INPUT: Mapping[str, Any] = MappingProxyType(
    {
        "INPUT.FORMAT": "BGR",
        "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
        "MODEL.PIXEL_STD": [57.375, 57.12, 58.395],
    }
)
"""What pycls' RegNets expect: BGR, and the deviation that Detectron2 feeds them with."""
MSRA_INPUT: Mapping[str, Any] = MappingProxyType(
    {
        "INPUT.FORMAT": "BGR",
        "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
        "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
        "MODEL.RESNETS.STRIDE_IN_1X1": True,
    }
)
"""What MSRA's ResNets expect: BGR, no deviation, the stride in the first 1 x 1."""
# Parts of names that only detectors have, Detectron2's and Caffe2's.
_DETECTOR = ("proposal_generator", "roi_heads", "head.cls_score", "cls_score", "rpn")
_TORCHVISION = "https://download.pytorch.org/models/"
_PYCLS = "https://dl.fbaipublicfiles.com/pycls/"


def starting_weights(weights: str, model: Model) -> dict[str, Any]:
    """What a spec's `model.weights` comes to.

    Returns:
        {"kind": none|path|url, "value": as MODEL.WEIGHTS says it, "sha256", "scope": None|backbone|detector, "input":
        the values of `INPUT_KEYS` that the weights need, or {} where they need the official config's}.

    Raises:
        UnsupportedError: no such weights are published for the config.
        SpecError: a `zoo:` name that is unknown.
    """
    record: dict[str, Any] = {"kind": "none", "value": "", "sha256": None, "scope": None, "input": {}}
    if weights == "none":
        return record
    if weights == "imagenet":
        return record | _imagenet(model)
    if weights == "coco" or weights.startswith("zoo:"):
        return record | _zoo(weights, model)
    if weights.startswith("https://"):
        url, _, digest = weights.partition("#sha256=")
        origins = ((_TORCHVISION, TORCHVISION_INPUT), (_PYCLS, PYCLS_INPUT))
        fed = next((dict(need) for start, need in origins if url.startswith(start)), {})
        scope = "backbone" if fed else "detector"
        return record | {"kind": "url", "value": url, "sha256": digest or None, "scope": scope, "input": fed}
    scope, fed = _of_file(Path(weights), model)
    return record | {"kind": "path", "value": weights, "scope": scope, "input": fed}


def _imagenet(model: Model) -> dict[str, Any]:
    if model.backbone in TORCHVISION_WEIGHTS:
        url = TORCHVISION_WEIGHTS[model.backbone]
        digest = url.removesuffix(".pth").rsplit("-", 1)[-1]  # their names end in the first digits of the hash
        return {"kind": "url", "value": url, "sha256": digest, "scope": "backbone", "input": dict(TORCHVISION_INPUT)}
    for kind, url in PYCLS_WEIGHTS.items():
        if model.backbone.lower().startswith(kind):
            return {"kind": "url", "value": url, "scope": "backbone"}
    at = WEIGHTS_PATHS[is_lazy(model.config)]
    own = Edits(read_official(model.config).content).get(("model", "detector", "pretrained"))
    if own == "torchvision://resnet50":
        digest = "0676ba61"
        return {"kind": "url", "value": f"{_TORCHVISION}resnet50-{digest}.pth", "sha256": digest, "scope": "backbone"}
    value = str(Edits(read_official(model.config).content).get(at) or "")
    for path, changed in model.changes:
        value = str(changed) if path == at else value
    if "ImageNetPretrained" not in value:
        raise UnsupportedError(
            f"model.weights: {model.config} does not start from ImageNet weights (but from {value or 'nothing'}); "
            "nearest: coco, none or a path"
        )
    return {"kind": "url", "value": value, "scope": "backbone"}


def _zoo(weights: str, model: Model) -> dict[str, Any]:
    if weights == "coco" and model.composed:
        raise UnsupportedError(
            f"model.weights: coco: Detectron2 publishes no checkpoint of {model.family} with {model.backbone}; "
            "nearest: imagenet, none or a path"
        )
    name = model.config if weights == "coco" else find_config(weights.removeprefix("zoo:"))
    value = checkpoint(name)
    if value is None:
        raise UnsupportedError(
            f"model.weights: {weights}: Detectron2 publishes no checkpoint for {name}; nearest: imagenet, none, "
            "a path, or zoo:<another config>"
        )
    fed: dict[str, Any] = {}
    if name != model.config:
        content = Edits(read_official(name).content)
        paths = {key: INPUT_PATHS[key][0] if is_lazy(name) else tuple(key.split(".")) for key in INPUT_KEYS}
        found = {key: content.get(path) for key, path in paths.items()}
        fed = {key: value for key, value in found.items() if value is not None}  # a RegNet has no 1x1 with a stride
    return {"kind": "url", "value": value, "scope": "detector", "input": fed}


def _of_file(path: Path, model: Model) -> tuple[str, dict[str, Any]]:
    """Whether a file is a backbone or a detector, and how it is fed; {} is as the official config says.

    A checkpoint of cvtune's says it; others are known by the names of their tensors and by whose they are.
    """
    layout = peek_layout(path) or ""
    if layout.endswith("classifier"):
        return "backbone", dict(PYCLS_INPUT if layout.startswith("pycls") else TORCHVISION_INPUT)
    content = read_outline(path)
    if "cvtune" in content:
        fed = content.get("input", {})
        return "detector", {key: fed[key] for key in INPUT_KEYS if fed.get(key) is not None}
    inner = (content.get(key) for key in ("model", "state_dict", "blobs"))
    names = list(next((one for one in inner if isinstance(one, Mapping)), content))
    if any(mark in name for name in names for mark in _DETECTOR) or not any("res2" in name for name in names):
        return "detector", {}
    if content.get("__author__") == "torchvision":
        return "backbone", dict(TORCHVISION_INPUT)
    # Caffe2's names are those of MSRA's ResNets; its ResNeXts and those with group norm are fed in ways of their own.
    is_msra = (
        "conv1_w" in names and not any("_gn_" in name for name in names) and "resnext" not in model.backbone.lower()
    )
    return "backbone", dict(MSRA_INPUT) if is_msra else {}
