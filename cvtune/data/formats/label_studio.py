"""Label Studio's JSON exports: tasks with results in percent of the image, full or JSON-MIN."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtune.data.coco import Dataset
from cvtune.data.formats import ReadSource
from cvtune.data.formats.entries import (
    Entry,
    Patch,
    Shape,
    alphabetical,
    assemble,
    classes_of,
    decode_png,
    no_area,
    size_of_image,
)
from cvtune.data.formats.file_sets import Finders, detected, find_files
from cvtune.data.formats.label_studio_rle import decode_brush
from cvtune.data.formats.label_studio_tasks import UNNAMED, StudioTask, image_names, is_tasks, read_tasks
from cvtune.data.formats.label_studio_write import write
from cvtune.data.formats.texts import number, points_of, whole
from cvtune.data.outlines import box_polygon, ellipse_polygon
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["detect", "read", "subsets", "write"]

SHAPES = ("rectangle", "polygon", "ellipse", "brush", "keypoint", "bitmask", "vector")
NO_AREA = frozenset({"keypoint", "vector"})
VIDEO = "video"


@dataclass(slots=True)
class _Remarks:
    """What is said once for a whole set; `by_answers` where choices about objects are their classes."""

    by_answers: bool = False
    answers: int = 0
    videos: int = 0
    predictions: int = 0
    relations: int = 0
    rotated: list[str] | None = None
    tags: list[str] | None = None


def detect(path: Path) -> str | None:
    """Evidence that `path` is Label Studio's: lists of tasks with data and annotations, or JSON-MIN's results."""
    return detected(path, is_tasks, "tasks of Label Studio", ".json")


def subsets(path: Path) -> tuple[str, ...]:
    """The folders of splits that the files lie in."""
    return find_files(path, ".json").splits


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a file, or those of a folder.

    Of several annotations of a task the one marked as ground truth counts, or the last that was not cancelled; the
    objects of the others are dropped. Rotated rectangles and ellipses become polygons; key points are dropped; answers
    about the whole image are not read, those about an object are in ``Annotation.extra["attributes"]``. Category ids
    are 1, 2, ... over the sorted labels. `where` counts the objects of a task from 1.

    Raises:
        DataError: no such file, malformed JSON, or an unknown subset.
    """
    files = find_files(source.path, ".json")
    chosen = set(files.of_subset(source.subset))
    tasks = read_tasks({file: files.label(file) for file in files.files}, receipt)
    if not tasks:
        raise DataError(f"{source.path}: none of its {len(files.files)} .json files is of Label Studio")
    every = [image_names(task.image)[0] for found in tasks.values() for task in found if task.image]
    finders = Finders(files.root, source.images, every)
    remarks, entries, names = _entries(tasks, chosen, finders, answers=False)
    if not names and remarks.answers:  # no label at all: the answers about each object are the classes
        remarks, entries, names = _entries(tasks, chosen, finders, answers=True)
    if remarks.videos and not every:
        raise DataError(f"{source.path}: its tasks are of videos, whose frames are not read; label images, or frames")
    _report(remarks, str(source.path), receipt)
    receipt.files += [file for file in tasks if file in chosen]
    return assemble(entries, alphabetical(names), receipt, source=source.path)


def _entries(
    tasks: dict[Path, list[StudioTask]], chosen: set[Path], finders: Finders, answers: bool
) -> tuple[_Remarks, list[Entry], set[str]]:
    """What is said of the chosen files, their images, and the classes of all files."""
    remarks = _Remarks(by_answers=answers)
    entries: list[Entry] = []
    names: set[str] = set()
    for file, found in tasks.items():
        for task in found:
            entry = _entry(task, file, finders, remarks if file in chosen else _Remarks(by_answers=answers))
            names |= {name for name in classes_of(entry.shapes) if name}
            if file in chosen:
                entries.append(entry)
    return remarks, entries, names


