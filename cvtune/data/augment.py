"""The spec's `data.augment`: one pipeline of albumentations transforms, the same for every backend.

A step is ``{TransformName: {argument: value}}``; ``OneOf`` takes a list of steps. Boxes and masks go along:

- Flips, quarter turns, crops, padding and resizing move a box by its coordinates. An object that a crop cuts gets the
  part of its box inside, and where there is a mask, no side is left a pixel or more away from the visible mask.
- Rotation, affine, perspective and free-form transforms take the box from the object's mask, where there is one.
  Without masks, rotation and affine give the box around the box's moved corners; the others move the box's pixels.
- Dropout leaves the boxes as they are.

Albumentations' own `Compose` is not used: it keeps boxes in 32 bits, and its `set_random_seed` gives every transform
the same stream of random numbers, so that a horizontal and a vertical flip of p = 0.5 always happen together.
"""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtune.data.augment_steps import Choice, Step, Transform, read_steps
from cvtune.data.geometry import clip_xyxy
from cvtune.errors import SpecError

__all__ = ["Augment", "Augmented", "check_augment", "make_augment"]

# A few transforms draw a crop without a pixel now and then and fail; what fails this often in a row is wrong.
TRIES = 10
# Albumentations computes crops in 32-bit floats of 0..1, which moves a box by up to 2e-4 px in a 4000 px image.
DECIMALS = 3


@dataclass(frozen=True)
class Augmented:
    """An image with its objects.

    `rgb` uint8 [h, w, 3]; `boxes_xyxy` float64 [n, 4] in pixels, within the image, none without width or height;
    `masks` [n, h, w] of the dtype that was given (uint8 or bool), none empty, or None; `kept` int64 [n]: which of the
    given objects each one is.
    """

    rgb: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float64]
    masks: NDArray[Any] | None
    kept: NDArray[np.int64]


class Augment:
    """A pipeline. It may be called from several threads, and pickled, so that it works in loading processes."""

    def __init__(self, steps: Sequence[Mapping[str, Mapping[str, Any] | None]]) -> None:
        """Check and build `steps`; raises SpecError with all problems, a line each."""
        self._steps = copy.deepcopy(list(steps))
        problems = check_augment(self._steps)
        if problems:
            raise SpecError("\n".join(problems))
        # A transform keeps its random numbers and parameters in itself: every thread gets transforms of its own.
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the steps alone."""
        return Augment, (self._steps,)

    def __call__(
        self,
        rgb: NDArray[np.uint8],
        boxes_xyxy: NDArray[np.floating[Any]],
        masks: NDArray[Any] | Sequence[NDArray[Any]] | None,
        seed: int,
    ) -> Augmented:
        """Transform an image and its objects.

        The result depends on the arguments alone, not on what was called before. Nothing given is changed; where no
        step is applied, the arrays that were given come back.

        Args:
            rgb: uint8 [h, w, 3].
            boxes_xyxy: [n, 4] left, top, right, bottom in pixels. Boxes are clipped to the image; those that have no
                width or height left are dropped, with their masks.
            masks: uint8 or bool [n, h, w], or a list of n [h, w], or None. An object whose mask is empty is dropped.
            seed: any integer from 0 up.

        Raises:
            SpecError: a step cannot be applied to this image, such as a crop larger than the image.
            ValueError: the arguments do not fit each other.
        """
        sample = _sample(rgb, boxes_xyxy, masks)
        before = sample.masks
        if self._steps:
            steps = self._own_steps()
            # One generator for all steps, in order. Two new ones cost 20 microseconds an image, whatever the steps.
            numbers, choices = np.random.default_rng(seed), random.Random(seed)
            for transform in _transforms(steps):
                transform.transform.set_random_state(numbers, choices)
            for step in steps:
                sample = _run(step, sample, choices)
        if masks is None or sample.masks is None:
            return sample
        if sample.masks is before:  # every step that moves pixels has looked at the masks itself
            sample = _without_empty(sample, _mask_boxes(sample.masks))
        first = masks if isinstance(masks, np.ndarray) or not len(masks) else masks[0]
        as_bool = np.asarray(first).dtype == np.bool_
        return _with_bool_masks(sample) if as_bool else sample

    def _own_steps(self) -> tuple[Step, ...]:
        if not hasattr(self._local, "steps"):
            self._local.steps = read_steps(self._steps)[0]
        steps: tuple[Step, ...] = self._local.steps
        return steps


def make_augment(steps: Sequence[Mapping[str, Mapping[str, Any] | None]]) -> Augment:
    """Build the pipeline of `steps`, the spec's `data.augment`; no steps leave images as they are.

    Raises:
        SpecError: all problems that `check_augment` finds, a line each.
        MissingDependencyError: albumentations is not installed, or broken.
    """
    return Augment(steps)


def check_augment(steps: Sequence[Mapping[str, Mapping[str, Any] | None]]) -> list[str]:
    """All problems of `steps`, one line each: unknown transforms and arguments, wrong values, what cannot be used.

    Raises:
        MissingDependencyError: albumentations is not installed, or broken. Without steps it is not needed.
    """
    return read_steps(steps)[1] if len(steps) else []


def _sample(rgb: NDArray[np.uint8], boxes_xyxy: Any, masks: Any) -> Augmented:
    """What was given, checked; boxes clipped and those without width or height dropped; masks as uint8."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"rgb must be uint8 [h, w, 3], got {rgb.dtype} {list(rgb.shape)}")
    height, width = rgb.shape[:2]
    boxes = clip_xyxy(boxes_xyxy, (width, height))
    stack = None
    if masks is not None:
        stack = np.asarray(masks) if len(masks) else _no_masks(height, width)
        if stack.shape != (len(boxes), height, width) or stack.dtype not in (np.uint8, np.bool_):
            raise ValueError(
                f"masks must be uint8 or bool {[len(boxes), height, width]} for {len(boxes)} boxes and this image, "
                f"got {stack.dtype} {list(stack.shape)}"
            )
        stack = stack.view(np.uint8)
    return _without_empty(Augmented(rgb, boxes, stack, np.arange(len(boxes), dtype=np.int64)), None)


