"""Which file the starting weights are: said in the spec, or published for an official config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cvtune.backends.layouts import peek_layout, peek_scope
from cvtune.backends.mmdet.models import Model
from cvtune.backends.mmdet.zoo import find_config, published
from cvtune.errors import UnsupportedError

__all__ = ["has_resnet_names", "starting_weights"]


def starting_weights(weights: str, model: Model) -> dict[str, Any]:
    """{"kind": none|imagenet|path|url, "value", "sha256", "scope": None|backbone|detector} of the spec's weights.

    Raises:
        UnsupportedError: no checkpoint is published for the config.
    """
    record: dict[str, Any] = {"kind": "none", "value": None, "sha256": None, "scope": None}
    if weights == "none":
        return record
    if weights == "imagenet":
        return record | {"kind": "imagenet", "scope": "backbone"}
    if weights == "coco" or weights.startswith("zoo:"):
        name = model.config if weights == "coco" else find_config(weights.removeprefix("zoo:"))
        other = weights == "coco" and bool(model.changes)  # the checkpoint is for the official backbone
        url = None if other else published(name).get("weights")
        if url is None:
            what = f"{model.family} with {model.backbone}" if other else name
            raise UnsupportedError(
                f"model.weights: backend mmdet has no {weights} for {what} (MMDetection publishes no such checkpoint); "
                "nearest: imagenet, none, a path, or zoo:<another config>"
            )
        return record | {"kind": "url", "value": url, "scope": "detector"}
    if weights.startswith("https://"):
        url, _, digest = weights.partition("#sha256=")
        return record | {"kind": "url", "value": url, "sha256": digest or None, "scope": "detector"}
    return record | {"kind": "path", "value": weights, "scope": peek_scope(Path(weights))}


def has_resnet_names(path: str) -> bool:
    """Whether a file of backbone weights has the names of a ResNet, which are the same here and in torchvision."""
    return peek_layout(Path(path)) == "torchvision ResNet classifier"
