from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cvtune.data.augment import Augment, Augmented, check_augment, make_augment
from cvtune.errors import SpecError

SEEDS = range(200)
WIDTH, HEIGHT = 97, 71
COLOURS = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255), (255, 255, 255)], np.uint8
)
# Polygons in pixel corners: a square inside, a triangle, one at each of two borders, a one-pixel object inside and one
# in the last corner, and a bar that lies over the triangle.
OBJECTS: list[list[tuple[int, int]]] = [
    [(10, 8), (30, 8), (30, 28), (10, 28)],
    [(50, 60), (85, 60), (60, 20)],
    [(0, 40), (9, 40), (9, 55), (0, 55)],
    [(70, 0), (92, 0), (92, 7), (70, 7)],
    [(40, 35), (41, 35), (41, 36), (40, 36)],
    [(WIDTH - 1, HEIGHT - 1), (WIDTH, HEIGHT - 1), (WIDTH, HEIGHT), (WIDTH - 1, HEIGHT)],
    [(45, 48), (90, 48), (90, 52), (45, 52)],
]
N = len(OBJECTS)
RECTANGLES = [0, 2, 3, 4, 5, 6]

FLIPS: list[Mapping[str, Any]] = [
    {"HorizontalFlip": {"p": 0.5}},
    {"VerticalFlip": {"p": 0.5}},
    {"RandomRotate90": {"p": 0.9}},
    {"Transpose": {"p": 0.5}},
    {"D4": {}},
]
CROPS: list[Mapping[str, Any]] = [
    {"RandomCrop": {"height": 40, "width": 45}},
    {"CenterCrop": {"height": 30, "width": 60}},
    {"RandomCropFromBorders": {}},
    {"AtLeastOneBBoxRandomCrop": {"height": 33, "width": 35, "erosion_factor": 0.5}},
    {"BBoxSafeRandomCrop": {"erosion_rate": 0.3}},
    {"PadIfNeeded": {"min_height": 90, "min_width": 150, "position": "random"}},
    {"CropAndPad": {"px": [-20, 20], "keep_size": False}},
]
RESIZES: list[Mapping[str, Any]] = [
    {"RandomScale": {"scale_limit": [-0.6, 1.0], "interpolation": 0, "p": 1}},
    {"RandomSizedBBoxSafeCrop": {"height": 80, "width": 110, "interpolation": 0, "erosion_rate": 0.2}},
    {"RandomResizedCrop": {"size": [64, 64], "scale": [0.2, 1], "interpolation": 0}},
    {"LongestMaxSize": {"max_size": 60, "interpolation": 0}},
]
TURNS: list[Mapping[str, Any]] = [
    {"Affine": {"scale": [0.6, 1.4], "rotate": [-45, 45], "translate_percent": [-0.3, 0.3], "shear": [-15, 15],
                "interpolation": 0, "p": 1}},
    {"Rotate": {"limit": 90, "interpolation": 0, "p": 1}},
    {"Rotate": {"limit": 40, "interpolation": 0, "p": 1, "crop_border": True}},
    {"SafeRotate": {"limit": 90, "interpolation": 0, "p": 1}},
    {"Perspective": {"scale": [0.05, 0.15], "interpolation": 0, "p": 1}},
    {"Perspective": {"scale": [0.05, 0.15], "interpolation": 0, "p": 1, "fit_output": True, "keep_size": False}},
]  # fmt: skip
WARPS: list[Mapping[str, Any]] = [
    {"ElasticTransform": {"alpha": 60, "sigma": 6, "interpolation": 0, "p": 1}},
    {"GridDistortion": {"interpolation": 0, "p": 1}},
    {"OpticalDistortion": {"distort_limit": 0.3, "interpolation": 0, "p": 1}},
    {"GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 6, "interpolation": 0, "p": 1}},
    {"ThinPlateSpline": {"interpolation": 0, "p": 1}},
]
PHOTOMETRIC: list[Mapping[str, Any]] = [
    {"RandomBrightnessContrast": {"p": 1}},
    {"HueSaturationValue": {"p": 1}},
    {"ColorJitter": {"p": 1}},
    {"GaussNoise": {"p": 1}},
    {"ToGray": {"p": 1}},
    {"GaussianBlur": {"p": 1}},
]


def _name(step: Mapping[str, Any]) -> str:
    return next(iter(step))


def _draw(objects: Sequence[int] = range(N)) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_]]:
    """A black image with objects of one colour each; what lies below another object is not part of its mask."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for i in objects:
        points = np.array(OBJECTS[i]) - (np.array(OBJECTS[i]) == np.max(OBJECTS[i], axis=0))
        cv2.fillPoly(rgb, [points.astype(np.int32)], COLOURS[i].tolist())
    masks = np.array([_pixels(rgb, i) for i in objects]).reshape(-1, HEIGHT, WIDTH)
    boxes = np.array([_around(mask) for mask in masks]).reshape(-1, 4)
    return rgb, boxes, masks


def _pixels(rgb: NDArray[np.uint8], i: int) -> NDArray[np.bool_]:
    return (rgb == COLOURS[i]).all(axis=2)


def _around(mask: NDArray[Any]) -> NDArray[np.float64]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _check(result: Augmented, objects: Sequence[int], tolerance: float, masks: bool = True) -> None:
    """Every mask is its colour's pixels, every box is tight around them, and an object that is gone has no pixels."""
    height, width = result.rgb.shape[:2]
    assert result.boxes_xyxy.shape == (len(result.kept), 4)
    assert result.boxes_xyxy.dtype == np.float64
    assert (result.boxes_xyxy[:, 2:] > result.boxes_xyxy[:, :2]).all()
    assert (result.boxes_xyxy >= 0).all()
    assert (result.boxes_xyxy <= (width, height, width, height)).all()
    assert list(result.kept) == sorted(set(result.kept.tolist()))
    for at, source in enumerate(result.kept):
        pixels = _pixels(result.rgb, objects[source])
        if masks:
            assert result.masks is not None
            np.testing.assert_array_equal(result.masks[at], pixels)
        elif not pixels.any():
            continue  # less than a pixel of it is left
        np.testing.assert_allclose(result.boxes_xyxy[at], _around(pixels), atol=tolerance, rtol=0)
    for source in set(range(len(objects))) - set(result.kept.tolist()):
        assert not _pixels(result.rgb, objects[source]).any()


