"""Overlaps of rotated boxes: the exact area of the intersection of two rectangles, for many pairs at once.

The corners of the intersection are corners of one box inside the other, and crossings of sides. They are ordered by
their direction from their mean, and the shoelace formula gives the area. All is done in float64: two boxes that share
a side must not lose it to rounding.
"""

from __future__ import annotations

import torch

__all__ = ["box_iou_rotated", "nms_rotated"]

# Pairs that are worked on at once: about 200 MB of intermediate values.
MOST_PAIRS = 1 << 16

# A corner this far outside, as a share of the box, counts as inside; far above float64's rounding.
SLACK = 1e-9

# Boxes of a smaller area overlap nothing.
LEAST_AREA = 1e-14

# Corners of a box in halves of its width and height, in order.
CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


def box_iou_rotated(
    boxes1: torch.Tensor, boxes2: torch.Tensor, iof: bool = False, aligned: bool = False
) -> torch.Tensor:
    """Intersection over union, or over the first box.

    Args:
        boxes1, boxes2: [m, 5] and [n, 5] centre x, centre y, width, height, angle in radians. Either direction of
            positive angles gives the same overlaps.
        iof: divide by the area of the first box.
        aligned: the i-th of the one with the i-th of the other (m = n).

    Returns:
        [m, n], or [m] where `aligned`; of `boxes1`'s dtype, values in 0..1.
    """
    first, second = boxes1.to(torch.float64), boxes2.to(torch.float64)
    if aligned:
        i = j = torch.arange(len(first), device=first.device)
        out = first.new_zeros(len(first))
    else:
        # Only boxes whose circles meet can overlap.
        reach = _radii(first)[:, None] + _radii(second)
        i, j = (torch.cdist(first[:, :2], second[:, :2]) <= reach).nonzero(as_tuple=True)
        out = first.new_zeros((len(first), len(second)))
    for part in torch.split(torch.arange(len(i), device=first.device), MOST_PAIRS):
        overlap = _overlaps(first[i[part]], second[j[part]], iof)
        if aligned:
            out[part] = overlap
        else:
            out[i[part], j[part]] = overlap
    return out.to(boxes1.dtype)


def nms_rotated(
    boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, labels: torch.Tensor | None = None
) -> torch.Tensor:
    """Indices of the boxes that are kept, by falling score; equal scores keep their order.

    Args:
        boxes: [n, 5] as in `box_iou_rotated`.
        scores: [n].
        iou_threshold: an overlap of it or above drops the box of lower score.
        labels: [n]; boxes of different labels leave each other alone.

    Returns:
        [k], int64, on the boxes' device.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    wide = boxes.to(torch.float64)
    alive, kept = order, []
    while len(alive):
        first, alive = alive[:1], alive[1:]
        kept.append(first)
        # Compared in the boxes' own precision: an overlap on the threshold is dropped.
        overlap = box_iou_rotated(wide[first], wide[alive])[0].to(boxes.dtype)
        out = overlap >= iou_threshold
        if labels is not None:
            out &= labels[alive] == labels[first]
        alive = alive[~out]
    return torch.cat(kept) if kept else order


def _radii(boxes: torch.Tensor) -> torch.Tensor:
    return 0.5 * (1 + SLACK) * torch.hypot(boxes[:, 2], boxes[:, 3])


def _overlaps(first: torch.Tensor, second: torch.Tensor, iof: bool) -> torch.Tensor:
    """Of pairs: [p, 5], [p, 5] -> [p]."""
    area1, area2 = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    inter = _intersection(first, second)
    base = area1 if iof else area1 + area2 - inter
    exists = (area1 >= LEAST_AREA) & (area2 >= LEAST_AREA)
    return torch.where(exists, inter / base, torch.zeros_like(inter)).clamp(max=1.0)


def _intersection(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Areas [p] of the intersections."""
    # Around the middle between the two: far from the origin, differences would lose digits.
    middle = (first[:, :2] + second[:, :2]) / 2
    corners1, corners2 = _corners(first, middle), _corners(second, middle)  # [p, 4, 2]
    crossings, crosses = _crossings(corners1, corners2)
    points = torch.cat([corners1, corners2, crossings], dim=1)  # [p, 24, 2]
    valid = torch.cat([_inside(corners1, second, middle), _inside(corners2, first, middle), crosses], dim=1)
    count = valid.sum(dim=1)
    mean = (points * valid[..., None]).sum(dim=1) / count.clamp(min=1)[:, None]
    spokes = points - mean[:, None]
    # Points that do not exist become the first that does: a repeated corner adds no area.
    number = valid.to(torch.int8).argmax(dim=1)
    substitute = spokes.gather(1, number[:, None, None].expand(-1, 1, 2))
    spokes = torch.where(valid[..., None], spokes, substitute)
    order = torch.atan2(spokes[..., 1], spokes[..., 0]).argsort(dim=1)
    ring = spokes.gather(1, order[..., None].expand_as(spokes))
    following = ring.roll(-1, dims=1)
    area = 0.5 * (ring[..., 0] * following[..., 1] - ring[..., 1] * following[..., 0]).sum(dim=1).abs()
    return torch.where(count > 2, area, torch.zeros_like(area))


def _axes(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors [p, 2] along the width and along the height."""
    cos, sin = boxes[:, 4].cos(), boxes[:, 4].sin()
    return torch.stack([cos, sin], dim=1), torch.stack([-sin, cos], dim=1)


def _corners(boxes: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
    """[p, 4, 2], in order around the box."""
    along, up = _axes(boxes)
    halves = boxes.new_tensor(CORNERS)
    centre = (boxes[:, :2] - origin)[:, None]
    width, height = boxes[:, 2, None, None] / 2, boxes[:, 3, None, None] / 2
    return centre + halves[:, :1] * width * along[:, None] + halves[:, 1:] * height * up[:, None]


def _inside(points: torch.Tensor, boxes: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
    """Which points [p, 4, 2] are inside the box of their pair: [p, 4]."""
    away = points - (boxes[:, :2] - origin)[:, None]
    slack = SLACK * torch.maximum(boxes[:, 2], boxes[:, 3])
    result = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
    for axis, size in zip(_axes(boxes), (boxes[:, 2], boxes[:, 3]), strict=True):
        result &= (away * axis[:, None]).sum(dim=2).abs() <= (size / 2 + slack)[:, None]
    return result


def _crossings(corners1: torch.Tensor, corners2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each side of the one crosses each side of the other: points [p, 16, 2], and whether it does."""
    side1, side2 = corners1.roll(-1, dims=1) - corners1, corners2.roll(-1, dims=1) - corners2
    side1, side2 = side1[:, :, None], side2[:, None]  # [p, 4, 1, 2], [p, 1, 4, 2]
    between = corners2[:, None] - corners1[:, :, None]  # [p, 4, 4, 2]
    determinant = _cross(side1, side2)
    parallel = determinant == 0
    safe = torch.where(parallel, torch.ones_like(determinant), determinant)
    at1, at2 = _cross(between, side2) / safe, _cross(between, side1) / safe
    crosses = ~parallel & (at1 >= 0) & (at1 <= 1) & (at2 >= 0) & (at2 <= 1)
    points = corners1[:, :, None] + at1[..., None] * side1
    return points.flatten(1, 2), crosses.flatten(1, 2)


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
