"""The run's native file as Detectron2's config, the model that it describes, and what stands beside the file."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model as build_official
from torch import nn

from cvtune.errors import RunError, SpecError
from cvtune.runs import RunDir, read_json

__all__ = ["build_model", "precision_of", "read_config", "read_extras"]


def read_config(run: RunDir) -> Any:
    """config.yaml merged into Detectron2's defaults: a CfgNode, frozen.

    Raises:
        SpecError: Detectron2 refuses the file, or images are to be fed in an order that cvtune does not have.
    """
    config: CfgNode = get_cfg()
    try:
        config.merge_from_file(str(run.config), allow_unsafe=False)
    except (KeyError, ValueError, AssertionError) as error:
        raise SpecError(f"{run.config}: Detectron2 refuses it: {' '.join(str(error).split())}") from error
    if config.INPUT.FORMAT not in ("BGR", "RGB"):
        raise SpecError(f"native.INPUT.FORMAT: got {config.INPUT.FORMAT!r}; allowed: BGR, RGB")
    config.freeze()
    return config


def read_extras(run: RunDir) -> dict[str, Any]:
    """What config.yaml cannot say: field -> value; modules that the model needs are imported."""
    extras = read_json(run.extras)
    if "model.backbone" in extras:
        importlib.import_module(extras["model.backbone"]["value"])
    return {field: entry if field == "weights" else entry["value"] for field, entry in extras.items()}


def build_model(config: Any, device: str = "cpu") -> nn.Module:
    """The detector with random weights, in training mode, on `device` (cpu or cuda).

    Raises:
        RunError: CUDA was asked for and is not there.
        SpecError: the config holds what a class of Detectron2 does not take.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("run.device: cuda, but torch sees no CUDA device; use `-s run.device=cpu`")
    config = config.clone()
    config.defrost()
    config.MODEL.DEVICE = device
    try:
        model: nn.Module = build_official(config)
    except (TypeError, KeyError, ValueError, AssertionError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise SpecError(f"native: Detectron2 cannot build the model: {said}") from error
    return model.train()


def precision_of(config: Any, extras: dict[str, Any]) -> str:
    """fp32, fp16 (SOLVER.AMP) or bf16."""
    return str(extras.get("train.precision") or ("fp16" if config.SOLVER.AMP.ENABLED else "fp32"))
