"""The stand-ins for `mmcv._ext` against the compiled operators, as ratios of medians of interleaved runs.

python benchmarks/kernels.py [a wheel of onedl-mmcv, or a folder that holds mmcv/_ext*.so]

Without an argument: the wheels beside CVTUNE_DATA. Operators without compiled CPU code show their own time only.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cvtune.kernels.table import SERVED

ROUNDS = 7

Step = Callable[[Any], Any]


class StandIns:
    """The table's functions as attributes, as the compiled module has them."""

    def __getattr__(self, name: str) -> Any:
        home = SERVED["mmcv._ext"].home_of(name)
        if home is None:
            raise AttributeError(name)
        return getattr(importlib.import_module(home), name)


def boxes_of(count: int, width: float, height: float) -> torch.Tensor:
    corners = torch.rand(count, 2) * torch.tensor([width, height])
    return torch.cat([corners, corners + 16 + torch.rand(count, 2) * 100], dim=1)


def suppression() -> dict[str, Step]:
    boxes, scores = boxes_of(2000, 1200, 700), torch.rand(2000)
    soft = {"iou_threshold": 0.5, "sigma": 0.5, "min_score": 0.05, "method": 1, "offset": 0}
    rotated = torch.cat([torch.rand(500, 2) * 800, 10 + torch.rand(500, 2) * 100, torch.rand(500, 1) * 3], dim=1)
    order = scores[:500].argsort(descending=True)
    rest = (scores[:500], order, rotated[order], torch.empty(0, dtype=torch.int32), 0.5, False)
    return {
        "nms, 2000 boxes": lambda m: m.nms(boxes, scores, iou_threshold=0.7, offset=0),
        "softnms, 2000 boxes": lambda m: m.softnms(boxes.clone(), scores.clone(), torch.zeros(2000, 5), **soft),
        "nms_match, 2000 boxes": lambda m: m.nms_match(torch.cat([boxes, scores[:, None]], 1), iou_threshold=0.5),
        "nms_rotated, 500 boxes": lambda m: m.nms_rotated(rotated, *rest),
        "box_iou_rotated, 100 x 500": lambda m: m.box_iou_rotated(
            rotated[:100], rotated, torch.zeros(50000), mode_flag=0, aligned=False
        ),
        "bbox_overlaps, 2000 x 500": lambda m: m.bbox_overlaps(
            boxes, boxes[:500], torch.zeros(2000, 500), mode=0, aligned=False, offset=0
        ),
    }


def pooling() -> dict[str, Step]:
    steps: dict[str, Step] = {}
    features = torch.randn(2, 256, 80, 108)
    rois = torch.cat([torch.arange(512.0).remainder(2)[:, None], boxes_of(512, 330, 220)], dim=1)
    out, grad = torch.zeros(512, 256, 7, 7), torch.randn(512, 256, 7, 7)
    for name, mode, sampling in (("average", 1, 0), ("average, 2 samples", 1, 2), ("maximum", 0, 2)):
        argmax = [torch.zeros_like(out) if mode == 0 else torch.zeros(0) for _ in range(2)]
        settings = {
            "aligned_height": 7,
            "aligned_width": 7,
            "spatial_scale": 0.25,
            "sampling_ratio": sampling,
            "pool_mode": mode,
            "aligned": True,
        }

        def forward(m: Any, argmax: Any = argmax, settings: Any = settings) -> None:
            m.roi_align_forward(features, rois, out, *argmax, **settings)

        def backward(m: Any, argmax: Any = argmax, settings: Any = settings) -> None:
            m.roi_align_backward(grad, rois, *argmax, torch.zeros_like(features), **settings)

        steps |= {f"roi_align, {name}, 512 regions": forward, f"roi_align backward, {name}": backward}
    pool = {"pooled_height": 7, "pooled_width": 7, "spatial_scale": 0.25}
    places = torch.zeros(512, 256, 7, 7, dtype=torch.int32)
    moved = {**pool, "sampling_ratio": 2, "gamma": 0.1}
    moves = torch.randn(512, 2, 7, 7)
    return steps | {
        "roi_pool, 512 regions": lambda m: m.roi_pool_forward(features, rois, out, places, **pool),
        "roi_pool backward": lambda m: m.roi_pool_backward(grad, rois, places, torch.zeros_like(features), **pool),
        "deform_roi_pool, 512 regions": lambda m: m.deform_roi_pool_forward(features, rois, moves, out, **moved),
        "deform_roi_pool backward": lambda m: m.deform_roi_pool_backward(
            grad, features, rois, moves, torch.zeros_like(features), torch.zeros_like(moves), **moved
        ),
    }


