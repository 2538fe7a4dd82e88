"""Label Studio's tasks as plain records, and what their images may be called."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cvtune.data.formats.texts import json_top, read_json, whole
from cvtune.data.image_files import IMAGE_SUFFIXES
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

__all__ = ["UNNAMED", "StudioTask", "image_names", "is_tasks", "read_tasks"]

# What a task's data call the image, likeliest first; else any value that looks like an image's path.
IMAGE_KEYS = ("image", "img", "image_url", "url", "ocr", "photo", "picture")
# Uploaded files get eight hexadecimal digits before their name.
UPLOADED = re.compile(r"^[0-9a-f]{8}-")
# Of the values of results that are drawn.
SHAPE_KEYS = frozenset({"x", "points", "rle", "imageDataURL", "vertices"})
UNNAMED = "drawn on an image that the task's data do not name"


@dataclass(frozen=True, slots=True)
class StudioTask:
    """One image of a task, as the file says it, and each annotation's results with why they do not count, or "".

    `uploaded` is the name under which the tool keeps the file, which may be another. `size_wh` is what the task's data
    say beside the image, with 0 for what they do not.
    """

    where: str
    image: str
    annotations: tuple[tuple[Sequence[Any], str], ...]
    predictions: int = 0
    size_wh: tuple[int, int] = (0, 0)
    uploaded: str = ""


MARKS = ("annotation_id", "annotator", "lead_time")
# Keys of a task, or of an annotation that holds its task, in a file of its own.
KEYS = ("data", "annotations", "completions", "predictions", "task", "result")


def is_tasks(file: Path) -> bool:
    """Whether a file is a list of tasks, or one task, or one annotation of a task."""
    top = json_top(file)
    if top is None:
        return False
    if not top.is_list:
        record = {key: top.get(key) for key in KEYS if key in top.keys}
        return _is_answer(record) or (isinstance(record.get("data"), dict) and _is_task(record))
    return bool(top.records) and all(map(_is_task, top.records))


def read_tasks(files: Mapping[Path, str], receipt: Receipt) -> dict[Path, list[StudioTask]]:
    """The tasks of files, one for each image; files of another kind are noted, or an error where there is one alone.

    Annotations in files of their own, as the tool keeps them in a storage, are joined to those of the same task.

    Args:
        files: the JSON files, and what messages call them.
        receipt: where a guessed encoding is noted.

    Raises:
        DataError: one is no JSON, or the only one is no list of tasks.
    """
    tasks: dict[Path, list[StudioTask]] = {}
    joined: dict[str, dict[str, Any]] = {}
    for file, label in files.items():
        document = read_json(file, receipt, label)
        records = document if isinstance(document, list) else [document]
        wrong = next((n for n, record in enumerate(records) if not _is_task(record) and not _is_answer(record)), None)
        if wrong is not None and len(files) == 1:
            raise DataError(
                f"{file}: [{wrong}] is no task of Label Studio: expected an object with 'data' and 'annotations', "
                f"got {records[wrong]!r:.80}"
            )
        if wrong is not None:
            receipt.note("file-skipped", label, "no list of tasks")
            continue
        tasks[file] = []
        for n, record in enumerate(records, start=1):
            if not _is_answer(record):
                tasks[file] += _images_of(record, f"{label} task {record.get('id', n)}")
                continue
            whole_task = record["task"]
            same = joined.get(key := repr((whole_task.get("id"), whole_task["data"])))
            if same is None:
                joined[key] = {**whole_task, "annotations": [record], "file": file}
            else:
                same["annotations"].append(record)
    for record in joined.values():
        file = record.pop("file")
        tasks[file] += _images_of(record, f"{files[file]} task {record.get('id', 1)}")
    return tasks


def image_names(stated: str) -> list[str]:
    """What an image may be called on disk, likeliest first, from the address or path that a task has.

    ``/data/local-files/?d=a/b.jpg`` is a/b.jpg, ``/data/upload/1/0a1b2c3d-b.jpg`` is the name alone, b.jpg or
    upload/1/0a1b2c3d-b.jpg, as the tool itself keeps it; of https://, s3:// and gs:// addresses the path counts.
    """
    plain = stated.replace("\\", "/").strip()
    try:
        parts = urlsplit(plain)
        query = parse_qs(parts.query)
    except ValueError:
        return [plain]
    path = unquote(parts.path) if parts.scheme or parts.query else unquote(plain)
    if "d" in query and "local-files" in parts.path:
        path = query["d"][0]
    elif "fileuri" in query:
        try:
            return image_names(base64.b64decode(query["fileuri"][0]).decode())
        except (binascii.Error, ValueError):
            path = parts.path
    path = path.lstrip("/")
    upload = re.search(r"(?:^|/)data/upload/(?:\d+/)?(.+)$", f"/{path}")
    kept = [upload[0].partition("data/")[2]] if upload and "/" in path else []
    if upload:
        path = upload[1]
    *above, base = path.split("/")
    original = UPLOADED.sub("", base)
    return [path, *([] if original == base else ["/".join([*above, original])]), *kept]


def _is_task(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if isinstance(record.get("data"), dict):
        return any(isinstance(record.get(key), list) for key in ("annotations", "completions", "predictions"))
    # Of JSON-MIN; a task without results has the marks of its annotation alone.
    return bool(_image(record)) and (bool(_minimal(record)) or any(key in record for key in MARKS))


def _is_answer(record: Any) -> bool:
    """Whether it is an annotation that holds its task, as the tool writes one a file to a storage."""
    task = record.get("task") if isinstance(record, dict) else None
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and isinstance(record.get("result"), list)


def _minimal(record: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """JSON-MIN's results: values that are lists of objects with the original width."""
    return [
        (key, value)
        for key, value in record.items()
        if isinstance(value, list) and value and all(isinstance(v, dict) and "original_width" in v for v in value)
    ]


