"""From the spec's sources to the run's canonical data: read, merge, split, lock the classes, check, write."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cvtune.classes import ClassMap, make_class_map
from cvtune.data.canonical_images import canonical_images
from cvtune.data.coco import Annotation, Category, Dataset, Id, Image, save_coco
from cvtune.data.formats import ReadSource, read_source
from cvtune.data.geometry import segmentation_area
from cvtune.data.leaks import note_leaks
from cvtune.data.merge import merge_datasets
from cvtune.data.receipt import Receipt
from cvtune.data.split import split_dataset
from cvtune.data.summary import Summary, summarize
from cvtune.errors import DataError
from cvtune.runs import RunDir, write_json
from cvtune.spec import DataSpec, SourceSpec, Spec

__all__ = ["Prepared", "Summary", "prepare"]

SPLITS = ("train", "val", "test")
# An error names this many classes.
SHOWN = 8
Task = Literal["detect", "segment"]
# Extra fields stay behind: frameworks read some in ways of their own (`ignore`). One dict for a million objects.
EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Prepared:
    """The class lock, a summary of each split that there is, and the receipt of all of them together."""

    class_map: ClassMap
    summaries: Mapping[str, Summary]
    receipt: Receipt


def prepare(spec: Spec, run: RunDir, *, task: Task = "detect") -> Prepared:
    """Read the spec's data and write the run's canonical view of it.

    Writes ``data/{train,val,test}.json`` (category id = class index + 1, image and annotation ids 1, 2, ..., absolute
    paths, boxes inside the image and at least 1 px wide and high, area and iscrowd filled), ``classes.json``,
    ``data/images.json`` (canonical image id -> source id and file name), ``data/receipt.json``, and copies of images
    that readers disagree on below ``data/images``.

    The classes are those of the training data, in its order or in that of data.classes; validation and test data are
    joined by name. Boxes of no area are dropped, those narrower than 1 px are grown to it.

    Args:
        spec: the spec; its `data` is used.
        run: the run directory; older data files in it are replaced.
        task: with "segment", objects without a mask are handled as data.missing_masks says.

    Raises:
        DataError: a source is wrong, there is no validation data, an image is missing, damaged or of another size than
            annotated (unless data.skip_bad_images), a mask is missing, nothing is left to train on, or the objects of
            a split are all of other classes.
        RunError: a file cannot be written.
    """
    data, receipt = spec.data, Receipt()
    datasets = _read(data, receipt)
    categories = datasets["train"].categories
    wanted = None if data.classes == "auto" else data.classes
    for split in ("val", "test"):
        if split in datasets:
            _check_classes(datasets[split], datasets["train"], split)
    class_map, left_out = make_class_map([(category.id, category.name) for category in categories], wanted)
    note_leaks({f"data.{split}": dataset.images for split, dataset in datasets.items()}, receipt)

    copies = run.path / "data" / "images"
    if copies.exists():
        shutil.rmtree(copies)
    canonical: dict[str, Dataset] = {}
    listed: dict[str, list[dict[str, Any]]] = {}
    for split, dataset in datasets.items():
        builder = _Builder(split, dataset, class_map, left_out, data, task, receipt)
        canonical[split], listed[split] = builder.build(copies / split)
        receipt.count_out(
            len(canonical[split].images),
            Counter(class_map.names[int(a.category_id) - 1] for a in canonical[split].annotations),
        )
    receipt.check_sums()
    _check_train(canonical["train"], class_map, receipt)

    for split in SPLITS:
        if split in canonical:
            save_coco(canonical[split], run.data(split))
        else:
            run.data(split).unlink(missing_ok=True)
    write_json(run.images, listed)
    write_json(run.classes, class_map.to_json())
    write_json(run.receipt, receipt.to_json())
    return Prepared(class_map, {split: summarize(dataset) for split, dataset in canonical.items()}, receipt)


def _read(data: DataSpec, receipt: Receipt) -> dict[str, Dataset]:
    """The splits as their sources say them, merged, and split where there is no val."""
    if data.val and data.split is not None:
        raise DataError("data.split: takes validation images out of data.train, but data.val gives some; remove one")
    if not data.val and data.split is None:
        raise DataError(
            "data.val: there are no validation data; give data.val, or take them out of the training data with "
            "`split: {val: 0.15}` in data"
        )
    if data.test and data.split is not None and data.split.test:
        raise DataError("data.split.test: takes test images out of data.train, but data.test gives some; remove one")
    sources = {"train": data.train, "val": data.val, "test": data.test}
    shared: dict[Any, Any] = {}
    datasets = {split: _read_sources(listed, split, receipt, shared) for split, listed in sources.items() if listed}
    if data.split is not None:
        datasets |= split_dataset(datasets["train"], data.split)
        counts = ", ".join(f"{split} {len(datasets[split].images):,}" for split in SPLITS if split in datasets)
        receipt.note("split-made", "data.split", f"by {data.split.by}, seed {data.split.seed}: images in {counts}")
    for split, dataset in datasets.items():
        if not dataset.images:
            raise DataError(f"data.{split}: its sources hold no image")
    return {split: datasets[split] for split in SPLITS if split in datasets}


def _read_sources(sources: Sequence[SourceSpec], split: str, receipt: Receipt, shared: dict[Any, Any]) -> Dataset:
    read = [
        read_source(ReadSource(s.annotations, s.images, s.subset, s.origin, shared), s.format, receipt) for s in sources
    ]
    return merge_datasets(read, f"data.{split}", receipt)


class _Builder:
    """Makes one split canonical."""

    def __init__(
        self,
        split: str,
        dataset: Dataset,
        class_map: ClassMap,
        left_out: Sequence[str],
        data: DataSpec,
        task: Task,
        receipt: Receipt,
    ) -> None:
        self.split = split
        self.dataset = dataset
        self.class_map = class_map
        self.left_out = left_out
        self.data = data
        self.task = task
        self.receipt = receipt
        self.names = {category.id: category.name for category in dataset.categories}

    def build(self, copies: Path) -> tuple[Dataset, list[dict[str, Any]]]:
        """The canonical data set, and the split's list for images.json."""
        per_image = self._objects()
        classes = {i: Counter(self.names[a.category_id] for a in found) for i, found in per_image.items()}
        images = self._without_empty(per_image)
        paths = canonical_images(images, classes, self.split, copies, self.data.skip_bad_images, self.receipt)
        if not paths:
            raise DataError(f"data.{self.split}: not one image can be used")
        kept: list[Image] = []
        annotations: list[Annotation] = []
        listed: list[dict[str, Any]] = []
        for image in images:
            if image.id not in paths:
                continue
            number = len(kept) + 1
            path = str(paths[image.id])
            kept.append(Image(number, path, image.width, image.height, paths[image.id]))
            entry = {"id": number, "source_id": image.id, "file_name": image.file_name}
            if "original_id" in image.extra:
                entry["original_id"] = image.extra["original_id"]
            listed.append(entry)
            for annotation in per_image.get(image.id, ()):
                index = self.class_map.index_of_name[self.names[annotation.category_id]]
                annotations.append(
                    Annotation(
                        len(annotations) + 1,
                        number,
                        index + 1,
                        annotation.bbox_xywh,
                        annotation.area,
                        annotation.iscrowd,
                        annotation.segmentation,
                        EMPTY,
                    )
                )
        categories = tuple(Category(i, name) for i, name in enumerate(self.class_map.names, start=1))
        return Dataset(tuple(kept), tuple(annotations), categories), listed

    def _objects(self) -> dict[Id, list[Annotation]]:
        """Image id -> its objects with clipped boxes, without what the spec leaves out."""
        known = self._known_classes()
        images = {image.id: image for image in self.dataset.images}
        per_image: dict[Id, list[Annotation]] = {}
        without_mask: list[Annotation] = []
        for annotation in self.dataset.annotations:
            if annotation.category_id not in known:
                continue
            image = images[annotation.image_id]
            where = f"{self.split}: annotation {annotation.id} of {image.file_name}"
            name = self.names[annotation.category_id]
            if annotation.iscrowd and self.data.crowd == "drop":
                self.receipt.drop("crowd-dropped", where, "a crowd region", name)
                continue
            clipped = self._clip(annotation, image, where, name)
            if clipped is None:
                continue
            if self.task == "segment" and clipped.segmentation is None and not clipped.iscrowd:
                if self.data.missing_masks == "drop":
                    self.receipt.drop("mask-missing", where, "", name)
                    continue
                without_mask.append(annotation)
                if self.data.missing_masks == "box":
                    clipped = _box_as_mask(clipped)
                    self.receipt.repair("mask-from-box", where, "", name)
            per_image.setdefault(image.id, []).append(clipped)
        if without_mask and self.data.missing_masks == "error":
            self._refuse_missing_masks(without_mask, images)
        return per_image

    def _known_classes(self) -> set[Id]:
        """The category ids whose class is in the lock; the others' objects are dropped, class by class."""
        present = Counter(annotation.category_id for annotation in self.dataset.annotations)
        known = {i for i, name in self.names.items() if name in self.class_map.index_of_name}
        for category_id, count in present.items():
            if category_id not in known:
                name = self.names[category_id]
                code = "class-dropped" if name in self.left_out else "class-not-in-train"
                detail = f"{name}: {count:,} objects; the classes are {', '.join(self.class_map.names)}"
                self.receipt.drop(code, f"data.{self.split}", detail, name, count)
        other = [
            f"{name} {i} -> {self.class_map.source_ids[self.class_map.index_of_name[name]]}"
            for i, name in self.names.items()
            if i in known and self.class_map.source_ids[self.class_map.index_of_name[name]] != i
        ]
        if other:
            detail = f"{'; '.join(other)}: predictions carry the training data's ids"
            self.receipt.note("categories-merged", f"data.{self.split}", detail)
        return known

    def _clip(self, annotation: Annotation, image: Image, where: str, name: str) -> Annotation | None:
        """The annotation with its box inside the image and at least 1 px wide and high; None where it has no box."""
        x, y, w, h = annotation.bbox_xywh
        said = f"x={x:g} y={y:g} w={w:g} h={h:g}"
        if w <= 0 or h <= 0:
            self.receipt.drop("box-zero-area", where, said, name)
            return None
        x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, image.width), min(y + h, image.height)
        if x1 <= x0 or y1 <= y0:
            self.receipt.drop("box-outside", where, f"{said} in {image.width}x{image.height}", name)
            return None
        box = annotation.bbox_xywh
        # A sum of floats is off by less than this at 10^5 px; such boxes are inside.
        if x < 0 or y < 0 or x + w > image.width + 1e-9 * image.width or y + h > image.height + 1e-9 * image.height:
            box = (x0, y0, x1 - x0, y1 - y0)
            self.receipt.repair("box-clipped", where, f"{said} in {image.width}x{image.height}", name)
        if box[2] < 1 or box[3] < 1:
            box = (*_grow(box[0], box[2], image.width), *_grow(box[1], box[3], image.height))
            box = (box[0], box[2], box[1], box[3])
            self.receipt.repair("box-grown", where, said, name)
        mask, area = annotation.segmentation, annotation.area
        if area <= 0 and mask is not None:
            area = segmentation_area(mask, (image.height, image.width))
            if area <= 0:
                self.receipt.drop("mask-empty", where, "its mask covers no pixel of the image", name)
                return None
            self.receipt.repair("area-filled", where, f"{area:g} from the mask", name)
        elif mask is None and (area <= 0 or box != annotation.bbox_xywh):
            area = box[2] * box[3]
        if box == annotation.bbox_xywh and area == annotation.area:
            return annotation
        return replace(annotation, bbox_xywh=box, area=area)

    def _refuse_missing_masks(self, without: Sequence[Annotation], images: Mapping[Id, Image]) -> None:
        named = ", ".join(f"annotation {a.id} of {images[a.image_id].file_name}" for a in without[:3])
        raise DataError(
            f"data.{self.split}: {len(without):,} objects have no mask, which instance segmentation needs: {named}"
            f"{', ...' if len(without) > 3 else ''}; `data.missing_masks: drop` leaves them out, `box` takes their "
            "boxes for masks"
        )

    def _without_empty(self, per_image: Mapping[Id, Sequence[Annotation]]) -> list[Image]:
        """All images, or those with objects where the spec leaves empty ones out of training."""
        if self.split != "train" or self.data.keep_empty_images:
            return list(self.dataset.images)
        kept = []
        for image in self.dataset.images:
            found = per_image.get(image.id, ())
            if any(not annotation.iscrowd for annotation in found):
                kept.append(image)
            else:
                crowds = Counter(self.names[annotation.category_id] for annotation in found)
                self.receipt.drop_image("image-empty-dropped", f"train: {image.file_name}", "", crowds)
        return kept


