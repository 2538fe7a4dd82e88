"""The spec's `native` section merged into a LazyConfig, last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.edits import Edits, Path
from cvtune.errors import SpecError, nearest

__all__ = ["merge_native"]

# Keys that another spec field decides.
_ELSEWHERE = {
    "dataloader.train.dataset.names": "data.train",
    "dataloader.test.dataset.names": "data.val",
    "train.init_checkpoint": "model.weights",
    "train.device": "run.device",
    "train.max_iter": "train.iterations",
    "train.eval_period": "eval.every_epochs",
    "train.checkpointer.period": "train.checkpoint.every_iterations",
    "train.amp.enabled": "train.precision",
    "train.seed": "train.seed",
    "dataloader.train.total_batch_size": "data.batch_size",
    "dataloader.train.num_workers": "data.workers",
    "dataloader.train.dataset.filter_empty": "data.keep_empty_images",
    "optimizer.lr": "train.optimizer.lr",
    "optimizer.weight_decay": "train.optimizer.weight_decay",
    "optimizer.momentum": "train.optimizer.momentum",
    "lr_multiplier.warmup_length": "train.schedule.warmup_iterations",
    "lr_multiplier.scheduler": "train.schedule",
}
# What Detectron2's tool reads beside the keys that its configs have.
_KNOWN = {"train": ("seed", "cudnn_benchmark")}


def merge_native(edits: Edits, native: Mapping[str, Any]) -> None:
    """Merge `native` into a LazyConfig, each change recorded.

    A section is merged key by key, lists are replaced. Where a section describes a call (it has a `_target_`, or the
    `type` of MMDetection's), a new key is another argument of it: whether it takes one shows when the model is built.

    Raises:
        SpecError: a section or a setting that there is none of (the nearest one is named), or one of another kind.
    """
    _put(edits, native, ())


def _put(edits: Edits, native: Mapping[str, Any], path: Path) -> None:
    section = edits.get(path) if path else edits.config
    for key, value in native.items():
        full = ".".join(map(str, (*path, key)))
        known = {*section, *_KNOWN.get(".".join(map(str, path)), ())}
        if key not in known and not {"_target_", "type"} & known:
            raise SpecError(
                f"native.{full}: the LazyConfig has no such key; allowed: {', '.join(section)}"
                f"{nearest(str(key), section)}"
            )
        field = "data.classes" if key == "num_classes" and path[:1] == ("model",) else _ELSEWHERE.get(full)
        if field:
            raise SpecError(f"native.{full}: the spec has a field for it; set {field} instead")
        before = section.get(key)
        if isinstance(before, dict) and not (isinstance(value, Mapping) and "_target_" in value):
            if not isinstance(value, Mapping):
                raise SpecError(f"native.{full}: got {value!r}; a mapping is needed, with keys of {', '.join(before)}")
            _put(edits, value, (*path, key))
        else:
            edits.set((*path, key), value, "native")
