"""Training through MMEngine's Runner from the native file in the run directory."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, ValLoop
from torch import nn

from cvtune.backends.bookkeeping import Bookkeeper, Rules, tell_weights
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.mmdet.batches import seed_everything
from cvtune.backends.mmdet.collect import CollectResults
from cvtune.backends.mmdet.loop import TrainLoop, any_process
from cvtune.backends.mmdet.models import model_of_plan
from cvtune.backends.mmdet.runner import build_runner, read_config
from cvtune.backends.mmdet.weights import load_weights
from cvtune.backends.mmdet.weights_names import starting_weights
from cvtune.evaluation.engines import IouType
from cvtune.plan import Plan
from cvtune.runs import RunDir, read_json

__all__ = ["train"]


def train(run: RunDir, resume: bool) -> None:
    """Train from config.py; write log.jsonl, checkpoints/last.pth and checkpoints/best.pth.

    Raises:
        RunError: a loss is not finite, a file cannot be written or fetched, a device is missing.
        DataError: an image cannot be read, or a checkpoint has another class lock or architecture.
        SpecError: the config holds what a class of MMDetection does not take.
    """
    plan = Plan.from_json(read_json(run.plan))
    config = read_config(run)
    state = read_checkpoint(run.last) if resume else {}
    if state:
        check_class_lock(state, run.class_map(), run.last)
    seed_everything(int(plan["train.seed"]), "init")
    runner = build_runner(run, config, plan.values)
    kinds: list[IouType] = ["bbox", "segm"] if plan["task"] == "segment" else ["bbox"]
    rules, step = Rules.of_plan(plan.values), int(state.get("step", 0))
    keeper = Bookkeeper(run, rules, kinds, step, is_main_process(), any_process)
    prepare = functools.partial(_prepare, run, plan, runner, state)
    loop = TrainLoop(runner, config.train_cfg, run, plan.values, keeper, prepare)
    runner._train_loop = loop
    if run.data("val").exists():
        runner._val_loop = _validation(run, runner, config, kinds, loop)
    runner.train()
    keeper.close(loop.step)
    barrier()


def _validation(run: RunDir, runner: Runner, config: Any, kinds: Sequence[str], loop: TrainLoop) -> ValLoop:
    def score(results: list[dict[str, Any]]) -> dict[str, float]:
        scores = loop.keeper.score(results, loop.step, -(-loop.iter // loop.per_epoch))
        return {f"{kind}_{name}": scores[kind][name] for kind in kinds for name in ("AP", "AP50")}

    return ValLoop(runner, config.val_dataloader, Evaluator([CollectResults(run.class_map().names, score)]))


def _prepare(run: RunDir, plan: Plan, runner: Runner, state: Mapping[str, Any], loop: TrainLoop) -> None:
    """Starting weights, or the state of a checkpoint, into a runner that has built everything."""
    model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if state:
        _restore(runner, model, state, loop)
    else:
        weights = starting_weights(plan["model.weights"], model_of_plan(plan))
        tell_weights(run, load_weights(model, weights).lines(), is_main_process())
    if is_main_process():
        parameters = sum(p.numel() for p in model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        device = str(next(model.parameters()).device)
        run.update_record(parameters=parameters, trained_parameters=trained, device=device)


def _restore(runner: Runner, model: nn.Module, state: Mapping[str, Any], loop: TrainLoop) -> None:
    averaged = state.get("ema_state_dict")
    weights = dict(state["state_dict"])
    if averaged is not None:
        # EMAHook has put the averaged weights where those that train were, and those into its own.
        own = {name.removeprefix("module."): value for name, value in averaged.items() if name.startswith("module.")}
        for hook in runner.hooks:
            if hasattr(hook, "ema_model"):
                swapped = {
                    name: weights[name.removeprefix("module.")] if name.startswith("module.") else value
                    for name, value in averaged.items()
                }
                hook.ema_model.load_state_dict(swapped)
        weights |= own
    model.load_state_dict(weights)
    runner.optim_wrapper.load_state_dict(state["optimizer"])
    schedulers = runner.param_schedulers
    assert isinstance(schedulers, list)
    for scheduler, saved in zip(schedulers, state["param_schedulers"], strict=True):
        scheduler.load_state_dict(saved)
    loop.resume(int(state["iter"]), float(state["seconds"]))
    runner.optim_wrapper.initialize_count_status(runner.model, loop.iter, loop.max_iters)
