"""Repairs of MMDetection's Python code, applied when its models are imported; sound code is left as it is.

Each repair names what broke. `cvtune.kernels.finder.install` puts them in place, so that an unmodified tool that
``python -m cvtune.kernels`` runs has them too.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["REPAIRS", "repair_when_imported"]


def _ssd_head(module: Any) -> None:
    """`BaseDenseHead._predict_by_feat_single` reads `self.loss_cls`, which SSDHead lacks (mmdet 3.5.1)."""
    if not hasattr(module.SSDHead, "loss_cls"):
        module.SSDHead.loss_cls = None


def _mask_head(module: Any) -> None:
    """`_do_paste_mask` takes the range that all boxes cover; boxes beyond the image make it end before it begins."""
    original: Callable[..., Any] = module._do_paste_mask

    @functools.wraps(original)
    def paste(masks: Any, boxes: Any, img_h: int, img_w: int, skip_empty: bool = True) -> Any:
        try:
            return original(masks, boxes, img_h, img_w, skip_empty)
        except RuntimeError:
            if not skip_empty:
                raise
            return original(masks, boxes, img_h, img_w, False)

    module._do_paste_mask = paste


REPAIRS: dict[str, Callable[[ModuleType], None]] = {
    "mmdet.models.dense_heads.ssd_head": _ssd_head,
    "mmdet.models.roi_heads.mask_heads.fcn_mask_head": _mask_head,
}
"""Module -> what is done to it right after its import."""


def repair_when_imported() -> None:
    """Repair MMDetection's modules when they are imported, or now if they have been; idempotent."""
    if any(isinstance(finder, _RepairFinder) for finder in sys.meta_path):
        return
    for name, repair in REPAIRS.items():
        if name in sys.modules:
            repair(sys.modules[name])
    sys.meta_path.insert(0, _RepairFinder())


class _RepairFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in REPAIRS:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(fullname, path, target)
                if spec is not None and spec.loader is not None:
                    spec.loader = _RepairLoader(spec.loader, REPAIRS[fullname])
                    return spec
        return None


class _RepairLoader(Loader):
    def __init__(self, inner: Any, repair: Callable[[ModuleType], None]) -> None:
        self.inner, self.repair = inner, repair

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self.inner.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self.inner.exec_module(module)
        self.repair(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
