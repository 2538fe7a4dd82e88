"""The recipe side of a translation: length, batch, optimizer, schedule, hooks that switch late in a run, precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cvtune.backends.edits import Edits
from cvtune.backends.mmdet.recipes import main_scheduler, warmup_of
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["LATE_SHARE", "translate_schedule"]

LATE_SHARE = 0.1
"""Phases of a recipe's last epochs (YOLOX 15, RTMDet 20 of 300) are at most this share of a shorter run."""
_OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}
_EMA = {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.001, "update_buffers": True, "priority": 49}
EMA_GAMMA = 2000
"""MMEngine's default horizon of the warm-up of ExpMomentumEMA, in iterations."""
EMA_WARM_UP = 5
"""A run's length over that horizon: at its end little is left of the warm-up (e^-5), yet the start is forgotten. With
the default horizon, the average of a run of a thousand iterations is its last weights."""
_VIS_BACKENDS = {"tensorboard": "TensorboardVisBackend", "mlflow": "MLflowVisBackend", "wandb": "WandbVisBackend"}


def translate_schedule(edits: Edits, plan: Plan) -> None:
    """Honour the spec's `train` fields, the batch size and the evaluation interval."""
    _batch(edits, plan)
    length = _Length(edits, plan)
    length.apply()
    _optimizer(edits, plan)
    _schedule(edits, plan, length)
    _late_phases(edits, plan, length)
    _ema(edits, plan, length)
    _precision(edits, plan)
    _steps(edits, plan)
    _hooks(edits, plan)


def _batch(edits: Edits, plan: Plan) -> None:
    if plan.recipe_is_official("data.batch_size"):
        return
    processes = int(plan["run.devices"]) * int(plan["run.nodes"])
    share = int(plan["data.batch_size"]) // processes
    edits.set(("train_dataloader", "batch_size"), share, "data.batch_size", _kind(plan, "data.batch_size"))


def _kind(plan: Plan, key: str) -> Any:
    return "spec" if plan.reasons[key] == "spec" else "host"


class _Length:
    """How long the run is, in iterations of the framework: with accumulation, one is a part of a step."""

    def __init__(self, edits: Edits, plan: Plan) -> None:
        self.edits, self.plan = edits, plan
        config = edits.config
        self.official = plan.recipe_is_official("train.epochs") and plan.recipe_is_official("train.iterations")
        train = config["train_cfg"]
        self.by_iteration = "max_iters" in train
        self.official_length = int(train["max_iters"] if self.by_iteration else train["max_epochs"])
        accumulate = int(plan["train.accumulate"])
        images, batch = int(plan["data.train_images"]), int(plan["data.batch_size"])
        self.per_epoch = math.ceil(images / batch)
        self.epochs = int(plan["train.epochs"])
        whole = plan["train.iterations"] == plan["train.steps_per_epoch"] * self.epochs
        self.iterations = self.per_epoch * self.epochs if whole else int(plan["train.iterations"]) * accumulate
        self.whole = whole
        self.field = "train.iterations" if not whole else "train.epochs"
        if plan.reasons[self.field].split(":")[0] not in ("spec", "official"):
            self.field = "train.recipe"
        self.ratio = 1.0

    def apply(self) -> None:
        """Change the loop's length and the evaluation interval."""
        edits, plan = self.edits, self.plan
        every = int(plan["eval.every_epochs"])
        asked = not plan.recipe_is_official("eval.every_epochs")
        if self.official:
            if asked and plan.reasons["eval.every_epochs"] == "spec":
                edits.set(("train_cfg", "val_interval"), self._interval(every), "eval.every_epochs")
            return
        for path in _wrappers(edits):
            if edits.get((*path, "times")) is not None:
                edits.set((*path, "times"), 1, self.field)
        if self.by_iteration or not self.whole:
            self._by_iteration(every)
        else:
            self.ratio = self.epochs / self.official_length
            edits.set(("train_cfg", "max_epochs"), self.epochs, self.field)
            edits.set(("train_cfg", "val_interval"), self._interval(every), "eval.every_epochs")
        edits.remove(("train_cfg", "dynamic_intervals"), "eval.every_epochs")
        if edits.get(("train_cfg", "val_begin")) is not None:
            edits.remove(("train_cfg", "val_begin"), "eval.every_epochs")

    def _by_iteration(self, every: int) -> None:
        edits = self.edits
        if not self.by_iteration:
            late = [hook["type"] for hook in edits.get(("custom_hooks",)) or [] if hook["type"] in _LATE_HOOKS]
            if late:
                raise UnsupportedError(
                    f"train.iterations: backend mmdet: {self.plan['model.config']} changes its pipeline at an epoch "
                    f"({late[0]}), and {self.plan['train.iterations']} steps are no whole number of epochs of "
                    f"{self.plan['train.steps_per_epoch']}; nearest: train.epochs: {self.epochs}"
                )
            self.ratio = self.iterations / (self.official_length * self.per_epoch)
            edits.remove(("train_cfg", "max_epochs"), self.field)
            edits.set(("train_cfg", "type"), "IterBasedTrainLoop", self.field)
        else:
            self.ratio = self.iterations / self.official_length
        edits.set(("train_cfg", "max_iters"), self.iterations, self.field)
        edits.set(("train_cfg", "val_interval"), self._interval(every), "eval.every_epochs")

    def _interval(self, every: int) -> int:
        """The interval in the loop's own unit; only at the end where `every` is 0."""
        if "max_iters" in self.edits.get(("train_cfg",)):
            return every * self.per_epoch if every else max(1, self.iterations)
        return every or max(1, self.epochs)


