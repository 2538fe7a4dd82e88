"""A run directory as a finished run leaves it, drawn and made up: coloured discs, some found, some missed."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cvtune.classes import ClassMap
from cvtune.runs import RunDir, append_jsonl, write_json

MakeRun = Callable[..., RunDir]

CLASS_IDS = (7, 3)  # source ids that are neither contiguous nor sorted
SIZE_WH = (160, 120)


def scores(ap: float, names: tuple[str, ...], objects: int = 10) -> dict[str, Any]:
    """One kind's part of metrics.json."""
    keys = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    values = dict(zip(keys, [ap, min(1, ap + 0.3), ap, -1, ap, ap, ap, ap, ap, -1, ap, ap], strict=True))
    per_class = {
        name: {
            "AP": max(0.0, ap - 0.1 * i),
            "AP50": ap,
            "AP75": ap,
            "AR100": ap,
            "ground_truth": objects + i,
            "detections": 20,
        }
        for i, name in enumerate(names)
    }
    return values | {"per_class": per_class}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """make_run(name, images=6, names=..., masks=False, ap=0.498, found=True, **record) -> RunDir."""

    def make(
        name: str = "discs",
        images: int = 6,
        names: tuple[str, ...] = ("red disc", "blue disc"),
        masks: bool = False,
        ap: float = 0.498,
        epochs: int = 4,
        split: str = "val",
        file_name: str = "photos/disc {}.png",
        lr: float = 0.01,
    ) -> RunDir:
        rng = random.Random(1)
        run = RunDir(tmp_path / "runs" / name)
        (tmp_path / "photos").mkdir(exist_ok=True)
        class_map = ClassMap(names, CLASS_IDS[: len(names)])
        write_json(run.classes, class_map.to_json())
        listed, annotations, results, sources = [], [], [], []
        for i in range(images):
            picture = Image.new("RGB", SIZE_WH, (235, 232, 225))
            for k in range(2):
                x, y, r = 15 + 75 * k + rng.randrange(20), 20 + rng.randrange(40), 20
                index = (i + k) % len(names)
                ImageDraw.Draw(picture).ellipse(
                    [x, y, x + 2 * r, y + 2 * r], fill=((200, 60, 50), (50, 80, 200))[index]
                )
                box = [x, y, 2 * r, 2 * r]
                circle = [c for t in range(24) for c in _point(x, y, r, t)]
                annotation = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": index + 1, "bbox": box}
                annotation |= {"area": 1256.0, "iscrowd": 0}
                result = {"image_id": f"src-{i}", "category_id": CLASS_IDS[index], "bbox": box, "score": 0.9 - 0.01 * i}
                if masks:
                    annotation["segmentation"] = [circle]
                    result["segmentation"] = _rle(x, y, r)
                annotations.append(annotation)
                # Image 2 misses an object; image 3 has one with another class and a false one.
                if not (i == 2 and k == 0):
                    results.append(result)
            path = tmp_path / "photos" / f"{i}.png"
            picture.save(path)
            listed.append({"id": i + 1, "file_name": str(path), "width": SIZE_WH[0], "height": SIZE_WH[1]})
            sources.append({"id": i + 1, "source_id": f"src-{i}", "file_name": file_name.format(i)})
        if images > 3:
            for score in (0.95, 0.94):
                false = {"image_id": "src-3", "category_id": 7, "bbox": [0, 80, 30, 30], "score": score}
                results.append(false | ({"segmentation": _rle(0, 80, 15)} if masks else {}))
        categories = [{"id": i + 1, "name": n} for i, n in enumerate(names)]
        write_json(run.data(split), {"images": listed, "annotations": annotations, "categories": categories})
        write_json(run.images, {split: sources})
        write_json(run.predictions, results)
        kinds = ("bbox", "segm") if masks else ("bbox",)
        metrics = {kind: scores(ap, names) for kind in kinds}
        write_json(
            run.metrics,
            metrics
            | {
                "engine": "hotcoco 1.3",
                "checked_with": "pycocotools 2.0",
                "split": split,
                "images": images,
                "annotations": len(annotations),
                "detections": len(results),
                "notes": ["The ground truth has no small objects, so they have no scores."],
            },
        )
        _write_plan(run, names, epochs, lr, images)
        _write_log(run, kinds, epochs, ap, lr)
        write_json(
            run.record,
            {
                "name": name,
                "backend": "torchvision",
                "state": "done",
                "command": "cvtune train configs/discs.yaml -s train.epochs=4",
                "device": "cpu",
                "seed": 0,
                "seconds": 754.2,
                "parameters": 41_299_161,
                "versions": {"torch": "2.14.1", "torchvision": "0.29"},
                "kernels": {"nms": "compiled"},
                "best": {"metric": "bbox/AP", "value": ap, "step": 30, "epoch": 3},
            },
        )
        return run

    return make


