"""The model side of a translation: backbone, classes, norm layers, frozen stages, thresholds, starting weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from cvtune.backends.edits import Edits, Path
from cvtune.backends.mmdet.models import LAYER_COUNTS, Model
from cvtune.backends.mmdet.signatures import accepts, default_of, keeps_statistics
from cvtune.backends.mmdet.zoo import walk
from cvtune.backends.stages import MOST_STAGES
from cvtune.errors import SpecError, UnsupportedError
from cvtune.plan import Plan

__all__ = ["check_queries", "official_classes", "pretrained_places", "translate_model"]

# Heads whose classes are not the data's: region proposals have one, a branch for the background has its own.
_OTHER_HEADS = ("rpn_head", "semantic_head", "mask_iou_rpn")
_BN = ("BN", "SyncBN", "MMSyncBN", "BN2d")


def translate_model(edits: Edits, plan: Plan, model: Model) -> None:
    """Honour the spec's `model` and `eval` fields and the number of classes."""
    _backbone(edits, model)
    _classes(edits, len(plan.class_map.names))
    _weights(edits, plan)
    _frozen_stages(edits, plan)
    _norm(edits, plan)
    _thresholds(edits, plan)


def official_classes(config: Mapping[str, Any]) -> int:
    """How many classes the official config's heads tell apart."""
    counts = Counter(
        int(node["num_classes"])
        for path, node in walk(config["model"])
        if isinstance(node.get("num_classes"), int) and not any(part in _OTHER_HEADS for part in path)
    )
    counts.update(
        int(node["num_things_classes"])
        for path, node in walk(config["model"])
        if isinstance(node.get("num_things_classes"), int)
    )
    if not counts:
        raise UnsupportedError("data.classes: backend mmdet found no head with a number of classes in this config")
    return counts.most_common(1)[0][0]


def pretrained_places(edits: Edits) -> list[Path]:
    """Where the config names weights for a part of the model, to be fetched when it is built."""
    places: list[Path] = []
    for path, node in walk(edits.get(("model",)), ("model",)):
        inits = node.get("init_cfg")
        for init in inits if isinstance(inits, list | tuple) else [inits]:
            if isinstance(init, Mapping) and "checkpoint" in init and (*path, "init_cfg") not in places:
                places.append((*path, "init_cfg"))
        if node.get("pretrained"):  # an address, or True for timm's own
            places.append((*path, "pretrained"))
    return places


def _backbone(edits: Edits, model: Model) -> None:
    for path, value in model.changes:
        edits.set(path, value, "model.backbone")


def _classes(edits: Edits, classes: int) -> None:
    official = official_classes(edits.config)
    if edits.get(("model", "type")) == "CrowdDet" and classes != official:
        raise UnsupportedError(
            f"data.classes: backend mmdet cannot train {classes} classes with CrowdDet, whose heads are for one; "
            "nearest: one class, or model.family: faster_rcnn"
        )
    for path, node in list(walk(edits.get(("model",)), ("model",))):
        if any(part in _OTHER_HEADS for part in path):
            continue
        for key in ("num_classes", "num_things_classes"):
            if node.get(key) == official:
                edits.set((*path, key), classes, "data.classes", "data")
        if isinstance(node.get("num_stuff_classes"), int) and node["num_stuff_classes"]:
            edits.set((*path, "num_stuff_classes"), 0, "data.classes", "data")
        weights = node.get("class_weight")
        if isinstance(weights, list | tuple) and len(weights) == official + 1:
            edits.set((*path, "class_weight"), [weights[0]] * classes + [weights[-1]], "data.classes", "data")


def _weights(edits: Edits, plan: Plan) -> None:
    """Take away what would be fetched while building, unless the spec wants just that (`imagenet`)."""
    weights = str(plan["model.weights"])
    places = pretrained_places(edits)
    if weights == "imagenet":
        if not places:
            raise UnsupportedError(
                f"model.weights: backend mmdet has no imagenet weights for {plan['model.config']} (MMDetection trains "
                "it from scratch); nearest: coco, none or a path"
            )
        return
    for path in places:
        edits.remove(path, "model.weights")


def _frozen_stages(edits: Edits, plan: Plan) -> None:
    official = plan.recipe.values.get("model.frozen_stages")
    stages = plan["model.frozen_stages"]
    if stages == official:
        return
    path: Path = ("model", "backbone", "frozen_stages")
    if "frozen_stages" not in edits.get(path[:-1]) and not accepts(edits.get((*path[:-1], "type")), "frozen_stages"):
        if stages is None:
            return
        raise UnsupportedError(
            f"model.frozen_stages: backend mmdet cannot freeze stages of {edits.get((*path[:-1], 'type'))}; nearest: "
            "null (all of it trains)"
        )
    backbone = edits.get(path[:-1])
    most = backbone.get("num_stages", default_of(str(backbone.get("type")), "num_stages")) or MOST_STAGES
    if stages is not None and stages > most:
        raise SpecError(f"model.frozen_stages: got {stages}; allowed: 0 (the stem) to {most}, or null for none")
    edits.set(path, _frozen(backbone.get("type"), stages), "model.frozen_stages")
    if stages is None:
        for other, node in list(walk(edits.get(("model",)), ("model",))):
            if isinstance(node.get("frozen_stages"), int) and node["frozen_stages"] >= 0:
                edits.set((*other, "frozen_stages"), _frozen(node.get("type"), None), "model.frozen_stages")


