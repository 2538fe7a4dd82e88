"""`cvtune init`: look at a data set and write a commented first spec for it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvtune.errors import DataError, SpecError, nearest

if TYPE_CHECKING:
    from cvtune.backends.base import ModelInfo, Task
    from cvtune.data.coco import Dataset
    from cvtune.data.formats import Format

__all__ = ["Found", "FoundSplit", "look_at", "write_first_spec"]

Part = tuple[Path, str | None]

SPLITS = ("train", "val", "test")
# Names of parts, without years, and the split that each is; the first that is there wins.
PARTS = {"train": ("train", "training", "trainval"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


@dataclass(frozen=True)
class FoundSplit:
    """One split of a data set: where it and its images are, and what it holds."""

    annotations: Path
    folder: Path | None
    subset: str | None
    images: int
    objects: int
    missing_images: int


@dataclass(frozen=True)
class Found:
    """What a data set looks like. `per_class` counts the training objects by class name, in the source's order."""

    format: str
    evidence: str
    splits: dict[str, FoundSplit]
    per_class: dict[str, int]
    masks: int
    median_size_wh: tuple[int, int]
    left_out: tuple[str, ...]


def write_first_spec(
    dataset: Path,
    out: Path,
    family: str | None = None,
    force: bool = False,
    images: Path | None = None,
    backend: str = "torchvision",
) -> list[str]:
    """Look at a data set and write a spec that `load_spec` accepts, its optional keys commented out.

    Args:
        dataset: annotations in any known format: a file or a folder.
        out: the spec file.
        family: one of the backend's; default: mask_rcnn where every object has a mask, else faster_rcnn, or the first
            family of that task where the backend has no such.
        force: replace an existing file.
        images: the folder of the images; else they are searched around the annotations.
        backend: what trains.

    Returns:
        Lines that say what was found and what comes next.

    Raises:
        SpecError: `out` exists, or the backend or the family is unknown.
        DataError: the data set is of no known format, or holds nothing to train on.
    """
    from cvtune.backends import load_backend
    from cvtune.runs import write_text

    dataset, out = Path(dataset), Path(out)
    if out.exists() and not force:
        raise SpecError(f"{out}: exists already; `--force` replaces it, `-o FILE` writes another")
    families = load_backend(backend).models()
    if family is not None and family not in families:
        raise SpecError(
            f"--family: unknown family, got {family!r}; allowed: {', '.join(families)}{nearest(family, families)}"
        )
    found = look_at(dataset, images)
    family = family or _usual_family(families, "segment" if found.masks == sum(found.per_class.values()) else "detect")
    write_text(out, _spec_text(found, dataset, out, backend, families[family]))
    return [*_said(found), f"wrote {out}; next: cvtune plan {out}"]


def _usual_family(families: Mapping[str, ModelInfo], task: Task) -> str:
    usual = {"segment": "mask_rcnn", "detect": "faster_rcnn"}[task]
    of_task = [name for name, info in families.items() if info.task == task]
    return usual if usual in families else next(iter(of_task or families))


def look_at(dataset: Path, images: Path | None = None) -> Found:
    """Find format, splits, classes and sizes; the images in a folder, or around the annotations.

    A COCO file named for a split brings the files beside it that are named for the others. A named part that is no
    split (VOC's trainval beside train) is left out. Where nothing is named, all of it is the training set.

    Raises:
        DataError: the data set is of no known format, or the training set holds no object.
    """
    from cvtune.data.formats import ReadSource, detect_format, load_format, read_source
    from cvtune.data.receipt import Receipt

    dataset = Path(dataset)
    format, evidence = detect_format(dataset)
    parts, left_out = _parts(dataset, load_format(format))
    splits: dict[str, FoundSplit] = {}
    datasets: dict[str, Dataset] = {}
    shared: dict[Any, Any] = {}
    for split, (path, subset) in parts.items():
        read = read_source(ReadSource(path, images, subset, shared=shared), format, Receipt())
        missing = sum(image.path is None or not image.path.exists() for image in read.images)
        splits[split] = FoundSplit(path, images, subset, len(read.images), len(read.annotations), missing)
        datasets[split] = read
    train = datasets["train"]
    if not train.annotations:
        raise DataError(f"{dataset}: its training set holds {len(train.images)} images and no object")
    names = {category.id: category.name for category in train.categories}
    counted = Counter(names[annotation.category_id] for annotation in train.annotations)
    return Found(
        format=format,
        evidence=evidence,
        splits=splits,
        per_class={name: counted[name] for name in names.values()},
        masks=sum(annotation.segmentation is not None for annotation in train.annotations),
        median_size_wh=(_median([i.width for i in train.images]), _median([i.height for i in train.images])),
        left_out=left_out,
    )


def _parts(dataset: Path, format: Format) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Split -> (annotations, subset), and the names of parts that are no split."""
    named: dict[str, Part] = {name: (dataset, name) for name in format.subsets(dataset)}
    if not named and dataset.is_file() and _split_of(dataset.stem):
        # The file itself first, then those whose names differ from its name in nothing but the split.
        beside = sorted(
            dataset.parent.glob(f"*{dataset.suffix}"), key=lambda p: (p != dataset, _rest(p) != _rest(dataset), p)
        )
        named = {path.stem: (path, None) for path in beside if _split_of(path.stem) and format.detect(path)}
    parts: dict[str, Part] = {}
    for split in SPLITS:
        chosen = [name for word in PARTS[split] for name in named if _word(name) == word]
        if chosen:
            parts[split] = named[chosen[0]]
    left_out = tuple(name for name, place in named.items() if place not in parts.values())
    if "train" in parts:
        return parts, left_out
    if len(named) > 1 and any(map(_word, named)):
        raise DataError(
            f"{dataset}: none of its parts is named as a training set: {', '.join(named)}; call one `train`"
        )
    # Parts of other names, such as a project's data sets, are one set together.
    return {"train": next(iter(named.values())) if len(named) == 1 else (dataset, None)}, ()


def _rest(path: Path) -> str:
    """A file's name without the word that tells the split."""
    return path.stem.lower().replace(_word(path.stem), "")


