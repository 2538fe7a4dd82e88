"""Masks whose values are classes: where a set keeps their names, and the connected parts of a class."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cvtune.data.formats.entries import Patch
from cvtune.data.formats.mask_images import crop, parts
from cvtune.data.formats.texts import read_lines, whole

__all__ = ["BACKGROUND", "connected_parts", "value_names"]

# What is no object, in lower case without signs around.
BACKGROUND = frozenset({"background", "bg", "ignore", "unlabeled", "unlabelled", "void", "none"})
TABLE = "_classes.csv"  # Roboflow's, with the columns "Pixel Value" and "Class"
LISTS = ("classes.txt", "class_names.txt", "labels.txt", "label_names.txt", "labelmap.txt")


def value_names(root: Path) -> tuple[dict[int, str], Path | None]:
    """(value of a pixel -> class, the file that says so) of a set in a folder.

    A list counts where it begins with the background, whose value is 0; else its lines may be anything.
    """
    for table in (root / TABLE, *sorted(root.glob(f"*/{TABLE}"))):
        if table.is_file():
            rows = csv.reader(read_lines(table), skipinitialspace=True)
            found = {whole(row[0]): row[1].strip() for row in rows if len(row) == 2 and row[0].strip().isdecimal()}
            if found:
                return found, table
    for file in (root / name for name in LISTS):
        names = [name for name in read_lines(file) if name] if file.is_file() else []
        names = names[1:] if names[:1] == ["__ignore__"] else names  # LabelMe's, whose value is -1
        if names and names[0].strip("_ ").lower() in BACKGROUND:
            return dict(enumerate(names)), file
    return {}, None


def connected_parts(values: NDArray[Any], names: Mapping[int, str]) -> Iterator[tuple[int, int, str | None, Patch]]:
    """(value, number of the part from 1, class or None, where it is) of every connected part but the background's.

    Pixels that touch at a corner are connected. Values without a name are one part each.
    """
    for value, patch in parts(values):
        name = names.get(value)
        if name is None:
            yield value, 1, None, patch
        elif name.strip("_ ").lower() not in BACKGROUND:
            count, labels = cv2.connectedComponents(patch.mask_hw.astype(np.uint8), connectivity=8)
            for number in range(1, count):
                part = crop(labels == number)
                yield value, number, name, Patch(patch.left + part.left, patch.top + part.top, part.mask_hw)
