"""`data.crowd: ignore`: anchors and proposals on a crowd, if they match no object, are left out of the loss.

A crowd box is a region with many objects that nobody annotated one by one: what the model finds in it is neither right
nor wrong. An anchor is on a crowd where at least half of the anchor's own area is inside it, which is how COCO's
evaluation matches detections to crowds (pycocotools `maskUtils.iou` with iscrowd: intersection over detection area).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.transform import resize_boxes

from cvtune.errors import UnsupportedError

__all__ = ["MIN_SHARE", "ignore_crowds", "on_crowd"]

MIN_SHARE = 0.5
Targets = list[dict[str, torch.Tensor]]


def on_crowd(boxes: torch.Tensor, crowds: torch.Tensor) -> torch.Tensor:
    """Which boxes have at least half of their area inside one crowd box.

    Args:
        boxes: [n, 4] xyxy pixels.
        crowds: [k, 4] xyxy pixels; k may be 0.

    Returns:
        bool [n].
    """
    if crowds.numel() == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    crowds = crowds.to(boxes)
    low = torch.maximum(boxes[:, None, :2], crowds[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    # intersections: [n, k]
    intersections = (high - low).clamp(min=0).prod(dim=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    return intersections.amax(dim=1) >= MIN_SHARE * areas.clamp(min=torch.finfo(areas.dtype).tiny)


def ignore_crowds(model: nn.Module) -> None:
    """Wrap the model's assignment of anchors, in place; training targets may then carry `crowd_boxes` [k, 4].

    Raises:
        UnsupportedError: the model is no R-CNN or RetinaNet.
    """
    if isinstance(model, GeneralizedRCNN):
        _wrap_rpn(model.rpn)
        _wrap_roi_heads(model.roi_heads)
    elif isinstance(model, RetinaNet):
        _wrap_retinanet_head(model.head)
    else:
        raise UnsupportedError(
            f"data.crowd: backend torchvision cannot ignore crowds with {type(model).__name__}; nearest: official"
        )
    _wrap_transform(model.transform)


def _crowds(target: dict[str, torch.Tensor]) -> torch.Tensor:
    return target.get("crowd_boxes", target["boxes"][:0])


def _wrap_transform(transform: Any) -> None:
    """torchvision resizes boxes and masks only."""
    original = transform.resize

    def resize(image: torch.Tensor, target: dict[str, torch.Tensor] | None = None) -> Any:
        before = image.shape[-2:]
        image, target = original(image, target)
        if target is not None and "crowd_boxes" in target:
            target["crowd_boxes"] = resize_boxes(target["crowd_boxes"], before, image.shape[-2:])
        return image, target

    transform.resize = resize


def _wrap_rpn(rpn: Any) -> None:
    assign, compute_loss = rpn.assign_targets_to_anchors, rpn.compute_loss

    def assign_targets_to_anchors(anchors: list[torch.Tensor], targets: Targets) -> Any:
        labels, matched = assign(anchors, targets)
        for label, boxes, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & on_crowd(boxes, _crowds(target))] = -1
        return labels, matched

    def loss(objectness: torch.Tensor, deltas: torch.Tensor, labels: list[torch.Tensor], goals: Any) -> Any:
        if all(bool((label < 0).all()) for label in labels):
            # Every anchor of the batch is on a crowd: torchvision would divide by the number of samples, zero.
            return objectness.sum() * 0, deltas.sum() * 0
        return compute_loss(objectness, deltas, labels, goals)

    rpn.assign_targets_to_anchors, rpn.compute_loss = assign_targets_to_anchors, loss


def _wrap_roi_heads(heads: Any) -> None:
    select, assign, forward = heads.select_training_samples, heads.assign_targets_to_proposals, heads.forward
    current: list[torch.Tensor] = []
    sampled = [0]

    def select_training_samples(proposals: list[torch.Tensor], targets: Targets) -> Any:
        current[:] = [_crowds(target) for target in targets]
        result = select(proposals, targets)
        sampled[0] = sum(len(boxes) for boxes in result[0])
        return result

    def assign_targets_to_proposals(proposals: Sequence[torch.Tensor], boxes: Any, labels: Any) -> Any:
        matched, assigned = assign(proposals, boxes, labels)
        for label, found, crowds in zip(assigned, proposals, current, strict=True):
            label[(label == 0) & on_crowd(found, crowds)] = -1
        return matched, assigned

    def guarded_forward(features: Any, proposals: Any, image_shapes: Any, targets: Targets | None = None) -> Any:
        result, losses = forward(features, proposals, image_shapes, targets)
        if heads.training and sampled[0] == 0:
            # No proposal was left to learn from: a mean over none is not a number. Zero that still has gradients.
            zero = torch.stack([p.sum() for p in heads.parameters()]).sum() * 0
            losses = dict.fromkeys(losses, zero)
        return result, losses

    heads.select_training_samples = select_training_samples
    heads.assign_targets_to_proposals = assign_targets_to_proposals
    heads.forward = guarded_forward


def _wrap_retinanet_head(head: Any) -> None:
    compute_loss = head.compute_loss

    def loss(targets: Targets, outputs: Any, anchors: list[torch.Tensor], matched: list[torch.Tensor]) -> Any:
        for index, boxes, target in zip(matched, anchors, targets, strict=True):
            on = (index == BELOW_LOW_THRESHOLD) & on_crowd(boxes, _crowds(target))
            index[on] = BETWEEN_THRESHOLDS
        return compute_loss(targets, outputs, anchors, matched)

    head.compute_loss = loss


# torchvision.models.detection._utils.Matcher's marks.
BELOW_LOW_THRESHOLD = -1
BETWEEN_THRESHOLDS = -2
