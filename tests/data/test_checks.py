"""Checks: each finds its fault, with where it is, and nothing else; a clean set has none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.check_masks import crosses
from cvtune.data.checks import CHECKS, Report, check_dataset

ROOT = Path(__file__).resolve().parents[2]
Record = dict[str, Any]


def picture(path: Path, seed: int, quality: int = 95) -> None:
    """A made photograph of 80 x 60 pixels."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_CUBIC)).save(path, quality=quality)


def square(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


class Made:
    """A COCO set of two parts, two images each, without a fault, for a case to spoil."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts: dict[str, Record] = {}
        for n, part in enumerate(("train", "val")):
            images, annotations = [], []
            for i in (2 * n + 1, 2 * n + 2):
                picture(root / "images" / f"{i}.jpg", i)
                images.append({"id": i, "file_name": f"{i}.jpg", "width": 80, "height": 60})
                for k, at in enumerate((10, 40)):
                    box = {"bbox": [at, 10, 20, 20], "segmentation": [square(at, 10, 20)], "area": 400}
                    annotations.append({"id": 10 * i + k, "image_id": i, "category_id": k + 1, "iscrowd": 0, **box})
            names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
            self.parts[part] = {"images": images, "annotations": annotations, "categories": names}
        self.against: list[Path] = []

    def box(self, *bbox: float, **values: Any) -> None:
        """Another object on the first image; without a mask, every object loses its own."""
        if "segmentation" not in values:
            for part in self.parts.values():
                for record in part["annotations"]:
                    record.pop("segmentation", None)
        record = {"id": 900, "image_id": 1, "category_id": 1, "bbox": list(bbox), "iscrowd": 0, "area": 1, **values}
        self.parts["train"]["annotations"].append(record)

    def check(self) -> Report:
        for part, record in self.parts.items():
            (self.root / f"{part}.json").write_text(json.dumps(record))
        return check_dataset(self.root, against=self.against)


def cut(made: Made) -> None:
    path = made.root / "images" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-300])


def same_file(made: Made, part: str) -> None:
    (made.root / "images" / "2.jpg").write_bytes(
        (made.root / "images" / ("1.jpg" if part == "train" else "3.jpg")).read_bytes()
    )


def turned(made: Made) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    with Pillow.open(made.root / "images" / "1.jpg") as image:
        image.save(made.root / "images" / "1.jpg", exif=exif)


def other_set(made: Made) -> None:
    other = Made(made.root / "other")
    picture(made.root / "other" / "images" / "1.jpg", 77)
    picture(made.root / "other" / "images" / "2.jpg", 78)
    picture(made.root / "other" / "images" / "4.jpg", 79)
    for part, record in other.parts.items():
        (other.root / f"{part}.json").write_text(json.dumps(record))
    made.against = [other.root]


def many(made: Made) -> None:
    """Three hundred cats apart from each other, on wide images."""
    made.box(10, 40, 4, 4)
    records = made.parts["train"]["annotations"]
    records += [{**records[-1], "id": 1000 + i, "bbox": [i % 20 * 4, i // 20 * 4, 3, 3]} for i in range(300)]


CASES: dict[str, tuple[Callable[[Made], Any], dict[str, int], str]] = {
    "a file that is cut off": (cut, {"image-unreadable": 1}, r"train 1\.jpg: .*cannot be read"),
    "a file that is missing": (
        lambda m: (m.root / "images" / "3.jpg").unlink(),
        {"image-missing": 1},
        r"val 3\.jpg",
    ),
    "a wrong size": (
        lambda m: m.parts["val"]["images"][0].update(width=90, height=70),
        {"image-size-differs": 1},
        r"val 3\.jpg: stated 90 x 70, the file has 80 x 60",
    ),
    "the same image twice": (
        lambda m: same_file(m, "train"),
        {"image-duplicate": 1},
        r"train 2\.jpg: is the same as 1\.jpg",
    ),
    "the same image in train and val": (
        lambda m: same_file(m, "val"),
        {"image-leak": 1},
        r"train 2\.jpg: is also in val, as 3\.jpg",
    ),
    "the same image in another set": (
        other_set,
        {"image-leak": 1},
        r"val 3\.jpg: is also in .*other/val, as 3\.jpg",
    ),
    "a worse copy in val": (
        lambda m: picture(m.root / "images" / "3.jpg", 1, quality=40),
        {"image-near-leak": 1},
        r"train 1\.jpg: shows the same as 3\.jpg in val",
    ),
    "an image that nobody names": (
        lambda m: picture(m.root / "images" / "9.jpg", 9),
        {"image-unlabeled": 1},
        r"train 9\.jpg: no annotation file names it",
    ),
    "an image turned by EXIF": (
        turned,
        {"image-exif-turned": 1},
        r"train 1\.jpg: orientation 6; the stated size 80 x 60 is the stored pixels'",
    ),
    "an image without objects": (
        lambda m: m.parts["val"].update(annotations=m.parts["val"]["annotations"][:2]),
        {"image-empty": 1},
        r"val 4\.jpg",
    ),
    "a box outside": (
        lambda m: m.box(90, 10, 20, 20),
        {"box-outside": 1},
        r"train 1\.jpg annotation 900: x=90 y=10 w=20 h=20 in 80 x 60",
    ),
    "a box half outside": (
        lambda m: m.box(70, 35, 20, 20),
        {"box-sticks-out": 1},
        r"annotation 900",
    ),
    "a box that sticks out by half a pixel": (lambda m: m.box(60.5, 35, 20, 20), {}, ""),
    "a box without height": (lambda m: m.box(10, 40, 20, 0), {"box-zero-area": 1}, r"annotation 900"),
    "a tiny box": (lambda m: m.box(10, 40, 20, 1.9), {"box-tiny": 1}, r"annotation 900"),
    "a giant box": (lambda m: m.box(0, 0, 80, 58), {"box-giant": 1}, r"annotation 900"),
    "a box that is giant only outside": (lambda m: m.box(-80, 0, 160, 50), {"box-sticks-out": 1}, r"annotation 900"),
    "the same box twice": (
        lambda m: m.box(10, 10, 20, 20),
        {"box-doubled": 1},
        r"train 1\.jpg annotation 900: IoU 1\.000 with annotation 10",
    ),
    "the same box of another class": (lambda m: m.box(10, 10, 20, 20, category_id=2), {}, ""),
    "the same box as a crowd": (lambda m: m.box(10, 10, 20, 20, iscrowd=1), {}, ""),
    "nearly the same box": (
        lambda m: m.box(11, 10, 20, 20),
        {"box-overlapping": 1},
        r"annotation 900: IoU 0\.905 with annotation 10",
    ),
    "a box of nonsense": (
        lambda m: m.box(10, 40, -5, 20),
        {"annotation-lost": 1},
        r"train train\.json annotation 900: box-inverted",
    ),
    "a mask elsewhere": (
        lambda m: m.box(10, 35, 20, 20, segmentation=[square(14, 35, 20)]),
        {"mask-box-differs": 1},
        r"annotation 900: box 10 35 20 20, that of the mask 14 35 20 20",
    ),
    "a polygon like a bow tie": (
        lambda m: m.box(10, 35, 20, 20, segmentation=[[10, 35, 30, 55, 30, 35, 10, 55]]),
        {"mask-crossing": 1},
        r"annotation 900: 1 of 1 polygons",
    ),
    "one object without a mask": (
        lambda m: m.parts["train"]["annotations"][0].pop("segmentation"),
        {"mask-partly": 1},
        r"train 1\.jpg annotation 10: 1 of 4 objects have no mask",
    ),
    "a class that train lacks": (
        lambda m: m.parts["val"]["annotations"][0].update(category_id=3)
        or [part["categories"].append({"id": 3, "name": "eel"}) for part in m.parts.values()],
        {"class-not-in-train": 1},
        r"val: eel: 1 objects",
    ),
    "a rare class": (
        lambda m: many(m) or [a.update(category_id=1, bbox=[40, 40, 7, 7]) for a in m.parts["val"]["annotations"][1:2]],
        {"class-imbalance": 1, "box-overlapping": 0},
        r"dog: 3 objects, cat: 306",
    ),
    "a class without objects": (
        lambda m: m.parts["train"]["categories"].append({"id": 3, "name": "eel"}),
        {"class-unused": 1},
        r"train: eel",
    ),
}  # fmt: skip


def test_a_clean_set_has_no_findings(tmp_path: Path) -> None:
    report = Made(tmp_path).check()
    assert report.findings == ()
    assert report.summary() == "0 errors, 0 warnings, 0 notes in 4 images and 8 annotations"
    assert (report.images, report.format) == ({"train": 2, "val": 2}, "coco")


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_found_and_named(case: str, tmp_path: Path) -> None:
    spoil, expected, example = CASES[case]
    made = Made(tmp_path)
    spoil(made)
    findings = {finding.check.id: finding for finding in made.check().findings}
    assert {key: finding.count for key, finding in findings.items()} == {k: n for k, n in expected.items() if n}
    if expected:
        assert re.search(example, str(findings[next(iter(expected))].examples[0]))


def yolo(root: Path, names: list[str], rows: dict[str, str]) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for stem, text in rows.items():
        picture(root / "images" / f"{stem}.jpg", len(stem))
        (root / "labels" / f"{stem}.txt").write_text(text)
    (root / "classes.txt").write_text("\n".join(names))
    return root


ROW = "0.3 0.3 0.2 0.2\n"
TWO = f"1 {ROW}2 0.6 {ROW[4:]}"
YOLO: dict[str, tuple[list[str], str, dict[str, int]]] = {
    "as it should be": (["a", "b"], f"0 {ROW}1 0.6 {ROW[4:]}", {}),
    "ids from 1": (["a", "b"], TWO, {"class-unknown": 1, "class-ids-shifted": 1, "class-unused": 1}),
    "the first class never": (["a", "b", "c"], TWO, {"class-ids-shifted": 1, "class-unused": 1}),
    "a background never": (["background", "b"], f"1 {ROW}", {"class-unused": 1}),
    "an id far beyond": (["a", "b"], f"1 {ROW}7 {ROW}", {"class-unknown": 1, "class-unused": 1}),
    "the last class never": (["a", "b"], f"0 {ROW}", {"class-unused": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", YOLO)
def test_class_ids_against_names(case: str, tmp_path: Path) -> None:
    names, rows, expected = YOLO[case]
    report = check_dataset(yolo(tmp_path, names, {"x": rows, "yy": rows}))
    found = {finding.check.id: finding.count for finding in report.findings}
    assert found.keys() == expected.keys()


def test_labels_without_image_and_images_without_labels(tmp_path: Path) -> None:
    root = yolo(tmp_path, ["a"], {"x": f"0 {ROW}", "yy": f"0 {ROW}", "zzz": f"0 {ROW}"})
    (root / "images" / "x.jpg").unlink()
    (root / "labels" / "yy.txt").unlink()
    found = {finding.check.id: [str(e) for e in finding.examples] for finding in check_dataset(root).findings}
    assert found.keys() == {"label-unmatched", "image-unlabeled", "image-empty"}
    assert "labels/x.txt" in found["label-unmatched"][0]
    assert found["image-unlabeled"] == ["yy.jpg: has no file of labels"]


def test_images_of_what_was_not_read_are_not_called_unlabeled(tmp_path: Path) -> None:
    made = Made(tmp_path)
    picture(tmp_path / "images" / ".thumb.jpg", 9)
    assert made.check().findings == ()
    for report in (check_dataset(tmp_path, subset="train"), check_dataset(tmp_path / "train.json")):
        assert report.findings == ()
    (tmp_path / "val.json").unlink()
    [finding] = check_dataset(tmp_path / "train.json").findings
    assert (finding.check.id, finding.count) == ("image-unlabeled", 2)


def test_images_that_have_labels_but_are_in_no_list_are_not_called_unlabeled(tmp_path: Path) -> None:
    xml = (
        "<annotation><filename>{0}.jpg</filename><size><width>80</width><height>60</height></size><object><name>x</name>"
        "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"
    )
    (tmp_path / "Annotations").mkdir()
    for i, stem in enumerate("abcd"):
        picture(tmp_path / "JPEGImages" / f"{stem}.jpg", i)
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(xml.format(stem))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for part, stems in (("train", "a\nb\n"), ("val", "c\n")):
        (tmp_path / "ImageSets" / "Main" / f"{part}.txt").write_text(stems)
    assert check_dataset(tmp_path).findings == ()
    (tmp_path / "Annotations" / "d.xml").unlink()
    assert [finding.check.id for finding in check_dataset(tmp_path).findings] == ["image-unlabeled"]


def test_a_damaged_image_without_a_stated_size_is_one_finding(tmp_path: Path) -> None:
    made = Made(tmp_path)
    (tmp_path / "images" / "2.jpg").write_bytes(b"")
    made.parts["train"]["images"][1].update(width=0, height=0)
    assert {f.check.id: f.count for f in made.check().findings} == {"image-unreadable": 1, "annotation-lost": 2}


def test_points_and_lines_are_noted(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 1)
    shapes = [{"label": "x", "shape_type": "point", "points": [[3, 3]]}]
    shapes.append({"label": "x", "shape_type": "rectangle", "points": [[10, 10], [30, 30]]})
    record = {"imagePath": "a.jpg", "imageData": None, "imageWidth": 80, "imageHeight": 60, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(record))
    [finding] = check_dataset(tmp_path).findings
    assert (finding.check.id, finding.count) == ("shape-without-area", 1)


def test_every_check_has_a_case() -> None:
    covered = {key for _, expected, _ in CASES.values() for key in expected}
    covered |= {key for _, _, expected in YOLO.values() for key in expected}
    assert set(CHECKS) <= covered | {"label-unmatched", "shape-without-area"}


def test_the_page_of_checks_is_the_code_s() -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.+) \|$", page, flags=re.MULTILINE)
    assert rows == [(check.id, check.severity, check.meaning) for check in CHECKS.values()]


def test_json_has_ids_severities_counts_and_places(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.box(90, 10, 20, 20)
    record = json.loads(json.dumps(made.check().to_json()))
    assert record["errors"] == 1
    [finding] = record["findings"]
    assert (finding["id"], finding["severity"], finding["count"]) == ("box-outside", "error", 1)
    [example] = finding["examples"]
    assert (example["part"], example["file"], example["annotation"]) == ("train", "1.jpg", 900)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (square(0, 0, 4), False),
        ([0, 0, 4, 4, 4, 0, 0, 4], True),
        ([0, 0, 4, 0, 4, 4], False),
        # Two squares joined by a line without width.
        ([0, 0, 4, 0, 4, 4, 4, 0, 9, 0, 9, 9, 4, 0, 0, 0, 0, 4], False),
        # A spike out and back.
        ([0, 0, 4, 0, 4, 2, 9, 2, 4, 2, 4, 4, 0, 4], False),
    ],
)
def test_crosses(points: list[float], expected: bool) -> None:
    assert crosses(np.array(points, np.float64)) is expected


def test_a_long_polygon_is_compared_in_pieces() -> None:
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 1000
    assert not crosses(circle.reshape(-1))
    circle[[1500, 1700]] = circle[[1700, 1500]]
    assert crosses(circle.reshape(-1))


@pytest.mark.real
def test_blood_cells(real_data: Path) -> None:
    found = {finding.check.id: finding.count for finding in check_dataset(real_data / "bccd").findings}
    # The near leak is one field of view in two focal planes, one image in train and one in val.
    assert found == {"box-zero-area": 2, "image-near-leak": 1, "box-overlapping": 7}


@pytest.mark.real
def test_photos_of_fruit_are_clean_and_grapes_hold_one_twice(real_data: Path) -> None:
    assert check_dataset(real_data / "fruit_nuts").findings == ()
    [finding] = check_dataset(real_data / "one_set_nine_formats" / "grapes").findings
    assert (finding.check.id, [str(e) for e in finding.examples]) == (
        "image-duplicate",
        ["7.jpg: is the same as 1.jpg"],
    )
