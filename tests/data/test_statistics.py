"""Statistics: quantiles, COCO's sizes, what a spec's anchors miss, plots that are valid SVG."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from cvtune.data.anchors import compare_with_anchors, scale_xy
from cvtune.data.coco import Annotation, Category, Dataset, Image, save_coco
from cvtune.data.set_stats import describe_set
from cvtune.data.statistics import describe, histogram


def made() -> Dataset:
    images = (Image(1, "a.jpg", 400, 200), Image(2, "b.jpg", 400, 200), Image(3, "c.jpg", 100, 100))
    boxes = [(1, 1, 10, 40), (1, 1, 100, 100), (2, 2, 40, 40)]
    annotations = [
        Annotation(i, image, category, (0, 0, w, h), w * h) for i, (image, category, w, h) in enumerate(boxes)
    ]
    crowd = Annotation(9, 3, 1, (0, 0, 100, 100), 1e4, iscrowd=True)
    return Dataset(images, (*annotations, crowd), (Category(1, "cat"), Category(2, "<dog>"), Category(3, "eel")))


def test_a_set_is_described() -> None:
    stats = describe(made())
    assert (stats.images, stats.empty_images, stats.objects, stats.crowds, stats.with_masks) == (3, 1, 3, 1, 0)
    assert {name: (c.objects, c.images, c.median_size) for name, c in stats.classes.items()} == {
        "cat": (2, 1, 60.0),
        "<dog>": (1, 1, 40.0),
        "eel": (0, 0, None),
    }
    assert stats.areas == {"small": 1, "medium": 1, "large": 1}
    assert stats.sizes is not None
    assert (stats.sizes.min, stats.sizes.p50, stats.sizes.max) == (20, 40, 100)
    assert stats.ratios is not None
    assert (stats.ratios.min, stats.ratios.max) == (0.25, 1)
    assert stats.objects_an_image is not None
    assert (stats.objects_an_image.min, stats.objects_an_image.max) == (0, 2)
    assert list(stats.image_sizes) == [(400, 200, 2), (100, 100, 1)]


def test_an_empty_set_is_described_too() -> None:
    stats = describe(Dataset((), (), ()))
    assert (stats.images, stats.objects, stats.sizes) == (0, 0, None)
    assert json.dumps(stats.to_json())


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [
        ({}, (1, 1)),
        ({"short": 800}, (4, 4)),
        ({"short": [640, 800]}, (4, 4)),
        ({"short": [640, 800], "test_short": 400}, (2, 2)),
        ({"short": 800, "long": 1200}, (3, 3)),
        ({"square": 300, "fit": "stretch"}, (0.75, 1.5)),
        ({"square": 300, "fit": "pad"}, (0.75, 0.75)),
    ],
)
def test_scale(image_size: dict[str, object], expected: tuple[float, float]) -> None:
    assert scale_xy((400, 200), image_size) == pytest.approx(expected)


def test_what_anchors_miss() -> None:
    fit = compare_with_anchors(made(), {"short": 100}, ((32, 64), (1.0,)))
    # Halved: 5 x 20 (size 10), 50 x 50, 20 x 20.
    assert (fit.below_smallest, fit.below_half, fit.below_smallest_by_class) == (2, 1, {"cat": 1, "<dog>": 1})
    # 5 x 20 in 32 x 32: 100 / 1024; 50 x 50 in 64 x 64: 0.61; 20 x 20 in 32 x 32: 0.39.
    assert fit.unmatched == 2
    unknown = compare_with_anchors(made(), {"short": 100}, None)
    assert (unknown.below_smallest, unknown.unmatched, unknown.anchors) == (None, None, None)


def test_the_shares_of_a_histogram_are_all_of_it() -> None:
    corners = histogram(np.array([0.0, 1, 1, 9, 99]), np.array([0.0, 1, 2, 10]))
    assert corners == [(0, 0), (0, 20), (1, 20), (1, 40), (2, 40), (2, 40), (10, 40), (10, 0)]


def test_plots_are_svg_files_that_stand_alone(tmp_path: Path) -> None:
    for name in ("train", "val"):
        save_coco(made(), tmp_path / "set" / f"{name}.json")
    plan = {"model.family": "faster_rcnn", "data.image_size.short": [800], "data.image_size.long": {"pending": True}}
    stats = describe_set(tmp_path / "set", plot=tmp_path / "plots", plan=plan)
    assert list(stats.parts) == list(stats.anchors) == ["train", "val"]
    assert stats.anchors["val"].smallest_anchor == 32
    assert json.dumps(stats.to_json())
    assert [path.name for path in stats.plots] == [
        "classes.svg",
        "sizes.svg",
        "ratios.svg",
        "objects.svg",
        "images.svg",
    ]
    for path in stats.plots:
        text = path.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in text
    assert "&lt;dog&gt;" in stats.plots[0].read_text()
    assert "train" in stats.plots[1].read_text()


def test_plots_of_a_set_without_objects(tmp_path: Path) -> None:
    save_coco(Dataset((Image(1, "a.jpg", 5, 5),), (), (Category(1, "x"),)), tmp_path / "a.json")
    plots = describe_set(tmp_path / "a.json", plot=tmp_path / "plots").plots
    assert [path.name for path in plots] == ["classes.svg", "objects.svg", "images.svg"]
