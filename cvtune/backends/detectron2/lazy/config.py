"""The run's config.py: Detectron2's LazyConfig as what the loop reads of a native file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.data import transforms as T
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.solver import LRMultiplier
from detectron2.utils.registry import locate
from omegaconf import OmegaConf
from torch import nn

from cvtune.backends.detectron2.config import RunConfig
from cvtune.backends.detectron2.lazy.keys import INPUT_PATHS
from cvtune.errors import SpecError

__all__ = ["lazy_config", "read_lazy_config"]


def read_lazy_config(path: Path) -> RunConfig:
    """Load a LazyConfig, which runs its code.

    Raises:
        SpecError: Detectron2 refuses the file.
    """
    try:
        return lazy_config(LazyConfig.load(str(path)))
    except Exception as error:  # whatever the code of a file that was changed by hand raises
        said = " ".join(str(error).split()) or type(error).__name__
        raise SpecError(f"{path}: Detectron2 refuses it: {said}") from error


def lazy_config(config: Any) -> RunConfig:
    """A LazyConfig with the sections of Detectron2's own as what the loop reads."""
    loader, train = config.dataloader.train, config.train
    return RunConfig(
        native=config,
        device=str(train.device),
        datasets={"train": _names(loader.dataset), "val": _names(config.dataloader.test.dataset)},
        channel_order=str(loader.mapper.image_format),
        fed=_fed(config),
        batch_size=int(loader.total_batch_size),
        iterations=int(train.max_iter),
        evaluation_period=int(train.eval_period),
        workers=int(loader.get("num_workers", 0)),
        drops_empty_images=bool(loader.dataset.get("filter_empty", True)),
        groups_by_aspect=bool(loader.get("aspect_ratio_grouping", True)),
        fp16=bool(train.amp.enabled),
        lr=float(config.optimizer.lr),
        weight_decay=float(config.optimizer.get("weight_decay", 0.0)),
        precise_bn_batches=0,
        cudnn_benchmark=bool(train.get("cudnn_benchmark", False)),
        settles=_is_dense(config.model),
        mapper=lambda: instantiate(loader.mapper),
        test_resize=lambda: T.AugmentationList(list(instantiate(config.dataloader.test.mapper).augmentations.augs)),
        model=lambda device: instantiate(config.model).to(device),
        optimizer=lambda model: _optimizer(config, model),
        scheduler=lambda optimizer: LRMultiplier(optimizer, instantiate(config.lr_multiplier), int(train.max_iter)),
    )


def _fed(config: Any) -> dict[str, Any]:
    """YAML's name of a way to feed images -> its value, as far as the config says it."""
    found = {name: OmegaConf.select(config, ".".join(map(str, paths[0]))) for name, paths in INPUT_PATHS.items()}
    return {
        name: OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        for name, value in found.items()
        if value is not None
    }


def _names(dataset: Any) -> tuple[str, ...]:
    return (dataset.names,) if isinstance(dataset.names, str) else tuple(dataset.names)


def _is_dense(model: Any) -> bool:
    target = model["_target_"]
    kind = locate(target) if isinstance(target, str) else target
    return isinstance(kind, type) and issubclass(kind, DenseDetector)


def _optimizer(config: Any, model: nn.Module) -> torch.optim.Optimizer:
    section = copy.deepcopy(config.optimizer)  # the model is no part of the config
    section.params.model = model
    optimizer: torch.optim.Optimizer = instantiate(section)
    return optimizer
