"""The same numbers as independent readers: pycocotools, hotcoco, globox, supervision, and Datumaro where there is one.

Datumaro needs packages that do not fit beside ours (protobuf below 5, OpenVINO, CUDA's bindings), so it is asked in an
environment of its own: its tests are there where CVTUNE_DATUMARO names a Python that has it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import pytest
import supervision
from globox import AnnotationSet
from PIL import Image as Pillow
from pycocotools.coco import COCO

from cvtune.data.coco import Annotation, Category, Dataset, Image
from cvtune.data.formats import load_format
from cvtune.data.receipt import Receipt

# Image, class, left, top, right, bottom.
Row = tuple[str, str, float, float, float, float]
Reader = Callable[[Path], list[Row]]
TOLERANCE = 1e-3
NAMES = ("car", "person", "traffic light")


def ours(read: Any, format: str, path: Path, **options: Any) -> list[Row]:
    dataset = read(format, path, **options)[0]
    names = {c.id: c.name for c in dataset.categories}
    files = {i.id: Path(i.file_name).name for i in dataset.images}
    return [
        (files[a.image_id], names[a.category_id], x, y, x + w, y + h)
        for a in dataset.annotations
        for x, y, w, h in [a.bbox_xywh]
    ]


def same(mine: list[Row], theirs: list[Row]) -> None:
    """As many of each image and class, and every box to a thousandth of a pixel."""
    assert Counter(row[:2] for row in mine) == Counter(row[:2] for row in theirs)
    assert len(mine) > 0
    for key in {row[:2] for row in mine}:
        boxes = [np.array(sorted(row[2:] for row in rows if row[:2] == key)) for rows in (mine, theirs)]
        np.testing.assert_allclose(boxes[0], boxes[1], atol=TOLERANCE, err_msg=str(key))


def of_globox(annotations: AnnotationSet) -> list[Row]:
    return [
        (Path(a.image_id).name, box.label, box.xmin, box.ymin, box.xmax, box.ymax)
        for a in annotations
        for box in a.boxes
    ]


def of_supervision(dataset: supervision.DetectionDataset) -> list[Row]:
    return [
        (Path(path).name, dataset.classes[class_id], *map(float, xyxy))
        for path, found in dataset.annotations.items()
        for xyxy, class_id in zip(found.xyxy, found.class_id, strict=True)
    ]


def of_coco(coco: Any) -> list[Row]:
    names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
    files = {i["id"]: i["file_name"] for i in coco.loadImgs(coco.getImgIds())}
    return [
        (Path(files[a["image_id"]]).name, names[a["category_id"]], x, y, x + w, y + h)
        for a in coco.loadAnns(coco.getAnnIds())
        for x, y, w, h in [a["bbox"]]
    ]


@pytest.fixture(scope="session")
def made() -> Dataset:
    """Three images of one size and one of another, without objects: boxes at the edges, whole and broken numbers."""
    generator = np.random.default_rng(5)
    images = [Image(i, f"{i:03d}.jpg", *((200, 100) if i < 4 else (64, 48))) for i in range(1, 5)]
    annotations = [Annotation(1, 1, 1, (0.0, 0.0, 200.0, 100.0), 20000.0)]
    for n in range(2, 40):
        x, y = generator.integers(0, (150, 60))
        w, h = generator.integers(1, (50, 40))
        box = (float(x), float(y), float(w), float(h))
        annotations.append(Annotation(n, n % 3 + 1, n % 3 + 1, box, box[2] * box[3]))
    return Dataset(tuple(images), tuple(annotations), tuple(Category(i, name) for i, name in enumerate(NAMES, 1)))


@pytest.fixture
def write(made: Dataset, tmp_path: Path) -> Callable[[str], Path]:
    """Write the made set in a format, with its images in `images`; gives the folder."""

    def written(format: str) -> Path:
        (tmp_path / "images").mkdir()
        for image in made.images:
            Pillow.new("RGB", (image.width, image.height)).save(tmp_path / "images" / image.file_name)
        file = tmp_path / "annotations.json" if format == "coco" else tmp_path
        load_format(format).write(made, file, Receipt())
        return tmp_path

    return written


MADE: dict[str, tuple[str, dict[str, Any], Reader]] = {
    "coco, pycocotools": ("coco", {}, lambda p: of_coco(COCO(str(p / "annotations.json")))),
    "coco, hotcoco": ("coco", {}, lambda p: of_coco(hotcoco.COCO(str(p / "annotations.json")))),
    "coco, globox": ("coco", {}, lambda p: of_globox(AnnotationSet.from_coco(p / "annotations.json"))),
    "coco, supervision": (
        "coco",
        {},
        lambda p: of_supervision(
            supervision.DetectionDataset.from_coco(str(p / "images"), str(p / "annotations.json"))
        ),
    ),
    # globox takes VOC's numbers as they stand. VOC counts pixels from 1 ("the top-left pixel has coordinates (1,1)" in
    # its development kit), so that is right for the sets alone that break the rule: those read with origin 0.
    "voc, globox": ("voc", {"origin": 0}, lambda p: of_globox(AnnotationSet.from_pascal_voc(p / "Annotations"))),
    # supervision takes 1 from the left upper corner, and nothing from the other, whose pixel belongs to the box.
    "voc, supervision": (
        "voc",
        {},
        lambda p: of_supervision(
            supervision.DetectionDataset.from_pascal_voc(str(p / "images"), str(p / "Annotations"))
        ),
    ),
    "yolo, globox": (
        "yolo",
        {},
        lambda p: of_globox(
            AnnotationSet.from_yolo_v5(p / "labels", image_folder=p / "images").map_labels(
                {str(i): name for i, name in enumerate(NAMES)}
            )
        ),
    ),
    "yolo, supervision": (
        "yolo",
        {},
        lambda p: of_supervision(
            supervision.DetectionDataset.from_yolo(str(p / "images"), str(p / "labels"), str(p / "data.yaml"))
        ),
    ),
    "labelme, globox": ("labelme", {}, lambda p: of_globox(AnnotationSet.from_labelme(p))),
    "cvat, globox": ("cvat", {}, lambda p: of_globox(AnnotationSet.from_cvat(p / "annotations.xml"))),
    "createml, supervision": (
        "createml",
        {},
        lambda p: of_supervision(
            supervision.DetectionDataset.from_createml(str(p / "images"), str(next(p.glob("*.json"))))
        ),
    ),
    "via, globox": (
        "via",
        {},
        lambda p: of_globox(
            AnnotationSet.from_via_json(next(p.glob("*.json")), label_key="label", image_folder=p / "images")
        ),
    ),
}


@pytest.mark.parametrize("case", MADE)
def test_made_sets(case: str, read: Any, write: Callable[[str], Path]) -> None:
    format, options, theirs = MADE[case]
    folder = write(format)
    same(ours(read, format, folder, **options), theirs(folder))


def test_open_images(tmp_path: Path, read: Any, files: Any) -> None:
    rows = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf"]
    rows += [f"a,x,/m/01,1,{x},{x + 0.25},{x / 2},{x / 2 + 0.5},0" for x in (0, 0.125, 0.75)]
    files(tmp_path, {"boxes.csv": "\n".join(rows) + "\n", "images/a.jpg": (400, 200)})
    (tmp_path / "images" / "a").symlink_to("a.jpg")  # globox looks for images by their bare ids
    theirs = of_globox(AnnotationSet.from_openimage(tmp_path / "boxes.csv", image_folder=tmp_path / "images"))
    mine = ours(read, "openimages", tmp_path, images=tmp_path / "images")
    same([(Path(row[0]).stem, *row[1:]) for row in mine], theirs)


# Real sets. Where a reader differs, the difference is stated, and who is right.


@pytest.mark.real
def test_blood_cells(real_data: Path, read: Any) -> None:
    folder = real_data / "bccd"
    # Its pixels count from 1, by the smallest coordinate and the 545 boxes that end at the image's edge.
    one = ours(read, "voc", folder)
    zero = ours(read, "voc", folder, origin=0)
    theirs = of_globox(AnnotationSet.from_pascal_voc(folder / "Annotations"))
    # globox keeps the two boxes without area, which no pixel belongs to.
    empty = [row for row in theirs if row[2] == row[4] or row[3] == row[5]]
    assert len(empty) == 2
    # It calls images by their <filename>, which two files share with others.
    same([("", *row[1:]) for row in zero], [("", *row[1:]) for row in theirs if row not in empty])
    named = supervision.DetectionDataset.from_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations"))
    kept = [row for row in of_supervision(named) if row[2] + 1 < row[4] and row[3] + 1 < row[5]]
    flat = [row for row in one if row[2] + 1 >= row[4] or row[3] + 1 >= row[5]]
    same([row for row in one if row not in flat], kept)


@pytest.mark.real
def test_fruit(real_data: Path, read: Any) -> None:
    file = real_data / "fruit_nuts" / "trainval.json"
    mine = ours(read, "coco", file)
    same(mine, of_coco(COCO(str(file))))
    same(mine, of_coco(hotcoco.COCO(str(file))))
    same(mine, of_globox(AnnotationSet.from_coco(file)))
    images = str(real_data / "fruit_nuts" / "images")
    same(mine, of_supervision(supervision.DetectionDataset.from_coco(images, str(file))))


@pytest.mark.real
def test_one_set(real_data: Path, read: Any) -> None:
    root = real_data / "one_set_nine_formats"
    coco = next((root / "coco1.0" / "annotations").glob("*.json"))
    same(ours(read, "coco", root / "coco1.0"), of_coco(COCO(str(coco))))
    same(ours(read, "coco", root / "coco1.0"), of_globox(AnnotationSet.from_coco(coco)))
    # CVAT writes 0-based floats; both take them as they stand.
    same(
        ours(read, "voc", root / "labelImg", origin=0),
        of_globox(AnnotationSet.from_pascal_voc(root / "labelImg")),
    )
    # globox reads nothing but CVAT's boxes; those are the same.
    boxes = of_globox(AnnotationSet.from_cvat(root / "cvat1.1" / "annotations.xml"))
    mine = ours(read, "cvat", root / "cvat1.1")
    assert all(any(np.allclose(row[2:], box[2:], atol=TOLERANCE) for row in mine) for box in boxes)


# Datumaro, in another environment.

DATUMARO = os.environ.get("CVTUNE_DATUMARO")
ASK = """
import json, sys
from datumaro import Dataset
rows = []
dataset = Dataset.import_from(sys.argv[1], sys.argv[2])
labels = dataset.categories().get
from datumaro.components.annotation import AnnotationType
names = [c.name for c in dataset.categories()[AnnotationType.label].items]
for item in dataset:
    for a in item.annotations:
        if a.type in (AnnotationType.bbox, AnnotationType.polygon, AnnotationType.mask):
            x, y, w, h = a.get_bbox()
            rows.append([item.id, names[a.label], x, y, x + w, y + h])
