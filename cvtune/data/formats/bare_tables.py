"""Tables without a header: which columns their lines are, as RetinaNet's tools, Keras' YOLO and others write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from cvtune.data.formats.texts import number
from cvtune.data.image_files import IMAGE_SUFFIXES

__all__ = ["AUTOML", "BARE", "bare_columns", "lines_of_images", "sizes_instead"]

BARE = ("filename", "xmin", "ymin", "xmax", "ymax", "class")
SIZES = {"xmin": "x", "ymin": "y", "xmax": "w", "ymax": "h"}
MAKESENSE = ("class", "x", "y", "w", "h", "filename", "image_width", "image_height")
# Google's AutoML and Vertex AI: opposite corners; the other two may be there or not, and say nothing more.
AUTOML = ("set", "path", "label", "xmin", "ymin", "", "", "xmax", "ymax", "", "")
# Of an image in a line of its own: corners and the number of the class.
LISTED = re.compile(r"-?[\d.]+(,-?[\d.]+){3},\d+")


def bare_columns(cells: Sequence[str]) -> tuple[str, ...]:
    """The columns of a table whose first line is a row of it; none where it is a header."""
    plain = [cell.strip() for cell in cells]
    numbers = [number(cell) for cell in plain]
    if plain[0].lower().endswith(IMAGE_SUFFIXES):
        if len(plain) == len(BARE) and not any(plain[1:]):
            return BARE
        if all(map(math.isfinite, numbers[1:5])) and len(plain) in {5, 6}:
            return BARE[: len(plain)] if all(_is_class(cell) for cell in plain[5:]) else ()
        if len(plain) == 6 and _is_class(plain[1]) and all(map(math.isfinite, numbers[2:])):
            return BARE[0], BARE[5], *BARE[1:5]
        # SKU-110K
        if len(plain) == 8 and _is_class(plain[5]) and all(map(math.isfinite, (*numbers[1:5], *numbers[6:]))):
            return (*BARE, "image_width", "image_height")
    if len(plain) == len(MAKESENSE) and plain[5].lower().endswith(IMAGE_SUFFIXES):
        return MAKESENSE if all(map(math.isfinite, (*numbers[1:5], *numbers[6:]))) else ()
    vertices = len(plain) - len(AUTOML) + 3
    if vertices in {2, 3} and plain[vertices - 2].lower().endswith(IMAGE_SUFFIXES):
        low, high = numbers[vertices : vertices + 2], numbers[vertices + 4 : vertices + 6]
        if not any(plain[vertices:]) or all(0 <= value <= 1 for value in (*low, *high)):
            return AUTOML[3 - vertices :]
    return ()


def _is_class(cell: str) -> bool:
    """Whether a cell is a class: a name, or a whole number, as a score is not."""
    return not math.isfinite(number(cell)) or number(cell).is_integer()


def sizes_instead(columns: tuple[str, ...], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The columns of a table without a header, with a corner and a size where most boxes are no two corners."""
    if "xmin" not in columns or columns[0] != BARE[0]:
        return columns
    at = columns.index("xmin")
    boxes = [[number(cell) for cell in row[at : at + 4]] for row in rows]
    boxes = [box for box in boxes if all(map(math.isfinite, box))]
    turned = sum(x1 <= x0 or y1 <= y0 for x0, y0, x1, y1 in boxes)
    return tuple(SIZES.get(name, name) for name in columns) if 2 * turned > len(boxes) else columns


def lines_of_images(text: str) -> list[tuple[int, tuple[str, ...]]] | None:
    """(line, cells of `BARE`) where a line is an image and all of its boxes ("a.jpg 1,2,30,40,0 5,6,7,8,1"), as Keras'
    YOLO and others that followed it have it; None of other texts."""
    rows: list[tuple[int, tuple[str, ...]]] = []
    boxed = False
    for line_number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _image_and_boxes(line)
        if found is None:
            return None
        name, boxes = found
        boxed |= bool(boxes)
        rows += [(line_number, (name, *box.split(","))) for box in boxes] or [(line_number, (name, "", "", "", "", ""))]
    return rows if boxed else None


def _image_and_boxes(line: str) -> tuple[str, list[str]] | None:
    words = line.split()
    first = next((i for i, word in enumerate(words) if LISTED.fullmatch(word)), len(words))
    name = line.split(words[first], 1)[0].strip() if first < len(words) else line.strip()
    if not name.lower().endswith(IMAGE_SUFFIXES) or not all(LISTED.fullmatch(word) for word in words[first:]):
        return None
    return name, words[first:]
