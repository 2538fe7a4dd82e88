"""Synthetic images of circles, squares and triangles with exact masks: the demo's data, made on the spot.

python datasets/shapes.py OUT --train 160 --val 40 --size 128 --seed 0
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

CLASSES = ("circle", "square", "triangle")
EMPTY_SHARE = 0.05
# An object that others cover this much is no fair target.
SMALLEST_VISIBLE = 0.5


def make_shapes(out: Path, train: int, val: int, size: int, seed: int) -> tuple[Path, Path]:
    """Write OUT/{train,val}.json and OUT/images/{train,val}/*.png; the same seed gives the same files."""
    rng = np.random.default_rng(seed)
    return _split(out, "train", train, size, rng), _split(out, "val", val, size, rng)


def _split(out: Path, split: str, count: int, size: int, rng: np.random.Generator) -> Path:
    folder = out / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        pixels, objects = _picture(size, rng)
        name = f"{split}_{number:04d}.png"
        cv2.imwrite(str(folder / name), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        images.append({"id": number, "file_name": name, "width": size, "height": size})
        for kind, mask in objects:
            rle = coco_mask.encode(np.asfortranarray(mask))
            record = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": kind + 1,
                "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                "area": float(coco_mask.area(rle)),
                "iscrowd": 0,
                "segmentation": {"size": [size, size], "counts": rle["counts"].decode()},
            }
            annotations.append(record)
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)]
    path = out / f"{split}.json"
    info = {"description": "synthetic shapes"}
    path.write_text(json.dumps({"info": info, "images": images, "annotations": annotations, "categories": categories}))
    return path


def _picture(size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[int, NDArray[np.uint8]]]]:
    """A textured, dark background and one to four bright objects; later ones lie on top of earlier ones."""
    coarse = rng.integers(20, 90, (8, 8, 3)).astype(np.uint8)
    pixels = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    objects: list[tuple[int, NDArray[np.uint8]]] = []
    full: list[int] = []
    for _ in range(0 if rng.random() < EMPTY_SHARE else int(rng.integers(1, 5))):
        kind = int(rng.integers(len(CLASSES)))
        mask = _shape(kind, size, rng)
        covered = [np.where(mask > 0, 0, other).astype(np.uint8) for _, other in objects]
        if any(c.sum() < SMALLEST_VISIBLE * whole for c, whole in zip(covered, full, strict=True)):
            continue
        objects = [(k, c) for (k, _), c in zip(objects, covered, strict=True)]
        colour = rng.integers(120, 256, 3)
        pixels[mask > 0] = colour
        objects.append((kind, mask))
        full.append(int(mask.sum()))
    noisy = pixels + rng.normal(0, 6, pixels.shape)
    return noisy.clip(0, 255).astype(np.uint8), objects


def _shape(kind: int, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    radius = float(rng.uniform(0.11, 0.22)) * size
    x, y = rng.uniform(radius, size - radius, 2)
    mask = np.zeros((size, size), np.uint8)
    if kind == 0:
        cv2.circle(mask, (round(x), round(y)), round(radius), 1, -1)
        return mask
    corners, turn = (4, rng.uniform(0, np.pi / 2)) if kind == 1 else (3, rng.uniform(0, 2 * np.pi))
    angles = turn + 2 * np.pi * np.arange(corners) / corners
    points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=160)
    parser.add_argument("--val", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=["coco"], default="coco", help="`cvtune convert` makes other formats of it")
    arguments = parser.parse_args()
    paths = make_shapes(arguments.out, arguments.train, arguments.val, arguments.size, arguments.seed)
    print(*paths)


if __name__ == "__main__":
    main()
