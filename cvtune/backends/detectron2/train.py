"""The training loop of the detectron2 backend, read from top to bottom: its plain_train_net, with what cvtune adds.

Model, optimizer and learning rate are what Detectron2 builds from the run's config.yaml or config.py. Everything that
is random in a step is a pure function of (seed, epoch, image) or (seed, step, rank): a resumed run repeats the
uninterrupted one, loss by loss.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils.events import EventStorage
from lightning.fabric import Fabric
from torch import nn

from cvtune.backends.batches import Batches
from cvtune.backends.bookkeeping import Bookkeeper, Moment, Rules, tell_weights
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.detectron2.config import RunConfig, build_model, precision_of, read_config, read_extras
from cvtune.backends.detectron2.precise_bn import update_norms
from cvtune.backends.detectron2.predict import detect
from cvtune.backends.detectron2.samples import TrainingSamples, as_list
from cvtune.backends.detectron2.weights import load_weights
from cvtune.backends.fabric import make_fabric
from cvtune.backends.fabric_loop import any_process, record_model, restored_ema, results_on_val, update_weights
from cvtune.backends.image_samples import make_loader
from cvtune.backends.schedule import lr_at
from cvtune.backends.seeds import mix_seed
from cvtune.evaluation.engines import IouType
from cvtune.plan import Plan
from cvtune.runs import RunDir, read_json

__all__ = ["make_optimizer", "make_scheduler", "one_step", "read_plan", "start_fabric", "starting_model", "train"]

Batch = list[dict[str, Any]]


def train(run: RunDir, resume: bool) -> None:
    """Train from the native file; write log.jsonl, checkpoints/last.pth and checkpoints/best.pth.

    Raises:
        RunError: a loss is not finite, a file cannot be written or fetched, a device is missing.
        DataError: an image cannot be read, or a checkpoint has another class lock or architecture.
        SpecError: the config holds what a class of Detectron2 does not take.
    """
    plan, config, extras = read_plan(run), read_config(run), read_extras(run)
    accumulate, seed = int(extras.get("train.accumulate", 1)), int(plan["train.seed"])
    fabric = start_fabric(plan, config, extras)
    torch.backends.cudnn.benchmark = config.cudnn_benchmark
    state = read_checkpoint(run.last) if resume else {}
    model = starting_model(run, config, extras, seed, state, fabric.is_global_zero)
    own_optimizer = make_optimizer(config, extras, model)
    scheduler = make_scheduler(config, extras, own_optimizer, int(plan["train.steps_per_epoch"]))
    if state:
        own_optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
    wrapped, optimizer = fabric.setup(model, own_optimizer)
    ema = restored_ema(model, extras.get("train.ema"), state, fabric)
    if state.get("precision"):
        fabric.strategy.precision.load_state_dict(state["precision"])

    step = int(state.get("step", 0))
    total, period = config.iterations, config.evaluation_period
    samples = TrainingSamples(run.data("train"), config, extras, seed)
    order = _order(samples, config, seed, fabric)
    per_epoch = math.ceil(order.per_epoch / accumulate)
    batches = make_loader(samples, order.after_steps(step, per_epoch, accumulate), config.workers, as_list)
    record_model(run, model, fabric)
    kinds: list[IouType] = ["bbox", "segm"] if plan["task"] == "segment" else ["bbox"]
    agree = functools.partial(any_process, fabric)
    keeper = Bookkeeper(run, Rules.of_plan(plan.values), kinds, step, fabric.is_global_zero, agree)

    def evaluate() -> None:
        update_norms(model, config, ([samples[key] for key in keys] for keys in order))
        found = results_on_val(run, fabric, model, ema, lambda images: detect(model, config, images))
        keeper.score(found, step, epoch + 1)

    def content(whole: bool) -> dict[str, Any]:
        held: dict[str, Any] = {"model": model.state_dict(), "ema": ema.weights if ema else None}
        held |= {"step": step, "seconds": keeper.seconds, "input": dict(config.fed)}
        if whole:
            held |= {"optimizer": own_optimizer.state_dict(), "scheduler": scheduler.state_dict()}
            held |= {"precision": fabric.strategy.precision.state_dict(), "normalizer": _normalizer(model)}
        return held

    keeper.begin(float(state.get("seconds", 0.0)))
    total = step if keeper.is_over() else total
    model.train()
    # TorchScript computes its first calls in another order than its later ones: after a resume, RetinaNet's focal loss
    # would not be the same.
    script: Any = torch.jit
    with EventStorage(step) as storage, script.optimized_execution(False):
        while step < total:
            epoch, in_epoch = divmod(step, per_epoch)
            count = min(accumulate, order.per_epoch - in_epoch * accumulate)
            lr = float(own_optimizer.param_groups[0]["lr"])
            clip = extras.get("train.gradient_clip")
            losses = one_step(run, fabric, wrapped, optimizer, batches, count, (seed, step), clip)
            scheduler.step()
            if ema:
                ema.update(model, step)
            storage.step()
            step += 1

            moment = Moment(step, epoch + 1, epoch_ends=step % per_epoch == 0, last=step == total)
            keeper.log(moment, lr, losses, fabric.device)
            if keeper.after_step(moment, bool(period and step % period == 0), evaluate, content):
                break
    keeper.close(step)
    fabric.barrier()


def read_plan(run: RunDir) -> Plan:
    """The plan: what only cvtune's loop needs to know (logging, checkpoints, seed, devices)."""
    return Plan.from_json(read_json(run.plan))


