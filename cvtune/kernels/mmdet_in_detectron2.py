"""What Detectron2's wrapper of MMDetection's detectors needs of MMDetection 3: it was written for release 2.

`detectron2_patches` lets `detectron2.modeling.mmdet_wrapper` call this module where MMDetection 2 is not there.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from cvtune.errors import MissingDependencyError

__all__ = ["build_detector", "forward"]


def build_detector(config: Mapping[str, Any]) -> nn.Module:
    """A detector of MMDetection 3 from a config of release 2, its layers initialised at random.

    `pretrained`, which release 2 loaded while it built the model, is left out: who trains loads the weights.

    Raises:
        MissingDependencyError: MMDetection is not installed.
    """
    missing = [name for name in ("mmengine", "mmcv", "mmdet") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"backend detectron2: this config's model is MMDetection's, and {', '.join(missing)} is not installed; "
            "run pip install 'cvtune[mmdet]'"
        )
    from mmdet.utils import register_all_modules
    from mmengine.config import ConfigDict
    from mmengine.logging import MMLogger
    from mmengine.registry import MODELS, DefaultScope

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        detector: nn.Module = MODELS.build(ConfigDict({k: v for k, v in config.items() if k != "pretrained"}))
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel("WARNING")  # it lists every tensor
        try:
            detector.init_weights()  # type: ignore[operator]
        finally:
            logger.setLevel(level)
    return detector


def forward(
    wrapper: Any, images: torch.Tensor, metas: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, Any]]
) -> Any:
    """The wrapper's forward pass.

    Args:
        wrapper: an `MMDetDetector` of Detectron2.
        images: [n, 3, h, w], normalised and padded.
        metas: what MMDetection 2 is told about each image.
        inputs: what Detectron2's models take: `instances` in training, `height` and `width` of the original.

    Returns:
        In training, loss name -> scalar; else a list of {"instances": Instances in original pixels}.
    """
    from detectron2.modeling.mmdet_wrapper import _parse_losses
    from mmdet.structures import DetDataSample
    from mmengine.registry import DefaultScope

    rescale = "height" in inputs[0]
    samples = []
    for meta, given in zip(metas, inputs, strict=True):
        known = {"img_shape": meta["img_shape"][:2], "ori_shape": meta["ori_shape"][:2]}
        known |= {"pad_shape": tuple(images.shape[-2:]), "batch_input_shape": tuple(images.shape[-2:])}
        known["scale_factor"] = tuple(float(factor) for factor in meta["scale_factor"][:2]) if rescale else (1.0, 1.0)
        sample = DetDataSample(metainfo=known)
        if wrapper.training:
            sample.gt_instances = _objects(given["instances"].to(wrapper.device))
        samples.append(sample)
    with DefaultScope.overwrite_default_scope("mmdet"):
        if wrapper.training:
            return _parse_losses(wrapper.detector.loss(images, samples))
        found = wrapper.detector.predict(images, samples, rescale=rescale)
    return [{"instances": _instances(sample, meta["ori_shape"][:2])} for sample, meta in zip(found, metas, strict=True)]


def _objects(instances: Any) -> Any:
    """Detectron2's objects of an image as MMDetection's."""
    from detectron2.structures import BitMasks
    from mmdet.structures.mask import BitmapMasks, PolygonMasks
    from mmengine.structures import InstanceData

    objects = InstanceData(bboxes=instances.gt_boxes.tensor, labels=instances.gt_classes)
    height, width = instances.image_size
    if instances.has("gt_masks"):
        masks = instances.gt_masks
        objects.masks = (
            BitmapMasks(masks.tensor.cpu().numpy(), height, width)
            if isinstance(masks, BitMasks)
            else PolygonMasks(masks.polygons, height, width)
        )
    elif not len(instances):  # an image without objects has no masks in Detectron2
        objects.masks = BitmapMasks([], height, width)
    return objects


def _instances(sample: Any, size_hw: tuple[int, int]) -> Any:
    """MMDetection's detections of an image as Detectron2's."""
    from detectron2.structures import Boxes, Instances

    found = sample.pred_instances
    instances = Instances(size_hw)
    instances.pred_boxes = Boxes(found.bboxes)
    instances.scores = found.scores
    instances.pred_classes = found.labels
    if "masks" in found:
        instances.pred_masks = found.masks
    return instances
