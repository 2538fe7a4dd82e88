"""Trackers beside log.jsonl: TensorBoard, MLflow, Weights & Biases. Each gets the same numbers and sample pictures.

Ids that a resumed run needs lie in the run directory's loggers.json. A tracker that fails while training is a warning
and is left out from then on; one that cannot be opened is an error before the first step.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cvtune.errors import MissingDependencyError, RunError
from cvtune.runs import RunDir, read_json, write_json

__all__ = ["Logger", "Loggers", "check_loggers"]

# Spec name -> the module that is imported and the package that brings it.
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "wandb": ("wandb",) * 2,
}
# MLflow's limits of one request.
BATCH, LONGEST_VALUE = 100, 500


class Logger(Protocol):
    """One tracker of one run. `again`: a resumed run tells it the steps that it repeats, as it may have lost them."""

    again: bool

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers under their names, such as ``losses/loss_box_reg``."""

    def images(self, paths: Sequence[Path], step: int) -> None:
        """Log the sample predictions, JPEG files, as ``samples/1``, ``samples/2``, ..."""

    def close(self) -> None:
        """Flush, and mark the tracker's run as finished."""


def check_loggers(names: Sequence[str]) -> None:
    """Look for the packages of `train.loggers`.

    Raises:
        MissingDependencyError: one is not installed.
    """
    missing = [PACKAGES[name][1] for name in names if not _installed(PACKAGES[name][0])]
    if missing:
        raise MissingDependencyError(
            f"train.loggers: {', '.join(names)}: {' and '.join(missing)} not installed; install with "
            f"`pip install {' '.join(missing)}`, or leave it out: log.jsonl is always written"
        )


