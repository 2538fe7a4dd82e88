"""One spec on every backend: seconds a step and peak memory, the backends taking turns.

python benchmarks/backends.py configs/bccd_faster_rcnn.yaml [--rounds 3] [--steps 24]

Trains a few steps a round with each backend that has a part in the spec's `native` section, without evaluation, and
prints the median step (the first ones left out) and the worker's peak memory. Needs what the spec needs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import yaml
from paired import WARM, call, differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    options = parser.parse_args()
    backends = list(yaml.safe_load(options.spec.read_text())["native"])
    seconds: dict[str, list[float]] = {backend: [] for backend in backends}
    memory = dict.fromkeys(backends, 0.0)
    with tempfile.TemporaryDirectory(prefix="cvtune-bench-") as folder:
        for _ in range(options.rounds):
            for backend in backends:
                records = steps(options.spec.resolve(), backend, options.steps, Path(folder))
                seconds[backend] += differences([record["seconds"] for record in records])[WARM:]
                memory[backend] = max(memory[backend], *(record["memory_mb"] for record in records))
    first = statistics.median(seconds[backends[0]])
    for backend in backends:
        median = statistics.median(seconds[backend])
        print(f"{backend}: {median:.2f} s a step ({median / first:.2f} of {backends[0]}'s), {memory[backend]:.0f} MB")


def steps(spec: Path, backend: str, count: int, folder: Path) -> list[dict[str, float]]:
    """The log's records of each step of a short training."""
    changes = [f"backend={backend}", f"name={backend}", f"train.iterations={count}", "train.epochs=null"]
    changes += ["train.log_every=1", "eval.every_epochs=0"]
    command = [sys.executable, "-m", "cvtune", "train", str(spec), "--overwrite"]
    call([*command, *(part for change in changes for part in ("-s", change))], folder)
    log = (folder / "runs" / backend / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, log) if "loss" in record]


if __name__ == "__main__":
    main()
