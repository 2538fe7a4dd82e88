"""Runs that look like runs: simulated detectors over simulated objects, healthy ones and ones with one thing broken.

``python tests/evaluation/sabotage.py FOLDER`` writes the whole gallery as run directories for a look by hand.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_api

from cvtune.classes import ClassMap
from cvtune.runs import RunDir, append_jsonl, write_json, write_text

Json = dict[str, Any]
NAMES = ("bolt", "nut", "washer", "gear", "spring")


@dataclass
class Scene:
    """A run before it is written: ground truth and predictions with source ids, plan, log, and files as text."""

    truth: Json
    train: Json
    results: list[Json]
    plan: Json
    recipe: Json
    log: list[Json]
    record: Json
    texts: dict[str, str] = field(default_factory=dict)


def make_scene(
    seed: int = 0,
    images: int = 60,
    classes: int = 5,
    objects: tuple[int, int] = (2, 9),
    skill: float = 0.85,
    noise: float = 0.06,
    clutter: int = 6,
    sizes: tuple[tuple[int, int], ...] = ((640, 480), (480, 640), (800, 600), (512, 512)),
    box: tuple[float, float] = (24, 160),
    masks: bool = False,
    confusion: float = 0.06,
) -> Scene:
    """A healthy run.

    `skill`: the share of objects that are found. `noise`: the deviation of box edges in box sizes. `clutter`: false
    detections an image. `confusion`: the share of found objects with another class.
    """
    rng = np.random.default_rng(seed)
    truth = _objects(rng, images, classes, objects, sizes, box, masks, "val", 1000)
    train = _objects(rng, images * 2, classes, objects, sizes, box, masks, "train", 1)
    results = _detect(rng, truth, classes, skill, noise, clutter, confusion, masks)
    quality = skill * max(0.1, 1 - 4 * noise)
    return Scene(truth, train, results, _plan(masks), _recipe(), _log(rng, quality), {"state": "done"})


def _objects(
    rng: Any, images: int, classes: int, objects: Any, sizes: Any, box: Any, masks: bool, name: str, first: int
) -> Json:
    listed, annotations = [], []
    for k in range(images):
        width, height = sizes[int(rng.integers(len(sizes)))]
        image_id = first + k
        file = f"/data/{name}/{name}_{int(rng.integers(10**6)):06d}_{k}.jpg"
        listed.append({"id": image_id, "file_name": file, "width": width, "height": height})
        for _ in range(int(rng.integers(*objects, endpoint=True))):
            # Rarer and rarer classes, as in life.
            category = min(classes - 1, int(rng.geometric(0.35)) - 1)
            size = math.exp(rng.uniform(math.log(box[0]), math.log(box[1])))
            w, h = size * math.exp(rng.normal(0.15, 0.3)), size * math.exp(rng.normal(-0.15, 0.3))
            w, h = min(w, 0.9 * width), min(h, 0.9 * height)
            x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": category + 1,
                "bbox": [round(float(v), 2) for v in (x, y, w, h)],
                "area": float(w * h),
                "iscrowd": 0,
            }
            if masks:
                annotation["segmentation"] = _ellipse(annotation["bbox"], height, width)
            annotations.append(annotation)
    categories = [{"id": k + 1, "name": NAMES[k]} for k in range(classes)]
    return {"images": listed, "annotations": annotations, "categories": categories}


def _ellipse(bbox: list[float], height: int, width: int) -> Json:
    x, y, w, h = bbox
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = np.stack([x + w / 2 + np.cos(angle) * w / 2, y + h / 2 + np.sin(angle) * h / 2], 1)
    [rle] = mask_api.frPyObjects([points.ravel().tolist()], height, width)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def _detect(
    rng: Any, truth: Json, classes: int, skill: float, noise: float, clutter: int, confusion: float, masks: bool
) -> list[Json]:
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    results: list[Json] = []

    def add(image_id: int, category: int, bbox: Any, score: float) -> None:
        width, height = sizes[image_id]
        x, y = np.clip(bbox[0], 0, width - 4), np.clip(bbox[1], 0, height - 4)
        w, h = np.clip(bbox[2], 2, width - x), np.clip(bbox[3], 2, height - y)
        result = {
            "image_id": image_id,
            "category_id": category,
            "bbox": [round(float(v), 2) for v in (x, y, w, h)],
            "score": round(float(np.clip(score, 0.05, 0.999)), 5),
        }
        if masks:
            result["segmentation"] = _ellipse(result["bbox"], height, width)
        results.append(result)

    for annotation in truth["annotations"]:
        if rng.random() > skill:
            continue
        x, y, w, h = annotation["bbox"]
        dx, dy, dw, dh = rng.normal(0, noise, 4)
        found = (x + dx * w, y + dy * h, w * math.exp(dw), h * math.exp(dh))
        category = annotation["category_id"]
        if classes > 1 and rng.random() < confusion:
            category = int(rng.integers(1, classes + 1))
        add(annotation["image_id"], category, found, 0.35 + 0.6 * rng.beta(4, 2) - abs(dx + dy))
        if rng.random() < 0.1:
            add(annotation["image_id"], category, (x + 0.3 * w, y, w * 0.7, h), rng.uniform(0.05, 0.4))
    for image_id, (width, height) in sizes.items():
        for _ in range(int(rng.poisson(clutter))):
            w, h = np.exp(rng.uniform(np.log(15), np.log(150), 2))
            place = (rng.uniform(0, width - w), rng.uniform(0, height - h), w, h)
            add(image_id, int(rng.integers(1, classes + 1)), place, 0.05 + 0.5 * rng.beta(1, 6))
    rng.shuffle(results)
    return results


def _plan(masks: bool) -> Json:
    return {
        "task": "segment" if masks else "detect",
        "model.family": "mask_rcnn" if masks else "faster_rcnn",
        "model.weights": "coco",
        "data.image_size.short": [800],
        "data.image_size.long": 1333,
        "data.image_size.test_short": None,
        "data.batch_size": 4,
        "train.steps_per_epoch": 30,
        "train.epochs": 12,
        "train.iterations": 360,
        "train.optimizer.name": "sgd",
        "train.optimizer.lr": 0.005,
        "train.schedule.warmup_iterations": 36,
        "eval.model_max_detections": 100,
        "eval.score_threshold": 0.05,
        "eval.nms_iou": 0.5,
        "native": {},
    }


def _recipe() -> Json:
    values = {
        "data.batch_size": 16,
        "train.optimizer.lr": 0.02,
        "eval.nms_iou": 0.5,
        "eval.score_threshold": 0.05,
        "eval.model_max_detections": 100,
    }
    return {"task": "detect", "values": values}


def _log(rng: Any, quality: float, steps: int = 360, start: float = 1.6) -> list[Json]:
    log: list[Json] = []
    end = start * (0.55 - 0.3 * quality)
    for step in range(0, steps + 1, 10):
        loss = end + (start - end) * math.exp(-4 * step / steps) + 0.04 * start * float(rng.normal())
        log.append({"step": max(1, step), "epoch": step // 30 + 1, "lr": 0.005, "loss": round(loss, 4), "losses": {}})
    for epoch in (4, 8, 12):
        ap = 0.6 * quality * (1 - math.exp(-epoch / 3))
        log.append({"eval": {"bbox": {"AP": ap, "AP50": 1.4 * ap}}, "step": 30 * epoch, "epoch": epoch})
    return log


def write_scene(scene: Scene, folder: Path) -> RunDir:
    """Write a run directory; its source ids are the canonical ones."""
    run = RunDir(folder)
    write_json(run.data("val"), scene.truth)
    write_json(run.data("train"), scene.train)
    categories = scene.train["categories"]
    classes = ClassMap(tuple(c["name"] for c in categories), tuple(c["id"] for c in categories))
    write_json(run.classes, classes.to_json())
    listed = {
        split: [{"id": i["id"], "source_id": i["id"], "file_name": i["file_name"]} for i in data["images"]]
        for split, data in (("train", scene.train), ("val", scene.truth))
    }
    write_json(run.images, listed)
    values = {key: {"value": value, "reason": "test"} for key, value in scene.plan.items()}
    summary = {"train": {"images": len(scene.train["images"])}, "val": {"images": len(scene.truth["images"])}}
    write_json(run.plan, {"values": values, "classes": classes.to_json(), "data": summary, "recipe": scene.recipe})
    write_json(run.recipe, scene.recipe)
    write_json(run.record, scene.record)
    write_json(run.predictions, scene.results)
    for record in scene.log:
        if isinstance(record.get("loss"), float) and not math.isfinite(record["loss"]):
            with open(run.log, "a") as file:
                file.write(json.dumps(record) + "\n")
        else:
            append_jsonl(run.log, record)
    for name, text in scene.texts.items():
        write_text(run.path / name, text)
    return run


Change = Callable[[Scene], None]


def each_box(change: Callable[[float, float, float, float, float, float], Any]) -> Change:
    """Rewrite every predicted box from x, y, w, h and its image's width and height."""

    def apply(scene: Scene) -> None:
        sizes = {image["id"]: (image["width"], image["height"]) for image in scene.truth["images"]}
        for result in scene.results:
            width, height = sizes[result["image_id"]]
            result["bbox"] = [round(float(v), 4) for v in change(*result["bbox"], width, height)]

    return apply