print(json.dumps(rows))
"""


def as_instances(folder: Path) -> Path:
    (folder / "annotations").mkdir()
    (folder / "annotations.json").rename(folder / "annotations" / "instances_train.json")
    (folder / "images").rename(folder / "train")
    (folder / "images").mkdir()
    (folder / "train").rename(folder / "images" / "train")
    return folder


def as_devkit(folder: Path) -> Path:
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "labelmap.txt").write_text(
        "background:0,0,0::\n" + "".join(f"{n}:{i},9,9::\n" for i, n in enumerate(NAMES))
    )
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    stems = [file.stem for file in sorted((folder / "Annotations").iterdir())]
    (folder / "ImageSets" / "Main" / "train.txt").write_text("\n".join(stems) + "\n")
    return folder


# Ours, theirs, the layout that it finds, and what our reader is told. Datumaro takes VOC's numbers as they stand.
ASKED = [
    ("coco", "coco_instances", as_instances, {}),
    ("voc", "voc_detection", as_devkit, {"origin": 0}),
    ("cvat", "cvat", lambda folder: folder / "annotations.xml", {}),
    ("datumaro", "datumaro", lambda folder: folder, {}),
]


def of_datumaro(folder: Path, format: str) -> list[Row]:
    done = subprocess.run([str(DATUMARO), "-c", ASK, str(folder), format], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [(Path(row[0]).name, *row[1:]) for row in json.loads(done.stdout.splitlines()[-1])]


if DATUMARO:

    @pytest.mark.parametrize(("format", "theirs", "lay", "options"), ASKED)
    def test_datumaro(
        format: str, theirs: str, lay: Any, options: Any, read: Any, write: Callable[[str], Path]
    ) -> None:
        path = lay(write(format))
        mine = [(Path(row[0]).stem, *row[1:]) for row in ours(read, format, path, **options)]
        same(mine, of_datumaro(path, theirs))
