"""The training loop that MMEngine's Runner runs, read from top to bottom.

It calls MMEngine's hooks at the moments that its own loops do, and differs in what cvtune adds: it can begin in the
middle of an epoch, seeds every step, refuses losses that are not finite, stops when asked, and writes cvtune's files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, all_reduce_params, get_rank, get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop

from cvtune.backends.bookkeeping import Bookkeeper, Moment, loss_not_finite
from cvtune.backends.mmdet.batches import seed_everything, seeded_loader
from cvtune.runs import RunDir

__all__ = ["TrainLoop", "any_process"]


class TrainLoop(BaseLoop):  # type: ignore[misc, unused-ignore]
    """Epochs, or iterations, of training with validation in between.

    An iteration is one batch; a step is one update of the weights, after `accumulate` batches. `epoch` and `iter` count
    from 0, as MMEngine's hooks expect.
    """

    dataloader: Any

    def __init__(
        self,
        runner: Any,
        length: Mapping[str, Any],
        run: RunDir,
        plan: Mapping[str, Any],
        keeper: Bookkeeper,
        prepare: Callable[[TrainLoop], None],
    ) -> None:
        """`length` is the native `train_cfg`; `prepare` loads weights or a checkpoint before the first step."""
        super().__init__(runner, runner._train_dataloader)
        self.seed = int(runner.seed)
        self.dataloader, self.batches = seeded_loader(self.dataloader, self.seed, plan["data.skip_bad_images"])
        self.run_dir, self.plan, self.keeper, self.prepare = run, plan, keeper, prepare
        self.per_epoch = len(self.batches)
        self.by_epoch = "max_epochs" in length
        if self.by_epoch:
            self._max_epochs = int(length["max_epochs"])
            self._max_iters = self._max_epochs * self.per_epoch
        else:
            self._max_iters = int(length["max_iters"])
            self._max_epochs = math.ceil(self._max_iters / self.per_epoch)
        self.val_interval = int(length.get("val_interval", 1))
        self.val_begin = int(length.get("val_begin", 1))
        self.dynamic = [tuple(item) for item in length.get("dynamic_intervals") or ()]
        self.accumulate = int(plan["train.accumulate"])
        self.stop_training = False
        self.losses: list[Mapping[str, float]] = []  # of the batches of the step that runs
        self.seconds_before = 0.0
        self._epoch = self._iter = 0

    @property
    def max_epochs(self) -> int:
        """The run's length in epochs."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """The run's length in batches."""
        return self._max_iters

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Batches that are done."""
        return self._iter

    @property
    def step(self) -> int:
        """Updates of the weights that are done."""
        done = self._iter == self._max_iters and self._iter % self.accumulate
        return self._iter // self.accumulate + bool(done)

    def resume(self, iterations: int, seconds: float) -> None:
        """Go on after `iterations` batches, which took `seconds`."""
        self._iter, self._epoch = iterations, iterations // self.per_epoch
        self.seconds_before = seconds

    def run(self) -> torch.nn.Module:
        """Train to the end, or to a stop."""
        runner = self.runner
        self.prepare(self)
        self.keeper.begin(self.seconds_before)
        self.stop_training = self.keeper.is_over()
        runner.call_hook("before_train")
        if not self.by_epoch:
            runner.call_hook("before_train_epoch")
        while self._iter < self._max_iters and not self.stop_training:
            self.run_epoch()
        runner.call_hook("after_train")
        model: torch.nn.Module = runner.model
        return model

    def run_epoch(self) -> None:
        """Train on what is left of an epoch."""
        runner = self.runner
        skip = self._iter - self._epoch * self.per_epoch
        self.batches.begin(self._epoch, skip)
        if self.by_epoch:
            runner.call_hook("before_train_epoch")
        runner.model.train()
        for index, batch in enumerate(self.dataloader, start=skip):
            self.run_iter(index, batch)
            ends = index + 1 == self.per_epoch
            last = self._iter == self._max_iters
            if ends and self.by_epoch:
                runner.call_hook("after_train_epoch")
            if ends:
                self._epoch += 1
            self._after(ends, last)
            if last or self.stop_training:
                return

    def run_iter(self, index: int, batch: Any) -> None:
        """One batch: hooks, losses, backward, and an update where one is due."""
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=index, data_batch=batch)
        seed_everything(self.seed, "step", self._iter, get_rank())
        lr = _learning_rate(runner.optim_wrapper)
        outputs = runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
        losses = {name: float(value.detach()) for name, value in outputs.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise loss_not_finite(self.run_dir, self.step, losses, _paths(batch))
        runner.call_hook("after_train_iter", batch_idx=index, data_batch=batch, outputs=outputs)
        self._iter += 1
        self._log(losses, lr)

    def _after(self, epoch_ends: bool, last: bool) -> None:
        """What is due after a batch: a score, a checkpoint, a stop."""
        moment = Moment(self.step, self._epoch if epoch_ends else self._epoch + 1, epoch_ends, last)
        due = self._validation_is_due(epoch_ends)
        self.stop_training = self.keeper.after_step(moment, due, self._validate, self.content)
        self.runner.model.train()

    def _validation_is_due(self, epoch_ends: bool) -> bool:
        if not int(self.plan["eval.every_epochs"]):
            return False
        done = self._epoch if self.by_epoch else self._iter
        interval = self.val_interval
        for begin, every in self.dynamic:
            interval = every if done >= begin else interval
        return (epoch_ends or not self.by_epoch) and done >= self.val_begin and done % interval == 0

    def _validate(self) -> None:
        """Score the validation images, where there are some."""
        if self.runner.val_loop is not None:
            self._share_statistics()
            self.runner.val_loop.run()

    def _share_statistics(self) -> None:
        """One set of batch norm statistics, the mean over processes: what is scored is what is saved."""
        if get_world_size() == 1:
            return
        averaged = [hook.ema_model for hook in self.runner.hooks if hasattr(hook, "ema_model")]
        for model in (self.runner.model, *averaged):
            all_reduce_params([b for b in model.buffers() if b.is_floating_point()], op="mean")

    def content(self, whole: bool) -> dict[str, Any]:
        """What a checkpoint holds: whole ones what a resume needs, the others only what predicts.

        `state_dict` are the weights that predict: averaged ones where the run averages, as MMEngine's EMAHook puts
        them; the weights that train are then `ema_state_dict`.
        """
        runner = self.runner
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        content: dict[str, Any] = {
            "state_dict": {name: value.detach() for name, value in model.state_dict().items()},
            "step": self.step,
            "iter": self._iter,
            "seconds": self.keeper.seconds,
            "meta": {"dataset_meta": {"classes": list(self.plan["data.classes"])}, "epoch": self._epoch},
        }
        runner.call_hook("before_save_checkpoint", checkpoint=content)
        if not whole:
            content.pop("ema_state_dict", None)
            return content
        schedulers = runner.param_schedulers
        assert isinstance(schedulers, list)
        content["optimizer"] = runner.optim_wrapper.state_dict()
        content["param_schedulers"] = [scheduler.state_dict() for scheduler in schedulers]
        return content

    def _log(self, losses: Mapping[str, float], lr: float) -> None:
        """Write the mean losses of a step, once its last batch is done."""
        parts = {name: value for name, value in losses.items() if "loss" in name and name != "loss"}
        self.losses.append(parts or losses)
        if self._iter % self.accumulate == 0 or self._iter == self._max_iters:
            names = {name: None for losses in self.losses for name in losses}
            means = {name: sum(one.get(name, 0.0) for one in self.losses) / len(self.losses) for name in names}
            self.losses = []
            epoch = (self._iter - 1) // self.per_epoch + 1
            moment = Moment(self.step, epoch, epoch_ends=False, last=self._iter == self._max_iters)
            self.keeper.log(moment, lr, means, next(self.runner.model.parameters()).device)


def any_process(value: bool) -> bool:
    """Whether it is true on any process."""
    flag = torch.tensor(float(value))
    all_reduce(flag)
    return bool(flag.item() > 0)


def _learning_rate(optim_wrapper: Any) -> float:
    """The rate of the first group of parameters."""
    found = optim_wrapper.get_lr()
    values = found.get("base_lr") or next(iter(found.values()))
    return float(values[0])


def _paths(batch: Any) -> list[str]:
    """The image files of a batch."""
    samples = batch.get("data_samples") if isinstance(batch, Mapping) else None
    return [str(sample.metainfo.get("img_path", "?")) for sample in samples or []]
