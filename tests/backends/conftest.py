"""Tiny data sets and specs for tests that train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def odd_shapes(make_shapes: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set with everything that is legal and rare in COCO.

    Category ids 7, 0, 42; string image ids; images without objects; a crowd; no info, licenses, area or iscrowd keys.
    """
    folder = tmp_path_factory.mktemp("odd_shapes")
    make_shapes(folder, train=8, val=4, size=96, seed=3)
    for split in ("train", "val"):
        path = folder / f"{split}.json"
        record = json.loads(path.read_text())
        new_category = dict(zip(sorted(c["id"] for c in record["categories"]), (7, 0, 42), strict=True))
        new_image = {image["id"]: f"{split}-{image['id']}" for image in record["images"]}
        for category in record["categories"]:
            category["id"] = new_category[category["id"]]
        for image in record["images"]:
            image["id"] = new_image[image["id"]]
        for annotation in record["annotations"]:
            annotation["category_id"] = new_category[annotation["category_id"]]
            annotation["image_id"] = new_image[annotation["image_id"]]
            annotation.pop("area", None)
            annotation.pop("iscrowd", None)
        emptied = record["images"][0]["id"]
        record["annotations"] = [a for a in record["annotations"] if a["image_id"] != emptied]
        crowd = {
            "id": 10_000,
            "image_id": record["images"][1]["id"],
            "category_id": 7,
            "bbox": [2, 2, 20, 20],
            "iscrowd": 1,
            "segmentation": {"size": [96, 96], "counts": [2 * 96 + 2, 20, 76, 20, 96 * 96 - 2 * 96 - 118]},
        }
        record["annotations"].append(crowd)
        record = {key: record[key] for key in ("images", "annotations", "categories")}
        path.write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="session")
def write_spec() -> Callable[..., Path]:
    """Write a spec for a folder of shapes; keyword arguments are dotted keys with `__` for the dot."""

    def write(folder: Path, target: Path, **changes: Any) -> Path:
        spec: dict[str, Any] = {
            "name": target.stem,
            "model": {"family": "faster_rcnn", "backbone": "resnet18_fpn", "weights": "none"},
            "data": {
                "train": {"annotations": str(folder / "train.json"), "images": str(folder / "images/train")},
                "val": {"annotations": str(folder / "val.json"), "images": str(folder / "images/val")},
                "image_size": {"short": 96, "long": 96},
                "batch_size": 2,
            },
            "run": {"device": "cpu"},
        }
        for key, value in changes.items():
            at = spec
            *path, last = key.split("__")
            for part in path:
                at = at.setdefault(part, {})
            at[last] = value
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump(spec))
        return target

    return write