def _wrappers(edits: Edits) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = []
    path: tuple[str | int, ...] = ("train_dataloader", "dataset")
    while edits.get(path):
        found.append(path)
        path = (*path, "dataset")
    return found


def _optimizer(edits: Edits, plan: Plan) -> None:
    path = ("optim_wrapper", "optimizer")
    name = plan["train.optimizer.name"]
    if name != str(edits.get((*path, "type"))).lower():
        wanted = {"type": _OPTIMIZERS[name], "lr": plan["train.optimizer.lr"]}
        wanted |= {"weight_decay": plan["train.optimizer.weight_decay"] or 0.0}
        if name == "sgd":
            wanted["momentum"] = plan["train.optimizer.momentum"] or 0.9
        edits.set(path, wanted, "train.optimizer.name")
        return
    for key in ("lr", "momentum", "weight_decay"):
        field = f"train.optimizer.{key}"
        value = plan[field]
        if value is not None and value != plan.recipe.values.get(field):
            asked = field if plan.reasons[field] == "spec" else "data.batch_size"
            edits.set((*path, key), value, asked, "spec" if asked == field else _kind(plan, asked))


def _schedule(edits: Edits, plan: Plan, length: _Length) -> None:
    fields = [f"train.schedule.{key}" for key in ("name", "milestones", "gamma", "min_lr")]
    asked = next((field for field in fields if plan.reasons[field] == "spec"), None)
    if asked is not None:
        edits.replace_list(("param_scheduler",), _own_schedule(plan, length), asked)
        return
    if length.official and plan.reasons["train.schedule.warmup_iterations"] != "spec":
        _scale_floor(edits, plan)
        return
    schedulers, _ = main_scheduler(edits.config)
    warmup, _ = warmup_of(edits.config)
    official = [dict(item) for item in schedulers]
    for index, item in enumerate(schedulers):
        if index == warmup:
            _scale_warmup(item, plan)
        elif not length.official:
            _scale(item, length)
    if warmup is not None:
        _follow_warmup(schedulers, official, warmup, length)
    if schedulers != official:
        field = length.field if not length.official else "train.schedule.warmup_iterations"
        edits.replace_list(("param_scheduler",), schedulers, field, "spec")
    _scale_floor(edits, plan)


