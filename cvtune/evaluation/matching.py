"""COCO's matching of detections and objects at all thresholds, kept so that it can be counted again and again.

pycocotools' rule: within an image and class the detections are taken by falling score (at most 100); each takes the
free object that it overlaps most, if by the threshold; where there is none, an ignored one (a crowd, which any number
may take, or an object outside the size range). What takes an ignored object, or takes none and is itself outside the
size range, is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import hotcoco
import numpy as np
from numpy.typing import NDArray

from cvtune.evaluation.detections import Detections
from cvtune.evaluation.engines import IouType
from cvtune.evaluation.ground_truth import GroundTruth
from cvtune.evaluation.masks import to_rles

__all__ = ["AREAS", "THRESHOLDS", "Matcher", "Matches"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10, dtype=np.float64)
AREAS = {"AP": (0.0, 1e10), "APs": (0.0, 32.0**2), "APm": (32.0**2, 96.0**2), "APl": (96.0**2, 1e10)}
"""Size range in pixels of area, both ends included, of each AP figure."""
MOST_DETECTIONS = 100
# Pairs of a detection and an object that are looked at in one go: 8 arrays of this many numbers.
CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of m detections, which are ordered by class, then by falling score, as COCO counts them.

    Attributes:
        objects: bool [annotations], those that count: no crowds, inside the size range.
        matched: bool [thresholds, m], those that took an object that counts.
        ignored: bool [thresholds, m], neither right nor false.
        truth: int32 [thresholds, m], the annotation that each took, counted or not, or -1.
        inside: bool [m], whether the detection itself is inside the size range.
    """

    objects: Bools
    matched: Bools
    ignored: Bools
    truth: NDArray[np.int32]
    inside: Bools


