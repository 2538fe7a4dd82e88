"""A finder that serves compiled modules which are not there, such as `mmcv._ext`, from stand-ins of ours.

Two parts stand on `sys.meta_path`. The last one is asked only when no other finder knows the module, so a compiled one
always wins. The first one lets a compiled module be loaded under guard: where its import fails (built for another
torch, a library missing), the error is kept and the stand-in takes its place. `CVTUNE_KERNELS` says what is wanted:

- `auto` (the default): the compiled module; the stand-in where there is none, or where it is broken;
- `compiled`: nothing is installed;
- `standin`: the stand-in, even where a compiled module is there.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from cvtune.errors import MissingDependencyError, SpecError
from cvtune.kernels.mmdet_repairs import repair_when_imported
from cvtune.kernels.table import SERVED, Served

__all__ = ["MODES", "chosen_mode", "install", "kernels_in_use", "uninstall"]

MODES = ("auto", "compiled", "standin")

# On a module that is a stand-in: why the compiled one was not used ("" where there is none).
MARK = "__cvtune_standin__"


def chosen_mode() -> str:
    """`CVTUNE_KERNELS`, or `auto`.

    Raises:
        SpecError: it is none of `MODES`.
    """
    mode = os.environ.get("CVTUNE_KERNELS") or "auto"
    if mode not in MODES:
        raise SpecError(f"CVTUNE_KERNELS: got {mode!r}; allowed: {', '.join(MODES)}")
    return mode


def install(mode: str | None = None) -> None:
    """Let `import mmcv._ext` and `detectron2._C` find the stand-in, by the rules of `mode` (default: `CVTUNE_KERNELS`).

    MMDetection's Python code is repaired where it is broken (`mmdet_repairs`), whatever the mode.
    Idempotent; the last call decides the mode. A module that is imported already stays what it is.

    Raises:
        SpecError: `CVTUNE_KERNELS` is none of `MODES`.
    """
    mode = chosen_mode() if mode is None else mode
    uninstall()
    repair_when_imported()
    if mode == "compiled":
        return
    if mode == "standin":
        sys.meta_path.insert(0, _StandInFinder("CVTUNE_KERNELS=standin"))
    else:
        sys.meta_path.insert(0, _GuardFinder())
        sys.meta_path.append(_StandInFinder(""))


def uninstall() -> None:
    """Take the finders away again; modules that they served stay imported."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, (_GuardFinder, _StandInFinder))]


def kernels_in_use(*names: str) -> dict[str, str]:
    """What each served module (of `names`; default: every one) is in this interpreter.

    Imports it, and so its framework and torch.

    Returns:
        module -> `stand-in`, `compiled`, `compiled but broken: <error>` with ` (stand-in used)` where it is, `not
        compiled`, `broken: <error>` (the framework itself fails to import) or `not installed`.
    """
    return {name: _state(name) for name in names or SERVED}


def _state(name: str) -> str:
    package = name.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        return "not installed"
    try:
        importlib.import_module(package)
    except Exception as error:
        return f"broken: {_one_line(error)}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        return "not compiled" if error.name == name else f"compiled but broken: {_one_line(error)}"
    except Exception as error:
        return f"compiled but broken: {_one_line(error)}"
    reason = getattr(module, MARK, None)
    if reason is None:
        return "compiled"
    return f"{reason} (stand-in used)" if reason.startswith("compiled but broken") else "stand-in"


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


class _StandInFinder(MetaPathFinder):
    """Serves the stand-in; `reason` is why the compiled module is not asked for."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in SERVED:
            return None
        return ModuleSpec(name, _StandInLoader(SERVED[name], self.reason), origin="cvtune.kernels")


class _GuardFinder(MetaPathFinder):
    """Puts a guard around the loader of a compiled module; where there is none, leaves it to the finders after it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in SERVED:
            return None
        for finder in list(sys.meta_path):
            if isinstance(finder, (_GuardFinder, _StandInFinder)):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _GuardLoader(SERVED[name], spec.loader)
                return spec
        return None


class _StandInLoader(Loader):
    def __init__(self, served: Served, reason: str) -> None:
        self.served, self.reason = served, reason

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        _fill(module, self.served, self.reason)


class _GuardLoader(Loader):
    """Loads the compiled module, or fills in the stand-in where that fails."""

    def __init__(self, served: Served, inner: Loader) -> None:
        self.served, self.inner, self.reason = served, inner, ""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        try:
            for name in self.served.needs:
                importlib.import_module(name)
            return self.inner.create_module(spec)
        except Exception as error:
            self.reason = f"compiled but broken: {_one_line(error)}"
            return None

    def exec_module(self, module: ModuleType) -> None:
        if not self.reason:
            try:
                self.inner.exec_module(module)
                return
            except Exception as error:
                self.reason = f"compiled but broken: {_one_line(error)}"
        print(f"{module.__name__}: {self.reason}; cvtune's stand-in is used", file=sys.stderr)
        _fill(module, self.served, self.reason)


def _fill(module: ModuleType, served: Served, reason: str) -> None:
    """Give the module its functions, each imported when it is first asked for."""

    def find(name: str) -> Any:
        # Private names are asked for by Python and by tools that look into modules; a function is never one.
        if name.startswith("_"):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        home = served.home_of(name)
        function = _refusal(module.__name__, name, served) if home is None else _function(home, name)
        setattr(module, name, function)
        return function

    setattr(module, MARK, reason)
    module.__doc__ = f"cvtune's stand-in for {module.__name__}."
    # Whatever is asked for exists: frameworks check the names at import and call few of them.
    setattr(module, "__getattr__", find)  # noqa: B010  a plain assignment is refused by type checkers


def _function(home: str, name: str) -> Any:
    return getattr(importlib.import_module(home), name)


def _refusal(module: str, name: str, served: Served) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise MissingDependencyError(
            f"{module}.{name}: not compiled here, and cvtune has no stand-in for it; install {served.compiled}"
        )

    refuse.__name__ = refuse.__qualname__ = name
    return refuse
