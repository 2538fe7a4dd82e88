"""Turn the DSB 2018 layout (one binary mask image for each nucleus) into COCO with RLE masks.

python datasets/nuclei.py SOURCE OUT        SOURCE/stage1_train/<id>/{images,masks}/*.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask


def convert_nuclei(source: Path, out: Path) -> Path:
    """Write OUT/annotations.json and OUT/images/*.png (RGB); returns the former."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for folder in sorted((source / "stage1_train").iterdir()):
        picture = Image.open(next((folder / "images").glob("*.png"))).convert("RGB")
        name = f"{folder.name}.png"
        picture.save(out / "images" / name)
        images.append({"id": len(images) + 1, "file_name": name, "width": picture.width, "height": picture.height})
        for path in sorted((folder / "masks").glob("*.png")):
            mask = np.asarray(Image.open(path).convert("L")) > 127
            if not mask.any():
                print(f"empty mask left out: {path}")
                continue
            rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": images[-1]["id"],
                    "category_id": 1,
                    "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                    "area": float(coco_mask.area(rle)),
                    "iscrowd": 0,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    target = out / "annotations.json"
    categories = [{"id": 1, "name": "nucleus"}]
    target.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    print(f"{len(images)} images, {len(annotations)} nuclei -> {target}")
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    convert_nuclei(arguments.source, arguments.out)
