"""Penn-Fudan pedestrians: 170 images, 345 people, each a value of an indexed mask.

python datasets/pennfudan.py OUT        OUT/annotations.json, images in OUT/download/PennFudanPed/PNGImages
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fetch import Archive, arguments, fetch, unpack
from PIL import Image as Pillow

from cvtune.data.coco import Annotation, Category, Dataset, Image, save_coco
from cvtune.data.geometry import mask_to_rle, rle_bbox_xywh

# No hash is stated.
ARCHIVES = [Archive("https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip")]


def make(out: Path, archives: list[Archive] = ARCHIVES) -> None:
    """Download and convert: <name>_mask.png holds 0 for the background and 1, 2, ... for the people of <name>.png."""
    unpack(fetch(archives[0], out / "download"), out / "download")
    folder = out / "download" / "PennFudanPed"
    images: list[Image] = []
    annotations: list[Annotation] = []
    for path in sorted((folder / "PedMasks").glob("*_mask.png")):
        with Pillow.open(path) as mask:
            values = np.asarray(mask)
        name = path.name.replace("_mask.png", ".png")
        images.append(Image(len(images) + 1, name, values.shape[1], values.shape[0], folder / "PNGImages" / name))
        for value in np.unique(values[values > 0]):
            rle = mask_to_rle(values == value)
            area = float((values == value).sum())
            annotation = Annotation(len(annotations) + 1, len(images), 1, rle_bbox_xywh(rle), area, segmentation=rle)
            annotations.append(annotation)
    save_coco(Dataset(tuple(images), tuple(annotations), (Category(1, "person"),)), out / "annotations.json")
    print(
        f"{len(images)} images, {len(annotations)} people -> {out / 'annotations.json'}; images: {folder / 'PNGImages'}"
    )


if __name__ == "__main__":
    make(arguments(__doc__))
