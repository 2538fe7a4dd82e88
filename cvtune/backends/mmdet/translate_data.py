"""The data side of a translation: files, classes, loaders, evaluators, what is added to or taken from the pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cvtune.backends.edits import Edits, Path
from cvtune.backends.mmdet.zoo import walk
from cvtune.errors import UnsupportedError
from cvtune.plan import Plan

__all__ = ["AUGMENT_IMPORT", "REPLACED_STEPS", "leaf_of", "pipelines", "translate_data", "with_masks"]

RUN_FOLDER = "{{ fileDirname }}"
"""MMEngine's name for the folder of the config file: the native file lies in the run directory, as its data do."""
AUGMENT_IMPORT = "cvtune.backends.mmdet.augment"
REPLACED_STEPS = ("RandomFlip", "PhotoMetricDistortion", "YOLOXHSVRandomAug")
"""What `data.augment` takes the place of: flips and colours. Mosaic, MixUp, crops and resizing stay."""
_LEAF_KEYS = ("type", "pipeline", "filter_cfg", "test_mode", "backend_args", "serialize_data", "lazy_init")
_SPLITS = {"train_dataloader": "train", "val_dataloader": "val", "test_dataloader": "test"}


def translate_data(edits: Edits, plan: Plan) -> None:
    """Point a config to the run's canonical data and honour the spec's `data` fields but for sizes."""
    for key, split in _SPLITS.items():
        if not edits.get((key,)):
            continue
        split = split if split in plan.data else "val"
        _dataset(edits, (key, "dataset"), split, plan)
        _loader(edits, key, plan)
    _keep_empty(edits, plan)
    _evaluators(edits, plan)
    _without_stuff(edits)
    _local_files(edits)
    _bitmaps(edits, plan)
    _augment(edits, plan)


def leaf_of(edits: Edits, path: Path) -> Path:
    """The path of the data set that reads files, inside of wrappers such as RepeatDataset."""
    node = edits.get(path)
    if "dataset" in node:
        return leaf_of(edits, (*path, "dataset"))
    if "datasets" in node:
        return leaf_of(edits, (*path, "datasets", 0))
    return path


def pipelines(edits: Edits, loaders: tuple[str, ...] = ("train_dataloader",)) -> Iterator[Path]:
    """Paths of the pipelines of these loaders, the innermost first, and of those that a hook switches to."""
    for key in loaders:
        path: Path = (key, "dataset")
        found = []
        while edits.get(path):
            if edits.get((*path, "pipeline")):
                found.append((*path, "pipeline"))
            path = (*path, "dataset") if "dataset" in edits.get(path) else (*path, "datasets", 0)
        yield from reversed(found)
    if "train_dataloader" in loaders:
        for index, hook in enumerate(edits.get(("custom_hooks",)) or []):
            if hook.get("switch_pipeline"):
                yield ("custom_hooks", index, "switch_pipeline")


def with_masks(config: dict[str, Any]) -> bool:
    """Whether a config is scored by masks: it segments instances."""
    evaluators = config.get("val_evaluator") or {}
    for evaluator in evaluators if isinstance(evaluators, list | tuple) else [evaluators]:
        metric = evaluator.get("metric")
        if "segm" in (metric if isinstance(metric, list | tuple) else [metric]):
            return True
    return False


def _dataset(edits: Edits, path: Path, split: str, plan: Plan) -> None:
    node = edits.get(path)
    if node.get("type") == "ConcatDataset" or "datasets" in node:
        edits.set(path, edits.get(leaf_of(edits, path)), "data.train", "data")
        node = edits.get(path)
    if "dataset" in node:
        _dataset(edits, (*path, "dataset"), split, plan)
        return
    edits.set((*path, "type"), "CocoDataset", f"data.{split}", "data")
    for key in [key for key in node if key not in _LEAF_KEYS and key not in ("ann_file", "data_prefix", "data_root")]:
        edits.remove((*path, key), f"data.{split}", "data")
    edits.set((*path, "data_root"), "", f"data.{split}", "data")
    edits.set((*path, "ann_file"), f"{RUN_FOLDER}/data/{split}.json", f"data.{split}", "data")
    edits.set((*path, "data_prefix"), {"img": ""}, f"data.{split}", "data")
    edits.set((*path, "metainfo"), {"classes": list(plan.class_map.names)}, "data.classes", "data")


