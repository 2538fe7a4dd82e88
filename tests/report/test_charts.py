"""Charts: ticks, thinning, and SVG that is well-formed, named and described."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from cvtune.report.charts import MOST_POINTS, Series, line_chart, nice_ticks, smooth, thin


@pytest.mark.parametrize(
    ("low", "high", "wanted", "whole", "expected"),
    [
        (0, 82, 4, False, [0, 20, 40, 60, 80, 100]),
        (0, 0.01, 4, False, [0, 0.002, 0.004, 0.006, 0.008, 0.01]),
        (1, 4, 6, True, [1, 2, 3, 4]),
        (0, 312, 6, True, [0, 50, 100, 150, 200, 250, 300, 350]),
        (3, 3, 4, False, [2.6, 2.8, 3, 3.2, 3.4]),
        (0, 0, 4, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-1, 1, 4, False, [-1, -0.5, 0, 0.5, 1]),
        (1e-9, 5e-9, 4, False, [1e-9, 2e-9, 3e-9, 4e-9, 5e-9]),
    ],
)
def test_ticks_are_round_and_enclose_the_data(
    low: float, high: float, wanted: int, whole: bool, expected: list[float]
) -> None:
    assert nice_ticks(low, high, wanted, whole) == pytest.approx(expected)


def test_thin_keeps_the_mean_and_the_order() -> None:
    points = [(float(i), float(i % 7)) for i in range(100_000)]
    kept = thin(points)
    assert len(kept) == MOST_POINTS
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)
    assert sum(y for _, y in kept) / len(kept) == pytest.approx(3, abs=0.01)
    assert thin(points[:10]) == points[:10]


def test_smooth_begins_at_the_first_value_and_keeps_a_constant() -> None:
    assert [y for _, y in smooth([(0, 4.0), (1, 4.0), (2, 4.0)], 10)] == pytest.approx([4, 4, 4])
    assert smooth([(0, 8.0), (1, 0.0)], 9)[0] == (0, pytest.approx(8.0))


def test_a_chart_is_well_formed_named_and_described() -> None:
    lines = [Series('<b>"a" & b', [(1, 2.0), (2, 1.0)]), Series("c", [(1, 1.0), (2, 0.5)])]
    chart = line_chart("loss", "Training <loss>", lines, "step", "loss")
    assert chart is not None
    svg = ElementTree.fromstring(chart.svg)
    ids = {element.get("id"): element.text or "" for element in svg.iter() if element.get("id")}
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == "loss-t loss-d"
    assert set(ids) == {"loss-t", "loss-d"}
    assert ids["loss-t"] == "Training <loss>"
    assert '<b>"a" & b: 2 at step 1, 1 at 2, between 1 and 2.' in ids["loss-d"]
    texts = [element.text for element in svg.iter("text")]
    assert {"step", "loss", "0", "1", "2"} <= set(texts)
    assert len(list(svg.iter("polyline"))) == 2
    assert [name for _, name in chart.legend] == ['<b>"a" & b', "c"]


@pytest.mark.parametrize("points", [[(5.0, 1.0)], [(5.0, 0.0), (6.0, 0.0)], [(1.0, 1e9), (2.0, -1e9)]])
def test_odd_data_stay_within_the_frame(points: list[tuple[float, float]]) -> None:
    chart = line_chart("k", "t", [Series("s", points)], "x", "y")
    assert chart is not None
    svg = ElementTree.fromstring(chart.svg)
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    for line in svg.iter("polyline"):
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_nothing_to_draw_is_no_chart() -> None:
    assert line_chart("k", "t", [Series("s", [])], "x", "y") is None
    assert line_chart("k", "t", [], "x", "y") is None
