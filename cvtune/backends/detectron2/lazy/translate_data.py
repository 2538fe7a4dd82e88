"""The data side of a LazyConfig's translation: names, image size, masks, loaders, what our augmentation replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtune.backends.detectron2.lazy.keys import AUGMENTATIONS, LOADER, Path, find_step
from cvtune.backends.detectron2.translate_data import refuse_stretching, set_mask_format
from cvtune.backends.edits import Edits, Kind
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["translate_data"]

_FIELD = "data.image_size"


def translate_data(edits: Edits, plan: Plan) -> None:
    """Honour the spec's `data` fields.

    Raises:
        UnsupportedError: images are to be stretched to a square, or scaled in two ways at once.
    """
    for loader, split in (("train", "train"), ("test", "val")):
        edits.set(("dataloader", loader, "dataset", "names"), f"cvtune_{plan['name']}_{split}", f"data.{split}", "data")
        if not plan.recipe_is_official("data.workers"):
            edits.set(("dataloader", loader, "num_workers"), int(plan["data.workers"]), *plan.asked_by("data.workers"))
    if not plan.recipe_is_official("data.keep_empty_images"):
        keep = bool(plan["data.keep_empty_images"])
        given: Kind = "spec" if plan.asked("data.keep_empty_images") else "data"
        edits.set((*LOADER, "dataset", "filter_empty"), not keep, "data.keep_empty_images", given)
    if plan.asked("data.augment"):
        path = AUGMENTATIONS["train"]
        kept = [step for step in edits.get(path) if not str(step["_target_"]).endswith("RandomFlip")]
        edits.replace_list(path, kept, "data.augment")
    set_mask_format(edits, plan, (*LOADER, "mapper", "instance_mask_format"))
    _size(edits, plan)


def _size(edits: Edits, plan: Plan) -> None:
    if not plan.asked(f"{_FIELD}.short"):
        return
    refuse_stretching(plan)
    square = plan[f"{_FIELD}.square"]
    if square is not None:
        shorts, long, test_short, asked = [int(square)], int(square), int(square), f"{_FIELD}.square"
    else:
        shorts = sorted({int(short) for short in plan[f"{_FIELD}.short"]})
        long = int(plan[f"{_FIELD}.long"] or round(shorts[-1] * _official_ratio(edits)))
        test_short, asked = int(plan[f"{_FIELD}.test_short"] or shorts[-1]), f"{_FIELD}.short"
    if find_step(edits.config, "train", "ResizeScale"):
        _jitter(edits, plan, shorts, long, asked)
    else:
        path, step = _resize(edits, "train")
        if list(step["short_edge_length"]) != shorts:
            edits.set((*path, "short_edge_length"), shorts, asked)
        edits.set((*path, "max_size"), long, asked)
        sampling = plan[f"{_FIELD}.sampling"] if square is None else "choice"
        edits.set((*path, "sample_style"), sampling, f"{_FIELD}.sampling")
    path, _ = _resize(edits, "test")
    edits.set((*path, "short_edge_length"), test_short, asked)
    edits.set((*path, "max_size"), max(long, test_short), asked)


def _jitter(edits: Edits, plan: Plan, shorts: list[int], long: int, asked: str) -> None:
    """Large-scale jitter draws its own scale: at 1, the long side of an image fills the square that is cut out."""
    if len(shorts) > 1:
        raise UnsupportedError(
            f"{_FIELD}.short: backend detectron2 cannot draw among {shorts} with {plan['model.config']}, whose jitter "
            f"scales images by 0.1 to 2 already; nearest: short: {shorts[-1]}"
        )
    scale, crop = find_step(edits.config, "train", "ResizeScale"), find_step(edits.config, "train", "FixedSizeCrop")
    assert scale is not None
    edits.set((*scale[0], "target_height"), long, asked)
    edits.set((*scale[0], "target_width"), long, asked)
    if crop is not None:
        edits.set((*crop[0], "crop_size"), [long, long], asked)


def _resize(edits: Edits, split: str) -> tuple[Path, Mapping[str, Any]]:
    found = find_step(edits.config, split, "ResizeShortestEdge")
    if found is None:
        raise UnsupportedError(f"{_FIELD}: this config of backend detectron2 resizes in a way of its own; leave it out")
    return found


def _official_ratio(edits: Edits) -> float:
    """Long side over short side, as the official config has it: for scoring, where it jitters in training."""
    found = find_step(edits.config, "train", "ResizeShortestEdge") or find_step(
        edits.config, "test", "ResizeShortestEdge"
    )
    if found is None:
        return 1333 / 800
    short = found[1]["short_edge_length"]
    return float(found[1]["max_size"] / (short if isinstance(short, int) else max(short)))