def _installed(module: str) -> bool:
    """Whether it is a package: a folder of that name, such as W&B's own output, has a spec too, but no origin."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


class Loggers:
    """All trackers of a run."""

    def __init__(self, run: RunDir, names: Sequence[str], step: int, logged: Mapping[str, int]) -> None:
        """Open them.

        Args:
            run: the run directory; what the trackers write locally lies in it.
            names: tensorboard, mlflow, wandb.
            step: where the training begins, 0 or that of the checkpoint.
            logged: kind of record -> the last step that a killed run logged. A resumed run repeats it exactly, so a
                tracker that has them for sure is not told again.

        Raises:
            MissingDependencyError: a package is not installed, or is broken.
            RunError: a tracker refuses: no connection, wrong credentials.
        """
        check_loggers(names)
        memory = read_json(run.loggers) if run.loggers.exists() else {}
        sent = memory.get("sent", {})
        self.sent = {kind: max(last, int(sent.get(kind, 0))) for kind, last in logged.items()}
        self.open: dict[str, Logger] = {}
        for name in names:
            try:
                self.open[name] = _MAKERS[name](run, step, memory)
            except ImportError as error:
                package = PACKAGES[name][1]
                raise MissingDependencyError(
                    f"train.loggers: {name} is installed but broken: {error}; mend it with "
                    f"`pip install --force-reinstall {package}`"
                ) from error
            except Exception as error:
                raise RunError(
                    f"train.loggers: {name} cannot be opened: {_line(error)}; mend it, or leave it out"
                ) from error
        if names:
            write_json(run.loggers, memory | {"sent": self.sent})

    def send(self, kind: str, values: Mapping[str, float], step: int, images: Sequence[Path] = ()) -> None:
        """Hand the numbers of a record of `kind`, and pictures, to every tracker."""
        for name, logger in list(self.open.items()):
            if step <= self.sent.get(kind, 0) and not logger.again:
                continue
            try:
                logger.scalars(values, step)
                if images:
                    logger.images(images, step)
            except Exception as error:  # a server that is down is no reason to lose a training
                print(f"warning: {name} gets nothing more from step {step} on: {_line(error)}", flush=True)
                del self.open[name]

    def close(self) -> None:
        """Close every tracker."""
        for name, logger in self.open.items():
            try:
                logger.close()
            except Exception as error:
                print(f"warning: {name} was not closed: {_line(error)}", flush=True)


class _TensorBoard:
    """Event files in the run directory. A resumed run makes TensorBoard forget what comes after its checkpoint."""

    again = True

    def __init__(self, run: RunDir, step: int, memory: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def images(self, paths: Sequence[Path], step: int) -> None:
        import numpy as np
        from PIL import Image

        for number, path in enumerate(paths, start=1):
            with Image.open(path) as image:
                self.writer.add_image(f"samples/{number}", np.asarray(image), step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class _MLflow:
    """A run of the server at MLFLOW_TRACKING_URI, else of a store of files in the run directory."""

    again = False

    def __init__(self, run: RunDir, step: int, memory: dict[str, Any]) -> None:
        # No word to anyone whom the user did not name.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        given = os.environ.get("MLFLOW_TRACKING_URI")
        uri = given or (run.path / "mlflow").as_uri()
        if "://" not in uri or uri.startswith("file:"):
            # MLflow 3 reads and writes plain files only where asked to.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import entities
        from mlflow.tracking import MlflowClient

        self.entities: Any = entities
        self.client: Any = MlflowClient(tracking_uri=uri)
        known = memory.get("mlflow", {})
        self.run_id = known.get("run_id") if known.get("tracking_uri") == given else None
        if self.run_id:
            self.client.update_run(self.run_id, status="RUNNING")
        else:
            self.run_id = self._create(run)
        memory["mlflow"] = {"tracking_uri": given, "run_id": self.run_id}
        atexit.register(self._fail)

    def _create(self, run: RunDir) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "cvtune"
        experiment = self.client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self.client.create_experiment(name)
        run_id: str = self.client.create_run(number, run_name=run.path.name).info.run_id
        texts = [(key, str(value)[:LONGEST_VALUE]) for key, value in _settings(run).items()]
        params = [self.entities.Param(key, text) for key, text in texts]
        for start in range(0, len(params), BATCH):
            self.client.log_batch(run_id, params=params[start : start + BATCH])
        return run_id

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self.entities.Metric(name, float(value), now, step) for name, value in values.items()]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])

    def images(self, paths: Sequence[Path], step: int) -> None:
        for path in paths:
            self.client.log_artifact(self.run_id, str(path), f"samples/{path.parent.name}")

    def close(self) -> None:
        atexit.unregister(self._fail)
        self.client.set_terminated(self.run_id, "FINISHED")

    def _fail(self) -> None:
        """The process ends and `close` was not called: an error stopped the training."""
        self.client.set_terminated(self.run_id, "FAILED")


class _Wandb:
    """A run of Weights & Biases: as WANDB_MODE says, else online where there is an API key, else offline.

    It writes its file every 15 seconds, so a kill loses some steps; a step that it gets twice has the same numbers.
    """

    again = True

    def __init__(self, run: RunDir, step: int, memory: dict[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.wandb: Any = wandb
        number = memory.get("wandb", {}).get("id") or uuid.uuid4().hex[:8]
        open_run = self._opener(run, number)
        try:
            self.run: Any = open_run(None)
        except self.wandb.errors.UsageError as error:
            if os.environ.get("WANDB_MODE"):
                raise
            print(
                f"wandb: offline ({_line(error)}); `wandb sync {run.path}/wandb/offline-run-*` uploads it", flush=True
            )
            self.run = open_run("offline")
        # Its own step may only rise; ours is a column, so that a resumed run can go on from its checkpoint.
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")
        memory["wandb"] = {"id": number}

    def _opener(self, run: RunDir, number: str) -> Callable[[str | None], Any]:
        def open_run(mode: str | None) -> Any:
            return self.wandb.init(
                project=os.environ.get("WANDB_PROJECT") or "cvtune",
                name=run.path.name,
                id=number,
                # Offline nobody can look whether there is one.
                resume=None if "offline" in (mode, os.environ.get("WANDB_MODE")) else "allow",
                dir=str(run.path),
                config=_settings(run),
                mode=mode,
                reinit="create_new",
                settings=self.wandb.Settings(console="off", silent=True),
            )

        return open_run

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({"step": step, **values})

    def images(self, paths: Sequence[Path], step: int) -> None:
        pictures = {f"samples/{number}": self.wandb.Image(str(path)) for number, path in enumerate(paths, start=1)}
        self.run.log({"step": step, **pictures})

    def close(self) -> None:
        self.run.finish()


_MAKERS: dict[str, Callable[[RunDir, int, dict[str, Any]], Logger]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _Wandb,
}


def _settings(run: RunDir) -> dict[str, Any]:
    """The plan's values under their dotted keys."""
    values = read_json(run.plan)["values"] if run.plan.exists() else {}
    return {key: setting["value"] for key, setting in values.items() if setting["value"] is not None}


def _line(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