def _own_schedule(plan: Plan, length: _Length) -> list[dict[str, Any]]:
    """A schedule of the spec's own, in iterations: the warm-up, then the rule."""
    accumulate = int(plan["train.accumulate"])
    warm = int(plan["train.schedule.warmup_iterations"]) * accumulate
    total, name = length.iterations, plan["train.schedule.name"]
    schedulers: list[dict[str, Any]] = []
    if warm and name != "onecycle":
        schedulers.append({"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": warm})
    if name == "multistep":
        milestones = sorted({max(1, round(m * length.per_epoch)) for m in plan["train.schedule.milestones"]})
        gamma = plan["train.schedule.gamma"]
        schedulers.append(
            {
                "type": "MultiStepLR",
                "by_epoch": False,
                "begin": 0,
                "end": total,
                "milestones": milestones,
                "gamma": 0.1 if gamma is None else gamma,
            }
        )
    elif name == "cosine":
        schedulers.append(
            {
                "type": "CosineAnnealingLR",
                "by_epoch": False,
                "begin": warm,
                "end": total,
                "T_max": max(1, total - warm),
                "eta_min": float(plan["train.schedule.min_lr"] or 0.0),
            }
        )
    elif name == "onecycle":
        lr = float(plan["train.optimizer.lr"])
        schedulers.append({"type": "OneCycleLR", "by_epoch": False, "eta_max": lr, "total_steps": total})
    return schedulers


def _scale(item: dict[str, Any], length: _Length) -> None:
    """Move a scheduler's epochs or iterations with the length of the run.

    A scheduler by epoch stays one where every number stays whole; else it becomes one by iteration.
    """
    by_epoch = item.get("by_epoch", True)
    keys = [key for key in ("begin", "end", "T_max", "step_size") if item.get(key) is not None]
    values = {key: float(item[key]) * length.ratio for key in keys}
    steps = [float(step) * length.ratio for step in item.get("milestones", [])]
    if by_epoch and "max_epochs" in length.edits.get(("train_cfg",)):
        numbers = [*values.values(), *steps]
        if all(abs(number - round(number)) < 1e-9 for number in numbers):
            _put(item, {key: round(value) for key, value in values.items()}, [round(step) for step in steps])
            return
    unit = _unit(length, by_epoch)
    _put(
        item,
        {key: round(value * unit) for key, value in values.items()},
        sorted({round(step * unit) for step in steps}),
    )
    if "T_max" in item:
        item["T_max"] = max(1, item["T_max"])
    item["by_epoch"] = False
    item.pop("convert_to_iter_based", None)


def _unit(length: _Length, by_epoch: bool) -> float:
    """Iterations in a scaled epoch of the official config, or in a scaled iteration."""
    return length.iterations / (length.official_length * length.ratio) if by_epoch else 1.0


def _put(item: dict[str, Any], values: Mapping[str, int], steps: list[int]) -> None:
    item.update(values)
    if steps:
        item["milestones"] = steps


def _scale_warmup(item: dict[str, Any], plan: Plan) -> None:
    iterations = int(plan["train.schedule.warmup_iterations"]) * int(plan["train.accumulate"])
    if item.get("by_epoch", True):
        if iterations == plan.recipe.values.get("train.schedule.warmup_iterations"):
            return
        item["by_epoch"] = False
        item.pop("convert_to_iter_based", None)
    item["end"] = max(1, iterations)


def _follow_warmup(
    schedulers: list[dict[str, Any]], official: list[dict[str, Any]], warmup: int, length: _Length
) -> None:
    """A scheduler that began where the warm-up ended still does."""
    before, after = official[warmup], schedulers[warmup]
    for old, new in zip(official, schedulers, strict=True):
        same_unit = old.get("by_epoch", True) == before.get("by_epoch", True)
        if old is before or not same_unit or not old.get("begin") or old["begin"] != before.get("end"):
            continue
        if new.get("by_epoch", True) and not after.get("by_epoch", True):
            unit = _unit(length, True)
            for key in ("begin", "end", "T_max"):
                if new.get(key) is not None:
                    new[key] = round(float(new[key]) * unit)
            new["by_epoch"] = False
            new.pop("convert_to_iter_based", None)
        new["begin"] = after["end"]


