"""Write docs/recipes.md: how far one model differs between the frameworks. A test keeps it true.

python docs/make_recipes.py

Most values are read from the installed frameworks: torchvision's from the signatures of its classes, the others' from
their official configs. What stands in code alone is written here, with the place.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvtune.backends import load_backend
from cvtune.backends.base import Recipe
from cvtune.backends.detectron2.zoo import read_official as read_yaml
from cvtune.backends.mmdet.zoo import read_official as read_mmdet
from cvtune.spec import Spec

INTRO = """# One model, three recipes

Made by `python docs/make_recipes.py` from the installed frameworks. The rows are Faster R-CNN with ResNet-50 and FPN,
and Mask R-CNN's mask head, as each framework's official config has them; a run with `train.recipe: official` changes
none of it. With `finetune`, the default, the rows marked *cvtune* follow one rule in every backend; every other
difference is the framework's own and stays. To bring two backends closer, `native:` reaches each of these settings.
"""
Row = tuple[str, Any, Any, Any, str]


def rows() -> list[Row]:
    """(what, torchvision, MMDetection, Detectron2, whose) of each setting."""
    from torchvision.models.detection.faster_rcnn import FasterRCNN
    from torchvision.models.detection.mask_rcnn import MaskRCNN

    tv = {name: parameter.default for name, parameter in inspect.signature(FasterRCNN).parameters.items()}
    assert "mask_roi_pool" in inspect.signature(MaskRCNN).parameters
    mm = read_mmdet("mask_rcnn/mask-rcnn_r50_fpn_1x_coco").content
    d2 = read_yaml("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x").content["MODEL"]
    own = {name: _recipe(name) for name in ("torchvision", "mmdet", "detectron2")}
    train, test, model = mm["model"]["train_cfg"], mm["model"]["test_cfg"], mm["model"]
    head, rpn, normalize = model["roi_head"]["bbox_head"], model["rpn_head"], model["data_preprocessor"]
    box, mask = d2["ROI_BOX_HEAD"], d2["ROI_MASK_HEAD"]

    def of(key: str) -> tuple[Any, Any, Any]:
        first, second, third = (recipe.values.get(key) for recipe in own.values())
        return first, second, third

    return [
        ("official config", *(recipe.config for recipe in own.values()), "framework"),
        (
            "pixels, weights from ImageNet or COCO",
            "RGB, 0..1, ImageNet's mean and deviation",
            f"RGB, 0..255, mean {_shown(normalize['mean'])}, deviation {_shown(normalize['std'])}",
            f"BGR, 0..255, mean {_shown(d2['PIXEL_MEAN'])}, deviation {_shown(d2['PIXEL_STD'])}",
            "framework; follows the weights",
        ),
        ("shorter side in training", *of("data.image_size.short"), "framework, unless the spec says it"),
        ("frozen stages after the stem", *of("model.frozen_stages"), "framework, unless the spec says it"),
        (
            "batch norm",
            "frozen statistics, no gradient",
            "frozen statistics, scale and shift train",
            f"{d2['RESNETS']['NORM']}: frozen, no gradient",
            "framework",
        ),
        (
            "sides of anchors",
            "32 to 512",
            _anchors(rpn["anchor_generator"]),
            _shown(d2["ANCHOR_GENERATOR"]["SIZES"]),
            "framework",
        ),
        (
            "RPN: proposals a level before NMS, training / test",
            f"{tv['rpn_pre_nms_top_n_train']} / {tv['rpn_pre_nms_top_n_test']}",
            f"{train['rpn_proposal']['nms_pre']} / {test['rpn']['nms_pre']}",
            f"{d2['RPN']['PRE_NMS_TOPK_TRAIN']} / {d2['RPN']['PRE_NMS_TOPK_TEST']}",
            "framework",
        ),
        (
            "RPN: proposals an image after NMS, training / test",
            f"{tv['rpn_post_nms_top_n_train']} / {tv['rpn_post_nms_top_n_test']}",
            f"{train['rpn_proposal']['max_per_img']} / {test['rpn']['max_per_img']}",
            f"{d2['RPN']['POST_NMS_TOPK_TRAIN']} / {d2['RPN']['POST_NMS_TOPK_TEST']}",
            "framework",
        ),
        (
            "RPN: anchors sampled an image",
            tv["rpn_batch_size_per_image"],
            train["rpn"]["sampler"]["num"],
            d2["RPN"]["BATCH_SIZE_PER_IMAGE"],
            "framework",
        ),
        (
            "RPN: box loss",
            "smooth L1, beta 1/9 (`rpn.py`)",
            rpn["loss_bbox"]["type"],
            _smooth_l1(d2["RPN"]["SMOOTH_L1_BETA"]),
            "framework",
        ),
        (
            "RoIs sampled an image, share of positives",
            f"{tv['box_batch_size_per_image']}, {tv['box_positive_fraction']}",
            f"{train['rcnn']['sampler']['num']}, {train['rcnn']['sampler']['pos_fraction']}",
            f"{d2['ROI_HEADS']['BATCH_SIZE_PER_IMAGE']}, {d2['ROI_HEADS']['POSITIVE_FRACTION']}",
            "framework",
        ),
        (
            "RoIAlign",
            "half a pixel off (aligned=False), 2 x 2 samples a bin (`faster_rcnn.py`)",
            "aligned, samples by the RoI's size",
            f"{box['POOLER_TYPE']}: aligned, samples by the RoI's size",
            "framework",
        ),
        (
            "box coding: weights of x, y, w, h",
            "10, 10, 5, 5 (`roi_heads.py`)",
            _shown([round(1 / deviation, 3) for deviation in head["bbox_coder"]["target_stds"]]),
            _shown(box["BBOX_REG_WEIGHTS"]),
            "framework",
        ),
        (
            "box loss",
            "smooth L1, beta 1/9 (`roi_heads.py`)",
            head["loss_bbox"]["type"],
            _smooth_l1(box["SMOOTH_L1_BETA"]),
            "framework",
        ),
        (
            "one box for each class",
            "yes",
            _yes(not head["reg_class_agnostic"]),
            _yes(not box["CLS_AGNOSTIC_BBOX_REG"]),
            "framework",
        ),
        (
            "mask head: convolutions, channels, size",
            "4, 256, 28 (`mask_rcnn.py`)",
            f"{model['roi_head']['mask_head']['num_convs']}, {model['roi_head']['mask_head']['conv_out_channels']}, 28",
            f"{mask['NUM_CONV']}, {mask['CONV_DIM']}, {2 * mask['POOLER_RESOLUTION']}",
            "framework",
        ),
        (
            "mask head: last layer at the start, for n classes",
            "deviation sqrt(2 / (n + 1)) (`mask_rcnn.py`)",
            "deviation sqrt(2 / n) (`fcn_mask_head.py`): large first gradients for few classes",
            "deviation 0.001 (`mask_head.py`)",
            "framework",
        ),
        (
            "score threshold, NMS, detections",
            *(
                f"{a}, {b}, {c}"
                for a, b, c in zip(
                    of("eval.score_threshold"), of("eval.nms_iou"), of("eval.model_max_detections"), strict=True
                )
            ),
            "framework, unless the spec says it",
        ),
        (
            "batch, learning rate",
            *(f"{batch}, {lr}" for batch, lr in zip(of("data.batch_size"), of("train.optimizer.lr"), strict=True)),
            "*cvtune*: the rate is scaled by the batch",
        ),
        ("length in epochs of COCO", *of("train.epochs"), "*cvtune*: one rule for the length"),
        ("steps of warm-up", *of("train.schedule.warmup_iterations"), "*cvtune*: at most 10 % of the steps"),
        (
            "images without objects",
            "are left out",
            "are left out",
            "are left out",
            "*cvtune*: kept, unless the spec says it",
        ),
        (
            "flips and colours",
            "horizontal flip",
            "horizontal flip",
            "horizontal flip",
            "*cvtune*: `data.augment` takes their place",
        ),
    ]


def _recipe(backend: str) -> Recipe:
    model = {"family": "faster_rcnn", "backbone": "resnet50_fpn"}
    spec = {"name": "recipes", "backend": backend, "model": model, "data": {"train": "train.json"}}
    return load_backend(backend).recipe(Spec.model_validate(spec))


def _anchors(generator: Mapping[str, Any]) -> str:
    sides = [generator["scales"][0] * stride for stride in generator["strides"]]
    return f"{sides[0]} to {sides[-1]}"


def _smooth_l1(beta: float) -> str:
    return "L1Loss (smooth L1, beta 0)" if beta == 0 else f"smooth L1, beta {beta:g}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def table() -> str:
    """The page's text."""
    lines = [INTRO, "| setting | torchvision | MMDetection | Detectron2 | whose |", "|" + "---|" * 5]
    lines += ["| " + " | ".join(_shown(cell) for cell in row) + " |" for row in rows()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).resolve().parent / "recipes.md").write_text(table(), encoding="utf-8")
