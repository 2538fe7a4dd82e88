"""From every writable format to every other, on real sets: what both can hold comes through."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.coco import Dataset
from cvtune.data.convert import convert
from cvtune.data.formats import load_format
from cvtune.data.receipt import Receipt

pytestmark = pytest.mark.real

BOXES = (
    "coco", "lvis", "voc", "yolo", "labelme", "cvat", "via", "createml", "label_studio", "datumaro", "supervisely",
    "csv", "kitti", "imagefolder",
)  # fmt: skip
POLYGONS = frozenset({"coco", "lvis", "yolo", "labelme", "cvat", "via", "label_studio", "datumaro", "supervisely"})
# Every folder of the real sets: images, annotations in the files, what is kept of them.
FOLDERS = {
    "bccd": (364, 4888, 4886),
    "nuclei": (98, 2375, 2375),
    "fruit_nuts": (18, 165, 165),
    "one_set_nine_formats/grapes": (11, 39, 39),
    "one_set_nine_formats/phones": (2, 10, 10),
}


def written(dataset: Dataset, format: str, folder: Path) -> Path:
    target = folder / "a.json" if format in {"coco", "lvis"} else folder
    load_format(format).write(dataset, target, Receipt())
    return target


@pytest.mark.parametrize("first", BOXES)
def test_every_pair_keeps_the_objects(real_data: Path, tmp_path: Path, read: Any, objects: Any, first: str) -> None:
    images = real_data / "fruit_nuts" / "images"
    source, _ = read("coco", real_data / "fruit_nuts")
    before, _ = read(first, written(source, first, tmp_path / "first"), images=images)
    for second in BOXES:
        after, receipt = read(second, written(before, second, tmp_path / second), images=images)
        assert [event for event in receipt.events if event.kind == "drop"] == [], second
        mine, theirs = sorted(objects(before)), sorted(objects(after))
        assert [row[:2] for row in mine] == [row[:2] for row in theirs], second
        if {first, second} <= POLYGONS:
            assert Counter((*row[:2], row[4]) for row in mine) == Counter((*row[:2], row[4]) for row in theirs), second
        # VOC's edges are whole pixels here; boxes are written with two decimals and more.
        # A polygon's box takes the place of COCO's own, which are rounded, where a format states none beside it.
        stated = first in {"coco", "lvis"} and second in POLYGONS - {"coco", "lvis"}
        near = 1.01 if "voc" in {first, second} or stated else 0.02
        for row, boxes in ((row, [other[2] for other in theirs if other[:2] == row[:2]]) for row in mine):
            assert min(float(np.abs(np.subtract(row[2], box)).max()) for box in boxes) <= near, second


@pytest.mark.parametrize(("folder", "expected"), FOLDERS.items())
@pytest.mark.parametrize("target", ["coco", "yolo", "voc"])
def test_what_came_in_went_out_or_was_dropped(
    real_data: Path, tmp_path: Path, folder: str, expected: tuple[int, int, int], target: str
) -> None:
    receipt = convert(real_data / folder, tmp_path / "out", to_format=target)
    images, held, kept = expected
    assert (receipt.images_in, receipt.annotations_in) == (images, held)
    assert receipt.annotations_out + receipt.classes_dropped.total() == held
    assert receipt.annotations_out <= kept
    for name, count in receipt.classes_in.items():
        assert count == receipt.classes_out[name] + receipt.classes_dropped[name], name
