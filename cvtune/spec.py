"""Spec: what the user writes. None means "left out": the model's official recipe decides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = [
    "DataSpec",
    "EvalSpec",
    "ImageSizeSpec",
    "ModelSpec",
    "RunSpec",
    "SourceSpec",
    "Spec",
    "SplitSpec",
    "TrainSpec",
]

Auto = Literal["auto"]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Metric = Annotated[str, Field(pattern=r"^(bbox|segm)/(AP|AP50|AP75|APs|APm|APl|AR1|AR10|AR100|ARs|ARm|ARl)$")]


def _as_source(value: Any) -> Any:
    """A bare path stands for a source with only annotations."""
    return {"annotations": value} if isinstance(value, str | Path) else value


def _as_list(value: Any) -> Any:
    """One source stands for a list of one."""
    return value if value is None or isinstance(value, list | tuple) else [value]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Model):
    """Which model, from which weights. `zoo` names an official config of the backend instead of family and backbone."""

    family: str | None = None
    backbone: str | None = None
    zoo: str | None = None
    weights: str = "coco"
    frozen_stages: Annotated[int, Field(ge=0)] | Auto | None = "auto"
    norm: Literal["official", "frozen", "batch", "sync"] = "official"

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> ModelSpec:
        if (self.family is None) == (self.zoo is None):
            raise ValueError("give either family (with or without backbone) or zoo")
        if self.zoo is not None and self.backbone is not None:
            raise ValueError("backbone belongs to family; zoo names a whole config")
        return self


class SourceSpec(_Model):
    """One set of annotations in any known format, and where its images are."""

    annotations: Path
    images: Path | None = None
    format: str = "auto"
    subset: str | None = Field(None, description="a named part of the set, such as VOC's ImageSets/Main/train.txt")
    origin: Literal["auto", 0, 1] = Field("auto", description="whether pixel coordinates start at 0 or 1 (VOC)")


Source = Annotated[SourceSpec, BeforeValidator(_as_source)]
Sources = Annotated[tuple[Source, ...], BeforeValidator(_as_list)]


class SplitSpec(_Model):
    """How to take a validation and a test set out of the training set where none is given."""

    val: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    by: str = Field("image", pattern=r"^(image|prefix|field:.+)$")
    seed: int = 0


class ImageSizeSpec(_Model):
    """Either short and long side (aspect kept), or a square."""

    short: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    long: Positive | None = None
    test_short: Positive | None = None
    sampling: Literal["choice", "range"] = "choice"
    square: Positive | None = None
    fit: Literal["pad", "stretch"] = "stretch"

    @model_validator(mode="after")
    def _one_shape(self) -> ImageSizeSpec:
        if self.square is not None and (self.short or self.long or self.test_short):
            raise ValueError("square excludes short, long and test_short")
        if self.square is None and self.short is None:
            raise ValueError("give short (and long), or square")
        if self.sampling == "range" and not (isinstance(self.short, tuple) and len(self.short) == 2):
            raise ValueError("sampling: range needs short: [smallest, largest]")
        return self


class DataSpec(_Model):
    """The user's data and how it is fed."""

    train: Annotated[Sources, Field(min_length=1)]
    val: Sources = ()
    test: Sources = ()
    split: SplitSpec | None = None
    classes: Auto | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"
    image_size: ImageSizeSpec | None = None
    keep_empty_images: bool = True
    crowd: Literal["official", "ignore", "drop"] = "official"
    missing_masks: Literal["error", "box", "drop"] = "error"
    skip_bad_images: bool = False
    augment: tuple[dict[str, dict[str, Any] | None], ...] | None = None
    batch_size: Positive | Auto = "auto"
    workers: Annotated[int, Field(ge=0)] | Auto = "auto"


class OptimizerSpec(_Model):
    """The optimizer; an lr of `auto` scales the official one by the batch."""

    name: Literal["sgd", "adamw"] | None = None
    lr: Annotated[float, Field(gt=0)] | Auto = "auto"
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None


class ScheduleSpec(_Model):
    """The learning-rate schedule; milestones in epochs."""

    name: Literal["multistep", "cosine", "constant", "onecycle"] | None = None
    milestones: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    gamma: Annotated[float, Field(gt=0, le=1)] | None = None
    warmup_iterations: Annotated[int, Field(ge=0)] | Auto = "auto"
    min_lr: Annotated[float, Field(ge=0)] | None = None


class EarlyStoppingSpec(_Model):
    """Stop when `metric` has not risen for `patience` evaluations."""

    metric: Metric = "bbox/AP"
    patience: Positive = 5


class CheckpointSpec(_Model):
    """When checkpoints are written and which one is called best."""

    every_epochs: Positive = 1
    every_minutes: Annotated[float, Field(gt=0)] | None = 15
    every_iterations: Positive | None = None
    keep: Annotated[int, Field(ge=0)] = 0
    best: Metric | Auto = "auto"


class TrainSpec(_Model):
    """The training recipe; what is left out is official or, for the length and the lr, `recipe`'s rule."""

    recipe: Literal["finetune", "official"] = "finetune"
    epochs: Positive | None = None
    iterations: Positive | None = None
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    accumulate: Positive = 1
    ema: bool | Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: EarlyStoppingSpec | None = None
    checkpoint: CheckpointSpec = CheckpointSpec()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    log_every: Positive = 10

    @model_validator(mode="after")
    def _one_length(self) -> TrainSpec:
        if self.epochs is not None and self.iterations is not None:
            raise ValueError("give epochs or iterations, not both")
        return self


class EvalSpec(_Model):
    """When to score, and the model's own thresholds. COCO's maxDets stay 1, 10, 100."""

    every_epochs: Annotated[int, Field(ge=0)] = Field(1, description="0: only at the end")
    model_max_detections: Positive | None = None
    score_threshold: Fraction | None = None
    nms_iou: Fraction | None = None


class RunSpec(_Model):
    """Where it runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Positive | Auto = "auto"
    nodes: Positive = 1


class Spec(_Model):
    """One run: model, data, recipe, evaluation, device. `native` is merged into the translated config."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    backend: str = "torchvision"
    model: ModelSpec
    data: DataSpec
    train: TrainSpec = TrainSpec()
    eval: EvalSpec = EvalSpec()
    run: RunSpec = RunSpec()
    native: dict[str, Any] = {}