def _all_seeds(step: Mapping[str, Any], objects: Sequence[int], with_masks: bool) -> list[Augmented]:
    rgb, boxes, masks = _draw(objects)
    augment = make_augment([step])
    return [augment(rgb, boxes, masks if with_masks else None, seed) for seed in SEEDS]


@pytest.mark.parametrize("step", FLIPS + CROPS + TURNS + WARPS, ids=_name)
def test_with_masks_boxes_bound_their_colour_and_masks_are_its_pixels(step: Mapping[str, Any]) -> None:
    results = _all_seeds(step, range(N), with_masks=True)
    for result in results:
        _check(result, range(N), 0)
    assert len({result.rgb.tobytes() for result in results}) > 1 or _name(step) == "CenterCrop"


@pytest.mark.parametrize("step", FLIPS + CROPS + WARPS, ids=_name)
def test_without_masks_boxes_bound_their_colour(step: Mapping[str, Any]) -> None:
    # Of an object of another form, or one that others lie over, a box alone does not say what of it is left.
    for result in _all_seeds(step, RECTANGLES, with_masks=False):
        _check(result, RECTANGLES, 0, masks=False)


@pytest.mark.parametrize("step", RESIZES, ids=_name)
@pytest.mark.parametrize("with_masks", [True, False], ids=["masks", "boxes"])
def test_resized_boxes_bound_their_colour_to_a_pixel(step: Mapping[str, Any], with_masks: bool) -> None:
    for result in _all_seeds(step, RECTANGLES, with_masks):
        _check(result, RECTANGLES, 1, with_masks)


@pytest.mark.parametrize("step", TURNS, ids=_name)
def test_without_masks_turned_boxes_contain_their_colour(step: Mapping[str, Any]) -> None:
    for result in _all_seeds(step, RECTANGLES, with_masks=False):
        height, width = result.rgb.shape[:2]
        for box, source in zip(result.boxes_xyxy, result.kept, strict=True):
            pixels = _pixels(result.rgb, RECTANGLES[source])
            if not pixels.any():
                continue
            around = _around(pixels)
            outside = (around - box) * (-1, -1, 1, 1)
            assert outside.max() <= 1.5  # perspective counts from the centres of pixels, not from their edges
            if (box > 0).all() and (box < (width, height, width, height)).all() and pixels.sum() > 20:
                assert outside.min() >= -3  # a sharp corner has no pixel of its own
        for source in set(range(len(RECTANGLES))) - set(result.kept.tolist()):
            assert not _pixels(result.rgb, RECTANGLES[source]).any()


