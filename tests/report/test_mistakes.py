"""Each kind of mistake from a case made for it, and all of them against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from cvtune.report.matching import Objects, match
from cvtune.report.mistakes import BACKGROUND, BOTH, DUPLICATE, IGNORED, PLACE, RIGHT, WRONG_CLASS, find_mistakes


def objects(*rows: tuple[int, tuple[float, float, float, float], float, bool]) -> Objects:
    """Class index, box, score, crowd; all on image 0."""
    return Objects(
        np.zeros(len(rows), np.int64),
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[2] for row in rows], np.float64),
        np.array([row[3] for row in rows], bool),
    )


TRUTH = objects((0, (0, 0, 10, 10), 1, False), (1, (50, 0, 10, 10), 1, False), (0, (0, 80, 40, 20), 1, True))
CASES = {
    "right": (0, (0, 0, 10, 10), RIGHT),
    "wrong class": (1, (0, 0, 10, 10), WRONG_CLASS),
    "badly placed": (0, (6, 0, 10, 10), PLACE),
    "both": (1, (6, 0, 10, 10), BOTH),
    "background": (0, (100, 100, 10, 10), BACKGROUND),
    "hardly touches": (0, (9.5, 0, 10, 10), BACKGROUND),
    "in a crowd region": (0, (5, 85, 5, 5), IGNORED),
    "another class in a crowd region": (1, (5, 85, 5, 5), BACKGROUND),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind(case: str) -> None:
    category, box, expected = CASES[case]
    found = objects((category, box, 0.9, False))
    assert find_mistakes(TRUTH, found, match(TRUTH, found, 1), 1).tolist() == [expected]


def test_the_lower_score_is_the_duplicate() -> None:
    found = objects((0, (0, 0, 10, 10), 0.4, False), (0, (1, 0, 10, 10), 0.9, False))
    assert find_mistakes(TRUTH, found, match(TRUTH, found, 1), 1).tolist() == [DUPLICATE, RIGHT]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_a_kind_does_not_depend_on_lower_scores(threshold: float) -> None:
    rng = np.random.default_rng(3)

    def some(n: int) -> Objects:
        xy, wh = rng.uniform(0, 60, (n, 2)), rng.uniform(10, 40, (n, 2))
        boxes = np.concatenate([xy, wh], 1)
        return Objects(rng.integers(0, 5, n), rng.integers(0, 3, n), boxes, rng.permutation(n) / n, np.zeros(n, bool))

    truth, found = some(60), some(300)
    codes = find_mistakes(truth, found, match(truth, found, 5), 5)
    kept = found.score >= threshold
    fewer = Objects(
        found.image[kept], found.category[kept], found.boxes_xywh[kept], found.score[kept], found.crowd[kept]
    )
    np.testing.assert_array_equal(find_mistakes(truth, fewer, match(truth, fewer, 5), 5), codes[kept])
    assert len(set(codes.tolist())) >= 5


def test_no_objects_and_no_detections() -> None:
    none = objects()
    found = objects((0, (0, 0, 1, 1), 0.5, False))
    assert find_mistakes(none, found, match(none, found, 1), 1).tolist() == [BACKGROUND]
    assert find_mistakes(TRUTH, none, match(TRUTH, none, 1), 1).tolist() == []