def each(**changes: Callable[[Any], Any]) -> Change:
    """Rewrite keys of every prediction."""

    def apply(scene: Scene) -> None:
        for result in scene.results:
            for key, change in changes.items():
                result[key] = change(result[key])

    return apply


def plan(**values: Any) -> Change:
    """Set keys of the plan; ``__`` stands for a dot."""

    def apply(scene: Scene) -> None:
        scene.plan.update({key.replace("__", "."): value for key, value in values.items()})

    return apply


def both(*changes: Change) -> Change:
    def apply(scene: Scene) -> None:
        for change in changes:
            change(scene)

    return apply


def _multiply(scene: Scene, copies: int, spread: float) -> None:
    rng = np.random.default_rng(1)
    extra = []
    for result in scene.results:
        for _ in range(copies):
            x, y, w, h = result["bbox"]
            dx, dy, dw, dh = rng.normal(0, spread, 4)
            moved = [x + dx * w, y + dy * h, w * math.exp(dw), h * math.exp(dh)]
            score = float(np.clip(result["score"] + rng.normal(0, 0.03), 0.01, 1))
            extra.append({**result, "bbox": [round(float(v), 2) for v in moved], "score": score})
    scene.results += extra


def _cap(scene: Scene, most: int) -> None:
    kept: dict[Any, int] = {}
    results = []
    for result in sorted(scene.results, key=lambda r: -r["score"]):
        kept[result["image_id"]] = kept.get(result["image_id"], 0) + 1
        if kept[result["image_id"]] <= most:
            results.append(result)
    scene.results = results


