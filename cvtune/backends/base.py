"""The Backend protocol and the frozen types that cross it. A backend is one folder that fulfils it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from cvtune.data.coco import Rle
    from cvtune.plan import Plan
    from cvtune.runs import RunDir
    from cvtune.spec import Spec

__all__ = [
    "Backend",
    "Detection",
    "FieldSupport",
    "Host",
    "ModelInfo",
    "NativeConfig",
    "Override",
    "PredictImage",
    "Recipe",
]

Task = Literal["detect", "segment"]


@dataclass(frozen=True)
class ModelInfo:
    """One family of a backend.

    `backbones` maps a backbone's name to the official config's name, or to None where the backend composes it.
    `published` maps a config's name to {"weights": URL or enum name, "box_ap": float, "mask_ap": float,
    "parameters": int}, APs in 0..1, as far as published.
    """

    family: str
    task: Task
    backbones: Mapping[str, str | None]
    default_backbone: str
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class FieldSupport:
    """How one spec field reaches the framework: in the native file, by code of ours beside it, or not at all."""

    how: Literal["native", "extra", "no"]
    mechanism: str


@dataclass(frozen=True)
class Host:
    """What the machine offers, as the worker's probe saw it."""

    backend_version: str
    device: Literal["cpu", "cuda"]
    devices: int
    device_name: str
    memory_bytes: int
    cpus: int
    bf16: bool
    versions: Mapping[str, str]
    kernels: Mapping[str, str]
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `host.json` holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Host:
        """Read what `to_json` wrote."""
        return cls(**{**record, "problems": tuple(record["problems"])})


@dataclass(frozen=True)
class Recipe:
    """The official recipe of one model: plan key -> official value, and where it was read.

    Keys are the plan's own (``train.optimizer.lr``, ``train.epochs``, ``data.batch_size``, ``data.image_size.short``,
    ...). `dataset_images` is the size of the data set that the official lengths were made for.
    """

    config: str
    source: str
    task: Task
    dataset_images: int
    values: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What `recipe.json` holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Recipe:
        """Read what `to_json` wrote."""
        return cls(**record)


@dataclass(frozen=True)
class Override:
    """One difference between the official config and the native file."""

    key: str
    official: Any
    value: Any
    asked_by: str
    kind: Literal["spec", "data", "host"]


@dataclass(frozen=True)
class NativeConfig:
    """The native file's name (config.yaml or config.py) and text, what differs from official, what it cannot say.

    `delta` is a short native file that inherits from the official config, for frameworks whose files can.
    """

    file_name: Literal["config.yaml", "config.py"]
    text: str
    overrides: tuple[Override, ...]
    extras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    delta: str | None = None


@dataclass(frozen=True)
class PredictImage:
    """One image to predict: its id is carried to the detections."""

    id: int | str
    path: Path


@dataclass(frozen=True, slots=True)
class Detection:
    """One detection in original pixels of the image as displayed; `class_index` is 0-based."""

    image_id: int | str
    class_index: int
    score: float
    bbox_xywh: tuple[float, float, float, float]
    rle: Rle | None = None


class Backend(Protocol):
    """What a backend module offers as module-level names; there is no base class and no registry.

    Three more are read where they are there: `install`, the command that installs the backend, `zoo()`, every
    official config that `model.zoo` may name -> {"box_ap", "mask_ap", "weights"} as far as published, and
    `register(run)`, which lets the framework's own tools find the run's data (`python -m cvtune.native`).
    """

    name: str
    fields: Mapping[str, FieldSupport]

    def models(self) -> Mapping[str, ModelInfo]:
        """Family name -> what it offers. Imports no framework."""
        ...

    def probe(self) -> Host:
        """What the framework and the machine offer. Runs in the worker."""
        ...

    def recipe(self, spec: Spec) -> Recipe:
        """The official recipe of the spec's model. Reads config files only; raises SpecError for unknown models."""
        ...

    def translate(self, plan: Plan) -> NativeConfig:
        """The native config of a complete plan. Builds no model, imports no torch."""
        ...

    def step_memory(self, run: RunDir) -> int:
        """Peak bytes of one training step from the native file in the run directory. Runs in the worker."""
        ...

    def find_lr(self, run: RunDir) -> list[tuple[float, float]]:
        """(learning rate, smoothed loss) pairs of a rising-rate trial; writes no checkpoint. Runs in the worker."""
        ...

    def train(self, run: RunDir, resume: bool) -> None:
        """Train from the native file in the run directory; write checkpoints and log.jsonl. Runs in the worker."""
        ...

    def predict(self, run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
        """Detections of `images`, image after image. Runs in the worker."""
        ...
