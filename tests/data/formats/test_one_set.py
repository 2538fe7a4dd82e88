"""The same four images, exported by many tools: what each holds, what it dropped, and that the shapes agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.coco import Dataset
from cvtune.data.convert import convert
from cvtune.data.formats import detect_format

pytestmark = pytest.mark.real

Row = tuple[str, str, tuple[float, ...]]
# Folder, format, objects in the files, objects kept: lines have no area.
SETS = [
    ("labelImg", "voc", 25, 25),
    ("voc1.1", "voc", 20, 20),
    ("yolo", "yolo", 25, 25),
    ("yolo1.1", "yolo", 18, 18),
    ("labelme", "labelme", 25, 23),
    ("labelme3.0", "labelme3", 23, 23),
    ("cvat1.1", "cvat", 25, 23),
    ("coco1.0", "coco", 23, 23),
    ("via/via_region_data.json", "via", 42, 40),
    ("via/via_region_data.csv", "via", 25, 23),
    ("CreateML", "createml", 25, 25),
]
# Formats that are written and hold boxes and masks as they are, or their boxes.
TARGETS = (
    "coco", "voc", "csv", "kitti", "datumaro", "lvis", "supervisely", "imagefolder", "yolo", "labelme", "cvat", "via",
    "createml", "label_studio",
)  # fmt: skip
# Exports of one labelling in CVAT; the others were drawn again, tool by tool.
OF_CVAT = {"coco1.0": 23, "labelme3.0": 23, "voc1.1": 20, "yolo1.1": 18}


def rows(dataset: Dataset) -> list[Row]:
    names = {c.id: c.name for c in dataset.categories}
    files = {i.id: i.file_name for i in dataset.images}
    return [(files[a.image_id], names[a.category_id], a.bbox_xywh) for a in dataset.annotations]


def iou(a: Any, b: Any) -> float:
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[0] + a[2], b[0] + b[2]), min(a[1] + a[3], b[1] + b[3])
    both = max(0.0, right - left) * max(0.0, bottom - top)
    return float(both / (a[2] * a[3] + b[2] * b[3] - both))


@pytest.mark.parametrize(("folder", "format", "held", "kept"), SETS)
def test_counts_and_what_is_left_out(
    real_data: Path, read: Any, folder: str, format: str, held: int, kept: int
) -> None:
    dataset, receipt = read(format, real_data / "one_set_nine_formats" / folder)
    assert (receipt.annotations_in, len(dataset.annotations)) == (held, kept)
    assert {i.file_name: (i.width, i.height) for i in dataset.images} == {
        "birds.jpg": (1000, 666),
        "crack.jpeg": (1280, 720),
        "shapes.jpg": (588, 643),
        "strawberry.jpg": (800, 800),
    }
    assert all(image.path is not None for image in dataset.images)
    drops = Counter((e.code, e.category) for e in receipt.events if e.kind == "drop")
    lines = {("shape-without-area", "line"): 1, ("shape-without-area", "crack"): 1}
    assert drops == (lines if held > kept else {})


@pytest.mark.parametrize(("folder", "held"), OF_CVAT.items())
def test_exports_of_one_labelling_agree_within_a_pixel(real_data: Path, read: Any, folder: str, held: int) -> None:
    root = real_data / "one_set_nine_formats"
    formats = {name: format for name, format, _, _ in SETS}
    mine = rows(read(formats[folder], root / folder)[0])
    theirs = rows(read("cvat", root / "cvat1.1")[0])
    assert len(mine) == held
    for image, name, box in mine:
        near = min(np.abs(np.subtract(box, other)).max() for i, n, other in theirs if (i, n) == (image, name))
        # CVAT's exports round ellipses to whole pixels, their centre and their axes each.
        assert near <= (1.81 if name == "ellipse" else 1.001)
    # What the exporter left out: YOLO has boxes alone, VOC masks of ellipses too.
    gone = Counter(name for _, name, _ in theirs) - Counter(name for _, name, _ in mine)
    assert gone == {23: {}, 20: {"bird": 2, "triangle": 1}, 18: {"bird": 2, "triangle": 1, "ellipse": 2}}[held]


@pytest.mark.parametrize("folder", [name for name, *_ in SETS if name not in OF_CVAT and name != "cvat1.1"])
def test_what_was_drawn_again_lies_at_the_same_places(real_data: Path, read: Any, folder: str) -> None:
    root = real_data / "one_set_nine_formats"
    formats = {name: format for name, format, _, _ in SETS}
    mine, theirs = rows(read(formats[folder], root / folder)[0]), rows(read("cvat", root / "cvat1.1")[0])
    for image, name, box in theirs:
        # CVAT's circle is called an ellipse.
        names = {name, "circle"} if name == "ellipse" else {name}
        assert max(iou(box, other) for i, n, other in mine if i == image and n in names) > 0.5


@pytest.mark.parametrize(("folder", "format", "held", "kept"), SETS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_format_becomes_every_other(
    real_data: Path, tmp_path: Path, read: Any, folder: str, format: str, held: int, kept: int, target: str
) -> None:
    root = real_data / "one_set_nine_formats"
    before, _ = read(format, root / folder)
    receipt = convert(root / folder, tmp_path, to_format=target)
    assert (receipt.annotations_in, receipt.annotations_out) == (held, kept)
    written = tmp_path / "annotations.json" if target == "coco" else tmp_path
    assert detect_format(written)[0] == target
    after, again = read(target, written, images=root / "labelImg")
    assert [e for e in again.events if e.kind == "drop"] == []
    assert sorted(row[:2] for row in rows(after)) == sorted(row[:2] for row in rows(before))
    for image, name, box in rows(before):
        near = min(np.abs(np.subtract(box, other)).max() for i, n, other in rows(after) if (i, n) == (image, name))
        assert near <= (1.001 if target == "voc" else 0.01)
