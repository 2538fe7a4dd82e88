"""How each spec field reaches MMDetection, as data: documentation, errors and conformance tests read this table."""

from __future__ import annotations

from cvtune.backends.base import FieldSupport

__all__ = ["FIELDS"]


def _native(mechanism: str) -> FieldSupport:
    return FieldSupport("native", mechanism)


def _extra(mechanism: str) -> FieldSupport:
    return FieldSupport("extra", mechanism)


_DATA = "read before the native file is written: the run's canonical data"
_SCHEDULE = "param_scheduler: the official one, scaled with the length; a rule of the spec's own, by iteration"

FIELDS: dict[str, FieldSupport] = {
    "name": _native("the run directory"),
    "backend": _native("which backend reads the spec"),
    "model.family": _native("a table of families -> official configs"),
    "model.backbone": _native("the family's official config with it, else model.backbone and model.neck.in_channels"),
    "model.zoo": _native("any official config of the installed package, by name"),
    "model.weights": _native(
        "load_from, or model.backbone.init_cfg; coco, zoo:<config>: the metafile's checkpoint; imagenet: the config's "
        "own init_cfg; loaded and reported by cvtune's worker"
    ),
    "model.frozen_stages": _native("model.backbone.frozen_stages, where the backbone takes it"),
    "model.norm": _native(
        "model.backbone.norm_eval and norm_cfg.requires_grad; sync and batch: norm_cfg.type everywhere"
    ),
    "data.train": _native(_DATA),
    "data.val": _native(_DATA),
    "data.test": _native(_DATA),
    "data.split.val": _native(_DATA),
    "data.split.test": _native(_DATA),
    "data.split.by": _native(_DATA),
    "data.split.seed": _native(_DATA),
    "data.classes": _native("metainfo.classes, and the number of classes of every head, stage and loss"),
    "data.image_size.short": _native("the steps that resize; configs that work on squares take a square only"),
    "data.image_size.long": _native("the scale's longer side; left out, the official ratio of long to short"),
    "data.image_size.test_short": _native("the scale of the test pipeline"),
    "data.image_size.sampling": _native("choice: RandomChoiceResize; range: RandomResize"),
    "data.image_size.square": _native("every size of the pipelines in proportion; else Resize, and Pad for fit: pad"),
    "data.image_size.fit": _native("keep_ratio and Pad; configs of squares keep their own"),
    "data.keep_empty_images": _native("filter_cfg.filter_empty_gt; small images are never filtered"),
    "data.crowd": _native("official: ignored_instances, as the model's assigner honours them; drop: left out"),
    "data.missing_masks": _native(_DATA),
    "data.skip_bad_images": _extra("cvtune's worker takes the next image"),
    "data.augment": _native(
        "one step of cvtune's after the annotations are loaded; replaces official flips and colour changes"
    ),
    "data.batch_size": _native("train_dataloader.batch_size = total / processes"),
    "data.workers": _native("num_workers of every loader"),
    "train.recipe": _native("which lengths and rates the plan starts from"),
    "train.epochs": _native("train_cfg.max_epochs, or max_iters where the official loop counts iterations"),
    "train.iterations": _native("train_cfg: whole epochs where they are, else IterBasedTrainLoop"),
    "train.optimizer.name": _native("optim_wrapper.optimizer.type; paramwise_cfg is kept"),
    "train.optimizer.lr": _native("optim_wrapper.optimizer.lr; absolute eta_min follow"),
    "train.optimizer.momentum": _native("optim_wrapper.optimizer.momentum"),
    "train.optimizer.weight_decay": _native("optim_wrapper.optimizer.weight_decay"),
    "train.schedule.name": _native(_SCHEDULE),
    "train.schedule.milestones": _native(_SCHEDULE),
    "train.schedule.gamma": _native(_SCHEDULE),
    "train.schedule.warmup_iterations": _native(_SCHEDULE),
    "train.schedule.min_lr": _native(_SCHEDULE),
    "train.precision": _native("AmpOptimWrapper with dtype on CUDA, OptimWrapper for fp32"),
    "train.gradient_clip": _native("optim_wrapper.clip_grad"),
    "train.accumulate": _native("optim_wrapper.accumulative_counts"),
    "train.ema": _native("custom_hooks: EMAHook with ExpMomentumEMA"),
    "train.early_stopping.metric": _native("custom_hooks: EarlyStoppingHook; cvtune's worker stops by its own scores"),
    "train.early_stopping.patience": _native("custom_hooks: EarlyStoppingHook"),
    "train.checkpoint.every_epochs": _native("default_hooks.checkpoint.interval; cvtune's worker writes last.pth"),
    "train.checkpoint.every_minutes": _extra("cvtune's worker writes last.pth"),
    "train.checkpoint.every_iterations": _extra("cvtune's worker writes last.pth"),
    "train.checkpoint.keep": _native("default_hooks.checkpoint.max_keep_ckpts"),
    "train.checkpoint.best": _native("default_hooks.checkpoint.save_best; cvtune's worker selects by its own scores"),
    "train.seed": _native("randomness.seed"),
    "train.loggers": _native("visualizer.vis_backends; cvtune's worker logs by itself"),
    "train.log_every": _native("default_hooks.logger.interval"),
    "eval.every_epochs": _native("train_cfg.val_interval"),
    "eval.model_max_detections": _native("max_per_img of test_cfg, where the config has one"),
    "eval.score_threshold": _native("score_thr of test_cfg, where the config has one"),
    "eval.nms_iou": _native("nms.iou_threshold of test_cfg, where the config has one"),
    "run.device": _native("which device the Runner finds"),
    "run.devices": _native("torchrun; more than one is MMDistributedDataParallel"),
    "run.nodes": _native("torchrun"),
    "native": _native("merged last into config.py; a key that no part of the config has is an error"),
}
"""Every leaf of the spec -> how it reaches MMDetection."""