def _turn(scene: Scene, every: int) -> None:
    """Boxes of every n-th image as they lie in the file before it is turned upright."""
    sizes = {image["id"]: (image["width"], image["height"]) for image in scene.truth["images"]}
    for result in scene.results:
        if result["image_id"] % every == 0:
            x, y, w, h = result["bbox"]
            result["bbox"] = [y, sizes[result["image_id"]][0] - x - w, h, w]


def _other_split(scene: Scene, same_ids: bool) -> None:
    """The training images' predictions, under their own ids or under those of the validation images."""
    rng = np.random.default_rng(2)
    scene.results = _detect(rng, scene.train, len(scene.train["categories"]), 0.85, 0.06, 6, 0.06, False)
    if same_ids:
        ids = [image["id"] for image in scene.truth["images"]]
        for result in scene.results:
            result["image_id"] = ids[(result["image_id"] * 7) % len(ids)]


def _leak(scene: Scene) -> None:
    """The validation images are training images too."""
    scene.train = copy.deepcopy(scene.train)
    for image, own in zip(scene.train["images"], scene.truth["images"], strict=False):
        image["file_name"] = own["file_name"]


def _untrained(scene: Scene, share: float = 0.04) -> None:
    """What a network says that has not learned: low scores, boxes anywhere."""
    rng = np.random.default_rng(3)
    scene.results = _detect(rng, scene.truth, len(scene.truth["categories"]), share, 0.3, 25, 0.5, False)
    for result in scene.results:
        result["score"] = round(0.05 + 0.2 * float(rng.random()), 4)


