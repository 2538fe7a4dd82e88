"""Starting weights into an MMDetection model: by name and shape, by order where another library named them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvtune.backends.weight_files import LoadReport, fetch, is_trusted, load_checkpoint, state_dict_of
from cvtune.errors import DataError

__all__ = ["load_weights", "match_by_order"]

Tensors = dict[str, torch.Tensor]


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> LoadReport:
    """Load `extras.json`'s `weights` into a model and say what became of each tensor.

    A detector's tensors are set by name and equal shape; those whose shape differs by the number of classes are left
    out by name, anything else that differs is an error. A backbone's tensors are set by name, or, where no name fits,
    one by one in their order, if every shape does (torchvision's MobileNetV2 into MMDetection's).

    Raises:
        DataError: the file cannot be read, or is of another architecture.
        RunError: it cannot be fetched.
    """
    if weights["kind"] != "imagenet":
        _reset_offsets(model)
    if weights["kind"] in ("none", "imagenet"):
        layout = "none" if weights["kind"] == "none" else "the config's own init_cfg"
        return LoadReport(str(weights["kind"]), layout, (), (), ())
    path = fetch(weights["value"], weights.get("sha256")) if weights["kind"] == "url" else Path(weights["value"])
    tensors, _ = state_dict_of(load_checkpoint(path, is_trusted()), path)
    if weights["scope"] == "backbone":
        return _load_backbone(model, tensors, str(weights["value"]))
    return _load_detector(model, tensors, str(weights["value"]))


def match_by_order(own: Tensors, other: Tensors) -> dict[str, str] | None:
    """Own name -> other name, tensor by tensor in order, if every shape agrees; None if one does not.

    Counters of batch norm layers, which some files lack, are left out on both sides.
    """
    mine = [(name, tensor) for name, tensor in own.items() if not name.endswith("num_batches_tracked")]
    theirs = [(name, tensor) for name, tensor in other.items() if not name.endswith("num_batches_tracked")]
    theirs = theirs[: len(mine)]  # a classifier's last layers come after the backbone
    if len(mine) != len(theirs):
        return None
    pairs = {}
    for (name, tensor), (other_name, other_tensor) in zip(mine, theirs, strict=True):
        if tensor.shape != other_tensor.shape or name.rsplit(".", 1)[-1] != other_name.rsplit(".", 1)[-1]:
            return None
        pairs[name] = other_name
    return pairs


def _reset_offsets(model: nn.Module) -> None:
    """Let deformable convolutions start as plain ones (Dai et al. 2017): MMDetection's Kaiming initialization of a
    backbone reaches the convolutions inside of MMCV's DeformConv2dPack that make the offsets."""
    made: list[Any] = [module for module in model.modules() if hasattr(module, "init_offset")]
    for module in made:
        module.init_offset()


def _load_backbone(model: nn.Module, tensors: Tensors, source: str) -> LoadReport:
    backbone: Any = model.backbone
    own = backbone.state_dict()
    stripped = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    fitting = {name: name for name in own if name in stripped and own[name].shape == stripped[name].shape}
    layout = "by name"
    if len(fitting) < 0.5 * len(own):
        ordered = match_by_order(own, stripped)
        if ordered is None:
            raise DataError(
                f"model.weights: {source}: not one of {type(backbone).__name__}'s: {len(fitting)} of {len(own)} "
                f"tensors fit by name and shape, and not all by order; the file begins with "
                f"{', '.join(list(tensors)[:3])}; the backbone with {', '.join(list(own)[:3])}"
            )
        fitting, layout = ordered, "another library's names, matched one by one in their order"
    backbone.load_state_dict({name: stripped[other] for name, other in fitting.items()}, strict=False)
    used = set(fitting.values())
    skipped = tuple(
        (name, "no such tensor in the backbone")
        for name in stripped
        if name not in used and not name.endswith("num_batches_tracked")
    )
    missing = tuple(f"backbone.{name}" for name in own if name not in fitting and "num_batches" not in name)
    loaded = tuple(f"backbone.{name}" for name in fitting)
    return LoadReport(source, layout, loaded, skipped, missing)


def _load_detector(model: nn.Module, tensors: Tensors, source: str) -> LoadReport:
    own = model.state_dict()
    loaded: Tensors = {}
    skipped: list[tuple[str, str]] = []
    wrong: list[str] = []
    for name, tensor in tensors.items():
        if name not in own:
            skipped.append((name, "no such tensor in the model"))
        elif own[name].shape == tensor.shape:
            loaded[name] = tensor
        elif not name.startswith(("backbone.", "neck.")) and own[name].dim() == tensor.dim():
            skipped.append((name, f"{list(tensor.shape)} there, {list(own[name].shape)} here: other classes"))
        else:
            wrong.append(f"{name} {list(tensor.shape)} there, {list(own[name].shape)} here")
    learnt = [name for name in own if not name.endswith("num_batches_tracked")]
    if wrong or len(loaded) < 0.5 * len(learnt):
        shown = "; ".join(wrong[:3]) or f"only {len(loaded)} of {len(learnt)} tensors have the model's names"
        raise DataError(f"model.weights: {source}: a checkpoint of another architecture: {shown}")
    model.load_state_dict(loaded, strict=False)
    missing = tuple(name for name in learnt if name not in loaded)
    return LoadReport(source, "MMDetection", tuple(loaded), tuple(skipped), missing)
