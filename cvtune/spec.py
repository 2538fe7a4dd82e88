"""Spec: what the user writes. None means "left out": the model's official recipe decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cvtune.backends.stages import MOST_STAGES

__all__ = [
    "Allowed",
    "CheckpointSpec",
    "ConflictError",
    "DataSpec",
    "EarlyStoppingSpec",
    "EvalSpec",
    "ImageSizeSpec",
    "LackError",
    "ModelSpec",
    "OptimizerSpec",
    "RunSpec",
    "ScheduleSpec",
    "SourceSpec",
    "Spec",
    "SplitSpec",
    "TrainSpec",
    "weights_kind",
]


@dataclass(frozen=True)
class Allowed:
    """In a field's annotation: what an error says is allowed, where the type alone does not say it."""

    text: str


class ConflictError(ValueError):
    """Fields of a section that exclude each other; without `fields`, the rest of the section can be checked."""

    def __init__(self, message: str, *fields: str) -> None:
        """Tell `message`; `fields` are dotted and start from the section."""
        super().__init__(message)
        self.fields = fields


class LackError(ValueError):
    """A field of a section that another one needs is left out; no mistake where it is there, but wrong."""


def weights_kind(weights: str) -> Literal["coco", "imagenet", "none", "zoo", "url", "path"]:
    """What a `model.weights` is: a keyword, ``zoo:<name>``, an address, or else a path."""
    if weights in ("coco", "imagenet", "none"):
        return weights  # type: ignore[return-value]
    if weights.startswith("zoo:"):
        return "zoo"
    return "url" if "://" in weights else "path"


def _check_weights(weights: str) -> str:
    """Refuse an address that anyone on the way could answer, and a hash that is none."""
    kind = weights_kind(weights)
    if not weights or weights == "zoo:":
        raise ValueError(f"got {weights!r}; allowed: {WEIGHTS}")
    if kind == "url":
        address, _, fragment = weights.partition("#")
        if not address.startswith("https://"):
            raise ValueError(f"got {address}; only https:// addresses are fetched; download the file and give its path")
        if fragment and not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", fragment):
            raise ValueError(f"got #{fragment}; allowed after the address: #sha256=<64 hex digits>")
    return weights


def _check_once(names: tuple[str, ...] | str) -> tuple[str, ...] | str:
    doubled = [name for i, name in enumerate(names) if not isinstance(names, str) and name in names[:i]]
    if doubled:
        raise ValueError(f"{doubled[0]!r} is listed twice; each name once")
    return names


def _check_rising(milestones: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if milestones is not None and list(milestones) != sorted(set(milestones)):
        raise ValueError(f"got [{', '.join(f'{m:g}' for m in milestones)}]; they must rise")
    return milestones


def _as_source(value: Any) -> Any:
    """A bare path stands for a source with only annotations."""
    return {"annotations": value} if isinstance(value, str | Path) else value


def _as_list(value: Any) -> Any:
    """One source stands for a list of one."""
    return value if value is None or isinstance(value, list | tuple) else [value]


def _as_digit(value: Any) -> Any:
    """The text of a digit stands for the digit."""
    return int(value) if value in ("0", "1") else value


NAME = "letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 100 characters"
WEIGHTS = "coco, imagenet, none, zoo:<config>, an https:// address (with or without #sha256=<hex>), or a path"
SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

Auto = Literal["auto"]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Metric = Annotated[
    str,
    Field(pattern=rf"^(bbox|segm)/({'|'.join(SCORES)})$"),
    Allowed(f"bbox/ or segm/ and one of {', '.join(SCORES)}, such as bbox/AP50"),
]
Text = Annotated[str, Field(min_length=1), Allowed("a name")]
Augmentation = Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]


