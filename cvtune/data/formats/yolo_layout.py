"""Where a YOLO set keeps names, images and labels: Ultralytics' data.yaml, darknet's .data file, or plain folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from cvtune.data.far_images import FarImages
from cvtune.data.formats.listing import names_in
from cvtune.data.formats.text_yaml import parse_yaml
from cvtune.data.formats.texts import number, read_lines, whole
from cvtune.data.formats.yolo_config import (
    MOST_CLASSES,
    NAME_FILES,
    OTHER_TEXTS,
    listed_names,
    parts_of,
    plain_folder,
    yolo_config,
)
from cvtune.data.formats.yolo_paths import (
    after_images,
    first,
    images_beside,
    labels_beside,
    labels_place,
    resolve,
    ways,
)
from cvtune.data.formats.yolo_rows import any_numbers
from cvtune.data.image_files import IMAGE_SUFFIXES, ImageFinder
from cvtune.data.split_names import is_split
from cvtune.errors import DataError

__all__ = ["YoloItem", "YoloLayout", "find_yolo", "label_files"]


@dataclass(frozen=True, slots=True)
class YoloItem:
    """One image: its file or None, what it is called, and its file of labels or None."""

    image: Path | None
    name: str
    labels: Path | None


@dataclass(frozen=True)
class YoloLayout:
    """A set: `names` by class index (None: no file says them), `parts` by name ("" where there are none).

    `count` is how many classes a file states, or 0; `missing` says which parts were not found and where they were
    searched.
    """

    root: Path
    names: Mapping[int, str] | None
    parts: Mapping[str, tuple[YoloItem, ...]]
    files: tuple[Path, ...] = ()
    keypoints: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)
    count: int = 0


def find_yolo(path: Path, images: Path | None) -> YoloLayout:
    """Find what belongs to a set.

    Args:
        path: the describing file, or the folder.
        images: where the images are, if not where the set says.

    Raises:
        DataError: the describing file is malformed, or `images` is no folder.
    """
    if images is not None and not images.is_dir():
        raise DataError(f"{images}: no such folder of images; correct `images`")
    if path.name == "labels" and (path.parent / "images").is_dir():
        path = path.parent
    # A data.yaml that is broken is an error, not a set without one.
    stated = path / "data.yaml" if path.is_dir() else path
    given = stated.is_file() and stated.suffix.lower() in {".yaml", ".yml"}
    config = stated if given else yolo_config(path)
    suffix = config.suffix.lower() if config else ""
    if config is not None and suffix in {".yaml", ".yml"}:
        layout = _ultralytics(config, images)
        # One below may describe what lies beside its own folder.
        beside = {} if any(layout.parts.values()) or config.parent == path else _labelled(path, images)
        return replace(layout, root=path, parts=beside) if beside else layout
    if config is not None and suffix == ".data":
        return _darknet(config, images)
    folder = plain_folder(path, config)
    if folder.name == "labels" and (folder.parent / "images").is_dir():
        folder = folder.parent
    names = None if config is None else dict(enumerate(listed_names(config)))
    if config is None:
        config, names = _names_above(folder)
    items = _plain(folder, images)
    if path.is_file() and path != config:  # labels of one image
        items = tuple(item for item in items if item.labels == path)
    return YoloLayout(folder, names, _by_split(items), (config,) if config else ())


def label_files(folder: Path) -> Iterator[Path]:
    """The files of labels below a folder, in order."""
    for file in sorted(folder.rglob("*.txt")):
        if file.name.lower() not in OTHER_TEXTS and not file.name.startswith("."):
            yield file


def _ultralytics(config: Path, images: Path | None) -> YoloLayout:
    values = parse_yaml(config)
    if not isinstance(values, dict):
        raise DataError(f"{config}: must hold keys such as names and train, got {type(values).__name__}")
    here = config.parent
    stated = values.get("path")
    said = PurePosixPath(str(stated).replace("\\", "/")) if stated else PurePosixPath(".")
    # A relative path is meant from the tool's own folder of data sets, which is not known here.
    bases = [here / said, here, here / said.name, here.parent / said.name, here.parent]
    parts: dict[str, tuple[YoloItem, ...]] = {}
    missing: dict[str, str] = {}
    files = [config]
    places: dict[Any, str] = {}
    found_at: dict[tuple[Path, ...], str] = {}
    for part, entry in parts_of(values).items():
        entries = [text for text in (entry if isinstance(entry, list) else [entry]) if isinstance(text, str) and text]
        if not entries:
            continue
        if tuple(entries) in places:  # a set without one of its own names the training images for validation
            continue
        places[tuple(entries)] = part
        items: list[YoloItem] = []
        resolved = tuple(place for text in entries if (place := resolve(text, bases)) is not None)
        if len(resolved) == len(entries) and found_at.setdefault(resolved, part) != part:
            missing[part] = f"{', '.join(entries)} leads to the images of {found_at[resolved]}"
            continue
        for text in entries:
            place = resolve(text, bases)
            if place is None and images is not None:
                place = images
            if place is None and labels_place(text, bases) is None:
                missing[part] = f"{text} was not found in {', '.join(map(str, dict.fromkeys(bases[:2])))}"
                continue
            if place is not None and place.is_file():
                files.append(place)
                items += _listed(place, [place.parent, *bases], images)
            else:
                items += _in_folder(place, labels_place(text, bases), images)
        if items or part not in missing:
            parts[part] = tuple(_apart(items, bases))
    if not any(parts.values()):
        parts = _labelled(here, images) or parts
    names, keypoints, stated_count = (
        _names(values, config),
        values.get("kpt_shape") is not None,
        whole(values.get("nc")),
    )
    return YoloLayout(here, names, parts, tuple(files), keypoints, missing, min(stated_count, MOST_CLASSES))


def _names(values: Mapping[str, Any], config: Path) -> dict[int, str] | None:
    names = values.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if isinstance(names, dict) and names:
        found: dict[int, str] = {}
        for key, name in names.items():
            index = number(key)
            if not (index >= 0 and index.is_integer()) or isinstance(name, list | dict) or name is None:
                raise DataError(f"{config}: names: must be a list, or a name for each number; got {key!r}: {name!r}")
            found[int(index)] = str(name)
        return found
    return None


def _darknet(config: Path, images: Path | None) -> YoloLayout:
    values: dict[str, str] = {}
    for line in read_lines(config):
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values[key.strip().lower()] = value.strip()
    bases = [config.parent]
    names = resolve(values.get("names", ""), bases)
    if names is None or not names.is_file():
        names = next((file for name in NAME_FILES if (file := config.parent / name).is_file()), None)
    files = [config, *([names] if names else [])]
    parts: dict[str, tuple[YoloItem, ...]] = {}
    missing: dict[str, str] = {}
    for part, text in values.items():
        if part in {"classes", "names", "backup", "eval", "results"}:
            continue
        place = resolve(text, bases)
        if place is None:
            missing[part] = f"{text} was not found in {config.parent}"
        elif place.is_file():
            files.append(place)
            parts[part] = tuple(_listed(place, bases, images))
        else:
            parts[part] = tuple(_in_folder(place, place, images))
    if not parts:  # lists are often made by a script, and left out
        parts = _labelled(config.parent, images)
    if not parts:
        raise DataError(f"{config}: names no list of images that is there; expected a line such as train = train.txt")
    return YoloLayout(
        config.parent, dict(enumerate(listed_names(names))) if names else None, parts, tuple(files), False, missing
    )


def _names_above(folder: Path) -> tuple[Path | None, dict[int, str] | None]:
    """(the file, its names) of the set that a folder of a split, of images or of labels is a part of."""
    for _ in range(3):
        try:
            config = yolo_config(folder)
        except DataError:
            config = None
        if config is not None and config.suffix.lower() in {".yaml", ".yml"}:
            return config, _names(parse_yaml(config), config)
        if config is not None and config.suffix.lower() != ".data":
            return config, dict(enumerate(listed_names(config)))
        if folder.name.lower() not in {"images", "labels"} and not is_split(folder.name):
            break
        folder = folder.parent
    return None, None


def _plain(folder: Path, images: Path | None) -> tuple[YoloItem, ...]:
    """Images and labels in one folder, in `images` and `labels`, or in folders of other names where stems tell."""
    labels = folder / "labels" if (folder / "labels").is_dir() else folder
    where = images or (folder / "images" if (folder / "images").is_dir() else images_beside(folder))
    return tuple(_joined_by_stem(_in_folder(where, labels, images), folder))


def _labelled(folder: Path, images: Path | None) -> dict[str, tuple[YoloItem, ...]]:
    """The parts of a plain folder where any image has labels; else none."""
    items = _plain(folder, images) if folder.is_dir() else ()
    return dict(_by_split(items)) if any(item.labels for item in items) else {}


def _joined_by_stem(items: list[YoloItem], folder: Path) -> Iterator[YoloItem]:
    """The items, labels of which no image was found joined to the one image of their stem that has none."""
    free = {item.image for item in items if item.labels is None}
    far: dict[Path, FarImages] = {}
    joined: dict[Path, Path] = {}
    for item in items:
        if item.image is not None or item.labels is None or not free:
            continue
        above = item.labels.parent
        if above not in far:
            far[above] = FarImages(folder, item.labels.relative_to(folder))
        image = far[above].find([item.labels.stem], IMAGE_SUFFIXES, any_suffix=True)
        if image is not None and image in free:
            free.remove(image)
            joined[image] = item.labels
    taken = set(joined.values())
    for item in items:
        if item.image is not None and item.image in joined:
            yield YoloItem(item.image, item.name, joined[item.image])
        elif item.image is not None or item.labels not in taken:
            yield item


def _by_split(items: tuple[YoloItem, ...]) -> dict[str, tuple[YoloItem, ...]]:
    """The images by the folders of splits that they lie in, where all do and there are several; else as one part."""
    tops = [item.name.split("/")[0] for item in items if "/" in item.name]
    found = dict.fromkeys(tops)
    if len(tops) < len(items) or len(found) < 2 or not all(map(is_split, found)):
        return {"": items}
    return {top: tuple(item for item in items if item.name.startswith(f"{top}/")) for top in found}


def _in_folder(place: Path | None, labels: Path | None, images: Path | None) -> list[YoloItem]:
    """The images of a folder, each with its labels, and labels of which the image is missing."""
    found = _images_in(place) if place is not None and place.is_dir() else []
    items: list[YoloItem] = []
    used: set[Path] = set()
    taken = set(found)
    # With one folder of images for several parts, the labels say which images are a part's.
    lent = place is not None and place == images and labels is not None
    for image in found:
        name = image.relative_to(place) if place is not None else Path(image.name)
        own = first([*([labels / name.with_suffix(".txt")] if labels else []), *labels_beside(image)])
        if lent and own is None:
            continue
        used.update([own] if own else [])
        items.append(YoloItem(image, name.as_posix(), own))
    if labels is not None and labels.is_dir():
        finder = ImageFinder([folder for folder in (images, place) if folder is not None])
        for file in label_files(labels):
            if file in used:
                continue
            key = file.relative_to(labels).with_suffix("")
            # The finder goes by the base name alone too, which may be another folder's image.
            hit = finder.find(key.as_posix(), any_suffix=True) if len(key.parts) == 1 else None
            if hit is not None and hit[0] in taken and not lent:
                hit = None
            if hit is None and (lines := list(filter(None, read_lines(file)))) and not any_numbers(lines):
                continue  # a list of images, or notes
            items.append(YoloItem(hit[0] if hit else None, hit[0].name if hit else key.as_posix(), file))
    return items


def _listed(file: Path, bases: Iterable[Path], images: Path | None) -> list[YoloItem]:
    """The images of a list file."""
    near = [folder for base in bases for folder in (base / "images", base)]
    finder = ImageFinder([images] if images is not None else near)
    items: list[YoloItem] = []
    for line in dict.fromkeys(read_lines(file)):
        text = line.split("#")[0].strip() if line.startswith("#") else line
        if not text:
            continue
        stated = PurePosixPath(text.replace("\\", "/"))
        name = after_images(stated)
        image = resolve(text, bases)
        if image is None or not image.is_file():
            hit = finder.find(name)
            image = hit[0] if hit and (len(PurePosixPath(name).parts) == 1 or hit[0].match(name)) else None
        # Where the image is missing or lies elsewhere, its labels may still be where the list says.
        stated_at = (place for base in bases for way in ways(text, base) for place in labels_beside(way))
        items.append(YoloItem(image, name, first(chain(labels_beside(image) if image else (), stated_at))))
    return items


def _images_in(folder: Path) -> list[Path]:
    """The images below a folder, in order; none in the root of the file system, which no set means by `/`."""
    root = folder.resolve()
    if root.parent == root:
        return []
    return sorted(folder.joinpath(*parts) for parts in names_in(folder, tuple(IMAGE_SUFFIXES), deep=True))


def _apart(items: list[YoloItem], bases: list[Path]) -> Iterator[YoloItem]:
    """The items, those that share a name called by their path below the set."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.name] = counts.get(item.name, 0) + 1
    for item in items:
        if counts[item.name] > 1 and item.image is not None:
            base = next((base for base in bases if item.image.is_relative_to(base)), None)
            name = os.path.relpath(item.image, base) if base else str(item.image)
            yield YoloItem(item.image, Path(name).as_posix(), item.labels)
        else:
            yield item
