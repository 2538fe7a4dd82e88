"""The data side of a translation: names, image size, masks, loaders, and what our augmentation takes the place of."""

from __future__ import annotations

from cvtune.backends.edits import Edits, Kind, Path
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["refuse_stretching", "set_mask_format", "translate_data"]

_FIELD = "data.image_size"
_LOADER = "DATALOADER"


def translate_data(edits: Edits, plan: Plan) -> None:
    """Honour the spec's `data` fields.

    Raises:
        UnsupportedError: images are to be stretched to a square.
    """
    for key, split in (("TRAIN", "train"), ("TEST", "val")):
        edits.set(("DATASETS", key), (f"cvtune_{plan['name']}_{split}",), f"data.{split}", "data")
    # Only LVIS draws images of rare classes more often; an epoch of cvtune's visits each image once.
    edits.set((_LOADER, "SAMPLER_TRAIN"), "TrainingSampler", "data.train", "data")
    if not plan.recipe_is_official("data.workers"):
        edits.set((_LOADER, "NUM_WORKERS"), int(plan["data.workers"]), *plan.asked_by("data.workers"))
    if not plan.recipe_is_official("data.keep_empty_images"):
        keep = bool(plan["data.keep_empty_images"])
        given: Kind = "spec" if plan.asked("data.keep_empty_images") else "data"
        edits.set((_LOADER, "FILTER_EMPTY_ANNOTATIONS"), not keep, "data.keep_empty_images", given)
    if plan.asked("data.augment"):
        edits.set(("INPUT", "RANDOM_FLIP"), "none", "data.augment")
    set_mask_format(edits, plan, ("INPUT", "MASK_FORMAT"))
    _size(edits, plan)


def set_mask_format(edits: Edits, plan: Plan, path: Path) -> None:
    """Ask for bitmaps where polygons cannot say a hole, or what is left of an object after pixels were moved.

    `path` is where the config names the form of masks: its YAML and its LazyConfigs have a place each.
    """
    if plan["task"] != "segment":
        return
    if int(plan.data["train"].get("rle_masks", 0)):
        edits.set(path, "bitmask", "data.train", "data")
    elif plan.asked("data.augment") and plan["data.augment"]:
        edits.set(path, "bitmask", "data.augment")


def refuse_stretching(plan: Plan) -> None:
    """Refuse a square that images are to be stretched to.

    Raises:
        UnsupportedError: the spec asks for it.
    """
    square = plan[f"{_FIELD}.square"]
    if square is not None and plan[f"{_FIELD}.fit"] == "stretch":
        raise UnsupportedError(
            f"{_FIELD}.fit: backend detectron2 cannot stretch images to a square (it keeps the aspect); nearest: "
            f"{{square: {square}, fit: pad}}, or {{short: {square}, long: {square}}}"
        )


def _size(edits: Edits, plan: Plan) -> None:
    if not plan.asked(f"{_FIELD}.short"):
        return
    refuse_stretching(plan)
    square = plan[f"{_FIELD}.square"]
    if square is not None:
        shorts, long, test_short, asked = [int(square)], int(square), int(square), f"{_FIELD}.square"
    else:
        official = plan["data.image_size.short"]
        shorts = sorted({official} if isinstance(official, int) else {int(short) for short in official})
        given = edits.get(("INPUT",))
        ratio = given["MAX_SIZE_TRAIN"] / max(given["MIN_SIZE_TRAIN"])
        long = int(plan[f"{_FIELD}.long"] or round(max(shorts) * ratio))
        test_short, asked = int(plan[f"{_FIELD}.test_short"] or shorts[-1]), f"{_FIELD}.short"
    edits.set(("INPUT", "MIN_SIZE_TRAIN"), tuple(shorts), asked)
    edits.set(("INPUT", "MAX_SIZE_TRAIN"), long, asked)
    sampling = plan[f"{_FIELD}.sampling"] if square is None else "choice"
    edits.set(("INPUT", "MIN_SIZE_TRAIN_SAMPLING"), sampling, f"{_FIELD}.sampling")
    edits.set(("INPUT", "MIN_SIZE_TEST"), test_short, asked)
    edits.set(("INPUT", "MAX_SIZE_TEST"), max(long, test_short), asked)