class Matcher:
    """Overlaps are computed once; each size range is matched on demand.

    Attributes:
        rows: int64 [m], the detections that count (the best 100 of each image and class) in the order of `Matches`.
        image, category, score: of those m.
    """

    def __init__(self, truth: GroundTruth, found: Detections, iou_type: IouType = "bbox") -> None:
        """Compute the overlaps of detections and objects of one image and class.

        Args:
            truth: the objects. found: the detections; with masks where `iou_type` is "segm".
            iou_type: what overlaps: boxes or masks.
        """
        self.truth, self.found = truth, found
        classes = len(truth.names) + 1
        group = found.image * classes + found.category
        order = np.lexsort((-found.score, group))
        place = _place(group[order])
        kept = order[place < MOST_DETECTIONS]
        self._kept, self._rank = kept, place[place < MOST_DETECTIONS]
        # pycocotools joins a class's detections image by image and sorts them by score, stably.
        final = np.lexsort((self._rank, found.image[kept], -found.score[kept], found.category[kept]))
        self._final = final
        self.rows: Ints = kept[final]
        self.image, self.category, self.score = (a[self.rows] for a in (found.image, found.category, found.score))
        self._pairs(group[kept], truth.image * classes + truth.category, iou_type)

    def _pairs(self, group: Ints, truth_group: Ints, iou_type: IouType) -> None:
        """Pairs of a detection (a position in `_kept`) and an object of its image and class that overlap enough."""
        by_group = np.argsort(truth_group, kind="stable")
        ordered = truth_group[by_group]
        first, last = np.searchsorted(ordered, group, "left"), np.searchsorted(ordered, group, "right")
        counts = last - first
        detections, objects, overlaps = [], [], []
        start = 0
        ends = np.cumsum(counts)
        masks = _Masks(self.truth, self.found) if iou_type == "segm" and len(self.found) else None
        while start < len(group):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK, "right")))
            part = counts[start:stop]
            d = np.repeat(np.arange(start, stop), part)
            within = np.arange(len(d)) - np.repeat(np.cumsum(part) - part, part)
            g = by_group[np.repeat(first[start:stop], part) + within]
            iou = self._overlap(d, g) if masks is None else masks.overlap(self._kept[d], g, group[d])
            close = iou >= THRESHOLDS[0]
            detections.append(d[close])
            objects.append(g[close])
            overlaps.append(iou[close])
            start = stop
        empty = np.zeros(0, np.int64)
        d, g = np.concatenate([empty, *detections]), np.concatenate([empty, *objects])
        iou = np.concatenate([np.zeros(0), *overlaps])
        order = np.lexsort((-g, -iou, d, self._rank[d]))
        self._pair_d, self._pair_g, self._pair_iou = d[order], g[order], iou[order]

    def _overlap(self, d: Ints, g: Ints) -> Floats:
        """pycocotools' IoU of boxes; with a crowd the share of the detection that lies in it."""
        a, b = self.found.boxes_xywh[self._kept[d]], self.truth.boxes_xywh[g]
        w = np.minimum(a[:, 0] + a[:, 2], b[:, 0] + b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
        h = np.minimum(a[:, 1] + a[:, 3], b[:, 1] + b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
        shared = np.where((w > 0) & (h > 0), w * h, 0.0)
        own, other = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
        union = np.where(self.truth.crowd[g], own, own + other - shared)
        with np.errstate(divide="ignore", invalid="ignore"):
            iou: Floats = np.where(shared > 0, shared / union, 0.0)
        return iou

    def match(self, area: tuple[float, float] = AREAS["AP"], thresholds: Floats = THRESHOLDS) -> Matches:
        """Match for one size range, in pixels of area with both ends included."""
        low, high = area
        outside = (self.truth.area < low) | (self.truth.area > high)
        ignore = self.truth.crowd | outside
        # The first free one of a detection's objects in this order is the one it takes.
        d, g, iou = self._pair_d, self._pair_g, self._pair_iou
        order = np.argsort(2 * np.cumsum(np.diff(d, prepend=-1) != 0) + ignore[g], kind="stable")
        d, g, iou = d[order], g[order], iou[order]
        rank = self._rank[d]
        bounds = np.searchsorted(rank, np.arange(int(rank[-1]) + 2)) if len(rank) else np.zeros(1, np.int64)
        truth: NDArray[np.int32] = np.full((len(thresholds), len(self._kept)), -1, np.int32)
        crowd = self.truth.crowd
        for k, threshold in enumerate(np.minimum(thresholds, 1 - 1e-10)):
            free = np.ones(len(crowd), bool)
            for start, stop in pairwise(bounds.tolist()):
                # Detections of one rank are of different images or classes: none takes another's object.
                at = start + np.flatnonzero((iou[start:stop] >= threshold) & free[g[start:stop]])
                if not len(at):
                    continue
                first = np.ones(len(at), bool)
                first[1:] = d[at[1:]] != d[at[:-1]]
                at = at[first]
                truth[k, d[at]] = g[at]
                free[g[at]] = crowd[g[at]]
        truth = truth[:, self._final]
        took = truth >= 0
        # The last entry answers for -1.
        ignored_object = took & np.r_[ignore, False][truth]
        own = self.found.area[self.rows]
        inside = (own >= low) & (own <= high)
        return Matches(~ignore, took & ~ignored_object, ignored_object | (~took & ~inside), truth, inside)


class _Masks:
    """Overlaps of masks, group by group."""

    def __init__(self, truth: GroundTruth, found: Detections) -> None:
        assert found.masks is not None
        self.crowd = truth.crowd
        self.truth = to_rles(truth.masks(), [truth.sizes_hw[i - 1] for i in truth.image.tolist()])
        self.found = to_rles(found.masks, [truth.sizes_hw[i - 1] for i in found.image.tolist()])

    def overlap(self, d: Ints, g: Ints, group: Ints) -> Floats:
        """Pairs of rows -> IoU.

        Pairs of one `group`, an image and class, stand together: each of its detections, one after the other, with
        each of its objects.
        """
        iou = np.zeros(len(d))
        if not len(d):
            return iou
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        stops = np.r_[starts[1:], len(d)]
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            of_group = d[start:stop]
            objects = g[start : start + int(np.searchsorted(of_group != of_group[0], True))]
            found = [self.found[k] for k in of_group[:: len(objects)].tolist()]
            crowd = self.crowd[objects].astype(np.uint8).tolist()
            got = hotcoco.mask.iou(found, [self.truth[k] for k in objects.tolist()], crowd)
            iou[start:stop] = np.asarray(got).ravel()
        return iou


def _place(ordered: Ints) -> Ints:
    """The position of each entry among the equal ones, where equal ones stand together."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(ordered)])
    place: Ints = np.arange(len(ordered)) - np.repeat(starts, lengths)
    return place
