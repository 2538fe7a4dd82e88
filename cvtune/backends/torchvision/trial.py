"""Trials before a run: what a step takes of memory, and at which learning rate the loss falls."""

from __future__ import annotations

import math

import torch

from cvtune.backends.torchvision.batches import mix_seed
from cvtune.backends.torchvision.fabric import keep_outputs_in_fp32, make_fabric, peak_memory_mb
from cvtune.backends.torchvision.samples import TrainingSamples, collate
from cvtune.backends.torchvision.train import make_optimizer, read_config, starting_model, training_batches
from cvtune.runs import RunDir

__all__ = ["find_lr", "step_memory"]

LR_RANGE = (1e-6, 1.0)
LR_STEPS = 100
SMOOTHING = 0.9
# A loss this many times its lowest has diverged: the rest of the range teaches nothing.
DIVERGED = 4.0


def step_memory(run: RunDir) -> int:
    """Peak bytes of two real training steps on the images that take the most: the largest with the most objects."""
    config = read_config(run)
    fabric = make_fabric(config | {"run": {**config["run"], "devices": 1, "nodes": 1}})
    model = starting_model(run, config, {})
    optimizer = make_optimizer(model, config["train"])
    keep_outputs_in_fp32(model)
    wrapped, optimizer = fabric.setup(model, optimizer)
    samples = TrainingSamples(run.data("train"), config)
    share = math.ceil(int(config["data"]["batch_size"]) / int(config["run"]["devices"]))

    def cost(index: int) -> float:
        image = samples.images[index]
        return float(image.width * image.height * (1 + len(samples.objects[image.id]) * samples.with_masks))

    heaviest = sorted(range(len(samples)), key=cost, reverse=True)
    indices = [heaviest[i % len(heaviest)] for i in range(share)]
    model.train()
    for _ in range(2):
        images, targets = fabric.to_device(collate([samples[0, index] for index in indices]))
        losses = wrapped(images, targets)
        fabric.backward(torch.stack(list(losses.values())).sum())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return int(peak_memory_mb(fabric.device) * 2**20)


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    """Raise the learning rate by a factor each step and watch the loss (Smith 2017, "Cyclical Learning Rates").

    Returns:
        (learning rate, bias-corrected moving average of the loss) pairs, up to where the loss diverges.
    """
    config = read_config(run)
    config["train"]["epochs"] = 10**6  # the trial has a length of its own
    fabric = make_fabric(config | {"run": {**config["run"], "devices": 1, "nodes": 1}})
    model = starting_model(run, config, {})
    optimizer = make_optimizer(model, config["train"])
    keep_outputs_in_fp32(model)
    wrapped, optimizer = fabric.setup(model, optimizer)
    _, samples = training_batches(run, config, fabric, step=0)
    low, high = LR_RANGE
    trial: list[tuple[float, float]] = []
    average = 0.0
    model.train()
    for step in range(LR_STEPS):
        lr = low * (high / low) ** (step / (LR_STEPS - 1))
        for group in optimizer.param_groups:
            group["lr"] = lr
        images, targets = next(samples)
        torch.manual_seed(mix_seed(int(config["train"]["seed"]), "lr", step))
        losses = wrapped(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * float(loss)
        smoothed = average / (1 - SMOOTHING ** (step + 1))
        trial.append((lr, smoothed))
        if smoothed > DIVERGED * min(value for _, value in trial):
            break
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return trial