def _images_of(record: Mapping[str, Any], where: str) -> list[StudioTask]:
    """The images of a task, each with its results of all annotations."""
    data = record.get("data")
    if not isinstance(data, dict):
        plain = [_from_minimal(item, key) for key, items in _minimal(record) for item in items]
        return [StudioTask(where, _image(record), ((plain, ""),))]
    listed = record.get("annotations", record.get("completions"))
    annotations = [a for a in listed if isinstance(a, dict)] if isinstance(listed, list) else []
    predictions = record.get("predictions")
    valid = [n for n, a in enumerate(annotations) if not (a.get("was_cancelled") or a.get("skipped"))]
    truths = [n for n in valid if annotations[n].get("ground_truth") is True]
    counts = truths[-1] if truths else valid[-1] if valid else None
    found: list[tuple[Sequence[Any], str]] = []
    for n, annotation in enumerate(annotations):
        results = annotation.get("result")
        why = "" if n == counts else f"annotation {annotation.get('id', n + 1)!s:.40} of {len(annotations)}"
        found.append((results if isinstance(results, list) else [], why))
    size_wh = whole(data.get("width")), whole(data.get("height"))
    predicted = len(predictions) if isinstance(predictions, list) else 0
    names, of = _pages(data, [result for results, _ in found for result in results])
    if len(names) < 2 and None not in of:
        uploaded = record.get("file_upload")
        kept = uploaded if isinstance(uploaded, str) and uploaded.lower().endswith(IMAGE_SUFFIXES) else ""
        return [StudioTask(where, next(iter(names), ""), tuple(found), predicted, size_wh, kept)]
    pages: list[list[tuple[Sequence[Any], str]]] = [[] for _ in names]
    at = iter(of)
    for results, why in found:
        places = [next(at) for _ in results]
        for page, kept_results in enumerate(pages):
            kept_results.append(([r for r, place in zip(results, places, strict=True) if place == page], why))
        # What is drawn on an image that the data do not name is said with the first one.
        lost = [r for r, place in zip(results, places, strict=True) if place is None]
        if lost:
            pages[0].append((lost, why or UNNAMED))
    return [
        StudioTask(
            f"{where} image {n}", name, tuple(page), predicted if n == 1 else 0, size_wh if len(names) < 2 else (0, 0)
        )
        for n, (name, page) in enumerate(zip(names, pages, strict=True), start=1)
    ]


def _pages(data: Mapping[str, Any], results: Sequence[Any]) -> tuple[list[str], list[int | None]]:
    """The images of a task, and for each result which one it is drawn on; None where the data do not name that.

    A result says the image by `to_name`, which by custom is the name in the data, and by `item_index` in a list of
    them; `page_1` is the second of a list.
    """
    usual = _image(data)
    pages = next((found for value in data.values() if len(found := _listed(value)) > bool(usual)), [])
    drawn = [result if isinstance(result, dict) else {} for result in results]
    targets = dict.fromkeys(r["to_name"] for r in drawn if isinstance(r.get("to_name"), str) and _is_drawn(r))
    if len(targets) < 2 and not pages:
        own = next((data[name] for name in targets if isinstance(data.get(name), str)), usual)
        return [own.strip()] if own else [], [0] * len(drawn)
    names = [] if usual and not pages else list(pages)
    of: list[int | None] = []
    for result in drawn:
        target, index = result.get("to_name"), result.get("item_index")
        name: str | None = None
        if isinstance(target, str) and isinstance(data.get(target), str):
            name = data[target].strip()
        elif pages:
            number = re.search(r"\d{1,5}$", str(target))
            place = index if type(index) is int else int(number[0]) if number else 0
            name = pages[place] if 0 <= place < len(pages) else None
        elif len(targets) < 2 or target not in targets:
            name = usual
        if name and name not in names:
            names.append(name)
        of.append(names.index(name) if name else None)
    return names or [usual], of


def _is_drawn(result: Mapping[str, Any]) -> bool:
    value = result.get("value")
    return isinstance(value, dict) and not SHAPE_KEYS.isdisjoint(value)


def _listed(value: Any) -> list[str]:
    """A list of images, which are texts or objects of one."""
    if not isinstance(value, list):
        return []
    found = [item if isinstance(item, str) else _image(item) if isinstance(item, dict) else "" for item in value]
    return found if all(text.split("?")[0].lower().endswith(IMAGE_SUFFIXES) for text in found) else []


def _from_minimal(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A result of JSON-MIN, whose coordinates and sizes lie side by side, as one of the full export."""
    kind = next((k for k in item if k.endswith("labels") and k != "labels"), "labels")
    outer = ("original_width", "original_height", "image_rotation")
    value = {k: v for k, v in item.items() if k not in outer}
    return {"type": kind, "from_name": key, "value": value, **{k: item[k] for k in outer if k in item}}


def _image(data: Mapping[str, Any]) -> str:
    known = [data[key] for key in IMAGE_KEYS if isinstance(data.get(key), str)]
    likely = [v for v in data.values() if isinstance(v, str) and v.lower().split("?")[0].endswith(IMAGE_SUFFIXES)]
    return next(iter([*known, *likely]), "").strip()
