"""Counts at every threshold against counting again, and the threshold against trying all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cvtune.report.counts import MOST_CLASSES, STEPS, Counts, count_all, whole_scores
from cvtune.report.matching import Objects
from cvtune.report.mistakes import BACKGROUND, IGNORED, MISTAKES, RIGHT


def random_counts(seed: int, classes: int = 3) -> tuple[Objects, Objects, np.ndarray, Counts]:
    rng = np.random.default_rng(seed)
    n, m = 50, 400
    truth = Objects(
        rng.integers(0, 4, n), rng.integers(0, classes, n), np.ones((n, 4)), np.ones(n), rng.uniform(0, 1, n) < 0.1
    )
    found = Objects(
        rng.integers(0, 4, m), rng.integers(0, classes, m), np.ones((m, 4)), rng.uniform(0, 1, m), np.zeros(m, bool)
    )
    codes = np.where(rng.uniform(0, 1, m) < 0.08, RIGHT, rng.integers(1, 7, m)).astype(np.int8)
    return truth, found, codes, count_all(truth, found, codes, classes)


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_counting_again(seed: int) -> None:
    truth, found, codes, counts = random_counts(seed)
    for step in (0, 17, 50, 99, 100):
        for c in (None, 0, 2):
            mine = np.ones(len(found), bool) if c is None else found.category == c
            above = mine & (found.score >= step / STEPS - 1e-9)
            objects = int((~truth.crowd & ((truth.category == c) if c is not None else True)).sum())
            tally = counts.at(step, c)
            assert tally.right == int((above & (codes == RIGHT)).sum())
            assert tally.false == int((above & (codes != RIGHT) & (codes != IGNORED)).sum())
            assert tally.missed == objects - tally.right
            assert tally.mistakes == {k: int((above & (codes == k)).sum()) for k in MISTAKES}


@pytest.mark.parametrize("seed", range(4))
def test_the_best_step_is_the_best_of_all(seed: int) -> None:
    counts = random_counts(seed)[3]
    best = counts.best_step()
    assert best is not None
    scores = [counts.at(step).f1 for step in range(STEPS + 1)]
    assert scores[best] == pytest.approx(max(scores))
    assert max(scores[best + 1 :], default=0.0) < scores[best]


def test_nothing_found_has_no_best_step() -> None:
    truth, found, _, _ = random_counts(0)
    counts = count_all(truth, found, np.full(len(found), BACKGROUND, np.int8), 3)
    assert counts.best_step() is None
    assert counts.at(0).f1 == 0.0


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.0, 0), (0.29, 2900), (0.57, 5700), (1.0, 10_000), (1.7, 10_000), (-0.2, 0), (0.61999, 6199)],
)
def test_scores_round_down(score: float, expected: int) -> None:
    assert whole_scores(np.array([score])).tolist() == [expected]


def test_the_page_gets_every_class_or_the_sum_of_the_rest() -> None:
    counts = random_counts(0)[3]
    page = counts.to_json()
    assert [record["index"] for record in page["classes"]] == [0, 1, 2]
    total = sum(sum(codes) for record in page["classes"] for _, *codes in record["bins"])
    assert total == 400
    table = np.zeros((1203, STEPS + 1, 7), np.int64)
    table[:, 30, 0] = 1
    page = Counts(table, np.arange(1203)).to_json()
    assert len(page["classes"]) == MOST_CLASSES + 1
    assert page["classes"][0]["index"] == 1003
    assert page["classes"][-1] == {"index": -1, "objects": sum(range(1003)), "bins": [[30, 1003, 0, 0, 0, 0, 0, 0][:8]]}
    assert json.dumps(page)
