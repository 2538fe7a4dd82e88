"""Matching against a plain loop in the words of pycocotools."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cvtune.report.counts import count_all
from cvtune.report.matching import Matches, Objects, match
from cvtune.report.mistakes import find_mistakes


def boxes(rng: np.random.Generator, n: int, images: int, classes: int, crowds: float = 0.0) -> Objects:
    xy, wh = rng.uniform(0, 60, (n, 2)), rng.uniform(10, 40, (n, 2))
    return Objects(
        rng.integers(0, images, n),
        rng.integers(0, classes, n),
        np.concatenate([xy, wh], 1),
        np.round(rng.uniform(0, 1, n), 1),
        rng.uniform(0, 1, n) < crowds,
    )


def overlap(a: np.ndarray, b: np.ndarray, crowd: bool) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, w) * max(0.0, h)
    return shared / (a[2] * a[3] if crowd else a[2] * a[3] + b[2] * b[3] - shared)


def plain_match(truth: Objects, found: Objects, iou: float) -> Matches:
    truth_of, ignored, taken = np.full(len(found), -1), np.zeros(len(found), bool), set()
    for d in np.argsort(-found.score, kind="stable"):
        best, best_iou = -1, iou
        for t in range(len(truth)):
            same = truth.image[t] == found.image[d] and truth.category[t] == found.category[d]
            if not same or t in taken:
                continue
            value = overlap(found.boxes_xywh[d], truth.boxes_xywh[t], bool(truth.crowd[t]))
            if truth.crowd[t]:
                ignored[d] |= value >= iou
            elif value >= best_iou and (best < 0 or value > best_iou):
                best, best_iou = t, value
        if best >= 0:
            truth_of[d] = best
            taken.add(best)
    return Matches(truth_of, ignored & (truth_of < 0))


@pytest.mark.parametrize("seed", range(12))
def test_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = boxes(rng, 60, 4, 2, crowds=0.15), boxes(rng, 120, 4, 2)
    got, expected = match(truth, found, 4, 0.3), plain_match(truth, found, 0.3)
    assert (expected.truth_of >= 0).sum() > 5
    np.testing.assert_array_equal(got.truth_of, expected.truth_of)
    np.testing.assert_array_equal(got.ignored, expected.ignored)


def test_nothing_is_found_among_nothing() -> None:
    rng = np.random.default_rng(0)
    truth, none = boxes(rng, 5, 2, 1), boxes(rng, 0, 2, 1)
    assert len(match(truth, none, 2).truth_of) == 0
    assert (match(none, truth, 2).truth_of == -1).all()


def test_five_thousand_images_are_quick() -> None:
    rng = np.random.default_rng(0)
    truth, found = boxes(rng, 50_000, 5000, 5), boxes(rng, 250_000, 5000, 5)
    started = time.process_time()
    matches = match(truth, found, 5000)
    codes = find_mistakes(truth, found, matches, 5000)
    assert count_all(truth, found, codes, 5).best_step() is not None
    # About half a second; a loop over pairs takes minutes.
    assert time.process_time() - started < 15