def _scale_floor(edits: Edits, plan: Plan) -> None:
    """An absolute lowest rate moves with the rate."""
    official, lr = plan.recipe.values.get("train.optimizer.lr"), plan["train.optimizer.lr"]
    if not official or lr == official:
        return
    for index, item in enumerate(edits.get(("param_scheduler",)) or []):
        if item.get("eta_min"):
            value = item["eta_min"] * lr / official
            edits.set(("param_scheduler", index, "eta_min"), value, "train.optimizer.lr")


_LATE_HOOKS = ("YOLOXModeSwitchHook", "PipelineSwitchHook")


def _late_phases(edits: Edits, plan: Plan, length: _Length) -> None:
    """What happens in the last epochs of the official run happens in the last epochs of this one."""
    if length.official or "max_epochs" not in edits.get(("train_cfg",)):
        return
    most = max(1, math.ceil(LATE_SHARE * length.epochs))
    for index, hook in enumerate(edits.get(("custom_hooks",)) or []):
        if hook["type"] == "YOLOXModeSwitchHook":
            last = min(int(hook.get("num_last_epochs", 15)), most)
            edits.set(("custom_hooks", index, "num_last_epochs"), last, length.field)
        elif hook["type"] == "PipelineSwitchHook":
            last = min(max(0, length.official_length - int(hook["switch_epoch"])), most)
            edits.set(("custom_hooks", index, "switch_epoch"), length.epochs - last, length.field)


def _ema(edits: Edits, plan: Plan, length: _Length) -> None:
    hooks = edits.get(("custom_hooks",)) or []
    at = next((index for index, hook in enumerate(hooks) if hook["type"] == "EMAHook"), None)
    if plan.reasons["train.ema"] == "spec":
        wanted = plan["train.ema"]
        if not wanted:
            if at is not None:
                edits.replace_list(("custom_hooks",), hooks[:at] + hooks[at + 1 :], "train.ema")
            return
        momentum = _EMA["momentum"] if wanted is True else round(1.0 - float(wanted), 9)
        gamma = max(1, min(EMA_GAMMA, round(length.iterations / EMA_WARM_UP)))
        if at is None:
            hook = {**_EMA, "momentum": momentum, "gamma": gamma}
            edits.replace_list(("custom_hooks",), [*hooks, hook], "train.ema")
        elif wanted is not True:
            edits.set(("custom_hooks", at, "momentum"), momentum, "train.ema")
            if hooks[at].get("ema_type") == "ExpMomentumEMA" and gamma < EMA_GAMMA:
                edits.set(("custom_hooks", at, "gamma"), gamma, "train.ema")
        return
    if at is None or length.official:
        return
    # The average's horizon, 1 / momentum, and its warm-up keep their share of the run.
    shorter = max(1.0, _official_iterations(plan, length) / length.iterations)
    if shorter > 1:
        momentum = min(0.1, float(hooks[at].get("momentum", 0.0002)) * shorter)
        edits.set(("custom_hooks", at, "momentum"), float(f"{momentum:.4g}"), length.field)
        if hooks[at].get("ema_type") == "ExpMomentumEMA":
            gamma = max(1, round(EMA_GAMMA / shorter))
            edits.set(("custom_hooks", at, "gamma"), gamma, length.field)


def _official_iterations(plan: Plan, length: _Length) -> float:
    if length.by_iteration:
        return length.official_length
    images, batch = plan.recipe.dataset_images, int(plan.recipe.values["data.batch_size"])
    return int(plan.recipe.values["train.epochs"]) * images / batch


