"""Rules about a run's training: weights, learning rate, length, anchors, channels, leakage. One function a rule."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.errors import CvtuneError
from cvtune.evaluation.why.cause import Cause
from cvtune.runs import RunDir, read_json, read_jsonl

__all__ = ["RULES", "RunRule", "Training", "read_training"]


@dataclass(frozen=True, eq=False)
class Training:
    """What a run's files say; what is missing or broken is empty.

    Attributes:
        plan: key -> value. official: the recipe's values.
        steps: the log's training records in order. evals: (epoch or step, AP50, AP) of its evaluations.
        record: run.json. error: its error, or the worker's.
        weights: weights.txt. config: the native file's text.
        ap50, ap: of the best reading of the predictions; None where there are none to score.
    """

    run: RunDir
    split: str
    plan: Mapping[str, Any]
    official: Mapping[str, Any]
    data: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]
    evals: Sequence[tuple[float, float, float]]
    record: Mapping[str, Any]
    error: str
    weights: str
    config: str
    ap50: float | None
    ap: float | None

    @property
    def losses(self) -> list[float]:
        """The logged losses; what is not a number is NaN."""
        return [float(v) if isinstance(v := r.get("loss"), int | float) else math.nan for r in self.steps]

    @property
    def weak(self) -> bool:
        """Whether the score leaves something to explain."""
        return self.ap50 is None or self.ap50 < 0.4


RunRule = Callable[[Training], Cause | None]


def read_training(run: RunDir, split: str, ap50: float | None, ap: float | None) -> Training:
    """Read a run's files; never fails for a file that is missing or broken."""
    plan = _object(run.plan)
    values = {k: v.get("value") for k, v in _mapping(plan.get("values")).items() if isinstance(v, Mapping)}
    recipe = _object(run.recipe) or _mapping(plan.get("recipe"))
    record = _object(run.record)
    log = read_jsonl(run.log)
    evals: list[tuple[float, float, float]] = []
    for entry in log:
        scores = _mapping(_mapping(entry.get("eval")).get("bbox"))
        if isinstance(scores.get("AP50"), int | float):
            at = _number(entry.get("epoch", entry.get("step")))
            evals.append(
                (len(evals) if at is None else at, float(scores["AP50"]), float(scores.get("AP", scores["AP50"])))
            )
    error = record.get("error") or _object(run.error).get("message") or ""
    return Training(
        run,
        split,
        values,
        _mapping(recipe.get("values")),
        _mapping(plan.get("data")),
        [entry for entry in log if "eval" not in entry and "loss" in entry],
        evals,
        record,
        str(error),
        _text(run.path / "weights.txt"),
        _text(run.config),
        ap50,
        ap,
    )


