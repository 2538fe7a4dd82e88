"""The training loop of the detectron2 backend, read from top to bottom: its plain_train_net, with what cvtune adds.

Model, optimizer and learning rate are what Detectron2 builds from the run's config.yaml or config.py. Everything that
is random in a step is a pure function of (seed, epoch, image) or (seed, step, rank): a resumed run repeats the
uninterrupted one, loss by loss.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from detectron2.utils.events import EventStorage
from lightning.fabric import Fabric
from torch import nn

from cvtune.backends.batches import Batches, quiet_worker
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.detectron2.config import RunConfig, build_model, precision_of, read_config, read_extras
from cvtune.backends.detectron2.precise_bn import update_norms
from cvtune.backends.detectron2.predict import detect
from cvtune.backends.detectron2.samples import TrainingSamples, as_list
from cvtune.backends.detectron2.weights import load_weights
from cvtune.backends.ema import Ema
from cvtune.backends.fabric import make_fabric, peak_memory_mb
from cvtune.backends.journal import Journal, evaluation_record
from cvtune.backends.saver import Saver
from cvtune.backends.schedule import lr_at
from cvtune.backends.seeds import mix_seed
from cvtune.backends.stopping import StopRequest
from cvtune.classes import ClassMap
from cvtune.errors import RunError
from cvtune.evaluation import Scorer
from cvtune.evaluation.engines import IouType
from cvtune.plan import Plan
from cvtune.predictions import to_results
from cvtune.runs import RunDir, read_json, write_text

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
    decay = extras.get("train.ema")
    ema = Ema(model, 0.999 if decay is True else float(decay)) if decay else None
    if ema and state.get("ema"):
        ema.weights = {name: value.to(fabric.device) for name, value in state["ema"].items()}
    if state.get("precision"):
        fabric.strategy.precision.load_state_dict(state["precision"])

    step, seconds = int(state.get("step", 0)), float(state.get("seconds", 0.0))
    total, period = config.iterations, config.evaluation_period
    samples = TrainingSamples(run.data("train"), config, extras, seed)
    batches = _batches(samples, config, seed, fabric)
    per_epoch = math.ceil(batches.per_epoch / accumulate)
    loader = _loader(samples, config, seed, fabric, _batches_done(step, per_epoch, batches.per_epoch, accumulate))
    if fabric.is_global_zero:
        _record_model(run, model, fabric)
    journal = Journal(run, list(plan["train.loggers"] or []), step) if fabric.is_global_zero else None
    saver = Saver(run, _rules(plan), fabric.is_global_zero)
    best_metric, stopping = plan["train.checkpoint.best"], extras.get("train.early_stopping")
    kinds: list[IouType] = ["bbox", "segm"] if plan["task"] == "segment" else ["bbox"]
    scorer = Scorer(run.data("val"), iou_types=kinds) if journal and run.data("val").exists() else None

    def content(whole: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"model": model.state_dict(), "ema": ema.weights if ema else None}
        found |= {"step": step, "seconds": time.monotonic() - started}
        if whole:
            found |= {"optimizer": own_optimizer.state_dict(), "scheduler": scheduler.state_dict()}
            found |= {"precision": fabric.strategy.precision.state_dict(), "normalizer": _normalizer(model)}
        return found

    started = time.monotonic() - seconds
    stop = StopRequest(run)
    model.train()
    # TorchScript computes its first calls in another order than its later ones: after a resume, RetinaNet's focal loss
    # would not be the same.
    script: Any = torch.jit
    with EventStorage(step) as storage, script.optimized_execution(False):
        while step < total:
            epoch, in_epoch = divmod(step, per_epoch)
            count = min(accumulate, batches.per_epoch - in_epoch * accumulate)
            lr = float(own_optimizer.param_groups[0]["lr"])
            parts = [next(loader) for _ in range(count)]
            losses = one_step(fabric, wrapped, optimizer, parts, (seed, step), extras.get("train.gradient_clip"), run)
            scheduler.step()
            if ema:
                ema.update(model, step)
            storage.step()
            step += 1

            if journal and (step % int(plan["train.log_every"]) == 0 or step in (1, total)):
                journal.step(
                    {
                        "step": step,
                        "epoch": epoch + 1,
                        "lr": lr,
                        "loss": sum(losses.values()),
                        "losses": losses,
                        "seconds": round(time.monotonic() - started, 3),
                        "memory_mb": round(peak_memory_mb(fabric.device), 1),
                    }
                )
            stopped = _stop_asked(stop, fabric)
            last = step == total or stopped
            epoch_ends = step % per_epoch == 0
            if last or (period and step % period == 0):
                update_norms(model, config, _endless(samples, config, seed, fabric))
                found = _validate(run, config, fabric, model, ema)
                improved = False
                if journal and scorer:
                    scores = scorer.score(found)
                    before, _ = journal.best(best_metric)
                    journal.evaluation(evaluation_record(scores, step, epoch + 1, time.monotonic() - started), found)
                    value, _ = journal.best(best_metric)
                    improved = value > before
                    if improved:
                        best = {"metric": best_metric, "value": value, "step": step, "epoch": epoch + 1}
                        run.update_record(best=best)
                    stopped = stopped or bool(stopping and journal.out_of_patience(stopping))
                if improved:
                    saver.save(run.best, content(whole=False), whole=False)
                stopped = fabric.broadcast(stopped)
                last = last or stopped
            if last or saver.is_due(step, epoch_ends, epoch + 1):
                saver.save(run.last, content(whole=True), whole=True)
                if epoch_ends:
                    saver.keep(epoch + 1)
            if stopped:
                break
    if journal:
        journal.close()
        run.update_record(seconds=round(time.monotonic() - started, 1), steps=step)
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
    lines = list(load_weights(model, extras["weights"]).lines())
    if is_main:
        print("\n".join(lines), flush=True)
        write_text(run.path / "weights.txt", "\n".join(lines) + "\n")
    return model


def make_optimizer(config: RunConfig, extras: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Detectron2's SGD; AdamW over the same groups of parameters where the spec asks for it."""
    optimizer = config.optimizer(model)
    if extras.get("train.optimizer.name") != "adamw":
        return optimizer
    kept = ("params", "lr", "weight_decay")
    groups = [{key: value for key, value in group.items() if key in kept} for group in optimizer.param_groups]
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)


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
    fabric: Fabric, model: nn.Module, optimizer: Any, parts: list[Batch], key: tuple[int, int], clip: Any, run: RunDir
) -> dict[str, float]:
    """One update of the weights over the batches of `parts`; returns the mean of each loss.

    `key` is (seed, step): Detectron2's samplers draw from torch's global generator.
    """
    seed, step = key
    means: dict[str, float] = {}
    for micro, batch in enumerate(parts):
        torch.manual_seed(mix_seed(seed, "step", step, micro, fabric.global_rank))
        with _accumulating(fabric, model, micro < len(parts) - 1):
            losses = _forward(model, batch, step, run)
            loss = torch.stack(list(losses.values())).sum()
            values = dict(zip(losses, torch.stack(list(losses.values())).detach().tolist(), strict=True))
            if not math.isfinite(sum(values.values())):
                _refuse(run, step, ", ".join(f"{name} {value:g}" for name, value in values.items()), batch)
            fabric.backward(loss / len(parts))
        for name, value in values.items():
            means[name] = means.get(name, 0.0) + value / len(parts)
    if clip:
        fabric.clip_gradients(model, optimizer, max_norm=float(clip), error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return means


def _forward(model: nn.Module, batch: Batch, step: int, run: RunDir) -> dict[str, torch.Tensor]:
    """The losses of a batch; where proposals are not finite Detectron2 stops before it has any."""
    try:
        losses: dict[str, torch.Tensor] = model(batch)
    except FloatingPointError as error:
        _refuse(run, step, str(error).split(".")[0].lower(), batch)
    return losses


def _batches(samples: TrainingSamples, config: RunConfig, seed: int, fabric: Fabric, start: int = 0) -> Batches:
    portrait = samples.portrait if config.groups_by_aspect else [False] * len(samples)
    return Batches(
        images=len(samples),
        batch_size=config.batch_size,
        epochs=10**9,  # the length of the run is counted in steps
        seed=seed,
        portrait=portrait,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        start=start,
    )


def _batches_done(step: int, per_epoch: int, batches_per_epoch: int, accumulate: int) -> int:
    epoch, in_epoch = divmod(step, per_epoch)
    return epoch * batches_per_epoch + in_epoch * accumulate


def _loader(samples: TrainingSamples, config: RunConfig, seed: int, fabric: Fabric, start: int) -> Iterator[Batch]:
    """This process's batches from number `start` on, without end."""
    workers = config.workers
    loader: Any = torch.utils.data.DataLoader(
        samples,
        batch_sampler=_batches(samples, config, seed, fabric, start),
        num_workers=workers,
        collate_fn=as_list,
        worker_init_fn=quiet_worker,
        multiprocessing_context="forkserver" if workers else None,
    )
    return iter(loader)


def _endless(samples: TrainingSamples, config: RunConfig, seed: int, fabric: Fabric) -> Iterator[Batch]:
    """Batches in the order of the first epochs, loaded in this process when they are asked for."""
    order = itertools.islice(_batches(samples, config, seed, fabric), None)
    return ([samples[key] for key in keys] for keys in order)


def _accumulating(fabric: Fabric, model: nn.Module, enabled: bool) -> contextlib.AbstractContextManager[None]:
    if fabric.world_size == 1:
        return contextlib.nullcontext()
    return fabric.no_backward_sync(model, enabled=enabled)  # type: ignore[no-any-return]


def _refuse(run: RunDir, step: int, losses: str, batch: Batch) -> NoReturn:
    images = ", ".join(str(sample["file_name"]) for sample in batch)
    good = run.last if run.last.exists() else "none was written yet"
    raise RunError(
        f"step {step + 1}: a loss is not finite: {losses}; images of this batch: {images}; last good "
        f"checkpoint: {good}; lower train.optimizer.lr, set train.gradient_clip, or use train.precision: fp32"
    )


@torch.no_grad()
def _validate(
    run: RunDir, config: RunConfig, fabric: Fabric, model: nn.Module, ema: Ema | None
) -> list[dict[str, Any]]:
    """Predict every validation image once, over all processes; COCO results with canonical ids, on every process."""
    if not run.data("val").exists():
        return []
    images = read_json(run.data("val"))["images"]
    share = [(image["id"], Path(image["file_name"])) for image in images[fabric.global_rank :: fabric.world_size]]
    names = run.class_map().names
    canonical = ClassMap(names, tuple(range(1, len(names) + 1)))
    _share_statistics(fabric, model, ema)
    with ema.applied_to(model) if ema else contextlib.nullcontext(), fabric.autocast():
        found = to_results(detect(model, config, share), canonical, {image_id: image_id for image_id, _ in share})
    model.train()
    if fabric.world_size > 1:
        parts: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(parts, found)
        found = [result for part in parts for result in part]
    return found


def _share_statistics(fabric: Fabric, model: nn.Module, ema: Ema | None) -> None:
    """Give every process the first one's statistics of batch norm: each has seen images of its own since the last step.

    What is scored is then what is saved.
    """
    if fabric.world_size == 1:
        return
    for name, buffer in model.named_buffers():
        torch.distributed.broadcast(buffer, 0)
        if ema and name in ema.weights:
            torch.distributed.broadcast(ema.weights[name], 0)


def _normalizer(model: Any) -> float | None:
    """RetinaNet's running count of matched anchors, which divides its losses and is in no state dict."""
    value = getattr(model, "loss_normalizer", None)
    return None if value is None else float(value)


def _rules(plan: Plan) -> dict[str, Any]:
    keys = ("every_epochs", "every_minutes", "every_iterations", "keep")
    return {key: plan[f"train.checkpoint.{key}"] for key in keys}


def _record_model(run: RunDir, model: nn.Module, fabric: Fabric) -> None:
    parameters = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    run.update_record(parameters=parameters, trained_parameters=trained, device=str(fabric.device))


def _stop_asked(stop: StopRequest, fabric: Fabric) -> bool:
    """Whether to stop, the same on every process."""
    if fabric.world_size == 1:
        return stop.asked
    return bool(fabric.all_reduce(torch.tensor(float(stop.asked), device=fabric.device), reduce_op="sum").item())
