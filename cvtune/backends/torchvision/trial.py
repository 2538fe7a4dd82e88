"""Trials before a run: what a step takes of memory, and at which learning rate the loss falls."""

from __future__ import annotations

import math

import torch

from cvtune.backends.fabric import keep_outputs_in_fp32, make_fabric, peak_memory_mb
from cvtune.backends.lr_trial import rising_rates
from cvtune.backends.seeds import mix_seed
from cvtune.backends.torchvision.build import read_config
from cvtune.backends.torchvision.samples import TrainingSamples, collate
from cvtune.backends.torchvision.train import make_optimizer, starting_model, training_batches
from cvtune.runs import RunDir

__all__ = ["find_lr", "step_memory"]


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
    indices = samples.heaviest(share, samples.with_masks)
    model.train()
    for _ in range(2):
        images, targets = fabric.to_device(collate([samples[0, index] for index in indices]))
        losses = wrapped(images, targets)
        fabric.backward(torch.stack(list(losses.values())).sum())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return int(peak_memory_mb(fabric.device) * 2**20)


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    """(learning rate, smoothed loss) pairs of a trial with a rising rate; see `rising_rates`."""
    config = read_config(run)
    config["train"]["epochs"] = 10**6  # the trial has a length of its own
    fabric = make_fabric(config | {"run": {**config["run"], "devices": 1, "nodes": 1}})
    model = starting_model(run, config, {})
    optimizer = make_optimizer(model, config["train"])
    keep_outputs_in_fp32(model)
    wrapped, optimizer = fabric.setup(model, optimizer)
    _, _, batches = training_batches(run, config, fabric, step=0)
    model.train()

    def step(lr: float) -> float:
        for group in optimizer.param_groups:
            group["lr"] = lr
        images, targets = next(batches)
        torch.manual_seed(mix_seed(int(config["train"]["seed"]), "lr", repr(lr)))
        losses = wrapped(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        if torch.isfinite(loss):
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return rising_rates(step)