@pytest.mark.parametrize("step", [TURNS[0], TURNS[1], TURNS[4], WARPS[0]], ids=_name)
def test_interpolated_pixels_lie_where_the_mask_lies(step: Mapping[str, Any]) -> None:
    ((name, arguments),) = step.items()
    smooth = {name: {**arguments, "interpolation": 1}}
    offsets = []
    for result in _all_seeds(smooth, [0], with_masks=True):
        if len(result.kept):
            assert result.masks is not None
            shade = result.rgb[..., 0].astype(np.float64)
            mask = result.masks[0].astype(np.float64)
            offsets += [np.subtract(*(_centre(weight) for weight in (shade, mask)))]
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.1
    assert np.abs(offsets).max() < 0.6


def _centre(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("with_masks", [True, False], ids=["masks", "boxes"])
def test_many_steps_in_a_row(with_masks: bool) -> None:
    steps = [
        {"HorizontalFlip": None},
        {"RandomCrop": {"height": 50, "width": 60, "p": 0.7}},
        {"OneOf": {"transforms": [{"VerticalFlip": {}}, {"Transpose": {"p": 1}}], "p": 0.6}},
        {"RandomCropFromBorders": {"p": 0.5}},
        {"PadIfNeeded": {"min_height": 80, "min_width": 90}},
        {"RandomRotate90": {"p": 0.5}},
    ]
    objects = range(N) if with_masks else RECTANGLES
    rgb, boxes, masks = _draw(objects)
    augment = make_augment(steps)
    for seed in SEEDS:
        _check(augment(rgb, boxes, masks if with_masks else None, seed), objects, 0, with_masks)


@pytest.mark.parametrize("step", PHOTOMETRIC, ids=_name)
def test_photometric_steps_leave_the_objects(step: Mapping[str, Any]) -> None:
    rgb, boxes, masks = _draw()
    boxes = np.minimum(boxes + 0.123456789, (WIDTH, HEIGHT, WIDTH, HEIGHT))
    augment = make_augment([step])
    for seed in SEEDS:
        result = augment(rgb, boxes, masks, seed)
        np.testing.assert_array_equal(result.boxes_xyxy, boxes)
        np.testing.assert_array_equal(result.masks, masks)
        assert result.kept.tolist() == list(range(N))
        assert result.rgb.shape == rgb.shape
        assert result.rgb.dtype == np.uint8


def test_boxes_between_pixels_stay_where_they_are() -> None:
    rgb = np.zeros((1000, 4001, 3), np.uint8)
    boxes = np.array([[100.25, 200.5, 3900.17, 900.99]])
    flipped = make_augment([{"HorizontalFlip": {"p": 1}}])(rgb, boxes, None, 0)
    np.testing.assert_allclose(flipped.boxes_xyxy, [[4001 - 3900.17, 200.5, 4001 - 100.25, 900.99]], rtol=0, atol=1e-9)
    crop = {"Crop": {"x_min": 50, "y_min": 100, "x_max": 3950, "y_max": 1000}}
    cropped = make_augment([crop])(rgb, boxes, None, 0)
    np.testing.assert_allclose(cropped.boxes_xyxy, [[50.25, 100.5, 3850.17, 800.99]], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("box", "crop", "expected"),
    [
        ((10, 10, 20, 20), (20, 0, 40, 40), None),  # it touches the crop from outside
        ((10, 10, 20, 20), (19, 0, 40, 40), (0, 10, 1, 20)),
        ((10, 10, 20, 20), (15, 15, 40, 40), (0, 0, 5, 5)),
        ((10, 10, 20, 20), (12, 12, 14, 14), (0, 0, 2, 2)),
        ((0, 0, 1, 1), (0, 0, 40, 40), (0, 0, 1, 1)),
        ((0, 0, 1, 1), (1, 1, 40, 40), None),
    ],
)
def test_crops_cut_boxes_and_drop_what_is_outside(
    box: tuple[int, ...], crop: tuple[int, ...], expected: tuple[int, ...] | None
) -> None:
    x0, y0, x1, y1 = box
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 30:35, 18:22] = 1
    masks[1, y0:y1, x0:x1] = 1
    boxes = np.array([[18, 30, 22, 35], box], np.float64)
    step = {"Crop": dict(zip(("x_min", "y_min", "x_max", "y_max"), crop, strict=True))}
    for given in (masks, None):
        result = make_augment([step])(np.zeros((40, 40, 3), np.uint8), boxes, given, 0)
        found = {source: tuple(b) for source, b in zip(result.kept.tolist(), result.boxes_xyxy.tolist(), strict=True)}
        assert found.get(1) == expected
        if result.masks is not None and expected is not None:
            assert result.masks.dtype == np.uint8
            assert tuple(_around(result.masks[-1])) == expected


