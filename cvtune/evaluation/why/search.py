"""The reading of predictions that scores best, step by step: images, boxes, classes, scores, duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cvtune.evaluation.why.boxes import (
    LAYOUTS,
    BoxReading,
    box_readings,
    fitted_readings,
    resized_layouts,
    turned_images,
)
from cvtune.evaluation.why.case import Case, Quality, Reading
from cvtune.evaluation.why.cause import Cause
from cvtune.evaluation.why.ids import IdReading, class_readings, image_readings
from cvtune.evaluation.why.overlap import first_hits, suppress

__all__ = ["INVERTED", "Found", "search"]

# A repair counts where it raises the quality by this much and this factor, or by that much: chance stays below.
GAIN, FACTOR, LARGE = 0.05, 1.3, 0.1
# A weak model, too, is many times better once it is read as it was meant.
WEAK_GAIN, WEAK_FACTOR = 0.04, 4.0
# A later, less plain reading must beat an earlier one by this.
MARGIN = 0.02
INVERTED = "write a confidence that is high for sure detections (1 - distance, not a distance or a loss)"
# Below this two faults of the boxes are looked for at once.
POOR = 0.3
# Below this nothing is where an object is, and image ids are tried together with layouts of boxes.
NOTHING = 0.08


@dataclass(frozen=True)
class _Step:
    """A repair: how to undo it shows what it is worth."""

    rule: str
    what: str
    fix: str
    line: str
    repaired: Callable[[Reading], Reading]
    sure: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """The best reading, its quality and that of the plain one, and what the difference is made of."""

    reading: Reading
    before: Quality
    after: Quality
    causes: tuple[Cause, ...]


def search(case: Case, image_size: Mapping[str, Any] | None = None) -> Found:
    """Look for the reading of the predictions that scores best.

    Boxes and images are judged as if there were one class, so that wrong classes do not hide a right place. What each
    repair is worth is then measured by taking it out of all of them.
    """
    before = case.quality(case.plain)
    if not len(case) or not case.objects.any():
        return Found(case.plain, before, before, ())
    steps = [
        *_sure_ids(case),
        *_place(case, image_size),
    ]
    reading = _all(case.plain, steps)
    for look in (_classes, _scores, _duplicates):
        step = look(case, reading)
        if step:
            steps.append(step)
            reading = step.repaired(reading)
    after = case.quality(reading)
    causes = []
    for step in steps:
        without = case.quality(_all(case.plain, [other for other in steps if other is not step]))
        share = (after.value - without.value) / max(after.value, 1e-9)
        if not step.sure and not (share >= 0.12 and (after.value - without.value >= GAIN or _better(after, without))):
            continue
        certainty = 1.0 if step.sure else min(0.99, 0.6 + 0.39 * min(1.0, share * 1.2) * min(1.0, after.value / 0.15))
        rest = " once the other causes are mended" if len(steps) > 1 else ""
        seen = f"{step.what}: AP50 {_rises(without, after)}{rest}"
        causes.append(Cause(step.rule, certainty, seen, step.fix, step.line, (without.ap50, after.ap50)))
    return Found(reading, before, after, tuple(causes))


def _rises(a: Quality, b: Quality) -> str:
    if b.ap50 - a.ap50 >= 0.02:
        return f"rises from {a.ap50:.2f} to {b.ap50:.2f} if they are read so"
    return f"stays at {b.ap50:.2f} and AP rises from {a.ap:.2f} to {b.ap:.2f} if they are read so"


def _all(reading: Reading, steps: Iterable[_Step]) -> Reading:
    for step in steps:
        reading = step.repaired(reading)
    return reading


def _better(new: Quality, old: Quality) -> bool:
    gain = new.value - old.value
    if new.value >= WEAK_FACTOR * old.value and gain >= WEAK_GAIN:
        return True
    return gain >= GAIN and (new.value >= FACTOR * old.value or gain >= LARGE)


def _image_step(found: IdReading) -> _Step:
    return _Step(
        found.rule,
        found.what,
        found.fix,
        "image_id in the predictions",
        lambda reading: replace(reading, images=found.numbers),
        found.sure,
    )


def _sure_ids(case: Case) -> list[_Step]:
    """Ids of which the ground truth knows none, though another reading fits them all: no score is needed to say so.

    Where several fit, the score tells which.
    """
    steps = [_image_step(found) for found in image_readings(case) if found.sure]
    if len(steps) > 1:
        values = [case.quality(step.repaired(case.plain), classes=False).value for step in steps]
        first = next(k for k, value in enumerate(values) if value >= max(values) - MARGIN)
        steps = steps[first : first + 1]
    return steps


def _box_step(found: BoxReading) -> _Step:
    def repaired(reading: Reading) -> Reading:
        inner = reading.boxes
        return replace(reading, boxes=lambda boxes, sizes_wh: found.boxes(inner(boxes, sizes_wh), sizes_wh))

    return _Step(found.rule, f"Boxes are {found.what}", found.fix, "bbox in the predictions", repaired)


def _place(case: Case, image_size: Mapping[str, Any] | None) -> list[_Step]:
    """Repairs of image ids and boxes, judged without classes."""
    start = _all(case.plain, _sure_ids(case))
    quality = case.quality(start, classes=False)
    steps: list[_Step] = []
    other_ids = [_image_step(found) for found in image_readings(case) if not found.sure]
    best = _best(case, start, quality, other_ids)
    if best:
        steps.append(best[0])
        start, quality = best[0].repaired(start), best[1]
    if quality.value > 0.9:
        return steps
    boxes = [_box_step(found) for found in box_readings(case, image_size)]
    best = _best(case, start, quality, boxes)
    together: list[tuple[list[_Step], Quality] | None] = []
    if quality.value < NOTHING and (best is None or best[1].value < 0.2):
        together.append(_joint(case, start, quality, other_ids, boxes))
    if (best[1] if best else quality).value < POOR:
        together.append(_twice(case, start, quality, image_size))
    joint = max((found for found in together if found), key=lambda found: found[1].value, default=None)
    if joint and (best is None or joint[1].value > 2 * best[1].value):
        steps += joint[0]
        start, quality = _all(start, joint[0]), joint[1]
    else:
        fitted = _best(case, start, best[1] if best else quality, map(_box_step, fitted_readings(case, start)), MARGIN)
        best = fitted if fitted and _better(fitted[1], quality) else best
        if best:
            steps.append(best[0])
            start, quality = best[0].repaired(start), best[1]
    return steps + _turned(case, start, quality)


def _best(
    case: Case, reading: Reading, quality: Quality, steps: Iterable[_Step], gain: float = 0.0
) -> tuple[_Step, Quality] | None:
    """The repair that scores best, an earlier one where a later is hardly better; None where none is worth it."""
    best: tuple[_Step, Quality] | None = None
    for step in steps:
        got = case.quality(step.repaired(reading), classes=False)
        if best is None or got.value > best[1].value + MARGIN:
            best = step, got
    if best is None:
        return None
    worth = best[1].value > quality.value + gain if gain else _better(best[1], quality)
    return best if worth else None


def _joint(
    case: Case, reading: Reading, quality: Quality, ids: list[_Step], boxes: list[_Step]
) -> tuple[list[_Step], Quality] | None:
    """An image reading and a box reading that only work together."""
    plain_layouts = {rule for rule, *_ in LAYOUTS} | {"boxes_normalized"}
    best: tuple[list[_Step], Quality] | None = None
    for first in ids:
        placed = first.repaired(reading)
        for second in boxes:
            if second.rule not in plain_layouts:
                continue
            got = case.quality(second.repaired(placed), classes=False)
            if best is None or got.value > best[1].value + MARGIN:
                best = [first, second], got
    return best if best and _better(best[1], quality) else None


def _twice(
    case: Case, reading: Reading, quality: Quality, image_size: Mapping[str, Any] | None
) -> tuple[list[_Step], Quality] | None:
    """Boxes of another layout that are in the pixels of resized images besides: two faults that hide each other."""
    best: tuple[list[_Step], Quality] | None = None
    for layout, resized in resized_layouts(case, reading, image_size):
        steps = [_box_step(layout), _box_step(resized)]
        got = case.quality(_all(reading, steps), classes=False)
        if best is None or got.value > best[1].value + MARGIN:
            best = steps, got
    return best if best and _better(best[1], quality) else None


def _turned(case: Case, reading: Reading, quality: Quality) -> list[_Step]:
    found = turned_images(case, reading)
    if found is None:
        return []
    how, which = found
    step = _Step(
        how.rule,
        f"Boxes are {how.what}",
        how.fix,
        "how images are read: EXIF orientation",
        lambda reading: replace(reading, turn=how.boxes, turned=which),
    )
    return [step] if _better(case.quality(step.repaired(reading), classes=False), quality) else []


def _classes(case: Case, reading: Reading) -> _Step | None:
    hit, _ = first_hits(case, reading)
    if len(case.category_ids) == 1 and len(np.unique(case.truth.category[hit])) > 1:
        return None  # one id for all classes: no other meaning of it is right
    quality = case.quality(reading)
    best: tuple[IdReading, Quality] | None = None
    for found in class_readings(case, reading):
        if found.sure and not reading.classes.any():
            best = found, case.quality(replace(reading, classes=found.numbers))
            break
        got = case.quality(replace(reading, classes=found.numbers))
        if best is None or got.value > best[1].value + MARGIN:
            best = found, got
    if best is None or not (best[0].sure or _better(best[1], quality)):
        return None
    found = best[0]
    sure = found.sure and not reading.classes.any()
    return _Step(
        found.rule,
        found.what,
        found.fix,
        "category_id in the predictions",
        lambda reading: replace(reading, classes=found.numbers),
        sure,
    )


def _scores(case: Case, reading: Reading) -> _Step | None:
    if np.ptp(case.score) == 0:
        return None
    turned = replace(reading, score=-reading.score)
    if not _better(case.quality(turned), case.quality(reading)):
        return None
    return _Step(
        "scores_inverted",
        "Scores point the wrong way: the lowest are the best",
        INVERTED,
        "score in the predictions",
        lambda reading: replace(reading, score=-reading.score),
    )


def _duplicates(case: Case, reading: Reading) -> _Step | None:
    """Many predictions of one object: the file is joined twice, or non-maximum suppression was off."""
    keep = suppress(case, reading, 0.6)
    looked_at = case.chosen[reading.images[case.image]]
    dropped = 1 - keep[looked_at].mean() if looked_at.any() else 0.0
    if dropped < 0.25:
        return None
    quality, mended = case.quality(reading), case.quality(replace(reading, keep=keep))
    if not (mended.value >= quality.value + GAIN and mended.value >= 1.15 * quality.value):
        return None
    keys = np.column_stack([case.image, case.category, np.round(case.boxes, 3)])
    different = len(np.unique(keys, axis=0))
    twice = len(case) - different >= 0.8 * (~keep).sum()
    if twice:
        return _Step(
            "predictions_doubled",
            f"{len(case) - different} of {len(case)} predictions are listed more than once",
            "join the parts of the predictions once: each process or shard writes its images alone",
            "the step that joins predictions",
            lambda reading: replace(reading, keep=keep),
        )
    return _Step(
        "nms_off",
        f"{100 * dropped:.0f} % of the predictions overlap a better one of their class by an IoU above 0.6",
        "switch non-maximum suppression on, or lower its IoU (0.5 is usual)",
        "eval.nms_iou",
        lambda reading: replace(reading, keep=keep),
    )