def _grow(low: float, length: float, size: int) -> tuple[float, float]:
    """(start, length) of an interval around the same middle, at least 1 px long, inside 0..size."""
    if length >= 1:
        return low, length
    return min(max(low + length / 2 - 0.5, 0.0), size - 1.0), 1.0


def _box_as_mask(annotation: Annotation) -> Annotation:
    x, y, w, h = annotation.bbox_xywh
    polygon = np.array([x, y, x + w, y, x + w, y + h, x, y + h], dtype=np.float64)
    return replace(annotation, segmentation=(polygon,), area=w * h)


def _check_classes(scored: Dataset, train: Dataset, split: str) -> None:
    """Refuse a split that has objects, but none of a class of the training data: every score of it would be empty."""
    names = {category.id: category.name for category in scored.categories}
    counts = Counter(names[annotation.category_id] for annotation in scored.annotations)
    trained = [category.name for category in train.categories]
    if counts and counts.keys().isdisjoint(trained):
        raise DataError(
            f"data.{split}: none of its {counts.total():,} objects is of a class of the training data, got "
            f"{_first(counts)}; the training data have {_first(trained)}; give another set, or rename its classes "
            "(`cvtune merge --rename OLD=NEW`)"
        )


def _first(names: Collection[str]) -> str:
    return ", ".join(list(names)[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _check_train(train: Dataset, class_map: ClassMap, receipt: Receipt) -> None:
    """Refuse data that nothing can be learned from; note classes without objects."""
    present = {annotation.category_id for annotation in train.annotations if not annotation.iscrowd}
    if not present:
        raise DataError("data.train: not one object is left to train on; see what was dropped, or check data.classes")
    empty = [name for i, name in enumerate(class_map.names, start=1) if i not in present]
    if empty:
        receipt.note("class-without-objects", "data.train", ", ".join(empty))
