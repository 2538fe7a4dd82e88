"""MMDetection's predictions as ours: boxes and masks in original pixels, one image at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cvtune.backends.base import Detection
from cvtune.data.geometry import mask_to_rle

__all__ = ["detections_of"]


def detections_of(image_id: int | str, sample: Any) -> Iterator[Detection]:
    """Detections of one data sample that a model predicted with `rescale=True`, best first.

    A model that predicts masks alone (SOLO) gets the boxes around its masks; an empty mask has none and is left out.
    """
    predicted = sample.pred_instances
    scores = predicted.scores.detach().float().cpu().numpy()
    labels = predicted.labels.detach().cpu().numpy()
    boxes = predicted.bboxes
    boxes = getattr(boxes, "tensor", boxes).detach().float().cpu().numpy()
    masks = predicted.get("masks")
    boxes_by_mask = masks is not None and not np.any(boxes)
    for index in np.argsort(-scores, kind="stable").tolist():
        x0, y0, x1, y1 = (float(v) for v in boxes[index])
        rle = None
        if masks is not None:
            mask = masks[index]
            if not isinstance(mask, dict):
                mask = mask.detach().cpu().numpy() if hasattr(mask, "detach") else np.asarray(mask)
                if boxes_by_mask:
                    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                    if not len(rows):
                        continue
                    x0, y0, x1, y1 = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
                rle = mask_to_rle(mask.astype(bool))
        yield Detection(
            image_id, int(labels[index]), float(scores[index]), (x0, y0, max(x1 - x0, 0.0), max(y1 - y0, 0.0)), rle
        )
