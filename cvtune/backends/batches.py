"""Which images make up which batch: a pure function of (seed, epoch, rank), so that a resume skips by index."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cvtune.backends.seeds import mix_seed

__all__ = ["Batches", "quiet_worker"]


@dataclass(frozen=True)
class Batches:
    """The batches of one process over a whole run; iterating yields lists of (epoch, image index).

    Every epoch visits each image once in an order of its own. Portrait and landscape images are batched apart, as in
    torchvision's reference (less padding). With several processes, a batch is dealt out in turn; a short one is
    filled from its own start so that every process takes the same number of steps on the same classes.

    `batch_size` is the total over all processes; `start` is the number of batches to skip from the run's beginning.
    """

    images: int
    batch_size: int
    epochs: int
    seed: int
    portrait: Sequence[bool]
    rank: int = 0
    world_size: int = 1
    start: int = 0

    @property
    def per_epoch(self) -> int:
        """Batches in one epoch."""
        return math.ceil(self.images / self.batch_size)

    def after_steps(self, step: int, steps_per_epoch: int, accumulate: int) -> Batches:
        """The same batches, begun where `step` steps of `accumulate` batches each have ended.

        The last step of an epoch takes the batches that are left.
        """
        epoch, in_epoch = divmod(step, steps_per_epoch)
        return replace(self, start=epoch * self.per_epoch + in_epoch * accumulate)

    def __len__(self) -> int:
        """Return how many batches are left from `start`."""
        return self.per_epoch * self.epochs - self.start

    def epoch(self, epoch: int) -> list[list[int]]:
        """All batches of one epoch before they are dealt to processes."""
        order = np.random.default_rng(mix_seed(self.seed, "order", epoch)).permutation(self.images)
        buckets: dict[bool, list[int]] = {False: [], True: []}
        batches: list[list[int]] = []
        for index in order.tolist():
            bucket = buckets[bool(self.portrait[index])]
            bucket.append(index)
            if len(bucket) == self.batch_size:
                batches.append(bucket.copy())
                bucket.clear()
        rest = buckets[False] + buckets[True]
        batches += [rest[i : i + self.batch_size] for i in range(0, len(rest), self.batch_size)]
        return batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield this process's share of each batch from `start` to the end of the run."""
        first, offset = divmod(self.start, self.per_epoch)
        for epoch in range(first, self.epochs):
            for batch in self.epoch(epoch)[offset:]:
                share = math.ceil(len(batch) / self.world_size)
                filled = [batch[i % len(batch)] for i in range(share * self.world_size)]
                yield [(epoch, index) for index in filled[self.rank :: self.world_size]]
            offset = 0


def quiet_worker(worker: int) -> None:
    """Keep OpenCV's own threads out of data-loading processes: one core each is what they are counted as."""
    import cv2

    cv2.setNumThreads(0)
    os.environ["OMP_NUM_THREADS"] = "1"
