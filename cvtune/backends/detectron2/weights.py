"""Starting weights into a model of Detectron2: by name where it wrote them, by suffix where another library did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvtune.backends.detectron2.names import Tensors, from_caffe2, from_torchvision_resnet, match_by_suffix
from cvtune.backends.detectron2.unpickle import read_pickle
from cvtune.backends.layouts import find_layout
from cvtune.backends.weight_files import LoadReport, check_hash, fetch, is_trusted, load_checkpoint, state_dict_of
from cvtune.errors import DataError

__all__ = ["load_weights"]

_FOREIGN = ("torchvision detector", "MMDetection", "timm")
# What a class count changes: the last layers of Detectron2's heads, and of MMDetection's in its wrapper.
_CLASS_TENSORS = re.compile(
    r"box_predictor(\.\d+)?\.(cls_score|bbox_pred)\.|mask_head\.predictor\.|^head\.cls_score\.|"
    r"bbox_head\.fc_(cls|reg)\.|mask_head\.conv_logits\."
)
_WRAPPED = "detector.backbone."  # a model of MMDetection's in Detectron2's wrapper
_CLASSIFIER = re.compile(r"^(fc|fc1000|classifier|linear|pred|head\.fc)[._]")
# Frozen norms of files whose statistics are part of the factors already.
_IDENTITY = (".norm.running_mean", ".norm.running_var")


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> LoadReport:
    """Load `extras.json`'s `weights` into a model and say what became of each tensor.

    Tensors of a backbone, and of detectors of Caffe2, are found by the longest suffix of their names; those of a
    detector of Detectron2 by their whole names. Tensors whose shape differs by the number of classes are left out by
    name; anything else that differs, or fewer than half of the backbone's tensors, is an error.

    Raises:
        DataError: the file cannot be read, or is of another architecture or framework.
        RunError: it cannot be fetched, or its hash is another.
    """
    own = _learnt(model)
    if weights["kind"] == "none":
        return LoadReport("none", "none", (), (), tuple(own))
    source = str(weights["value"])
    path = fetch(source, weights.get("sha256")) if weights["kind"] == "url" else Path(source)
    if weights["kind"] == "path" and weights.get("sha256"):
        check_hash(path, weights["sha256"])
    tensors, layout = _read(path, own)
    pairs = match_by_suffix(own, tensors)
    report = _load(own, tensors, pairs, source, layout)
    _check(model, report, path, tensors)
    return report


def _learnt(model: nn.Module) -> Tensors:
    return {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def _read(path: Path, own: Tensors) -> tuple[Tensors, str]:
    """The tensors under the model's names, Detectron2's as a rule, and whose names the file has."""
    if path.suffix == ".pkl":
        tensors, author = read_pickle(path)
        return (from_caffe2(tensors), "Caffe2") if author == "Caffe2" and "conv1_w" in tensors else (tensors, author)
    tensors, ours = state_dict_of(load_checkpoint(path, is_trusted()), path)
    layout = find_layout(tensors)
    wrapped = any(name.startswith(_WRAPPED) for name in own)
    if wrapped and layout in ("MMDetection", "torchvision ResNet classifier"):
        return tensors, layout
    if layout in _FOREIGN:
        raise DataError(
            f"model.weights: {path}: the layout of its names is {layout}'s, as in {next(iter(tensors))}; backend "
            "detectron2 reads Detectron2's, Caffe2's, torchvision's classifiers and its own; train with that "
            "framework's backend, or convert the file"
        )
    if layout == "torchvision ResNet classifier":
        return from_torchvision_resnet(tensors), layout
    return tensors, "cvtune checkpoint" if ours else layout or "unknown layout"


def _load(own: Tensors, tensors: Tensors, pairs: Mapping[str, str], source: str, layout: str) -> LoadReport:
    loaded: list[str] = []
    skipped: list[tuple[str, str]] = []
    for name, other in pairs.items():
        found, wanted = tensors[other], own[name]
        if found.shape == wanted.shape:
            with torch.no_grad():
                wanted.copy_(found)
            loaded.append(name)
        elif _CLASS_TENSORS.search(name) and found.dim() == wanted.dim():
            skipped.append((other, f"another number of classes ({len(found)} outputs there, {len(wanted)} here)"))
        else:
            raise DataError(
                f"model.weights: {source}: a checkpoint of another architecture: {other} is {list(found.shape)} there, "
                f"{list(wanted.shape)} here"
            )
    used = set(pairs.values())
    for name in tensors:
        if name not in used and not name.endswith("num_batches_tracked"):
            head = _CLASSIFIER.match(name)
            skipped.append((name, "the classifier's own head" if head else "no such tensor in the model"))
    missing = tuple(name for name in own if name not in loaded and not _is_identity(name, loaded))
    return LoadReport(source, layout, tuple(loaded), tuple(skipped), missing)


def _is_identity(name: str, loaded: list[str]) -> bool:
    """Whether a statistic is left at 0 or 1 since the file has its factors alone."""
    end = next((end for end in _IDENTITY if name.endswith(end)), None)
    return end is not None and name.removesuffix(end) + ".norm.weight" in loaded


def _check(model: nn.Module, report: LoadReport, path: Path, tensors: Tensors) -> None:
    starts = ("backbone.", _WRAPPED)
    backbone = [name for name in _learnt(model) if name.startswith(starts) and ".fpn_" not in name]
    fitting = [name for name in report.loaded if name.startswith(starts) and ".fpn_" not in name]
    wanted = [name for name in backbone if not name.endswith(_IDENTITY)]
    if len([name for name in fitting if not name.endswith(_IDENTITY)]) < 0.5 * len(wanted):
        raise DataError(
            f"model.weights: {path}: a checkpoint of another architecture: {len(fitting)} of {len(backbone)} tensors "
            f"of the backbone have its names; the file has {', '.join(list(tensors)[:3])}; the model has "
            f"{', '.join(backbone[:3])}; check model.family and model.backbone"
        )
