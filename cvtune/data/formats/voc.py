"""Pascal VOC XML: devkits (Annotations, ImageSets, JPEGImages), flat folders, exports of CVAT and Roboflow, ImageNet.

Coordinates: VOC counts pixels from 1 and its edges are inclusive; many tools write 0-based edges instead. Which one a
set uses is decided once, over the whole folder, so that its subsets agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.far_images import FarImages
from cvtune.data.formats import ReadSource
from cvtune.data.formats.file_sets import splits_among
from cvtune.data.formats.listing import names_in
from cvtune.data.formats.voc_objects import Judged, Masks, Numbers, find_origin, judge
from cvtune.data.formats.voc_relatives import as_voc
from cvtune.data.formats.voc_xml import (
    ANNOTATIONS,
    MASKS,
    VocFile,
    VocLayout,
    find_layout,
    is_voc,
    read_voc_files,
    subset_ids,
)
from cvtune.data.formats.xml_files import parse_xml
from cvtune.data.image_files import IMAGE_SUFFIXES, ImageFinder
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["detect", "image_names", "read", "subsets", "write"]


@dataclass(frozen=True)
class _Scan:
    """A folder as parsed, whatever the subset.

    `found` is what `_find_images` gives, `skipped` the (label, root tag) of files of another kind, `filled` the keys of
    files without an image size.
    """

    layout: VocLayout
    files: tuple[VocFile, ...]
    found: Mapping[str, tuple[Path | None, str, str]]
    skipped: tuple[tuple[str, str], ...]
    filled: frozenset[str]
    masks: Masks


def detect(path: Path) -> str | None:
    """Evidence that `path` is VOC: XML files whose root is VOC's <annotation>."""
    if path.is_file() and path.suffix.lower() != ".xml":
        return None
    try:
        layout = find_layout(path)
    except DataError as error:
        return str(error) if "several VOC sets" in str(error) else None  # reading says what to do
    if layout.annotations.name == MASKS and path.name != MASKS:
        return f"{len(layout.names)} masks in {layout.annotations}"
    if path.is_dir() and layout.annotations.name not in ANNOTATIONS:
        # A stray XML among another format's files proves nothing.
        others = names_in(path, (".json", ".txt", ".csv"), deep=bool(layout.splits or len(layout.names[0]) > 1))
        if len(others) > len(layout.names):
            return None
    looked = [layout.annotations.joinpath(*parts) for parts in layout.names[:: max(1, len(layout.names) // 8)]]
    told = [is_voc(root) for file in looked if (root := _root(file)) is not None]
    if 2 * sum(told) < len(told) or not (any(told) or (not told and layout.annotations.name in ANNOTATIONS)):
        return None
    return f"{len(layout.names)} .xml files of <annotation> in {layout.annotations}"


def _root(file: Path) -> Element | None:
    """The root of an XML file; None of one that is damaged, which tells nothing here, and is an error when read."""
    try:
        return as_voc(parse_xml(file))
    except DataError:
        return None


def subsets(path: Path) -> tuple[str, ...]:
    """The names of the lists in ImageSets that list images of all classes, or the folders of splits."""
    if not path.is_dir():
        return ()
    layout = find_layout(path)
    return splits_among(layout.splits) if layout.image_sets is None else layout.subsets()


def read(source: ReadSource, receipt: Receipt) -> Dataset:
    """Read a VOC set or a subset of it.

    Image ids are 1, 2, ... over the sorted files of the whole folder and category ids 1, 2, ... over the sorted names
    of the whole folder, so subsets never collide. `name`, `pose`, `truncated`, `difficult`, `occluded` and
    `attributes` are in `Annotation.extra`. `where` on the receipt counts objects from 1.

    Raises:
        DataError: no XML, malformed XML, an unknown subset, or no image has a size.
    """
    scan = _scanned(source)
    every, found, layout = scan.files, scan.found, scan.layout
    for label, tag in scan.skipped:
        receipt.note("file-skipped", label, f"its root <{tag}> is not a VOC annotation")
    chosen = _choose(every, layout, source.subset)
    if chosen and not any(file.width for file in chosen):
        first = chosen[0]
        raise DataError(
            f"{first.path}: has no image size, and its image {first.file_name or first.key} was not found; "
            "give the folder of the images with `images`"
        )
    origin = find_origin(every, source.origin)
    if any(file.objects for file in every):
        receipt.note(origin.code, str(source.path), f"{origin.value}-based: {origin.evidence}")
    names = sorted(
        {o.name for file in every for o in file.objects if o.name}
        | {mask.name for masks in scan.masks.of_key.values() for mask in masks if mask.name}
    )
    category_ids = {name: i for i, name in enumerate(names, start=1)}
    number = {file.key: i for i, file in enumerate(every, start=1)}
    before: dict[str, int] = {}  # objects in earlier files, so that annotation ids do not depend on the subset
    total = 0
    for file in every:
        before[file.key] = total
        total += len(file.objects) + len(scan.masks.of_key.get(file.key, ()))

    images: list[Image] = []
    annotations: list[Annotation] = []
    matched: list[Judged] = []
    for file in chosen:
        path, name, remark = found[file.key]
        if file.encoding:
            receipt.repair("text-encoding", file.label, f"it is not what it says; read as {file.encoding}")
        if remark:
            receipt.note("file-name-differs", file.label, remark)
        if file.key in scan.filled and file.width:
            receipt.repair("image-size-filled", file.label, f"{file.width}x{file.height} from {name}")
        if not file.width:
            lost = Counter([o.name or None for o in file.objects])
            receipt.drop_image("image-size-missing", file.label, f"no size, and {name} was not found", lost)
            continue
        image = Image(number[file.key], name, file.width, file.height, path, file.extra)
        if path is None:
            receipt.note("image-missing", file.label, f"{name} was not found")
        images.append(image)
        of_image = judge(
            file,
            origin.value,
            scan.masks.of_key.get(file.key, ()),
            Numbers(before[file.key], number[file.key], category_ids),
            receipt,
        )
        matched.append(of_image)
        annotations += of_image.annotations
    receipt.count_in(0, Counter([o.name or None for file in chosen for o in file.objects]))
    receipt.count_in(0, Counter([name for of_image in matched for name in of_image.more_classes]))
    _report_masks(matched, scan.masks, layout, receipt)
    _report(chosen, found, layout, receipt)
    if source.subset is not None and layout.image_sets is not None:
        receipt.files.append(layout.image_sets / f"{source.subset}.txt")
    receipt.files += [file.path for file in chosen]
    receipt.hashes.update({file.path: (file.sha256, file.length) for file in chosen})
    stems = {PurePosixPath(file.key).name for file in chosen}
    receipt.files += [path for path in scan.masks.files if path.stem in stems]
    receipt.count_in(len(chosen))
    categories = tuple(Category(i, name) for name, i in category_ids.items())
    return Dataset(tuple(images), tuple(annotations), categories)


def image_names(source: ReadSource) -> dict[int, str]:
    """Image id -> file name of all images of a folder, whatever its subsets."""
    scan = _scanned(source)
    return {number: scan.found[file.key][1] for number, file in enumerate(scan.files, start=1)}


def _scanned(source: ReadSource) -> _Scan:
    key = ("voc", source.path, source.images)
    if key not in source.shared:
        source.shared[key] = _scan(source.path, source.images)
    scan: _Scan = source.shared[key]
    return scan


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write VOC XML; see `cvtune.data.formats.voc_write.write`."""
    from cvtune.data.formats import voc_write

    return voc_write.write(dataset, path, receipt)


def _scan(path: Path, images: Path | None) -> _Scan:
    layout = find_layout(path)
    read = list(zip(layout.files, read_voc_files(layout), strict=True))
    files = [file for _, file in read if isinstance(file, VocFile)]
    if not files:
        raise DataError(f"{path}: none of its {len(read)} .xml files is a VOC annotation")
    found = _find_images(files, layout, images)
    sized = tuple(_with_size(file, found[file.key][0]) for file in files)
    return _Scan(
        layout,
        sized,
        found,
        tuple((str(file.relative_to(layout.root)), tag) for file, tag in read if isinstance(tag, str)),
        frozenset(file.key for file in files if not (file.width and file.height)),
        _masks(layout, sized),
    )


def _masks(layout: VocLayout, files: Sequence[VocFile]) -> Masks:
    if not (layout.root / "SegmentationObject").is_dir():
        return Masks({})
    from cvtune.data.formats.voc_masks import find_masks

    return find_masks(layout, files)


def _finder(layout: VocLayout, images: Path | None, folder: tuple[str, ...]) -> ImageFinder:
    """Where to look for the images of XML files; of a set in splits, of those in `folder` below the root."""
    top = folder[layout.depth : layout.depth + 1]
    if images is not None:
        if not images.is_dir():
            raise DataError(f"{images}: no such folder of images; correct `images`")
        own = [images.joinpath(*top, name) for name in ("images", ".") if top]
        return ImageFinder([*own, images, images / "JPEGImages", images / "Data"])
    root = layout.root
    beside = [root / "JPEGImages", root / "images", root, layout.annotations, root / "Data"]
    if top:
        here = root.joinpath(*folder)
        own = [base / name for base in (here, here.parent) for name in (".", "images", "JPEGImages", "imgs")]
        own += _of_labels(here)
        beside = [*own, root.joinpath("images", *top), root.joinpath("JPEGImages", *top), *beside]
    return ImageFinder([*beside, root.parent / "JPEGImages", root.parent / "images", *_of_labels(root)])


def _of_labels(folder: Path) -> list[Path]:
    """The folders of images of a folder of labels by its name: trainimg beside trainlabel."""
    before, label, behind = folder.name.lower().partition("label")
    return [folder.with_name(f"{before}{word}{behind}") for word in ("img", "image") if label]


def _find_images(
    files: Sequence[VocFile], layout: VocLayout, images: Path | None
) -> dict[str, tuple[Path | None, str, str]]:
    """Key -> (image file, its name below its folder or as the XML says, a remark where the XML names another).

    The images of a set in splits are called by their path below the root, which tells those of one name apart.
    """
    finders: dict[tuple[str, ...], ImageFinder] = {}
    fars: dict[tuple[str, ...], FarImages] = {}
    stems = {file.key.rpartition("/")[2] for file in files}
    called = Counter(file.file_name for file in files)
    found: dict[str, tuple[Path | None, str, str]] = {}
    # Folders that hold files of one name keep apart what they hold, whether they are splits or not.
    apart = layout.splits or (layout.annotations == layout.root and len(stems) < len(files))
    for file in files:
        above = tuple(file.key.split("/")[:-1]) if apart else ()
        if above not in finders:
            finders[above] = _finder(layout, images, above)
        finder = finders[above]
        usual = finder.find(file.file_name) if file.file_name.rpartition(".")[0] == file.key else None
        if usual is not None and usual[0].name == file.file_name:  # it lies right in one of the folders
            found[file.key] = (usual[0], file.file_name, "")
            continue
        stem, folder = PurePosixPath(file.key).name, PurePosixPath(file.key).parent
        named = finder.find(file.file_name, any_suffix=True) if file.file_name else None
        if folder != PurePosixPath(".") and file.file_name and "/" not in file.file_name:
            named = _other(finder.find(str(folder / file.file_name)), file) or named
        match = named
        if named is None or named[0].stem != stem:
            own = _beside(finder, file.key) or _other(finder.find(file.key, any_suffix=True), file)
            # Files that were renamed after labelling still carry the old name, which may be another file's by now.
            if own is not None and (named is None or named[0].stem in stems):
                match = own
        if match is None:
            match = _far(fars.setdefault(above, FarImages(images or layout.root, Path(*above))), file)
        if match is None:
            # Of images that are called alike, as all frames of a video may be, each has the name of its XML file.
            alone = file.file_name and called[file.file_name] == 1
            found[file.key] = (None, file.file_name if alone else file.key, "")
            continue
        within = layout.root if above and match[0].is_relative_to(layout.root) else match[1]
        name = match[0].relative_to(within).as_posix()
        says = PurePosixPath(file.file_name.replace("\\", "/"))
        other = bool(file.file_name) and match[0].stem.lower() not in {says.stem.lower(), says.name.lower()}
        found[file.key] = (match[0], name, f"names {file.file_name}, {name} was taken" if other else "")
    return found


def _other(match: tuple[Path, Path] | None, file: VocFile) -> tuple[Path, Path] | None:
    """What was found, if it is not the XML file, which may be called as its image is, without a suffix."""
    return match if match is not None and match[0] != file.path else None


def _far(images: FarImages, file: VocFile) -> tuple[Path, Path] | None:
    """The image that no usual folder holds: by its name, or by that of the XML file."""
    stated = PurePosixPath(file.file_name.replace("\\", "/")).name
    names = ((stated,) if stated else (), tuple(file.key.split("/")))
    tried = (images.find(parts, IMAGE_SUFFIXES, any_suffix=True) for parts in names if parts)
    path = next(filter(None, tried), None)
    return None if path is None else (path, images.root)


def _beside(finder: ImageFinder, key: str) -> tuple[Path, Path] | None:
    """The image in the same subfolders as the XML, as ImageNet has them (Annotations/DET/..., Data/DET/...)."""
    if "/" not in key:
        return None
    for suffix in (".JPEG", ".jpg", ".png"):
        for folder in finder.folders:
            if (path := folder / (key + suffix)).is_file():
                return path, folder
    return None


def _with_size(file: VocFile, path: Path | None) -> VocFile:
    """The file with its image's size, from the image's header where the XML has none; 0 where there is no image."""
    if file.width and file.height:
        return file
    if path is None:
        return replace(file, width=0, height=0)
    # Tools that leave the size out draw on the image as it is displayed.
    from cvtune.data.images import image_header

    width, height = image_header(path).turned_size_wh
    return replace(file, width=width, height=height)


def _choose(every: Sequence[VocFile], layout: VocLayout, subset: str | None) -> Sequence[VocFile]:
    if subset is None:
        return every
    by_key = {PurePosixPath(file.key).name: file for file in every} | {file.key: file for file in every}
    ids = subset_ids(layout, subset)
    chosen = [next((by_key[key] for key in _keys(i) if key in by_key), None) for i in ids]
    missing = [i for i, file in zip(ids, chosen, strict=True) if file is None]
    if missing:
        raise DataError(
            f"{layout.root}: {len(missing)} of the {len(ids)} images of subset {subset!r} have no .xml file in "
            f"{layout.annotations}, the first: {missing[0]}; remove them from the list or add the files"
        )
    return list({file.key: file for file in chosen if file is not None}.values())


def _report(
    files: Sequence[VocFile], found: Mapping[str, tuple[Path | None, str, str]], layout: VocLayout, receipt: Receipt
) -> None:
    """Note what is kept as something else, or not read."""
    difficult = sum([o.extra.get("difficult") == 1 for file in files for o in file.objects])
    if difficult:
        receipt.note("difficult-kept", str(layout.annotations), f"{difficult:,} objects")
    odd = [o for file in files for o in file.objects if o.parts or o.unknown]
    parts = sum(o.parts for o in odd)
    if parts:
        receipt.note("parts-lost", str(layout.annotations), f"{parts:,} <part>")
    unknown = Counter(tag for o in odd for tag in o.unknown)
    for tag, n in unknown.items():
        code = "mask-not-read" if tag in {"polygon", "mask", "segmentation", "segm", "pixels"} else "attributes-lost"
        receipt.note(code, str(layout.annotations), f"<{tag}> of {n:,} objects")
    owners: dict[Path, str] = {}
    for file in files:
        path = found[file.key][0]
        if path is not None and owners.setdefault(path, file.label) != file.label:
            receipt.note("image-doubled", file.label, f"names the image of {owners[path]}: {path.name}")


def _report_masks(matched: Sequence[Judged], masks: Masks, layout: VocLayout, receipt: Receipt) -> None:
    """Say what became of mask images: how many objects they fit, and how well."""
    for code, where, detail in masks.faults:
        receipt.note(code, where, detail)
    overlaps = [overlap for judged in matched for overlap in judged.overlaps]
    bare = sum(judged.without_mask for judged in matched)
    if overlaps or bare:
        by_place = sum(judged.by_place for judged in matched)
        worst = f", the lowest IoU of boxes {min(overlaps):.2f}" if overlaps else ""
        detail = f"{len(overlaps):,} objects, {by_place:,} of them by their place in the XML{worst}; {bare:,} have none"
        receipt.note("mask-matched", str(layout.root / "SegmentationObject"), detail)


def _keys(listed: str) -> tuple[str, ...]:
    """What a line of a list may mean, the nearest first: lists hold ids, file names or paths of images."""
    path = PurePosixPath(listed.replace("\\", "/"))
    return listed, str(path.parent / path.stem), path.name, path.stem
