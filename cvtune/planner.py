"""make_plan: spec + data + official recipe + machine -> Plan. Pure: reads no file, asks no device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cvtune.backends.base import Host, Recipe
from cvtune.classes import ClassMap
from cvtune.errors import SpecError
from cvtune.native_section import native_of
from cvtune.plan import Asker, Plan, is_pending, pending
from cvtune.plan_checks import OTHER_OPTIMIZER, check_optimizer, check_schedule
from cvtune.plan_schedule import plan_milestones, plan_warmup
from cvtune.spec import Spec

__all__ = ["batch_size_candidates", "make_plan"]

# The one length rule of `recipe: finetune`, in samples seen: 20,000, but at least 12 and at most 50 passes over the
# data, and never more than the official recipe. Detectors converge on a few hundred images within 50 passes; below
# 12 passes the learning-rate decay has no room. See docs/decisions/002-length-rule.md.
FINETUNE_SAMPLES = 20_000
FINETUNE_PASSES = (12, 50)
# From weights that already detect, half of the official rate: enough to move the new heads, gentle on the rest.
DETECTOR_LR_FRACTION = 0.5
# Batch statistics of fewer images than this a device are too noisy to train with (Wu and He, Group Normalization).
SMALL_BATCH = 16


def make_plan(
    spec: Spec,
    data: Mapping[str, Mapping[str, Any]],
    class_map: ClassMap,
    recipe: Recipe,
    host: Host | None,
    measured: Mapping[str, Any] | None = None,
) -> Plan:
    """Resolve every setting.

    Args:
        spec: what the user wrote.
        data: split -> summary of its canonical data (`images`, `annotations`, ...).
        class_map: the class lock.
        recipe: the official recipe of the spec's model.
        host: what the machine offers, or None: machine-dependent values are pending then.
        measured: values found by trial on the machine (``data.batch_size``, ``train.optimizer.lr``).

    Raises:
        SpecError: a requested device is not there.
    """
    return _Planner(spec, data, class_map, recipe, host, measured or {}).plan()


def batch_size_candidates(official: int, images: int, devices: int = 1) -> list[int]:
    """What `batch_size: auto` tries: powers of two a device, up to the official total, at least 16 steps an epoch."""
    largest = max(1, min(official, images // 16) // devices)
    return [devices << i for i in range(largest.bit_length())]


class _Planner:
    """Collects values and reasons key by key; later keys build on earlier ones."""

    def __init__(
        self,
        spec: Spec,
        data: Mapping[str, Mapping[str, Any]],
        class_map: ClassMap,
        recipe: Recipe,
        host: Host | None,
        measured: Mapping[str, Any],
    ) -> None:
        self.spec, self.data, self.class_map = spec, data, class_map
        self.recipe, self.host, self.measured = recipe, host, measured
        self.official = recipe.values
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self.askers: dict[str, Asker] = {}

    def plan(self) -> Plan:
        self._model()
        self._device()
        self._data()
        self._length()
        self._optimizer()
        self._schedule()
        self._training()
        self._evaluation()
        return Plan(self.values, self.reasons, self.class_map, self.data, self.recipe, self.host, self.askers)

    def _set(self, key: str, value: Any, reason: str, asked_by: Asker | None = None) -> None:
        """`asked_by`: who is behind a value that neither the spec's field of this key nor the official recipe gives."""
        self.values[key] = list(value) if isinstance(value, tuple) else value
        self.reasons[key] = reason
        self.askers.pop(key, None)
        if asked_by is not None:
            self.askers[key] = asked_by

    def _asker(self, key: str) -> Asker:
        return self.askers.get(key, (key, "spec"))

    def _given(self, key: str, value: Any, default: Any = None, why: str = "cvtune's default") -> None:
        """`value` where the spec gives one, else the official one, else `default`."""
        if value is not None:
            self._set(key, value, "spec")
        elif key in self.official:
            self._set(key, self.official[key], f"official: {self.recipe.source}")
        else:
            self._set(key, default, why)

    def _model(self) -> None:
        spec, model = self.spec, self.spec.model
        self._set("name", spec.name, "spec")
        self._set("backend", spec.backend, "spec")
        self._set("task", self.recipe.task, f"what {self.recipe.config} does")
        self._given("model.family", model.family)
        self._given("model.backbone", model.backbone)
        self._set("model.config", self.recipe.config, "the official config that is started from")
        self._set("model.weights", model.weights, "spec" if "weights" in model.model_fields_set else "cvtune's default")
        if model.frozen_stages != "auto":
            self._set("model.frozen_stages", model.frozen_stages, "spec")
        elif model.weights == "none":
            self._set("model.frozen_stages", None, "auto: random weights are all trained", ("model.weights", "spec"))
        else:
            self._given("model.frozen_stages", None)

    def _device(self) -> None:
        run, host = self.spec.run, self.host
        if host is None:
            rule = "cuda where the backend sees one, else cpu"
            self._set("run.device", run.device if run.device != "auto" else pending(rule), "not probed yet")
            self._set(
                "run.devices",
                run.devices if run.devices != "auto" else pending("all GPUs; one on a CPU"),
                "not probed yet",
            )
        else:
            if run.device == "cuda" and host.device != "cuda":
                raise SpecError("run.device: cuda was asked for, but the backend sees no CUDA device; use cpu or auto")
            device = host.device if run.device == "auto" else run.device
            self._set(
                "run.device",
                device,
                "spec" if run.device != "auto" else f"auto: {host.device_name}",
                (None if run.device != "auto" else ("run.device", "host")),
            )
            available = host.devices if device == "cuda" else 1
            if device == "cuda" and run.devices != "auto" and run.devices > available:
                raise SpecError(f"run.devices: {run.devices} were asked for, but this machine has {available}")
            if run.devices != "auto":
                self._set("run.devices", run.devices, "spec")
            else:
                why = "auto: all GPUs" if device == "cuda" else "auto: one process on a CPU"
                self._set("run.devices", available, why, ("run.devices", "host"))
        self._set("run.nodes", run.nodes, "spec" if "nodes" in run.model_fields_set else "cvtune's default")

    def _data(self) -> None:
        data = self.spec.data
        self._set(
            "data.classes",
            self.class_map.names,
            "spec" if data.classes != "auto" else "auto: the classes of the data",
            ("data.classes", "data"),
        )
        size = data.image_size
        for key in ("short", "long", "test_short", "sampling", "square", "fit"):
            own_square = size is not None and size.square and self.official.get("data.image_size.square")
            if size is not None and not (key == "fit" and own_square and "fit" not in size.model_fields_set):
                value = getattr(size, key)
                value = [value] if key == "short" and isinstance(value, int) else value
                self._set(f"data.image_size.{key}", value, "spec")
            else:
                self._given(f"data.image_size.{key}", None)
        for key in ("keep_empty_images", "crowd", "missing_masks", "skip_bad_images"):
            given = key in data.model_fields_set
            self._set(f"data.{key}", getattr(data, key), "spec" if given else "cvtune's default")
        key = "data.keep_empty_images"
        if self.spec.train.recipe == "official" and self.reasons[key] != "spec" and key in self.official:
            self._set(key, self.official[key], f"official: {self.recipe.source}")
        train = self.data["train"]
        empty = 0 if self.values[key] else int(train.get("empty_images", 0))
        kept = "all of them" if self.values[key] else "all that have objects"
        self._set(
            "data.train_images",
            int(train["images"]) - empty,
            "images that train: " + (f"{empty:,} without objects are left out" if empty else kept),
            ("data.train_images", "data"),
        )
        augment = None if data.augment is None else [dict(step) for step in data.augment]
        self._given("data.augment", augment, [], "the official recipe has none")
        self._batch_size()
        if data.workers != "auto":
            self._set("data.workers", data.workers, "spec")
        elif self.host is None:
            self._set("data.workers", pending("GPU: 4 a device, within the cores; CPU: none"), "not probed yet")
        elif self.values["run.device"] == "cuda":
            workers = max(1, min(4, self.host.cpus // max(1, self.values["run.devices"])))
            why = f"auto: {self.host.cpus} cores for {self.values['run.devices']} device(s)"
            self._set("data.workers", workers, why, ("data.workers", "host"))
        else:
            self._set(
                "data.workers", 0, "auto: on a CPU loaders would take the cores that train", ("data.workers", "host")
            )
        self._norm()

    def _batch_size(self) -> None:
        wanted, official = self.spec.data.batch_size, int(self.official["data.batch_size"])
        if wanted != "auto":
            self._set("data.batch_size", wanted, "spec")
        elif self.spec.train.recipe == "official":
            self._set("data.batch_size", official, f"official: {self.recipe.source}")
        elif "data.batch_size" in self.measured:
            self._set(
                "data.batch_size",
                self.measured["data.batch_size"],
                self.measured["reason"],
                ("data.batch_size", "host"),
            )
        else:
            devices = self.values["run.devices"]
            devices = 1 if is_pending(devices) else devices
            candidates = batch_size_candidates(official, self.values["data.train_images"], devices)
            rule = f"the largest of {candidates} that fits, tried by a step"
            self._set("data.batch_size", pending(rule), "found by trial before the first step")
        batch, processes = self.values["data.batch_size"], self.values["run.devices"]
        if not is_pending(batch) and not is_pending(processes) and batch % (processes * self.spec.run.nodes):
            raise SpecError(
                f"data.batch_size: {batch} is the total and does not divide among {processes * self.spec.run.nodes} "
                f"processes; use a multiple of {processes * self.spec.run.nodes}, or set run.devices"
            )

    def _norm(self) -> None:
        norm, batch = self.spec.model.norm, self.values["data.batch_size"]
        official = self.official.get("model.norm", "batch")
        if norm != "official":
            self._set("model.norm", norm, "spec")
        elif self.spec.train.recipe == "official" or official in {"frozen", "official"}:
            self._set("model.norm", official, f"official: {self.recipe.source}")
        elif self.spec.model.weights == "none":
            why = "random weights: frozen statistics would be meaningless"
            self._set("model.norm", "batch", why, ("model.weights", "spec"))
        elif is_pending(batch) or is_pending(self.values["run.devices"]):
            self._set("model.norm", pending(f"frozen below {SMALL_BATCH} images a device"), "waits for the batch size")
        elif batch / self.values["run.devices"] < SMALL_BATCH:
            why = f"fewer than {SMALL_BATCH} images a device: batch statistics are noise"
            self._set("model.norm", "frozen", why, self._asker("data.batch_size"))
        else:
            self._set("model.norm", official, f"official: {self.recipe.source}")

    def _length(self) -> None:
        train, batch = self.spec.train, self.values["data.batch_size"]
        images = int(self.values["data.train_images"])
        self._set("train.recipe", train.recipe, "spec" if "recipe" in train.model_fields_set else "cvtune's default")
        self._set(
            "train.accumulate",
            train.accumulate,
            "spec" if "accumulate" in train.model_fields_set else "cvtune's default",
        )
        steps = batch if is_pending(batch) else math.ceil(math.ceil(images / batch) / train.accumulate)
        self._set(
            "train.steps_per_epoch", steps, "ceil(images / batch size / accumulate)", ("data.train_images", "data")
        )
        if train.iterations is not None:
            self._set("train.iterations", train.iterations, "spec")
            epochs = steps if is_pending(steps) else math.ceil(train.iterations / steps)
            self._set("train.epochs", epochs, "iterations / steps an epoch, rounded up", ("train.iterations", "spec"))
            return
        if train.epochs is not None:
            self._set("train.epochs", train.epochs, "spec")
        elif train.recipe == "official" and "train.iterations" in self.official:
            iterations = int(self.official["train.iterations"])
            self._set("train.iterations", iterations, f"official: {self.recipe.source}")
            epochs = steps if is_pending(steps) else math.ceil(iterations / steps)
            self._set(
                "train.epochs", epochs, f"official: {iterations} steps, rounded up", ("data.train_images", "data")
            )
            return
        elif train.recipe == "official":
            self._set("train.epochs", self.official["train.epochs"], f"official: {self.recipe.source}")
        else:
            low, high = FINETUNE_PASSES
            samples = min(max(FINETUNE_SAMPLES, low * images), high * images)
            samples = min(samples, int(self.official["train.epochs"]) * self.recipe.dataset_images)
            epochs = max(1, math.ceil(samples / images))
            reason = f"finetune: {FINETUNE_SAMPLES:,} samples, within {low} to {high} passes over {images:,} images"
            self._set("train.epochs", epochs, reason + " and the official length", ("train.recipe", "spec"))
        total = steps if is_pending(steps) else steps * self.values["train.epochs"]
        self._set("train.iterations", total, "epochs x steps an epoch", self._asker("train.epochs"))

    def _optimizer(self) -> None:
        optimizer, train = self.spec.train.optimizer, self.spec.train
        for key in ("name", "momentum", "weight_decay"):
            self._given(f"train.optimizer.{key}", getattr(optimizer, key))
        name, official_name = self.values["train.optimizer.name"], self.official["train.optimizer.name"]
        batch = self.values["data.batch_size"]
        official_lr, official_batch = self.official["train.optimizer.lr"], self.official["data.batch_size"]
        base = f"official {official_lr:g}"
        if name != official_name and name in OTHER_OPTIMIZER:
            usual, why = OTHER_OPTIMIZER[name], f"{name} in place of the official {official_name}"
            for key in ("momentum", "weight_decay"):
                if getattr(optimizer, key) is None:
                    self._set(f"train.optimizer.{key}", usual[key], why, ("train.optimizer.name", "spec"))
            official_lr, official_batch, base = usual["lr"], 16, f"{usual['lr']:g} at batch 16 ({why})"
        check_optimizer(optimizer, name, self.recipe.config)
        key = "train.optimizer.lr"
        if optimizer.lr != "auto":
            self._set(key, optimizer.lr, "spec")
        elif key in self.measured:
            self._set(key, self.measured[key], self.measured["reason"], (key, "host"))
        elif is_pending(batch):
            self._set(key, pending(f"{base}, scaled by the batch"), "waits for the batch size")
        else:
            ratio = batch * train.accumulate / official_batch
            adam = name.startswith("adam")
            scale = math.sqrt(ratio) if adam else ratio
            root = "sqrt" if adam else ""
            reason = f"auto: {base} x {root}({batch * train.accumulate}/{official_batch}) for the batch"
            lr, asked_by = official_lr * scale, self._asker("data.batch_size")
            if official_lr != self.official[key]:
                asked_by = ("train.optimizer.name", "spec")
            if train.recipe == "finetune" and self._starts_from_a_detector():
                lr *= DETECTOR_LR_FRACTION
                reason += f" x {DETECTOR_LR_FRACTION} from detector weights"
                asked_by = ("train.recipe", "spec")
            self._set(key, float(lr) if lr == official_lr else float(f"{lr:.6g}"), reason, asked_by)

    def _starts_from_a_detector(self) -> bool:
        return self.spec.model.weights not in {"none", "imagenet"} and self.official.get("weights.scope") != "backbone"

    def _schedule(self) -> None:
        schedule, official = self.spec.train.schedule, self.official
        self._given("train.schedule.name", schedule.name)
        self._given("train.schedule.gamma", schedule.gamma)
        name = self.values["train.schedule.name"]
        check_schedule(schedule, name, self.recipe.config)
        total, steps = self.values["train.iterations"], self.values["train.steps_per_epoch"]
        length = None if is_pending(total) else int(total)
        per_epoch = None if is_pending(steps) else int(steps)
        milestones, why = plan_milestones(schedule, name, official, length, per_epoch)
        rule: Asker = ("train.schedule.name", "spec")
        asked_by = rule if name != "multistep" else self._asker("train.iterations")
        self._set("train.schedule.milestones", milestones, why, None if schedule.milestones is not None else asked_by)
        whole = self.spec.train.recipe == "official"
        warmup, why = plan_warmup(schedule, name, official, length, per_epoch, milestones, whole)
        key = "train.schedule.warmup_iterations"
        asked_by = rule if name == "onecycle" else (key, "data")
        self._set(key, warmup, why, asked_by if schedule.warmup_iterations == "auto" else None)
        key, lr = "train.schedule.min_lr", self.values["train.optimizer.lr"]
        floor = official.get(key) or 0.0
        if schedule.min_lr is not None or not floor or is_pending(lr):
            self._given(key, schedule.min_lr, 0.0)
        else:
            self._set(
                key,
                floor * lr / official["train.optimizer.lr"],
                "official, scaled as the lr",
                self._asker("train.optimizer.lr"),
            )

    def _training(self) -> None:
        train = self.spec.train
        self._given("train.gradient_clip", train.gradient_clip, None, "the official recipe does not clip")
        self._given("train.ema", train.ema, False, "the official recipe has none")
        device = self.values["run.device"]
        if train.precision != "auto":
            self._set("train.precision", train.precision, "spec")
        elif is_pending(device) or self.host is None:
            self._set(
                "train.precision", pending("CUDA: bf16 where the GPU has it, else fp16; CPU: fp32"), "not probed yet"
            )
        elif device == "cuda" and train.recipe == "official" and "train.precision" in self.official:
            self._set("train.precision", self.official["train.precision"], f"official: {self.recipe.source}")
        elif device == "cuda":
            self._set(
                "train.precision",
                "bf16" if self.host.bf16 else "fp16",
                "auto: mixed precision on CUDA",
                ("train.precision", "host"),
            )
        else:
            self._set(
                "train.precision",
                "fp32",
                "auto: on a CPU bf16 gained little and was unstable",
                ("train.precision", "host"),
            )
        stopping = train.early_stopping
        self._set(
            "train.early_stopping",
            stopping.model_dump() if stopping else None,
            "spec" if stopping else "cvtune's default",
        )
        given = train.checkpoint.model_fields_set
        for key in ("every_epochs", "every_minutes", "every_iterations", "keep"):
            self._set(
                f"train.checkpoint.{key}",
                getattr(train.checkpoint, key),
                "spec" if key in given else "cvtune's default",
            )
        best = train.checkpoint.best
        auto = "segm/AP" if self.recipe.task == "segment" else "bbox/AP"
        self._set(
            "train.checkpoint.best",
            auto if best == "auto" else best,
            "auto: the task's own AP" if best == "auto" else "spec",
        )
        for key in ("seed", "loggers", "log_every"):
            self._set(
                f"train.{key}", getattr(train, key), "spec" if key in train.model_fields_set else "cvtune's default"
            )

    def _evaluation(self) -> None:
        spec = self.spec.eval
        self._evaluation_period()
        for key in ("model_max_detections", "score_threshold", "nms_iou"):
            self._given(f"eval.{key}", getattr(spec, key))
        native = native_of(self.spec)
        self._set("native", native, "spec" if native else "nothing is merged")

    def _evaluation_period(self) -> None:
        """Epochs between two evaluations; an official recipe may count steps, and may score at the end alone."""
        key, spec, steps = "eval.every_epochs", self.spec.eval, self.values["train.steps_per_epoch"]
        period = self.official.get("eval.every_iterations")
        if "every_epochs" in spec.model_fields_set:
            self._set(key, spec.every_epochs, "spec")
        elif self.spec.train.recipe == "official" and key in self.official:
            self._set(key, self.official[key], f"official: {self.recipe.source}")
        elif period is None or not self.reasons["train.iterations"].startswith("official"):
            self._set(key, spec.every_epochs, "cvtune's default")
        elif self.spec.train.early_stopping is not None:
            self._set(key, spec.every_epochs, "train.early_stopping needs scores")
        elif not period:
            self._set(key, 0, f"official: at the end alone: {self.recipe.source}")
        elif is_pending(steps):
            self._set(key, pending(f"official: every {period} steps"), "waits for the batch size")
        else:
            self._set(key, max(1, round(period / steps)), f"official: every {period} steps: {self.recipe.source}")
