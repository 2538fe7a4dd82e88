"""Detectron2's wrapper of MMDetection's models, written for its release 2, with release 3."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from cvtune.backends.detectron2.probe import install_kernels
from cvtune.errors import MissingDependencyError
from cvtune.kernels import mmdet_in_detectron2

install_kernels()

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def wrapper() -> Any:
    """A small RetinaNet of MMDetection's in the wrapper."""
    from detectron2.modeling.mmdet_wrapper import MMDetDetector

    detector = {
        "type": "RetinaNet",
        "pretrained": "torchvision://resnet18",  # of release 2: not to be fetched
        "backbone": {"type": "ResNet", "depth": 18, "norm_eval": True},
        "neck": {
            "type": "FPN",
            "in_channels": [64, 128, 256, 512],
            "out_channels": 16,
            "start_level": 1,
            "num_outs": 5,
        },
        "bbox_head": {
            "type": "RetinaHead",
            "num_classes": 3,
            "in_channels": 16,
            "stacked_convs": 1,
            "feat_channels": 16,
            "anchor_generator": {
                "type": "AnchorGenerator",
                "octave_base_scale": 4,
                "scales_per_octave": 3,
                "ratios": [0.5, 1.0, 2.0],
                "strides": [8, 16, 32, 64, 128],
            },
            "bbox_coder": {"type": "DeltaXYWHBBoxCoder"},
        },
        "train_cfg": {
            "assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0},
            "sampler": {"type": "PseudoSampler"},
            "allowed_border": -1,
            "pos_weight": -1,
        },
        "test_cfg": {
            "nms_pre": 100,
            "min_bbox_size": 0,
            "score_thr": 0.0,
            "nms": {"type": "nms", "iou_threshold": 0.5},
            "max_per_img": 10,
        },
    }
    torch.manual_seed(0)
    return MMDetDetector(detector, pixel_mean=[10.0, 20.0, 30.0], pixel_std=[2.0, 4.0, 5.0])


def test_losses_are_named_and_an_image_without_objects_has_them_too(wrapper: Any) -> None:
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.events import EventStorage

    batch = []
    for boxes in ([[4.0, 4.0, 40.0, 30.0]], []):
        instances = Instances((48, 64))
        instances.gt_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
        instances.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
        batch.append({"image": torch.randint(0, 255, (3, 48, 64)), "instances": instances, "height": 96, "width": 128})
    with EventStorage():
        losses = wrapper.train()(batch)
    assert set(losses) == {"loss_cls", "loss_bbox"}
    assert all(loss.dim() == 0 and torch.isfinite(loss) for loss in losses.values())


def test_detections_are_mmdetections_own_in_pixels_of_the_original(wrapper: Any) -> None:
    from mmdet.structures import DetDataSample

    image = torch.randint(0, 255, (3, 48, 64)).float()
    found = wrapper.eval()([{"image": image, "height": 96, "width": 128}])[0]["instances"]
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in ([10.0, 20.0, 30.0], [2.0, 4.0, 5.0]))
    padded = torch.nn.functional.pad((image - mean) / deviation, (0, 0, 0, 16))[None]  # to 64 x 64
    meta = {"img_shape": (48, 64), "ori_shape": (48, 64), "pad_shape": (64, 64), "batch_input_shape": (64, 64)}
    sample = DetDataSample(metainfo={**meta, "scale_factor": (1.0, 1.0)})
    with torch.no_grad():
        (expected,) = wrapper.detector.predict(padded, [sample], rescale=False)
    assert len(found) == len(expected.pred_instances) == 10
    assert found.image_size == (96, 128)
    boxes = expected.pred_instances.bboxes.numpy() * 2
    np.testing.assert_allclose(found.pred_boxes.tensor.detach().numpy(), boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores.detach().numpy(), expected.pred_instances.scores.numpy(), atol=1e-6)
    assert found.pred_classes.tolist() == expected.pred_instances.labels.tolist()


def test_without_mmdetection_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mmdet" else find(name))
    with pytest.raises(MissingDependencyError, match=r"mmdet is not installed; run pip install 'cvtune\[mmdet\]'"):
        mmdet_in_detectron2.build_detector({"type": "RetinaNet"})