def _object(path: Path) -> Mapping[str, Any]:
    try:
        return _mapping(read_json(path)) if path.exists() else {}
    except (CvtuneError, OSError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def learning_rate_too_high(training: Training) -> Cause | None:
    """A loss that is no number, explodes, or never falls below where it began."""
    losses = training.losses
    lr = _number(training.plan.get("train.optimizer.lr"))
    official = _official_lr(training)
    times = lr / official if lr and official else None
    compared = f"; lr is {lr:g}, {times:.3g} times the official {official:.3g} for this batch" if times and lr else ""
    fix = "lower the learning rate to a tenth" + (f" ({official:.2g} would be the official one)" if official else "")
    broken = re.search(r"not finite|nan\b|infinite|diverge", training.error, re.IGNORECASE)
    if broken or any(not math.isfinite(loss) for loss in losses):
        at = next(
            (r.get("step") for r, loss in zip(training.steps, losses, strict=True) if not math.isfinite(loss)), None
        )
        seen = f"the loss is not finite{f' at step {at}' if at is not None else ''}"
        return Cause("learning_rate_too_high", 0.96, seen + compared, fix, "train.optimizer.lr")
    if len(losses) < 4:
        return None
    start = float(np.median(losses[: max(1, len(losses) // 20)]))
    peak = max(losses[1:])
    end = float(np.median(losses[-max(2, len(losses) // 5) :]))
    lowest = min(losses)
    exploded = peak > 5 * max(start, 1e-9) and end > 1.0 * start
    stuck = end > 0.95 * start and training.weak and (times is None or times >= 3)
    rebound = end > 3 * lowest and end > 0.8 * start
    if not (exploded or stuck or rebound):
        return None
    certainty = 0.93 if exploded else 0.85 if rebound else 0.7
    if times is not None:
        certainty = min(0.97, certainty + (0.1 if times >= 5 else -0.1 if times < 1.5 else 0.0))
    return Cause(
        "learning_rate_too_high",
        certainty,
        f"the loss began at {start:.3g}, rose to {peak:.3g} and ended at {end:.3g}{compared}",
        fix,
        "train.optimizer.lr",
    )


def _official_lr(training: Training) -> float | None:
    """The official rate at the run's batch, in proportion to the batch."""
    lr, batch = (_number(training.official.get(key)) for key in ("train.optimizer.lr", "data.batch_size"))
    own = _number(training.plan.get("data.batch_size"))
    return lr * own / batch if lr and batch and own else lr


def learning_rate_too_low(training: Training) -> Cause | None:
    """A loss that hardly moves, at a rate far below the official one."""
    lr, official, losses = _number(training.plan.get("train.optimizer.lr")), _official_lr(training), training.losses
    if lr is None or not official or len(losses) < 4 or not training.weak or lr > official / 20:
        return None
    tenth = max(1, len(losses) // 10)
    start, end = float(np.median(losses[:tenth])), float(np.median(losses[-tenth:]))
    if end < 0.6 * start:
        return None
    return Cause(
        "learning_rate_too_low",
        0.88,
        f"lr is {lr:.3g}, {official / max(lr, 1e-30):.0f} times below the official {official:.3g} for this batch, and "
        f"the loss went only from {start:.3g} to {end:.3g}",
        f"raise the learning rate towards {official:.2g}, or leave it out",
        "train.optimizer.lr",
    )


def too_few_iterations(training: Training) -> Cause | None:
    """A training that ended while the model was still learning fast."""
    plan = training.plan
    planned = _number(plan.get("train.iterations"))
    done = _number(training.steps[-1].get("step")) if training.steps else None
    iterations = done or planned
    batch = (_number(plan.get("data.batch_size")) or 1) * (_number(plan.get("train.accumulate")) or 1)
    per_epoch = _number(plan.get("train.steps_per_epoch"))
    images = _number(_mapping(training.data.get("train")).get("images"))
    if not iterations or not training.weak:
        return None
    passes = iterations / per_epoch if per_epoch else iterations * batch / images if images else None
    samples = iterations * batch
    stopped = planned is not None and done is not None and done < 0.5 * planned
    few = iterations < 100 or samples < 300 or (passes is not None and passes < 3 and samples < 10_000)
    if not few and not stopped:
        return None
    losses = training.losses
    falling = ""
    if len(losses) >= 6:
        third = len(losses) // 3
        middle, last = float(np.median(losses[third : 2 * third])), float(np.median(losses[-third:]))
        if last < 0.93 * middle:
            falling = f"; the loss was still falling, from {middle:.3g} to {last:.3g} in the last third"
    rising = ""
    if len(training.evals) >= 2 and training.evals[-1][2] > 1.15 * training.evals[-2][2]:
        rising = f"; AP was still rising, from {training.evals[-2][2]:.3f} to {training.evals[-1][2]:.3f}"
    told = f", {passes:.2g} passes over the data" if passes else ""
    early = f" of {planned:,.0f} planned ones" if stopped else ""
    certainty = 0.72 + (0.1 if falling or rising else 0) + (0.1 if iterations < 100 or (passes or 9) < 1.5 else 0)
    return Cause(
        "too_few_iterations",
        min(certainty, 0.92),
        f"the model saw {samples:,.0f} samples in {iterations:,.0f} steps{early}{told}{falling}{rising}",
        "train longer: leave the length out (20,000 samples, 12 to 50 passes), or go on with --resume after a stop",
        "train.epochs, train.iterations",
    )


def warmup_never_ends(training: Training) -> Cause | None:
    """A warm-up as long as the whole training."""
    warmup, iterations = (
        _number(training.plan.get(k)) for k in ("train.schedule.warmup_iterations", "train.iterations")
    )
    if not warmup or not iterations or warmup < 0.8 * iterations or not training.weak:
        return None
    return Cause(
        "warmup_never_ends",
        0.85,
        f"the warm-up of {warmup:,.0f} steps takes {100 * warmup / iterations:.0f} % of all {iterations:,.0f} steps",
        "shorten the warm-up to a tenth of all steps, or leave it out",
        "train.schedule.warmup_iterations",
    )


def no_pretrained_weights(training: Training) -> Cause | None:
    """Random weights, or a file of which hardly a tensor fitted."""
    weights = training.plan.get("model.weights")
    match = re.search(r"(\d+) of (\d+) tensors loaded", training.weights)
    loaded = int(match[1]) / max(1, int(match[2])) if match else None
    images = _number(_mapping(training.data.get("train")).get("images"))
    if not training.weak or (images is not None and images > 50_000):
        return None
    small = f" on {images:,.0f} images" if images else ""
    fix = "start from weights: model.weights coco, or imagenet"
    if weights == "none":
        return Cause(
            "no_pretrained_weights",
            0.9,
            f"model.weights is none: the network starts at random, which takes far more than the training{small}",
            fix,
            "model.weights",
        )
    if loaded is not None and loaded < 0.3:
        return Cause(
            "no_pretrained_weights",
            0.88,
            f"only {match[1] if match else 0} of {match[2] if match else 0} tensors of the weights fitted the model",
            "choose weights of this model's backbone; the run's weights.txt lists what did not fit",
            "model.weights",
        )
    return None


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
    native = _mapping(training.plan.get("native"))
    sizes = _find(native, ("sizes", "SIZES"), "anchor")
    ratios = _find(native, ("ratios", "aspect_ratios", "ASPECT_RATIOS"), "anchor")
    flat = _flat(sizes)
    if flat:
        return flat, _flat(ratios) or (default[1] if default else (0.5, 1.0, 2.0))
    scales, strides = _find(native, ("scales",), "anchor"), _find(native, ("strides",), "anchor")
    if _flat(scales):
        steps = _flat(strides) or [4, 8, 16, 32, 64]
        return [scale * step for scale in _flat(scales) for step in steps], _flat(ratios) or (0.5, 1.0, 2.0)
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


def _flat(value: Any) -> list[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)]
    return [x for item in value for x in _flat(item)] if isinstance(value, list | tuple) else []


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
    asked = dict(_leaves(_mapping(training.plan.get("native"))))
    for record in _records(training.run.overrides):
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


def _records(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = read_json(path) if path.exists() else []
    except (CvtuneError, OSError):
        return []
    return [entry for entry in content if isinstance(entry, Mapping)] if isinstance(content, list) else []


def image_size_changes(training: Training) -> Cause | None:
    """Images much larger or smaller in testing than in training."""
    short, test = training.plan.get("data.image_size.short"), _number(training.plan.get("data.image_size.test_short"))
    shorts = _flat(short)
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
    content = _object(path)
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
    iou = _number(training.plan.get("eval.nms_iou"))
    official = _number(training.official.get("eval.nms_iou"))
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


RULES: Mapping[str, RunRule] = {
    rule.__name__: rule
    for rule in (
        learning_rate_too_high,
        no_pretrained_weights,
        too_few_iterations,
        warmup_never_ends,
        learning_rate_too_low,
        anchors_miss,
        channel_order,
        image_size_changes,
        nms_switched_off,
        leaked,
    )
}
