"""Where the images and masks of a set lie. Of these layouts a set has one, and folders of splits may be above any:

- ``<id>/images/<image>`` and ``<id>/masks/*.png``, one file an object;
- ``<id>/<image>`` and ``<id>/*mask*.png``, or ``<stem>.jpg`` and ``<stem>/*.png``, one file an object;
- ``images/<image>`` and ``masks/<image or its stem>/*.png``, one file an object; this one is written;
- ``images/<image>`` and ``masks/<stem>.png``, one file an image: each value but 0 is an object;
- ``images/<image>`` and ``masks/<class>/<stem>.png``, one file an image and class;
- ``<stem>.jpg`` and ``<stem>_mask.png`` in one folder, one file an image.

Where a file is an object, folders among the masks (``masks/<class>/*.png``) are classes; else all objects are of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from cvtune.data.formats.listing import names_in
from cvtune.data.formats.mask_images import mask_files
from cvtune.data.formats.masks_write import ONE_CLASS
from cvtune.data.image_files import IMAGE_SUFFIXES, ImageFinder
from cvtune.data.split_names import split_words

__all__ = ["MaskItem", "find_items", "find_parts", "lies_in"]

# Names of folders, in lower case; the first found counts.
IMAGES = ("images", "imgs", "image", "img", "jpegimages", "pngimages", "img_dir", "photos")
MASKS = (
    "masks", "mask", "pedmasks", "labels", "label", "annotations", "ann_dir", "gt", "groundtruth", "ground_truth",
    "segmentations", "segmentation", "instance_masks",
)  # fmt: skip
# train and train_masks
BEHIND = ("_masks", "_mask", "_labels", "_label", "_annotations", "annot", "_gt")
# train_images and train_masks, ISIC2018_Task1-2_Training_Input and ISIC2018_Task1_Training_GroundTruth
IMAGES_END = re.compile(r"[_ -](images?|imgs?|input)$", re.IGNORECASE)
MASKS_END = re.compile(r"[_ -](masks?|labels?|annotations?|segmentations?|gt|ground_?truth)$", re.IGNORECASE)
ENDINGS = ("", "_mask", "_masks", "_instances", "_instance", "_seg", "_segmentation", "_label", "_labels", "_gt")
# How a file says that it is the mask of the image beside it, or one of several.
MASK_ENDING = re.compile(r"[_-](mask|masks|seg|segmentation|instances?|labels?)$", re.IGNORECASE)
NUMBERED_ENDING = re.compile(r"[_-](mask|seg|segmentation|instance|label)[_-]?\d+$", re.IGNORECASE)
# How a file says that it is the image: plant001_rgb.png beside plant001_label.png.
IMAGE_ENDING = re.compile(r"[_-](rgb|image|img|raw|orig|original)$", re.IGNORECASE)


@dataclass(frozen=True)
class MaskItem:
    """One image with its mask files: of one object each with its class, or (`together`) each of several objects."""

    name: str
    image: Path | None
    masks: tuple[tuple[Path, str], ...]
    together: bool = False


def find_items(path: Path, images: Path | None) -> Iterator[MaskItem]:
    """The images of a set with their masks, in order, whichever layout it has.

    Args:
        path: the folder of the set.
        images: where the images are, if not where the layout has them.
    """
    if pairs := _pairs(path):
        for split, (own, mask_folder) in pairs.items():
            folders = [images / split, images] if images is not None else [own]
            yield from (replace(item, name=f"{split}/{item.name}") for item in _beside(folders, mask_folder))
        return
    pair = _pair(path)
    if pair is not None and not (pair[0] is not None and _is_home(path)):
        own_folders = [pair[0], path] if pair[0] is not None else [path]
        yield from _beside([images] if images is not None else own_folders, pair[1])
        return
    homes = _homes(path)
    for home in homes:
        found = mask_files(home / "images")
        found_masks = tuple(_classed(home / "masks"))
        if found or found_masks:
            name = found[0] if found else home / "images" / f"{home.name}.png"
            yield MaskItem(name.relative_to(path).as_posix(), found[0] if found else None, found_masks)
    if homes:
        return
    inner = _folders(path)
    for folders in ([path, *inner], [deeper for folder in inner for deeper in _folders(folder)]):
        items = [item for folder in folders for item in _in_one_folder(folder)]
        for item in items:
            image = item.image
            yield replace(item, name=image.relative_to(path).as_posix()) if image is not None else item
        if items:
            return


def find_parts(path: Path) -> dict[str, tuple[Path, ...]]:
    """Split -> the folders that its images or masks lie in; none where there is one split, or no folder of one."""
    if not path.is_dir():
        return {}
    parts: dict[str, tuple[Path, ...]] = dict(_pairs(path))
    if not parts and _pair(path) is None and not any(map(_is_home, _folders(path))):
        inner = [f for f in _folders(path) if any(map(_is_home, _folders(f))) or any(_in_one_folder(f))]
        single = not any(map(_own_image, inner))  # folders of one image each are no splits
        # Folders of other names are those of classes, of patients: a set in hundreds of parts is none.
        split = all(split_words(folder.name) for folder in inner)
        parts = {folder.name: (folder,) for folder in inner} if single and split else {}
    return parts if len(parts) > 1 else {}


def lies_in(item: MaskItem, folder: Path) -> bool:
    """Whether an image, or its first mask where there is no image, is below a folder."""
    places = [item.image] if item.image is not None else [mask for mask, _ in item.masks[:1]]
    return any(place is not None and folder in place.parents for place in places)


def _pair(folder: Path) -> tuple[Path | None, Path] | None:
    """A folder's own folders of images and of masks. Beside `masks` the images may lie in the folder itself."""
    inner = {f.name.lower(): f for f in _folders(folder)}
    images = next((inner[name] for name in IMAGES if name in inner), None)
    if "masks" in inner:
        return images, inner["masks"]
    masks = next((inner[name] for name in MASKS if name in inner and mask_files(inner[name])), None)
    return None if masks is None or images is None else (images, masks)


