"""Training images read one by one, whatever a framework then makes of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cvtune.backends.batches import Batches, quiet_worker
from cvtune.data.coco import Annotation, Image
from cvtune.data.images import read_rgb
from cvtune.errors import DataError

__all__ = ["ImageSamples", "make_loader"]

Sample = TypeVar("Sample")


class ImageSamples(torch.utils.data.Dataset[Sample], Generic[Sample]):
    """Images with their objects, indexed by (epoch, image index); a backend says how one becomes its input.

    What is random in an item must depend on (seed, epoch, image) alone.
    """

    def __init__(
        self,
        images: Iterable[Image],
        annotations: Sequence[Annotation],
        seed: int,
        skip_bad_images: bool,
        keep_empty: bool = True,
    ) -> None:
        """`annotations` are those that the backend trains on; a crowd alone does not fill an image.

        Raises:
            DataError: no image is left where empty ones are not kept.
        """
        filled = {annotation.image_id for annotation in annotations if not annotation.iscrowd}
        self.images = [image for image in images if keep_empty or image.id in filled]
        if not self.images:
            raise DataError("data.train: no image has an object; data.keep_empty_images: true trains on empty ones")
        self.objects: dict[int | str, list[Annotation]] = {image.id: [] for image in self.images}
        for annotation in annotations:
            if annotation.image_id in self.objects:
                self.objects[annotation.image_id].append(annotation)
        self.seed, self.skip_bad_images = seed, skip_bad_images
        self.reported: set[int] = set()

    @abstractmethod
    def convert(self, epoch: int, index: int, rgb: NDArray[np.uint8]) -> Sample:
        """Augment image number `index`, uint8 [h, w, 3], and make the framework's input of it."""

    def __len__(self) -> int:
        """Return the number of images that train."""
        return len(self.images)

    @property
    def portrait(self) -> list[bool]:
        """Per image, whether it is taller than wide."""
        return [image.height > image.width for image in self.images]

    def heaviest(self, count: int, with_masks: bool) -> list[int]:
        """The `count` images that take the most: the largest, with the most masks; in turns where there are fewer."""

        def cost(index: int) -> int:
            image = self.images[index]
            return image.width * image.height * (1 + len(self.objects[image.id]) * with_masks)

        order = sorted(range(len(self)), key=cost, reverse=True)
        return [order[i % len(order)] for i in range(count)]

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Read and convert one image; the next one in its place where it is bad and may be skipped.

        Raises:
            DataError: the image cannot be read and `data.skip_bad_images` is off.
        """
        epoch, index = key
        for offset in range(len(self.images)):
            at = (index + offset) % len(self.images)
            try:
                rgb = read_rgb(Path(self.images[at].file_name))
            except DataError as error:
                if not self.skip_bad_images:
                    raise DataError(f"{error}; `data.skip_bad_images: true` trains without it") from error
                if at not in self.reported:
                    self.reported.add(at)
                    print(f"skipped: {error}", flush=True)
                continue
            return self.convert(epoch, at, rgb)
        raise DataError("data.train: not one image can be read")


def make_loader(
    samples: ImageSamples[Sample],
    batches: Batches,
    workers: int,
    collate: Callable[[Sequence[Sample]], Any],
    pin_memory: bool = False,
) -> Iterator[Any]:
    """The collated batches, loaded by `workers` processes, or by this one."""
    loader: Any = torch.utils.data.DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=quiet_worker,
        pin_memory=pin_memory,
        multiprocessing_context="forkserver" if workers else None,
    )
    return iter(loader)