def _local_files(edits: Edits) -> None:
    """The run's data are files: no step asks another storage for them, as some configs do."""
    for key in (*_SPLITS, "val_evaluator", "test_evaluator", "custom_hooks"):
        for path, node in list(walk(edits.get((key,)) or {}, (key,))):
            storage = node.get("backend_args")
            if storage and storage.get("backend", "local") != "local":
                edits.set((*path, "backend_args"), None, "data.train", "data")


def _loader(edits: Edits, key: str, plan: Plan) -> None:
    workers = int(plan["data.workers"])
    asked = plan.asked_by("data.workers")
    edits.set((key, "num_workers"), workers, *asked)
    if not workers and edits.get((key, "persistent_workers")):
        edits.set((key, "persistent_workers"), False, *asked)
    if not workers and edits.get((key, "prefetch_factor")) is not None:
        edits.remove((key, "prefetch_factor"), *asked)


def _keep_empty(edits: Edits, plan: Plan) -> None:
    """Images without objects: kept and trained on, or left out; never left out for being small."""
    if plan.recipe_is_official("data.keep_empty_images"):
        return
    leaf = leaf_of(edits, ("train_dataloader", "dataset"))
    before = edits.get((*leaf, "filter_cfg")) or {}
    keep = bool(plan["data.keep_empty_images"])
    wanted = {**before, "filter_empty_gt": not keep, "min_size": 0}
    edits.set((*leaf, "filter_cfg"), wanted, "data.keep_empty_images", "data")


def _evaluators(edits: Edits, plan: Plan) -> None:
    metric = None
    for key, split in (("val_evaluator", "val"), ("test_evaluator", "test")):
        split = split if split in plan.data else "val"
        official = edits.get((key,))
        if not official:
            continue
        entries = list(official) if isinstance(official, list | tuple) else [official]
        coco = next((entry for entry in entries if entry.get("type") == "CocoMetric"), None)
        if len(entries) > 1 or coco is None:
            metric = ["bbox", "segm"] if plan["task"] == "segment" else "bbox"
            coco = coco or {"type": "CocoMetric", "metric": metric, "format_only": False}
            edits.set((key,), coco, f"data.{split}", "data")
        edits.set((key, "ann_file"), f"{RUN_FOLDER}/data/{split}.json", f"data.{split}", "data")
        if edits.get((key, "format_only")):
            edits.set((key, "format_only"), False, f"data.{split}", "data")
        edits.remove((key, "outfile_prefix"), f"data.{split}", "data")


def _without_stuff(edits: Edits) -> None:
    """Take the branch away that learns from labels of the background (HTC, SCNet): instance data have none."""
    for path in list(pipelines(edits, ("train_dataloader", "val_dataloader", "test_dataloader"))):
        for index, step in enumerate(edits.get(path)):
            if step.get("type") == "LoadAnnotations" and step.get("with_seg"):
                edits.set((*path, index, "with_seg"), False, "data.train", "data")
    for key in ("semantic_head", "semantic_roi_extractor"):
        if edits.get(("model", "roi_head", key)):
            edits.set(("model", "roi_head", key), None, "data.train", "data")


def _bitmaps(edits: Edits, plan: Plan) -> None:
    """Polygons cannot say a hole: where masks come as RLE, they are loaded as bitmaps."""
    if not int(plan.data["train"].get("rle_masks", 0)):
        return
    for path in list(pipelines(edits)):
        for index, step in enumerate(edits.get(path)):
            if step.get("with_mask") and step.get("poly2mask") is False:
                edits.set((*path, index, "poly2mask"), True, "data.train", "data")


def _augment(edits: Edits, plan: Plan) -> None:
    if not plan.asked("data.augment"):
        return
    steps = plan["data.augment"]
    added = False
    for path in list(pipelines(edits)):
        before = edits.get(path)
        kept = [step for step in before if step.get("type") not in REPLACED_STEPS]
        loaders = [index for index, step in enumerate(kept) if str(step.get("type")).startswith("LoadAnnotations")]
        if steps and loaders:
            kept.insert(loaders[-1] + 1, {"type": "CvtuneAugment", "steps": steps})
            added = True
        if len(kept) != len(before) or added:
            edits.replace_list(path, kept, "data.augment")
    if steps and not added:
        raise UnsupportedError(
            "data.augment: backend mmdet found no step that loads annotations in this config's pipeline, after which "
            "to augment; nearest: leave data.augment out"
        )
    if added:
        imports = edits.get(("custom_imports",)) or {"imports": [], "allow_failed_imports": False}
        wanted = {**imports, "imports": [*imports["imports"], AUGMENT_IMPORT]}
        edits.set(("custom_imports",), wanted, "data.augment")
