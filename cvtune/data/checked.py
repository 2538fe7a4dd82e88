"""What the checks of a data set look at, and what they find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvtune.data.coco import Annotation, Dataset, Id, Image
from cvtune.data.image_facts import ImageFacts
from cvtune.data.receipt import Event

__all__ = ["Checked", "CheckedPart", "Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """One thing found: the part of the set, the image's or annotation file's name, the annotation's id."""

    detail: str
    part: str | None = None
    file: str | None = None
    annotation: Id | None = None

    def __str__(self) -> str:
        """One line."""
        named = f"annotation {self.annotation}" if self.annotation is not None else None
        where = " ".join(word for word in (self.part, self.file, named) if word)
        return f"{where}: {self.detail}" if where and self.detail else where or self.detail


@dataclass(frozen=True)
class CheckedPart:
    """A part of the set as checks see it.

    `other` is true of a set that is only compared with (`--against`); its own faults are not reported.
    """

    name: str | None
    dataset: Dataset
    events: Sequence[Event] = ()
    files: Sequence[Path] = ()
    other: bool = False

    @cached_property
    def images(self) -> Mapping[Id, Image]:
        """Image id -> image."""
        return {image.id: image for image in self.dataset.images}

    @cached_property
    def names(self) -> Mapping[Id, str]:
        """Category id -> class name."""
        return {category.id: category.name for category in self.dataset.categories}

    @cached_property
    def objects(self) -> tuple[Annotation, ...]:
        """All annotations but crowd regions, which may overlap and cover what they like."""
        return tuple(annotation for annotation in self.dataset.annotations if not annotation.iscrowd)

    @cached_property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """[n, 4] left, top, right, bottom of `objects`, in pixels."""
        boxes = np.array([a.bbox_xywh for a in self.objects], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    @cached_property
    def sizes_wh(self) -> NDArray[np.float64]:
        """[n, 2] width and height of the image of each of `objects`."""
        images = self.images
        sizes = [(images[a.image_id].width, images[a.image_id].height) for a in self.objects]
        return np.array(sizes, np.float64).reshape(-1, 2)

    def example(self, detail: str, annotation: Annotation | None = None, file: str | None = None) -> Example:
        """An example in this part."""
        if annotation is None:
            return Example(detail, self.name, file)
        return Example(detail, self.name, self.images[annotation.image_id].file_name, annotation.id)


@dataclass(frozen=True)
class Checked:
    """Everything that checks look at: parts, and facts of the image files that were found.

    `whole` is false of one part of a set, or one file of several, beside which other images may rightly lie.
    """

    format: str
    parts: tuple[CheckedPart, ...]
    facts: Mapping[Path, ImageFacts] = field(default_factory=dict)
    whole: bool = True

    @cached_property
    def own(self) -> tuple[CheckedPart, ...]:
        """The parts of the set itself."""
        return tuple(part for part in self.parts if not part.other)

    def of_codes(self, *codes: str) -> Iterator[Example]:
        """What reading dropped, repaired or noted for one of these reasons of the receipt."""
        for part in self.own:
            for event in part.events:
                if event.code in codes:
                    yield Example(event.detail, part.name, event.where)
