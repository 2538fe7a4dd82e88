"""Non-maximum suppression: `nms`, `softnms`, `nms_match` of `mmcv._ext`.

Thresholds are rounded to float32, and sums are made in the order of the compiled operators: an overlap that falls on
the threshold must fall on the same side. Equal scores have the order that `torch.sort` gives them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cvtune.kernels.mmcv_ext.widths import widened

__all__ = ["nms", "nms_match", "softnms"]

NAIVE, LINEAR, GAUSSIAN = 0, 1, 2

Array = np.ndarray[Any, Any]


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int) -> torch.Tensor:
    """Indices of the boxes that are kept, by falling score.

    Args:
        boxes: [n, 4] x0, y0, x1, y1.
        scores: [n].
        iou_threshold: an overlap above it drops the box of lower score.
        offset: 0, or 1 where x1 and y1 are the last pixels of the box.

    Returns:
        [k], int64, on the boxes' device.
    """
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    boxes, scores = widened(boxes.detach(), scores.detach())
    threshold = float(np.float32(iou_threshold))
    order = scores.sort(descending=True)[1]
    if offset == 0:
        import torchvision

        # Ranks in place of scores: torchvision's sort would order equal scores in another way.
        ranks = torch.arange(len(order), 0, -1, dtype=boxes.dtype, device=boxes.device)
        return order[torchvision.ops.nms(boxes[order], ranks, threshold)]
    order = order.cpu()
    corners = boxes.cpu().numpy()[order.numpy()]
    kept_rows = [first for first, _ in _groups(corners, offset, lambda overlap: overlap > threshold)]
    return order[kept_rows].to(boxes.device)


def nms_match(dets: torch.Tensor, iou_threshold: float) -> list[list[int]]:
    """For each box that is kept, its index and those of the boxes that it suppresses, by falling score.

    Args:
        dets: [n, 5] x0, y0, x1, y1, score.
        iou_threshold: an overlap of it or above suppresses.
    """
    (wide,) = widened(dets.detach().cpu())
    order = wide[:, 4].contiguous().sort(descending=True)[1].numpy()
    threshold = np.float32(iou_threshold)
    groups = _groups(wide[:, :4].numpy()[order], 0, lambda overlap: overlap >= threshold)
    return [[int(order[first]), *(int(i) for i in order[others])] for first, others in groups]


def softnms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    dets: torch.Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> torch.Tensor:
    """Soft-NMS (Bodla et al. 2017): overlapping boxes lose score, and are dropped below `min_score`.

    Args:
        boxes: [n, 4] on the CPU.
        scores: [n].
        dets: [n, 5]; its first k rows are set to box and lowered score, by the order of choice.
        iou_threshold: for `NAIVE` and `LINEAR`, overlaps below it change nothing.
        sigma: of `GAUSSIAN`.
        method: `NAIVE` (score 0), `LINEAR` (times 1 - overlap) or `GAUSSIAN` (times exp(-overlap^2 / sigma)).
        offset: 0 or 1, as in `nms`.

    Returns:
        [k], int64: the indices of these rows.
    """
    wide_boxes, wide_scores = widened(boxes.detach().cpu(), scores.detach().cpu())
    # Columns: x0, y0, x1, y1, score. Rows change places as in a selection sort, which decides between equal scores.
    rows = torch.cat([wide_boxes, wide_scores[:, None]], dim=1).numpy().copy()
    index = np.arange(len(rows))
    one = rows.dtype.type
    count, done = len(rows), 0
    while done < count:
        best = done + int(np.argmax(rows[done:count, 4]))
        rows[[done, best]] = rows[[best, done]]
        index[[done, best]] = index[[best, done]]
        rest = slice(done + 1, count)
        # Two boxes without an area lower each other's score by no method; the compiled `GAUSSIAN` makes it no number.
        overlap = np.nan_to_num(_overlaps(rows[done, :4], rows[rest, :4], offset))
        if method == GAUSSIAN:
            # In double precision: float32's exponential differs between libraries, and equal scores must stay equal.
            weight = np.exp((-(overlap * overlap) / one(sigma)).astype(np.float64)).astype(rows.dtype)
        else:
            lowered = one(0) if method == NAIVE else one(1) - overlap
            weight = np.where(overlap >= np.float32(iou_threshold), lowered, one(1))
        rows[rest, 4] *= weight
        low = np.flatnonzero(rows[rest, 4] < np.float32(min_score)) + done + 1
        order = _filled(done + 1, count, low)
        rows[done + 1 : done + 1 + len(order)] = rows[order]
        index[done + 1 : done + 1 + len(order)] = index[order]
        count -= len(low)
        done += 1
    dets[:count] = torch.from_numpy(rows[:count]).to(dets)
    return torch.from_numpy(index[:count])


def _filled(start: int, stop: int, dropped: Array) -> Array:
    """The places start..stop without the dropped ones: each hole is filled with the last that is left."""
    keep = np.ones(stop - start, dtype=bool)
    keep[dropped - start] = False
    left = start + int(keep.sum())
    order = np.arange(start, left)
    holes = dropped[dropped < left] - start
    tail = np.flatnonzero(keep[left - start :]) + left
    order[holes] = tail[::-1]
    return order


def _groups(corners: Array, offset: int, suppresses: Any) -> list[tuple[int, Array]]:
    """Greedy suppression of boxes [n, 4] by falling score: (kept row, rows that it suppresses)."""
    alive = np.arange(len(corners))
    groups = []
    while len(alive):
        first, others = alive[0], alive[1:]
        out = suppresses(_overlaps(corners[first], corners[others], offset))
        groups.append((int(first), others[out]))
        alive = others[~out]
    return groups


def _overlaps(box: Array, others: Array, offset: int) -> Array:
    """IoU of one box [4] with others [n, 4]; not a number, which suppresses nothing, where neither has an area."""
    one = box.dtype.type(offset)
    area = (box[2] - box[0] + one) * (box[3] - box[1] + one)
    areas = (others[:, 2] - others[:, 0] + one) * (others[:, 3] - others[:, 1] + one)
    width = np.maximum(np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0]) + one, 0)
    height = np.maximum(np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1]) + one, 0)
    inter = width * height
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap: Array = inter / (area + areas - inter)
    return overlap
