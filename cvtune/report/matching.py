"""Which objects were found, which were missed and which detections are false: COCO's greedy rule at one IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Matches", "Objects", "by_image", "intersections", "match"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Objects:
    """n boxes of a whole split, as columns.

    Attributes:
        image: int64 [n], the image's position, 0-based. category: int64 [n], the class index.
        boxes_xywh: float64 [n, 4] in pixels. score: float64 [n]; ones for ground truth.
        crowd: bool [n]; all False for detections.
    """

    image: Ints
    category: Ints
    boxes_xywh: Floats
    score: Floats
    crowd: Bools

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.image)


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of each box.

    Attributes:
        truth_of: int64 [detections], the object that each detection found, or -1.
        ignored: bool [detections], those that found nothing but lie in a crowd region of their class: neither right
            nor false.
    """

    truth_of: Ints
    ignored: Bools


def match(truth: Objects, found: Objects, images: int, iou: float = 0.5) -> Matches:
    """Match detections to objects of the same image and class.

    In order of falling score each detection takes the free object that it overlaps most, if by at least `iou`, as in
    pycocotools; so what is matched above a score does not depend on the detections below it. A crowd region is taken
    by any number of detections, each of which lies in it with at least the share `iou` of its own area.
    """
    order = np.argsort(-found.score, kind="stable")
    rank = np.empty(len(found), np.int64)
    rank[order] = np.arange(len(found))
    truth_rows, truth_starts = by_image(truth.image, images)
    found_rows, found_starts = by_image(found.image, images)
    detections, objects, overlaps = [], [], []
    ignored = np.zeros(len(found), bool)
    for i in range(images):
        t = truth_rows[truth_starts[i] : truth_starts[i + 1]]
        f = found_rows[found_starts[i] : found_starts[i + 1]]
        if not len(t) or not len(f):
            continue
        shared, own, other = intersections(found.boxes_xywh[f], truth.boxes_xywh[t])
        same = found.category[f][:, None] == truth.category[t][None, :]
        crowd = truth.crowd[t]
        ignored[f] = (same & crowd & (shared >= iou * np.maximum(own, 1e-12))).any(1)
        ratio = shared / np.maximum(own + other - shared, 1e-12)
        d, o = np.nonzero(same & ~crowd & (ratio >= iou))
        detections.append(f[d])
        objects.append(t[o])
        overlaps.append(ratio[d, o])
    truth_of = np.full(len(found), -1, np.int64)
    if detections:
        d, o, overlap = np.concatenate(detections), np.concatenate(objects), np.concatenate(overlaps)
        by_turn = np.lexsort((-overlap, rank[d]))
        taken = bytearray(len(truth))
        for detection, target in zip(d[by_turn].tolist(), o[by_turn].tolist(), strict=True):
            if truth_of[detection] < 0 and not taken[target]:
                truth_of[detection], taken[target] = target, 1
    return Matches(truth_of, ignored & (truth_of < 0))


def by_image(image: Ints, images: int) -> tuple[Ints, Ints]:
    """Rows sorted by image, and where each image's rows begin: int64 [n] and [images + 1]."""
    rows = np.argsort(image, kind="stable")
    return rows, np.searchsorted(image[rows], np.arange(images + 1))


def intersections(a_xywh: Floats, b_xywh: Floats) -> tuple[Floats, Floats, Floats]:
    """float64 [a, b] areas of intersection, and the areas [a, 1] and [1, b] of the boxes, in square pixels."""
    a, b = a_xywh[:, None, :], b_xywh[None, :, :]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return np.clip(high - low, 0, None).prod(-1), a[..., 2:].prod(-1), b[..., 2:].prod(-1)
