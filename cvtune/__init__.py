"""Fine-tune object detectors and instance segmenters from one spec file.

The verbs are functions here as well: ``cvtune.train("spec.yaml")``, ``cvtune.load("runs/my-run").predict(images)``.
Those whose names are also modules (plan, backends, report) are in `cvtune.verbs`. Nothing is imported before its use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cvtune.data.convert import convert
    from cvtune.detector import Detector, Prediction, load
    from cvtune.errors import (
        CvtuneError,
        DataError,
        MissingDependencyError,
        RunError,
        SpecError,
        UnsupportedError,
    )
    from cvtune.spec import Spec
    from cvtune.spec_file import load_spec
    from cvtune.verbs import evaluate, models, predict, train, translate

    __version__: str

__all__ = [
    "CvtuneError",
    "DataError",
    "Detector",
    "MissingDependencyError",
    "Prediction",
    "RunError",
    "Spec",
    "SpecError",
    "UnsupportedError",
    "__version__",
    "convert",
    "evaluate",
    "load",
    "load_spec",
    "models",
    "predict",
    "train",
    "translate",
]

_HOMES = {
    "cvtune.data.convert": ("convert",),
    "cvtune.detector": ("Detector", "Prediction", "load"),
    "cvtune.errors": (
        "CvtuneError",
        "DataError",
        "MissingDependencyError",
        "RunError",
        "SpecError",
        "UnsupportedError",
    ),
    "cvtune.spec": ("Spec",),
    "cvtune.spec_file": ("load_spec",),
    "cvtune.verbs": ("evaluate", "models", "predict", "train", "translate"),
}


# Hidden from type checkers: to them the imports above say all, so that a misspelt name stays an error.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what is asked for, once."""
        import importlib

        if name == "__version__":
            from importlib.metadata import PackageNotFoundError, version

            try:
                value: object = version("cvtune")
            except PackageNotFoundError:
                # Run from a source tree that was never installed.
                value = "0+unknown"
        else:
            home = next((module for module, names in _HOMES.items() if name in names), None)
            if home is None:
                raise AttributeError(f"module 'cvtune' has no attribute {name!r}")
            value = getattr(importlib.import_module(home), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List the lazy names too."""
        return sorted({*globals(), *__all__})
