"""COCO JSON as a format: finding the file and its images. Roboflow's and CVAT's exports are COCO in other folders."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

from cvtune.data.coco import Dataset, load_coco, save_coco
from cvtune.data.coco_file import is_lvis, open_coco
from cvtune.data.formats import ReadSource
from cvtune.data.formats.file_sets import part_names
from cvtune.data.formats.listing import folders_in
from cvtune.data.image_files import ImageFinder, image_folders
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, nearest

__all__ = ["detect", "read", "subsets", "write"]

# Of a folder of many small JSON files (another format's) not all are opened.
LOOK_AT = 20
# What Roboflow calls the file of each split.
EXPORTED = "_annotations.coco.json"
# COCO's own files beside its instances.
INSTANCES = "instances_"
OTHERS = ("captions_", "panoptic_", "person_keypoints_", "stuff_")


def detect(path: Path) -> str | None:
    """Evidence that `path` is a COCO file or a folder of them: the keys images, annotations and categories."""
    files = _coco_files(path)
    if not files:
        return None
    names = ", ".join(str(file.name if path.is_file() else file.relative_to(path)) for file in files[:3])
    return f"{names}{' ...' if len(files) > 3 else ''} with images, annotations and categories"


def subsets(path: Path) -> tuple[str, ...]:
    """The COCO files of a folder, by name: those in folders of splits (train, valid) by these, others by their stem."""
    files = _files_by_label(path) if path.is_dir() else {}
    return tuple(files) if len(files) > 1 else ()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a COCO file, or the one of a folder that `subset` names.

    Images are searched by `file_name`, then by its base name, in `images` or, without it, beside the file, in `images`
    beside it or one level up, and in folders named after the split. One that is not found has path None.

    Raises:
        DataError: no COCO file, several without a `subset`, or a wrong one.
    """
    file = _choose(source.path, source.subset)
    lost, images_lost = receipt.classes_dropped, receipt.images_dropped
    root = source.path if source.path.is_dir() else None
    dataset = load_coco(file, source.images, receipt, root)
    names = {category.id: category.name for category in dataset.categories}
    came: Counter[str | None] = Counter(names[a.category_id] for a in dataset.annotations)
    came.update(receipt.classes_dropped - lost)
    receipt.count_in(len(dataset.images) + receipt.images_dropped - images_lost, came)
    receipt.files.append(file)
    for other in sorted(file.parent.glob("*.json")) if _is_instances(file) and source.path.is_dir() else ():
        if other.name.startswith(OTHERS) and other.name.split("_")[-1] == file.name.split("_")[-1]:
            receipt.note("file-skipped", other.name, f"beside {file.name}: not of objects, or of the same ones")
    dataset = _without_placeholder(dataset, file, receipt)
    missing = [image.file_name for image in dataset.images if image.path is None]
    if missing:
        folders = ImageFinder(image_folders(file, source.images)).describe()
        detail = f"{len(missing):,} of {len(dataset.images):,}, the first: {missing[0]}; looked in {folders}"
        receipt.note("image-missing", str(file), detail)
    return dataset


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write COCO JSON to `path`, or to ``annotations.json`` in it where it does not end in .json.

    Raises:
        RunError: the file cannot be written.
    """
    file = path if path.suffix.lower() == ".json" else path / "annotations.json"
    save_coco(dataset, file)
    return (file,)


def _without_placeholder(dataset: Dataset, file: Path, receipt: Receipt) -> Dataset:
    """The set without Roboflow's category 0, which is named after the whole project and stands above all others.

    It goes only where no file of the set has an object of it, so that all splits keep the same classes.
    """
    top = next((c for c in dataset.categories if c.id == 0 and c.supercategory == "none"), None)
    rest = tuple(category for category in dataset.categories if category is not top)
    if top is None or not rest or any(category.supercategory != top.name for category in rest):
        return dataset
    used = sum(annotation.category_id == 0 for annotation in dataset.annotations)
    if not used:
        splits = [other for other in file.parent.parent.glob(f"*/{file.name}") if other != file]
        used = sum(map(_objects_of_placeholder, splits)) if file.name == EXPORTED else 0
    kept = f"kept, since {used:,} objects have it" if used else "left out, no object has it"
    receipt.note("class-placeholder", file.name, f"category 0, {top.name!r}: {kept}")
    return dataset if used else replace(dataset, categories=rest)


def _objects_of_placeholder(file: Path) -> int:
    try:
        records = chain.from_iterable(open_coco(file).chunks("annotations"))
        return sum(record.get("category_id") == 0 for record in records)
    except DataError:
        return 0


def _coco_files(path: Path, deepest: int = 2) -> list[Path]:
    """The files of objects: in the folder and its `annotations`, Roboflow's, or else in folders of splits.

    Where there are none, those of the only folder in it.
    """
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _is_coco(path) else []
    beside = sorted(path.glob("*.json"))[:LOOK_AT]
    below = sorted(path.glob("annotations/*.json"))[:LOOK_AT]
    exported = sorted(path.glob(f"*/{EXPORTED}"))
    found = [file for file in dict.fromkeys([*beside, *below, *exported]) if _holds_objects(file)]
    for pattern in ("*/*.json", "*/annotations/*.json"):
        found = found or [file for file in sorted(path.glob(pattern))[:LOOK_AT] if _holds_objects(file)]
    only = folders_in(path)
    if not found and len(only) == 1 and deepest:  # the folder of an archive, say
        return _coco_files(path / only[0], deepest - 1)
    # COCO's own files of keypoints repeat a part of the instances, and stuff is no objects.
    instances = {file for file in found if _is_instances(file)}
    return [file for file in found if file in instances or _instances_of(file) not in instances]


def _is_instances(file: Path) -> bool:
    return file.name.startswith(INSTANCES)


def _instances_of(file: Path) -> Path:
    """The file of instances beside which another kind of COCO's own files stands."""
    kind = next((kind for kind in OTHERS if file.name.startswith(kind)), "")
    return file.with_name(INSTANCES + file.name.removeprefix(kind)) if kind else file