def _report(remarks: _Remarks, where: str, receipt: Receipt) -> None:
    if remarks.by_answers:
        detail = f"no object has a label; the choices made about {remarks.answers:,} of them are their classes"
        receipt.note("class-found", where, detail)
    if remarks.predictions:
        receipt.note("predictions-left-out", where, f"{remarks.predictions:,}")
    if remarks.relations:
        receipt.note("attributes-lost", where, f"{remarks.relations:,} relations between objects")
    if remarks.rotated:
        receipt.note("image-rotation-ignored", where, f"{len(remarks.rotated):,}, the first: {remarks.rotated[0]}")
    if remarks.tags:
        receipt.note("image-tags-lost", where, f"{len(remarks.tags):,}, the first: {remarks.tags[0]}")


def _entry(task: StudioTask, file: Path, finders: Finders, remarks: _Remarks) -> Entry:
    remarks.predictions += task.predictions
    path, name = None, ""
    embedded = task.image.startswith("data:")
    stated = [*image_names(task.image), *(image_names(f"/data/upload/{task.uploaded}") if task.uploaded else ())]
    for candidate in stated if not embedded else ():
        path, found = finders.find(candidate, file)
        name = name or found
        if path is not None:
            name = found
            break
    name = name or f"{task.where.rsplit(' ', 1)[-1]}.png"
    records = [result for results, _ in task.annotations for result in results if isinstance(result, dict)]
    size: tuple[int, int] | None = next(
        (s for r in records if 0 not in (s := (whole(r.get("original_width")), whole(r.get("original_height"))))), None
    )
    if size is None and 0 not in task.size_wh:
        size = task.size_wh
    if size is None and path is not None:
        try:
            size = size_of_image(path)
        except DataError:  # `assemble` says it, with what is lost
            size = None
    shapes: list[Shape] = []
    for results, fault in task.annotations:
        shapes += _objects(results, task.where, len(shapes), size or (100, 100), fault, remarks)
    return Entry(task.where, name, size, path, shapes, embedded=embedded)


