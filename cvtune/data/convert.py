"""Converting annotations from one format to another, with a receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cvtune.data.formats import ReadSource, load_format
from cvtune.data.merge import with_joint_categories
from cvtune.data.parts import Part, Parts, read_parts, without_collection
from cvtune.data.receipt import Receipt
from cvtune.data.record import keep_sources, refuse_beside, refuse_losses, write_record
from cvtune.data.within import within_images
from cvtune.meter import stage
from cvtune.staging import staged

__all__ = ["convert"]

# Formats that hold any box, and a list of classes for each file.
AS_THEY_ARE = frozenset({"coco", "lvis"})


@without_collection()
def convert(
    src: Path,
    dst: Path,
    from_format: str = "auto",
    to_format: str = "coco",
    images: Path | None = None,
    subset: str | None = None,
    origin: Literal["auto", 0, 1] = "auto",
    dry_run: bool = False,
    strict: bool = False,
    place: Literal["copy", "link"] | None = None,
) -> Receipt:
    """Convert annotations; images are neither read (but for missing sizes) nor copied, unless asked.

    Writes ``dst/annotations.json``, or for a source with several subsets and none asked for one file each, such as
    ``train.json``, ``val.json``, ``test.json`` (subsets that others already cover, as VOC's trainval, are left out);
    formats of many files go to `dst` or to ``dst/<subset>``. ``dst/receipt.json`` is the receipt plus the formats and
    the sha256 of every file read and written. Everything appears at once at the end, or, on any error, nothing.

    Args:
        src: a file or folder of annotations.
        dst: the folder to write to; made where missing.
        from_format: a format's name, or "auto" to tell it by content.
        to_format: a format's name.
        images: where the images are; else they are searched around the annotations.
        subset: a named part of the source.
        origin: where pixels start, 0 or 1, for formats that leave it open; "auto" decides by evidence.
        dry_run: write nothing; the receipt is the same.
        strict: refuse to lose anything.
        place: copy images to where the format written looks for them, or leave symbolic links there; copying takes
            images that lie inside of annotation files out.

    Returns:
        The receipt.

    Raises:
        DataError: the source is wrong or of no known format, a format's name is unknown, the output would replace a
            file of the source, or `strict` and something would be lost.
        UnsupportedError: the format can be read only.
        RunError: a file cannot be written.
    """
    src, dst = Path(src), Path(dst)
    writer: Any = load_format(to_format)
    # Everything is read before anything is written: a bad source leaves no half a result.
    source = read_parts(src, from_format, images, subset, origin)
    if to_format not in AS_THEY_ARE:
        source = _fitted(source, hasattr(writer, "write_index") or hasattr(writer, "write_part"))
    with staged(dst, keep=not dry_run) as staging:
        for part in source.parts:
            target = _target(dst, to_format, part.name)
            if not dry_run:
                keep_sources(part.receipt.files, target, source.format == to_format)
                refuse_beside(part.receipt.files, target)
            whole = ReadSource(source.path, images, subset or part.name, origin)
            _write(part, to_format, target)
            if place is not None:
                from cvtune.data.place_images import place_images

                inside = _embedded(source.format, whole) if place == "copy" else ()
                name = part.name if hasattr(writer, "write_part") else None
                place_images(part.dataset.images, to_format, target, place, staging, part.receipt, inside, name)
        # A format may tie the folders of several parts together by a file above them.
        if len(source.parts) > 1 and hasattr(writer, "write_index"):
            writer.write_index(dst, [part.name for part in source.parts if part.name], source.parts[0].dataset)
        receipt = Receipt.merge(source.rest, *(part.receipt for part in source.parts))
        if strict:
            refuse_losses(receipt)
        write_record(staging, receipt, [source], {"format": to_format})
    return receipt


def _target(dst: Path, format: str, part: str | None) -> Path:
    """The file or folder of a part: formats of one file for each part have them side by side."""
    if format in AS_THEY_ARE:
        return dst / f"{part or 'annotations'}.json"
    if format == "datumaro" and part is not None:
        return dst / "annotations" / f"{part}.json"
    return dst if part is None or hasattr(load_format(format), "write_part") else dst / part


def _fitted(source: Parts, numbered: bool) -> Parts:
    """The parts for a format that cannot list what lies outside, and whose classes may be `numbered` for all alike."""
    datasets = [part.dataset for part in source.parts]
    if source.format in AS_THEY_ARE:
        datasets = [within_images(part.dataset, part.receipt) for part in source.parts]
    if numbered and len(datasets) > 1:
        datasets = with_joint_categories(datasets, str(source.path), source.rest)
    parts = (replace(part, dataset=d) for part, d in zip(source.parts, datasets, strict=True))
    return replace(source, parts=tuple(parts))


def _embedded(format: str, source: ReadSource) -> Iterable[tuple[str, bytes]]:
    """(name, content) of the images inside of the annotation files, of formats that may hold some."""
    reader: Any = load_format(format)
    found: Iterable[tuple[str, bytes]] = reader.embedded_images(source) if hasattr(reader, "embedded_images") else ()
    return found


def _write(part: Part, format: str, target: Path) -> None:
    dataset, receipt = part.dataset, part.receipt
    names = {category.id: category.name for category in dataset.categories}
    counted = Counter([annotation.category_id for annotation in dataset.annotations])
    receipt.count_out(len(dataset.images))
    for category_id, count in counted.items():
        receipt.count_out(0, {names[category_id]: count})
    receipt.check_sums()
    with stage(f"writing {part.name or format}"):
        writer: Any = load_format(format)
        if part.name is not None and hasattr(writer, "write_part"):
            writer.write_part(dataset, target, part.name, receipt)
        else:
            writer.write(dataset, target, receipt)
    receipt.check_sums()  # a writer that cannot hold an object has dropped it
