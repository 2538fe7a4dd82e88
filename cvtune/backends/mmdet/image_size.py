"""The image size of a config: read from its pipelines, and changed at every place that says it, or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cvtune.backends.edits import Edits, Path
from cvtune.backends.mmdet.translate_data import pipelines
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["official_size", "translate_size"]

_FIELD = "data.image_size"
_RESIZES = ("Resize", "RandomChoiceResize", "RandomResize")
# What says a size in pixels, by step: these all grow and shrink with a square.
_SCALED: Mapping[str, tuple[str, ...]] = {
    "Resize": ("scale",),
    "RandomResize": ("scale",),
    "RandomChoiceResize": ("scales",),
    "FixScaleResize": ("scale",),
    "Mosaic": ("img_scale",),
    "CachedMosaic": ("img_scale",),
    "MixUp": ("img_scale",),
    "CachedMixUp": ("img_scale",),
    "RandomAffine": ("border",),
    "RandomCrop": ("crop_size",),
    "RandomCenterCropPad": ("crop_size",),
    "Pad": ("size",),
    "BatchFixedSizePad": ("size",),
    "BatchSyncRandomResize": ("random_size_range",),
    "BatchResize": ("scale",),
}
_SQUARE_STEPS = ("Mosaic", "CachedMosaic", "RandomCenterCropPad", "BatchFixedSizePad", "BatchSyncRandomResize")
SIZE_DIVISOR = 32


def official_size(config: Mapping[str, Any]) -> dict[str, Any]:
    """The official size in the plan's keys: a square, or short sides, long side and test short side.

    A config is one of squares where an image is stretched to one, padded to one, or composed in one (mosaic, LSJ).
    """
    edits = Edits(config)
    test = _test_scale(edits)
    train = [scale for path in _train_paths(edits) for scale in _scales(edits.get(path))]
    if _is_square(edits):
        side = max(test) if test and test[0] == test[1] else max((max(scale) for scale in train), default=0)
        side = _batch_square(edits) or side
        fit = "stretch" if _stretches(edits) else "pad"
        return _keys(square=side, fit=fit)
    shorts = sorted({min(scale) for scale in train}) or ([min(test)] if test else [])
    longs = [max(scale) for scale in train] or ([max(test)] if test else [])
    sampling = "range" if any(s.get("type") == "RandomResize" for s in _train_steps(edits)) else "choice"
    if sampling == "range" and len(shorts) != 2:
        sampling, shorts = "choice", shorts[-1:]
    return _keys(
        short=shorts or None,
        long=max(longs, default=None),
        test_short=min(test) if test else None,
        sampling=sampling,
    )


def translate_size(edits: Edits, plan: Plan) -> None:
    """Change the size at every place.

    Raises:
        UnsupportedError: the config works on squares and two sides were asked for, or it has no step that resizes.
    """
    if not plan.asked("data.image_size.short"):
        return
    square = plan["data.image_size.square"]
    if _is_square(edits):
        if square is None:
            raise UnsupportedError(
                f"{_FIELD}.short: backend mmdet cannot keep two sides with {plan['model.config']}, which works on "
                f"squares; nearest: {_FIELD}.square"
            )
        _scale_squares(edits, int(square), plan)
    elif square is not None:
        _to_square(edits, int(square), str(plan["data.image_size.fit"]), plan)
    else:
        _to_sides(edits, plan)


def _keys(**values: Any) -> dict[str, Any]:
    keys = {"short": None, "long": None, "test_short": None, "sampling": "choice", "square": None, "fit": "stretch"}
    return {f"{_FIELD}.{key}": value for key, value in (keys | values).items()}


def _train_paths(edits: Edits) -> Iterator[Path]:
    """Paths of all steps of the training pipelines, those inside of RandomChoice included."""
    for path in pipelines(edits):
        yield from _steps(edits, path)


def _steps(edits: Edits, path: Path) -> Iterator[Path]:
    for index, step in enumerate(edits.get(path) or []):
        if isinstance(step, Mapping):
            yield (*path, index)
            if "transforms" in step:
                yield from _steps(edits, (*path, index, "transforms"))
        elif isinstance(step, list | tuple):
            yield from _steps(edits, (*path, index))


def _train_steps(edits: Edits) -> list[Mapping[str, Any]]:
    return [edits.get(path) for path in _train_paths(edits)]


def _batch_steps(edits: Edits) -> Iterator[Path]:
    path = ("model", "data_preprocessor", "batch_augments")
    for index, _ in enumerate(edits.get(path) or []):
        yield (*path, index)


def _scales(step: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The (long, short) or (width, height) pairs that a resizing step names."""
    if step.get("type") not in _RESIZES:
        return []
    said = step.get("scale") or step.get("scales") or []
    if said and isinstance(said[0], int | float):
        said = [said]
    return [(int(pair[0]), int(pair[1])) for pair in said]