def test_an_object_is_dropped_with_its_mask_and_the_others_stay_aligned() -> None:
    rgb, boxes, masks = _draw()
    empty = masks.copy()
    empty[2] = False
    boxes[4, 2] = boxes[4, 0]
    for steps in ([], [{"NoOp": None}], [{"HorizontalFlip": {"p": 1}}]):
        result = make_augment(steps)(rgb, boxes, empty, 0)
        assert result.kept.tolist() == [0, 1, 3, 5, 6]
        for mask, source in zip(result.masks, result.kept, strict=True):
            np.testing.assert_array_equal(
                mask[:, ::-1] if steps and "HorizontalFlip" in steps[0] else mask, empty[source]
            )


@pytest.mark.parametrize("step", FLIPS + CROPS + RESIZES + TURNS + WARPS + PHOTOMETRIC, ids=_name)
@pytest.mark.parametrize("masks", [None, [], np.zeros((0, HEIGHT, WIDTH), bool)], ids=["none", "list", "array"])
def test_images_without_objects(step: Mapping[str, Any], masks: Any) -> None:
    augment = make_augment([step])
    for seed in range(20):
        result = augment(_draw()[0], np.zeros((0, 4)), masks, seed)
        assert result.boxes_xyxy.shape == (0, 4)
        assert result.kept.shape == (0,)
        assert masks is None or result.masks.shape == (0, *result.rgb.shape[:2])


def test_no_steps_change_nothing_and_need_no_albumentations() -> None:
    code = """
import sys
import numpy as np
from cvtune.data.augment import check_augment, make_augment
rgb, masks = np.zeros((5, 6, 3), np.uint8), np.ones((1, 5, 6), bool)
result = make_augment([])(rgb, np.array([[0.5, 0.25, 9, 5]]), masks, 3)
assert result.rgb is rgb and result.boxes_xyxy.tolist() == [[0.5, 0.25, 6, 5]] and (result.masks == masks).all()
assert result.masks.dtype == bool and result.kept.tolist() == [0] and check_augment([]) == []
assert not {"albumentations", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_albumentations_asks_no_network() -> None:
    code = """
import socket
def refuse(*_, **__): raise AssertionError("network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import urllib.request
urllib.request.urlopen = refuse
from cvtune.data.augment import make_augment
make_augment([{"HorizontalFlip": None}])
import albumentations.check_version as version, os
assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


MIXED: list[Mapping[str, Any]] = [
    {"HorizontalFlip": None},
    {"VerticalFlip": None},
    {"Affine": {"rotate": [-30, 30], "p": 0.7}},
    {"OneOf": {"transforms": [{"GaussNoise": {}}, {"ColorJitter": {}}], "p": 0.8}},
    {"CoarseDropout": {"fill": "random", "p": 0.5}},
    {"RandomCrop": {"height": 60, "width": 80, "p": 0.5}},
]


def _same(a: Augmented, b: Augmented) -> bool:
    pairs = ((a.rgb, b.rgb), (a.boxes_xyxy, b.boxes_xyxy), (a.masks, b.masks), (a.kept, b.kept))
    return all(np.array_equal(x, y) for x, y in pairs)  # type: ignore[arg-type]


def test_the_seed_alone_decides() -> None:
    sample = _draw()
    first = {seed: make_augment(MIXED)(*sample, seed=seed) for seed in range(25)}
    assert len({result.rgb.tobytes() for result in first.values()}) > 15
    augment = make_augment(MIXED)
    np.random.seed(1)
    for seed in reversed(range(25)):
        assert _same(augment(*sample, seed=seed), first[seed])
        augment(sample[0][:65, :90], np.zeros((0, 4)), None, seed + 1000)
    copied = pickle.loads(pickle.dumps(augment))
    assert isinstance(copied, Augment)
    assert _same(copied(*sample, seed=7), first[7])
    assert augment(*sample, seed=2**63).rgb.dtype == np.uint8


def test_threads_do_not_disturb_each_other() -> None:
    sample = _draw()
    augment = make_augment(MIXED)
    expected = [augment(*sample, seed=seed) for seed in range(40)]
    found: dict[tuple[int, int], Augmented] = {}

    def work(thread: int) -> None:
        for seed in range(40):
            found[thread, seed] = augment(*sample, seed=seed)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert all(_same(result, expected[seed]) for (_, seed), result in found.items())


def test_steps_draw_independent_numbers() -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0] = 255
    augment = make_augment([{"HorizontalFlip": None}, {"VerticalFlip": None}])
    corners = [tuple(np.argwhere(augment(rgb, np.zeros((0, 4)), None, seed).rgb[..., 0])[0]) for seed in range(400)]
    assert all(70 <= corners.count(corner) <= 130 for corner in ((0, 0), (0, 1), (1, 0), (1, 1)))


