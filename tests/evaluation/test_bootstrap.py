"""The 95 % interval holds the true AP as often as it says; it narrows with more images."""

from __future__ import annotations

import numpy as np
import pytest

from cvtune.evaluation.bootstrap import Resampler, draw_weights, interval
from cvtune.evaluation.detections import Detections
from cvtune.evaluation.ground_truth import GroundTruth

CLASSES = 2


def simulate(rng: np.random.Generator, images: int) -> tuple[GroundTruth, Detections]:
    """Images with objects of two classes; some are found, well or badly; some detections lie elsewhere."""
    counts = rng.poisson(3, images) + 1
    image = np.repeat(np.arange(1, images + 1), counts)
    n = len(image)
    category = rng.integers(1, CLASSES + 1, n)
    # A grid, so that objects do not overlap.
    place = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    boxes = np.stack([50.0 * place, np.full(n, 10.0), np.full(n, 40.0), np.full(n, 40.0)], 1)
    found = rng.random(n) < 0.75
    moved = boxes[found].copy()
    moved[:, 0] += np.abs(rng.normal(0, 5, len(moved)))
    score = np.clip(rng.normal(0.65, 0.2, len(moved)), 0.01, 1)
    false = rng.integers(1, images + 1, images)
    false_boxes = np.stack([50.0 * rng.integers(0, 9, images), np.full(images, 90.0), *[np.full(images, 40.0)] * 2], 1)
    false_score = np.clip(rng.normal(0.4, 0.2, images), 0.01, 1)
    truth = GroundTruth(
        "simulated",
        {i: i for i in range(1, images + 1)},
        {1: 1, 2: 2},
        ("a", "b"),
        ((200, 1000),) * images,
        image,
        category,
        boxes,
        boxes[:, 2] * boxes[:, 3],
        np.zeros(n, bool),
        (None,) * n,
        tuple(range(n)),
        0,
    )
    all_boxes = np.concatenate([moved, false_boxes])
    detections = Detections(
        np.concatenate([image[found], false]),
        np.concatenate([category[found], rng.integers(1, CLASSES + 1, images)]),
        np.concatenate([score, false_score]),
        all_boxes,
        all_boxes[:, 2] * all_boxes[:, 3],
        None,
    )
    return truth, detections


def coverage(sets: int, images: int, samples: int, name: str = "AP") -> float:
    rng = np.random.default_rng(7)
    large = Resampler(*simulate(rng, 20_000))
    known = float(large.count(np.ones((20_000, 1), np.float32)).figures[name][0])
    held = 0
    for seed in range(sets):
        resampler = Resampler(*simulate(rng, images))
        value = float(resampler.count(np.ones((images, 1), np.float32)).figures[name][0])
        found = interval(resampler.count(draw_weights(images, samples, seed)).figures[name], value, images)
        assert found is not None
        held += found[0] <= known <= found[1]
    return held / sets


def test_the_interval_holds_the_true_ap_quickly() -> None:
    assert 0.84 <= coverage(sets=50, images=60, samples=200) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AP", "AP50"])
@pytest.mark.parametrize("images", [50, 200])
def test_the_interval_holds_the_true_ap(images: int, name: str) -> None:
    assert 0.90 <= coverage(sets=200, images=images, samples=1000, name=name) <= 0.99


def test_more_images_narrow_the_interval() -> None:
    widths = []
    for images in (50, 800):
        resampler = Resampler(*simulate(np.random.default_rng(1), images))
        value = float(resampler.count(np.ones((images, 1), np.float32)).figures["AP"][0])
        low, high = interval(resampler.count(draw_weights(images, 300)).figures["AP"], value, images) or (0.0, 0.0)
        assert low < value < high
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 6.5  # the root of 16 is 4


def test_too_few_draws_are_no_interval() -> None:
    assert interval(np.full(100, np.nan), 0.5, 9) is None
    assert interval(np.full(100, 0.5), 0.5, 9) == (0.5, 0.5)


@pytest.mark.parametrize("images", [3, 60])
def test_draws_are_counted_alike_however_many_go_together(images: int) -> None:
    """Few draws are added up by NumPy, many row by row; many detections of few images, image by image."""
    resampler = Resampler(*simulate(np.random.default_rng(3), images))
    weights = draw_weights(images, 96)
    together = resampler.count(weights)
    apart = [resampler.count(weights[:, i : i + 12]) for i in range(0, 96, 12)]
    for name, values in together.figures.items():
        np.testing.assert_array_equal(values, np.concatenate([part.figures[name] for part in apart]))
    np.testing.assert_array_equal(together.per_class, np.concatenate([part.per_class for part in apart], axis=1))
