"""Prediction: what Detectron2's DefaultPredictor does, masks pasted one at a time so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.modeling.postprocessing import detector_postprocess
from torch import nn

from cvtune.backends.base import Detection, PredictImage
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.detectron2.config import RunConfig, build_model, read_config, read_extras
from cvtune.backends.detectron2.samples import in_order
from cvtune.data.geometry import mask_to_rle
from cvtune.data.images import read_rgb
from cvtune.runs import RunDir

__all__ = ["detect", "load_model", "predict"]


def load_model(run: RunDir, checkpoint: Path) -> tuple[nn.Module, RunConfig]:
    """The trained model (its averaged weights where there are some) in evaluation mode, and the native config.

    Raises:
        DataError: the checkpoint is missing, is not one of ours, or has another class lock.
    """
    content = read_checkpoint(checkpoint)
    check_class_lock(content, run.class_map(), checkpoint)
    config = read_config(run)
    read_extras(run)
    use_cuda = config.device == "cuda" and torch.cuda.is_available()
    model = build_model(config, "cuda" if use_cuda else "cpu")
    model.load_state_dict(content["ema"] or content["model"])
    return model.eval(), config


def predict(run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
    """Detections of `images`, image after image; see `detect`."""
    model, config = load_model(run, checkpoint)
    yield from detect(model, config, ((image.id, image.path) for image in images))


def detect(model: nn.Module, config: RunConfig, images: Iterable[tuple[int | str, Path]]) -> Iterator[Detection]:
    """Run the model on image files, one at a time.

    Args:
        model: a detector of Detectron2; it is put in evaluation mode.
        config: the run's config: image size and order of channels.
        images: (id, path) pairs.

    Yields:
        Detections in pixels of the image as displayed, best first within an image.
    """
    model.eval()
    resize = config.test_resize()
    for image_id, path in images:
        image = in_order(read_rgb(path), config.channel_order)
        height, width = image.shape[:2]
        resized = T.AugInput(image)
        resize(resized)
        tensor = torch.as_tensor(np.ascontiguousarray(resized.image.astype(np.float32).transpose(2, 0, 1)))
        with torch.no_grad():
            given = {"image": tensor, "height": height, "width": width}
            if hasattr(model, "roi_heads"):  # as the model sees it: each mask is pasted when its turn comes
                instances = model.inference([given], do_postprocess=False)[0]  # type: ignore[operator]
                paste = partial(detector_postprocess, output_height=height, output_width=width)
                yield from _detections(image_id, instances, paste)
            else:
                yield from _detections(image_id, model([given])[0]["instances"], lambda one: one)


def _detections(image_id: int | str, found: Any, finish: Callable[[Any], Any]) -> Iterator[Detection]:
    """Instances as detections; `finish` takes one to pixels of the original image."""
    order = torch.argsort(found.scores, descending=True, stable=True)
    for index in order.tolist():
        one = finish(found[index : index + 1])
        if not len(one):  # nothing of the box is left within the image
            continue
        x0, y0, x1, y1 = one.pred_boxes.tensor[0].float().tolist()
        rle = mask_to_rle(one.pred_masks[0].cpu().numpy()) if one.has("pred_masks") else None
        score, class_index = float(one.scores[0]), int(one.pred_classes[0])
        yield Detection(image_id, class_index, score, (x0, y0, x1 - x0, y1 - y0), rle)