def test_one_of_chooses_one_in_proportion() -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0] = 255
    choice = {"OneOf": {"transforms": [{"HorizontalFlip": {"p": 0.25}}, {"VerticalFlip": {"p": 0.75}}], "p": 0.5}}
    augment = make_augment([choice])
    corners = [tuple(np.argwhere(augment(rgb, np.zeros((0, 4)), None, seed).rgb[..., 0])[0]) for seed in range(800)]
    counts = [corners.count(corner) for corner in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert counts == pytest.approx([400, 100, 300, 0], abs=50)
    assert counts[3] == 0


@pytest.mark.parametrize("step", FLIPS + CROPS + RESIZES + TURNS + WARPS + PHOTOMETRIC + MIXED, ids=_name)
def test_what_is_given_is_not_changed(step: Mapping[str, Any]) -> None:
    rgb, boxes, masks = _draw()
    given = rgb.copy(), boxes.copy(), masks.copy()
    augment = make_augment([step])
    for seed in range(10):
        augment(rgb, boxes, list(masks), seed)
    for before, after in zip(given, (rgb, boxes, masks), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"HorizontalFlp": None}, r"augment\[0\]: 'HorizontalFlp' is not a transform .*did you mean 'HorizontalFlip'"),
        ({"oneof": {}}, "'oneof' is not a transform"),
        ({"BasicTransform": {}}, "'BasicTransform' is not a transform"),
        ({1: None}, "'1' is not a transform"),
        ({"HorizontalFlip": {"prob": 1}}, r"HorizontalFlip.prob: is not one of its arguments; allowed: p$"),
        ({"Affine": {"rotat": 3}}, r"Affine.rotat: is not one .*did you mean 'rotate'"),
        ({"RandomRotate90": {"strict": True}}, r"RandomRotate90.strict: is not one"),
        ({"HorizontalFlip": {"p": 2}}, r"HorizontalFlip.p: must be a number from 0 to 1; got 2"),
        ({"RandomRotate90": {"p": "often"}}, r"RandomRotate90.p: must be a number from 0 to 1; got 'often'"),
        ({"RandomCrop": {"height": 5}}, r"RandomCrop.width: is missing"),
        ({"RandomCrop": {"height": 0, "width": 5}}, r"RandomCrop.height: .*greater than or equal to 1; got 0"),
        ({"Affine": {"interpolation": 77}}, r"Affine.interpolation: .*; got 77"),
        ({"GaussNoise": {"std_range": [5, 1]}}, r"GaussNoise.std_range: .*; got \[5, 1\]"),
        ({"HorizontalFlip": 0.5}, "HorizontalFlip: its arguments must be a mapping of names to values; got 0.5"),
        ("HorizontalFlip", "a step is one transform, .* got 'HorizontalFlip'"),
        ({"HorizontalFlip": {}, "VerticalFlip": {}}, "a step is one transform"),
        ({}, "a step is one transform"),
        ({"Normalize": {}}, "Normalize: cannot be used in a spec: the backend normalises"),
        ({"ToTensorV2": {}}, "ToTensorV2: cannot be used in a spec: the backend normalises"),
        ({"ToFloat": {}}, "the backend normalises"),
        ({"Compose": {"transforms": []}}, "Compose: cannot be used in a spec: steps are applied one after another"),
        ({"Lambda": {}}, "Python functions"),
        ({"Mosaic": {}}, r"other data beside the image and its objects \(mosaic_metadata\)"),
        ({"FDA": {}}, r"other data beside the image and its objects \(fda_metadata\)"),
        ({"MaskDropout": {}}, r"other data .* \(mask\)"),
        ({"TextImage": {}}, "other data"),
        ({"RandomGridShuffle": {}}, "cuts objects into pieces"),
        ({"CenterCrop3D": {"size": [3, 3, 3]}}, "does not move an image's boxes and masks along"),
        ({"Rotate": {"border_mode": 4}}, r"Rotate.border_mode: reflecting .*; got 4; allowed: 0"),
        ({"Rotate": {"fill_mask": 1}}, r"Rotate.fill_mask: .*; allowed: 0"),
        ({"Rotate": {"mask_interpolation": 1}}, r"Rotate.mask_interpolation: .*; got 1; allowed: 0"),
        ({"ToGray": {"num_output_channels": 1}}, r"ToGray.num_output_channels: images are RGB; got 1"),
        ({"OneOf": {}}, r"OneOf.transforms: must be a list of at least one step; got None"),
        ({"OneOf": {"transforms": [{"Blur": {"p": 0}}]}}, "at least one step needs a p above 0"),
        ({"OneOf": {"transforms": [{"Blur": {"b": 0}}]}}, r"augment\[0\] OneOf.transforms\[0\] Blur.b: is not one"),
        ({"OneOf": {"transforms": [{"Blur": {}}], "p": 3}}, r"OneOf.p: must be a number from 0 to 1; got 3"),
    ],
)  # fmt: skip
def test_mistakes_are_named(step: Any, problem: str) -> None:
    problems = check_augment([step])
    assert len(problems) == 1
    assert "\n" not in problems[0]
    with pytest.raises(SpecError, match=problem):
        make_augment([step])