def _write_plan(run: RunDir, names: tuple[str, ...], epochs: int, lr: float, images: int) -> None:
    values = {
        "model.family": ("faster_rcnn", "spec"),
        "model.backbone": ("resnet50_fpn", "official: the family's default"),
        "model.weights": ("coco", "cvtune's default"),
        "train.epochs": (epochs, "spec"),
        "train.optimizer.lr": (lr, "auto: official 0.02 x (8/16) for the batch"),
        "train.checkpoint.best": ("bbox/AP", "auto: the task's own AP"),
        "data.workers": ({"pending": "probe", "rule": "4 a device"}, "not probed yet"),
    }
    summary = {
        "images": images,
        "annotations": 2 * images,
        "crowds": 0,
        "empty_images": 0,
        "with_masks": 0,
        "per_class": dict.fromkeys(names, images),
        "box_sizes": [20, 30, 40, 50, 60],
        "image_size_wh": list(SIZE_WH),
        "max_objects": 2,
    }
    write_json(
        run.plan,
        {
            "values": {key: {"value": value, "reason": reason} for key, (value, reason) in values.items()},
            "classes": json.loads(run.classes.read_text()),
            "data": {"train": summary, "val": summary},
            "recipe": {"config": "fasterrcnn_resnet50_fpn", "source": "torchvision references"},
            "host": {"device_name": "a small CPU", "versions": {"torch": "2.14.1"}, "kernels": {}},
        },
    )
    write_json(
        run.overrides,
        [
            {
                "key": "dataset.train",
                "official": "coco",
                "value": "data/train.json",
                "asked_by": "data.train",
                "kind": "data",
            },
            {"key": "optimizer.lr", "official": 0.02, "value": lr, "asked_by": "train.optimizer.lr", "kind": "spec"},
        ],
    )
    write_json(run.extras, {"train.ema": {"value": 0.999, "mechanism": "averaged by the worker"}})
    write_json(
        run.receipt,
        {
            "images": {"in": 13, "out": 12, "dropped": 1},
            "annotations": {"in": 26, "out": 24, "dropped": 2},
            "classes": {names[0]: {"in": 13, "out": 11, "dropped": 2}},
            "counts": {"box-clipped": 1500, "box-zero-area": 2},
            "reasons": {"box-zero-area": "The box has no area in the file.", "box-clipped": "The box was clipped."},
            "events": [
                {"kind": "repair", "code": "box-clipped", "where": "a.xml object 1", "detail": "3 px"},
                {"kind": "drop", "code": "box-zero-area", "where": "a.xml object 3", "detail": "0 x 4"},
                {"kind": "drop", "code": "box-zero-area", "where": "b.xml object 1", "detail": "0 x 2"},
            ],
        },
    )


def _write_log(run: RunDir, kinds: tuple[str, ...], epochs: int, ap: float, lr: float) -> None:
    run.log.unlink(missing_ok=True)
    for step in range(1, 10 * epochs + 1):
        loss = 2 / math.sqrt(step)
        append_jsonl(
            run.log,
            {
                "step": step,
                "epoch": (step - 1) // 10 + 1,
                "lr": lr,
                "loss": loss,
                "losses": {"loss_classifier": 0.6 * loss, "loss_box_reg": 0.4 * loss},
                "seconds": 1.5 * step,
                "memory_mb": 812.0,
            },
        )
        if step % 10 == 0:
            epoch = step // 10
            value = ap * min(1.0, epoch / 3)
            evaluation = {kind: {"AP": value, "AP50": min(1.0, value + 0.2), "APs": -1} for kind in kinds}
            append_jsonl(
                run.log, {"eval": evaluation, "step": step, "epoch": epoch, "seconds": 1.5 * step, "split": "val"}
            )


def _point(x: int, y: int, r: int, t: int) -> tuple[float, float]:
    return x + r + r * math.cos(t / 24 * 2 * math.pi), y + r + r * math.sin(t / 24 * 2 * math.pi)


def _rle(x: int, y: int, r: int) -> dict[str, Any]:
    import pycocotools.mask as mask_api

    rows, columns = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]]
    mask = ((columns - x - r) ** 2 + (rows - y - r) ** 2 <= r * r).astype(np.uint8)
    rle = mask_api.encode(np.asfortranarray(mask))
    return {"size": rle["size"], "counts": rle["counts"].decode()}
