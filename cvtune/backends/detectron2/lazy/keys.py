"""Where a LazyConfig of Detectron2 says what: paths into its sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AUGMENTATIONS",
    "INPUT_PATHS",
    "LOADER",
    "Config",
    "Path",
    "backbone_norms",
    "bottom_up",
    "class_counts",
    "find_step",
    "freezing",
    "head_norms",
    "is_mmdet",
    "is_regnet",
    "norm_name",
    "thresholds",
]

Path = tuple[str | int, ...]
Config = Mapping[str, Any]

LOADER: Path = ("dataloader", "train")
AUGMENTATIONS: Mapping[str, Path] = {
    split: ("dataloader", split, "mapper", "augmentations") for split in ("train", "test")
}
# YAML's name of a way to feed images -> where a LazyConfig says it; STRIDE_IN_1X1 lies with the backbone.
INPUT_PATHS: Mapping[str, tuple[Path, ...]] = {
    "INPUT.FORMAT": (("dataloader", "train", "mapper", "image_format"), ("model", "input_format")),
    "MODEL.PIXEL_MEAN": (("model", "pixel_mean"),),
    "MODEL.PIXEL_STD": (("model", "pixel_std"),),
    "MODEL.RESNETS.STRIDE_IN_1X1": (("model", "backbone", "bottom_up", "stages", "stride_in_1x1"),),
}


def is_mmdet(config: Config) -> bool:
    """Whether the model is one of MMDetection's in Detectron2's wrapper."""
    return "detector" in config["model"]


def bottom_up(config: Config) -> Path:
    """The classifier within the backbone, below its pyramid where it has one."""
    if is_mmdet(config):
        return ("model", "detector", "backbone")
    path: Path = ("model", "backbone")
    return (*path, "bottom_up") if "bottom_up" in config["model"]["backbone"] else path


def _at(config: Config, path: Path) -> Any:
    node: Any = config
    for step in path:
        node = node[step]
    return node


def is_regnet(config: Config) -> bool:
    """Whether the backbone is a RegNet; else it is a ResNet."""
    return str(_at(config, bottom_up(config)).get("_target_")).endswith("RegNet")


def freezing(config: Config) -> tuple[Path, int]:
    """Where the number of frozen stages is said, and what it says of a backbone whose stem alone is frozen."""
    return ((*bottom_up(config), "frozen_stages"), 0) if is_mmdet(config) else ((*bottom_up(config), "freeze_at"), 1)


def backbone_norms(config: Config) -> tuple[Path, ...]:
    """Where the norm layers of the classifier within the backbone are named; MMDetection names them another way."""
    path = bottom_up(config)
    if is_mmdet(config):
        return ()
    return ((*path, "norm"),) if is_regnet(config) else ((*path, "stem", "norm"), (*path, "stages", "norm"))


def head_norms(config: Config) -> tuple[Path, ...]:
    """Where norm layers of the pyramid and of the heads are named, if they have any."""
    model: Path = ("model",)
    places: list[tuple[Path, str]] = [((*model, "backbone"), "norm"), ((*model, "head"), "norm")]
    places += [((*model, "roi_heads", head), "conv_norm") for head in ("box_head", "mask_head")]
    found = []
    for parent, key in places:
        node: Any = config
        for step in parent:
            node = node.get(step, {})
        if key in node:
            found.append((*parent, key))
    return tuple(found)


def norm_name(value: Any) -> str:
    """A norm's name as YAML has it; a lambda that makes Detectron2's own synchronised one is SyncBN."""
    return "SyncBN" if "SyncBatchNorm" in str(value) else str(value)


def class_counts(config: Config) -> tuple[Path, ...]:
    """Every number of classes that is no reference to another one."""
    found: list[Path] = []

    def visit(node: Any, path: Path) -> None:
        if isinstance(node, Mapping):
            for key, value in node.items():
                if key == "num_classes" and isinstance(value, int):
                    found.append((*path, key))
                visit(value, (*path, key))
        elif isinstance(node, list):
            for index, value in enumerate(node):
                visit(value, (*path, index))

    visit(config["model"], ("model",))
    return tuple(found)


def thresholds(config: Config) -> dict[str, tuple[Path, float]]:
    """Plan field -> where it is said, and its value; a class' own default where the config leaves it out."""
    base: Path
    if is_mmdet(config):
        base = ("model", "detector", "test_cfg", "rcnn")
        test = _at(config, base)
        return {
            "eval.score_threshold": ((*base, "score_thr"), test["score_thr"]),
            "eval.nms_iou": ((*base, "nms", "iou_threshold"), test["nms"]["iou_threshold"]),
            "eval.model_max_detections": ((*base, "max_per_img"), test["max_per_img"]),
        }
    if "roi_heads" in config["model"]:
        base = ("model", "roi_heads", "box_predictor")
        names = {"score_threshold": "test_score_thresh", "nms_iou": "test_nms_thresh"}
        names["model_max_detections"] = "test_topk_per_image"
    else:
        base = ("model",)
        names = {"score_threshold": "test_score_thresh", "nms_iou": "test_nms_thresh"}
        names["model_max_detections"] = "max_detections_per_image"
    defaults = {"score_threshold": 0.05, "nms_iou": 0.5, "model_max_detections": 100}
    section = _at(config, base)
    return {f"eval.{field}": ((*base, key), section.get(key, defaults[field])) for field, key in names.items()}


def find_step(config: Config, split: str, name: str) -> tuple[Path, Mapping[str, Any]] | None:
    """The first transform of a class `name` in a split's pipeline and its path, or None."""
    for index, step in enumerate(_at(config, AUGMENTATIONS[split])):
        if str(step["_target_"]).rsplit(".", 1)[-1] == name:
            return (*AUGMENTATIONS[split], index), step
    return None
