"""Writing masks as image files, one an object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from cvtune.data.coco import Annotation, Dataset, Rle
from cvtune.data.formats.mask_images import png_of_mask
from cvtune.data.formats.writing import Losses, names_of, note_boxes, note_categories, objects_of, place_of
from cvtune.data.geometry import mask_to_rle, rle_to_mask, segmentation_to_rle
from cvtune.data.receipt import Receipt
from cvtune.runs import write_bytes
from cvtune.staging import make_folder

__all__ = ["ONE_CLASS", "write"]

ONE_CLASS = "object"
"""The class of objects whose files name none."""


def write(dataset: Dataset, path: Path, receipt: Receipt) -> tuple[Path, ...]:
    """Write ``masks/<image>/<class>/<n>.png`` below the folder `path`: 0 and 255, one file an object.

    Slashes and the like in names are percent-encoded. Where the only class is "object", its folder is left out. An
    image without objects gets an empty folder. The images themselves belong in ``images`` and are not copied.

    Objects without a mask are left out; polygons become pixels.

    Raises:
        RunError: a file cannot be written.
    """
    names, objects = names_of(dataset), objects_of(dataset)
    flat = set(names.values()) <= {ONE_CLASS}
    losses = Losses(receipt, str(path))
    files: list[Path] = []
    written: list[Annotation] = []
    for image in dataset.images:
        folder = path / "masks" / _quoted(image.file_name)
        make_folder(folder)
        for number, annotation in enumerate(objects[image.id], start=1):
            name, where = names[annotation.category_id], place_of(annotation, image)
            if annotation.segmentation is None:
                receipt.drop_written("mask-needed", where, "it has a box alone", name)
                continue
            mask = rle_to_mask(segmentation_to_rle(annotation.segmentation, (image.height, image.width)))
            if not mask.any():
                receipt.drop_written("mask-empty", where, "nothing of it is inside of its image", name)
                continue
            if not isinstance(annotation.segmentation, Rle):
                receipt.repair("mask-rasterised", where, f"{int(mask.sum()):,} pixels", name)
            losses.add(annotation)
            written.append(replace(annotation, segmentation=mask_to_rle(mask)))
            file = (folder if flat else folder / _quoted(name)) / f"{number:05d}.png"
            write_bytes(file, png_of_mask(mask))
            files.append(file)
    losses.say()
    note_boxes(replace(dataset, annotations=tuple(written)), str(path), receipt)
    note_categories(dataset, str(path), receipt)
    if dataset.images:
        receipt.note("images-not-written", str(path), "put them into the folder `images`")
    return tuple(files)


def _quoted(name: str) -> str:
    """A name as one part of a path; `urllib.parse.unquote` undoes it."""
    quoted = quote(name, safe=" !#$&'()+,;=@[]{}~")
    return quoted.replace(".", "%2E") if not quoted.strip(".") else quoted
