"""Rules about what a run was set up with: anchors, channels, image sizes, data. One function a rule."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtune.errors import CvtuneError
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.training import Training, flat, mapping, number, read_object, records

__all__ = ["anchors_miss", "channel_order", "image_size_changes", "leaked", "nms_switched_off"]


def anchors_miss(training: Training) -> Cause | None:
    """Objects that no anchor fits, after the resizing."""
    from cvtune.data.anchors import DEFAULT_ANCHORS, compare_with_anchors
    from cvtune.data.coco import load_coco

    if training.ap50 is not None and training.ap50 >= 0.5:
        return None
    anchors = _anchors(training, DEFAULT_ANCHORS)
    path = training.run.data("train")
    if anchors is None or not path.exists():
        return None
    image_size = {
        key.removeprefix("data.image_size."): value
        for key, value in training.plan.items()
        if key.startswith("data.image_size.")
    }
    try:
        fit = compare_with_anchors(load_coco(path), image_size, anchors)
    except (CvtuneError, OSError, ValueError):
        return None
    if not fit.objects or fit.unmatched is None or fit.unmatched < 0.5 * fit.objects or fit.sizes is None:
        return None
    share = fit.unmatched / fit.objects
    low, high = min(anchors[0]), max(anchors[0])
    return Cause(
        "anchors_miss_boxes",
        0.6 + 0.33 * share,
        f"{100 * share:.0f} % of the training objects overlap no anchor by an IoU of 0.5: anchors are {low:g} to "
        f"{high:g} px, objects after the resizing {fit.sizes.p5:.3g} to {fit.sizes.p95:.3g} px, half of them below "
        f"{fit.sizes.p50:.3g}",
        "enlarge the images for small objects, or set anchor sizes that fit (`cvtune stats --spec` shows both)",
        "data.image_size, native (anchor sizes)",
    )


def _anchors(training: Training, defaults: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]] | None:
    """Sizes and ratios of the run: what `native` sets, else the family's."""
    family = str(training.plan.get("model.family") or "")
    default = defaults.get(family)
    native = mapping(training.plan.get("native"))
    sizes = _find(native, ("sizes", "SIZES"), "anchor")
    ratios = _find(native, ("ratios", "aspect_ratios", "ASPECT_RATIOS"), "anchor")
    listed = flat(sizes)
    if listed:
        return listed, flat(ratios) or (default[1] if default else (0.5, 1.0, 2.0))
    scales, strides = _find(native, ("scales",), "anchor"), _find(native, ("strides",), "anchor")
    if flat(scales):
        steps = flat(strides) or [4, 8, 16, 32, 64]
        return [scale * step for scale in flat(scales) for step in steps], flat(ratios) or (0.5, 1.0, 2.0)
    return default


def _find(tree: Any, names: tuple[str, ...], under: str, inside: bool = False) -> Any:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            within = inside or under in str(key).lower()
            if within and key in names:
                return value
            found = _find(value, names, under, within)
            if found is not None:
                return found
    return None


def channel_order(training: Training) -> Cause | None:
    """Red and blue exchanged: the config's order of channels against its mean, or against the weights."""
    text = training.config
    order, why = None, ""
    match = re.search(r"^\s*FORMAT:\s*['\"]?(RGB|BGR)", text, re.MULTILINE)
    mean = re.search(r"PIXEL_MEAN:\s*(?:\[|\n\s*-)\s*([\d.]+)[,\s-]+([\d.]+)[,\s-]+([\d.]+)", text)
    if match:
        order, why = match[1], f"INPUT.FORMAT is {match[1]}"
    swap = re.search(r"bgr_to_rgb\W+(True|False|true|false)", text)
    if swap:
        order = "RGB" if swap[1].lower() == "true" else "BGR"
        why = f"data_preprocessor.bgr_to_rgb is {swap[1]}, so the model sees {order}"
        mean = re.search(r"['\"]?mean['\"]?\s*[=:]\s*\[\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)", text) or mean
    if order and mean:
        first, last = float(mean[1]), float(mean[3])
        # ImageNet's mean: red 123.7, green 116.3, blue 103.5.
        told = "RGB" if first > last + 5 else "BGR" if last > first + 5 else None
        if told and told != order:
            return _channels(f"{why}, but the mean {first:g}, {float(mean[2]):g}, {last:g} is in the order {told}")
    asked = dict(_leaves(mapping(training.plan.get("native"))))
    for record in records(training.run.overrides):
        key = str(record.get("key"))
        if re.search(r"INPUT\.FORMAT$|bgr_to_rgb$|channel_order$|color_type$", key) and record.get("kind") != "data":
            official, value = record.get("official"), record.get("value")
            if official is not None and official != value and key in asked:
                return _channels(f"{key} is {value!r}, while the official config of these weights has {official!r}")
    return None


