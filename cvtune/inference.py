"""Prediction on a user's own images: files, folders, globs, COCO files in; COCO results and drawings out."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtune.classes import ClassMap
from cvtune.data.draw import draw_objects
from cvtune.data.geometry import rle_from_json
from cvtune.data.images import read_rgb
from cvtune.errors import DataError, RunError
from cvtune.launch import run_worker
from cvtune.predictions import load_predictions, save_predictions
from cvtune.runs import RunDir, read_json, write_json

__all__ = ["IMAGE_SUFFIXES", "collect_images", "predict_files"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})


@dataclass(frozen=True)
class InputImage:
    """An image to predict: the id that its results carry, and where it is."""

    id: int | str
    path: Path


def collect_images(arguments: Sequence[str]) -> list[InputImage]:
    """Expand images, folders (not their subfolders), globs and COCO files.

    A COCO file gives its own image ids; everything else is numbered from 1 in the order of the arguments, each folder
    and glob sorted. An image that is named twice counts once.

    Raises:
        DataError: an argument matches nothing, COCO files and other images are mixed, or two COCO files share an id.
    """
    from_coco: list[InputImage] = []
    files: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.suffix.lower() == ".json" and path.is_file():
            from_coco += _of_coco(path)
        elif path.is_file():
            files.append(path)
        else:
            files += _matches(argument)
    if from_coco and files:
        raise DataError("predict: give COCO files or images, not both: their image ids would collide")
    first: dict[int | str, Path] = {}
    for image in from_coco:
        if first.setdefault(image.id, image.path) != image.path:
            raise DataError(
                f"predict: image id {image.id!r} is both {first[image.id]} and {image.path}; predict the COCO files "
                "one by one, each into a file of its own"
            )
    unique = dict.fromkeys(path.resolve() for path in files)
    return list(dict.fromkeys(from_coco)) or [InputImage(i, path) for i, path in enumerate(unique, start=1)]


def _matches(argument: str) -> list[Path]:
    """The images of a folder or a glob, sorted."""
    path = Path(argument)
    where = "in this folder" if path.is_dir() else "matches"
    names = path.iterdir() if path.is_dir() else map(Path, glob.glob(argument, recursive=True))
    found = sorted(name for name in names if name.is_file())
    if not found and not path.is_dir():
        raise DataError(f"{argument}: no such image, folder or COCO file, and no match as a glob")
    images = [name for name in found if name.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(f"{argument}: no image {where}; allowed suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}")
    return images


def _of_coco(path: Path) -> Iterable[InputImage]:
    from cvtune.data.formats import ReadSource, read_source
    from cvtune.data.receipt import Receipt

    images = read_source(ReadSource(path), "coco", Receipt()).images
    missing = [image.file_name for image in images if image.path is None]
    if missing:
        raise DataError(f"{path}: {len(missing)} of its images are not found, the first: {missing[0]}")
    return [InputImage(image.id, image.path) for image in images if image.path]


def predict_files(
    run: RunDir,
    arguments: Sequence[str],
    out: Path,
    draw: Path | None = None,
    score_threshold: float | None = None,
    checkpoint: Path | None = None,
) -> Path:
    """Predict and write COCO results; beside them ``<out>.images.json`` says which id is which file.

    Args:
        run: a trained run.
        arguments: images, folders, globs or COCO files.
        out: the results file.
        draw: a folder for drawn images.
        score_threshold: results below it are left out.
        checkpoint: default: the run's best, else its last.
    """
    checkpoint = checkpoint or run.selected
    if not checkpoint.exists():
        raise DataError(f"{checkpoint}: no such checkpoint; train the run first")
    images = collect_images(arguments)
    request = run.path / "predict.json"
    listed = [{"id": image.id, "path": str(image.path)} for image in images]
    write_json(request, {"checkpoint": str(checkpoint), "images": listed, "output": str(out.resolve())})
    try:
        run_worker(read_json(run.record)["backend"], "predict", run, "--request", str(request))
    finally:
        request.unlink(missing_ok=True)
    class_map = run.class_map()
    results, _ = load_predictions(out)
    if score_threshold is not None:
        results = [result for result in results if result["score"] >= score_threshold]
        save_predictions(results, out, class_map)
    write_json(out.with_name(out.stem + ".images.json"), listed)
    if draw is not None:
        _draw(images, results, class_map, draw)
    return out


def _draw(
    images: Sequence[InputImage], results: Sequence[Mapping[str, Any]], class_map: ClassMap, folder: Path
) -> None:
    from PIL import Image as PillowImage

    by_image: dict[int | str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_image.setdefault(result["image_id"], []).append(result)
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[Path] = set()
    for image in images:
        rgb = read_rgb(image.path)
        objects = []
        for result in by_image.get(image.id, ()):
            segmentation = result.get("segmentation")
            rle = rle_from_json(segmentation, (rgb.shape[0], rgb.shape[1])) if segmentation else None
            name = class_map.names[class_map.index_of_source_id[result["category_id"]]]
            objects.append((tuple(result["bbox"]), name, result["score"], rle))
        target = folder / f"{image.path.stem}.png"
        if target in taken:  # of another folder, or with another suffix
            target = folder / f"{image.path.stem}-{image.id}.png"
        taken.add(target)
        try:
            PillowImage.fromarray(draw_objects(rgb, objects)).save(target)
        except OSError as error:
            raise RunError(f"{target}: cannot be written: {error}") from error
