"""Start-up times of the command line, as ratios to a bare interpreter: median of 7 runs each.

python benchmarks/startup.py [SPEC]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def seconds(command: list[str], runs: int = 7) -> float:
    """Median wall-clock time of a command."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import typer, rich": [sys.executable, "-c", "import typer, rich.console"],
        "cvtune --help": [sys.executable, "-m", "cvtune", "--help"],
        "import torch": [sys.executable, "-c", "import torch"],
    }
    if len(sys.argv) > 1:
        commands["cvtune plan"] = [sys.executable, "-m", "cvtune", "plan", sys.argv[1]]
    measured = {name: seconds(command) for name, command in commands.items()}
    for name, value in measured.items():
        print(f"{name:22s} {value:6.2f} s   {value / measured['python -c pass']:6.1f} x a bare interpreter")


if __name__ == "__main__":
    main()
