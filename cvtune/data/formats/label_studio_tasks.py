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

__all__ = ["StudioTask", "image_names", "is_tasks", "read_tasks"]

# What a task's data call the image, likeliest first; else any value that looks like an image's path.
IMAGE_KEYS = ("image", "img", "image_url", "url", "ocr", "photo", "picture")
# Uploaded files get eight hexadecimal digits before their name.
UPLOADED = re.compile(r"^[0-9a-f]{8}-")


@dataclass(frozen=True, slots=True)
class StudioTask:
    """One task: its image as the file says it, and each annotation's results with why they do not count, or "".

    `size_wh` is what the task's data say beside the image, with 0 for what they do not.
    """

    where: str
    image: str
    annotations: tuple[tuple[Sequence[Any], str], ...]
    predictions: int = 0
    size_wh: tuple[int, int] = (0, 0)


MARKS = ("annotation_id", "annotator", "lead_time")


def is_tasks(file: Path) -> bool:
    """Whether a file is a list of tasks."""
    top = json_top(file)
    return top is not None and top.is_list and bool(top.records) and all(map(_is_task, top.records))


def read_tasks(file: Path, label: str, receipt: Receipt, strict: bool) -> list[StudioTask] | None:
    """The tasks of a file; None where it is another kind of file.

    Args:
        file: the JSON file.
        label: what messages call it.
        receipt: where a guessed encoding is noted.
        strict: whether another kind of file is an error.

    Raises:
        DataError: it is no JSON, or with `strict` no list of tasks.
    """
    document = read_json(file, receipt, label)
    records = document if isinstance(document, list) else [document]
    wrong = next((n for n, record in enumerate(records) if not _is_task(record)), None)
    if wrong is None:
        return [_task(record, f"{label} task {record.get('id', n)}") for n, record in enumerate(records, start=1)]
    if strict:
        raise DataError(
            f"{file}: [{wrong}] is no task of Label Studio: expected an object with 'data' and 'annotations', "
            f"got {records[wrong]!r:.80}"
        )
    return None


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
        return any(isinstance(record.get(key), list) for key in ("annotations", "completions"))
    # Of JSON-MIN; a task without results has the marks of its annotation alone.
    return bool(_image(record)) and (bool(_minimal(record)) or any(key in record for key in MARKS))


def _minimal(record: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """JSON-MIN's results: values that are lists of objects with the original width."""
    return [
        (key, value)
        for key, value in record.items()
        if isinstance(value, list) and value and all(isinstance(v, dict) and "original_width" in v for v in value)
    ]


def _task(record: Mapping[str, Any], where: str) -> StudioTask:
    data = record.get("data")
    if not isinstance(data, dict):
        plain = [_from_minimal(item, key) for key, items in _minimal(record) for item in items]
        return StudioTask(where, _image(record), ((plain, ""),))
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
    return StudioTask(where, _image(data), tuple(found), predicted, size_wh)


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
