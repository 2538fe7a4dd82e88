"""Prediction: MMDetection's own test pipeline on our images, detections in original pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from torch import nn

from cvtune.backends.base import Detection, PredictImage
from cvtune.backends.checkpoints import check_class_lock, read_checkpoint
from cvtune.backends.mmdet.detections import detections_of
from cvtune.backends.mmdet.runner import build_model, read_config
from cvtune.data.images import read_rgb
from cvtune.runs import RunDir, read_json

__all__ = ["load_model", "predict", "test_pipeline"]


def load_model(run: RunDir, checkpoint: Path) -> tuple[nn.Module, Any]:
    """The trained model (its averaged weights where there are some) in evaluation mode, and its test pipeline.

    Raises:
        DataError: the checkpoint is missing, is not one of ours, or has another class lock.
    """
    content = read_checkpoint(checkpoint)
    check_class_lock(content, run.class_map(), checkpoint)
    config = read_config(run)
    model = build_model(config)
    model.load_state_dict(content["state_dict"])
    use_cuda = torch.cuda.is_available() and _wants_cuda(run)
    return model.to("cuda" if use_cuda else "cpu").eval(), test_pipeline(config)


def test_pipeline(config: Any) -> Any:
    """The steps of the config's test pipeline, from an image in memory on, without annotations."""
    dataset = (config.get("test_dataloader") or config.val_dataloader).dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    steps = []
    for step in dataset.pipeline:
        kind = str(step["type"])
        if kind.startswith("LoadImageFrom"):
            steps.append({**step, "type": "mmdet.LoadImageFromNDArray"})
        elif not kind.startswith("LoadAnnotations"):
            steps.append(step)
    return Compose([{k: v for k, v in step.items() if k != "backend_args"} for step in steps])


def predict(run: RunDir, checkpoint: Path, images: Iterable[PredictImage]) -> Iterator[Detection]:
    """Detections of `images`, image after image, best first within one; pixels of the image as displayed."""
    model, pipeline = load_model(run, checkpoint)
    for image in images:
        bgr = np.ascontiguousarray(read_rgb(image.path)[..., ::-1])
        data = pipeline({"img": bgr, "img_id": 0})
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([data]))[0]  # type: ignore[operator]
        yield from detections_of(image.id, sample)


def _wants_cuda(run: RunDir) -> bool:
    """Whether the run was planned for a GPU; a run directory without its plan predicts where it can."""
    if not run.plan.exists():
        return True
    return bool(read_json(run.plan)["values"]["run.device"]["value"] != "cpu")
