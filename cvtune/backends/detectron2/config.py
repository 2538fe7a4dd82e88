"""The run's native file as what the loop needs of it: its settings, and how Detectron2 builds each part from it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.modeling import build_model as build_official
from detectron2.solver import build_lr_scheduler, build_optimizer
from torch import nn

from cvtune.errors import RunError, SpecError
from cvtune.runs import RunDir, read_json

__all__ = ["RunConfig", "build_model", "precision_of", "read_config", "read_extras", "yaml_config"]


@dataclass(frozen=True)
class RunConfig:
    """A native file, YAML or LazyConfig, as the loop reads it.

    Attributes:
        native: the file's content as Detectron2 has it: a frozen CfgNode, or a DictConfig.
        device: cpu or cuda.
        datasets: the names of the data that the file trains on (``train``) and is scored on (``val``).
        channel_order: of images as the model takes them: BGR or RGB.
        fed: how images are fed to the weights, under YAML's names; a checkpoint carries it to the next run.
        batch_size: images a step, over all processes.
        iterations: steps of the whole run.
        evaluation_period: steps between two evaluations; 0 is none but the last.
        workers: processes that load images.
        drops_empty_images: whether images without objects are left out of the training.
        groups_by_aspect: whether wide and tall images go into batches of their own.
        fp16: whether Detectron2's mixed precision is asked for.
        lr: the rate after warm-up.
        weight_decay: of the optimizer.
        precise_bn_batches: how many batches settle the statistics of batch norm before an evaluation; 0 is none.
        cudnn_benchmark: whether cuDNN may try its algorithms.
        settles: whether the model divides its losses by a running count of matched anchors.
        mapper: makes the mapper of training samples.
        test_resize: makes what resizes an image that is predicted.
        model: makes the detector with random weights on a device.
        optimizer: makes the optimizer of a model.
        scheduler: makes the scheduler of an optimizer.
    """

    native: Any
    device: str
    datasets: Mapping[str, tuple[str, ...]]
    channel_order: str
    fed: Mapping[str, Any]
    batch_size: int
    iterations: int
    evaluation_period: int
    workers: int
    drops_empty_images: bool
    groups_by_aspect: bool
    fp16: bool
    lr: float
    weight_decay: float
    precise_bn_batches: int
    cudnn_benchmark: bool
    settles: bool
    mapper: Callable[[], DatasetMapper]
    test_resize: Callable[[], T.Augmentation]
    model: Callable[[str], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


def read_config(run: RunDir) -> RunConfig:
    """The run's config.yaml or config.py.

    Raises:
        SpecError: Detectron2 refuses the file, or images are to be fed in an order that cvtune does not have.
    """
    if run.config.suffix == ".py":
        from cvtune.backends.detectron2.lazy.config import read_lazy_config

        config = read_lazy_config(run.config)
    else:
        config = yaml_config(_read_yaml(run.config))
    if config.channel_order not in ("BGR", "RGB"):
        raise SpecError(f"native: order of channels: got {config.channel_order!r}; allowed: BGR, RGB")
    return config


def _read_yaml(path: Path) -> Any:
    """config.yaml merged into Detectron2's defaults."""
    config: CfgNode = get_cfg()
    try:
        config.merge_from_file(str(path), allow_unsafe=False)
    except (KeyError, ValueError, AssertionError) as error:
        raise SpecError(f"{path}: Detectron2 refuses it: {' '.join(str(error).split())}") from error
    config.freeze()
    return config


def yaml_config(config: Any) -> RunConfig:
    """Detectron2's CfgNode as what the loop reads."""
    solver, loader = config.SOLVER, config.DATALOADER
    short, long = config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST
    precise = config.TEST.PRECISE_BN
    return RunConfig(
        native=config,
        device=config.MODEL.DEVICE,
        datasets={"train": tuple(config.DATASETS.TRAIN), "val": tuple(config.DATASETS.TEST)},
        channel_order=config.INPUT.FORMAT,
        fed={
            "INPUT.FORMAT": config.INPUT.FORMAT,
            "MODEL.PIXEL_MEAN": list(config.MODEL.PIXEL_MEAN),
            "MODEL.PIXEL_STD": list(config.MODEL.PIXEL_STD),
            "MODEL.RESNETS.STRIDE_IN_1X1": bool(config.MODEL.RESNETS.STRIDE_IN_1X1),
        },
        batch_size=int(solver.IMS_PER_BATCH),
        iterations=int(solver.MAX_ITER),
        evaluation_period=int(config.TEST.EVAL_PERIOD),
        workers=int(loader.NUM_WORKERS),
        drops_empty_images=bool(loader.FILTER_EMPTY_ANNOTATIONS),
        groups_by_aspect=bool(loader.ASPECT_RATIO_GROUPING),
        fp16=bool(solver.AMP.ENABLED),
        lr=float(solver.BASE_LR),
        weight_decay=float(solver.WEIGHT_DECAY),
        precise_bn_batches=int(precise.NUM_ITER) if precise.ENABLED else 0,
        cudnn_benchmark=bool(config.CUDNN_BENCHMARK),
        settles=config.MODEL.META_ARCHITECTURE == "RetinaNet",
        mapper=lambda: DatasetMapper(config, is_train=True),
        test_resize=lambda: T.ResizeShortestEdge([short, short], long),
        model=lambda device: _yaml_model(config, device),
        optimizer=lambda model: build_optimizer(config, model),
        scheduler=lambda optimizer: build_lr_scheduler(config, optimizer),
    )


def _yaml_model(config: Any, device: str) -> nn.Module:
    config = config.clone()
    config.defrost()
    config.MODEL.DEVICE = device
    model: nn.Module = build_official(config)
    return model


def read_extras(run: RunDir) -> dict[str, Any]:
    """What the native file cannot say: field -> value; modules that the model needs are imported."""
    extras = read_json(run.extras)
    if "model.backbone" in extras:
        importlib.import_module(extras["model.backbone"]["value"])
    return {field: entry if field == "weights" else entry["value"] for field, entry in extras.items()}


def build_model(config: RunConfig, device: str = "cpu") -> nn.Module:
    """The detector with random weights, in training mode, on `device` (cpu or cuda).

    Raises:
        RunError: CUDA was asked for and is not there.
        SpecError: the config holds what a class of Detectron2 does not take.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("run.device: cuda, but torch sees no CUDA device; use `-s run.device=cpu`")
    try:
        model = config.model(device)
    except (TypeError, KeyError, ValueError, AssertionError, AttributeError, ImportError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise SpecError(f"native: Detectron2 cannot build the model: {said}") from error
    return model.train()


def precision_of(config: RunConfig, extras: dict[str, Any]) -> str:
    """fp32, fp16 (Detectron2's own mixed precision) or bf16."""
    return str(extras.get("train.precision") or ("fp16" if config.fp16 else "fp32"))
