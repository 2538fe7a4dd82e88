"""Annotation formats: one module each, found through one table and imported when used."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from cvtune.data.formats.listing import kinds_below
from cvtune.errors import DataError, nearest

if TYPE_CHECKING:
    from cvtune.data.coco import Dataset
    from cvtune.data.receipt import Receipt

__all__ = [
    "FORMATS",
    "Format",
    "ReadSource",
    "detect_format",
    "fitting_formats",
    "format_told",
    "load_format",
    "read_source",
]

FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "coco": (".json",),
        "lvis": (".json",),
        "voc": ("<annotation>", "segmentationobject/"),
        "yolo": (".txt", ".yaml", ".yml", ".data", ".names"),
        "labelme": (".json",),
        "labelme3": ("<polygon>",),
        "cvat": ("<annotations>",),
        "via": (".json", ".csv"),
        "createml": (".json",),
        "label_studio": (".json",),
        "datumaro": (".json",),
        "supervisely": (".json",),
        "csv": (".csv", ".tsv", ".parquet", ".txt"),
        "openimages": (".csv",),
        "oidv4": (".txt",),
        "kitti": (".txt",),
        "dota": (".txt",),
        "visdrone": (".txt",),
        "wider_face": (".txt",),
        "mot": (".txt",),
        "mots": (".png",),
        "masks": ("masks/", ".png", ".tif", ".tiff", ".bmp", ".gif"),
        "cityscapes": (".png", ".json"),
        "vott": (".json",),
        "bdd100k": (".json",),
        "darwin": (".json",),
        "sagemaker": (".manifest", ".jsonl", ".json"),
        "labelbox": (".ndjson", ".jsonl", ".json"),
        "odgt": (".odgt", ".jsonl", ".json"),
        "isat": (".json",),
        "superannotate": (".json",),
        "imagefolder": (".jsonl", ".csv"),
        "huggingface": (".parquet", ".arrow"),
        "tfrecord": (".tfrecord", ".tfrecords", ".record", ".records"),
    }
)
"""Format name -> the suffixes of files, names of folders ("masks/") and tags, without one of which nothing is of it.

A format's module bears its name and fulfils `Format`. To add a format is to add a line here, and the module.
"""


@dataclass(frozen=True)
class ReadSource:
    """What to read: the annotations, where their images are, a named part of them, and where pixels start.

    `shared` is scratch space: give the same dict to several reads and a folder with several subsets is parsed once.
    """

    path: Path
    images: Path | None = None
    subset: str | None = None
    origin: Literal["auto", 0, 1] = "auto"
    shared: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


class Format(Protocol):
    """What a format's module offers as module-level functions."""

    def detect(self, path: Path) -> str | None:
        """Evidence, found in the content, that `path` is of this format ("3 .xml files with <bndbox>"), or None."""
        ...

    def subsets(self, path: Path) -> tuple[str, ...]:
        """The names that `ReadSource.subset` may take; none where the format has no such parts."""
        ...

    def read(self, source: ReadSource, receipt: Receipt) -> Dataset:
        """Read; count what is there with `receipt.count_in`, and account for every object that is not returned.

        Boxes come out 0-based with continuous edges, clipped to their image where its size is known.
        """
        ...

    def write(self, dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
        """Write below the folder `path` (or to it, where it names a file of the format) and return the files.

        What the format cannot hold goes on the receipt.
        A format that is only read raises UnsupportedError.
        """
        ...

    # Of formats whose files may hold the images themselves also:
    # def embedded_images(source: ReadSource) -> Iterator[tuple[str, bytes]]: names as `read` gives them, and contents
    # Of formats of projects, which hold several parts, also `write_part`: as `write`, with the part's name.


def load_format(name: str) -> Format:
    """The module of a format.

    Raises:
        DataError: there is no such format.
    """
    if name not in FORMATS:
        raise DataError(f"format: {name!r} is unknown; allowed: auto, {', '.join(FORMATS)}{nearest(name, FORMATS)}")
    return cast(Format, importlib.import_module(f"cvtune.data.formats.{name}"))


def detect_format(path: Path) -> tuple[str, str]:
    """Find the format by content: (format, the evidence).

    Raises:
        DataError: nothing is there, no format fits, or several do (each is named with its evidence).
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; correct the path of the annotations")
    found = fitting_formats(path)
    if len(found) == 1:
        return next(iter(found.items()))
    if not found:
        from cvtune.data.formats.contents import describe

        raise DataError(f"{path}: not annotations of a known format: {describe(path)}; known: {', '.join(FORMATS)}")
    candidates = "; ".join(f"{name}: {evidence}" for name, evidence in found.items())
    raise DataError(f"{path}: several formats fit; name one with `format` or `--from`; candidates: {candidates}")


def fitting_formats(path: Path) -> dict[str, str]:
    """The formats that the content of a path fits, each with the evidence."""
    there = kinds_below(path)
    possible = [name for name, kinds in FORMATS.items() if not there.isdisjoint(kinds)]
    found = {name: evidence for name in possible if (evidence := load_format(name).detect(path))}
    if found.keys() == {"voc", "csv"} and (left_out := _derived_tables(path)):
        del found["csv"]
        found["voc"] += f"; {left_out} of the same images are left out"
    return found


def _derived_tables(path: Path) -> str | None:
    """The tables that were made of VOC's files for TensorFlow: their first rows name images that have an XML file."""
    from cvtune.data.formats.csv import tables_of
    from cvtune.data.formats.voc_xml import find_layout

    return tables_of(path, {parts[-1].rpartition(".")[0] for parts in find_layout(path).names})


def read_source(source: ReadSource, format: str, receipt: Receipt) -> Dataset:
    """Read a source in the named format, or in the one that its content shows where `format` is "auto".

    Raises:
        DataError: the format is unknown or cannot be told, or the source is wrong.
    """
    if not Path(source.path).exists():
        raise DataError(f"{source.path}: no such file or folder; correct the path of the annotations")
    name = detect_format(source.path)[0] if format == "auto" else format
    with format_told(source.path, format):
        return load_format(name).read(source, receipt)


@contextlib.contextmanager
def format_told(path: Path, format: str) -> Iterator[None]:
    """Where reading fails in a format that was named, say which other one the content is of."""
    try:
        yield
    except DataError as error:
        if type(error) is not DataError or format not in FORMATS:
            raise
        try:
            name, evidence = detect_format(path)
        except DataError:
            raise error from None
        if name == format:
            raise
        raise DataError(f"{error}; it was read as {format}, but its content is of {name}: {evidence}") from error
