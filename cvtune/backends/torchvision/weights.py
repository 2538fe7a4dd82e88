"""Weights into a model: found by layout, loaded by name and shape, everything that was left out listed."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from cvtune.backends.torchvision.layouts import find_layout, is_foreign
from cvtune.errors import DataError, MissingDependencyError, RunError

__all__ = ["LoadReport", "is_trusted", "load_checkpoint", "load_weights"]

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


@dataclass(frozen=True)
class LoadReport:
    """What became of a weights file.

    Attributes:
        source: where the weights came from.
        layout: whose names the file has.
        loaded: names of the model's tensors that were set.
        skipped: (name in the file, reason) of tensors that were not used.
        missing: names of the model's tensors that keep their random start.
    """

    source: str
    layout: str
    loaded: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """A summary to print: counts, then each reason and module with its names or their number."""
        if self.layout == "none":
            yield "weights: none; all tensors start at random"
            return
        total = len(self.loaded) + len(self.missing)
        yield f"weights: {self.source} ({self.layout}): {len(self.loaded)} of {total} tensors loaded"
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.skipped:
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            yield f"  not used: {_listed(names)}: {reason}"
        modules = Counter(".".join(name.split(".")[:2]) for name in self.missing)
        if modules:
            counts = ", ".join(f"{module} ({count})" for module, count in modules.items())
            yield f"  start at random: {counts}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


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
    tensors, ours = _tensors(load_checkpoint(path, trust or bool(weights.get("trust")) or is_trusted()), path)
    layout = find_layout(tensors)
    if is_foreign(layout):
        raise DataError(
            f"{path}: the layout of its names is {layout}'s, as in {next(iter(tensors))}; backend torchvision reads "
            "torchvision's and cvtune's own; train with that framework's backend, or convert the file"
        )
    shown = "cvtune checkpoint" if ours else layout or "unknown layout"
    return _load(model, tensors, source, shown, path)


def is_trusted() -> bool:
    """Whether the user said `--trust-checkpoint`, for this command alone: it is written to no file."""
    return os.environ.get("CVTUNE_TRUST_CHECKPOINT") == "1"


def load_checkpoint(path: Path, trust: bool = False) -> Any:
    """Read a weights file or checkpoint, tensors only unless `trust`.

    Returns:
        What the file holds: a dict of tensors, or a dict that has one. Tensors are on the CPU, read on demand.

    Raises:
        DataError: it is missing or damaged, or needs code to be run and `trust` is off.
        MissingDependencyError: a .safetensors file, and the package is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such weights file; give a path, coco, imagenet or none as model.weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        # Only the zip format can be mapped; the old one is read whole.
        return torch.load(path, map_location="cpu", weights_only=not trust, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        if "weights_only" in str(error) or "Weights only load failed" in str(error):
            wanted = re.search(r"(?:Unsupported global: GLOBAL|unsupported operand|GLOBAL) ([\w.]+)", str(error))
            what = f" ({wanted[1]})" if wanted else ""
            raise DataError(
                f"{path}: holds more than tensors{what}: reading it would run code from the file; "
                "if you trust who made it, use --trust-checkpoint"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as weights: {reason}; download it again") from error


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{path}: needs a package that is not installed; run pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}; download it again") from error


def _locate(weights: Mapping[str, Any]) -> tuple[Path, str]:
    """The file, downloaded where need be, and what to call it."""
    kind, value = weights["kind"], weights["value"]
    if kind == "path":
        path = Path(value)
        if weights.get("sha256"):
            _check_hash(path, weights["sha256"])
        return path, str(path)
    if kind == "enum":
        url = torchvision.models.get_weight(value).url
        # torchvision's file names end in the first hex digits of their SHA-256.
        return _fetch(url, re.search(r"-([0-9a-f]{8,})\.pth$", url)[1]), value  # type: ignore[index]
    return _fetch(value, weights.get("sha256")), value


def _fetch(url: str, sha256: str | None) -> Path:
    """The file in torch's cache; `sha256` may be the hash's beginning."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[-1].split("?")[0]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (urllib.error.URLError, OSError) as error:
            path.unlink(missing_ok=True)
            raise RunError(
                f"{url}: cannot be downloaded: {getattr(error, 'reason', error)}; get it elsewhere and put it at {path}"
            ) from error
    if sha256:
        _check_hash(path, sha256)
    return path


def _check_hash(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such weights file")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise RunError(f"{path}: its SHA-256 is {found}, expected {sha256}; delete the file and get it again")


def _tensors(content: Any, path: Path) -> tuple[Tensors, bool]:
    """The state dict inside a file, prefixes of wrappers stripped, and whether cvtune wrote it."""
    ours = isinstance(content, Mapping) and "cvtune" in content
    keys = ("ema", "model") if ours else ("state_dict", "model", "model_state_dict", "ema")
    state = content
    for key in keys:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            state = content[key]
            break
    if not isinstance(state, Mapping):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a state dict; save model.state_dict() instead")
    tensors = {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise DataError(
            f"{path}: has no tensors under {', '.join(map(str, list(state)[:_SHOWN]))}; save model.state_dict()"
        )
    while tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors, ours


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
