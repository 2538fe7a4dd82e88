"""The detectron2 backend as the protocol wants it. Imports neither torch nor Detectron2 until it must."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cvtune.backends.base import Detection, Host, ModelInfo, NativeConfig, PredictImage, Recipe
from cvtune.backends.detectron2.fields import FIELDS
from cvtune.backends.detectron2.models import models as _models
from cvtune.backends.detectron2.probe import install_kernels
from cvtune.backends.detectron2.probe import probe as _probe
from cvtune.backends.detectron2.recipes import recipe as _recipe
from cvtune.backends.detectron2.translate import translate as _translate
from cvtune.backends.detectron2.zoo import INSTALL, left_out, published, zoo_names
from cvtune.plan import Plan
from cvtune.runs import RunDir
from cvtune.spec import Spec

__all__ = [
    "fields",
    "find_lr",
    "install",
    "models",
    "name",
    "predict",
    "probe",
    "recipe",
    "register",
    "step_memory",
    "train",
    "translate",
    "zoo",
]

name = "detectron2"
fields = FIELDS
install = INSTALL


def zoo() -> Mapping[str, Mapping[str, Any]]:
    """Every official config that `model.zoo` may name -> what is published for it."""
    return {name: published(name) for name in zoo_names() if left_out(name) is None}


def models() -> Mapping[str, ModelInfo]:
    """Family name -> backbones, official configs, published scores."""
    return _models()


def probe() -> Host:
    """What Detectron2, its kernels and the machine offer here."""
    return _probe()


def recipe(spec: Spec) -> Recipe:
    """The recipe of the official config."""
    return _recipe(spec)


def register(run: RunDir) -> None:
    """Let Detectron2's own tools find the run's data by the names in the native file."""
    install_kernels()
    from cvtune.backends.detectron2.register import register as put

    put(run)


def translate(plan: Plan) -> NativeConfig:
    """The native file and its differences from the official config."""
    return _translate(plan)


def step_memory(run: RunDir) -> int:
    """Peak bytes of one training step."""
    install_kernels()
    from cvtune.backends.detectron2.trial import step_memory as measure

    return measure(run)


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    """(learning rate, smoothed loss) pairs."""
    install_kernels()
    from cvtune.backends.detectron2.trial import find_lr as find

    return find(run)


def train(run: RunDir, resume: bool) -> None:
    """Train from the native file."""
    install_kernels()
    from cvtune.backends.detectron2.train import train as run_training

    run_training(run, resume)


def predict(run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
    """Detections in original pixels."""
    install_kernels()
    from cvtune.backends.detectron2.predict import predict as run_prediction

    return run_prediction(run, checkpoint, images)
