"""What the training benchmarks share: two programs take turns, so that what else the machine does meets both."""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "datasets"))
from shapes import make_shapes  # noqa: E402

WARM = 4  # the first steps of a process, which are slower

Theirs = Callable[[Path], list[float]]


def compare(description: str | None, tool: str, theirs: Theirs, backend: str, model: str) -> None:
    """Print the ratio of step times, `tool`'s to cvtune's: above 1, cvtune is faster.

    Args:
        description: for --help.
        tool: what the framework's own tool is called.
        theirs: trains in the given folder, where runs/own holds a run of cvtune, from that run's native file, with the
            tool; returns the seconds of each step.
        backend: the backend.
        model: the official config; --model names another.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", default=model)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cvtune-bench-") as folder:
        prepare(options, backend, Path(folder))
        ratios = list(_rounds(options, tool, theirs, Path(folder)))
    low, high = interval(ratios)
    print(
        f"{options.model}: cvtune against {tool}: {statistics.median(ratios):.3f} "
        f"(95 %: {low:.3f} to {high:.3f}) over {len(ratios)} rounds of {options.steps - WARM} steps"
    )


def prepare(options: argparse.Namespace, backend: str, folder: Path) -> None:
    """Write images and a spec: random weights, one epoch of `options.steps` steps, no evaluation."""
    make_shapes(folder / "shapes", train=options.steps * options.batch, val=1, size=options.size, seed=0)
    source = {
        split: {"annotations": f"shapes/{split}.json", "images": f"shapes/images/{split}"} for split in ("train", "val")
    }
    spec: dict[str, Any] = {
        "name": "own",
        "backend": backend,
        "model": {"zoo": options.model, "weights": "none"},
        "data": {**source, "batch_size": options.batch, "image_size": {"short": options.size, "long": options.size}},
        "train": {"epochs": 1, "log_every": 1},
        "eval": {"every_epochs": 0},
        "run": {"device": "cpu"},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))


def _rounds(options: argparse.Namespace, tool: str, theirs: Theirs, folder: Path) -> Iterator[float]:
    own(folder)  # writes the native file that both train from
    for number in range(options.rounds):
        order = [own, theirs] if number % 2 else [theirs, own]
        times = {run: statistics.median(run(folder)[WARM:]) for run in order}
        ratio = times[theirs] / times[own]
        print(
            f"round {number + 1}: {tool} {times[theirs]:.3f} s, cvtune {times[own]:.3f} s a step: {ratio:.3f}",
            flush=True,
        )
        yield ratio


def own(folder: Path) -> list[float]:
    """Seconds of each step of `cvtune train`."""
    call([sys.executable, "-m", "cvtune", "train", "spec.yaml", "--overwrite"], folder)
    log = [json.loads(line) for line in (folder / "runs/own/log.jsonl").read_text().splitlines()]
    return differences([record["seconds"] for record in log if "loss" in record])


def differences(moments: list[float]) -> list[float]:
    """The times between moments."""
    return [after - before for before, after in itertools.pairwise(moments)]


def call(command: list[str], folder: Path) -> None:
    """Run a command, quietly unless it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")


def interval(ratios: list[float], draws: int = 2000) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of the median over bootstrap samples."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]