def _losses(losses: list[float]) -> Change:
    def apply(scene: Scene) -> None:
        scene.log = [{"step": 10 * (k + 1), "epoch": 1 + k // 3, "loss": loss} for k, loss in enumerate(losses)]

    return apply


def _few(scene: Scene) -> None:
    scene.log = [r for r in scene.log if r["step"] <= 30 and "eval" not in r]


def _truth_boxes(change: Callable[..., Any]) -> Change:
    def apply(scene: Scene) -> None:
        for annotation in scene.truth["annotations"]:
            annotation["bbox"] = [float(v) for v in change(*annotation["bbox"])]

    return apply


def _normalize_truth(scene: Scene) -> None:
    sizes = {image["id"]: (image["width"], image["height"]) for image in scene.truth["images"]}
    for annotation in scene.truth["annotations"]:
        full = sizes[annotation["image_id"]] * 2
        annotation["bbox"] = [value / side for value, side in zip(annotation["bbox"], full, strict=True)]


def _crowds(scene: Scene) -> None:
    for annotation in scene.truth["annotations"]:
        annotation["iscrowd"] = 1


def _shuffle_images(scene: Scene) -> None:
    ids = [image["id"] for image in scene.truth["images"]]
    other = dict(zip(ids, np.random.default_rng(5).permutation(ids).tolist(), strict=True))
    for result in scene.results:
        result["image_id"] = other[result["image_id"]]


def _flat_masks(scene: Scene) -> None:
    sizes = {image["id"]: (image["height"], image["width"]) for image in scene.truth["images"]}
    for result in scene.results:
        x, y, w, h = result["bbox"]
        [rle] = mask_api.frPyObjects([[x, y, x + w, y, x + w, y + h, x, y + h]], *sizes[result["image_id"]])
        result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}


def _tiny_objects(scene: Scene) -> None:
    """Objects of a few pixels, for which the default anchors begin at 32."""
    for data in (scene.train, scene.truth):
        for annotation in data["annotations"]:
            x, y, w, h = annotation["bbox"]
            annotation["bbox"] = [x, y, max(3.0, w / 14), max(3.0, h / 14)]
    rng = np.random.default_rng(4)
    scene.results = _detect(rng, scene.truth, len(scene.truth["categories"]), 0.12, 0.12, 4, 0.1, False)


def _keep(condition: Callable[[Json], bool]) -> Change:
    def apply(scene: Scene) -> None:
        scene.results = [result for result in scene.results if condition(result)]

    return apply


DIVERGED = [1.6, 1.5, 2.5, 9.0, 60.0, 250.0, 900.0, 700.0, 800.0, 750.0, 790.0, 800.0]
FLAT = [1.60, 1.61, 1.59, 1.60, 1.58, 1.60, 1.59, 1.58, 1.59, 1.57, 1.58, 1.58]
CONFIG_BGR = "INPUT:\n  FORMAT: BGR\nMODEL:\n  PIXEL_MEAN:\n  - 123.675\n  - 116.28\n  - 103.53\n"
MMDET_BGR = "model = dict(data_preprocessor=dict(bgr_to_rgb=False, mean=[123.675, 116.28, 103.53]))\n"


@dataclass(frozen=True)
class Sabotage:
    """What is broken, and the rules any of which names it."""

    change: Change
    rules: tuple[str, ...]
    scene: Mapping[str, Any] = field(default_factory=dict)


def _permute(order: Mapping[int, int]) -> Change:
    return each(category_id=lambda c: order.get(c, c))


def _shuffle_scores(scene: Scene) -> None:
    scores = np.random.default_rng(0).permutation([result["score"] for result in scene.results])
    for result, score in zip(scene.results, scores.tolist(), strict=True):
        result["score"] = score


def _number_files(scene: Scene) -> None:
    """Files are numbered as the ids are, in another order, and predictions name the files' stems."""
    ids = [image["id"] for image in scene.truth["images"]]
    stems = dict(zip(ids, reversed(ids), strict=True))
    for image in scene.truth["images"]:
        image["file_name"] = f"/data/val/{stems[image['id']]}.jpg"
    for result in scene.results:
        result["image_id"] = str(stems[result["image_id"]])


SABOTAGES: Mapping[str, Sabotage] = {
    "class ids lowered by one": Sabotage(each(category_id=lambda c: c - 1), ("class_ids_shifted",)),
    "class ids raised by one": Sabotage(each(category_id=lambda c: c + 1), ("class_ids_shifted",)),
    "class ids shifted around": Sabotage(each(category_id=lambda c: c % 5 + 1), ("class_ids_shifted", "class_order")),
    "ids of another set": Sabotage(
        each(category_id=lambda c: {1: 44, 2: 17, 3: 62, 4: 3, 5: 21}[c]), ("category_ids_of_another_set",)
    ),
    "classes in another order": Sabotage(_permute({1: 3, 2: 5, 3: 2, 4: 1, 5: 4}), ("class_order",)),
    "two classes exchanged": Sabotage(_permute({1: 2, 2: 1}), ("class_order",)),
    "one class for all": Sabotage(each(category_id=lambda c: 1), ("one_class_for_all",)),
    "a class never predicted": Sabotage(_keep(lambda r: r["category_id"] != 2), ("class_never_predicted",)),
    "corners for sizes": Sabotage(each_box(lambda x, y, w, h, iw, ih: (x, y, x + w, y + h)), ("boxes_xyxy",)),
    "centres for corners": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: (x + w / 2, y + h / 2, w, h)), ("boxes_centre",)
    ),
    "rows before columns": Sabotage(each_box(lambda x, y, w, h, iw, ih: (y, x, h, w)), ("boxes_swapped_axes",)),
    "height before width": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: (x, y, h, w)), ("boxes_swapped_size",), {"noise": 0.03}
    ),
    "top left bottom right": Sabotage(each_box(lambda x, y, w, h, iw, ih: (y, x, y + h, x + w)), ("boxes_yxyx",)),
    "normalized": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: (x / iw, y / ih, w / iw, h / ih)), ("boxes_normalized",)
    ),
    "normalized centres": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: ((x + w / 2) / iw, (y + h / 2) / ih, w / iw, h / ih)), ("boxes_normalized",)
    ),
    "normalized corners": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: (x / iw, y / ih, (x + w) / iw, (y + h) / ih)), ("boxes_normalized",)
    ),
    "stretched to 640": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: (x * 640 / iw, y * 640 / ih, w * 640 / iw, h * 640 / ih)),
        ("boxes_resized",),
    ),
    "short side 800": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: [v * 800 / min(iw, ih) for v in (x, y, w, h)]), ("boxes_resized",)
    ),
    "long side 333": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: [v * 333 / max(iw, ih) for v in (x, y, w, h)]), ("boxes_resized",)
    ),
    "half size": Sabotage(each_box(lambda x, y, w, h, iw, ih: (x / 2, y / 2, w / 2, h / 2)), ("boxes_resized",)),
    "letterboxed": Sabotage(
        each_box(
            lambda x, y, w, h, iw, ih: (
                x * 640 / max(iw, ih) + (640 - iw * 640 / max(iw, ih)) / 2,
                y * 640 / max(iw, ih) + (640 - ih * 640 / max(iw, ih)) / 2,
                w * 640 / max(iw, ih),
                h * 640 / max(iw, ih),
            )
        ),
        ("boxes_resized",),
    ),
    "corners in letterboxed images": Sabotage(
        each_box(
            lambda x, y, w, h, iw, ih: (
                x * 640 / max(iw, ih) + (640 - iw * 640 / max(iw, ih)) / 2,
                y * 640 / max(iw, ih) + (640 - ih * 640 / max(iw, ih)) / 2,
                (x + w) * 640 / max(iw, ih) + (640 - iw * 640 / max(iw, ih)) / 2,
                (y + h) * 640 / max(iw, ih) + (640 - ih * 640 / max(iw, ih)) / 2,
            )
        ),
        ("boxes_resized", "boxes_xyxy"),
    ),
    "centres in enlarged images of one size": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: [v * 5 / 3 for v in (x + w / 2, y + h / 2, w, h)]),
        ("boxes_resized", "boxes_centre"),
        {"sizes": ((640, 480),)},
    ),
    "moved": Sabotage(each_box(lambda x, y, w, h, iw, ih: (x + 40, y + 25, w, h)), ("boxes_offset",)),
    "moved a little": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: (x + 9, y - 7, w, h)), ("boxes_offset",), {"noise": 0.03}
    ),
    "half extents": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: (x + w / 4, y + h / 4, w / 2, h / 2)), ("boxes_wrong_size",)
    ),
    "mirrored": Sabotage(each_box(lambda x, y, w, h, iw, ih: (iw - x - w, y, w, h)), ("images_mirrored",)),
    "a third of the images turned": Sabotage(lambda s: _turn(s, 3), ("images_turned",)),
    "a fifth of the images turned": Sabotage(lambda s: _turn(s, 5), ("images_turned",), {"images": 80}),
    "image ids as text": Sabotage(each(image_id=str), ("image_ids_text",)),
    "image ids are positions": Sabotage(each(image_id=lambda i: i - 1000), ("image_ids_positions",)),
    "image ids off by one": Sabotage(each(image_id=lambda i: i + 1), ("image_ids_shifted", "image_ids_positions")),
    "another split": Sabotage(lambda s: _other_split(s, False), ("predictions_of_another_split",)),
    "another split under the same ids": Sabotage(lambda s: _other_split(s, True), ("predictions_of_another_split",)),
    "half of the images": Sabotage(_keep(lambda r: r["image_id"] % 2 == 0), ("images_not_predicted",)),
    "scores inverted": Sabotage(each(score=lambda s: round(1 - s, 5)), ("scores_inverted",)),
    "scores inverted, few false detections": Sabotage(
        each(score=lambda s: round(1 - s, 5)), ("scores_inverted",), {"clutter": 1, "classes": 1, "skill": 0.95}
    ),
    "scores of other boxes": Sabotage(_shuffle_scores, ("scores_without_order",), {"clutter": 1, "images": 120}),
    "stems that are other images' ids": Sabotage(_number_files, ("image_ids_file_names",)),
    "scores constant": Sabotage(each(score=lambda s: 1.0), ("scores_constant",)),
    "threshold 0.9": Sabotage(
        both(_keep(lambda r: r["score"] >= 0.88), plan(eval__score_threshold=0.88)), ("scores_below_threshold",)
    ),
    "no score reaches the threshold": Sabotage(
        both(_keep(lambda r: False), plan(eval__score_threshold=0.9)), ("scores_below_threshold",)
    ),
    "no suppression": Sabotage(lambda s: _multiply(s, 8, 0.05), ("nms_off",)),
    "a few copies": Sabotage(lambda s: _multiply(s, 2, 0.03), ("nms_off",)),
    "joined twice": Sabotage(lambda s: s.results.extend(copy.deepcopy(s.results)), ("predictions_doubled",)),
    "five detections an image": Sabotage(
        both(lambda s: _cap(s, 5), plan(eval__model_max_detections=5)), ("max_detections",), {"objects": (6, 14)}
    ),
    "masks are boxes": Sabotage(_flat_masks, ("masks_from_boxes",), {"masks": True}),
    "truth in corners": Sabotage(_truth_boxes(lambda x, y, w, h: (x, y, x + w, y + h)), ("ground_truth_xyxy",)),
    "trained on the validation images": Sabotage(_leak, ("train_val_leak",)),
    "weights none": Sabotage(both(_untrained, plan(model__weights="none")), ("no_pretrained_weights",)),
    "hardly a tensor fitted": Sabotage(
        both(_untrained, lambda s: s.texts.update({"weights.txt": "weights: x.pth: 12 of 290 tensors loaded\n"})),
        ("no_pretrained_weights",),
    ),
    "rate a hundred times too high": Sabotage(
        both(_untrained, _losses(DIVERGED), plan(train__optimizer__lr=0.5)), ("learning_rate_too_high",)
    ),
    "loss not a number": Sabotage(
        both(_untrained, _losses([1.6, 1.4, 3.0, 80.0, math.nan]), plan(train__optimizer__lr=0.5)),
        ("learning_rate_too_high",),
    ),
    "rate a thousand times too low": Sabotage(
        both(_untrained, _losses(FLAT), plan(train__optimizer__lr=5e-6)), ("learning_rate_too_low",)
    ),
    "one epoch": Sabotage(
        both(_untrained, _few, plan(train__iterations=30, train__epochs=1, train__schedule__warmup_iterations=3)),
        ("too_few_iterations",),
    ),
    "anchors too large": Sabotage(_tiny_objects, ("anchors_miss_boxes",)),
    "red and blue exchanged": Sabotage(
        lambda s: s.texts.update({"config.yaml": CONFIG_BGR}), ("channel_order",), {"skill": 0.5}
    ),
    "red and blue exchanged in mmdet": Sabotage(
        lambda s: s.texts.update({"config.py": MMDET_BGR}), ("channel_order",), {"skill": 0.5}
    ),
    "thousandths, rows first": Sabotage(
        each_box(lambda x, y, w, h, iw, ih: [1000 * v for v in (y / ih, x / iw, (y + h) / ih, (x + w) / iw)]),
        ("boxes_normalized",),
    ),
    "names for ids": Sabotage(each(category_id=lambda c: NAMES[c - 1]), ("category_ids_text",)),
    "ids of a longer list": Sabotage(each(category_id=lambda c: c + 100), ("category_ids_of_another_set",)),
    "scores a hundred times too low": Sabotage(each(score=lambda s: s / 100), ("scores_below_threshold",)),
    "images in another order": Sabotage(_shuffle_images, ("predictions_of_another_split",)),
    "truth in shares": Sabotage(_normalize_truth, ("ground_truth_normalized",)),
    "all objects are crowds": Sabotage(_crowds, ("ground_truth_empty",)),
    "corners and shifted classes": Sabotage(
        both(each_box(lambda x, y, w, h, iw, ih: (x, y, x + w, y + h)), each(category_id=lambda c: c - 1)),
        ("boxes_xyxy", "class_ids_shifted"),
    ),
    "tested at another size": Sabotage(both(_untrained, plan(data__image_size__test_short=200)), ("test_image_size",)),
}
"""Name -> what is broken."""

