from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cvtune.data.coco import Rle
from cvtune.data.draw import Object, class_colour, draw_objects, side_by_side
from cvtune.data.geometry import mask_to_rle

BOX = (30.0, 40.0, 50.0, 20.0)


def _image(height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 60, np.uint8)


def _is(rgb: NDArray[np.uint8], name: str) -> NDArray[np.bool_]:
    return (rgb == class_colour(name)).all(axis=-1)


def _mask(height: int = 120, width: int = 160) -> Rle:
    mask = np.zeros((height, width), bool)
    mask[42:50, 35:60] = True
    return mask_to_rle(mask)


def test_no_objects_change_nothing_and_give_a_copy() -> None:
    rgb = _image()
    drawn = draw_objects(rgb, [])
    np.testing.assert_array_equal(drawn, rgb)
    assert not np.shares_memory(drawn, rgb)


def test_a_box_runs_along_its_outermost_pixels() -> None:
    rgb = _image()
    drawn = draw_objects(rgb, [(BOX, "cat", None, None)])
    assert drawn.dtype == np.uint8
    assert (rgb == 60).all()
    frame = np.zeros((120, 160), bool)
    frame[40:60, 30:80] = True
    frame[41:59, 31:79] = False
    assert _is(drawn, "cat")[frame].all()
    assert (drawn[41:59, 31:79] == 60).all()
    assert (drawn[60:] == 60).all()
    assert (drawn[:, 80:] == 60).all()


@pytest.mark.parametrize("longest", [200, 800, 1600, 2400])
def test_thick_lines_stay_within_the_box(longest: int) -> None:
    drawn = draw_objects(_image(longest // 2, longest), [((100, 90, 80, 7), "c", None, None)])
    column = np.flatnonzero(_is(drawn, "c")[:, 175])
    assert column.min() >= 90
    assert column.max() <= 96
    assert 90 in column
    assert 96 in column


def test_a_mask_is_shaded_and_shows_what_is_below() -> None:
    rgb = _image()
    rgb[45] = 200
    drawn = draw_objects(rgb, [(BOX, "cat", 0.5, _mask())]).astype(int)
    expected = np.round(0.6 * rgb[44:47, 40].astype(float) + 0.4 * np.array(class_colour("cat")))
    np.testing.assert_array_equal(drawn[44:47, 40], expected)
    np.testing.assert_array_equal(drawn[45, 65:75], rgb[45, 65:75])


def test_the_label_stands_above_its_box_and_can_be_read() -> None:
    drawn = draw_objects(_image(), [(BOX, "cat", 0.87, None)])
    label = drawn[25:40, 30:90]
    assert _is(label, "cat").sum() > 200
    light = np.dot(class_colour("cat"), (0.299, 0.587, 0.114)) > 140
    ink = (label.astype(int).max(axis=-1) < 60) if light else (label.astype(int).min(axis=-1) > 200)
    assert ink.sum() > 20


def test_names_and_scores_make_different_labels() -> None:
    pictures = [
        draw_objects(_image(), [(BOX, name, score, None)]).tobytes()
        for name, score in (("cat", None), ("cat", 0.5), ("cat", 0.51), ("dog", 0.5))
    ]
    assert len(set(pictures)) == 4


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    objects: list[Object] = [(BOX, "one", None, None), ((34, 41, 50, 25), "two", None, None)]
    both = draw_objects(_image(), objects)
    alone = [_is(draw_objects(_image(), [each]), each[1])[25:40].sum() for each in objects]
    assert _is(both, "one")[25:40].sum() == alone[0]
    assert _is(both[66:85], "two").sum() > 100  # the second stands below its box


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 160, 120),
        (-20.5, -30, 15, 10),
        (150, 110, 40, 40),
        (500, 500, 10, 10),
        (159.4, 119.2, 0.4, 0.5),
        (10, 10, 0, 0),
    ],
)
def test_boxes_at_and_beyond_the_border_are_seen(box: tuple[float, ...]) -> None:
    drawn = draw_objects(_image(), [(box, "cat", 0.5, None)])  # type: ignore[list-item]
    assert drawn.shape == (120, 160, 3)
    assert _is(drawn, "cat").sum() > 50


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (20, 20)])
def test_tiny_images(shape: tuple[int, int]) -> None:
    drawn = draw_objects(_image(*shape), [((0, 0, 1, 1), "a rather long name", 0.5, None)])
    assert drawn.shape == (*shape, 3)


@pytest.mark.parametrize(("name", "same"), [("émeu", "emeu"), ("x" * 100, "x" * 37 + "..."), ("猫", "?"), ("", "")])
def test_any_name_can_be_written(name: str, same: str) -> None:
    drawn, other = (draw_objects(_image(), [(BOX, n, None, None)]) for n in (name, same))
    # The colours differ, the letters do not.
    np.testing.assert_array_equal(_is(drawn, name), _is(other, same))


def test_a_colour_depends_on_the_name_alone() -> None:
    names = [f"class {i}" for i in range(200)]
    colours = [class_colour(name) for name in names]
    assert colours == [class_colour(name) for name in names]
    assert len(set(colours)) > 180
    assert all(max(colour) == 255 for colour in colours)
    assert class_colour("cat") == (38, 255, 213)  # the same in every process and version


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a mask of \[10, 10\] does not fit an image of \[120, 160\]"):
        draw_objects(_image(), [(BOX, "cat", None, _mask(10, 10))])


def test_pictures_side_by_side_have_white_columns_between() -> None:
    left, right = _image(), draw_objects(_image(), [(BOX, "dog", 0.9, None)])
    drawn = side_by_side(left, right)
    assert drawn.shape == (120, 2 * 160 + 4, 3)
    np.testing.assert_array_equal(drawn[:, :160], left)
    assert (drawn[:, 160:164] == 255).all()
    np.testing.assert_array_equal(drawn[:, 164:], right)