def test_all_mistakes_are_named_at_once() -> None:
    steps: list[Any] = [{"Flip": {}}, {"HorizontalFlip": {"p": 0.5}}, {"Blur": {"x": 1, "y": 2}}]
    problems = check_augment(steps)
    assert [problem.split(": ")[0] for problem in problems] == [
        "data.augment[0]",
        "data.augment[2] Blur.x",
        "data.augment[2] Blur.y",
    ]


@pytest.mark.parametrize("step", FLIPS + CROPS + RESIZES + TURNS + WARPS + PHOTOMETRIC + MIXED, ids=_name)
def test_right_steps_have_no_problems(step: Mapping[str, Any]) -> None:
    assert check_augment([step]) == []


def test_a_step_that_an_image_does_not_allow_is_named() -> None:
    augment = make_augment([{"HorizontalFlip": None}, {"RandomCrop": {"height": 200, "width": 5}}])
    with pytest.raises(SpecError, match=r"data.augment\[1\] RandomCrop: cannot be applied to an image of 97 x 71 px"):
        augment(*_draw(), seed=0)


def test_a_crop_without_pixels_is_drawn_again() -> None:
    rgb, step = np.zeros((3, 3, 3), np.uint8), {"BBoxSafeRandomCrop": {"erosion_rate": 1.0}}
    augment = make_augment([step])
    sizes = {augment(rgb, np.zeros((0, 4)), None, seed).rgb.shape[:2] for seed in range(100)}
    assert all(0 not in size for size in sizes)


@pytest.mark.parametrize(
    ("rgb", "boxes", "masks", "message"),
    [
        (np.zeros((5, 5), np.uint8), [], None, r"rgb must be uint8 \[h, w, 3\], got uint8 \[5, 5\]"),
        (np.zeros((5, 5, 3)), [], None, "got float64"),
        (np.zeros((5, 5, 3), np.uint8), [[0, 0, 1, 1]], np.ones((2, 5, 5), bool), r"\[1, 5, 5\] for 1 boxes"),
        (np.zeros((5, 5, 3), np.uint8), [[0, 0, 1, 1]], np.ones((1, 5, 6), bool), r"got bool \[1, 5, 6\]"),
        (np.zeros((5, 5, 3), np.uint8), [[0, 0, 1, 1]], np.ones((1, 5, 5)), "got float64"),
    ],
)
def test_arguments_that_do_not_fit(rgb: Any, boxes: Any, masks: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_augment([])(rgb, boxes, masks, 0)
