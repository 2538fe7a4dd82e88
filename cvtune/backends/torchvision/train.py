"""The training loop of the torchvision backend, read from top to bottom.

Everything that is random in a step is a pure function of (seed, epoch, image) or (seed, step, rank), and the learning
rate is one of the step: a resumed run repeats the uninterrupted one, loss by loss.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from cvtune.backends.batches import Batches
from cvtune.backends.bookkeeping import Bookkeeper, Moment, Rules, tell_weights
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.fabric import keep_outputs_in_fp32, make_fabric
from cvtune.backends.fabric_loop import any_process, record_model, restored_ema, results_on_val, update_weights
from cvtune.backends.image_samples import make_loader
from cvtune.backends.schedule import lr_at
from cvtune.backends.seeds import mix_seed
from cvtune.backends.torchvision.build import build_model, read_config
from cvtune.backends.torchvision.predict import detect
from cvtune.backends.torchvision.samples import TrainingSamples, collate
from cvtune.backends.torchvision.weights import load_weights
from cvtune.evaluation.engines import IouType
from cvtune.runs import RunDir

__all__ = ["make_optimizer", "starting_model", "train", "train_step", "training_batches"]

Batch = tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]


def train(run: RunDir, resume: bool) -> None:
    """Train from config.yaml; write log.jsonl, checkpoints/last.pth and checkpoints/best.pth.

    Raises:
        RunError: a loss is not finite, a file cannot be written, a device is missing.
        DataError: an image cannot be read, or a checkpoint has another class lock.
    """
    config = read_config(run)
    settings, accumulate = config["train"], int(config["train"]["accumulate"])
    fabric = make_fabric(config)
    state = read_checkpoint(run.last) if resume else {}
    model = starting_model(run, config, state, fabric.is_global_zero)
    own_optimizer = make_optimizer(model, settings)
    if state:
        own_optimizer.load_state_dict(state["optimizer"])
    keep_outputs_in_fp32(model)
    wrapped, optimizer = fabric.setup(model, own_optimizer)
    ema = restored_ema(model, settings["ema"], state, fabric)
    if state.get("precision"):
        fabric.strategy.precision.load_state_dict(state["precision"])

    step = int(state.get("step", 0))
    per_epoch, total = int(settings["steps_per_epoch"]), int(settings["iterations"])
    every = int(config["eval"]["every_epochs"])
    samples, order, batches = training_batches(run, config, fabric, step)
    record_model(run, model, fabric)
    kinds: list[IouType] = ["bbox", "segm"] if config["model"]["family"] == "mask_rcnn" else ["bbox"]
    agree = functools.partial(any_process, fabric)
    keeper = Bookkeeper(run, Rules.of_train(settings), kinds, step, fabric.is_global_zero, agree)

    def evaluate() -> None:
        offset = int(config["model"]["class_offset"])
        found = results_on_val(run, fabric, model, ema, lambda images: detect(model, images, offset, fabric.device))
        keeper.score(found, step, epoch + 1)

    def content(whole: bool) -> dict[str, Any]:
        held: dict[str, Any] = {"model": model.state_dict(), "ema": ema.weights if ema else None}
        held |= {"step": step, "seconds": keeper.seconds}
        if whole:
            held |= {"optimizer": optimizer.state_dict(), "precision": fabric.strategy.precision.state_dict()}
        return held

    keeper.begin(float(state.get("seconds", 0.0)))
    total = step if keeper.is_over() else total
    model.train()
    while step < total:
        epoch, in_epoch = divmod(step, per_epoch)
        count = min(accumulate, order.per_epoch - in_epoch * accumulate)
        lr = lr_at(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = lr
        losses = train_step(run, config, fabric, wrapped, optimizer, samples, batches, count, step)
        if ema:
            ema.update(model, step)
        step += 1

        ends = step % per_epoch == 0
        moment = Moment(step, epoch + 1, epoch_ends=ends, last=step == total)
        keeper.log(moment, lr, losses, fabric.device)
        if keeper.after_step(moment, bool(ends and every and (epoch + 1) % every == 0), evaluate, content):
            break
    keeper.close(step)
    fabric.barrier()


def train_step(
    run: RunDir,
    config: Mapping[str, Any],
    fabric: Fabric,
    model: nn.Module,
    optimizer: Any,
    samples: TrainingSamples,
    batches: Iterator[Batch],
    count: int,
    step: int,
) -> dict[str, float]:
    """One step of the optimizer over the next `count` batches; returns the mean of each loss."""

    def files_of(batch: Batch) -> list[str]:
        files = {image.id: image.file_name for image in samples.images}
        return [files[int(target["image_id"])] for target in batch[1]]

    return update_weights(
        fabric,
        model,
        optimizer,
        batches,
        count,
        key=(int(config["train"]["seed"]), step),
        clip=config["train"]["gradient_clip"],
        losses_of=lambda batch: model(*batch),
        files_of=files_of,
        run=run,
    )


def starting_model(run: RunDir, config: Mapping[str, Any], state: Mapping[str, Any], is_main: bool = True) -> nn.Module:
    """The model with the weights of `state`, last.pth's content; with its starting weights where `state` is empty.

    Which starting weights were loaded is written to weights.txt.
    """
    torch.manual_seed(mix_seed(int(config["train"]["seed"]), "init"))
    model = build_model(config)
    if state:
        check_class_lock(state, run.class_map(), run.last)
        model.load_state_dict(state["model"])
    else:
        tell_weights(run, load_weights(model, config["weights"]).lines(), is_main)
    return model


def make_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters that train."""
    values = settings["optimizer"]
    parameters = [p for p in model.parameters() if p.requires_grad]
    decay = float(values["weight_decay"] or 0.0)
    if values["name"] == "adamw":
        return torch.optim.AdamW(parameters, lr=float(values["lr"]), weight_decay=decay)
    momentum = float(values["momentum"] or 0.0)
    return torch.optim.SGD(parameters, lr=float(values["lr"]), momentum=momentum, weight_decay=decay)


def training_batches(
    run: RunDir, config: Mapping[str, Any], fabric: Fabric, step: int
) -> tuple[TrainingSamples, Batches, Iterator[Batch]]:
    """The training images, the order of batches from `step` on, and the batches themselves on the device."""
    settings, data = config["train"], config["data"]
    samples = TrainingSamples(run.data("train"), config)
    batch_size, accumulate = int(data["batch_size"]), int(settings["accumulate"])
    order = Batches(
        images=len(samples),
        batch_size=batch_size,
        epochs=int(settings["epochs"]),
        seed=int(settings["seed"]),
        portrait=samples.portrait,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    ).after_steps(step, int(settings["steps_per_epoch"]), accumulate)
    loader = make_loader(samples, order, int(data["workers"]), collate, pin_memory=fabric.device.type == "cuda")
    return samples, order, (fabric.to_device(batch) for batch in loader)