def start_fabric(plan: Plan, config: RunConfig, extras: dict[str, Any], devices: int | None = None) -> Fabric:
    """A launched Fabric: device, precision, and several processes over NCCL, or over Gloo on a CPU."""
    count = int(plan["run.devices"]) if devices is None else devices
    nodes = int(plan["run.nodes"]) if devices is None else 1
    return make_fabric(
        {
            "run": {"device": plan["run.device"], "devices": count, "nodes": nodes},
            "train": {"precision": precision_of(config, extras)},
        }
    )


def starting_model(
    run: RunDir, config: RunConfig, extras: Mapping[str, Any], seed: int, state: Mapping[str, Any], is_main: bool = True
) -> nn.Module:
    """The model with the weights of `state`, last.pth's content; with its starting weights where `state` is empty.

    Which starting weights were loaded is written to weights.txt.
    """
    torch.manual_seed(mix_seed(seed, "init"))
    model = build_model(config)
    if state:
        check_class_lock(state, run.class_map(), run.last)
        model.load_state_dict(state["model"])
        if state.get("normalizer") is not None:
            model.loss_normalizer = state["normalizer"]
        return model
    tell_weights(run, load_weights(model, extras["weights"]).lines(), is_main)
    return model


def make_optimizer(config: RunConfig, extras: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Detectron2's SGD; AdamW over the same groups of parameters where the spec asks for it."""
    optimizer = config.optimizer(model)
    if extras.get("train.optimizer.name") != "adamw":
        return optimizer
    kept = ("params", "lr", "weight_decay")
    groups = [{key: value for key, value in group.items() if key in kept} for group in optimizer.param_groups]
    adamw: Callable[..., torch.optim.Optimizer] = maybe_add_gradient_clipping(config.native, torch.optim.AdamW)
    return adamw(groups, lr=config.lr, weight_decay=config.weight_decay)


def make_scheduler(
    config: RunConfig, extras: Mapping[str, Any], optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Detectron2's scheduler, or the rule that the native file cannot say."""
    rule = extras.get("train.schedule")
    if rule is None:
        return config.scheduler(optimizer)
    peak = config.lr
    settings = {
        "schedule": rule,
        "optimizer": {"lr": peak},
        "iterations": config.iterations,
        "steps_per_epoch": steps_per_epoch,
    }
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_at(step, settings) / peak)


def one_step(
    run: RunDir,
    fabric: Fabric,
    model: nn.Module,
    optimizer: Any,
    batches: Iterator[Batch],
    count: int,
    key: tuple[int, int],
    clip: float | None,
) -> dict[str, float]:
    """One step of the optimizer over the next `count` batches; returns the mean of each loss.

    `key` is (seed, step): Detectron2's samplers draw from torch's global generator.
    """
    return update_weights(
        fabric,
        model,
        optimizer,
        batches,
        count,
        key,
        clip,
        losses_of=model,
        files_of=lambda batch: [str(sample["file_name"]) for sample in batch],
        run=run,
    )


def _order(samples: TrainingSamples, config: RunConfig, seed: int, fabric: Fabric) -> Batches:
    portrait = samples.portrait if config.groups_by_aspect else [False] * len(samples)
    return Batches(
        images=len(samples),
        batch_size=config.batch_size,
        epochs=10**9,  # the length of the run is counted in steps
        seed=seed,
        portrait=portrait,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )


def _normalizer(model: Any) -> float | None:
    """RetinaNet's running count of matched anchors, which divides its losses and is in no state dict."""
    value = getattr(model, "loss_normalizer", None)
    return None if value is None else float(value)