def _pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Split -> its folders of images and masks.

    ``train/images`` and ``train/masks``, or ``images/train`` and ``masks/train``, or ``train`` and ``train_masks``, or
    ``train_images`` and ``train_masks``.
    """
    inner = _folders(path)
    own = {f.name: pair for f in inner if not _is_home(f) and (pair := _pair(f)) is not None and pair[0] is not None}
    found = {split: (i, m) for split, (i, m) in own.items() if i is not None and _is_filled(i) and _is_filled(m)}
    if found:
        return found
    names = {f.name.lower(): f for f in inner}
    images = next((names[name] for name in IMAGES if name in names), None)
    for masks in (names[name] for name in MASKS if name in names and images is not None):
        below = {f.name: (images / f.name, f) for f in _folders(masks)} if images is not None else {}
        both = {split: pair for split, pair in below.items() if all(map(mask_files, pair))}
        if both and len(both) == len(below):
            return both
    beside = {f.name: (f, names[n]) for f in inner for e in BEHIND if (n := f.name.lower() + e) in names}
    image_folders, mask_folders = (_by_split(inner, ending) for ending in (IMAGES_END, MASKS_END))
    beside |= {split: (folder, mask_folders[split]) for split, folder in image_folders.items() if split in mask_folders}
    return {split: pair for split, pair in beside.items() if all(map(mask_files, pair))}


def _by_split(folders: Iterable[Path], ending: re.Pattern[str]) -> dict[str, Path]:
    """The split that a folder's name tells, or else its name before `ending`, -> the folder."""
    named = [folder for folder in folders if ending.search(folder.name)]
    return {"-".join(sorted(split_words(f.name))) or ending.sub("", f.name).lower(): f for f in named}


def _is_filled(folder: Path) -> bool:
    """Whether images are in a folder or below it."""
    return bool(names_in(folder, IMAGE_SUFFIXES, deep=True))


def _homes(path: Path) -> list[Path]:
    """The folders of one image each, with `masks` in them."""
    if _is_home(path):
        return [path]
    own = [folder for folder in _folders(path) if _is_home(folder)]
    return own or [f for split in _folders(path) for f in _folders(split) if _is_home(f)]


def _is_home(folder: Path) -> bool:
    """Whether it is the folder of one image: `masks`, and `images` (where it is there) with one image and not more."""
    if not (folder / "masks").is_dir():
        return False
    images = mask_files(folder / "images")
    if len(images) != 1:
        return not (folder / "images").is_dir() and bool(mask_files(folder / "masks")) and folder.parent.name != ""
    stem = images[0].stem
    named_like_it = [f for f in (folder / "masks").iterdir() if _stem_of(f) == stem or f.name == images[0].name]
    return not named_like_it


def _in_one_folder(folder: Path) -> Iterator[MaskItem]:
    """The images right in a folder that have their masks beside them, in a folder of their name, or around them."""
    files = mask_files(folder)
    if (image := _own_image(folder)) is not None:
        yield MaskItem(image.name, image, tuple((file, ONE_CLASS) for file in files if file != image))
        return
    stems, masks = _told_apart(files)
    found: dict[Path, MaskItem] = {}
    for file, stem in masks.items():
        if (image := stems.get(stem)) is not None:
            before = found[image].masks if image in found else ()
            found[image] = MaskItem(image.name, image, (*before, (file, ONE_CLASS)), together=True)
    if not masks:
        for inner in _folders(folder):
            if inner.name.lower() in stems and (of_image := tuple(_classed(inner))):
                image = stems[inner.name.lower()]
                found[image] = MaskItem(image.name, image, of_image)
    # Where images say what they are, what does not say it is something else.
    said = any(IMAGE_ENDING.search(image.stem) for image in found)
    for file in dict.fromkeys(stems.values()) if found else ():
        if not said or IMAGE_ENDING.search(file.stem):
            yield found.get(file) or MaskItem(file.name, file, ())