def _objects(
    results: Sequence[Any], where: str, before: int, size_wh: tuple[int, int], fault: str, remarks: _Remarks
) -> list[Shape]:
    """The objects of an annotation: results that share an id are one, its shape, its label and answers about it."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    shapes: list[Shape] = []
    for n, result in enumerate(results):
        if not isinstance(result, dict):
            detail = f"a result must be an object, got {result!r:.60}"
            shapes.append(Shape(f"{where} object {before + len(shapes) + 1}", None, fault=("value-malformed", detail)))
        elif result.get("type") == "relation":
            remarks.relations += 1
        else:
            key = result.get("id")
            groups.setdefault(key if isinstance(key, str | int) else ("", n), []).append(result)
    for group in groups.values():
        kinds = [_kind(result) for result in group]
        if not any(kinds):
            remarks.tags = [*(remarks.tags or []), f"{where}: {group[0].get('type')!s:.40}"]
            continue
        shape = _object(group, kinds, f"{where} object {before + len(shapes) + 1}", size_wh, remarks)
        if group[kinds.index(next(filter(None, kinds)))].get("image_rotation") not in (None, 0, 0.0):
            remarks.rotated = [*(remarks.rotated or []), shape.where]
        code = "image-not-listed" if fault == UNNAMED else "object-superseded"
        shapes.append(replace(shape, fault=(code, fault)) if fault else shape)
    return shapes


def _kind(result: Mapping[str, Any]) -> str:
    """Which shape a result is, by its type, or by its coordinates where the type is `labels`; empty for none."""
    kind = str(result.get("type", "")).removesuffix("labels")
    if kind in SHAPES or kind.startswith(VIDEO):
        return kind
    value = result.get("value")
    if kind or not isinstance(value, dict):
        return ""
    keys = (("points", "polygon"), ("radiusX", "ellipse"), ("rle", "brush"), ("height", "rectangle"), ("x", "keypoint"))
    return next((kind for key, kind in keys if key in value), "")


def _object(
    group: Sequence[Mapping[str, Any]], kinds: Sequence[str], where: str, size_wh: tuple[int, int], remarks: _Remarks
) -> Shape:
    at = kinds.index(next(filter(None, kinds)))
    labels: list[str] = []
    attributes: dict[str, Any] = {}
    for result in group:
        value = result.get("value")
        for key, said in value.items() if isinstance(value, dict) else ():
            if key.endswith("labels") and isinstance(said, list):
                labels += [str(item).strip() for item in said if isinstance(item, str | int) and str(item).strip()]
            elif key in {"choices", "text", "rating", "number", "datetime", "taxonomy"}:
                attributes[str(result.get("from_name", key))] = said
    remarks.videos += kinds[at].startswith(VIDEO)
    answer = next((_choices(result) for result in group if _choices(result)), [])
    if answer and not labels:
        remarks.answers += 1
        labels += answer if remarks.by_answers else []
    names = list(dict.fromkeys(labels))
    repairs = (("class-several", ", ".join(names)),) if len(names) > 1 else ()
    crowd = any(bool(r.get("meta", {}).get("iscrowd")) for r in group if isinstance(r.get("meta"), dict))
    extra = {"attributes": attributes} if attributes else {}
    shape = Shape(where, names[0] if names else None, repairs=repairs, iscrowd=crowd, extra=extra)
    value = group[at].get("value")
    if not isinstance(value, dict):
        return replace(shape, fault=("value-malformed", f"value must be an object, got {value!r:.60}"))
    return _shape(shape, kinds[at], value, size_wh)


def _choices(result: Mapping[str, Any]) -> list[str]:
    value = result.get("value")
    said = value.get("choices") if isinstance(value, dict) else None
    return [text.strip() for text in said if isinstance(text, str) and text.strip()] if isinstance(said, list) else []


def _shape(shape: Shape, kind: str, value: Mapping[str, Any], size_wh: tuple[int, int]) -> Shape:
    if kind in NO_AREA:
        return replace(shape, fault=no_area(kind))
    if kind.startswith(VIDEO):
        return replace(shape, fault=("shape-unknown", "it is drawn in a video, whose frames are not read"))
    if kind in {"brush", "bitmask"}:
        return _mask(shape, value, size_wh)
    width, height = size_wh[0] / 100, size_wh[1] / 100
    if kind == "polygon":
        points = points_of(value.get("points")).reshape(-1, 2)
        return replace(shape, polygons=((points * (width, height)).reshape(-1),))
    x, y = number(value.get("x")) * width, number(value.get("y")) * height
    degrees = number(value.get("rotation") or 0)
    degrees = degrees if math.isfinite(degrees) else 0.0
    if kind == "ellipse":
        rx, ry = number(value.get("radiusX")) * width, number(value.get("radiusY")) * height
        if not np.isfinite([x, y, rx, ry]).all() or min(rx, ry) <= 0 or max(abs(x), abs(y), rx, ry) > 1e9:
            return replace(shape, fault=("mask-degenerate", f"an ellipse of {rx:g} x {ry:g} about {x:g}, {y:g}"))
        said = ("shape-approximated", f"ellipse of half axes {rx:g}, {ry:g} about {x:g}, {y:g}")
        return replace(shape, polygons=(ellipse_polygon(x, y, rx, ry, degrees),), repairs=(*shape.repairs, said))
    w, h = number(value.get("width")) * width, number(value.get("height")) * height
    box = (x, y, x + w, y + h)
    if not degrees % 360 or not np.isfinite(box).all() or min(w, h) <= 0:
        return replace(shape, box_xyxy=box)
    said = ("rotation-as-polygon", f"turned by {degrees:g} degrees about its left upper corner")
    polygon = box_polygon(*box, degrees, about="corner")
    return replace(shape, polygons=(polygon,), repairs=(*shape.repairs, said))


def _mask(shape: Shape, value: Mapping[str, Any], size_wh: tuple[int, int]) -> Shape:
    """A brush's RLE, or a bit mask's PNG."""
    rle, data = value.get("rle"), value.get("imageDataURL")
    if isinstance(rle, list):
        try:
            return replace(shape, patch=Patch(0, 0, decode_brush(rle, size_wh)))
        except ValueError as error:
            return replace(shape, fault=("mask-invalid", str(error)))
    if not isinstance(data, str):
        return replace(shape, fault=("mask-invalid", "neither rle nor imageDataURL"))
    try:
        mask = decode_png(base64.b64decode(data.partition(",")[2]))
    except (binascii.Error, ValueError) as error:
        return replace(shape, fault=("mask-invalid", f"no base64: {error}"))
    if isinstance(mask, str):
        return replace(shape, fault=("mask-invalid", mask))
    return replace(shape, patch=Patch(0, 0, mask))
