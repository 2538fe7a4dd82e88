"""Checks of image files: readable, of the stated size, each once, none in two parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from cvtune.data.checked import Checked, CheckedPart, Example
from cvtune.data.coco import Image
from cvtune.data.image_facts import ImageFacts, near_pairs
from cvtune.data.image_files import IMAGE_SUFFIXES

__all__ = [
    "duplicates",
    "empty",
    "exif_turned",
    "leaks",
    "missing",
    "near_leaks",
    "size_differs",
    "unlabeled",
    "unmatched_labels",
    "unreadable",
]


def unreadable(data: Checked) -> Iterator[Example]:
    """Image files that cannot be decoded to their end."""
    for part, image, facts in _files(data):
        if facts.problem:
            yield part.example(facts.problem, file=image.file_name)
    for part in data.own:
        for event in part.events:
            if event.code == "image-unreadable":
                yield part.example(event.detail, file=event.where)


def missing(data: Checked) -> Iterator[Example]:
    """Images that are listed, but not there; label files without an image are another check's."""
    for part in data.own:
        stems = _label_stems(part)
        for image in part.dataset.images:
            if image.path is None and _stem(image.file_name) not in stems:
                yield part.example("", file=image.file_name)


def unmatched_labels(data: Checked) -> Iterator[Example]:
    """Files that label one image each, whose image is not there."""
    for part in data.own:
        stems = _label_stems(part)
        for image in part.dataset.images:
            if image.path is None and _stem(image.file_name) in stems:
                yield part.example(f"names {image.file_name}", file=stems[_stem(image.file_name)].name)
        for event in part.events:
            if event.code == "image-missing" and event.kind == "drop":
                yield part.example(event.detail, file=event.where)


def size_differs(data: Checked) -> Iterator[Example]:
    """Images of another size than the annotations say."""
    for part, image, facts in _files(data):
        stated = (image.width, image.height)
        if facts.size_wh and stated not in {facts.size_wh, facts.turned_size_wh}:
            detail = f"stated {stated[0]} x {stated[1]}, the file has {facts.size_wh[0]} x {facts.size_wh[1]}"
            yield part.example(detail, file=image.file_name)


def exif_turned(data: Checked) -> Iterator[Example]:
    """Images that EXIF turns."""
    for part, image, facts in _files(data):
        if facts.orientation > 1:
            stated = (image.width, image.height)
            which = "the stored pixels'" if stated == facts.size_wh else "another"
            if stated == facts.turned_size_wh:
                which = "either's" if facts.size_wh == facts.turned_size_wh else "the turned image's"
            detail = f"orientation {facts.orientation}; the stated size {stated[0]} x {stated[1]} is {which}"
            yield part.example(detail, file=image.file_name)


def duplicates(data: Checked) -> Iterator[Example]:
    """Files of one part with the same content, each but the first; and images that are listed twice."""
    for part in data.own:
        first: dict[bytes, Image] = {}
        for image in part.dataset.images:
            facts = data.facts.get(image.path) if image.path else None
            if facts is None or not facts.sha256:
                continue
            other = first.setdefault(facts.sha256, image)
            if other is not image:
                how = "is listed twice" if other.path == image.path else f"is the same as {other.file_name}"
                yield part.example(how, file=image.file_name)


def leaks(data: Checked) -> Iterator[Example]:
    """Files of one part whose content is also in another."""
    for a, b in _pairs(data):
        there = {facts.sha256: path for path, facts in _facts_of(b, data).items() if facts.sha256}
        names = {image.path: image.file_name for image in b.dataset.images}
        here = _facts_of(a, data)
        for image in a.dataset.images:
            facts = here.get(image.path) if image.path else None
            if facts is not None and facts.sha256 in there:
                yield a.example(f"is also in {b.name}, as {names[there[facts.sha256]]}", file=image.file_name)


def near_leaks(data: Checked) -> Iterator[Example]:
    """Images of one part that show the same as one of another, though the files differ."""
    for a, b in _pairs(data):
        names = {image.path: image.file_name for part in (a, b) for image in part.dataset.images}
        for one, other in near_pairs(_facts_of(a, data), _facts_of(b, data)):
            yield a.example(f"shows the same as {names[other]} in {b.name}", file=names[one])


def unlabeled(data: Checked) -> Iterator[Example]:
    """Images beside the listed ones that no part lists, and images without a file of labels."""
    listed = {image.path for part in data.parts for image in part.dataset.images if image.path}
    dropped = {(event.where, event.detail) for part in data.own for event in part.events if event.images}
    named = _named(data)
    # What was not read may name the others.
    for folder in sorted({path.parent for path in listed}) if data.whole else ():
        for path in sorted(folder.iterdir()):
            known = path in listed or any(
                where.endswith(path.stem) or path.name in where or path.name in detail for where, detail in dropped
            )
            hidden = path.name.startswith(".")
            if path.suffix.lower() in IMAGE_SUFFIXES and not known and not hidden and path.stem not in named:
                yield data.own[0].example("no annotation file names it", file=path.name)
    if data.format == "yolo":
        for part in data.own:
            stems = _label_stems(part)
            for image in part.dataset.images:
                if image.path is not None and _stem(image.file_name) not in stems:
                    yield part.example("has no file of labels", file=image.file_name)


def empty(data: Checked) -> Iterator[Example]:
    """Images without an object."""
    for part in data.own:
        used = {annotation.image_id for annotation in part.dataset.annotations}
        for image in part.dataset.images:
            if image.id not in used:
                yield part.example("", file=image.file_name)


def _files(data: Checked) -> Iterator[tuple[CheckedPart, Image, ImageFacts]]:
    """Every image of the set itself that was looked at."""
    for part in data.own:
        for image in part.dataset.images:
            if image.path is not None and image.path in data.facts:
                yield part, image, data.facts[image.path]


def _pairs(data: Checked) -> Iterator[tuple[CheckedPart, CheckedPart]]:
    """Pairs of parts, the first of them one of the set itself."""
    return ((a, b) for a, b in combinations(data.parts, 2) if not a.other)


def _facts_of(part: CheckedPart, data: Checked) -> dict[Path, ImageFacts]:
    paths = (image.path for image in part.dataset.images)
    return {path: data.facts[path] for path in paths if path is not None and path in data.facts}


def _label_stems(part: CheckedPart) -> dict[str, Path]:
    """Stem -> annotation file, where each image has a file of its own."""
    return {file.stem: file for file in part.files} if len(part.files) > 1 else {}


def _named(data: Checked) -> set[str]:
    """Stems of all annotation files, those too that no list names, where each image has a file of its own."""
    files = {(f.parent, f.suffix) for part in data.own for f in part.files if len(part.files) > 1}
    folders = sorted(file for file in files if file[1].lower() not in IMAGE_SUFFIXES)
    return {path.stem for folder, suffix in folders for path in folder.iterdir() if path.suffix == suffix}


def _stem(file_name: str) -> str:
    return Path(file_name.replace("\\", "/")).stem
