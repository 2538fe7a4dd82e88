"""Converting annotations from one format to another, with a receipt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from cvtune.data.formats import load_format
from cvtune.data.parts import Part, read_parts, without_collection
from cvtune.data.receipt import Receipt
from cvtune.data.record import keep_sources, refuse_losses, write_record
from cvtune.meter import stage
from cvtune.staging import Staging, staged

__all__ = ["convert"]


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
        place: copy images to where the format written looks for them, or leave symbolic links there.

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
    with staged(dst, keep=not dry_run) as staging:
        for part in source.parts:
            target = dst if part.name is None else dst / part.name
            if to_format == "coco":
                target = dst / f"{part.name or 'annotations'}.json"
            if not dry_run:
                keep_sources(part.receipt.files, target, source.format == to_format)
            _write(part, to_format, target, place, staging)
        # A format may tie the folders of several parts together by a file above them.
        if len(source.parts) > 1 and hasattr(writer, "write_index"):
            writer.write_index(dst, [part.name for part in source.parts if part.name], source.parts[0].dataset)
        receipt = Receipt.merge(source.rest, *(part.receipt for part in source.parts))
        if strict:
            refuse_losses(receipt)
        write_record(staging, receipt, [source], {"format": to_format})
    return receipt


def _write(part: Part, format: str, target: Path, place: Literal["copy", "link"] | None, staging: Staging) -> None:
    dataset, receipt = part.dataset, part.receipt
    names = {category.id: category.name for category in dataset.categories}
    counted = Counter([annotation.category_id for annotation in dataset.annotations])
    receipt.count_out(len(dataset.images))
    for category_id, count in counted.items():
        receipt.count_out(0, {names[category_id]: count})
    receipt.check_sums()
    with stage(f"writing {part.name or format}"):
        load_format(format).write(dataset, target, receipt)
    receipt.check_sums()  # a writer that cannot hold an object has dropped it
    if place is not None:
        from cvtune.data.place_images import place_images

        place_images(dataset.images, format, target, place, staging, receipt)
