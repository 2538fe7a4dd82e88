"""RoIAlign's backward pass on a CPU: ours against torchvision's, as a ratio of medians of interleaved runs.

python benchmarks/roi_align.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torchvision

from cvtune.kernels.roi_align import roi_align

CASES = {
    "4 images, 512 regions each, 128 channels, 7 x 7": (4, 512, 128, 7),
    "2 images, 512 regions each, 256 channels, 7 x 7": (2, 512, 256, 7),
    "2 images, 64 regions each, 256 channels, 14 x 14 (masks)": (2, 64, 256, 14),
}


def main() -> None:
    for name, (images, regions, channels, size) in CASES.items():
        torch.manual_seed(0)
        features = torch.randn(images, channels, 80, 107, requires_grad=True)
        corners = torch.rand(images * regions, 2) * torch.tensor([330.0, 220.0])
        index = torch.arange(images).repeat_interleave(regions)[:, None].float()
        rois = torch.cat([index, corners, corners + 20 + 80 * torch.rand(images * regions, 2)], dim=1)
        functions: dict[str, Callable[..., torch.Tensor]] = {
            "torchvision": torchvision.ops.roi_align,
            "cvtune": roi_align,
        }
        times: dict[str, list[float]] = {key: [] for key in functions}
        for _ in range(7):
            for key, function in functions.items():
                out = function(features, rois, (size, size), 0.25, 2)
                gradient = torch.ones_like(out)
                start = time.perf_counter()
                torch.autograd.grad(out, features, gradient)
                times[key].append(time.perf_counter() - start)
        base, own = (statistics.median(times[key]) for key in functions)
        print(f"{name}: {base / own:.1f} times as fast ({1000 * base:.0f} ms -> {1000 * own:.0f} ms)")


if __name__ == "__main__":
    main()
