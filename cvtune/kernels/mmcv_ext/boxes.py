"""Overlaps of boxes, and points in quadrangles: `bbox_overlaps`, `points_in_polygons_forward` of `mmcv._ext`."""

from __future__ import annotations

import torch

from cvtune.kernels.mmcv_ext.widths import widened

__all__ = ["bbox_overlaps", "points_in_polygons_forward"]

IOU, IOF = 0, 1


def bbox_overlaps(
    bboxes1: torch.Tensor, bboxes2: torch.Tensor, ious: torch.Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Set `ious` [m, n], or [m] where `aligned`, to the intersection over the union or over the first box.

    Args:
        bboxes1, bboxes2: [m, 4] and [n, 4] x0, y0, x1, y1.
        mode: `IOU` or `IOF`.
        aligned: the i-th of the one with the i-th of the other.
        offset: 0, or 1 where x1 and y1 are the last pixels.
    """
    first, second = widened(bboxes1.detach(), bboxes2.detach())
    if not aligned:
        first = first[:, None]
    size = torch.min(first[..., 2:], second[..., 2:]) - torch.max(first[..., :2], second[..., :2]) + offset
    inter = size.clamp(min=0).prod(dim=-1)
    area = (first[..., 2:] - first[..., :2] + offset).prod(dim=-1)
    if mode == IOU:
        area = area + (second[..., 2:] - second[..., :2] + offset).prod(dim=-1) - inter
    ious.copy_(inter / area)


def points_in_polygons_forward(points: torch.Tensor, polygons: torch.Tensor, output: torch.Tensor) -> None:
    """Set `output` [b, m] to 1 where a point is inside a quadrangle, else 0.

    A ray to the right crosses the sides of a quadrangle an odd number of times if it starts inside. A point on a side
    counts as the sides before it left it, as in the compiled operator.

    Args:
        points: [b, 2] x, y.
        polygons: [m, 8]: four corners x, y in order.
    """
    at, corners = widened(points, polygons)
    x, y = at[:, None, 0], at[:, None, 1]
    odd = torch.zeros((len(points), len(polygons)), dtype=torch.bool, device=points.device)
    stopped = torch.zeros_like(odd)
    quadrangles = corners.reshape(-1, 4, 2)
    for i in range(4):
        (x0, y0), (x1, y1) = quadrangles[:, i].unbind(1), quadrangles[:, i - 1].unbind(1)
        beside = (y >= torch.minimum(y0, y1)) & (y <= torch.maximum(y0, y1))
        corner = ((x0 == x) & (y0 == y)) | ((x1 == x) & (y1 == y))
        crossed = ((y0 < y) & (y1 >= y)) | ((y0 >= y) & (y1 < y))
        where = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        stopped |= beside & (corner | (crossed & (where == x)))
        odd ^= beside & crossed & ~stopped & (where > x)
    output.copy_(odd)