def _is_coco(file: Path) -> bool:
    try:
        return not is_lvis(open_coco(file))
    except DataError:
        return False


def _holds_objects(file: Path) -> bool:
    """Whether it is COCO, and neither captions nor a panoptic segmentation."""
    try:
        opened = open_coco(file)
        first = next(chain.from_iterable(opened.chunks("annotations")), {"category_id": 0})
        return "category_id" in first and not is_lvis(opened)
    except DataError:
        return False


def _files_by_label(path: Path) -> dict[str, Path]:
    """The COCO files of a folder by what they are called: their stem, or of several folders that of their split."""
    files = _coco_files(path)
    return dict(zip(part_names([file.relative_to(path).parts for file in files]), files, strict=True))


def _choose(path: Path, subset: str | None) -> Path:
    if path.is_file():
        if subset is not None:
            raise DataError(f"{path}: a COCO file has no subsets; got {subset!r}; give the folder, or leave it out")
        return path
    files = _files_by_label(path)
    if not files:
        raise DataError(f"{path}: no COCO file in this folder, in `annotations` below it, or in folders of splits")
    if subset is None:
        if len(files) > 1:
            raise DataError(
                f"{path}: holds several COCO files; name one with `subset`, or give the file; "
                f"allowed: {', '.join(files)}"
            )
        return next(iter(files.values()))
    # instances_train2017 answers to train2017 and to train
    matches = [
        file
        for label, file in files.items()
        if subset in {label, (last := label.split("_")[-1]), last.rstrip("0123456789")}
    ]
    if subset in files:
        return files[subset]
    if len(matches) != 1:
        raise DataError(f"{path}: no subset {subset!r}; allowed: {', '.join(files)}{nearest(subset, files)}")
    return matches[0]