def _test_scale(edits: Edits) -> tuple[int, int] | None:
    for path in pipelines(edits, ("val_dataloader",)):
        for at in _steps(edits, path):
            for scale in _scales(edits.get(at)):
                return scale
    return None


def _batch_square(edits: Edits) -> int | None:
    for path in _batch_steps(edits):
        if edits.get((*path, "type")) == "BatchFixedSizePad":
            return int(max(edits.get((*path, "size"))))
    return None


def _stretches(edits: Edits) -> bool:
    return any(step.get("type") == "Resize" and step.get("keep_ratio") is False for step in _train_steps(edits))


def _is_square(edits: Edits) -> bool:
    steps = _train_steps(edits) + [edits.get(path) for path in _batch_steps(edits)]
    if any(step.get("type") in _SQUARE_STEPS for step in steps):
        return True
    test = _test_scale(edits)
    return test is not None and test[0] == test[1]


def _scale_squares(edits: Edits, square: int, plan: Plan) -> None:
    said = official_size(edits.config)
    official, fit = int(said[f"{_FIELD}.square"]), said[f"{_FIELD}.fit"]
    if plan[f"{_FIELD}.fit"] != fit:
        raise UnsupportedError(
            f"{_FIELD}.fit: backend mmdet cannot {plan[f'{_FIELD}.fit']} images with {plan['model.config']}, which "
            f"composes its squares in its own way; nearest: {fit}"
        )
    if square == official:
        return
    if edits.get(("model", "bbox_head", "anchor_generator", "type")) == "SSDAnchorGenerator":
        raise UnsupportedError(
            f"{_FIELD}.square: backend mmdet cannot do {square} with {plan['model.config']}, whose anchors are "
            f"made for {official}; nearest: {official}"
        )
    divisor = _divisor(edits, official)
    if square % divisor:
        raise UnsupportedError(
            f"{_FIELD}.square: backend mmdet cannot do {square} with {plan['model.config']}, whose strides need a "
            f"multiple of {divisor}; nearest: {max(divisor, round(square / divisor) * divisor)}"
        )
    places = [*_train_paths(edits), *_batch_steps(edits)]
    for path in pipelines(edits, ("val_dataloader", "test_dataloader")):
        places += _steps(edits, path)
    for path in places:
        step = edits.get(path)
        for key in _SCALED.get(str(step.get("type")), ()):
            if step.get(key) is not None and not _is_share(step, key):
                divisor = SIZE_DIVISOR if key == "random_size_range" else 1
                edits.set((*path, key), _scaled(step[key], square / official, divisor), f"{_FIELD}.square")


def _divisor(edits: Edits, official: int) -> int:
    """What a square has to be a multiple of: the largest stride, where images go into the model as they are.

    Elsewhere MMDetection pads what the model gets, or the official square shows that any will do (YOLACT's 550).
    """
    if any(edits.get((*path, "type")) == "BatchSyncRandomResize" for path in _batch_steps(edits)):
        return SIZE_DIVISOR
    head: Path = ("model", "bbox_head")
    strides = edits.get((*head, "anchor_generator", "strides")) or edits.get((*head, "strides")) or [SIZE_DIVISOR]
    largest = max(max(one) if isinstance(one, list | tuple) else one for one in strides)
    padded = (edits.get(("model", "data_preprocessor", "pad_size_divisor")) or 1) > 1
    return 1 if padded or official % largest else int(largest)