HEALTHY: Mapping[str, Mapping[str, Any]] = {
    "good": {},
    "good, masks": {"masks": True, "images": 30},
    "one class": {"classes": 1, "seed": 1},
    "weak": {"skill": 0.35, "noise": 0.14, "clutter": 15, "seed": 2},
    "very weak": {"skill": 0.2, "noise": 0.2, "clutter": 20, "confusion": 0.3, "seed": 3},
    "crowded": {"objects": (20, 45), "box": (12, 50), "seed": 4},
    "confuses classes": {"confusion": 0.45, "seed": 5},
    "few images": {"images": 12, "seed": 6},
    "one size of images": {"sizes": ((640, 480),), "noise": 0.1, "seed": 7},
    "many unsure detections": {"clutter": 90, "images": 30, "seed": 9},
    "perfect": {"skill": 1.0, "noise": 0.0, "clutter": 0, "confusion": 0.0, "seed": 10},
    "finds little, and that badly": {"skill": 0.15, "noise": 0.2, "clutter": 4, "images": 20, "seed": 204},
    "one object an image": {"objects": (1, 1), "clutter": 2, "seed": 8},
}
"""Name -> arguments of make_scene."""


def make_sabotaged(name: str, folder: Path, seed: int = 0) -> RunDir:
    sabotage = SABOTAGES[name]
    scene = make_scene(**{"seed": seed, **sabotage.scene})
    sabotage.change(scene)
    return write_scene(scene, folder)


def main() -> None:
    root = Path(sys.argv[1])
    for name in SABOTAGES:
        make_sabotaged(name, root / name.replace(" ", "-"))
    for name, arguments in HEALTHY.items():
        write_scene(make_scene(**arguments), root / f"healthy-{name.replace(' ', '-').replace(',', '')}")


if __name__ == "__main__":
    main()
