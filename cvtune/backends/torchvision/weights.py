"""Weights into a model: found by layout, loaded by name and shape, everything that was left out listed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from cvtune.backends.layouts import find_layout, is_foreign
from cvtune.backends.weight_files import LoadReport, check_hash, fetch, is_trusted, load_checkpoint, state_dict_of
from cvtune.errors import DataError

__all__ = ["load_weights"]

Tensors = dict[str, torch.Tensor]
_SHOWN = 5
_CLASSIFIER_HEADS = ("fc.", "classifier.", "avgpool.", "heads.")
# What a class count changes: the last layers of torchvision's heads.
_CLASS_TENSORS = re.compile(
    r"box_predictor\.|mask_predictor\.mask_fcn_logits\.|classification_head\.(cls_logits|module_list)"
)
# Names that torchvision's modules had when its first COCO weights were saved.
_RENAMED = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
)
_OLD_MASK = re.compile(r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$")
_OLD_DENSE = re.compile(r"^(head\.(?:classification|regression)_head\.conv)\.(\d)\.(weight|bias)$")


def load_weights(model: nn.Module, weights: Mapping[str, Any], trust: bool = False) -> LoadReport:
    """Load the native config's `weights` into a model that `build_model` made.

    Tensors are set by name and equal shape. Class-dependent tensors of a detector with another number of classes are
    left out by name. Weights of a checkpoint of cvtune are the averaged ones where it has them.

    Args:
        model: changed in place.
        weights: {"kind": none|enum|path|url, "value", "sha256", "scope"}.
        trust: also read pickles that run code (`--trust-checkpoint`).

    Raises:
        DataError: the file is missing, damaged, needs trust, has the layout of another framework, or fits nowhere.
        RunError: it cannot be downloaded, or its hash is not the expected one.
    """
    if weights["kind"] == "none":
        return LoadReport("none", "none", (), (), tuple(_wanted(model)))
    path, source = _locate(weights)
    tensors, ours = state_dict_of(load_checkpoint(path, trust or bool(weights.get("trust")) or is_trusted()), path)
    layout = find_layout(tensors)
    if is_foreign(layout):
        raise DataError(
            f"{path}: the layout of its names is {layout}'s, as in {next(iter(tensors))}; backend torchvision reads "
            "torchvision's and cvtune's own; train with that framework's backend, or convert the file"
        )
    shown = "cvtune checkpoint" if ours else layout or "unknown layout"
    return _load(model, tensors, source, shown, path)


def _locate(weights: Mapping[str, Any]) -> tuple[Path, str]:
    """The file, downloaded where need be, and what to call it."""
    kind, value = weights["kind"], weights["value"]
    if kind == "path":
        path = Path(value)
        if weights.get("sha256"):
            check_hash(path, weights["sha256"])
        return path, str(path)
    if kind == "enum":
        url = torchvision.models.get_weight(value).url
        # torchvision's file names end in the first hex digits of their SHA-256.
        return fetch(url, re.search(r"-([0-9a-f]{8,})\.pth$", url)[1]), value  # type: ignore[index]
    return fetch(value, weights.get("sha256")), value


def _wanted(model: nn.Module) -> Tensors:
    """The model's tensors that weights should set: step counters of batch norm are of no use in fine-tuning."""
    return {n: v for n, v in model.state_dict().items() if not n.endswith("num_batches_tracked")}


def _load(model: nn.Module, tensors: Tensors, source: str, layout: str, path: Path) -> LoadReport:
    wanted, state = _wanted(model), {}
    skipped: list[tuple[str, str]] = []
    for name, value in tensors.items():
        if name.endswith("num_batches_tracked"):
            continue
        target = _target_name(name, wanted)
        if target is None:
            head = layout.endswith("classifier") and name.startswith(_CLASSIFIER_HEADS)
            skipped.append((name, "the classifier's own head" if head else "no such tensor in the model"))
        elif wanted[target].shape != value.shape:
            skipped.append((name, _why_other_shape(target, value, wanted[target])))
        else:
            state[target] = value
    if not state:
        raise DataError(
            f"{path}: not one tensor fits the model; the file has {', '.join(list(tensors)[:_SHOWN])}; "
            f"the model has {', '.join(list(wanted)[:_SHOWN])}; check model.family and model.backbone"
        )
    with torch.no_grad():
        for name, value in state.items():
            wanted[name].copy_(value)
    missing = tuple(name for name in wanted if name not in state)
    return LoadReport(source, layout, tuple(state), tuple(skipped), missing)


def _why_other_shape(name: str, found: torch.Tensor, wanted: torch.Tensor) -> str:
    shapes = f"{list(found.shape)} in the file, {list(wanted.shape)} here"
    if _CLASS_TENSORS.search(name) and found.shape[1:] == wanted.shape[1:]:
        return f"another number of classes ({found.shape[0]} outputs in the file, {wanted.shape[0]} here)"
    return f"another shape ({shapes})"


def _target_name(name: str, wanted: Mapping[str, Any]) -> str | None:
    """The model's name for a tensor of the file, or None."""
    if name in wanted:
        return name
    for candidate in _candidates(name):
        if candidate in wanted:
            return candidate
    return None


def _candidates(name: str) -> Iterator[str]:
    for pattern, new in _RENAMED:
        if pattern.match(name):
            yield pattern.sub(new, name)
    if match := _OLD_MASK.match(name):
        yield f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}"
    if match := _OLD_DENSE.match(name):
        yield f"{match[1]}.{int(match[2]) // 2}.0.{match[3]}"
    # A classifier's names inside the detector's body.
    yield f"backbone.body.{name}"
    yield f"backbone.body.{name.removeprefix('trunk_output.')}"
    if match := re.match(r"features\.(\d+)\.(.+)", name):
        index, rest = int(match[1]), match[2]
        yield f"backbone.body.{index}.{rest}"
        yield from _in_ssd(index, rest)


def _in_ssd(index: int, rest: str) -> Iterator[str]:
    """VGG-16 is cut before module 23, MobileNetV3-Large inside module 13 (torchvision's SSD feature extractors)."""
    if rest in ("weight", "bias"):
        yield f"backbone.features.{index}.{rest}" if index < 23 else f"backbone.extra.0.{index - 23}.{rest}"
        return
    if index < 13:
        yield f"backbone.features.0.{index}.{rest}"
    elif index > 13:
        yield f"backbone.features.1.{index - 13}.{rest}"
    elif match := re.match(r"block\.(\d+)\.(.+)", rest):
        part = int(match[1])
        yield f"backbone.features.0.13.{match[2]}" if part == 0 else f"backbone.features.1.0.{part}.{match[2]}"
