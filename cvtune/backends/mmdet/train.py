"""Training through MMEngine's Runner from the native file in the run directory."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, ValLoop
from torch import nn

from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.journal import Journal, evaluation_record
from cvtune.backends.mmdet.batches import seed_everything
from cvtune.backends.mmdet.collect import CollectResults
from cvtune.backends.mmdet.loop import TrainLoop
from cvtune.backends.mmdet.models import model_of_plan
from cvtune.backends.mmdet.runner import build_runner, read_config
from cvtune.backends.mmdet.weights import load_weights
from cvtune.backends.mmdet.weights_names import starting_weights
from cvtune.backends.saver import Saver
from cvtune.evaluation import Scorer
from cvtune.evaluation.engines import IouType
from cvtune.plan import Plan
from cvtune.runs import RunDir, read_json, write_text

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
    main = is_main_process()
    journal = Journal(run, list(plan["train.loggers"] or []), state.get("step", 0)) if main else None
    saver = Saver(run, _rules(plan), main)
    loop = TrainLoop(
        runner,
        config.train_cfg,
        run,
        plan.values,
        journal,
        saver,
        functools.partial(_prepare, run, plan, runner, state),
    )
    runner._train_loop = loop
    if run.data("val").exists():
        runner._val_loop = _validation(run, runner, config, plan, loop, journal)
    runner.train()
    if journal:
        journal.close()
        run.update_record(seconds=round(loop.seconds, 1), steps=loop.step)
    barrier()


def _rules(plan: Plan) -> dict[str, Any]:
    return {
        key: plan[f"train.checkpoint.{key}"] for key in ("every_epochs", "every_minutes", "every_iterations", "keep")
    }


def _validation(
    run: RunDir, runner: Runner, config: Any, plan: Plan, loop: TrainLoop, journal: Journal | None
) -> ValLoop:
    kinds: list[IouType] = ["bbox", "segm"] if plan["task"] == "segment" else ["bbox"]
    scorer = Scorer(run.data("val"), iou_types=kinds) if is_main_process() else None

    def score(results: list[dict[str, Any]]) -> dict[str, float]:
        assert scorer is not None
        scores = scorer.score(results)
        if journal:
            epoch = -(-loop.iter // loop.per_epoch)
            journal.evaluation(evaluation_record(scores, loop.step, epoch, loop.seconds), results)
        return {f"{kind}_{name}": scores[kind][name] for kind in kinds for name in ("AP", "AP50")}

    metric = CollectResults(run.class_map().names, score)
    from mmengine.evaluator import Evaluator

    return ValLoop(runner, config.val_dataloader, Evaluator([metric]))


def _prepare(run: RunDir, plan: Plan, runner: Runner, state: Mapping[str, Any], loop: TrainLoop) -> None:
    """Starting weights, or the state of a checkpoint, into a runner that has built everything."""
    model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if state:
        _restore(runner, model, state, loop)
    else:
        weights = starting_weights(plan["model.weights"], model_of_plan(plan))
        report = load_weights(model, weights)
        lines = list(report.lines())
        if is_main_process():
            print("\n".join(lines), flush=True)
            write_text(run.path / "weights.txt", "\n".join(lines) + "\n")
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
