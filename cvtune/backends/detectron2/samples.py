"""The run's canonical training images as Detectron2's inputs. No catalog is touched: runs in a process are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from numpy.typing import NDArray

from cvtune.backends.detectron2.config import RunConfig
from cvtune.backends.image_samples import ImageSamples
from cvtune.backends.seeds import mix_seed
from cvtune.data.augment import make_augment
from cvtune.data.coco import Annotation, Rle, load_coco
from cvtune.data.geometry import mask_to_rle, rle_to_mask, segmentation_to_rle
from cvtune.errors import SpecError

__all__ = ["TrainingSamples", "as_list", "in_order"]

Sample = dict[str, Any]


class TrainingSamples(ImageSamples[Sample]):
    """Training images with their objects, indexed by (epoch, image index).

    An item is what Detectron2's models take: `image` uint8 [3, h, w] in the config's order of channels, `instances`
    with gt_boxes, gt_classes (class index) and, where the model segments, gt_masks. The spec's augmentation comes
    first, on the image as stored; then the transforms of Detectron2's own mapper: crop, resize, flip. What is random in
    an item depends on (seed, epoch, image) alone.
    """

    def __init__(self, path: Path, config: RunConfig, extras: Mapping[str, Any], seed: int) -> None:
        """Read the canonical COCO file at `path`.

        Raises:
            SpecError: the config wants polygons, and a mask is none.
            DataError: no image has an object where empty ones are left out.
        """
        dataset = load_coco(path)
        mapper = config.mapper()
        self.transforms, self.mask_format = mapper.augmentations, mapper.instance_mask_format
        self.with_masks, self.recompute_boxes = mapper.use_instance_mask, mapper.recompute_boxes
        self.order = mapper.image_format
        self.augment = make_augment(extras.get("data.augment") or [])
        self.augments = bool(extras.get("data.augment"))
        # A crowd is no object; Detectron2 leaves it out too.
        objects = [one for one in dataset.annotations if not one.iscrowd]
        skips = bool(extras.get("data.skip_bad_images"))
        super().__init__(dataset.images, objects, seed, skips, keep_empty=not config.drops_empty_images)
        if self.with_masks and self.mask_format == "polygon":
            self._check_polygons()

    def _check_polygons(self) -> None:
        for image in self.images:
            for annotation in self.objects[image.id]:
                if self.augments or isinstance(annotation.segmentation, Rle):
                    raise SpecError(
                        f"native: the format of masks: got polygon, but a mask of {image.file_name} is none, or moves "
                        "with data.augment; allowed: bitmask; leave the key out"
                    )

    def convert(self, epoch: int, index: int, rgb: NDArray[np.uint8]) -> Sample:
        """Augment an image with its objects, move both as the config's mapper does, and give them as tensors."""
        image = self.images[index]
        objects = [self._record(annotation) for annotation in self.objects[image.id]]
        if self.augments:
            rgb, objects = self._augmented(epoch, image.id, rgb, objects)
        # Detectron2's transforms draw from NumPy's global generator.
        np.random.seed(mix_seed(self.seed, "transform", epoch, image.id) % 2**32)
        given = T.AugInput(in_order(rgb, self.order))
        transforms = self.transforms(given)
        size_hw = given.image.shape[:2]
        moved = [detection_utils.transform_instance_annotations(record, transforms, size_hw) for record in objects]
        instances = detection_utils.annotations_to_instances(moved, size_hw, mask_format=self.mask_format)
        if self.recompute_boxes and instances.has("gt_masks"):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        return {
            "image": torch.as_tensor(np.ascontiguousarray(given.image.transpose(2, 0, 1))),
            "instances": detection_utils.filter_empty_instances(instances),
            "file_name": image.file_name,
            "image_id": image.id,
            "height": rgb.shape[0],
            "width": rgb.shape[1],
        }

    def _record(self, annotation: Annotation) -> dict[str, Any]:
        """An annotation in Detectron2's form; its mask as polygons or RLE, None without masks."""
        record: dict[str, Any] = {
            "bbox": list(annotation.bbox_xywh),
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": int(annotation.category_id) - 1,
        }
        mask = annotation.segmentation
        if self.with_masks and isinstance(mask, Rle):
            record["segmentation"] = {"size": list(mask.size_hw), "counts": mask.counts}
        elif self.with_masks and isinstance(mask, tuple):
            record["segmentation"] = [polygon.tolist() for polygon in mask]
        return record

    def _augmented(
        self, epoch: int, image_id: Any, rgb: NDArray[np.uint8], objects: Sequence[dict[str, Any]]
    ) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
        size_hw = (rgb.shape[0], rgb.shape[1])
        xywh = np.array([record["bbox"] for record in objects], dtype=np.float64).reshape(-1, 4)
        boxes_xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        masks = None
        if self.with_masks:
            segmentations = [annotation.segmentation for annotation in self.objects[image_id]]
            masks = [
                rle_to_mask(segmentation_to_rle(s, size_hw)).astype(np.uint8) for s in segmentations if s is not None
            ]
        found = self.augment(rgb, boxes_xyxy, masks, seed=mix_seed(self.seed, "augment", epoch, image_id))
        moved = []
        for at, kept in enumerate(found.kept):
            record = {**objects[kept], "bbox": found.boxes_xyxy[at].tolist(), "bbox_mode": BoxMode.XYXY_ABS}
            if found.masks is not None:
                rle = mask_to_rle(found.masks[at])
                record["segmentation"] = {"size": list(rle.size_hw), "counts": rle.counts}
            moved.append(record)
        return found.rgb, moved


def in_order(rgb: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """An image [h, w, 3] in the order of channels that a config names: RGB or BGR."""
    return np.ascontiguousarray(rgb[..., ::-1]) if order == "BGR" else rgb


def as_list(samples: Sequence[Sample]) -> list[Sample]:
    """A batch is a list: Detectron2's models pad images of different sizes themselves."""
    return list(samples)
