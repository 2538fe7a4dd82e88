"""How each spec field reaches torchvision, as data: documentation, errors and conformance tests read this table."""

from __future__ import annotations

from cvtune.backends.base import FieldSupport

__all__ = ["FIELDS"]


def _native(mechanism: str) -> FieldSupport:
    return FieldSupport("native", mechanism)


_DATA = "read before the native file is written: the run's canonical data"
_LOOP = "cvtune's training loop (Lightning Fabric) reads it from config.yaml"

FIELDS: dict[str, FieldSupport] = {
    "name": _native("the run directory"),
    "backend": _native("which backend reads the spec"),
    "model.family": _native("the detector's class in torchvision.models.detection"),
    "model.backbone": _native(
        "torchvision's own builder where it has one, else BackboneWithFPN on torchvision's classifier"
    ),
    "model.zoo": _native("a builder of torchvision.models.detection by name"),
    "model.weights": _native(
        "coco, imagenet: torchvision's weight enums (coco: official builders only); path; https address; zoo:<builder>"
    ),
    "model.frozen_stages": _native(
        "the stem and n stages of the body get no gradient and frozen batch norm; at most 4"
    ),
    "model.norm": _native(
        "batch norm layers become FrozenBatchNorm2d or SyncBatchNorm; sync is batch in one process or on a CPU"
    ),
    "data.train": _native(_DATA),
    "data.val": _native(_DATA),
    "data.test": _native(_DATA),
    "data.split.val": _native(_DATA),
    "data.split.test": _native(_DATA),
    "data.split.by": _native(_DATA),
    "data.split.seed": _native(_DATA),
    "data.classes": _native(
        "num_classes; label = class index + 1 for R-CNN and SSD, class index for RetinaNet and FCOS"
    ),
    "data.image_size.short": _native("min_size; SSD and SSDlite take a square only"),
    "data.image_size.long": _native("max_size; left out, the official ratio of long to short"),
    "data.image_size.test_short": _native("min_size in evaluation; left out, the largest short side"),
    "data.image_size.sampling": _native(
        "choice: one of min_size a batch image; range: any whole number between the two"
    ),
    "data.image_size.square": _native("fixed_size (stretch), or scaled to fit and padded; size for SSD"),
    "data.image_size.fit": _native("stretch as fixed_size does, or pad with the mean colour at right and bottom"),
    "data.keep_empty_images": _native(_DATA),
    "data.crowd": _native(
        "official: left out; drop: left out; ignore: R-CNN and RetinaNet leave anchors on crowds out of the loss"
    ),
    "data.missing_masks": _native(_DATA),
    "data.skip_bad_images": _native(_LOOP),
    "data.augment": _native("one albumentations pipeline before torchvision's resize; replaces the official flip"),
    "data.batch_size": _native("total; each process takes its share"),
    "data.workers": _native("DataLoader processes"),
    "train.recipe": _native("which lengths and rates the plan starts from"),
    "train.epochs": _native(_LOOP),
    "train.iterations": _native(_LOOP),
    "train.optimizer.name": _native("torch.optim.SGD or AdamW"),
    "train.optimizer.lr": _native(_LOOP),
    "train.optimizer.momentum": _native(_LOOP),
    "train.optimizer.weight_decay": _native(_LOOP),
    "train.schedule.name": _native(_LOOP),
    "train.schedule.milestones": _native(_LOOP),
    "train.schedule.gamma": _native(_LOOP),
    "train.schedule.warmup_iterations": _native(_LOOP),
    "train.schedule.min_lr": _native(_LOOP),
    "train.precision": _native("Fabric's precision; heads hand out float32; fp16 needs CUDA"),
    "train.gradient_clip": _native("the norm over all parameters"),
    "train.accumulate": _native(_LOOP),
    "train.ema": _native(_LOOP),
    "train.early_stopping.metric": _native(_LOOP),
    "train.early_stopping.patience": _native(_LOOP),
    "train.checkpoint.every_epochs": _native(_LOOP),
    "train.checkpoint.every_minutes": _native(_LOOP),
    "train.checkpoint.every_iterations": _native(_LOOP),
    "train.checkpoint.keep": _native(_LOOP),
    "train.checkpoint.best": _native(_LOOP),
    "train.seed": _native(_LOOP),
    "train.loggers": _native("cvtune's worker logs to tensorboard, mlflow, wandb"),
    "train.log_every": _native(_LOOP),
    "eval.every_epochs": _native(_LOOP),
    "eval.model_max_detections": _native("box_detections_per_img, or detections_per_img without heads of two stages"),
    "eval.score_threshold": _native("box_score_thresh or score_thresh"),
    "eval.nms_iou": _native("box_nms_thresh or nms_thresh"),
    "run.device": _native("Fabric's accelerator"),
    "run.devices": _native("Fabric's devices; more than one is DistributedDataParallel"),
    "run.nodes": _native("Fabric's num_nodes"),
    "native": _native("merged last into config.yaml; unknown keys are errors"),
}
"""Every leaf of the spec -> how it reaches torchvision. The native file is cvtune's own: it can say everything."""
