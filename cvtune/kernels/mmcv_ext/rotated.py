"""Overlaps and suppression of rotated boxes: `box_iou_rotated`, `nms_rotated` of `mmcv._ext`."""

from __future__ import annotations

import torch

from cvtune.kernels.rotated_boxes import rotated_iou, rotated_iou_pairs, rotated_nms

__all__ = ["box_iou_rotated", "nms_rotated"]

IOU, IOF = 0, 1


def box_iou_rotated(
    boxes1: torch.Tensor, boxes2: torch.Tensor, ious: torch.Tensor, mode_flag: int, aligned: bool
) -> None:
    """Set `ious` [m * n], or [m] where `aligned`.

    Boxes are as in `cvtune.kernels.rotated_boxes`, but that positive angles turn towards the positive y axis.
    """
    of = rotated_iou_pairs if aligned else rotated_iou
    found = of(_turned_back(boxes1), _turned_back(boxes2), "first" if mode_flag == IOF else "union")
    ious.copy_(found.reshape(ious.shape))


def nms_rotated(
    dets: torch.Tensor,
    scores: torch.Tensor,
    order: torch.Tensor,
    dets_sorted: torch.Tensor,
    labels: torch.Tensor,
    iou_threshold: float,
    multi_label: bool,
) -> torch.Tensor:
    """Indices of the boxes that are kept, by falling score.

    Args:
        dets: [n, 5] centre x, y, width, height, angle; a sixth column, the label, where `multi_label`.
        scores: [n].
        order, dets_sorted: what the compiled operator is given besides; not used.
        labels: [n] or empty.
        iou_threshold: an overlap of it or above drops the box of lower score.
        multi_label: boxes of different labels leave each other alone (the compiled CPU operator does not heed it).
    """
    own = dets[:, 5] if multi_label and dets.shape[1] > 5 else None
    return rotated_nms(_turned_back(dets[:, :5]), scores, iou_threshold, labels=own, inclusive=True)


def _turned_back(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([boxes[:, :4], -boxes[:, 4:]], dim=1)