def convolution() -> dict[str, Step]:
    x, weight = torch.randn(2, 128, 50, 68), torch.randn(128, 128, 3, 3)
    offset, mask, bias = torch.randn(2, 18, 50, 68), torch.rand(2, 9, 50, 68), torch.zeros(128)
    out, grad = torch.empty(2, 128, 50, 68), torch.randn(2, 128, 50, 68)
    v1 = dict.fromkeys(("dW", "dH", "padW", "padH", "dilationW", "dilationH", "group", "deformable_group"), 1)
    v1 |= {"kW": 3, "kH": 3, "im2col_step": 2}
    names = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "group", "deformable_group")
    v2: dict[str, Any] = dict.fromkeys(names, 1) | {"kernel_h": 3, "kernel_w": 3, "with_bias": True}

    def empty() -> torch.Tensor:
        return torch.empty(0)

    def backward_v1(m: Any) -> None:
        columns, gradients = empty(), [torch.zeros_like(t) for t in (x, offset, weight)]
        m.deform_conv_backward_input(x, offset, grad, *gradients[:2], weight, columns, **v1)
        m.deform_conv_backward_parameters(x, offset, grad, gradients[2], columns, empty(), scale=1, **v1)

    def backward_v2(m: Any) -> None:
        gradients = [torch.zeros_like(t) for t in (x, weight, bias, offset, mask)]
        m.modulated_deform_conv_backward(x, weight, bias, empty(), offset, mask, empty(), *gradients, grad, **v2)

    return {
        "deform_conv, 128 channels": lambda m: m.deform_conv_forward(x, weight, offset, out, empty(), empty(), **v1),
        "deform_conv backward": backward_v1,
        "modulated_deform_conv, 128 channels": lambda m: m.modulated_deform_conv_forward(
            x, weight, bias, empty(), offset, mask, out, empty(), **v2
        ),
        "modulated_deform_conv backward": backward_v2,
    }


def attention_and_losses() -> dict[str, Step]:
    shapes = torch.tensor([[64, 80], [32, 40], [16, 20], [8, 10]])
    starts = torch.tensor([0, 5120, 6400, 6720])
    value, places = torch.randn(2, 6800, 8, 32), torch.rand(2, 900, 8, 4, 4, 2)
    weights, grad = torch.rand(2, 900, 8, 4, 4), torch.randn(2, 900, 256)
    arguments = (value, shapes, starts, places, weights)
    x, target, none = torch.randn(20000, 80), torch.randint(0, 81, (20000,)), torch.empty(0)
    focal = {"gamma": 2.0, "alpha": 0.25}
    features, masks = torch.randn(2, 256, 32, 40), torch.rand(2, 25, 64, 80)
    upsampled = torch.zeros(2, 256, 64, 80)
    carafe = {"kernel_size": 5, "group_size": 1, "scale_factor": 2}
    return {
        "ms_deform_attn, 900 queries": lambda m: m.ms_deform_attn_forward(*arguments, im2col_step=64),
        "ms_deform_attn backward": lambda m: m.ms_deform_attn_backward(
            *arguments, grad, *(torch.zeros_like(t) for t in (value, places, weights)), im2col_step=64
        ),
        "sigmoid_focal_loss, 20000 x 80": lambda m: m.sigmoid_focal_loss_forward(
            x, target, none, torch.zeros_like(x), **focal
        ),
        "sigmoid_focal_loss backward": lambda m: m.sigmoid_focal_loss_backward(
            x, target, none, torch.zeros_like(x), **focal
        ),
        "carafe, 256 channels": lambda m: m.carafe_naive_forward(features, masks, upsampled, **carafe),
        "carafe backward": lambda m: m.carafe_naive_backward(
            upsampled, features, masks, torch.zeros_like(features), torch.zeros_like(masks), **carafe
        ),
    }


def load_compiled(place: Path) -> Any:
    """The wheel's or folder's `mmcv._ext`, without the package around it."""
    if place.suffix == ".whl":
        folder = Path(tempfile.mkdtemp(prefix="mmcv-"))
        with zipfile.ZipFile(place) as archive:
            archive.extractall(folder)
    else:
        folder = place
    paths = sorted(folder.glob("mmcv/_ext*.so")) or sorted(folder.glob("_ext*.so"))
    if not paths:
        sys.exit(f"{place}: no mmcv/_ext*.so")
    spec = importlib.util.spec_from_file_location("mmcv._ext", paths[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_wheel() -> Path:
    wheels = sorted((Path(os.environ.get("CVTUNE_DATA", ".")).parent / "wheels").glob("onedl_mmcv-*.whl"))
    if not wheels:
        sys.exit("usage: python benchmarks/kernels.py WHEEL_OR_FOLDER (or set CVTUNE_DATA, with wheels/ beside it)")
    return wheels[-1]


def seconds(step: Step, module: Any) -> float:
    start = time.perf_counter()
    step(module)
    return time.perf_counter() - start


def main() -> None:
    torch.manual_seed(0)
    compiled, standins = load_compiled(Path(sys.argv[1]) if len(sys.argv) > 1 else find_wheel()), StandIns()
    steps = suppression() | pooling() | convolution() | attention_and_losses()
    for name, step in steps.items():
        own: list[float] = []
        theirs: list[float] = []
        try:
            step(compiled)  # the first run also says whether there is CPU code
            exists = True
        except RuntimeError:
            exists = False
        step(standins)
        for _ in range(ROUNDS):
            own.append(seconds(step, standins))
            if exists:
                theirs.append(seconds(step, compiled))
        median = statistics.median(own)
        if exists:
            base = statistics.median(theirs)
            print(f"{name}: {base / median:.2f} times as fast ({1000 * base:.1f} ms -> {1000 * median:.1f} ms)")
        else:
            print(f"{name}: {1000 * median:.1f} ms (no compiled CPU code)")


if __name__ == "__main__":
    main()
