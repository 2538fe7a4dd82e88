"""Trials before a run: what a step takes of memory, and at which learning rate the loss falls."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from cvtune.backends.fabric import peak_memory_mb
from cvtune.backends.lr_trial import rising_rates
from cvtune.backends.mmdet.batches import seed_everything, seeded_loader
from cvtune.backends.mmdet.models import model_of_plan
from cvtune.backends.mmdet.runner import build_runner, read_config
from cvtune.backends.mmdet.weights import load_weights
from cvtune.backends.mmdet.weights_names import starting_weights
from cvtune.plan import Plan
from cvtune.runs import RunDir, read_json

__all__ = ["find_lr", "step_memory"]


def step_memory(run: RunDir) -> int:
    """Peak bytes of two real training steps on a batch of the images with the most objects."""
    step, batches, model = _trial(run, heaviest=True)
    for batch in itertools.islice(batches, 2):
        step(batch, None)
    return int(peak_memory_mb(next(model.parameters()).device) * 2**20)


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    """(learning rate, smoothed loss) pairs of a trial with a rising rate; see `rising_rates`."""
    step, batches, _ = _trial(run, heaviest=False)
    return rising_rates(lambda lr: step(next(batches), lr))


def _trial(run: RunDir, heaviest: bool) -> tuple[Callable[[Any, float | None], float], Iterator[Any], Any]:
    """(a training step that returns its loss, endless batches, the model)."""
    plan = Plan.from_json(read_json(run.plan))
    config = read_config(run)
    seed_everything(int(plan["train.seed"]), "init")
    runner = build_runner(run, config, plan.values)
    runner.model.init_weights()
    load_weights(runner.model, starting_weights(plan["model.weights"], model_of_plan(plan)))
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper = wrapper
    wrapper.initialize_count_status(runner.model, 0, 10**9)
    built = runner.build_dataloader(config.train_dataloader, seed=0)
    loader, order = seeded_loader(built, 0, bool(plan["data.skip_bad_images"]))
    if heaviest:
        dataset = loader.dataset
        counts = [len(dataset.get_data_info(index)["instances"]) for index in range(len(dataset))]  # type: ignore[arg-type, attr-defined]
        first = sorted(range(len(counts)), key=counts.__getitem__, reverse=True)
        size = int(config.train_dataloader.batch_size)
        order.batches = _Fixed([[first[i % len(first)] for i in range(size)]] * 2, order.sampler)
    runner.model.train()
    counter = itertools.count()
    for name, value in (("epoch", 0), ("max_epochs", 1), ("max_iters", 10**6)):
        runner.message_hub.update_info(name, value)

    def step(batch: Any, lr: float | None) -> float:
        if lr is not None:
            for group in wrapper.param_groups:
                group["lr"] = lr
        runner.message_hub.update_info("iter", next(counter))  # some models read it, as RuntimeInfoHook leaves it
        outputs = runner.model.train_step(batch, optim_wrapper=wrapper)
        return float(outputs["loss"].detach())

    def batches() -> Iterator[Any]:
        for epoch in itertools.count():
            order.begin(epoch)
            yield from loader

    return step, batches(), runner.model


class _Fixed(list[list[int]]):
    """Batches that are given, with the sampler that MMEngine expects to find on them."""

    def __init__(self, batches: list[list[int]], sampler: Any) -> None:
        super().__init__(batches)
        self.sampler = sampler
