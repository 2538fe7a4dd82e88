"""MMDetection's data set and sampler, seeded by (seed, epoch, image) and able to begin in the middle of an epoch."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cvtune.backends.seeds import mix_seed
from cvtune.errors import DataError

__all__ = ["EpochBatches", "SeededSamples", "seed_everything", "seeded_loader"]


def seed_everything(*parts: int | str) -> None:
    """Seed Python's, NumPy's and torch's global generators, which MMDetection's transforms and samplers draw from."""
    seed = mix_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class SeededSamples(Dataset[Any]):
    """A data set of MMDetection, indexed by (epoch, index); everything else is asked of the data set itself."""

    def __init__(self, dataset: Any, seed: int, skip_bad_images: bool) -> None:
        """Wrap `dataset`."""
        self.dataset, self.seed, self.skip_bad_images = dataset, seed, skip_bad_images

    def __len__(self) -> int:
        """Return the number of images that train."""
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        """Load one sample.

        Raises:
            DataError: its image cannot be read and `data.skip_bad_images` is off.
        """
        epoch, index = key
        for offset in range(len(self.dataset)):
            at = (index + offset) % len(self.dataset)
            seed_everything(self.seed, "augment", epoch, at)
            try:
                return self.dataset[at]
            except Exception as error:  # MMCV asserts, OpenCV raises its own
                path = self.dataset.get_data_info(at).get("img_path", "")
                if _readable(path):
                    raise
                if not self.skip_bad_images:
                    raise DataError(
                        f"{path}: cannot be read as an image ({error}); `data.skip_bad_images: true` trains without it"
                    ) from error
                print(f"skipped: {path}: cannot be read as an image", flush=True)
        raise DataError("data.train: not one image can be read")

    def __getattr__(self, name: str) -> Any:
        """Hand on what the data set has."""
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    @property
    def pipeline(self) -> Any:
        """The data set's pipeline; MMDetection's hooks replace it late in a run."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, value: Any) -> None:
        self.dataset.pipeline = value


class EpochBatches:
    """The batches of one epoch as lists of (epoch, index); `begin` says of which epoch, and from which batch on."""

    def __init__(self, batches: Any) -> None:
        """Wrap the framework's batch sampler."""
        self.batches = batches
        self.epoch, self.skip = 0, 0

    @property
    def sampler(self) -> Any:
        """The sampler inside, which MMEngine tells the epoch."""
        return self.batches.sampler

    def begin(self, epoch: int, skip: int = 0) -> None:
        """Go to an epoch; its first `skip` batches are left out."""
        self.epoch, self.skip = epoch, skip
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the batches that are left of the epoch."""
        # To its very end: MMDetection's sampler by aspect ratio clears what it holds only then.
        for batch in itertools.islice(iter(self.batches), self.skip, None):
            yield [(self.epoch, int(index)) for index in batch]


def seeded_loader(loader: Any, seed: int, skip_bad_images: bool) -> tuple[DataLoader[Any], EpochBatches]:
    """A loader that MMEngine built, over seeded samples and epoch batches."""
    batches = EpochBatches(loader.batch_sampler)
    own: DataLoader[Any] = DataLoader(
        SeededSamples(loader.dataset, seed, skip_bad_images),
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        persistent_workers=loader.persistent_workers,
        prefetch_factor=loader.prefetch_factor,
    )
    return own, batches


def _readable(path: str) -> bool:
    import cv2

    return bool(path) and cv2.imread(path) is not None
