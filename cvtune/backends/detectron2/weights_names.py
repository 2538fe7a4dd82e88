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
    layout = peek_layout(Path(weights)) or ""
    fed = {}
    if layout.endswith("classifier"):
        fed = dict(PYCLS_INPUT if layout.startswith("pycls") else TORCHVISION_INPUT)
    scope = "backbone" if fed or _is_backbone(Path(weights)) else "detector"
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


def _is_backbone(path: Path) -> bool:
    """Whether a pickle is one of the converted ImageNet backbones: it names residual blocks and no detector's parts."""
    if path.suffix != ".pkl" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(1 << 22)
    detector = (b"proposal_generator", b"roi_heads", b"head.cls_score", b"cls_score", b"rpn")
    return b"res2" in head and not any(mark in head for mark in detector)
