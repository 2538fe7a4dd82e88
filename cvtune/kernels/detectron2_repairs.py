"""An official Detectron2 0.6 that is installed already, repaired while it is imported.

Release 0.6 calls what NumPy, Pillow and setuptools have removed since. Where its source has such a text, the change of
`detectron2_patches` (each entry says what broke) is made in memory before the module is compiled: files and installed
packages stay as they are, and no name is put back into NumPy or Pillow, where other code would find it. A module
without such a text - of a newer checkout, or of the wheel that cvtune builds - is loaded as if this were not here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from cvtune.kernels.detectron2_patches import PATCHES, Patch

__all__ = ["install_repairs", "repairs_made", "uninstall_repairs"]

_BY_MODULE: dict[str, list[Patch]] = {}
for _patch in PATCHES:
    _BY_MODULE.setdefault(_patch.file.removesuffix(".py").replace("/", "."), []).append(_patch)

_made: list[Patch] = []


def install_repairs() -> None:
    """Let the modules of Detectron2 that are imported from now on be repaired where they need it. Idempotent.

    Call it before the first import of `detectron2.data`, `model_zoo` or `engine`.
    """
    if not any(isinstance(finder, _RepairFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RepairFinder())


def uninstall_repairs() -> None:
    """Take the finder away again; modules that are imported stay repaired."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _RepairFinder)]


def repairs_made() -> tuple[Patch, ...]:
    """The changes that were made so far in this interpreter, in the order of the imports."""
    return tuple(_made)


def _is_made(patch: Patch, text: str) -> bool:
    """Whether a change that wraps the old text in a new one, so that both are found, is in the source already."""
    return patch.before in patch.after and patch.after in text


class _RepairFinder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        patches = _BY_MODULE.get(name)
        if not patches:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            return None
        text = spec.loader.get_source(name) or ""
        # A text that occurs another number of times is of another release: not ours to change.
        needed = [patch for patch in patches if text.count(patch.before) == patch.count and not _is_made(patch, text)]
        if needed:
            spec.loader = _RepairLoader(name, spec.origin, needed)
            return spec
        return None


class _RepairLoader(SourceFileLoader):
    """Compiles the changed text; the cached byte code is of the unchanged one, and is neither read nor written."""

    def __init__(self, name: str, path: str, patches: Sequence[Patch]) -> None:
        super().__init__(name, path)
        self.patches = patches

    def get_code(self, fullname: str) -> CodeType | None:
        text = self.get_source(fullname)
        if text is None:
            return None
        for patch in self.patches:
            text = text.replace(patch.before, patch.after)
            if patch not in _made:
                _made.append(patch)
        code: CodeType = compile(text, self.path, "exec", dont_inherit=True)
        return code
