"""How each spec field reaches Detectron2, as data: documentation, errors and conformance tests read this table."""

from __future__ import annotations

from collections.abc import Mapping

from cvtune.backends.base import FieldSupport

__all__ = ["FIELDS"]


def _native(mechanism: str) -> FieldSupport:
    return FieldSupport("native", mechanism)


def _extra(mechanism: str) -> FieldSupport:
    return FieldSupport("extra", mechanism)


_DATA = "read before the native file is written: the run's canonical data"
_SAVES = "cvtune's worker writes last.pth"

_YAML: dict[str, FieldSupport] = {
    "name": _native("the run directory"),
    "backend": _native("which backend reads the spec"),
    "model.family": _native("a table of families -> official configs"),
    "model.backbone": _native(
        "the family's official config with it, else MODEL.RESNETS.*; mobilenet_v2_fpn: a backbone of cvtune's, "
        "registered by importing cvtune.backends.detectron2.mobilenet"
    ),
    "model.zoo": _native("any official config for detection or instance segmentation, YAML or LazyConfig, by name"),
    "model.weights": _native(
        "MODEL.WEIGHTS; coco, zoo:<config>: the published checkpoint; imagenet: the config's own; INPUT.FORMAT, "
        "PIXEL_MEAN, PIXEL_STD and STRIDE_IN_1X1 follow; loaded and reported by cvtune's worker"
    ),
    "model.frozen_stages": _native("MODEL.BACKBONE.FREEZE_AT = n + 1; null: 0"),
    "model.norm": _native("MODEL.RESNETS.NORM; sync is BN in one process or on a CPU, everywhere"),
    "data.train": _native(f"{_DATA}; DATASETS.TRAIN names it"),
    "data.val": _native(f"{_DATA}; DATASETS.TEST names it"),
    "data.test": _native(_DATA),
    "data.split.val": _native(_DATA),
    "data.split.test": _native(_DATA),
    "data.split.by": _native(_DATA),
    "data.split.seed": _native(_DATA),
    "data.classes": _native("MODEL.ROI_HEADS.NUM_CLASSES and MODEL.RETINANET.NUM_CLASSES"),
    "data.image_size.short": _native("INPUT.MIN_SIZE_TRAIN"),
    "data.image_size.long": _native("INPUT.MAX_SIZE_*; left out, the official ratio of long to short"),
    "data.image_size.test_short": _native("INPUT.MIN_SIZE_TEST"),
    "data.image_size.sampling": _native("INPUT.MIN_SIZE_TRAIN_SAMPLING"),
    "data.image_size.square": _native("equal MIN_SIZE and MAX_SIZE, with fit: pad"),
    "data.image_size.fit": _native("pad: scaled to fit, padded to the batch's largest; stretch is not supported"),
    "data.keep_empty_images": _native("DATALOADER.FILTER_EMPTY_ANNOTATIONS"),
    "data.crowd": _native("official, drop: left out of the training; ignore is not supported"),
    "data.missing_masks": _native(_DATA),
    "data.skip_bad_images": _extra("cvtune's worker takes the next image"),
    "data.augment": _extra(
        "one albumentations pipeline before Detectron2's own resizing; INPUT.RANDOM_FLIP becomes none"
    ),
    "data.batch_size": _native("SOLVER.IMS_PER_BATCH"),
    "data.workers": _native("DATALOADER.NUM_WORKERS"),
    "train.recipe": _native("which lengths and rates the plan starts from"),
    "train.epochs": _native("SOLVER.MAX_ITER = epochs x steps an epoch"),
    "train.iterations": _native("SOLVER.MAX_ITER"),
    "train.optimizer.name": _extra("sgd is Detectron2's; adamw: cvtune's worker, with Detectron2's parameter groups"),
    "train.optimizer.lr": _native("SOLVER.BASE_LR"),
    "train.optimizer.momentum": _native("SOLVER.MOMENTUM"),
    "train.optimizer.weight_decay": _native("SOLVER.WEIGHT_DECAY"),
    "train.schedule.name": _native(
        "SOLVER.LR_SCHEDULER_NAME; constant: no STEPS; cosine: Detectron2's, which falls during the warm-up already; "
        "onecycle, and cosine with min_lr: cvtune's worker"
    ),
    "train.schedule.milestones": _native("SOLVER.STEPS, in iterations"),
    "train.schedule.gamma": _native("SOLVER.GAMMA"),
    "train.schedule.warmup_iterations": _native("SOLVER.WARMUP_ITERS"),
    "train.schedule.min_lr": _extra("cvtune's worker"),
    "train.precision": _native("fp16: SOLVER.AMP.ENABLED; bf16: cvtune's worker; both need CUDA"),
    "train.gradient_clip": _extra(
        "the norm of the whole gradient, by cvtune's worker (CLIP_GRADIENTS clips each part)"
    ),
    "train.accumulate": _extra("cvtune's worker; SOLVER.MAX_ITER counts updates of the weights"),
    "train.ema": _extra("cvtune's worker"),
    "train.early_stopping.metric": _extra("cvtune's worker stops by its own scores"),
    "train.early_stopping.patience": _extra("cvtune's worker"),
    "train.checkpoint.every_epochs": _native(f"SOLVER.CHECKPOINT_PERIOD; {_SAVES}"),
    "train.checkpoint.every_minutes": _extra(_SAVES),
    "train.checkpoint.every_iterations": _native(f"SOLVER.CHECKPOINT_PERIOD; {_SAVES}"),
    "train.checkpoint.keep": _extra(_SAVES),
    "train.checkpoint.best": _extra("cvtune's worker selects by its own scores"),
    "train.seed": _native("SEED; every step and sample is seeded from it"),
    "train.loggers": _extra("cvtune's worker logs to tensorboard, mlflow, wandb"),
    "train.log_every": _extra("cvtune's log.jsonl"),
    "eval.every_epochs": _native("TEST.EVAL_PERIOD, in iterations"),
    "eval.model_max_detections": _native("TEST.DETECTIONS_PER_IMAGE"),
    "eval.score_threshold": _native("MODEL.ROI_HEADS.SCORE_THRESH_TEST, or MODEL.RETINANET's"),
    "eval.nms_iou": _native("MODEL.ROI_HEADS.NMS_THRESH_TEST, or MODEL.RETINANET's"),
    "run.device": _native("MODEL.DEVICE"),
    "run.devices": _native("torchrun; more than one is DistributedDataParallel, over Gloo on a CPU"),
    "run.nodes": _native("torchrun"),
    "native": _native("merged last into the native file; a key that Detectron2 does not have is an error"),
}