def _told_apart(files: Sequence[Path]) -> tuple[dict[str, Path], dict[Path, str]]:
    """Stem -> image, as a mask of it says it, and mask -> that stem, of files in one folder; in lower case."""
    stems = {file.stem.lower(): file for file in files if not MASK_ENDING.search(file.stem)}
    masks = {file: MASK_ENDING.sub("", file.stem).lower() for file in files if MASK_ENDING.search(file.stem)}
    for file in files:
        stem = NUMBERED_ENDING.sub("", file.stem).lower()
        if stem in stems and stem != file.stem.lower():
            masks[file] = stem
            del stems[file.stem.lower()]
    for stem, file in list(stems.items()):
        stems.setdefault(IMAGE_ENDING.sub("", stem), file)
    return stems, masks


def _own_image(folder: Path) -> Path | None:
    """The image of a folder that holds one image, and around it nothing but its masks, which say so."""
    files = mask_files(folder)
    images = [file for file in files if "mask" not in file.stem.lower()]
    if len(images) != 1 or len(files) < 2:
        return None
    # An image and x_mask.png are a set of one image of another layout.
    others = {MASK_ENDING.sub("", file.stem) for file in files if file not in images}
    return None if images[0].stem in others else images[0]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))
    except OSError:
        return []


def _classed(folder: Path) -> Iterator[tuple[Path, str]]:
    """(mask file, class) below a folder of one image's masks."""
    for file in mask_files(folder):
        yield file, ONE_CLASS
    for inner in _folders(folder):
        for file in mask_files(inner):
            yield file, unquote(inner.name)


def _beside(images: Sequence[Path], masks: Path) -> Iterator[MaskItem]:
    """The items of a folder of masks, with the images that lie in one of some folders."""
    finder = ImageFinder(images)
    folders, files = _folders(masks), mask_files(masks)
    seen: set[Path] = set()
    classes = [folder for folder in folders if _is_class(folder, finder)]
    if classes and len(classes) == len(folders):
        yield from _by_class(classes, finder, seen)
        folders = []
    for folder in folders:
        found = finder.find(unquote(folder.name), any_suffix=True)
        name = unquote(folder.name) if found is None else found[0].relative_to(found[1]).as_posix()
        seen.add(found[0] if found else folder)
        yield MaskItem(name, found[0] if found else None, tuple(_classed(folder)))
    for file in files:
        found = _image_of(file, finder)
        seen.add(found[0] if found else file)
        name = file.name if found is None else found[0].relative_to(found[1]).as_posix()
        yield MaskItem(name, found[0] if found else None, ((file, ONE_CLASS),), together=True)
    for folder in finder.folders[:1]:
        for image in mask_files(folder):
            if image not in seen:
                yield MaskItem(image.name, image, ())


def _is_class(folder: Path, finder: ImageFinder) -> bool:
    """Whether a folder of masks is one class: no image has its name, and its files have images' names."""
    if finder.find(unquote(folder.name), any_suffix=True) is not None:
        return False
    files = mask_files(folder)
    return bool(files) and 2 * sum(_image_of(file, finder) is not None for file in files) > len(files)


def _by_class(folders: Iterable[Path], finder: ImageFinder, seen: set[Path]) -> Iterator[MaskItem]:
    """The images of masks in folders of classes, each with all of its masks; they are added to `seen`."""
    found: dict[Path, MaskItem] = {}
    for folder in folders:
        for file in mask_files(folder):
            hit = _image_of(file, finder)
            key, name = (hit[0], hit[0].relative_to(hit[1]).as_posix()) if hit else (file, file.name)
            item = found.get(key) or MaskItem(name, hit[0] if hit else None, (), together=True)
            found[key] = replace(item, masks=(*item.masks, (file, unquote(folder.name))))
    seen.update(found)
    yield from (found[key] for key in sorted(found))


def _image_of(file: Path, finder: ImageFinder) -> tuple[Path, Path] | None:
    """(the image of a mask, the folder it was found in)."""
    hits = (finder.find(stem, any_suffix=True) for stem in dict.fromkeys((file.stem, _stem_of(file))))
    return next((hit for hit in hits if hit is not None and hit[0] != file), None)


def _stem_of(file: Path) -> str:
    return re.sub(f"({'|'.join(ENDINGS[1:])})$", "", file.stem if file.is_file() else file.name)