def _is_share(step: Mapping[str, Any], key: str) -> bool:
    """Whether a crop's size is a share of the image, not pixels."""
    return key == "crop_size" and str(step.get("crop_type", "absolute")).startswith("relative")


def _scaled(value: Any, factor: float, divisor: int) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_scaled(item, factor, divisor) for item in value)
    if divisor > 1:
        return max(divisor, round(value * factor / divisor) * divisor)
    return round(value * factor)


def _to_square(edits: Edits, side: int, fit: str, plan: Plan) -> None:
    steps: list[dict[str, Any]] = [{"type": "Resize", "scale": (side, side), "keep_ratio": fit == "pad"}]
    if fit == "pad":
        steps.append({"type": "Pad", "size": (side, side)})
    _replace_resizes(edits, steps, steps, f"{_FIELD}.square", plan)


def _to_sides(edits: Edits, plan: Plan) -> None:
    shorts = plan["data.image_size.short"]
    shorts = [int(shorts)] if isinstance(shorts, int) else sorted(int(short) for short in shorts)
    official = official_size(edits.config)
    ratio = (official[f"{_FIELD}.long"] or 1333) / max(official[f"{_FIELD}.short"] or [800])
    test_short = int(plan["data.image_size.test_short"] or shorts[-1])
    long, test_long = (int(plan["data.image_size.long"] or round(side * ratio)) for side in (shorts[-1], test_short))
    # MMCV takes the larger number for the limit of the long side.
    pairs = [(long, min(short, long)) for short in shorts]
    step: dict[str, Any] = {"type": "Resize", "scale": pairs[0], "keep_ratio": True}
    if len(shorts) > 1 and plan["data.image_size.sampling"] == "range":
        step = {"type": "RandomResize", "scale": [pairs[0], pairs[-1]], "keep_ratio": True}
    elif len(shorts) > 1:
        step = {"type": "RandomChoiceResize", "scales": pairs, "keep_ratio": True}
    test = {"type": "Resize", "scale": (test_long, min(test_short, test_long)), "keep_ratio": True}
    _replace_resizes(edits, [step], [test], f"{_FIELD}.short", plan)


def _replace_resizes(
    edits: Edits, train: list[dict[str, Any]], test: list[dict[str, Any]], field: str, plan: Plan
) -> None:
    """Put `train` and `test` where the pipelines resize now; a choice between ways to resize goes as a whole."""
    for loaders, steps in ((("train_dataloader",), train), (("val_dataloader", "test_dataloader"), test)):
        found = False
        for path in list(pipelines(edits, loaders)):
            items: list[Any] = []
            placed = False
            for item in edits.get(path):
                if _resizes(item):
                    items += steps if not placed else []
                    placed = True
                elif placed and item.get("type") == "Pad" and item.get("size") is not None:
                    continue  # a fixed size that the old resize led to
                else:
                    items.append(item)
            if placed:
                edits.replace_list(path, items, field)
            found = found or placed
        if not found and loaders == ("train_dataloader",):
            found = _batch_resize(edits, steps[0], field)
        if not found and edits.get((loaders[0],)):
            raise UnsupportedError(
                f"{field}: backend mmdet found no step that resizes in {plan['model.config']}; nearest: leave "
                "data.image_size out"
            )


def _batch_resize(edits: Edits, step: Mapping[str, Any], field: str) -> bool:
    """Where a config resizes whole batches (CrowdDet), put the size there."""
    scale = step.get("scale")
    for path in list(_batch_steps(edits)):
        if edits.get((*path, "type")) == "BatchResize" and isinstance(scale, tuple):
            edits.set((*path, "scale"), scale, field)
            return True
    return False


def _resizes(step: Mapping[str, Any]) -> bool:
    if step.get("type") in _RESIZES:
        return True
    branches = step.get("transforms") or []
    return step.get("type") == "RandomChoice" and any(
        _resizes(item) for branch in branches for item in (branch if isinstance(branch, list | tuple) else [branch])
    )