# The same where the official config is a LazyConfig (FCOS, RegNets, new baselines): its keys, where they are others.
LAZY_KEYS: Mapping[str, str] = {
    "model.weights": "train.init_checkpoint",
    "model.frozen_stages": "model.backbone.bottom_up.freeze_at",
    "model.norm": "`norm` of the backbone's parts; on request of the heads' too",
    "data.train": "dataloader.train.dataset.names",
    "data.val": "dataloader.test.dataset.names",
    "data.classes": "every num_classes below model that is a number",
    "data.image_size.short": "ResizeShortestEdge of dataloader.train.mapper; large-scale jitter takes one side alone",
    "data.image_size.long": "ResizeShortestEdge; with jitter, the sides of the square that is cut out",
    "data.image_size.test_short": "ResizeShortestEdge of dataloader.test.mapper",
    "data.image_size.square": "of large-scale jitter, its own square",
    "data.keep_empty_images": "dataloader.train.dataset.filter_empty",
    "data.augment": "RandomFlip goes",
    "data.batch_size": "dataloader.train.total_batch_size",
    "data.workers": "dataloader.*.num_workers",
    "train.iterations": "train.max_iter",
    "train.optimizer.name": "optimizer: torch.optim.SGD or AdamW, both native",
    "train.optimizer.lr": "optimizer.lr",
    "train.schedule.name": "lr_multiplier.scheduler: MultiStep or Cosine (min_lr too); onecycle: the worker",
    "train.schedule.milestones": "lr_multiplier.scheduler.milestones",
    "train.schedule.warmup_iterations": "lr_multiplier.warmup_length, a share of the run",
    "train.precision": "train.amp.enabled",
    "train.checkpoint.every_epochs": "train.checkpointer.period",
    "train.seed": "train.seed",
    "eval.every_epochs": "train.eval_period",
    "eval.model_max_detections": "test_topk_per_image or max_detections_per_image",
    "eval.score_threshold": "test_score_thresh",
    "eval.nms_iou": "test_nms_thresh",
    "run.device": "train.device",
}

FIELDS: dict[str, FieldSupport] = {
    field: FieldSupport(support.how, f"{support.mechanism}; LazyConfig: {LAZY_KEYS[field]}")
    if field in LAZY_KEYS
    else support
    for field, support in _YAML.items()
}
"""Every leaf of the spec -> how it reaches Detectron2."""
