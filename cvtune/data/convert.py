"""Converting annotations from one format to another, with a receipt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cvtune.data.formats import FORMATS, load_format
from cvtune.data.parts import read_parts
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError
from cvtune.runs import write_json

__all__ = ["convert"]


def convert(
    src: Path,
    dst: Path,
    from_format: str = "auto",
    to_format: str = "coco",
    images: Path | None = None,
    subset: str | None = None,
    origin: Literal["auto", 0, 1] = "auto",
    dry_run: bool = False,
) -> Receipt:
    """Convert annotations; images are neither read (but for missing sizes) nor copied.

    Writes ``dst/annotations.json``, or for a source with several subsets and none asked for one file each, such as
    ``train.json``, ``val.json``, ``test.json`` (subsets that others already cover, as VOC's trainval, are left out);
    formats of many files go to `dst` or to ``dst/<subset>``. ``dst/receipt.json`` is the receipt plus the formats and
    the sha256 of every file read and written.

    Args:
        src: a file or folder of annotations.
        dst: the folder to write to; made where missing.
        from_format: a format's name, or "auto" to tell it by content.
        to_format: a format's name.
        images: where the images are; else they are searched around the annotations.
        subset: a named part of the source.
        origin: where pixels start, 0 or 1, for formats that leave it open; "auto" decides by evidence.
        dry_run: write nothing.

    Returns:
        The receipt.

    Raises:
        DataError: the source is wrong or of no known format, a format's name is unknown, or the output would replace a
            file of the source.
        UnsupportedError: the format can be read only.
        RunError: a file cannot be written.
    """
    src, dst = Path(src), Path(dst)
    writer = load_format(to_format)
    # Everything is read before anything is written: a bad source leaves no half a result.
    source = read_parts(src, from_format, images, subset, origin)
    receipts: list[Receipt] = [source.rest]
    written: list[Path] = []
    for part in source.parts:
        dataset, receipt = part.dataset, part.receipt
        target = dst if part.name is None else dst / part.name
        if to_format == "coco":
            target = dst / f"{part.name or 'annotations'}.json"
        names = {category.id: category.name for category in dataset.categories}
        receipt.count_out(len(dataset.images), Counter(names[a.category_id] for a in dataset.annotations))
        receipt.check_sums()
        if not dry_run:
            _keep_sources(receipt.files, target, source.format == to_format)
            written += writer.write(dataset, target, receipt)
        receipts.append(receipt)
    receipt = Receipt.merge(*receipts)
    # A format may tie the folders of several parts together by a file above them.
    write_index = getattr(writer, "write_index", None)
    if not dry_run and write_index is not None and len(source.parts) > 1:
        names_of_parts = [part.name for part in source.parts if part.name]
        written.append(write_index(dst, names_of_parts, source.parts[0].dataset))
    if not dry_run:
        write_json(dst / "receipt.json", _record(receipt, source.format, source.evidence, to_format, src, written, dst))
    return receipt


def _keep_sources(sources: Sequence[Path], target: Path, same_format: bool) -> None:
    inside = {source.resolve() for source in sources}
    # A format of many files is written over files of its own names, VOC below one folder alone.
    folders = {target.resolve()} if same_format else {target.resolve() / "Annotations"}
    if target.resolve() in inside or any(folders & set(source.parents) for source in inside):
        raise DataError(f"{target}: the output would replace the source; choose another folder with `-o`")


def _record(
    receipt: Receipt, name: str, evidence: str, to_format: str, src: Path, written: Sequence[Path], dst: Path
) -> dict[str, Any]:
    assert to_format in FORMATS
    files = list(dict.fromkeys(receipt.files))
    base = src if src.is_dir() else src.parent
    return {
        "from": {"format": name, "evidence": evidence, "path": str(src)},
        "to": {"format": to_format},
        **receipt.to_json(),
        "inputs": [_fingerprint(file, base) for file in files],
        "outputs": [_fingerprint(file, dst) for file in written],
    }


def _fingerprint(file: Path, base: Path) -> dict[str, Any]:
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    path = file.relative_to(base) if file.is_relative_to(base) else file
    return {"path": path.as_posix(), "sha256": digest, "bytes": file.stat().st_size}
