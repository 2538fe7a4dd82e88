"""Steps per second of `cvtune train` against MMDetection's own tools/train.py on the same config file.

python benchmarks/train_mmdet.py [--rounds 20] [--steps 20] [--model yolox_nano_8xb8-300e_coco] [--size 320] [--batch 4]

Both train from the very config.py that cvtune wrote, from random weights, on the same synthetic images, with the same
stand-ins for MMCV's operators. They take turns, a process each a round, so that what else the machine does meets both.
A round's figure is the ratio of its two median step times (the first steps left out); printed are the median ratio
over the rounds and its 95 % interval by bootstrap. Above 1, cvtune is faster.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from cvtune.backends.mmdet.zoo import package_root

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "datasets"))
from shapes import make_shapes  # noqa: E402

WARM = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", default="faster_rcnn/faster-rcnn_r50_fpn_1x_coco")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cvtune-bench-") as folder:
        ratios = list(measure(options, Path(folder)))
    low, high = interval(ratios)
    print(
        f"{options.model}: cvtune against tools/train.py: {statistics.median(ratios):.3f} "
        f"(95 %: {low:.3f} to {high:.3f}) over {len(ratios)} rounds of {options.steps - WARM} steps"
    )


def measure(options: argparse.Namespace, folder: Path):
    make_shapes(folder / "shapes", train=options.steps * options.batch, val=1, size=options.size, seed=0)
    source = {
        split: {"annotations": f"shapes/{split}.json", "images": f"shapes/images/{split}"} for split in ("train", "val")
    }
    spec = {
        "name": "own",
        "backend": "mmdet",
        "model": {"zoo": options.model, "weights": "none"},
        "data": {**source, "batch_size": options.batch, "image_size": {"square": options.size}},
        "train": {"epochs": 1, "log_every": 1},
        "eval": {"every_epochs": 0},
        "run": {"device": "cpu"},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    for number in range(options.rounds):
        order = [own, theirs] if number % 2 else [theirs, own]
        if not number:
            own(folder)  # writes the config that both train from
        times = {run.__name__: statistics.median(run(folder)[WARM:]) for run in order}
        ratio = times["theirs"] / times["own"]
        seconds = f"tools/train.py {times['theirs']:.3f} s, cvtune {times['own']:.3f} s a step"
        print(f"round {number + 1}: {seconds}: {ratio:.3f}", flush=True)
        yield ratio


def own(folder: Path) -> list[float]:
    """Seconds of each step of `cvtune train`."""
    command = [sys.executable, "-m", "cvtune", "train", "spec.yaml", "--overwrite"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    log = [json.loads(line) for line in (folder / "runs/own/log.jsonl").read_text().splitlines()]
    at = [record["seconds"] for record in log if "loss" in record]
    return [after - before for before, after in itertools.pairwise(at)]


def theirs(folder: Path) -> list[float]:
    """Seconds of each step of MMDetection's own tool, loading included, as its logger says them."""
    work = Path(tempfile.mkdtemp(dir=folder))
    tool = package_root() / ".mim" / "tools" / "train.py"
    settings = ["default_hooks.logger.interval=1", "log_processor.window_size=1", "default_hooks.checkpoint=None"]
    command = [sys.executable, "-m", "cvtune.kernels", str(tool), str(folder / "runs/own/config.py")]
    command += ["--work-dir", str(work), "--cfg-options", *settings, "val_cfg=None", "val_dataloader=None"]
    command += ["val_evaluator=None"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    scalars = next(work.glob("*/vis_data/scalars.json")).read_text().splitlines()
    return [record["time"] for record in map(json.loads, scalars) if "time" in record]


def interval(ratios: list[float], draws: int = 2000) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of the median over bootstrap samples."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


if __name__ == "__main__":
    main()
