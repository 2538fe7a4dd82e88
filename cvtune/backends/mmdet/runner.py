"""MMEngine's Runner for a run of cvtune: the native file, with files, scores and logs left to cvtune."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import nn

from cvtune.backends.mmdet.zoo import require_packages
from cvtune.errors import RunError, SpecError
from cvtune.runs import RunDir

__all__ = ["build_model", "build_runner", "read_config"]

# The Runner's own writers of logs, checkpoints and pictures: cvtune keeps its own, which resume and reports read.
_OURS = ("logger", "checkpoint", "timer")
# What MMEngine and MMDetection raise where a class does not take what the config gives it.
_NOT_BUILT = (TypeError, KeyError, ValueError, AttributeError, IndexError, AssertionError, ImportError)
_STOPPERS = ("EarlyStoppingHook",)


def read_config(run: RunDir) -> Config:
    """The native config in the run directory; what it imports is imported.

    Raises:
        MissingDependencyError: it needs a package that is not installed.
    """
    config = Config.fromfile(run.config, import_custom_modules=False)
    require_packages(config.to_dict())
    if custom := config.get("custom_imports"):
        import_modules_from_strings(**custom)
    return config


def build_model(config: Config) -> nn.Module:
    """The model alone, with random weights.

    Raises:
        SpecError: the config holds what a class of MMDetection does not take.
    """
    init_default_scope(config.get("default_scope", "mmdet"))
    section = config.model.copy()
    section.setdefault("data_preprocessor", config.get("data_preprocessor"))
    try:
        model: nn.Module = MODELS.build(section)
    except _NOT_BUILT as error:
        raise SpecError(f"native: MMDetection cannot build the model: {_first_line(error)}") from error
    return model


def build_runner(run: RunDir, config: Config, plan: Mapping[str, Any]) -> Runner:
    """A Runner that trains the config, on the devices of the plan, writing nothing but MMEngine's own text log.

    Raises:
        RunError: CUDA was asked for and is not there.
        SpecError: the config holds what a class of MMDetection does not take.
    """
    if plan["run.device"] == "cuda" and not torch.cuda.is_available():
        raise RunError("run.device: cuda, but torch sees no CUDA device; use `-s run.device=cpu`")
    config = config.copy()
    config.work_dir = str(run.path / "mmengine")
    config.default_hooks = {
        **{name: hook for name, hook in config.default_hooks.items() if name != "visualization"},
        **dict.fromkeys(_OURS),
    }
    hooks = config.get("custom_hooks") or []
    config.custom_hooks = [hook for hook in hooks if hook["type"] not in _STOPPERS]
    config.visualizer = {"type": "Visualizer", "vis_backends": None}
    config.load_from, config.resume = None, False
    # An official file has no seed: the Runner would draw one, and a resume another.
    config.randomness = {"seed": int(plan["train.seed"]), **(config.get("randomness") or {})}
    # The validation loop is built with an evaluator of ours.
    for key in ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator"):
        config.pop(key, None)
    sampler = config.train_dataloader.get("sampler") or {}
    if sampler.get("type") == "InfiniteSampler":  # it cannot begin in the middle of a run
        config.train_dataloader.sampler = {"type": "DefaultSampler", "shuffle": sampler.get("shuffle", True)}
    config.log_level = "WARNING"
    if "RANK" in os.environ:
        _distributed(config, plan)
    try:
        return Runner.from_cfg(config)
    except _NOT_BUILT as error:
        raise SpecError(f"native: MMDetection cannot build this config: {_first_line(error)}") from error


def _distributed(config: Config, plan: Mapping[str, Any]) -> None:
    """Several processes: over NCCL on GPUs, over Gloo on a CPU, where MMEngine's own set-up would ask for CUDA."""
    config.launcher = "pytorch"
    if plan["run.device"] == "cuda":
        return
    torch.cuda.set_device = lambda device: None  # MMEngine calls it whatever the backend
    config.setdefault("env_cfg", {})["dist_cfg"] = {"backend": "gloo"}
    # Its own wrapper names a GPU; this one does not. Heads that a batch does not reach get no gradient.
    config.model_wrapper_cfg = {
        "type": "MMDistributedDataParallel",
        "device_ids": None,
        "broadcast_buffers": False,
        "find_unused_parameters": True,
    }


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
