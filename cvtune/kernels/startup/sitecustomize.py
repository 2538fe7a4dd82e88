"""Read by every Python that starts with this folder on PYTHONPATH: installs the stand-ins, then chains.

Nothing here may stop an interpreter from starting. cvtune may be on nobody's path (a checkout that was never
installed), so it is looked for where this file lies.
"""

import importlib.machinery
import importlib.util
import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(_FOLDER)))


def _install() -> None:
    sys.path.insert(0, _ROOT)
    try:
        # The package keeps its own path from here on, so that the entry can go again.
        from cvtune.kernels.finder import install
    finally:
        sys.path.remove(_ROOT)
    install()


def _chain() -> None:
    """Run the sitecustomize that this one hides, if there is one."""
    others = [folder for folder in sys.path if os.path.abspath(folder or ".") != _FOLDER]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


try:
    _install()
except Exception as error:
    print(f"cvtune's stand-ins are not installed: {type(error).__name__}: {error}", file=sys.stderr)
_chain()
