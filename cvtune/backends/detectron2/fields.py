"""How each spec field reaches Detectron2, as data: documentation, errors and conformance tests read this table."""

from __future__ import annotations

from cvtune.backends.base import FieldSupport

__all__ = ["FIELDS"]


def _native(mechanism: str) -> FieldSupport:
    return FieldSupport("native", mechanism)


def _extra(mechanism: str) -> FieldSupport:
    return FieldSupport("extra", mechanism)


_DATA = "read before the native file is written: the run's canonical data"
_SAVES = "cvtune's worker writes last.pth"

FIELDS: dict[str, FieldSupport] = {
    "name": _native("the run directory"),
    "backend": _native("which backend reads the spec"),
    "model.family": _native("a table of families -> official configs"),
    "model.backbone": _native(
        "the family's official config with it, else MODEL.RESNETS.*; mobilenet_v2_fpn: a backbone of cvtune's, "
        "registered by importing cvtune.backends.detectron2.mobilenet"
    ),
    "model.zoo": _native("any official YAML config for detection or instance segmentation, by name"),
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
        "SOLVER.LR_SCHEDULER_NAME; constant: no STEPS; onecycle, and cosine with min_lr: cvtune's worker"
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
    "native": _native("merged last into config.yaml; a key that Detectron2 does not have is an error"),
}
"""Every leaf of the spec -> how it reaches Detectron2."""