class _Model(BaseModel):
    # NaN is no number that any field here can mean, and JSON has none.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(_Model):
    """Which model, from which weights. `zoo` names an official config of the backend instead of family and backbone."""

    family: Text | None = Field(None, description="such as faster_rcnn; `cvtune models` lists what a backend has")
    backbone: Text | None = Field(None, description="left out: the family's usual one")
    zoo: Text | None = Field(
        None, description="an official config of the backend by name, instead of family and backbone"
    )
    weights: Annotated[str, AfterValidator(_check_weights), Allowed(WEIGHTS)] = Field(
        "coco", description="where the training starts: coco, imagenet, none, zoo:CONFIG, a path, an https:// address"
    )
    frozen_stages: Annotated[int, Field(ge=0, le=MOST_STAGES)] | Auto | None = Field(
        "auto", description="freeze the stem and this many stages; 0: the stem alone; null: nothing"
    )
    norm: Literal["official", "frozen", "batch", "sync"] = Field(
        "official", description="what batch norm does; official: the recipe's, or frozen where a device sees few images"
    )

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> ModelSpec:
        if self.family is None and self.zoo is None:
            raise LackError("names no model; give family (with or without backbone), or zoo")
        if self.family is not None and self.zoo is not None:
            raise ConflictError(f"got family {self.family} and zoo {self.zoo}; give one of them", "zoo")
        if self.zoo is not None and self.backbone is not None:
            raise ConflictError(
                f"got zoo {self.zoo} and backbone {self.backbone}; zoo names a whole config, remove backbone",
                "backbone",
            )
        return self


class SourceSpec(_Model):
    """One set of annotations in any known format, and where its images are."""

    annotations: Annotated[Path, Allowed("a path")] = Field(description="a file or folder, relative to the spec file")
    images: Annotated[Path, Allowed("a path")] | None = Field(
        None, description="the folder of the images; null: searched for around the annotations"
    )
    format: str = Field("auto", description="a format's name; auto: told by the content")
    subset: Text | None = Field(None, description="a named part of the set, such as VOC's ImageSets/Main/train.txt")
    origin: Annotated[Literal["auto", 0, 1], BeforeValidator(_as_digit)] = Field(
        "auto", description="whether pixel coordinates start at 0 or 1 (VOC)"
    )


Source = Annotated[SourceSpec, BeforeValidator(_as_source)]
Sources = Annotated[tuple[Source, ...], BeforeValidator(_as_list)]


class SplitSpec(_Model):
    """How to take a validation and a test set out of the training set where none is given."""

    val: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="share of the training images that validates instead"
    )
    test: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of them that is only scored")
    by: Annotated[str, Field(pattern=r"^(image|prefix|field:.+)$"), Allowed("image, prefix, field:<name>")] = Field(
        "image", description="what stays together: each image alone, a prefix of the file names, a field of the image"
    )
    seed: int = Field(0, description="another seed takes other images")

    @model_validator(mode="after")
    def _something_is_left(self) -> SplitSpec:
        if self.val + self.test >= 1:
            message = f"got val {self.val:g} and test {self.test:g}; their sum must be below 1, the rest is trained on"
            raise ConflictError(message, "test") if "val" in self.model_fields_set else LackError(message)
        return self


class ImageSizeSpec(_Model):
    """Either short and long side (aspect kept), or a square."""

    short: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] | None = Field(
        None, description="the short side in pixels; a list: one of them at random, or in between with sampling: range"
    )
    long: Positive | None = Field(None, description="the long side's limit in pixels")
    test_short: Positive | None = Field(None, description="the short side when scoring; null: the largest of short")
    sampling: Literal["choice", "range"] = Field("choice", description="how one of several short sides is drawn")
    square: Positive | None = Field(None, description="both sides in pixels, instead of short and long")
    fit: Literal["pad", "stretch"] = Field("stretch", description="how an image fills the square")

    @model_validator(mode="after")
    def _one_shape(self) -> ImageSizeSpec:
        if self.square is not None and (self.short or self.long or self.test_short):
            raise ConflictError("got square and another side; square excludes short, long and test_short", "square")
        if self.square is None and self.short is None:
            raise LackError("has no side; give short (and long), or square")
        if self.square is None and self.fit == "pad":
            raise LackError("got fit: pad without square; with short and long the aspect is kept, remove fit")
        if self.sampling == "range" and not (
            isinstance(self.short, tuple) and len(self.short) == 2 and self.short[0] <= self.short[1]
        ):
            raise LackError("got sampling: range; it needs short: [smallest, largest]")
        smallest = min(self.short) if isinstance(self.short, tuple) else self.short
        if self.long is not None and smallest is not None and self.long < smallest:
            message = f"got long {self.long}, below short {smallest}; the long side is the larger one"
            raise ConflictError(message, "long")
        if self.long is not None and self.test_short is not None and self.long < self.test_short:
            message = f"got long {self.long}, below test_short {self.test_short}; the long side is the larger one"
            raise ConflictError(message, "test_short")
        return self


