"""The functions of `detectron2._C`, in torch and torchvision, for machines where it was never compiled.

Names, order of arguments and the writing into given buffers are the compiled module's; that is why the arguments are
many. `register_operators` makes `torch.ops.detectron2`, which Detectron2 calls for rotated NMS; `install_detectron2`
puts this module in the place of a missing `detectron2._C`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch

from cvtune.errors import MissingDependencyError
from cvtune.kernels.coco_eval import (
    COCOevalAccumulate,
    COCOevalEvaluateImages,
    ImageEvaluation,
    InstanceAnnotation,
)
from cvtune.kernels.deform_conv import (
    deform_conv_backward_input,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from cvtune.kernels.deform_conv import deform_conv_backward_parameters as deform_conv_backward_filter
from cvtune.kernels.roi_align_rotated import roi_align_rotated_backward, roi_align_rotated_forward
from cvtune.kernels.rotated_boxes import rotated_iou, rotated_nms

__all__ = [
    "OPERATORS",
    "COCOevalAccumulate",
    "COCOevalEvaluateImages",
    "ImageEvaluation",
    "InstanceAnnotation",
    "box_iou_rotated",
    "deform_conv_backward_filter",
    "deform_conv_backward_input",
    "deform_conv_forward",
    "get_compiler_version",
    "get_cuda_version",
    "has_cuda",
    "install_detectron2",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
    "nms_rotated",
    "register_operators",
    "roi_align_rotated_backward",
    "roi_align_rotated_forward",
]

OPERATORS = tuple(name for name in __all__ if name not in ("OPERATORS", "install_detectron2", "register_operators"))
"""The names of the compiled module."""
MODULE = "detectron2._C"
# Marks a module as a stand-in; the value says why the compiled one is not used, "" where there is none.
MARK = "__cvtune_standin__"


def get_compiler_version() -> str:
    """For Detectron2's report on its environment."""
    return "none: stand-ins in torch, by cvtune"


def get_cuda_version() -> str:
    """torch's, as the operators run wherever torch and torchvision do."""
    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "not available"


def has_cuda() -> bool:
    """False: no CUDA code was compiled, so its report has no architectures to list."""
    return False


def box_iou_rotated(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """Overlap of every box with every box: [n, 5] and [m, 5], angles in degrees -> [n, m] in 0..1."""
    return rotated_iou(_radians(boxes1), _radians(boxes2))


def nms_rotated(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression: [n, 5], angles in degrees, [n] -> indices of the kept boxes by falling score, int64.

    A box goes where its overlap is larger than the threshold, as in the compiled CUDA code (on a CPU that one drops
    equal overlaps as well).
    """
    return rotated_nms(_radians(boxes), scores, iou_threshold)


def _radians(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([boxes[:, :4], boxes[:, 4:] * (math.pi / 180)], dim=1)


_registered: list[torch.library.Library] = []  # a registration lasts as long as its object


def register_operators() -> None:
    """Define `torch.ops.detectron2.nms_rotated` and `.box_iou_rotated`, unless they are defined. Idempotent."""
    operators = {
        "nms_rotated": ("(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor", nms_rotated),
        "box_iou_rotated": ("(Tensor boxes1, Tensor boxes2) -> Tensor", box_iou_rotated),
    }
    library = torch.library.Library("detectron2", "FRAGMENT")  # type: ignore[no-untyped-call, unused-ignore]
    for name, (schema, function) in operators.items():
        if not hasattr(torch.ops.detectron2, name):
            library.define(name + schema)  # type: ignore[no-untyped-call, unused-ignore]
            library.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call, unused-ignore]
    _registered.append(library)


def install_detectron2() -> str:
    """Make `detectron2._C` importable: the compiled one where it imports, else this module.

    Returns:
        `compiled`, `stand-in`, or `compiled but broken: <its error> (stand-in used)`.

    Raises:
        MissingDependencyError: Detectron2 is not installed, or does not import.
    """
    present = sys.modules.get(MODULE)
    if present is None:
        present = _compiled_or_stand_in()
    reason: str | None = getattr(present, MARK, None)
    if reason is None:
        return "compiled"
    return f"compiled but broken: {reason} (stand-in used)" if reason else "stand-in"


def _compiled_or_stand_in() -> ModuleType:
    try:
        spec = importlib.util.find_spec(MODULE)  # imports detectron2 itself
    except ModuleNotFoundError as error:
        if error.name != "detectron2":
            raise MissingDependencyError(f"detectron2 is installed but does not import: {error}") from error
        raise MissingDependencyError(
            "detectron2 is not installed; python tools/install_detectron2.py installs it"
        ) from error
    reason = ""
    # The installer puts a _C.py beside the place of the compiled module.
    if spec is not None and not str(spec.origin).endswith(".py"):
        try:
            return importlib.import_module(MODULE)
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())
    module = ModuleType(MODULE, "cvtune's stand-in for detectron2._C.")
    names: dict[str, Any] = {name: globals()[name] for name in OPERATORS}
    module.__dict__.update(names)
    setattr(module, MARK, reason)
    module.__file__ = __file__
    module.__spec__ = ModuleSpec(MODULE, None, origin=__file__)
    register_operators()
    sys.modules[MODULE] = module
    setattr(sys.modules["detectron2"], "_C", module)  # noqa: B010  a plain assignment is refused by mypy
    return module
