"""Overlap and non-maximum suppression of rotated boxes, in plain torch, on any device.

A box is (x, y, width, height, angle): its centre, its sides, and the angle in radians by which it is turned about the
centre from the x axis towards the negative y axis, which is counter-clockwise in an image, whose y axis points down.
"""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["box_corners", "overlaps", "rotated_iou", "rotated_iou_pairs", "rotated_nms"]

_PAIRS_AT_ONCE = 1 << 14  # what is computed of them stays in a processor's cache
_ROWS_AT_ONCE = 64  # a box that is dropped in one portion is not looked at in the next


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

    Seen from box a, which then is |x| <= w/2, |y| <= h/2, each horizontal line cuts box b from its left side to its
    right side, and both ends are moved into a: the area is the sum, over the four sides of b, of the integral of
    clamp(x, -w/2, w/2) dy along the part of the side with |y| <= h/2. Nothing has to be decided, so equal, touching and
    flat boxes are no special cases.

    Args:
        boxes_a: [k, 5], float32 or float64.
        boxes_b: [k, 5] of the same dtype.

    Returns:
        [k], in square pixels, 0 or more.
    """
    limits = boxes_a[:, 2:4].clamp(min=0) / 2
    width, height = limits[:, :1], limits[:, 1:]
    dx, dy = (boxes_b[:, :2] - boxes_a[:, :2]).unbind(1)
    cos, sin = torch.cos(boxes_a[:, 4]), torch.sin(boxes_a[:, 4])
    seen = torch.stack([dx * cos - dy * sin, dx * sin + dy * cos, *boxes_b[:, 2:4].unbind(1)], dim=1)
    x, y = box_corners(torch.cat([seen, (boxes_b[:, 4] - boxes_a[:, 4])[:, None]], dim=1)).unbind(2)  # [k, 4] each
    along_x, along_y = x.roll(-1, dims=1) - x, y.roll(-1, dims=1) - y
    low, high = y.clamp(-height, height), y.roll(-1, dims=1).clamp(-height, height)
    rise = torch.where(along_y == 0, 1, along_y)
    start, end = x + (low - y) / rise * along_x, x + (high - y) / rise * along_x
    first, last = start.clamp(-width, width), end.clamp(-width, width)
    # The mean of clamp(x) from start to end is `first`, and more by the part in which x goes from `first` to `last`.
    moved, length = last - first, end - start
    rest = torch.where(moved == 0, 0, moved / torch.where(moved == 0, 1, length)) * (end - (first + last) / 2)
    common = ((first + rest) * (high - low)).sum(dim=1).clamp(min=0)
    return torch.minimum(common, torch.minimum(_areas(boxes_a), _areas(boxes_b)))  # but for rounding it never is more


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return boxes[:, 2:4].clamp(min=0).prod(dim=1)


def rotated_iou_pairs(
    boxes_a: torch.Tensor, boxes_b: torch.Tensor, over: Literal["union", "first"] = "union"
) -> torch.Tensor:
    """Intersection of box i of `boxes_a` and box i of `boxes_b`, over their union or over the first one's area.

    Args:
        boxes_a: [k, 5], a floating dtype; all is computed in float64.
        boxes_b: [k, 5].
        over: what the intersection is divided by.

    Returns:
        [k] in 0..1, in the dtype of `boxes_a`; 0 where there is nothing to divide by.
    """
    a, b = boxes_a.detach().double(), boxes_b.detach().double()
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
    return _iou_above(boxes_a, boxes_b, over, 0.0)


def _iou_above(
    boxes_a: torch.Tensor, boxes_b: torch.Tensor, over: Literal["union", "first"], least: float
) -> torch.Tensor:
    """[n, m], right where it is more than `least`; 0 or more, and not more than `least`, elsewhere.

    Most pairs are told by the upright boxes around the two, which have at least as much in common.
    """
    a, b = boxes_a.detach().double(), boxes_b.detach().double()
    (low_a, high_a), (low_b, high_b) = _surroundings(a), _surroundings(b)
    sides = [
        (torch.minimum(high_a[:, None, axis], high_b[:, axis]) - torch.maximum(low_a[:, None, axis], low_b[:, axis]))
        for axis in range(2)
    ]
    most = torch.minimum(sides[0].clamp(min=0) * sides[1].clamp(min=0), torch.minimum(_areas(a)[:, None], _areas(b)))
    whole = _areas(a)[:, None] if over == "first" else _areas(a)[:, None] + _areas(b) - most
    rows, columns = (most > least * whole * (1 - 1e-4)).nonzero(as_tuple=True)
    out = boxes_a.new_zeros((len(boxes_a), len(boxes_b)))
    out[rows, columns] = rotated_iou_pairs(a[rows], b[columns], over).to(out.dtype)
    return out


def _surroundings(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest and the largest x and y of each box, [n, 2] each."""
    corners = box_corners(boxes)
    return corners.amin(dim=1), corners.amax(dim=1)


def rotated_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    iou_threshold: float,
    labels: torch.Tensor | None = None,
    inclusive: bool = False,
) -> torch.Tensor:
    """Keep boxes by falling score, each unless it overlaps one that is kept by more than the threshold.

    Args:
        boxes: [n, 5], a floating dtype; overlaps are compared with the threshold in this dtype.
        scores: [n].
        iou_threshold: 0..1.
        labels: [n]; boxes of different labels leave each other alone.
        inclusive: an overlap of just the threshold drops a box too.

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
        some, others = ordered[rows.to(boxes.device)], ordered[columns.to(boxes.device)]
        overlap = _iou_above(some, others, "union", iou_threshold)
        too_close = overlap >= iou_threshold if inclusive else overlap > iou_threshold
        if labels is not None:
            groups = labels[order]
            too_close &= groups[rows.to(boxes.device)][:, None] == groups[columns.to(boxes.device)]
        too_close = too_close.cpu()
        dropped = torch.zeros(len(columns), dtype=torch.bool)
        for row in range(len(rows)):  # rows are the first columns
            if not dropped[row]:
                too_close[row, : row + 1] = False
                dropped |= too_close[row]
        removed[columns] = dropped
    return order[(~removed).to(order.device)]