def _word(name: str) -> str:
    """The word of a part's name that tells the split: instances_train2017 -> train."""
    words = [word.rstrip("0123456789") for word in re.split(r"[^a-z0-9]+", name.lower())]
    return next((word for word in reversed(words) if _split_of_word(word)), "")


def _split_of_word(word: str) -> str | None:
    return next((split for split, words in PARTS.items() if word in words), None)


def _split_of(name: str) -> str | None:
    return _split_of_word(_word(name))


def _median(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]


def _said(found: Found) -> list[str]:
    lines = [f"format: {found.format} ({found.evidence})"]
    for name, split in found.splits.items():
        lines.append(f"{name}: {split.images:,} images, {split.objects:,} objects")
        if split.missing_images:
            lines.append(f"{name}: {_missing(split)}; give their folder with --images, or as data.{name}.images")
    if "val" not in found.splits:
        lines.append("val: none found; a part of the training images will be taken, see data.split")
    if found.left_out:
        lines.append(f"left out: {', '.join(found.left_out)}")
    lines.append("classes: " + ", ".join(f"{name} {count:,}" for name, count in found.per_class.items()))
    return lines


def _spec_text(found: Found, dataset: Path, out: Path, backend: str, model: ModelInfo) -> str:
    width, height = found.median_size_wh
    sources = [_source(name, split, out) for name, split in found.splits.items()]
    if "val" not in found.splits:
        sources.append("  split: {val: 0.15, by: image, seed: 0}   # taken out of the training images")
    count = len(found.per_class)
    classes = f"{count} class{'es' if count != 1 else ''}: {', '.join(found.per_class)}"
    return TEMPLATE.format(
        title=f"{dataset.name}: {found.format}, {classes}"[:116].replace("\n", " "),
        name=f"{_slug(Path(os.path.abspath(dataset)))}-{model.family.replace('_', '-')}"[:100],
        backend=backend,
        family=model.family,
        backbone=model.default_backbone,
        sources="\n".join(sources),
        names=_yaml_list(list(found.per_class)),
        size=f"{width}x{height}",
    )


def _slug(path: Path) -> str:
    name = path.stem if path.is_file() else path.name
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60].lower() or "data"


def _source(name: str, split: FoundSplit, out: Path) -> str:
    images = f", images: {_yaml_text(_path_text(split.folder, out))}" if split.folder else ""
    subset = f", subset: {_yaml_text(split.subset)}" if split.subset else ""
    counts = f"{split.images:,} images, {split.objects:,} objects"
    line = f"  {name}: {{annotations: {_yaml_text(_path_text(split.annotations, out))}{images}{subset}}}   # {counts}"
    return line + (f"\n  # {_missing(split)}: add `images: FOLDER` above" if split.missing_images else "")


def _missing(split: FoundSplit) -> str:
    return f"{split.missing_images:,} image file{'s were' if split.missing_images != 1 else ' was'} not found"


def _path_text(path: Path, out: Path) -> str:
    """Relative to the spec where they are neighbours, so that both can be moved together; else absolute."""
    folder = os.path.dirname(os.path.abspath(out))
    relative = os.path.relpath(os.path.abspath(path), folder)
    return os.path.abspath(path) if relative.startswith(os.path.join("..", "..")) else relative


def _yaml_text(value: str | None) -> str:
    """Plain where it is plain in every YAML, else in quotes."""
    assert value is not None
    if re.fullmatch(r"[A-Za-z/_.][\w/. -]*\w", value) and value.lower() not in (
        "yes",
        "no",
        "on",
        "off",
        "true",
        "null",
    ):
        return value
    return "'" + value.replace("'", "''") + "'"


def _yaml_list(names: list[str]) -> str:
    return "[" + ", ".join("'" + name.replace("'", "''").replace("\n", " ") + "'" for name in names) + "]"


TEMPLATE = """\
# {title}
# `cvtune plan` on this file shows every value that will be used, with its reason; `cvtune train` runs it.
# Lines that begin with "# key:" are optional; what is left out is the model's official recipe.
name: {name}   # results: runs/<name>
backend: {backend}
model:
  family: {family}   # `cvtune models --backend {backend}` lists what there is
  backbone: {backbone}
  weights: coco   # coco | imagenet | none | a path | an https address
  # frozen_stages: 1   # freeze the stem and this many stages
  # norm: frozen   # official | frozen | batch | sync
data:
  # Paths start from this file's folder; $NAME and ~ are expanded. Images are searched for around the annotations.
{sources}
  # classes: {names}   # a part of them, or another order; default: all
  # image_size: {{short: 800, long: 1333}}   # pixels; the median image is {size}; or {{square: 640, fit: pad}}
  # keep_empty_images: true   # images without objects are trained on
  # augment: [{{HorizontalFlip: {{p: 0.5}}}}]   # albumentations by name
  # batch_size: 8   # over all devices; default: the largest that fits
  # workers: 2
train:
  # epochs: 12   # default: by the number of images
  # optimizer: {{name: sgd, lr: 0.01}}   # default: the official rate, scaled by the batch
  # schedule: {{name: cosine}}   # multistep | cosine | constant | onecycle
  # precision: fp32   # auto | fp32 | bf16 | fp16
  # ema: 0.998   # average the weights
  # early_stopping: {{metric: bbox/AP, patience: 5}}
  seed: 0
eval:
  every_epochs: 1
  # score_threshold: 0.05
"""