def _transforms(steps: Iterable[Step]) -> Iterable[Transform]:
    for step in steps:
        if isinstance(step, Choice):
            yield from _transforms(step.steps)
        else:
            yield step


def _run(step: Step, sample: Augmented, choices: random.Random, force: bool = False) -> Augmented:
    if isinstance(step, Choice):
        if not force and choices.random() >= step.p:
            return sample
        chosen = choices.choices(step.steps, [each.p for each in step.steps])[0]
        return _run(chosen, sample, choices, force=True)
    if not step.transform.should_apply(force_apply=force):
        return sample
    if step.moves == "nothing":
        return replace(sample, rgb=_apply(step, {"image": sample.rgb}, len(sample.kept))["image"])
    return _move(step, sample)


def _move(step: Transform, sample: Augmented) -> Augmented:
    """Apply a transform that moves pixels."""
    height, width = sample.rgb.shape[:2]
    masks = sample.masks
    if step.moves == "freely" and masks is None:
        masks = _box_masks(sample.boxes_xyxy, (height, width))
    by_mask = step.moves != "axes" and masks is not None
    data: dict[str, Any] = {"image": sample.rgb}
    if masks is not None and len(masks):
        data["masks"] = masks
    if not by_mask:
        rows = np.arange(len(sample.kept), dtype=np.float64)
        scale = np.array([width, height, width, height], np.float64)
        data["bboxes"] = np.column_stack([sample.boxes_xyxy / scale, rows])
    result = _apply(step, data, len(sample.kept))
    height, width = result["image"].shape[:2]
    masks = np.asarray(result["masks"]) if "masks" in data else None if masks is None else _no_masks(height, width)
    around = None if masks is None else _mask_boxes(masks)
    if by_mask:
        assert around is not None
        moved = replace(sample, rgb=result["image"], boxes_xyxy=around, masks=None if sample.masks is None else masks)
        return _without_empty(moved, around)
    bboxes = np.asarray(result["bboxes"], np.float64).reshape(-1, 5)
    scale = np.array([width, height, width, height], np.float64)
    index = bboxes[:, 4].round().astype(np.int64)
    whole = (bboxes[:, :4] * scale).round(DECIMALS)
    boxes = clip_xyxy(whole, (width, height))
    if masks is not None and around is not None:
        masks, around = masks[index], around[index]
        # The corner of a triangle may be cut off: what is left of its box is wider than what is left of it.
        inside = (around - boxes) * (1, 1, -1, -1)
        cut = (whole != boxes).any(axis=1, keepdims=True)
        boxes = np.where(cut & (inside >= 1), around, boxes)
    return _without_empty(Augmented(result["image"], boxes, masks, sample.kept[index]), around)


def _apply(step: Transform, data: Mapping[str, Any], objects: int) -> dict[str, Any]:
    height, width = data["image"].shape[:2]
    problem = ""
    for _ in range(TRIES):
        try:
            result: dict[str, Any] = step.transform(force_apply=True, **data)
            break
        except Exception as error:  # of every kind: ValueError, cv2.error, albumentations' own
            problem = " ".join(str(error).split())
    else:
        raise SpecError(
            f"{step.where}: cannot be applied to an image of {width} x {height} px with {objects} objects: {problem}"
        )
    rgb = result["image"]
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise SpecError(
            f"{step.where}: must give an RGB image of 8 bits, since the backend normalises; "
            f"got {rgb.dtype} {list(rgb.shape)}; leave the step out"
        )
    return result


def _without_empty(sample: Augmented, around_masks: NDArray[np.float64] | None) -> Augmented:
    """`sample` without objects that have no box or no mask left; `around_masks` are the boxes of its masks."""
    sides = sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]
    good = (sides > 0).all(axis=1)
    if around_masks is not None:
        good &= around_masks[:, 2] > around_masks[:, 0]
    if good.all():
        return sample
    masks = None if sample.masks is None else sample.masks[good]
    return Augmented(sample.rgb, sample.boxes_xyxy[good], masks, sample.kept[good])


def _with_bool_masks(sample: Augmented) -> Augmented:
    return replace(sample, masks=None if sample.masks is None else sample.masks.view(np.bool_))


def _mask_boxes(masks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The boxes around the pixels of masks [n, h, w]: float64 [n, 4] xyxy; four zeros for an empty mask."""
    import cv2

    xywh = np.array([cv2.boundingRect(mask) for mask in masks], np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def _box_masks(boxes_xyxy: NDArray[np.float64], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Filled boxes, each at least a pixel: uint8 [n, h, w]."""
    height, width = size_hw
    masks = np.zeros((len(boxes_xyxy), height, width), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes_xyxy.round().astype(int).tolist(), strict=True):
        left, top = min(x0, width - 1), min(y0, height - 1)
        mask[top : max(y1, top + 1), left : max(x1, left + 1)] = 1
    return masks


def _no_masks(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((0, height, width), np.uint8)
