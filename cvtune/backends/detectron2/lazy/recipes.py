"""The official recipe of a LazyConfig in the plan's keys."""

from __future__ import annotations

from typing import Any

from cvtune.backends.detectron2.lazy.keys import (
    LOADER,
    Config,
    backbone_norms,
    bottom_up,
    find_step,
    freezing,
    is_mmdet,
    is_regnet,
    norm_name,
    thresholds,
)

__all__ = ["backbone_name", "family_name", "lazy_recipe", "predicts_masks", "train_sets"]

_FAMILIES = {"FCOS": "fcos", "RetinaNet": "retinanet"}


def lazy_recipe(config: Config, images: int) -> dict[str, Any]:
    """Plan key -> official value, but for what depends on the spec; `images` of the official set have objects."""
    loader = config["dataloader"]["train"]
    path, stem = freezing(config)
    frozen = _get(config, path)
    frozen = stem - 1 if frozen is None else int(frozen)
    return {
        "data.batch_size": int(loader["total_batch_size"]),
        "data.keep_empty_images": not loader["dataset"].get("filter_empty", True),
        **_input(config),
        **_length(config, images),
        **_optimizer(config),
        "eval.every_iterations": int(config["train"]["eval_period"]),
        **{field: value for field, (_, value) in thresholds(config).items()},
        "model.frozen_stages": frozen - stem if frozen >= stem else None,
        "model.norm": _norm(config),
    }


def train_sets(config: Config) -> list[str]:
    """Names of the official training sets."""
    names = _get(config, (*LOADER, "dataset", "names"))
    return [names] if isinstance(names, str) else list(names)


def predicts_masks(config: Config) -> bool:
    """Whether the model segments."""
    heads = (
        config["model"]["detector"].get("roi_head", {}) if is_mmdet(config) else config["model"].get("roi_heads", {})
    )
    return "mask_head" in heads


def family_name(config: Config) -> str:
    """The family that a LazyConfig's model is of."""
    kind = str(config["model"]["_target_"]).rsplit(".", 1)[-1]
    return _FAMILIES.get(kind) or ("mask_rcnn" if predicts_masks(config) else "faster_rcnn")


def backbone_name(config: Config) -> str:
    """A name for reports: ResNet-50-FPN, RegNetX-FPN."""
    section = _get(config, bottom_up(config))
    if is_mmdet(config):
        return f"{section['type']}-{section['depth']}-FPN"
    neck = "FPN" if "bottom_up" in config["model"]["backbone"] else "C4"
    if is_regnet(config):
        return f"RegNet{'Y' if section.get('se_ratio') else 'X'}-{neck}"
    return f"ResNet-{section['stages']['depth']}-{neck}"


def _get(config: Config, path: tuple[str | int, ...]) -> Any:
    node: Any = config
    for step in path:
        if isinstance(step, str) and step not in node:
            return None
        node = node[step]
    return node


def _input(config: Config) -> dict[str, Any]:
    test, train = find_step(config, "test", "ResizeShortestEdge"), find_step(config, "train", "ResizeShortestEdge")
    jitter = find_step(config, "train", "ResizeScale")
    flip = find_step(config, "train", "RandomFlip")
    shorts = train[1]["short_edge_length"] if train else None
    augment: list[dict[str, Any]] = []
    if flip:
        augment = [{"HorizontalFlip" if flip[1].get("horizontal", True) else "VerticalFlip": {"p": 0.5}}]
    return {
        "data.image_size.short": [shorts] if isinstance(shorts, int) else shorts and list(shorts),
        "data.image_size.long": int(train[1]["max_size"]) if train else None,
        "data.image_size.test_short": int(test[1]["short_edge_length"]) if test else None,
        "data.image_size.sampling": train[1].get("sample_style", "range") if train else "choice",
        "data.image_size.square": int(jitter[1]["target_width"]) if jitter else None,
        "data.image_size.fit": "pad" if jitter else "stretch",
        "data.augment": augment,
    }


def _length(config: Config, images: int) -> dict[str, Any]:
    iterations = int(config["train"]["max_iter"])
    epochs = max(1, round(iterations * int(config["dataloader"]["train"]["total_batch_size"]) / images))
    multiplier = config["lr_multiplier"]
    scheduler = multiplier["scheduler"]
    milestones = list(scheduler["milestones"])
    # Without num_updates the last milestone is the end.
    end = scheduler.get("num_updates") or milestones.pop()
    values = scheduler["values"]
    return {
        "train.iterations": iterations,
        "train.epochs": epochs,
        "train.schedule.name": "multistep",
        "train.schedule.milestones": [round(step / end * epochs, 3) for step in milestones],
        "train.schedule.gamma": values[1] / values[0],
        "train.schedule.warmup_iterations": round(multiplier["warmup_length"] * iterations),
        "train.schedule.min_lr": 0.0,
    }


def _optimizer(config: Config) -> dict[str, Any]:
    optimizer = config["optimizer"]
    return {
        "train.optimizer.name": "sgd",
        "train.optimizer.lr": float(optimizer["lr"]),
        "train.optimizer.momentum": float(optimizer["momentum"]),
        "train.optimizer.weight_decay": float(optimizer["weight_decay"]),
        "train.gradient_clip": None,
        "train.ema": False,
        "train.precision": "fp16" if config["train"]["amp"]["enabled"] else "fp32",
    }


def _norm(config: Config) -> str:
    names = {"FrozenBN": "frozen", "BN": "batch", "SyncBN": "sync"}
    places = backbone_norms(config)
    return names.get(norm_name(_get(config, places[0])), "official") if places else "official"
