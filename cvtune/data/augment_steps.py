"""Reading `data.augment`: every step's transform is built and checked, and what cannot be used is refused.

The one module that knows which transforms albumentations has and how each moves an object.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cvtune.errors import MissingDependencyError, nearest

__all__ = ["Choice", "Step", "Transform", "read_steps"]

FIX = "pip install 'cvtune[torchvision]'"

_NORMALISE = "the backend normalises and converts images itself, with the weights' mean and scale"
_NESTED = "steps are applied one after another as they stand in the list, and OneOf chooses among several"
_PIECES = "it cuts objects into pieces that one box cannot describe"
_OTHER_DATA = "it needs other data beside the image and its objects"
REFUSED: Mapping[str, str] = {
    "Normalize": _NORMALISE,
    "ToFloat": _NORMALISE,
    "FromFloat": _NORMALISE,
    "ToTensorV2": _NORMALISE,
    "ToTensor3D": _NORMALISE,
    "Compose": _NESTED,
    "Sequential": _NESTED,
    "ReplayCompose": _NESTED,
    "RandomOrder": _NESTED,
    "SomeOf": _NESTED,
    "OneOrOther": _NESTED,
    "SelectiveChannelTransform": _NESTED,
    "Lambda": "a spec holds no Python functions",
    "RandomGridShuffle": _PIECES,
    "OverlayElements": _OTHER_DATA,
    "TextImage": _OTHER_DATA,
    "ConstrainedCoarseDropout": "it needs class labels or a mask of the whole image",
    "CropNonEmptyMaskIfExists": "it needs a mask of the whole image; use BBoxSafeRandomCrop",
}
ABSTRACT = ("BaseCompose", "BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D")
# OpenCV's border modes reflect, wrap and reflect_101.
REPEATING = (2, 3, 4)
# OpenCV's nearest and exact nearest.
NEAREST = (0, 6)


@dataclass(frozen=True)
class Transform:
    """A transform of albumentations, where it stands in the spec, and how it moves the pixels of an object."""

    where: str
    transform: Any
    moves: Literal["nothing", "axes", "evenly", "freely"]

    @property
    def p(self) -> float:
        """How often it is applied, 0..1; within a OneOf its weight."""
        return float(self.transform.p)


@dataclass(frozen=True)
class Choice:
    """OneOf: with probability `p` one of `steps`, chosen in proportion to their own p, is applied."""

    where: str
    steps: tuple[Step, ...]
    p: float


Step = Transform | Choice


def read_steps(steps: Sequence[Any]) -> tuple[tuple[Step, ...], list[str]]:
    """Build all steps.

    Returns:
        The steps that are right, and the problems of the others, one line each.

    Raises:
        MissingDependencyError: albumentations is not installed, or broken.
    """
    problems: list[str] = []
    return _read_list(steps, "data.augment", problems), problems


def _read_list(steps: Sequence[Any], where: str, problems: list[str]) -> tuple[Step, ...]:
    read = []
    for i, step in enumerate(steps):
        at = f"{where}[{i}]"
        if not isinstance(step, Mapping) or len(step) != 1:
            problems.append(f"{at}: a step is one transform, such as {{HorizontalFlip: {{p: 0.5}}}}; got {step!r}")
            continue
        ((name, arguments),) = step.items()
        if arguments is not None and not isinstance(arguments, Mapping):
            problems.append(f"{at} {name}: its arguments must be a mapping of names to values; got {arguments!r}")
            continue
        new = (_read_choice if name == "OneOf" else _read_transform)(str(name), arguments or {}, at, problems)
        if new is not None:
            read.append(new)
    return tuple(read)


def _read_choice(name: str, arguments: Mapping[str, Any], where: str, problems: list[str]) -> Choice | None:
    before = len(problems)
    steps, p = arguments.get("transforms"), arguments.get("p", 0.5)
    problems += _unknown(f"{where} {name}", arguments, ["transforms", "p"])
    problems += _wrong_p(f"{where} {name}", arguments)
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        problems.append(f"{where} {name}.transforms: must be a list of at least one step; got {steps!r}")
        return None
    read = _read_list(steps, f"{where} {name}.transforms", problems)
    if len(problems) == before and not sum(step.p for step in read):
        problems.append(f"{where} {name}.transforms: at least one step needs a p above 0; their p are their weights")
    return Choice(f"{where} {name}", read, float(p)) if len(problems) == before else None


def _read_transform(name: str, arguments: Mapping[str, Any], at: str, problems: list[str]) -> Transform | None:
    albumentations = _albumentations()
    where = f"{at} {name}"
    kind: Any = getattr(albumentations, name, None)
    reason = REFUSED.get(name) or _other_kind(albumentations, kind)
    if reason:
        problems.append(f"{where}: cannot be used in a spec: {reason}")
        return None
    if not _is_kind(kind, albumentations.BasicTransform):
        known = vars(albumentations).items()
        names = [key for key, value in known if _is_kind(value, albumentations.BasicTransform) and key not in REFUSED]
        problems.append(
            f"{at}: {name!r} is not a transform of albumentations {albumentations.__version__}; "
            f"its documentation lists them{nearest(name, [*names, 'OneOf'])}"
        )
        return None
    wrong = _wrong_arguments(where, kind, arguments)
    if wrong:
        problems += wrong
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "please use Affine instead"; strict makes errors of what matters
            transform = kind(**arguments, **({"strict": True} if _knows_strict(kind) else {}))
    except Exception as error:
        problems += _value_problems(where, arguments, error)
        return None
    unusable = _unusable(transform)
    if unusable:
        problems.append(f"{where}{unusable}")
        return None
    return Transform(where, transform, _moves(transform))


def _albumentations() -> Any:
    if importlib.util.find_spec("albumentations") is None:
        raise MissingDependencyError(f"data.augment needs albumentations, which is not installed: {FIX}")
    # Otherwise the import asks the network for a newer version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError as error:
        raise MissingDependencyError(
            f"albumentations is installed, but broken: {error}; reinstall it: {FIX}"
        ) from error
    return albumentations


def _is_kind(kind: Any, base: type) -> bool:
    return inspect.isclass(kind) and issubclass(kind, base) and kind.__name__ not in ABSTRACT


def _other_kind(albumentations: Any, kind: Any) -> str:
    """Why a class of albumentations is no transform of an image with boxes and masks, or an empty string."""
    if _is_kind(kind, albumentations.BaseCompose):
        return _NESTED
    if not _is_kind(kind, albumentations.BasicTransform) or issubclass(kind, albumentations.ImageOnlyTransform):
        return ""
    targets = kind._targets if isinstance(kind._targets, tuple) else (kind._targets,)
    moved = {target.name for target in targets}
    return "" if {"IMAGE", "MASK", "BBOXES"} <= moved else "it does not move an image's boxes and masks along"


def _knows_strict(kind: type) -> bool:
    """Whether the constructor checks its arguments against a schema: some transforms have none of their own."""
    return "InitSchema" in vars(next(each for each in kind.__mro__ if "__init__" in vars(each)))


def _wrong_arguments(where: str, kind: type, arguments: Mapping[str, Any]) -> list[str]:
    parameters = {
        key: parameter
        for key, parameter in inspect.signature(kind).parameters.items()
        if key != "strict" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    missing = [
        key for key, value in parameters.items() if value.default is inspect.Parameter.empty and key not in arguments
    ]
    problems = _unknown(where, arguments, list(parameters))
    problems += [f"{where}.{key}: is missing, and has no default" for key in missing]
    return problems + _wrong_p(where, arguments)


def _wrong_p(where: str, arguments: Mapping[str, Any]) -> list[str]:
    p = arguments.get("p", 1.0)
    good = isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1
    return [] if good else [f"{where}.p: must be a number from 0 to 1; got {p!r}"]


def _unknown(where: str, arguments: Mapping[str, Any], allowed: Sequence[str]) -> list[str]:
    return [
        f"{where}.{key}: is not one of its arguments; allowed: {', '.join(allowed)}{nearest(str(key), allowed)}"
        for key in arguments
        if key not in allowed
    ]


def _value_problems(where: str, arguments: Mapping[str, Any], error: Exception) -> list[str]:
    """One line a wrong value; pydantic lists a value several times where several types are allowed."""
    import pydantic

    if not isinstance(error.__cause__, pydantic.ValidationError):
        return [f"{where}: {' '.join(str(error).split())}"]
    found: dict[str, list[str]] = {}
    for item in error.__cause__.errors():
        key = str(item["loc"][0]) if item["loc"] else ""
        found.setdefault(key, []).append(item["msg"].removeprefix("Value error, "))
    return [
        f"{where}{'.' + key if key else ''}: {' or '.join(dict.fromkeys(messages))}"
        + (f"; got {arguments[key]!r}" if key in arguments else "")
        for key, messages in found.items()
    ]


def _unusable(transform: Any) -> str:
    """Why a transform cannot be used as it is configured, or an empty string."""
    needs = sorted(set(transform.targets_as_params) - {"image", "bboxes"})
    if needs:
        return f": cannot be used in a spec: it needs other data beside the image and its objects ({', '.join(needs)})"
    if getattr(transform, "border_mode", 0) in REPEATING:
        return (
            f".border_mode: reflecting and wrapping show objects a second time; got {transform.border_mode}; "
            "allowed: 0 (one colour, `fill`) and 1 (the outermost pixels)"
        )
    fill_mask = getattr(transform, "fill_mask", None)
    if fill_mask is not None and np.any(np.asarray(fill_mask) != 0):
        return f".fill_mask: would mark what is filled in as a part of every object; got {fill_mask!r}; allowed: 0"
    if getattr(transform, "mask_interpolation", 0) not in NEAREST:
        return f".mask_interpolation: masks have no shades; got {transform.mask_interpolation}; allowed: 0 (nearest)"
    if getattr(transform, "num_output_channels", 3) != 3:
        return f".num_output_channels: images are RGB; got {transform.num_output_channels}; allowed: 3"
    return ""


def _moves(transform: Any) -> Literal["nothing", "axes", "evenly", "freely"]:
    from albumentations.augmentations.geometric.distortion import BaseDistortion

    albumentations = _albumentations()
    if isinstance(transform, albumentations.ImageOnlyTransform):
        return "nothing"
    if isinstance(transform, albumentations.Affine | albumentations.Rotate):
        return "evenly"
    # With fit_output, albumentations' Perspective puts boxes some pixels beside the image's own pixels.
    free = (BaseDistortion, albumentations.GridElasticDeform, albumentations.Morphological, albumentations.Perspective)
    if isinstance(transform, free):
        return "freely"
    return "axes"
