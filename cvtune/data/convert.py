"""Converting annotations from one format to another, with a receipt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cvtune.data.coco import Dataset
from cvtune.data.formats import FORMATS, ReadSource, detect_format, load_format
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
    if not src.exists():
        raise DataError(f"{src}: no such file or folder; correct the path of the annotations")
    name, evidence = detect_format(src) if from_format == "auto" else (from_format, "as asked")
    reader = load_format(name)
    parts: list[str | None] = [subset]
    if subset is None:
        parts = _parts(reader.subsets(src)) or [None]
    shared: dict[Any, Any] = {}
    # Everything is read before anything is written: a bad source leaves no half a result.
    read = [_read(name, ReadSource(src, images, part, origin, shared)) for part in parts]
    receipts: list[Receipt] = []
    written: list[Path] = []
    if parts != [subset]:
        whole = ReadSource(src, images, None, origin, shared)
        receipts.append(_left_out(name, whole, [dataset for dataset, _ in read]))
    for part, (dataset, receipt) in zip(parts, read, strict=True):
        part = None if part == subset else part
        target = dst if part is None else dst / part
        if to_format == "coco":
            target = dst / f"{part or 'annotations'}.json"
        names = {category.id: category.name for category in dataset.categories}
        receipt.count_out(len(dataset.images), Counter(names[a.category_id] for a in dataset.annotations))
        receipt.check_sums()
        if not dry_run:
            _keep_sources(receipt.files, target, name == to_format)
            written += writer.write(dataset, target, receipt)
            receipt.check_sums()
        receipts.append(receipt)
    receipt = Receipt.merge(*receipts)
    # A format may tie the folders of several parts together by a file above them.
    write_index = getattr(writer, "write_index", None)
    if not dry_run and write_index is not None and len(parts) > 1:
        written.append(write_index(dst, [part for part in parts if part], read[0][0]))
    if not dry_run:
        write_json(dst / "receipt.json", _record(receipt, name, evidence, to_format, src, written, dst))
    return receipt


def _parts(subsets: Sequence[str]) -> list[str | None]:
    """The subsets to write: all but those that are the union of others by their name."""
    if len(subsets) < 2:
        return []  # one list adds nothing to the whole folder
    unions = {"trainval": {"train", "val"}, "all": {"train"}}
    return [name for name in subsets if not unions.get(name, {name + "?"}) <= set(subsets)]


def _read(name: str, source: ReadSource) -> tuple[Dataset, Receipt]:
    receipt = Receipt()
    return load_format(name).read(source, receipt), receipt


def _left_out(name: str, source: ReadSource, parts: Sequence[Dataset]) -> Receipt:
    """A note of the images that are in no subset."""
    receipt = Receipt()
    if name != "voc":  # only there the subsets are lists over a whole that can be read
        return receipt
    whole = load_format(name).read(source, Receipt())
    covered = {image.id for part in parts for image in part.images}
    rest = [image.file_name for image in whole.images if image.id not in covered]
    if rest:
        receipt.note("subset-left-out", str(source.path), f"{len(rest):,} images, the first: {rest[0]}")
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