def _channels(seen: str) -> Cause:
    return Cause(
        "channel_order",
        0.9,
        f"red and blue are exchanged for these weights: {seen}",
        "take the order of channels back to the weights' own; leave it out of native",
        "native (INPUT.FORMAT, data_preprocessor.bgr_to_rgb)",
    )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def image_size_changes(training: Training) -> Cause | None:
    """Images much larger or smaller in testing than in training."""
    short, test = training.plan.get("data.image_size.short"), number(training.plan.get("data.image_size.test_short"))
    shorts = flat(short)
    if not shorts or not test or not training.weak:
        return None
    low, high = min(shorts), max(shorts)
    if 0.6 * low <= test <= 1.67 * high:
        return None
    return Cause(
        "test_image_size",
        0.8,
        f"images are trained with a short side of {low:g} to {high:g} and tested with {test:g}",
        "leave test_short out, or set it near the sizes of the training",
        "data.image_size.test_short",
    )


def leaked(training: Training) -> Cause | None:
    """Training images among those that are scored."""
    train, scored = training.run.data("train"), training.run.data(training.split)
    if training.split == "train" or not train.exists() or not scored.exists():
        return None
    a, b = _files(train), _files(scored)
    if not a or not b:
        return None
    same = set(a) & set(b)
    if len(same) < 0.02 * len(b):
        same |= _copies(a, b)
    share = len(same) / len(b)
    if share < 0.02 or not same:
        return None
    names = ", ".join(sorted(Path(path).name for path in same)[:3])
    return Cause(
        "train_val_leak",
        min(0.98, 0.7 + 0.28 * share),
        f"{len(same)} of the {len(b)} scored images were trained on ({names}): the score says little about new images",
        "split by image (`cvtune split`), copies and frames of one scene together",
        f"data.train, data.{training.split}",
    )


def _files(path: Path) -> list[str]:
    content = read_object(path)
    images = content.get("images")
    if not isinstance(images, list):
        return []
    return [str(i.get("file_name")) for i in images if isinstance(i, Mapping) and i.get("file_name")]


def _copies(a: Sequence[str], b: Sequence[str]) -> set[str]:
    """Files of `b` whose content is that of a file of `a`; only files of one length are read."""

    def by_size(paths: Sequence[str]) -> dict[int, list[str]]:
        sizes: dict[int, list[str]] = {}
        for path in paths:
            try:
                sizes.setdefault(Path(path).stat().st_size, []).append(path)
            except OSError:
                continue
        return sizes

    first, second = by_size(a), by_size(b)
    same: set[str] = set()
    for size in first.keys() & second.keys():
        known = {_digest(path) for path in first[size]}
        same |= {path for path in second[size] if _digest(path) in known}
    return same


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return path


def nms_switched_off(training: Training) -> Cause | None:
    """A plan that suppresses hardly anything, in a run whose predictions are too few to show it."""
    iou = number(training.plan.get("eval.nms_iou"))
    official = number(training.official.get("eval.nms_iou"))
    if iou is None or iou < 0.9 or (official is not None and official >= iou):
        return None
    return Cause(
        "nms_off",
        0.75,
        f"eval.nms_iou is {iou:g}: boxes that overlap less are all kept"
        + (f", the official value is {official:g}" if official is not None else ""),
        "lower eval.nms_iou to 0.5, or leave it out",
        "eval.nms_iou",
    )
