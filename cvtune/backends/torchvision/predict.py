"""Prediction: detections in original pixels, masks pasted one at a time so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import resize_boxes

from cvtune.backends.base import Detection, PredictImage
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.torchvision.build import build_model, read_config
from cvtune.backends.torchvision.samples import image_tensor
from cvtune.data.geometry import mask_to_rle
from cvtune.data.images import read_rgb
from cvtune.runs import RunDir

__all__ = ["detect", "load_model", "predict"]

MASK_THRESHOLD = 0.5


def load_model(run: RunDir, checkpoint: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The trained model (its averaged weights where there are some) in evaluation mode, and the native config.

    Raises:
        DataError: the checkpoint is missing, is not one of ours, or has another class lock.
    """
    config = read_config(run)
    content = read_checkpoint(checkpoint)
    check_class_lock(content, run.class_map(), checkpoint)
    model = build_model(config)
    model.load_state_dict(content["ema"] or content["model"])
    use_cuda = config["run"]["device"] == "cuda" and torch.cuda.is_available()
    return model.to("cuda" if use_cuda else "cpu").eval(), config


def predict(run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
    """Detections of `images`, image after image; see `detect`."""
    model, config = load_model(run, checkpoint)
    device = next(model.parameters()).device
    yield from detect(model, ((i.id, i.path) for i in images), int(config["model"]["class_offset"]), device)


def detect(
    model: nn.Module, images: Iterable[tuple[int | str, Path]], class_offset: int, device: torch.device
) -> Iterator[Detection]:
    """Run the model on image files, one at a time.

    Args:
        model: a torchvision detection model; it is put in evaluation mode.
        images: (id, path) pairs.
        class_offset: torchvision's label of class index 0.
        device: where the model is.

    Yields:
        Detections in pixels of the image as displayed, best first within an image.
    """
    model.eval()
    transform: Any = model.transform
    postprocess = transform.postprocess
    transform.postprocess = _boxes_to_original
    try:
        for image_id, path in images:
            rgb = read_rgb(path)
            with torch.inference_mode():
                output = model([image_tensor(rgb).to(device)])[0]
            yield from _detections(image_id, output, rgb.shape[:2], class_offset)
    finally:
        transform.postprocess = postprocess


def _boxes_to_original(
    result: list[dict[str, torch.Tensor]], shapes: Sequence[tuple[int, int]], originals: Sequence[tuple[int, int]]
) -> list[dict[str, torch.Tensor]]:
    """torchvision's postprocess less its pasting of all masks at once, which takes n x h x w floats."""
    for output, shape, original in zip(result, shapes, originals, strict=True):
        output["boxes"] = resize_boxes(output["boxes"], list(shape), list(original))
    return result


def _detections(
    image_id: int | str, output: dict[str, torch.Tensor], size_hw: Sequence[int], class_offset: int
) -> Iterator[Detection]:
    boxes, masks = output["boxes"].float().cpu(), output.get("masks")
    scores, labels = output["scores"].float().cpu().tolist(), output["labels"].cpu().tolist()
    if masks is not None:
        masks = masks.float().cpu()
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        rle = None
        if masks is not None:
            pasted = paste_masks_in_image(masks[i : i + 1], boxes[i : i + 1], (size_hw[0], size_hw[1]))
            rle = mask_to_rle((pasted[0, 0] > MASK_THRESHOLD).numpy())
        yield Detection(image_id, labels[i] - class_offset, scores[i], (x0, y0, x1 - x0, y1 - y0), rle)