class DataSpec(_Model):
    """The user's data and how it is fed."""

    train: Annotated[Sources, Field(min_length=1)] = Field(
        description="what is trained on: a path, {annotations, images, format, subset, origin}, or a list of them"
    )
    val: Sources = Field((), description="what chooses the checkpoint")
    test: Sources = Field((), description="what the final scores are of; no choice sees it")
    split: SplitSpec | None = None
    classes: Annotated[Auto | Annotated[tuple[Text, ...], Field(min_length=1)], AfterValidator(_check_once)] = Field(
        "auto", description="which of the data's classes, in which order; auto: all"
    )
    image_size: ImageSizeSpec | None = None
    keep_empty_images: bool = Field(True, description="whether images without objects are trained on")
    crowd: Literal["official", "ignore", "drop"] = Field(
        "official",
        description="crowd regions; official: as the framework does, ignore: no object, no background, drop: left out",
    )
    missing_masks: Literal["error", "box", "drop"] = Field(
        "error", description="objects without a mask for a segmenter; error, box: the box is the mask, drop: left out"
    )
    skip_bad_images: bool = Field(False, description="go on without images that cannot be used, instead of an error")
    augment: Annotated[tuple[Augmentation, ...], Allowed("a list such as [{HorizontalFlip: {p: 0.5}}]")] | None = Field(
        None, description="transforms of albumentations by name; they take the place of the official flip"
    )
    batch_size: Positive | Auto = Field("auto", description="images a step, over all devices")
    workers: Annotated[int, Field(ge=0)] | Auto = Field("auto", description="loader processes a device")


class OptimizerSpec(_Model):
    """The optimizer; an lr of `auto` scales the official one by the batch."""

    name: Literal["sgd", "adamw"] | None = None
    lr: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto", description="auto: the official rate, scaled by the batch, and half of it from weights that detect"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = Field(None, description="of sgd")
    weight_decay: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _adamw_has_no_momentum(self) -> OptimizerSpec:
        if self.name == "adamw" and self.momentum is not None:
            message = f"got momentum {self.momentum:g} with name: adamw, which has none; remove momentum"
            raise ConflictError(message, "momentum")
        return self


class ScheduleSpec(_Model):
    """The learning-rate schedule; milestones in epochs."""

    name: Literal["multistep", "cosine", "constant", "onecycle"] | None = Field(
        None, description="how the learning rate falls"
    )
    milestones: Annotated[tuple[Annotated[float, Field(gt=0)], ...] | None, AfterValidator(_check_rising)] = Field(
        None, description="in epochs"
    )
    gamma: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="the rate's factor at each milestone")
    warmup_iterations: Annotated[int, Field(ge=0)] | Auto = Field(
        "auto", description="steps in which the rate rises; auto: official, at most a tenth of the run"
    )
    min_lr: Annotated[float, Field(ge=0)] | None = Field(None, description="the rate's lower end")

    @model_validator(mode="after")
    def _each_rule_has_its_numbers(self) -> ScheduleSpec:
        given = [key for key in ("milestones", "gamma") if getattr(self, key) is not None]
        if given and self.name not in (None, "multistep"):
            message = f"got {' and '.join(given)} with name: {self.name}; they belong to multistep, remove them"
            raise ConflictError(message, *given)
        if self.min_lr is not None and self.name in ("constant", "onecycle"):
            message = f"got min_lr with name: {self.name}, which has no floor; it belongs to multistep and cosine"
            raise ConflictError(message, "min_lr")
        if self.name == "onecycle" and self.warmup_iterations not in ("auto", 0):
            message = "got warmup_iterations with name: onecycle, which rises by itself; remove warmup_iterations"
            raise ConflictError(message, "warmup_iterations")
        return self


