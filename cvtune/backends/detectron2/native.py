"""The spec's `native` section: merged last into the config, every key checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cvtune.backends.detectron2.zoo import defaults, plain
from cvtune.errors import SpecError, nearest

__all__ = ["merge_native"]

# Keys that another spec field decides: the plan, the schedule and the worker go by that field.
_ELSEWHERE = {
    "DATASETS.TRAIN": "data.train",
    "DATASETS.TEST": "data.val",
    "MODEL.WEIGHTS": "model.weights",
    "MODEL.ROI_HEADS.NUM_CLASSES": "data.classes",
    "MODEL.RETINANET.NUM_CLASSES": "data.classes",
    "MODEL.DEVICE": "run.device",
    "MODEL.MASK_ON": "model.family",
    "MODEL.BACKBONE.FREEZE_AT": "model.frozen_stages",
    "DATALOADER.NUM_WORKERS": "data.workers",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": "data.keep_empty_images",
    "SOLVER.IMS_PER_BATCH": "data.batch_size",
    "SOLVER.MAX_ITER": "train.iterations",
    "SOLVER.BASE_LR": "train.optimizer.lr",
    "SOLVER.MOMENTUM": "train.optimizer.momentum",
    "SOLVER.WEIGHT_DECAY": "train.optimizer.weight_decay",
    "SOLVER.LR_SCHEDULER_NAME": "train.schedule.name",
    "SOLVER.STEPS": "train.schedule.milestones",
    "SOLVER.GAMMA": "train.schedule.gamma",
    "SOLVER.WARMUP_ITERS": "train.schedule.warmup_iterations",
    "SOLVER.CHECKPOINT_PERIOD": "train.checkpoint.every_iterations",
    "SOLVER.AMP.ENABLED": "train.precision",
    "TEST.EVAL_PERIOD": "eval.every_epochs",
    "SEED": "train.seed",
}
# What cvtune's worker would not do, or could not.
_REFUSED = {
    "MODEL.KEYPOINT_ON": "keypoints are no task of cvtune",
    "MODEL.LOAD_PROPOSALS": "proposals computed beforehand are not read",
    "SOLVER.REFERENCE_WORLD_SIZE": "the plan scales the rate by the batch already",
    "DATALOADER.SAMPLER_TRAIN": "an epoch of cvtune's visits each image once",
    "TEST.AUG.ENABLED": "cvtune predicts an image once, as it is",
    "OUTPUT_DIR": "the run directory is runs/<name>",
}
Change = tuple[str, Any, Any]


def merge_native(config: Mapping[str, Any], native: Mapping[str, Any]) -> tuple[dict[str, Any], list[Change]]:
    """`config` with `native` merged into it, and (key, value before, value) of each change.

    A section is merged key by key, lists are replaced.

    Raises:
        SpecError: Detectron2 has no such key (the nearest one is named), or the value has another type than its
            default.
    """
    merged = copy.deepcopy(dict(config))
    changed: list[Change] = []
    _put(merged, native, "", changed)
    return checked(merged), changed


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as Detectron2 reads it: by yacs, which knows every key's type.

    Raises:
        SpecError: a value has another type than its default.
    """
    from yacs.config import CfgNode

    node = defaults().clone()
    try:
        node.merge_from_other_cfg(CfgNode(copy.deepcopy(dict(config))))
    except (KeyError, ValueError, AssertionError) as error:
        raise SpecError(f"native: Detectron2 refuses the config: {' '.join(str(error).split())}") from error
    found: dict[str, Any] = plain(node)
    return found


def _put(section: dict[str, Any], native: Mapping[str, Any], path: str, changed: list[Change]) -> None:
    for key, value in native.items():
        full = f"{path}{key}"
        if key not in section:
            raise SpecError(
                f"native.{full}: Detectron2 has no such key; allowed: {', '.join(section)}{nearest(str(key), section)}"
            )
        if full in _ELSEWHERE:
            raise SpecError(f"native.{full}: the spec has a field for it; set {_ELSEWHERE[full]} instead")
        if full in _REFUSED and value != section[key]:
            raise SpecError(f"native.{full}: {_REFUSED[full]}; leave it out")
        before = section[key]
        if isinstance(before, dict):
            if not isinstance(value, Mapping):
                raise SpecError(f"native.{full}: got {value!r}; a mapping is needed, with keys of {', '.join(before)}")
            _put(before, value, f"{full}.", changed)
            continue
        if isinstance(before, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        wanted = tuple(value) if isinstance(before, tuple) and isinstance(value, list) else value
        if before is not None and value is not None and type(wanted) is not type(before):
            raise SpecError(
                f"native.{full}: got {value!r}; {type(before).__name__} is needed, as in the default {before!r}"
            )
        if wanted != before:
            section[key] = copy.deepcopy(wanted)
            changed.append((full, before, wanted))
