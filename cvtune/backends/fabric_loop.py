"""The parts of a training loop over Lightning Fabric that are the same for every framework without its own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.fabric import Fabric
from torch import nn

from cvtune.backends.base import Detection
from cvtune.backends.bookkeeping import loss_not_finite
from cvtune.backends.ema import Ema
from cvtune.backends.seeds import mix_seed
from cvtune.classes import ClassMap
from cvtune.predictions import to_results
from cvtune.runs import RunDir, read_json

__all__ = ["any_process", "record_model", "restored_ema", "results_on_val", "update_weights"]

Batch = TypeVar("Batch")


def update_weights(
    fabric: Fabric,
    model: nn.Module,
    optimizer: Any,
    batches: Iterator[Batch],
    count: int,
    key: tuple[int, int],
    clip: float | None,
    losses_of: Callable[[Batch], dict[str, torch.Tensor]],
    files_of: Callable[[Batch], Iterable[str]],
    run: RunDir,
) -> dict[str, float]:
    """One step of the optimizer over the next `count` batches; returns the mean of each loss.

    Args:
        fabric: where `model` and `optimizer` were set up.
        model: the wrapped model.
        optimizer: the wrapped optimizer.
        batches: what this process trains on.
        count: batches to accumulate.
        key: (seed, step): what is drawn from torch's global generator is a function of it, and of the rank.
        clip: largest norm of the whole gradient; None: no limit.
        losses_of: the losses of a batch; raises FloatingPointError where the framework finds them not finite itself.
        files_of: the image files of a batch, for the message.
        run: where the last good checkpoint lies, for the message.

    Raises:
        RunError: a loss is not finite.
    """
    seed, step = key
    means: dict[str, float] = {}
    for micro, batch in enumerate(islice(batches, count)):
        torch.manual_seed(mix_seed(seed, "step", step, micro, fabric.global_rank))
        with _accumulating(fabric, model, micro < count - 1):
            try:
                losses = losses_of(batch)
            except FloatingPointError as error:
                raise loss_not_finite(run, step, str(error).split(".")[0].lower(), files_of(batch)) from error
            stacked = torch.stack(list(losses.values()))
            values = dict(zip(losses, stacked.detach().tolist(), strict=True))
            if not math.isfinite(sum(values.values())):
                raise loss_not_finite(run, step, values, files_of(batch))
            fabric.backward(stacked.sum() / count)
        for name, value in values.items():
            means[name] = means.get(name, 0.0) + value / count
    if clip:
        fabric.clip_gradients(model, optimizer, max_norm=float(clip), error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return means


@torch.no_grad()
def results_on_val(
    run: RunDir,
    fabric: Fabric,
    model: nn.Module,
    ema: Ema | None,
    detect: Callable[[Iterable[tuple[int | str, Path]]], Iterator[Detection]],
) -> list[dict[str, Any]]:
    """Predict every validation image once, over all processes, with the averaged weights where there are some.

    `detect` runs the model on (id, path) pairs of image files.

    Returns:
        COCO results with canonical ids, all of them on every process; [] without validation images.
    """
    if not run.data("val").exists():
        return []
    images = read_json(run.data("val"))["images"]
    share = [(image["id"], Path(image["file_name"])) for image in images[fabric.global_rank :: fabric.world_size]]
    names = run.class_map().names
    canonical = ClassMap(names, tuple(range(1, len(names) + 1)))
    _share_statistics(fabric, model, ema)
    with ema.applied_to(model) if ema else contextlib.nullcontext(), fabric.autocast():
        found = to_results(detect(share), canonical, {image_id: image_id for image_id, _ in share})
    model.train()
    if fabric.world_size > 1:
        parts: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(parts, found)
        found = [result for part in parts for result in part]
    return found


def any_process(fabric: Fabric, flag: bool) -> bool:
    """Whether `flag` is up on any process; the same answer on all of them."""
    if fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum").item())


def restored_ema(model: nn.Module, decay: Any, state: Mapping[str, Any], fabric: Fabric) -> Ema | None:
    """The averaged weights that `train.ema` asks for, as `state`, last.pth's content, left them."""
    if not decay:
        return None
    ema = Ema(model, 0.999 if decay is True else float(decay))
    if state.get("ema"):
        ema.weights = {name: value.to(fabric.device) for name, value in state["ema"].items()}
    return ema


def record_model(run: RunDir, model: nn.Module, fabric: Fabric) -> None:
    """Write the number of parameters and the device into run.json, from the main process."""
    if not fabric.is_global_zero:
        return
    parameters = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    run.update_record(parameters=parameters, trained_parameters=trained, device=str(fabric.device))


def _accumulating(fabric: Fabric, model: nn.Module, enabled: bool) -> contextlib.AbstractContextManager[None]:
    if fabric.world_size == 1:
        return contextlib.nullcontext()
    return fabric.no_backward_sync(model, enabled=enabled)  # type: ignore[no-any-return]


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
