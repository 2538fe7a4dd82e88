"""convert: files out, receipt with fingerprints, round trips."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

from cvtune.data.coco import load_coco
from cvtune.data.convert import convert
from cvtune.data.formats import ReadSource, load_format, yolo
from cvtune.data.geometry import mask_to_rle, rle_to_json
from cvtune.data.parts import read_parts
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

XML = (
    "<annotation><filename>{stem}.jpg</filename><size><width>20</width><height>10</height></size><object><name>x</name>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{xmax}</xmax><ymax>10</ymax></bndbox></object></annotation>"
)


def devkit(root: Path, lists: dict[str, str]) -> Path:
    (root / "Annotations").mkdir(parents=True)
    for stem, xmax in (("a", 20), ("b", 1), ("c", 9), ("d", 8)):
        (root / "Annotations" / f"{stem}.xml").write_text(XML.format(stem=stem, xmax=xmax))
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, text in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def coco_file(path: Path, **annotation: Any) -> Path:
    record = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 20, "height": 10}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 3, "bbox": [1.5, 2, 3, 4], **annotation}],
        "categories": [{"id": 3, "name": "x"}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_subsets_get_a_file_each_and_unions_none(tmp_path: Path) -> None:
    lists = {"train": "a\nb\n", "val": "c\n", "trainval": "a\nb\nc\n", "x_train": "a 1\nb -1\n"}
    root, out = devkit(tmp_path / "set", lists), tmp_path / "out"
    receipt = convert(root, out)
    assert sorted(p.name for p in out.iterdir()) == ["receipt.json", "train.json", "val.json"]
    train = load_coco(out / "train.json")
    assert [image.file_name for image in train.images] == ["a.jpg", "b.jpg"]
    assert [a.bbox_xywh for a in train.annotations] == [(0, 0, 20, 10)]
    assert receipt.to_json()["annotations"] == {"in": 3, "out": 2, "dropped": 1}
    assert {event.code for event in receipt.events} >= {"box-zero-area", "origin-found", "subset-left-out"}
    [left_out] = [event for event in receipt.events if event.code == "subset-left-out"]
    assert left_out.detail == "1 images, the first: d.jpg"


def test_one_subset_or_no_lists_give_one_file(tmp_path: Path) -> None:
    root = devkit(tmp_path / "set", {"train": "a\nb\n", "val": "c\n"})
    convert(root, tmp_path / "one", subset="val")
    assert len(load_coco(tmp_path / "one" / "annotations.json").images) == 1
    single = devkit(tmp_path / "single", {"default": "a\n"})
    convert(single, tmp_path / "two")
    assert len(load_coco(tmp_path / "two" / "annotations.json").images) == 4


def test_the_receipt_has_fingerprints_of_every_file(tmp_path: Path) -> None:
    root, out = devkit(tmp_path / "set", {"train": "a\n", "val": "c\n"}), tmp_path / "out"
    receipt = convert(root, out)
    record = json.loads((out / "receipt.json").read_text())
    assert record["from"]["format"] == "voc"
    assert "4 .xml files" in record["from"]["evidence"]
    assert record["to"] == {"format": "coco"}
    assert {entry["path"] for entry in record["inputs"]} == {
        "ImageSets/Main/train.txt",
        "Annotations/a.xml",
        "ImageSets/Main/val.txt",
        "Annotations/c.xml",
    }
    for entry in record["inputs"]:
        assert entry["sha256"] == sha256(root / entry["path"])
    assert [(e["path"], e["sha256"]) for e in record["outputs"]] == [
        (name, sha256(out / name)) for name in ("train.json", "val.json")
    ]
    assert {key: record[key] for key in receipt.to_json()} == json.loads(json.dumps(receipt.to_json()))


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    root = devkit(tmp_path / "set", {})
    receipt = convert(root, tmp_path / "out", dry_run=True)
    assert receipt.to_json()["images"] == {"in": 4, "out": 4, "dropped": 0}
    assert not (tmp_path / "out").exists()


def test_coco_to_voc_and_back(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "a.json", segmentation=[[1.5, 2, 4.5, 2, 4.5, 6]])
    receipt = convert(source, tmp_path / "voc", to_format="voc")
    assert [event.code for event in receipt.events if event.kind == "repair"] == ["mask-lost"]
    convert(tmp_path / "voc", tmp_path / "back", origin=1)
    assert load_coco(tmp_path / "back" / "annotations.json").annotations[0].bbox_xywh == pytest.approx((1.5, 2, 3, 4))


def test_splits_of_a_folder_of_coco_files(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        coco_file(tmp_path / "robo" / split / "_annotations.coco.json")
    convert(tmp_path / "robo", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["receipt.json", "train.json", "valid.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_format": "vok"}, "'vok' is unknown.*did you mean 'voc'"),
        ({"to_format": "yolo9"}, "'yolo9' is unknown"),
        ({"from_format": "voc"}, r"a\.json.*not valid XML|none of its"),
        ({"subset": "x"}, "has no subsets"),
    ],
)
def test_wrong_arguments(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    source = coco_file(tmp_path / "a.json")
    with pytest.raises(DataError, match=message):
        convert(source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "annotations.json")
    before = source.read_bytes()
    with pytest.raises(DataError, match="would replace the source"):
        convert(source, tmp_path)
    root = devkit(tmp_path / "set", {})
    with pytest.raises(DataError, match="would replace the source"):
        convert(root, root, to_format="voc")
    assert source.read_bytes() == before


def test_a_bad_part_leaves_nothing_half_done(tmp_path: Path) -> None:
    root = devkit(tmp_path / "set", {"train": "a\n", "val": "nothing\n"})
    with pytest.raises(DataError, match="nothing"):
        convert(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_format_of_many_files_is_not_written_over_itself(tmp_path: Path) -> None:
    convert(coco_file(tmp_path / "a.json"), tmp_path / "set", to_format="labelme")
    with pytest.raises(DataError, match="would replace the source"):
        convert(tmp_path / "set", tmp_path / "set", to_format="labelme")
    assert convert(tmp_path / "set", tmp_path / "set" / "other", to_format="labelme").annotations_out == 1


def test_parts_of_a_yolo_set_are_tied_together(tmp_path: Path) -> None:
    root, out = devkit(tmp_path / "set", {"train": "a\nc\n", "val": "d\n"}), tmp_path / "out"
    convert(root, out, to_format="yolo")
    assert yolo.subsets(out) == ("train", "val")
    images = tmp_path / "images"
    images.mkdir()
    for stem in "acd":
        Pillow.new("L", (20, 10)).save(images / f"{stem}.jpg")
    val = yolo.read(ReadSource(out, images, "val"), Receipt())
    assert [image.file_name for image in val.images] == ["d.jpg"]
    assert val.annotations[0].bbox_xywh == pytest.approx((0, 0, 8, 10))
    assert len(yolo.read(ReadSource(out, images), Receipt()).images) == 3


def test_strict_refuses_losses_and_leaves_nothing(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "a.json", segmentation=[[1.5, 2, 4.5, 2, 4.5, 6]])
    with pytest.raises(DataError, match=r"--strict: .*mask-lost \(1\), the first: annotation 1 of a\.jpg"):
        convert(source, tmp_path / "voc", to_format="voc", strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert convert(source, tmp_path / "out", strict=True).losses() == []


def test_a_dry_run_gives_the_receipt_of_the_real_one(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "a.json", segmentation=[[1.5, 2, 4.5, 2, 4.5, 6]])
    dry = convert(source, tmp_path / "voc", to_format="voc", dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert dry.to_json() == convert(source, tmp_path / "voc", to_format="voc").to_json()


WRITERS = ["coco", "voc", "yolo", "labelme", "cvat", "via", "createml", "label_studio"]


@pytest.mark.parametrize("place", ["copy", "link"])
@pytest.mark.parametrize("name", WRITERS)
def test_images_that_are_brought_along_are_found_again(name: str, place: Any, tmp_path: Path) -> None:
    source = coco_file(tmp_path / "src" / "a.json")
    record = json.loads(source.read_text())
    record["images"][0]["file_name"] = "deep/a b.jpg"
    source.write_text(json.dumps(record))
    (tmp_path / "src" / "deep").mkdir()
    Pillow.new("L", (20, 10)).save(tmp_path / "src" / "deep" / "a b.jpg")
    out = tmp_path / "out"
    receipt = convert(source, out, to_format=name, place=place)
    assert "image-missing" not in receipt.counts
    [image] = load_format(name).read(ReadSource(out), Receipt()).images
    assert image.path is not None
    assert image.path.is_relative_to(out)
    assert image.path.is_symlink() == (place == "link")


def test_images_of_several_parts_are_found_again(tmp_path: Path) -> None:
    for n, split in enumerate(("train", "valid")):
        coco_file(tmp_path / "robo" / split / "_annotations.coco.json")
        Pillow.new("L", (20, 10), 50 * n).save(tmp_path / "robo" / split / "a.jpg")
    for name in ("coco", "yolo", "voc"):
        out = tmp_path / name
        convert(tmp_path / "robo", out, to_format=name, place="copy")
        found = read_parts(out) if name != "voc" else read_parts(out / "train")
        paths = [image.path for part in found.parts for image in part.dataset.images]
        assert len(paths) == (2 if name != "voc" else 1)
        assert all(path is not None and path.is_relative_to(out) for path in paths)


def test_missing_images_and_names_that_collide(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "a.json")
    receipt = convert(source, tmp_path / "out", place="copy")
    assert receipt.counts["image-missing"] == 2
    record = json.loads(source.read_text())
    record["images"] = [
        {"id": i, "file_name": name, "width": 20, "height": 10} for i, name in ((5, "x.jpg"), (6, "sub/../x.jpg"))
    ]
    source.write_text(json.dumps(record))
    Pillow.new("L", (20, 10)).save(tmp_path / "x.jpg")
    assert convert(source, tmp_path / "out", place="copy").annotations_out == 1


def test_the_worst_masks_are_named_with_their_overlap(tmp_path: Path) -> None:
    ring = np.zeros((10, 20), np.bool_)
    ring[1:9, 1:9] = True
    ring[3:7, 3:7] = False
    rle = rle_to_json(mask_to_rle(ring))
    source = coco_file(tmp_path / "a.json", segmentation=rle, bbox=[1, 1, 8, 8])
    convert(source, tmp_path / "out", to_format="yolo")
    record = json.loads((tmp_path / "out" / "receipt.json").read_text())
    [worst] = record["worst_iou"]
    assert (worst["code"], worst["where"], worst["iou"]) == ("holes-filled", "annotation 1 of a.jpg", 0.75)


@pytest.mark.real
def test_blood_cells(tmp_path: Path, real_data: Path) -> None:
    receipt = convert(real_data / "bccd", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["receipt.json", "test.json", "train.json", "val.json"]
    counts = {s: len(load_coco(tmp_path / f"{s}.json").images) for s in ("train", "val", "test")}
    assert counts == {"train": 205, "val": 87, "test": 72}
    assert receipt.to_json()["annotations"] == {"in": 4888, "out": 4886, "dropped": 2}


def test_parts_that_number_their_classes_differently_share_one_numbering(tmp_path: Path) -> None:
    for part, names in (("train", ["cat", "dog"]), ("val", ["dog", "cat"])):
        image = {"id": 1, "file_name": f"{part}.jpg", "width": 40, "height": 30}
        box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
        record = {
            "images": [image],
            "annotations": [box],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
        }
        (tmp_path / f"{part}.json").write_text(json.dumps(record))
    receipt = convert(tmp_path, tmp_path / "out", to_format="yolo")
    assert receipt.counts["categories-merged"] == 1
    names = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["names"]
    rows = {part: (tmp_path / "out" / part / "labels" / f"{part}.txt").read_text() for part in ("train", "val")}
    assert {part: names[int(row.split()[0])] for part, row in rows.items()} == {"train": "cat", "val": "dog"}


@pytest.mark.parametrize("target", ["yolo", "voc", "csv", "kitti", "createml"])
def test_boxes_that_only_coco_can_list_are_dropped(tmp_path: Path, target: str) -> None:
    boxes = [[1, 2, 3, 4], [100, 100, 5, 5], [1, 2, 0, 5], [-9, 1, 9, 5], [38, 1, 9, 5]]
    record = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(record))
    receipt = convert(tmp_path / "a.json", tmp_path / "out", to_format=target)
    assert (receipt.counts["box-outside"], receipt.counts["box-zero-area"]) == (2, 1)
    assert (receipt.annotations_in, receipt.annotations_out) == (5, 2)
    assert convert(tmp_path / "a.json", tmp_path / "same").annotations_out == 5


WRITABLE = [*WRITERS, "lvis", "createml", "datumaro", "supervisely", "csv", "kitti", "dota", "masks", "imagefolder"]


@pytest.mark.parametrize("name", WRITABLE)
def test_images_in_and_below_a_folder_are_found_where_each_format_has_them(name: str, tmp_path: Path) -> None:
    images = ["b.png", "deep/a b.jpg", "deep/b.png"]
    polygon = [[2, 1, 9, 1, 9, 8]]
    files = [{"id": i, "file_name": image, "width": 20, "height": 10} for i, image in enumerate(images, start=1)]
    objects = [
        {"id": i, "image_id": i, "category_id": 1, "segmentation": polygon, "bbox": [2, 1, 7, 7]} for i in (1, 2, 3)
    ]
    for number, image in enumerate(images):
        (tmp_path / image).parent.mkdir(exist_ok=True)
        Pillow.new("L", (20, 10), 50 * number).save(tmp_path / image)
    record = {"images": files, "annotations": objects, "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "a.json").write_text(json.dumps(record))
    receipt = convert(tmp_path / "a.json", tmp_path / "out", to_format=name, place="copy")
    assert "images-not-written" not in receipt.counts
    read = read_parts(tmp_path / "out")
    assert read.format == name
    [part] = read.parts
    contents = {sha256(image.path) for image in part.dataset.images if image.path is not None}
    assert contents == {sha256(tmp_path / image) for image in images}
    assert len(part.dataset.annotations) == 3
    assert all(image.path is None or image.path.is_relative_to(tmp_path / "out") for image in part.dataset.images)


def in_parts(root: Path) -> Path:
    """train and val in COCO, two images each in a folder `images` of their own, one object with a mask each."""
    (root / "annotations").mkdir(parents=True)
    for n, part in enumerate(("train", "val")):
        images, annotations = [], []
        for i in (1, 2):
            name = f"{part}/images/{i}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Pillow.new("RGB", (40 + 10 * n, 30), (i, 90, 9)).save(root / name)
            images.append({"id": i, "file_name": name, "width": 40 + 10 * n, "height": 30})
            shape = {"bbox": [4, 4, 10, 8], "segmentation": [[4, 4, 14, 4, 14, 12, 4, 12]], "area": 80}
            annotations.append({"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, **shape})
        record = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
        (root / "annotations" / f"{part}.json").write_text(json.dumps(record))
    return root


WRITABLE = ("coco", "lvis", "voc", "yolo", "labelme", "cvat", "via", "createml", "label_studio", "datumaro",
            "supervisely", "csv", "kitti", "dota", "masks", "imagefolder")  # fmt: skip


@pytest.mark.parametrize("place", ["copy", "link"])
@pytest.mark.parametrize("name", WRITABLE)
def test_parts_are_read_back_with_their_images_and_objects(name: str, place: Any, tmp_path: Path) -> None:
    convert(in_parts(tmp_path / "set"), tmp_path / "out", to_format=name, place=place)
    back = read_parts(tmp_path / "out")
    assert back.format == name
    assert [part.name for part in back.parts] == ["train", "val"]
    for part, width in zip(back.parts, (40, 50), strict=True):
        assert len(part.dataset.annotations) == 2
        for image in part.dataset.images:
            assert image.width == width
            assert image.path is not None
            with Pillow.open(image.path) as file:
                assert file.size == (width, 30)


@pytest.mark.parametrize("name", WRITABLE)
def test_a_dry_run_writes_nothing_in_any_format(name: str, tmp_path: Path) -> None:
    convert(in_parts(tmp_path / "set"), tmp_path / "out", to_format=name, place="copy", dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_no_json_is_written_among_the_source_s(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "set" / "instances.json")
    with pytest.raises(DataError, match="would lie among the source's files, and be read with them"):
        convert(tmp_path / "set", tmp_path / "set")
    assert [path.name for path in source.parent.iterdir()] == ["instances.json"]
    convert(tmp_path / "set", tmp_path / "set" / "out")


def test_a_rotated_box_in_place_of_a_mask_is_a_loss_with_its_overlap(tmp_path: Path) -> None:
    source = coco_file(tmp_path / "a.json", segmentation=[[2, 2, 12, 2, 2, 8]], bbox=[2, 2, 10, 6])
    receipt = convert(source, tmp_path / "out", to_format="dota")
    [worst] = receipt.worst
    assert worst.iou == pytest.approx(0.5, abs=0.08)
    with pytest.raises(DataError, match=r"--strict: something would be lost: mask-as-rotated-box \(1\)"):
        convert(source, tmp_path / "strict", to_format="dota", strict=True)


@pytest.mark.parametrize("name", ["masks", "dota"])
def test_the_box_that_reading_gives_back_is_compared(name: str, tmp_path: Path) -> None:
    mask = [4.4, 1, 6, 1.4, 13, 5, 13, 7, 11, 7.4]
    source = coco_file(tmp_path / "a.json", segmentation=[mask], bbox=[4.4, 1, 8.6, 6.4])
    receipt = convert(source, tmp_path / name, to_format=name)
    [event] = [event for event in receipt.events if event.code == "box-replaced"]
    Pillow.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    back = read_parts(tmp_path / name, images=tmp_path).parts[0].dataset.annotations[0]
    most = max(abs(a - b) for a, b in zip(back.bbox_xywh, (4.4, 1, 8.6, 6.4), strict=True))
    assert f"by up to {most:.2f} px" in event.detail
    assert most > 0.3


@pytest.mark.parametrize("place", ["copy", "link"])
def test_images_that_lie_where_they_belong_are_left_alone(place: Any, tmp_path: Path) -> None:
    source = coco_file(tmp_path / "set" / "a.json")
    (tmp_path / "set" / "images").mkdir()
    Pillow.new("RGB", (20, 10)).save(tmp_path / "set" / "images" / "a.jpg")
    before = (tmp_path / "set" / "images" / "a.jpg").read_bytes()
    convert(source, tmp_path / "set", to_format="yolo", place=place)
    image = tmp_path / "set" / "images" / "a.jpg"
    assert not image.is_symlink()
    assert image.read_bytes() == before
    assert read_parts(tmp_path / "set" / "data.yaml").parts[0].dataset.images[0].path == image


@pytest.mark.parametrize("place", ["copy", "link"])
def test_no_image_of_the_set_is_replaced(place: Any, tmp_path: Path) -> None:
    record = json.loads(coco_file(tmp_path / "set" / "a.json").read_text())
    record["images"] = [
        {**record["images"][0], "file_name": f"{f}/a.jpg", "id": i} for i, f in ((5, "x"), (6, "images/x"))
    ]
    (tmp_path / "set" / "a.json").write_text(json.dumps(record))
    for folder, colour in (("x", 9), ("images/x", 200)):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Pillow.new("RGB", (20, 10), (colour, 0, 0)).save(tmp_path / "set" / folder / "a.jpg")
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"would replace this image of the set; choose another folder"):
        convert(tmp_path / "set" / "a.json", tmp_path / "set", to_format="cvat", place=place)
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()} == before
