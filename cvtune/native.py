"""Run a framework's own, unmodified tool on a run of cvtune.

python -m cvtune.native RUN TOOL.py ARGS

As `python -m cvtune.kernels TOOL.py ARGS`, and the framework learns of the run's data first: Detectron2's config names
its data sets, and a tool of Detectron2's must know the names. What the native file cannot say is listed on stderr; the
tool does not heed it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cvtune.backends import load_backend
from cvtune.errors import CvtuneError, RunError
from cvtune.kernels.__main__ import main as run_tool
from cvtune.kernels.finder import install
from cvtune.plan import Plan
from cvtune.runs import RunDir, read_json

__all__ = ["main", "prepare"]

USAGE = "usage: python -m cvtune.native RUN TOOL.py ARGS | RUN -m MODULE ARGS"


def prepare(run: RunDir) -> list[str]:
    """Let the framework of this process know the run's data.

    Returns:
        The spec fields that the run's native file cannot say.

    Raises:
        RunError: the folder holds no translated run.
        MissingDependencyError: the framework is not installed.
    """
    if not (run.plan.is_file() and run.extras.is_file() and run.config.is_file()):
        raise RunError(f"{run.path}: holds no translated run (plan.json, a native config, extras.json); train it first")
    register = getattr(load_backend(Plan.from_json(read_json(run.plan))["backend"]), "register", None)
    if register is not None:
        register(run)
    return list(read_json(run.extras))


def main(arguments: list[str]) -> int:
    """Prepare, then run the tool; what it raises and how it exits are passed on."""
    if len(arguments) < 2 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    run = RunDir(Path(arguments[0]))
    try:
        install()
        unheeded = prepare(run)
    except CvtuneError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if unheeded:
        print(f"{run.config}: the framework's own tool does not heed {', '.join(unheeded)}", file=sys.stderr)
    return run_tool(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
