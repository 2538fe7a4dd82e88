"""The training loop of the torchvision backend, read from top to bottom.

Everything that is random in a step is a pure function of (seed, epoch, image) or (seed, step, rank), and the learning
rate is one of the step: a resumed run repeats the uninterrupted one, loss by loss.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric import Fabric
from torch import nn

from cvtune.backends.batches import Batches, quiet_worker
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.ema import Ema
from cvtune.backends.fabric import keep_outputs_in_fp32, make_fabric, peak_memory_mb
from cvtune.backends.journal import Journal, evaluation_record
from cvtune.backends.saver import Saver
from cvtune.backends.schedule import lr_at
from cvtune.backends.seeds import mix_seed
from cvtune.backends.stopping import StopRequest
from cvtune.backends.torchvision.build import build_model
from cvtune.backends.torchvision.predict import detect
from cvtune.backends.torchvision.samples import TrainingSamples, collate
from cvtune.backends.torchvision.weights import load_weights
from cvtune.classes import ClassMap
from cvtune.errors import RunError
from cvtune.evaluation import Scorer
from cvtune.evaluation.engines import IouType
from cvtune.predictions import to_results
from cvtune.runs import RunDir, read_json, write_text

__all__ = ["make_optimizer", "read_config", "starting_model", "train", "training_batches"]

Targets = list[dict[str, torch.Tensor]]


def read_config(run: RunDir) -> dict[str, Any]:
    """The native config in the run directory."""
    config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    assert isinstance(config, dict)
    return config


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
    model = starting_model(run, config, state)
    optimizer = make_optimizer(model, settings)
    if state:
        optimizer.load_state_dict(state["optimizer"])
    keep_outputs_in_fp32(model)
    wrapped, optimizer = fabric.setup(model, optimizer)
    decay = settings["ema"]
    ema = Ema(model, 0.999 if decay is True else float(decay)) if decay else None
    if ema and state.get("ema"):
        ema.weights = {name: value.to(fabric.device) for name, value in state["ema"].items()}
    if state.get("precision"):
        fabric.strategy.precision.load_state_dict(state["precision"])

    step, seconds = state.get("step", 0), state.get("seconds", 0.0)
    per_epoch, total = int(settings["steps_per_epoch"]), int(settings["iterations"])
    batches, samples = training_batches(run, config, fabric, step)
    if fabric.is_global_zero:
        _record_model(run, model, fabric)
    journal = Journal(run, settings["loggers"], step) if fabric.is_global_zero else None
    saver = Saver(run, settings["checkpoint"], fabric.is_global_zero)

    def content(whole: bool) -> dict[str, Any]:
        return _content(fabric, model, optimizer, ema, step, time.monotonic() - started, whole)

    kinds: Sequence[IouType] = ("bbox", "segm") if config["model"]["family"] == "mask_rcnn" else ("bbox",)
    scores_here = fabric.is_global_zero and run.data("val").exists()
    scorer = Scorer(run.data("val"), iou_types=kinds) if scores_here else None
    started = time.monotonic() - seconds
    stop = StopRequest(run)
    model.train()
    # A config whose last evaluation was cut off by a kill is evaluated again below.
    while step < total:
        epoch, in_epoch = divmod(step, per_epoch)
        count = min(accumulate, batches.per_epoch - in_epoch * accumulate)
        lr = lr_at(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = lr
        losses = _step(fabric, wrapped, optimizer, samples, count, step, config, saver)
        if ema:
            ema.update(model, step)
        step += 1

        if journal and (step % int(settings["log_every"]) == 0 or step in (1, total)):
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
        every = int(config["eval"]["every_epochs"])
        if last or (epoch_ends and every and (epoch + 1) % every == 0):
            found = _validate(run, config, fabric, model, ema)
            improved = False
            if journal and scorer:
                scores = scorer.score(found)
                before, _ = journal.best(settings["checkpoint"]["best"])
                journal.evaluation(evaluation_record(scores, step, epoch + 1, time.monotonic() - started), found)
                value, _ = journal.best(settings["checkpoint"]["best"])
                improved = value > before
                if improved:
                    run.update_record(
                        best={
                            "metric": settings["checkpoint"]["best"],
                            "value": value,
                            "step": step,
                            "epoch": epoch + 1,
                        }
                    )
                stopping = settings["early_stopping"]
                if stopping and journal.out_of_patience(stopping):
                    stopped = True
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


def starting_model(run: RunDir, config: Mapping[str, Any], state: Mapping[str, Any]) -> nn.Module:
    """The model with the weights of `state`, last.pth's content; with its starting weights where `state` is empty.

    Which starting weights were loaded is written to weights.txt.
    """
    torch.manual_seed(mix_seed(int(config["train"]["seed"]), "init"))
    model = build_model(config)
    if state:
        check_class_lock(state, run.class_map(), run.last)
        model.load_state_dict(state["model"])
    else:
        report = load_weights(model, config["weights"])
        lines = list(report.lines())
        print("\n".join(lines), flush=True)
        write_text(run.path / "weights.txt", "\n".join(lines) + "\n")
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
) -> tuple[Batches, Iterator[tuple[list[torch.Tensor], Targets]]]:
    """The batches of the run from `step` on, and an iterator over their (images, targets) on the device."""
    settings, data = config["train"], config["data"]
    samples = TrainingSamples(run.data("train"), config)
    probe = Batches(len(samples), int(data["batch_size"]), 1, 0, ())
    epoch, in_epoch = divmod(step, int(settings["steps_per_epoch"]))
    batches = Batches(
        images=len(samples),
        batch_size=int(data["batch_size"]),
        epochs=int(settings["epochs"]),
        seed=int(settings["seed"]),
        portrait=samples.portrait,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        start=epoch * probe.per_epoch + in_epoch * int(settings["accumulate"]),
    )
    workers = int(data["workers"])
    loader = torch.utils.data.DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=quiet_worker,
        pin_memory=fabric.device.type == "cuda",
        multiprocessing_context="forkserver" if workers else None,
    )
    return batches, (fabric.to_device(batch) for batch in loader)


def _step(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    samples: Iterator[tuple[list[torch.Tensor], Targets]],
    count: int,
    step: int,
    config: Mapping[str, Any],
    saver: Saver,
) -> dict[str, float]:
    """One optimizer step over `count` micro-batches; returns the mean of each loss."""
    means: dict[str, float] = {}
    for micro in range(count):
        images, targets = next(samples)
        torch.manual_seed(mix_seed(int(config["train"]["seed"]), "step", step, micro, fabric.global_rank))
        with _accumulating(fabric, model, micro < count - 1):
            losses = model(images, targets)
            loss = torch.stack(list(losses.values())).sum()
            values = dict(zip(losses, torch.stack(list(losses.values())).detach().tolist(), strict=True))
            if not math.isfinite(sum(values.values())):
                _refuse_loss(saver, step, values, targets)
            fabric.backward(loss / count)
        for name, value in values.items():
            means[name] = means.get(name, 0.0) + value / count
    clip = config["train"]["gradient_clip"]
    if clip:
        fabric.clip_gradients(model, optimizer, max_norm=float(clip), error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return means


def _accumulating(fabric: Fabric, model: nn.Module, enabled: bool) -> contextlib.AbstractContextManager[None]:
    if fabric.world_size == 1:
        return contextlib.nullcontext()
    return fabric.no_backward_sync(model, enabled=enabled)  # type: ignore[no-any-return]


def _refuse_loss(saver: Saver, step: int, losses: Mapping[str, float], targets: Targets) -> None:
    names = {image["id"]: image["file_name"] for image in read_json(saver.run.data("train"))["images"]}
    images = ", ".join(names[int(target["image_id"])] for target in targets)
    parts = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    good = saver.run.last if saver.run.last.exists() else "none was written yet"
    raise RunError(
        f"step {step + 1}: a loss is not finite: {parts}; images of this batch: {images}; "
        f"last good checkpoint: {good}; lower train.optimizer.lr, set train.gradient_clip, or use train.precision: fp32"
    )


@torch.no_grad()
def _validate(
    run: RunDir, config: Mapping[str, Any], fabric: Fabric, model: nn.Module, ema: Ema | None
) -> list[dict[str, Any]]:
    """Predict every validation image once, over all processes; COCO results with canonical ids, on every process."""
    if not run.data("val").exists():
        return []
    images = read_json(run.data("val"))["images"]
    share = [(image["id"], Path(image["file_name"])) for image in images[fabric.global_rank :: fabric.world_size]]
    names = run.class_map().names
    canonical = ClassMap(names, tuple(range(1, len(names) + 1)))
    with ema.applied_to(model) if ema else contextlib.nullcontext(), fabric.autocast():
        detections = detect(model, share, int(config["model"]["class_offset"]), fabric.device)
        found = to_results(detections, canonical, {image_id: image_id for image_id, _ in share})
    model.train()
    if fabric.world_size > 1:
        parts: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(parts, found)
        found = [result for part in parts for result in part]
    return found


def _record_model(run: RunDir, model: nn.Module, fabric: Fabric) -> None:
    parameters = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    run.update_record(parameters=parameters, trained_parameters=trained, device=str(fabric.device))


def _content(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
    step: int,
    seconds: float,
    whole: bool,
) -> dict[str, Any]:
    """What a checkpoint holds: whole ones what a resume needs, the others only what predicts."""
    content: dict[str, Any] = {
        "model": model.state_dict(),
        "ema": ema.weights if ema else None,
        "step": step,
        "seconds": seconds,
    }
    if whole:
        content |= {
            "optimizer": optimizer.state_dict(),
            "precision": fabric.strategy.precision.state_dict(),
            "rng": torch.get_rng_state(),
        }
    return content


def _stop_asked(stop: StopRequest, fabric: Fabric) -> bool:
    """Whether to stop, the same on every process."""
    if fabric.world_size == 1:
        return stop.asked
    return bool(fabric.all_reduce(torch.tensor(float(stop.asked), device=fabric.device), reduce_op="sum").item())