def _frozen(backbone: Any, stages: int | None) -> int:
    """What `frozen_stages` means to this type of backbone."""
    count = LAYER_COUNTS.get(str(backbone))
    if stages is None:
        return count.nothing if count else -1
    return count.ends[stages] if count else stages


def _norm(edits: Edits, plan: Plan) -> None:
    norm = plan["model.norm"]
    official = "frozen" if keeps_statistics(edits.get(("model", "backbone")) or {}) else "official"
    one_process = int(plan["run.devices"]) * int(plan["run.nodes"]) == 1
    asked_for = plan.asked("model.norm")
    # Officially frozen are the statistics alone; who asks for frozen layers means scales and shifts as well.
    if norm != official or (norm == "frozen" and asked_for):
        asked = "model.norm" if asked_for else "model.weights"
        backbone: Path = ("model", "backbone")
        if norm == "frozen":
            _backbone_norm(edits, plan, (*backbone, "norm_eval"), True, asked)
            usual = default_of(str(edits.get((*backbone, "type"))), "norm_cfg")
            if isinstance(edits.get((*backbone, "norm_cfg")), Mapping):
                edits.set((*backbone, "norm_cfg", "requires_grad"), False, asked)
            elif isinstance(usual, Mapping):
                edits.set((*backbone, "norm_cfg"), {**usual, "requires_grad": False}, asked)
        else:
            for path, node in list(walk(edits.get(("model",)), ("model",))):  # a neck may have a backbone of its own
                if node.get("norm_eval") or (path == backbone and keeps_statistics(node)):
                    edits.set((*path, "norm_eval"), False, asked)
                    if edits.get((*path, "norm_cfg", "requires_grad")) is False:
                        edits.set((*path, "norm_cfg", "requires_grad"), True, asked)
            for path in list(_norm_layers(edits)):
                wanted = "SyncBN" if norm == "sync" else "BN"
                if plan.asked("model.norm") and edits.get((*path, "type")) != wanted:
                    edits.set((*path, "type"), wanted, asked)
    if one_process or plan["run.device"] == "cpu":
        for path in list(_norm_layers(edits)):
            if "Sync" in str(edits.get((*path, "type"))):
                edits.set((*path, "type"), "BN", "run.devices", "host")


def _backbone_norm(edits: Edits, plan: Plan, path: Path, value: bool, asked: str) -> None:
    kind = edits.get((*path[:-1], "type"))
    if path[-1] not in edits.get(path[:-1]) and not accepts(kind, "norm_eval"):
        raise UnsupportedError(f"model.norm: backend mmdet cannot freeze norm layers of {kind}; nearest: official")
    edits.set(path, value, asked)


def _norm_layers(edits: Edits) -> Iterator[Path]:
    for path, node in walk(edits.get(("model",)), ("model",)):
        if node.get("type") in _BN and path[-1] in ("norm_cfg", "norm"):
            yield path


# How many detections DETR's and Sparse R-CNN's kin start from.
_QUERIES = ("num_queries", "num_proposals")
_THRESHOLDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "eval.model_max_detections": (("max_per_img",), ("max_per_image",)),
    "eval.score_threshold": (("score_thr",), ("filter_thr",)),
    "eval.nms_iou": (("nms", "iou_threshold"), ("nms", "iou_thr")),
}


def threshold_places(config: Mapping[str, Any], field: str) -> list[Path]:
    """Where a config says one of the `eval` fields: in the last stage's test_cfg."""
    test = config["model"].get("test_cfg")
    if not isinstance(test, Mapping):
        test = {}
    base: Path = ("model", "test_cfg")
    stages = [base]
    if "rcnn" in test:
        last = test["rcnn"]
        stages = [(*base, "rcnn", i) for i in range(len(last))] if isinstance(last, list | tuple) else [(*base, "rcnn")]
    edits = Edits(config)
    return [
        (*stage, *keys)
        for stage in stages
        for keys in _THRESHOLDS[field]
        if isinstance(edits.get((*stage, *keys)), int | float)
    ]


def check_queries(edits: Edits, plan: Plan) -> None:
    """Refuse more detections than a model of queries can have: its choice of the best ones would fail at prediction."""
    model = edits.config["model"]
    found = [node[key] for _, node in walk(model) for key in _QUERIES if isinstance(node.get(key), int)]
    if not found:
        return
    # A softmax over the classes leaves one class a query (DETR's own rule), sigmoids leave each.
    softmax = edits.get(("model", "bbox_head", "loss_cls", "use_sigmoid")) is False
    queries, classes = max(found), len(plan["data.classes"])
    limit = queries if softmax else queries * classes
    for path in threshold_places(edits.config, "eval.model_max_detections"):
        wanted = edits.get(path)
        if wanted > limit:
            raise UnsupportedError(
                f"eval.model_max_detections: backend mmdet cannot do {wanted} with {plan['model.config']}, whose "
                f"{queries} queries for {classes} classes give at most {limit} detections an image; nearest: {limit}"
            )


def _thresholds(edits: Edits, plan: Plan) -> None:
    for field in _THRESHOLDS:
        if not plan.asked(field):
            continue
        places = threshold_places(edits.config, field)
        if not places:
            raise UnsupportedError(
                f"{field}: backend mmdet: {plan['model.config']} has no such setting in its test_cfg; nearest: leave "
                "it out"
            )
        for path in places:
            edits.set(path, plan[field], field)
