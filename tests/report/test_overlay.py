"""Names in drawings: readable at every shape of image, and inside of it."""

from __future__ import annotations

import numpy as np
import pytest

from cvtune.report.overlay import draw_box, text_size, view_size

COLUMN, HIGHEST = 240, 336  # of a drawing on a desktop's page, in px: style.css


@pytest.mark.parametrize("size_wh", [(640, 480), (300, 900), (1600, 300), (64, 64), (4000, 3000)])
def test_names_are_as_large_on_the_page_whatever_the_image(size_wh: tuple[int, int]) -> None:
    width, height = view_size(size_wh)
    shown = text_size((width, height)) * min(COLUMN / width, HIGHEST / height)
    assert 9.5 <= shown <= 11


@pytest.mark.parametrize(
    ("box_xywh", "expected"),
    [
        ((100, 200, 50, 50), '<text x="102" y="200" dy="-.25em">'),
        ((100, 3, 50, 50), '<text x="102" y="3" dy="1em">'),
        ((480, 200, 30, 50), '<text x="510" y="200" dy="-.25em" text-anchor="end">'),
    ],
    ids=["above", "inside at the top", "to the left at the right edge"],
)
def test_names_stay_inside_of_the_drawing(box_xywh: tuple[int, ...], expected: str) -> None:
    drawn = draw_box("o", {}, np.array(box_xywh, np.float64), "hazelnut 0.59", "", (512, 384))
    assert expected in drawn
