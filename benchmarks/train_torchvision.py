"""Steps per second of cvtune's training loop against torchvision's own reference loop.

Both train the same Faster R-CNN from the same images, in one process, in blocks that alternate. Prints the ratio of
medians over all blocks with a bootstrap interval: `same` has cvtune do exactly what the reference does, `defaults` is
what cvtune does on its own. A profile by part follows.

python benchmarks/train_torchvision.py [--blocks 20] [--steps 3] [--size 320] [--batch 4]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torchvision.ops import MultiScaleRoIAlign

from cvtune.backends.fabric import make_fabric
from cvtune.backends.torchvision.build import build_model, read_config
from cvtune.backends.torchvision.samples import TrainingSamples, collate
from cvtune.backends.torchvision.train import make_optimizer, train_step, training_batches
from cvtune.runs import RunDir, write_json
from cvtune.spec_file import load_spec, spec_to_json
from cvtune.training import plan_run, translate_plan
from cvtune.worker import write_native

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "datasets"))
from shapes import make_shapes

SPEC = """
name: speed
model: {{family: faster_rcnn, backbone: resnet18_fpn, weights: none, norm: frozen}}
data:
  train: {{annotations: {folder}/train.json, images: {folder}/images/train}}
  val: {{annotations: {folder}/val.json, images: {folder}/images/val}}
  image_size: {{short: {size}, long: {size}}}
  batch_size: {batch}
train: {{epochs: 1000, optimizer: {{name: sgd, lr: 0.001}}}}
run: {{device: cpu}}
"""


def prepare_run(folder: Path, size: int, batch: int) -> RunDir:
    make_shapes(folder, train=64, val=4, size=size, seed=0)
    (folder / "spec.yaml").write_text(SPEC.format(folder=folder, size=size, batch=batch))
    run = RunDir(folder / "run")
    spec = load_spec(folder / "spec.yaml")
    write_json(run.spec, spec_to_json(spec))
    write_native(run, translate_plan(spec, run, plan_run(spec, run, complete=True)))
    return run


def reference(run: RunDir, config: dict[str, Any]) -> Callable[[int], None]:
    """torchvision's references/detection/engine.py: shuffle, forward, sum, backward, step; fp32, contiguous."""
    config = {**config, "model": {**config["model"], "channels_last": False}}
    torch.manual_seed(0)
    model = with_torchvisions_roi_align(build_model(config)).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.001, momentum=0.9)
    samples = TrainingSamples(run.data("train"), config)

    class Plain(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, index: int) -> Any:
            return samples[0, index]

    loader = torch.utils.data.DataLoader(Plain(), config["data"]["batch_size"], shuffle=True, collate_fn=collate)

    def endless() -> Any:
        while True:
            yield from loader

    batches = endless()

    def steps(count: int) -> None:
        for _ in range(count):
            images, targets = next(batches)
            losses = sum(model(images, targets).values())
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()

    return steps


def with_torchvisions_roi_align(model: torch.nn.Module) -> torch.nn.Module:
    """Undo what the backend does on its own: torchvision's own pooling back in its place."""
    own = model.roi_heads.box_roi_pool
    model.roi_heads.box_roi_pool = MultiScaleRoIAlign(own.featmap_names, own.output_size, own.sampling_ratio)
    return model


def ours(run: RunDir, config: dict[str, Any], defaults: bool) -> Callable[[int], None]:
    """The loop of `cvtune train`, by its own parts."""
    if not defaults:
        config = {**config, "model": {**config["model"], "channels_last": False}}
    fabric = make_fabric(config)
    torch.manual_seed(0)
    model = build_model(config)
    if not defaults:
        model = with_torchvisions_roi_align(model)
    wrapped, optimizer = fabric.setup(model, make_optimizer(model, config["train"]))
    samples, _, batches = training_batches(run, config, fabric, 0)
    model.train()
    done = 0

    def steps(count: int) -> None:
        nonlocal done
        for _ in range(count):
            train_step(run, config, fabric, wrapped, optimizer, samples, batches, 1, done)
            done += 1

    return steps


def seconds(steps: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    steps(count)
    return time.perf_counter() - start


def ratio_with_interval(base: list[float], other: list[float]) -> tuple[float, float, float]:
    """Ratio of medians base/other (above 1: other is faster), with a 95 % bootstrap interval over paired blocks."""
    rng = np.random.default_rng(0)
    a, b = np.array(base), np.array(other)
    draws = rng.integers(0, len(a), (2000, len(a)))
    ratios = np.median(a[draws], axis=1) / np.median(b[draws], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return statistics.median(base) / statistics.median(other), float(low), float(high)


def profile(run: RunDir, config: dict[str, Any], repeats: int = 5) -> dict[str, float]:
    """Seconds of each part of a step, by hooks around modules; medians."""
    torch.manual_seed(0)
    model = build_model(config).train()
    optimizer = make_optimizer(model, config["train"])
    samples = TrainingSamples(run.data("train"), config)
    parts: dict[str, list[float]] = {}
    began: dict[str, float] = {}

    def watch(name: str, module: torch.nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: began.__setitem__(name, time.perf_counter()))
        module.register_forward_hook(
            lambda *_: parts.setdefault(name, []).append(time.perf_counter() - began[name]) or None
        )

    for name, module in (
        ("resize and pad", model.transform),
        ("backbone", model.backbone),
        ("RPN", model.rpn),
        ("heads", model.roi_heads),
    ):
        watch(name, module)
    size = config["data"]["batch_size"]
    for repeat in range(repeats):
        start = time.perf_counter()
        images, targets = collate([samples[0, (repeat * size + i) % len(samples)] for i in range(size)])
        loaded = time.perf_counter()
        loss = torch.stack(list(model(images, targets).values())).sum()
        forward = time.perf_counter()
        loss.backward()
        backward = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        parts.setdefault("decode and augment", []).append(loaded - start)
        parts.setdefault("backward", []).append(backward - forward)
        parts.setdefault("optimizer", []).append(time.perf_counter() - backward)
    return {name: statistics.median(times) for name, times in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        run = prepare_run(Path(folder), arguments.size, arguments.batch)
        config = read_config(run)
        loops = {
            "reference": reference(run, config),
            "same": ours(run, config, defaults=False),
            "defaults": ours(run, config, defaults=True),
        }
        times: dict[str, list[float]] = {name: [] for name in loops}
        for steps in loops.values():
            steps(2)
        for block in range(arguments.blocks):
            order = list(loops)[block % 3 :] + list(loops)[: block % 3]
            for name in order:
                times[name].append(seconds(loops[name], arguments.steps))
            console.print(f"block {block + 1}: " + "  ".join(f"{n} {t[-1]:.2f} s" for n, t in times.items()))
        for name in ("same", "defaults"):
            ratio, low, high = ratio_with_interval(times["reference"], times[name])
            console.print(
                f"cvtune ({name}) / reference, steps per second: {ratio:.3f}  (95 %: {low:.3f} to {high:.3f})"
            )
        shares = profile(run, config)
        total = sum(shares.values())
        for name, value in sorted(shares.items(), key=lambda item: -item[1]):
            console.print(f"{name:20s} {1000 * value:7.1f} ms  {100 * value / total:5.1f} %")


if __name__ == "__main__":
    main()
