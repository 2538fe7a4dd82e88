"""The reference: pycocotools as anyone runs it, without any code of cvtune's; predictions made from ground truth."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import defusedxml.ElementTree
import numpy as np
import pycocotools.mask as mask_api
import pytest

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def plain_pycocotools(truth: dict[str, Any], results: list[dict[str, Any]], kind: str) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        if results:
            found = coco.loadRes(copy.deepcopy(results))
        else:
            found = COCO()
            found.dataset = {**copy.deepcopy(truth), "annotations": []}
            found.createIndex()
        run = COCOeval(coco, found, kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return dict(zip(NAMES, map(float, run.stats), strict=True))


def perturb(truth: dict[str, Any], seed: int, with_masks: bool, spread: float = 4.0) -> list[dict[str, Any]]:
    """Three predictions an object: moved, some of another class, some missing, scores with ties, boxes rounded."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    results = []
    for annotation in truth["annotations"]:
        for _ in range(3):
            if rng.random() < 0.15:
                continue
            dx, dy = rng.normal(0, spread, 2)
            x, y, w, h = annotation["bbox"]
            category = annotation["category_id"] if rng.random() < 0.9 else int(rng.choice(categories))
            result = {
                "image_id": annotation["image_id"],
                "category_id": category,
                "bbox": [round(float(v), 2) for v in (x + dx, y + dy, w * rng.uniform(0.9, 1.1), h)],
                "score": round(float(rng.random()), int(rng.choice([1, 5]))),
            }
            if with_masks:
                height, width = sizes[annotation["image_id"]]
                moved = [
                    (np.reshape(part, (-1, 2)) + np.array([dx, dy])).ravel().tolist()
                    for part in annotation["segmentation"]
                ]
                rle = mask_api.merge(mask_api.frPyObjects(moved, height, width))
                result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
            results.append(result)
    return results


def bccd_as_coco(folder: Path, split: str) -> dict[str, Any]:
    """The smallest VOC reading that does: 1-based corners to 0-based boxes, ids by order."""
    names = ["RBC", "WBC", "Platelets"]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, stem in enumerate((folder / "ImageSets/Main" / f"{split}.txt").read_text().split(), 1):
        tree = defusedxml.ElementTree.parse(folder / "Annotations" / f"{stem}.xml")
        size = {key: int(tree.findtext(f"size/{key}")) for key in ("width", "height")}
        images.append({"id": image_id, "file_name": f"{stem}.jpg", **size})
        for item in tree.iter("object"):
            x0, y0, x1, y1 = (int(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
            w, h = x1 - x0 + 1, y1 - y0 + 1
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": names.index(item.findtext("name")) + 1,
                    "bbox": [x0 - 1, y0 - 1, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture(scope="session")
def reference() -> Callable[..., dict[str, float]]:
    return plain_pycocotools


@pytest.fixture(scope="session")
def perturbed() -> Callable[..., list[dict[str, Any]]]:
    return perturb


@pytest.fixture(scope="session")
def bccd() -> Callable[[Path, str], dict[str, Any]]:
    return bccd_as_coco


@pytest.fixture
def small() -> dict[str, Any]:
    """Two images, two classes, three objects, no masks."""
    boxes = [(1, 1, [2, 3, 10, 20]), (1, 2, [20, 5, 8, 8]), (2, 1, [0, 0, 30, 30])]
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, (image, category, box) in enumerate(boxes, 1)
        ],
    }


@pytest.fixture
def found(small: dict[str, Any]) -> list[dict[str, Any]]:
    """One exact prediction for each object of `small`."""
    return [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "bbox": list(map(float, a["bbox"])),
            "score": 0.9 - i / 10,
        }
        for i, a in enumerate(small["annotations"])
    ]
