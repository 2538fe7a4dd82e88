"""Overlap and non-maximum suppression of rotated boxes, in plain torch, on any device.

A box is (x, y, width, height, angle): its centre, its sides, and the angle in radians by which it is turned about the
centre from the x axis towards the negative y axis, which is counter-clockwise in an image, whose y axis points down.
"""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["box_corners", "overlaps", "rotated_iou", "rotated_iou_pairs", "rotated_nms"]

_PAIRS_AT_ONCE = 1 << 16  # about 50 MB in float32
_ROWS_AT_ONCE = 512


def box_corners(boxes: torch.Tensor) -> torch.Tensor:
    """The corners of rotated boxes, all in the same sense of turning.

    Args:
        boxes: [n, 5], a floating dtype, x, y, width, height, angle; negative sides count as none.

    Returns:
        [n, 4, 2], x and y of each corner.
    """
    half = boxes[:, 2:4].clamp(min=0) / 2
    signs = boxes.new_tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    right, down = (half[:, None] * signs).unbind(2)  # [n, 4] each, along the box's own axes
    cos, sin = torch.cos(boxes[:, 4:]), torch.sin(boxes[:, 4:])
    return torch.stack([right * cos + down * sin, down * cos - right * sin], dim=2) + boxes[:, None, :2]


def overlaps(boxes_a: torch.Tensor, boxes_b: torch.Tensor) -> torch.Tensor:
    """The area that box i of `boxes_a` has in common with box i of `boxes_b`.

    Rectangle a is cut by the four lines along the sides of b, one after the other (Sutherland and Hodgman 1974, for all
    pairs at once), and the area of what is left is a sum of cross products. Exact up to rounding; also for boxes that
    are equal, touch or have no area.

    Args:
        boxes_a: [k, 5], float32 or float64.
        boxes_b: [k, 5] of the same dtype.

    Returns:
        [k], in square pixels, 0 or more.
    """
    centre = torch.zeros_like(boxes_a)
    centre[:, :2] = boxes_a[:, :2]  # near the origin rounding is relative to the boxes' sizes
    polygon, cutter = box_corners(boxes_a - centre), box_corners(boxes_b - centre)
    for side in range(4):
        polygon = _cut(polygon, cutter[:, side], cutter[:, (side + 1) % 4])
    following = polygon.roll(-1, dims=1)
    common = (_cross(polygon, following).sum(dim=1) / 2).clamp(min=0)
    # A point has no sides to cut along; and rounding must not make the part larger than the whole.
    return torch.minimum(common, torch.minimum(_areas(boxes_a), _areas(boxes_b)))


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return boxes[:, 2:4].clamp(min=0).prod(dim=1)


