"""The mmdet backend as the protocol wants it. Imports neither torch nor MMDetection until it must."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cvtune.backends.base import Detection, Host, ModelInfo, NativeConfig, PredictImage, Recipe
from cvtune.backends.mmdet.fields import FIELDS
from cvtune.backends.mmdet.models import models as _models
from cvtune.backends.mmdet.probe import import_framework
from cvtune.backends.mmdet.probe import probe as _probe
from cvtune.backends.mmdet.recipes import recipe as _recipe
from cvtune.backends.mmdet.translate import translate as _translate
from cvtune.backends.mmdet.zoo import INSTALL, published, zoo_names
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
    "step_memory",
    "train",
    "translate",
    "zoo",
]

name = "mmdet"
fields = FIELDS
install = INSTALL


def zoo() -> Mapping[str, Mapping[str, Any]]:
    """Every official config that `model.zoo` may name -> what is published for it."""
    return {name: published(name) for name in zoo_names()}


def models() -> Mapping[str, ModelInfo]:
    """Family name -> backbones, official configs, published scores."""
    return _models()


def probe() -> Host:
    """What MMDetection, its kernels and the machine offer here."""
    return _probe()


def recipe(spec: Spec) -> Recipe:
    """The recipe of the official config."""
    return _recipe(spec)


def translate(plan: Plan) -> NativeConfig:
    """config.py and its differences from the official config."""
    return _translate(plan)


def step_memory(run: RunDir) -> int:
    """Peak bytes of one training step."""
    import_framework()
    from cvtune.backends.mmdet.trial import step_memory as measure

    return measure(run)


def find_lr(run: RunDir) -> list[tuple[float, float]]:
    """(learning rate, smoothed loss) pairs."""
    import_framework()
    from cvtune.backends.mmdet.trial import find_lr as find

    return find(run)


def train(run: RunDir, resume: bool) -> None:
    """Train from config.py."""
    import_framework()
    from cvtune.backends.mmdet.train import train as run_training

    run_training(run, resume)


def predict(run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
    """Detections in original pixels."""
    import_framework()
    from cvtune.backends.mmdet.predict import predict as run_prediction

    return run_prediction(run, checkpoint, images)