class EarlyStoppingSpec(_Model):
    """Stop when `metric` has not risen for `patience` evaluations."""

    metric: Metric = Field("bbox/AP", description="the score that is watched")
    patience: Positive = Field(5, description="evaluations without a rise of it")


class CheckpointSpec(_Model):
    """When checkpoints are written and which one is called best."""

    every_epochs: Positive = Field(1, description="less often while writing would take a twentieth of the time")
    every_minutes: Annotated[float, Field(gt=0)] | None = Field(15, description="also after so many minutes; null: not")
    every_iterations: Positive | None = Field(None, description="also after so many steps")
    keep: Annotated[int, Field(ge=0)] = Field(0, description="how many older checkpoints stay beside last and best")
    best: Metric | Auto = Field("auto", description="the score that selects; auto: the AP of the model's task")


class TrainSpec(_Model):
    """The training recipe; what is left out is official or, for the length and the lr, `recipe`'s rule."""

    recipe: Literal["finetune", "official"] = Field(
        "finetune", description="finetune: one rule for length and rate in every backend; official: the framework's own"
    )
    epochs: Positive | None = Field(None, description="passes over the training images; left out: by the recipe")
    iterations: Positive | None = Field(None, description="steps, instead of epochs")
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: mixed on a GPU, fp32 on a CPU"
    )
    gradient_clip: Annotated[float, Field(gt=0)] | None = Field(
        None, description="limit of the norm of the whole gradient"
    )
    accumulate: Positive = Field(1, description="batches a step of the optimizer")
    ema: bool | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="average the weights: true, or the decay"
    )
    early_stopping: EarlyStoppingSpec | None = None
    checkpoint: CheckpointSpec = CheckpointSpec()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="decides random weights, the order of images and their augmentation"
    )
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        (), description="where the numbers of log.jsonl go too"
    )
    log_every: Positive = Field(10, description="steps between two records of the loss")

    @model_validator(mode="after")
    def _one_length(self) -> TrainSpec:
        if self.epochs is not None and self.iterations is not None:
            raise ConflictError(
                f"got epochs {self.epochs} and iterations {self.iterations}; give one of them", "iterations"
            )
        return self


class EvalSpec(_Model):
    """When to score, and the model's own thresholds. COCO's maxDets stay 1, 10, 100."""

    every_epochs: Annotated[int, Field(ge=0)] = Field(1, description="0: only at the end")
    model_max_detections: Positive | None = Field(None, description="the most detections an image")
    score_threshold: Fraction | None = Field(None, description="detections below it are left out")
    nms_iou: Fraction | None = Field(None, description="of two boxes that overlap by more, the weaker goes")


class RunSpec(_Model):
    """Where it runs."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where the backend sees one")
    devices: Positive | Auto = Field("auto", description="how many GPUs; auto: all")
    nodes: Positive = Field(1, description="how many machines")


class Spec(_Model):
    """One run: model, data, recipe, evaluation, device. `native` is merged into the translated config."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100), Allowed(NAME)] = Field(
        description="the run directory is runs/NAME"
    )
    backend: str = Field("torchvision", description="what trains; `cvtune backends` lists what there is")
    model: ModelSpec
    data: DataSpec
    train: TrainSpec = TrainSpec()
    eval: EvalSpec = EvalSpec()
    run: RunSpec = RunSpec()
    native: dict[str, Any] = Field({}, description="keys of the native config itself, or a part for each backend")

    @model_validator(mode="after")
    def _stopping_needs_scores(self) -> Spec:
        if self.train.early_stopping is not None and self.eval.every_epochs == 0:
            raise ConflictError(
                "train.early_stopping: needs scores, but eval.every_epochs is 0; set eval.every_epochs to 1 or more",
                "train.early_stopping",
            )
        return self
