"""Run an unmodified tool of a framework with the stand-ins installed, in it and in the Pythons that it starts.

python -m cvtune.kernels TOOL.py ARGS
python -m cvtune.kernels -m MODULE ARGS
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from cvtune.errors import CvtuneError
from cvtune.kernels.finder import install

USAGE = "usage: python -m cvtune.kernels TOOL.py ARGS | -m MODULE ARGS"

STARTUP = Path(__file__).resolve().parent / "startup"


def inherit() -> None:
    """Let Python subprocesses install the stand-ins too: through PYTHONPATH, so not where they start with -E or -I."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if str(STARTUP) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(STARTUP), *paths])


def main(arguments: list[str]) -> int:
    """Run the tool; what it raises and how it exits are passed on."""
    as_module = arguments[:1] == ["-m"]
    if as_module:
        arguments = arguments[1:]
    if not arguments or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    tool = arguments[0]
    if not as_module and not Path(tool).exists():
        print(f"{tool}: no such file; {USAGE}", file=sys.stderr)
        return 2
    try:
        install()
    except CvtuneError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    inherit()
    sys.argv = arguments
    # sys.path[0] is the current folder (python -m): right for a module; a script has its own folder there.
    if as_module:
        runpy.run_module(tool, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(tool).resolve().parent)
        runpy.run_path(tool, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