def _precision(edits: Edits, plan: Plan) -> None:
    precision, device = plan["train.precision"], plan["run.device"]
    path = ("optim_wrapper",)
    amp = edits.get((*path, "type")) == "AmpOptimWrapper"
    if plan.recipe_is_official("train.precision") and device == "cuda":
        return
    kind = _kind(plan, "train.precision")
    if precision != "fp32" and device == "cpu":
        raise UnsupportedError(
            f"train.precision: backend mmdet cannot do {precision} on a CPU (MMEngine's AMP needs CUDA); nearest: fp32"
        )
    if precision == "fp32":
        if amp:
            edits.set((*path, "type"), "OptimWrapper", "train.precision", kind)
            for key in ("loss_scale", "dtype", "use_fsdp"):
                edits.remove((*path, key), "train.precision", kind)
        return
    edits.set((*path, "type"), "AmpOptimWrapper", "train.precision", kind)
    if precision == "bf16":
        edits.set((*path, "dtype"), "bfloat16", "train.precision", kind)
        edits.remove((*path, "loss_scale"), "train.precision", kind)
    else:
        edits.remove((*path, "dtype"), "train.precision", kind)
        if edits.get((*path, "loss_scale")) is None:
            edits.set((*path, "loss_scale"), "dynamic", "train.precision", kind)


def _steps(edits: Edits, plan: Plan) -> None:
    if plan.reasons["train.gradient_clip"] == "spec":
        clip = {"max_norm": plan["train.gradient_clip"], "norm_type": 2}
        edits.set(("optim_wrapper", "clip_grad"), clip, "train.gradient_clip")
    if int(plan["train.accumulate"]) > 1:
        edits.set(("optim_wrapper", "accumulative_counts"), int(plan["train.accumulate"]), "train.accumulate")
    if edits.get(("auto_scale_lr", "enable")):
        edits.set(("auto_scale_lr", "enable"), False, "train.optimizer.lr")


def _hooks(edits: Edits, plan: Plan) -> None:
    """Seed, logging, checkpoints, early stopping: what the framework's own tool does with them, too."""
    if not plan.recipe_is_official("train.seed"):
        edits.set(("randomness",), {"seed": int(plan["train.seed"])}, "train.seed")
    if not plan.recipe_is_official("train.log_every"):
        edits.set(("default_hooks", "logger", "interval"), int(plan["train.log_every"]), "train.log_every")
    path = ("default_hooks", "checkpoint")
    by_iteration = "max_iters" in edits.get(("train_cfg",))
    if plan.reasons["train.checkpoint.every_epochs"] == "spec" and not by_iteration:
        edits.set((*path, "interval"), int(plan["train.checkpoint.every_epochs"]), "train.checkpoint.every_epochs")
    if plan.reasons["train.checkpoint.keep"] == "spec" and plan["train.checkpoint.keep"]:
        edits.set((*path, "max_keep_ckpts"), int(plan["train.checkpoint.keep"]), "train.checkpoint.keep")
    if plan.reasons["train.checkpoint.best"] == "spec":
        edits.set((*path, "save_best"), coco_metric(plan["train.checkpoint.best"]), "train.checkpoint.best")
    stopping = plan["train.early_stopping"]
    hooks = edits.get(("custom_hooks",)) or []
    if stopping:
        hook = {
            "type": "EarlyStoppingHook",
            "monitor": coco_metric(stopping["metric"]),
            "rule": "greater",
            "patience": int(stopping["patience"]),
        }
        edits.replace_list(("custom_hooks",), [*hooks, hook], "train.early_stopping")
    loggers = plan["train.loggers"] or []
    if loggers:
        # For MMDetection's own tools: cvtune's worker logs by itself, and gives its Runner none of these.
        backends = [dict(item) for item in edits.get(("visualizer", "vis_backends")) or []]
        wanted = [*backends, *({"type": _VIS_BACKENDS[name]} for name in loggers)]
        edits.replace_list(("visualizer", "vis_backends"), wanted, "train.loggers")


def coco_metric(name: str) -> str:
    """CocoMetric's name of a score such as ``bbox/AP50``."""
    kind, score = name.split("/")
    known = {"AP": "mAP", "AP50": "mAP_50", "AP75": "mAP_75", "APs": "mAP_s", "APm": "mAP_m", "APl": "mAP_l"}
    if score not in known:
        raise UnsupportedError(
            f"train: backend mmdet cannot select by {name}; nearest: {kind}/AP (CocoMetric reports APs)"
        )
    return f"coco/{kind}_{known[score]}"
