"""`data.augment` as one step of MMDetection's pipelines. The native file imports this module by `custom_imports`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from cvtune.data.augment import make_augment

__all__ = ["CvtuneAugment"]


@TRANSFORMS.register_module()
class CvtuneAugment:
    """Apply the spec's albumentations to image, boxes, masks and ignore flags together.

    Stands after the last step that loads annotations: `img` is uint8 BGR [h, w, 3] (float32 where the image was loaded
    so), `gt_bboxes` HorizontalBoxes [n, 4] in pixels, `gt_masks` polygons or bitmaps. Objects that leave the image go,
    with their labels and flags. Masks come out as bitmaps where a transform has moved pixels.
    """

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        """`steps`: the spec's `data.augment`."""
        self.steps = steps
        self.augment = make_augment(steps)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment one sample; its randomness comes from NumPy's global generator, which the loader has seeded."""
        image = results["img"]
        boxes = results["gt_bboxes"].tensor.numpy().astype(np.float64)
        masks = results.get("gt_masks")
        stack = None if masks is None else masks.to_ndarray().astype(np.uint8)
        rgb = np.ascontiguousarray(image[..., ::-1]).astype(np.uint8)
        found = self.augment(rgb, boxes, stack, seed=int(np.random.randint(2**31)))
        kept = np.asarray(found.kept, dtype=np.int64)
        results["img"] = np.ascontiguousarray(found.rgb[..., ::-1]).astype(image.dtype)
        results["img_shape"] = found.rgb.shape[:2]
        results["ori_shape"] = results.get("ori_shape", found.rgb.shape[:2])
        boxes_xyxy = torch.as_tensor(np.asarray(found.boxes_xyxy, dtype=np.float32).reshape(-1, 4))
        results["gt_bboxes"] = HorizontalBoxes(boxes_xyxy)
        for key in ("gt_bboxes_labels", "gt_ignore_flags"):
            if key in results:
                results[key] = results[key][kept]
        if found.masks is not None:
            height, width = found.rgb.shape[:2]
            stacked = np.asarray(found.masks, dtype=np.uint8).reshape(-1, height, width)
            results["gt_masks"] = BitmapMasks(stacked, height, width)
        return results

    def __repr__(self) -> str:
        """Name the steps."""
        return f"CvtuneAugment({self.steps})"
