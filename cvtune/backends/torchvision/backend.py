"""The torchvision backend as the protocol wants it. Imports no torch until it must.

These functions are not in the package's `__init__`: there, importing the submodule `train` would replace the function.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cvtune.backends.base import Detection, Host, ModelInfo, NativeConfig, PredictImage, Recipe
from cvtune.backends.torch_host import torch_host
from cvtune.backends.torchvision.models import models as _models
from cvtune.backends.torchvision.recipes import recipe as _recipe
from cvtune.backends.torchvision.translate import FIELDS
from cvtune.backends.torchvision.translate import translate as _translate
from cvtune.plan import Plan
from cvtune.runs import RunDir
from cvtune.spec import Spec

__all__ = ["fields", "find_lr", "models", "name", "predict", "probe", "recipe", "step_memory", "train", "translate"]

name = "torchvision"
fields = FIELDS


def models() -> Mapping[str, ModelInfo]:
    """Family name -> backbones, official configs, published scores."""
    return _models()


def probe() -> Host:
    """What torch and torchvision offer here."""
    return torch_host()


def recipe(spec: Spec) -> Recipe:
    """The recipe of torchvision's own training references."""
    return _recipe(spec)


def translate(plan: Plan) -> NativeConfig:
    """config.yaml and its differences from the official recipe."""
    return _translate(plan)


def step_memory(run: RunDir) -> int:
    """Peak bytes of one training step."""
    from cvtune.backends.torchvision.trial import step_memory as measure

    return measure(run)


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    """(learning rate, smoothed loss) pairs."""
    from cvtune.backends.torchvision.trial import find_lr as find

    return find(run)


def train(run: RunDir, resume: bool) -> None:
    """Train from config.yaml."""
    from cvtune.backends.torchvision.train import train as run_training

    run_training(run, resume)


def predict(run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
    """Detections in original pixels."""
    from cvtune.backends.torchvision.predict import predict as run_prediction

    return run_prediction(run, checkpoint, images)
