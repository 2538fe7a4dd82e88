"""RoIAlign against torchvision's own."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torchvision.ops import MultiScaleRoIAlign

from cvtune.backends.torchvision.roi_pool import FastMultiScaleRoIAlign
from cvtune.kernels.roi_align import roi_align

SIZES = [(7, 7), (14, 14), (3, 5), (1, 1)]


def regions(kind: str, dtype: torch.dtype) -> torch.Tensor:
    """Regions over two images of 40 x 56 image pixels (10 x 14 feature pixels)."""
    generator = torch.Generator().manual_seed(0)
    if kind == "none":
        return torch.zeros((0, 5), dtype=dtype)
    if kind == "degenerate":
        rows = [
            [0, 5, 5, 5, 5],  # no area
            [1, 20, 20, 10, 10],  # inverted
            [0, -30, -30, -10, -10],  # outside
            [1, 100, 100, 120, 120],
            [0, -10, -10, 70, 70],  # larger than the image
            [1, 55.9, 39.9, 56, 40],  # the last corner
            [0, 0, 0, 56, 40],
        ]
        return torch.tensor(rows, dtype=dtype)
    corners = torch.rand((20, 2), generator=generator, dtype=dtype) * torch.tensor([50, 35], dtype=dtype)
    sizes = torch.rand((20, 2), generator=generator, dtype=dtype) * 20
    index = torch.randint(0, 2, (20, 1), generator=generator).to(dtype)
    return torch.cat([index, corners, corners + sizes], dim=1)


@pytest.mark.parametrize("kind", ["random", "degenerate", "none"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sampling", [1, 2, 3, 0])
@pytest.mark.parametrize("aligned", [False, True])
def test_values_and_gradients_equal_torchvisions(
    kind: str, size: tuple[int, int], sampling: int, aligned: bool
) -> None:
    torch.manual_seed(0)
    rois = regions(kind, torch.float32)
    features = torch.randn(2, 6, 10, 14, requires_grad=True)
    own = roi_align(features, rois, size, 0.25, sampling, aligned)
    reference = torchvision.ops.roi_align(features, rois, size, 0.25, sampling, aligned)
    assert torch.equal(own, reference)
    weights = torch.randn_like(own)
    (gradient,) = torch.autograd.grad((own * weights).sum(), features)
    (expected,) = torch.autograd.grad((reference * weights).sum(), features)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_right_in_float64() -> None:
    rois = torch.cat([regions("random", torch.float64)[:4], regions("degenerate", torch.float64)])
    features = torch.randn(2, 2, 10, 14, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: roi_align(f, rois, (3, 3), 0.25, 2), (features,))


@pytest.mark.parametrize("levels", [1, 4])
def test_pooling_over_levels_equals_torchvisions(levels: int) -> None:
    torch.manual_seed(0)
    names = [str(i) for i in range(levels)]
    x = {name: torch.randn(2, 4, 128 >> (i + 2), 160 >> (i + 2), requires_grad=True) for i, name in enumerate(names)}
    corners = torch.rand(30, 2) * 60
    boxes = [torch.cat([corners, corners + 4 + 90 * torch.rand(30, 2)], dim=1), torch.tensor([[0.0, 0, 159, 127]])]
    shapes = [(128, 160), (120, 150)]
    own = FastMultiScaleRoIAlign(names, 7, 2)(x, boxes, shapes)
    reference = MultiScaleRoIAlign(names, 7, 2)(x, boxes, shapes)
    assert torch.equal(own, reference)
    weights = torch.randn_like(own)
    gradients = torch.autograd.grad((own * weights).sum(), list(x.values()))
    expected = torch.autograd.grad((reference * weights).sum(), list(x.values()))
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_images_without_regions_are_pooled_to_nothing() -> None:
    x = {"0": torch.randn(1, 4, 8, 8, requires_grad=True), "1": torch.randn(1, 4, 4, 4)}
    out = FastMultiScaleRoIAlign(["0", "1"], 7, 2)(x, [torch.zeros(0, 4)], [(32, 32)])
    assert out.shape == (0, 4, 7, 7)
    out.sum().backward()