def _cut(polygon: torch.Tensor, start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """The part of each convex polygon [k, n, 2] on the inner side of the line from `start` to `end` [k, 2].

    Returns [k, n + 2, 2]: one vertex more at most, and one to spare, as rounding can make two sides that lie almost on
    the line cross it twice. Unused places repeat the first vertex, which changes no area; nothing left is all zeros.
    """
    count, size = polygon.shape[:2]
    inner = _cross((end - start)[:, None], polygon - start[:, None])  # [k, n], signed distance times length
    following, inner_following = polygon.roll(-1, dims=1), inner.roll(-1, dims=1)
    inside = inner >= 0
    crosses = inside != (inner_following >= 0)
    share = inner / torch.where(crosses, inner - inner_following, torch.ones_like(inner))
    crossing = polygon + share[..., None] * (following - polygon)
    # Each side gives its start, if that is inside, and its crossing, if it has one.
    points = torch.stack([polygon, crossing], dim=2).reshape(count, 2 * size, 2)
    used = torch.stack([inside, crosses], dim=2).reshape(count, 2 * size)
    places = torch.where(used, used.cumsum(dim=1) - 1, size + 2).clamp(max=size + 2)
    kept = points.new_zeros((count, size + 3, 2))
    kept.scatter_(1, places[..., None].expand(-1, -1, 2), points)
    free = torch.arange(size + 2, device=points.device) >= used.sum(dim=1, keepdim=True)
    return torch.where(free[..., None], kept[:, :1], kept[:, : size + 2])


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def rotated_iou_pairs(
    boxes_a: torch.Tensor, boxes_b: torch.Tensor, over: Literal["union", "first"] = "union"
) -> torch.Tensor:
    """Intersection of box i of `boxes_a` and box i of `boxes_b`, over their union or over the first one's area.

    Args:
        boxes_a: [k, 5], a floating dtype; half precision is computed in float32.
        boxes_b: [k, 5].
        over: what the intersection is divided by.

    Returns:
        [k] in 0..1, in the dtype of `boxes_a`; 0 where there is nothing to divide by.
    """
    a, b = _precise(boxes_a.detach()), _precise(boxes_b.detach())
    a, b = a.to(torch.promote_types(a.dtype, b.dtype)), b.to(torch.promote_types(a.dtype, b.dtype))
    some = [slice(start, start + _PAIRS_AT_ONCE) for start in range(0, max(1, len(a)), _PAIRS_AT_ONCE)]
    common = torch.cat([overlaps(a[pairs], b[pairs]) for pairs in some])
    whole = _areas(a) if over == "first" else _areas(a) + _areas(b) - common
    return torch.where(whole > 0, common / torch.where(whole > 0, whole, 1), 0).to(boxes_a.dtype)


def rotated_iou(
    boxes_a: torch.Tensor, boxes_b: torch.Tensor, over: Literal["union", "first"] = "union"
) -> torch.Tensor:
    """As `rotated_iou_pairs`, of every box of `boxes_a` with every box of `boxes_b`.

    Args:
        boxes_a: [n, 5].
        boxes_b: [m, 5].
        over: what the intersection is divided by.

    Returns:
        [n, m] in 0..1, in the dtype of `boxes_a`.
    """
    out = boxes_a.new_zeros((len(boxes_a), len(boxes_b)))
    # Most pairs are too far apart for their circumscribed circles to meet.
    a, b = _precise(boxes_a.detach()), _precise(boxes_b.detach())
    apart = torch.linalg.vector_norm(a[:, None, :2] - b[None, :, :2], dim=2)
    reach = torch.linalg.vector_norm(a[:, 2:4], dim=1)[:, None] + torch.linalg.vector_norm(b[:, 2:4], dim=1)
    rows, columns = (2 * apart <= reach * (1 + 1e-5)).nonzero(as_tuple=True)
    out[rows, columns] = rotated_iou_pairs(a[rows], b[columns], over).to(out.dtype)
    return out


def rotated_nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Keep boxes by falling score, each unless it overlaps one that is kept by more than the threshold.

    Args:
        boxes: [n, 5], a floating dtype.
        scores: [n].
        iou_threshold: 0..1.

    Returns:
        [k] int64 on the device of `boxes`: the kept boxes by falling score; equal scores keep their order.
    """
    order = scores.detach().sort(descending=True, stable=True).indices
    ordered = boxes.detach()[order]
    removed = torch.zeros(len(ordered), dtype=torch.bool)  # on the CPU: the decisions are one after the other
    for first in range(0, len(ordered), _ROWS_AT_ONCE):
        alive = (~removed).nonzero()[:, 0]
        rows = alive[(alive >= first) & (alive < first + _ROWS_AT_ONCE)]
        columns = alive[alive >= first]
        high = rotated_iou(ordered[rows.to(boxes.device)], ordered[columns.to(boxes.device)]) > iou_threshold
        too_close = high.cpu()
        dropped = torch.zeros(len(columns), dtype=torch.bool)
        for row in range(len(rows)):  # rows are the first columns
            if not dropped[row]:
                too_close[row, : row + 1] = False
                dropped |= too_close[row]
        removed[columns] = dropped
    return order[(~removed).to(order.device)]


def _precise(boxes: torch.Tensor) -> torch.Tensor:
    return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()
