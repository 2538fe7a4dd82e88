"""The stand-ins against the compiled operators of a wheel, where these have CPU code."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cvtune.kernels.table import SERVED

pytestmark = pytest.mark.real

SERVED_MMCV = SERVED["mmcv._ext"]

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def unpacked(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files."""
    wheels = sorted((real_data.parent / "wheels").glob("onedl_mmcv-*.whl"))
    assert wheels, f"{real_data.parent / 'wheels'}: no onedl_mmcv-*.whl"
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(wheels[-1]) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def compiled(unpacked: Path) -> Any:
    """The wheel's `mmcv._ext`, without the package around it."""
    [path] = (unpacked / "mmcv").glob("_ext*.so")
    spec = importlib.util.spec_from_file_location("mmcv._ext", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def standin() -> Any:
    pairs = [(name, home) for home, names in SERVED_MMCV.homes.items() for name in names]
    return SimpleNamespace(**{name: getattr(importlib.import_module(home), name) for name, home in pairs})


def calls_in(folder: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Each call of the compiled module in mmcv's Python files: function, positional arguments, keywords."""
    for path in sorted((folder / "mmcv/ops").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if not isinstance(node.func.value, ast.Name) or node.func.value.id != "ext_module":
                continue
            starred = any(isinstance(argument, ast.Starred) for argument in node.args)
            if not starred:
                yield node.func.attr, len(node.args), tuple(keyword.arg or "" for keyword in node.keywords)


def test_every_call_that_mmcv_makes_fits(unpacked: Path, standin: Any) -> None:
    called = set()
    for name, positional, keywords in calls_in(unpacked):
        if SERVED_MMCV.home_of(name) is None:
            continue
        inspect.signature(getattr(standin, name)).bind(*range(positional), **dict.fromkeys(keywords))
        called.add(name)
    # Called with starred arguments only.
    assert set(vars(standin)) - called == {"nms_match"}


def boxes_of(count: int, spread: float = 60.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * spread
    return torch.cat([corners, corners + 1 + torch.rand(count, 2, generator=generator) * 30], dim=1)


def suppression_inputs(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    if kind == "none":
        return torch.zeros(0, 4), torch.zeros(0)
    if kind == "one":
        return boxes_of(1), torch.tensor([0.3])
    if kind == "grid":  # overlaps that fall on thresholds, and equal scores
        x = torch.arange(0, 100).float()
        return torch.stack([x % 10, x // 10, x % 10 + 4, x // 10 + 4], dim=1), (x % 4 + 1) / 5
    boxes = boxes_of(400)
    scores = torch.rand(400, generator=generator)
    if kind == "equal":
        scores = torch.full((400,), 0.5)
    if kind == "degenerate":
        boxes[::3, 2:] = boxes[::3, :2]
        boxes[1::3] = boxes[1].clone()
    return boxes, scores


KINDS = ["none", "one", "random", "equal", "grid", "degenerate"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.6, 0.7, 1.0])
@pytest.mark.parametrize("offset", [0, 1])
def test_nms_keeps_the_same_boxes_in_the_same_order(
    compiled: Any, standin: Any, kind: str, threshold: float, offset: int
) -> None:
    boxes, scores = suppression_inputs(kind)
    kept = [module.nms(boxes, scores, iou_threshold=threshold, offset=offset) for module in (standin, compiled)]
    assert torch.equal(*kept)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_nms_match(compiled: Any, standin: Any, kind: str, threshold: float) -> None:
    boxes, scores = suppression_inputs(kind)
    dets = torch.cat([boxes, scores[:, None]], dim=1)
    own, reference = (module.nms_match(dets, iou_threshold=threshold) for module in (standin, compiled))
    assert [list(group) for group in own] == [list(group) for group in reference]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("min_score", [0.0, 1e-3, 0.3])
def test_softnms(compiled: Any, standin: Any, kind: str, method: int, offset: int, min_score: float) -> None:
    boxes, scores = suppression_inputs(kind)
    if kind == "degenerate" and method == 2 and offset == 0:
        # The compiled operator's scores are no numbers once two boxes have no area.
        boxes[3::3] = boxes[2].clone()
    results = []
    for module in (standin, compiled):
        dets = boxes.new_zeros((len(boxes), 5))
        settings = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": min_score, "method": method, "offset": offset}
        index = module.softnms(boxes.clone(), scores.clone(), dets, **settings)
        results.append((index, dets[: len(index)]))
    (own_index, own), (index, reference) = results
    assert torch.equal(own_index, index)
    torch.testing.assert_close(own, reference, **TOLERANCE)


def regions(kind: str) -> torch.Tensor:
    """Over two images of 64 x 80 pixels."""
    if kind == "none":
        return torch.zeros(0, 5)
    if kind == "degenerate":
        rows = [
            [0, 5, 5, 5, 5],  # no area
            [0, -30, -30, -10, -10],  # outside
            [1, 100, 100, 120, 120],
            [0, -10, -10, 90, 70],  # larger than the image
            [1, 79.9, 63.9, 80, 64],  # the last corner
            [0, 0, 0, 80, 64],
        ]
        return torch.tensor(rows)
    index = torch.arange(30).remainder(2)[:, None].float()
    return torch.cat([index, boxes_of(30, 40.0)], dim=1)


@pytest.mark.parametrize("kind", ["random", "degenerate", "none"])
@pytest.mark.parametrize("pool_mode", [0, 1])
@pytest.mark.parametrize("sampling", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_roi_align(
    compiled: Any, standin: Any, kind: str, pool_mode: int, sampling: int, aligned: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    features, rois = torch.randn(2, 5, 16, 20, dtype=dtype), regions(kind).to(dtype)
    settings = {
        "aligned_height": 3,
        "aligned_width": 4,
        "spatial_scale": 0.25,
        "sampling_ratio": sampling,
        "pool_mode": pool_mode,
        "aligned": aligned,
    }
    weights = torch.randn(len(rois), 5, 3, 4, dtype=dtype)
    results = []
    for module in (standin, compiled):
        output = features.new_zeros(len(rois), 5, 3, 4)
        argmax = [torch.zeros_like(output) if pool_mode == 0 else features.new_zeros(0) for _ in range(2)]
        module.roi_align_forward(features, rois, output, *argmax, **settings)
        gradient = torch.zeros_like(features)
        module.roi_align_backward(weights, rois, *argmax, gradient, **settings)
        results.append((output, *argmax, gradient))
    for own, reference in zip(*results, strict=True):
        torch.testing.assert_close(own, reference, **TOLERANCE)


CONVOLUTIONS = [
    {"groups": 1, "deform": 1, "stride": (1, 1), "pad": (1, 1), "dilation": (1, 1)},
    {"groups": 2, "deform": 4, "stride": (2, 1), "pad": (0, 2), "dilation": (1, 2)},
    {"groups": 4, "deform": 2, "stride": (1, 2), "pad": (2, 1), "dilation": (2, 1)},
]


def convolution(case: dict[str, Any], batch: int) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
    torch.manual_seed(0)
    height, width, kernel = 11, 13, (3, 2)
    size = [
        (length + 2 * pad - dilation * (side - 1) - 1) // stride + 1
        for length, pad, dilation, side, stride in zip(
            (height, width), case["pad"], case["dilation"], kernel, case["stride"], strict=True
        )
    ]
    taps = kernel[0] * kernel[1] * case["deform"]
    tensors = {
        "input": torch.randn(batch, 8, height, width),
        "weight": torch.randn(4, 8 // case["groups"], *kernel),
        "offset": 3 * torch.randn(batch, 2 * taps, *size),
        "mask": torch.rand(batch, taps, *size),
        "bias": torch.randn(4),
        "gradient": torch.randn(batch, 4, *size),
    }
    return tensors, (batch, 4, *size)


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize(("batch", "step"), [(1, 1), (4, 2)])
def test_deform_conv(compiled: Any, standin: Any, case: dict[str, Any], batch: int, step: int) -> None:
    t, shape = convolution(case, batch)
    settings = {
        "kH": 3,
        "kW": 2,
        "dH": case["stride"][0],
        "dW": case["stride"][1],
        "padH": case["pad"][0],
        "padW": case["pad"][1],
        "dilationH": case["dilation"][0],
        "dilationW": case["dilation"][1],
        "group": case["groups"],
        "deformable_group": case["deform"],
        "im2col_step": step,
    }
    results = []
    for module in (standin, compiled):
        output, columns, ones = torch.empty(shape), torch.empty(0), torch.empty(0)
        module.deform_conv_forward(t["input"], t["weight"], t["offset"], output, columns, ones, **settings)
        grads = [torch.zeros_like(t[name]) for name in ("input", "offset", "weight")]
        arguments = (t["input"], t["offset"], t["gradient"])
        module.deform_conv_backward_input(*arguments, grads[0], grads[1], t["weight"], columns, **settings)
        module.deform_conv_backward_parameters(*arguments, grads[2], columns, ones, scale=1, **settings)
        alone = torch.zeros_like(t["weight"])
        fresh = (torch.empty(0), torch.empty(0))
        module.deform_conv_backward_parameters(*arguments, alone, *fresh, scale=1, **settings)
        results.append((output, *grads, alone))
    for own, reference in zip(*results, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("larger", [0, 3])
def test_modulated_deform_conv(compiled: Any, standin: Any, case: dict[str, Any], with_bias: bool, larger: int) -> None:
    t, shape = convolution(case, 2)
    if larger:  # DyHead's offsets are of a finer level than its output
        for name in ("offset", "mask"):
            t[name] = torch.randn(*t[name].shape[:2], shape[2] + larger, shape[3] + larger)
    settings = {
        "kernel_h": 3,
        "kernel_w": 2,
        "stride_h": case["stride"][0],
        "stride_w": case["stride"][1],
        "pad_h": case["pad"][0],
        "pad_w": case["pad"][1],
        "dilation_h": case["dilation"][0],
        "dilation_w": case["dilation"][1],
        "group": case["groups"],
        "deformable_group": case["deform"],
        "with_bias": with_bias,
    }
    bias = t["bias"] if with_bias else torch.empty(0)
    results = []
    for module in (standin, compiled):
        output, ones, columns = torch.empty(shape), torch.empty(0), torch.empty(0)
        arguments = (t["input"], t["weight"], bias, ones, t["offset"], t["mask"])
        module.modulated_deform_conv_forward(*arguments, output, columns, **settings)
        names = ("input", "weight", "bias", "offset", "mask")
        grads = [torch.zeros_like(bias if name == "bias" else t[name]) for name in names]
        module.modulated_deform_conv_backward(*arguments, columns, *grads, t["gradient"], **settings)
        results.append((output, *grads))
    for own, reference in zip(*results, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("offset", [0, 1])
def test_bbox_overlaps(compiled: Any, standin: Any, mode: int, aligned: bool, offset: int) -> None:
    first, second = boxes_of(20), boxes_of(20 if aligned else 30, seed=5)
    results = []
    for module in (standin, compiled):
        ious = torch.zeros(20) if aligned else torch.zeros(20, 30)
        module.bbox_overlaps(first, second, ious, mode=mode, aligned=aligned, offset=offset)
        results.append(ious)
    torch.testing.assert_close(*results, **TOLERANCE)


def rotated_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, 5, generator=generator)
    return numbers * torch.tensor([40, 40, 20, 20, 6.0]) + torch.tensor([0, 0, 1, 1, -3.0])


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("aligned", [True, False])
def test_box_iou_rotated(compiled: Any, standin: Any, mode: int, aligned: bool) -> None:
    first, second = rotated_boxes(40, 0), rotated_boxes(40, 1)
    results = []
    for module in (standin, compiled):
        ious = torch.zeros(40 if aligned else 1600)
        module.box_iou_rotated(first, second, ious, mode_flag=mode, aligned=aligned)
        results.append(ious)
    torch.testing.assert_close(*results, **TOLERANCE)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
def test_nms_rotated(compiled: Any, standin: Any, threshold: float) -> None:
    boxes = rotated_boxes(200, 2)
    scores = torch.rand(200, generator=torch.Generator().manual_seed(3))
    order = scores.argsort(descending=True)
    arguments = (boxes, scores, order, boxes[order], torch.empty(0, dtype=torch.int32), threshold, False)
    assert torch.equal(standin.nms_rotated(*arguments), compiled.nms_rotated(*arguments))
