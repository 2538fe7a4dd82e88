"""A few validation images, drawn at every evaluation: ground truth left, what was just predicted right."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from cvtune.data.coco import Rle
from cvtune.data.coco_structs import CocoAnnotation, CocoImage, CocoTruth
from cvtune.data.draw import Object, draw_objects, side_by_side
from cvtune.data.geometry import mask_to_rle, rle_from_json, rle_to_mask, segmentation_to_rle
from cvtune.data.images import read_rgb
from cvtune.errors import DataError
from cvtune.runs import RunDir, read_json, write_bytes, write_json

__all__ = ["SampleImages"]

COUNT = 4
# What is drawn of the predictions: those with this score, or where none has it, as early on, the best ones.
SCORE, BEST, MOST = 0.3, 10, 100
# Small, since every evaluation leaves its own: about 50 kB a picture.
LONGEST, SMALLEST, QUALITY = 480, 240, 80


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One of the images: original size in pixels; as it is shown, uint8 [h, w, 3]; the same with its objects."""

    id: int
    size_wh: tuple[int, int]
    rgb: NDArray[np.uint8]
    truth: NDArray[np.uint8]


class SampleImages:
    """The images of a run that are drawn again and again: those with most objects, the same at every evaluation."""

    def __init__(self, run: RunDir) -> None:
        """Nothing is read before the first drawing."""
        self.run = run
        self.names: tuple[str, ...] = ()
        self.images: list[_Drawn] | None = None

    def forget_after(self, step: int) -> None:
        """Remove the pictures of later steps, which a killed run left and its resume will draw again."""
        for folder in self.run.samples.glob("step-*"):
            number = folder.name.removeprefix("step-")
            if number.isdecimal() and int(number) > step:
                shutil.rmtree(folder, ignore_errors=True)

    def draw(self, results: Sequence[Mapping[str, Any]], step: int) -> list[Path]:
        """Draw `results` and write one JPEG an image, ``samples/step-NNNNNN/N.jpg``.

        Training never fails for a picture: what goes wrong is a warning in the worker's output.

        Args:
            results: COCO results with the canonical ids of data/val.json, of all its images.
            step: the step that they were predicted after.

        Returns:
            The files written, in the order of ``samples/images.json``.
        """
        try:
            return self._draw(results, step)
        except Exception as error:  # whatever it is, the training matters more
            print(f"warning: no sample predictions at step {step}: {type(error).__name__}: {error}", flush=True)
            return []

    def _draw(self, results: Sequence[Mapping[str, Any]], step: int) -> list[Path]:
        if self.images is None:
            self.images = self._choose()
        found: dict[int, list[Mapping[str, Any]]] = {image.id: [] for image in self.images}
        for result in results:
            if result["image_id"] in found:
                found[result["image_id"]].append(result)
        written = []
        for number, image in enumerate(self.images, start=1):
            path = self.run.samples_at(step) / f"{number}.jpg"
            write_bytes(path, self._picture(image, _shown(found[image.id])))
            written.append(path)
        return written

    def _choose(self) -> list[_Drawn]:
        """The images with most objects, by name where they have equally many; their names go to images.json."""
        content = msgspec.json.decode(self.run.data("val").read_bytes(), type=CocoTruth)
        objects: dict[int, list[CocoAnnotation]] = {}
        for annotation in content.annotations:
            objects.setdefault(annotation.image_id, []).append(annotation)
        count = {image.id: sum(not a.iscrowd for a in objects.get(image.id, ())) for image in content.images}
        chosen = sorted(content.images, key=lambda image: (-count[image.id], image.file_name))[:COUNT]
        self.names = self.run.class_map().names
        listed = read_json(self.run.images).get("val", []) if self.run.images.exists() else []
        source = {row["id"]: row["file_name"] for row in listed}
        rows = [
            {"name": str(source.get(image.id, Path(image.file_name).name)), "objects": count[image.id]}
            for image in chosen
        ]
        drawn = [self._drawn(image, objects.get(image.id, [])) for image in chosen]
        write_json(self.run.samples / "images.json", rows)
        return drawn

    def _drawn(self, image: CocoImage, annotations: Sequence[CocoAnnotation]) -> _Drawn:
        rgb = _resized(read_rgb(Path(image.file_name)))
        size_wh = (image.width, image.height)
        truth: list[Object] = []
        for annotation in annotations:
            name = self.names[annotation.category_id - 1] + (" (crowd)" if annotation.iscrowd else "")
            segmentation = msgspec.json.decode(annotation.segmentation) if annotation.segmentation else None
            mask = _mask(segmentation, size_wh, rgb)
            truth.append((_scaled(annotation.bbox, size_wh, rgb), name, None, mask))
        return _Drawn(image.id, size_wh, rgb, draw_objects(rgb, truth))

    def _picture(self, image: _Drawn, found: Sequence[Mapping[str, Any]]) -> bytes:
        predicted: list[Object] = []
        for result in found:
            mask = _mask(result.get("segmentation"), image.size_wh, image.rgb)
            name = self.names[result["category_id"] - 1]
            predicted.append((_scaled(result["bbox"], image.size_wh, image.rgb), name, float(result["score"]), mask))
        pair = side_by_side(image.truth, draw_objects(image.rgb, predicted))
        buffer = io.BytesIO()
        Pillow.fromarray(pair).save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()


def _shown(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What is drawn of one image's predictions, the best last, so that they lie on top."""
    best = sorted(found, key=lambda result: -result["score"])
    certain = [result for result in best if result["score"] >= SCORE]
    return (certain[:MOST] or best[:BEST])[::-1]


def _resized(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a longest side of at most LONGEST pixels; small images are enlarged, or names would hide them."""
    height, width = rgb.shape[:2]
    longest = max(height, width)
    scale = min(1.0, LONGEST / longest) if longest >= SMALLEST else SMALLEST / longest
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    if size_wh == (width, height):
        return rgb
    resized = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def _scaled(
    bbox_xywh: Sequence[float], size_wh: tuple[int, int], rgb: NDArray[np.uint8]
) -> tuple[float, float, float, float]:
    """A box in pixels of the resized image."""
    x, y = rgb.shape[1] / size_wh[0], rgb.shape[0] / size_wh[1]
    left, top, width, height = bbox_xywh
    return left * x, top * y, width * x, height * y


def _mask(segmentation: Any, size_wh: tuple[int, int], rgb: NDArray[np.uint8]) -> Rle | None:
    """A mask of the resized image; None where there is none, or a broken one."""
    height, width = rgb.shape[:2]
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        scale_xy = (width / size_wh[0], height / size_wh[1])
        parts = [np.asarray(part, np.float64) for part in segmentation]
        return segmentation_to_rle(tuple(part * np.resize(scale_xy, part.shape) for part in parts), (height, width))
    try:
        mask = rle_to_mask(rle_from_json(segmentation, (size_wh[1], size_wh[0])))
    except DataError:
        return None
    resized = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return mask_to_rle(resized)
