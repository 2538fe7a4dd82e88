"""The run's canonical training images as torchvision's (image, target) pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cvtune.backends.image_samples import ImageSamples
from cvtune.backends.seeds import mix_seed
from cvtune.data.augment import make_augment
from cvtune.data.coco import Annotation, load_coco
from cvtune.data.geometry import rle_to_mask, segmentation_to_rle

__all__ = ["Sample", "TrainingSamples", "collate", "image_tensor"]

Sample = tuple[torch.Tensor, dict[str, torch.Tensor]]
# After a crop, what is left of a box may be a sliver that no anchor can match.
SMALLEST_SIDE = 0.5


class TrainingSamples(ImageSamples[Sample]):
    """Training images with their targets, indexed by (epoch, image index).

    An item is (image float32 [3, h, w] in 0..1, target): `boxes` float32 [n, 4] xyxy pixels, `labels` int64 [n],
    `masks` uint8 [n, h, w] where the task needs them, `crowd_boxes` float32 [k, 4] where crowds are ignore regions.
    The augmentation of an item depends on (seed, epoch, image) alone.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        """Read the canonical COCO file at `path`; `config` is the native config."""
        dataset = load_coco(path)
        data = config["data"]
        self.offset = int(config["model"]["class_offset"])
        self.with_masks = config["model"]["family"] == "mask_rcnn"
        self.ignore_crowds = data["crowd"] == "ignore"
        self.augment = make_augment(data["augment"] or [])
        used = [one for one in dataset.annotations if not one.iscrowd or self.ignore_crowds]
        flags = (bool(data["skip_bad_images"]), bool(data["keep_empty_images"]))
        super().__init__(dataset.images, used, int(config["train"]["seed"]), *flags)

    def convert(self, epoch: int, index: int, rgb: NDArray[np.uint8]) -> Sample:
        """Augment an image with its objects and give both as tensors."""
        image = self.images[index]
        objects = self.objects[image.id]
        xywh = np.array([annotation.bbox_xywh for annotation in objects], dtype=np.float64).reshape(-1, 4)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        masks = [self._mask(annotation, rgb.shape[:2]) for annotation in objects] if self.with_masks else None
        augmented = self.augment(rgb, boxes, masks, seed=mix_seed(self.seed, "augment", epoch, image.id))
        boxes = np.asarray(augmented.boxes_xyxy).reshape(-1, 4)
        wide_enough = ((boxes[:, 2:] - boxes[:, :2]) >= SMALLEST_SIDE).all(axis=1)
        crowd = np.array([objects[i].iscrowd for i in augmented.kept], dtype=bool)
        keep = np.flatnonzero(wide_enough & ~crowd)
        labels = [int(objects[augmented.kept[i]].category_id) - 1 + self.offset for i in keep]
        target = {
            "boxes": torch.as_tensor(boxes[keep], dtype=torch.float32),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "image_id": torch.tensor(int(image.id)),
        }
        if augmented.masks is not None:
            height, width = augmented.rgb.shape[:2]
            kept = [np.asarray(augmented.masks[i], dtype=np.uint8) for i in keep]
            stacked = np.stack(kept) if kept else np.zeros((0, height, width), dtype=np.uint8)
            target["masks"] = torch.from_numpy(stacked)
        if self.ignore_crowds:
            target["crowd_boxes"] = torch.as_tensor(boxes[wide_enough & crowd], dtype=torch.float32)
        return image_tensor(augmented.rgb), target

    @staticmethod
    def _mask(annotation: Annotation, size_hw: Sequence[int]) -> NDArray[np.uint8]:
        height, width = size_hw
        if annotation.segmentation is None:  # a crowd may come as a box alone
            mask = np.zeros((height, width), dtype=np.uint8)
            x, y, w, h = (round(v) for v in annotation.bbox_xywh)
            mask[y : y + h, x : x + w] = 1
            return mask
        return rle_to_mask(segmentation_to_rle(annotation.segmentation, (height, width))).astype(np.uint8)


def image_tensor(rgb: NDArray[np.uint8]) -> torch.Tensor:
    """Float32 [3, h, w] in 0..1 from uint8 [h, w, 3]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).to(torch.float32).div_(255)


def collate(samples: Sequence[Sample]) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Images and targets as two lists: torchvision pads images of different sizes itself."""
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)
