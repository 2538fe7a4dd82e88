"""COCO as a format: files, subsets, images, counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from cvtune.data.formats import ReadSource, coco, detect_format, load_format
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError


def record(*names: str, boxes: list[Any] | None = None) -> dict[str, Any]:
    images = [{"id": i, "file_name": name, "width": 10, "height": 8} for i, name in enumerate(names)]
    annotations = [
        {"id": i, "image_id": 0, "category_id": 5, "bbox": box, "area": 1, "iscrowd": 0}
        for i, box in enumerate(boxes or [], start=1)
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "cat"}]}


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", (10, 8)).save(path)
    return path


@pytest.mark.parametrize(
    ("json_at", "image_at", "name"),
    [
        ("a.json", "x.jpg", "x.jpg"),
        ("a.json", "images/x.jpg", "x.jpg"),
        ("annotations/a.json", "images/x.jpg", "x.jpg"),
        ("annotations/instances_train2017.json", "train2017/x.jpg", "x.jpg"),
        ("annotations/instances_train2017.json", "images/train2017/x.jpg", "x.jpg"),
        ("labels/train.json", "train/x.jpg", "x.jpg"),
        ("train/_annotations.coco.json", "train/x.jpg", "x.jpg"),
        ("a.json", "images/x.jpg", "images/x.jpg"),
        ("a.json", "images/x.jpg", "else/where/x.jpg"),
        ("a.json", "images/x.JPG", "x.jpg"),
        ("a.json", "images/x.jpg", "/somebody/else/x.jpg"),
    ],
)
def test_images_are_found_around_the_file(tmp_path: Path, json_at: str, image_at: str, name: str) -> None:
    image = picture(tmp_path / image_at)
    file = write(tmp_path / json_at, record(name))
    receipt = Receipt()
    dataset = coco.read(ReadSource(file), receipt)
    assert dataset.images[0].path == image
    assert dataset.images[0].file_name == name
    assert receipt.events == []
    assert receipt.files == [file]


def test_a_given_folder_is_searched_alone(tmp_path: Path) -> None:
    picture(tmp_path / "x.jpg")
    given = picture(tmp_path / "given" / "x.jpg")
    file = write(tmp_path / "a.json", record("x.jpg", "y.jpg"))
    picture(tmp_path / "y.jpg")
    receipt = Receipt()
    dataset = coco.read(ReadSource(file, images=given.parent), receipt)
    assert [image.path for image in dataset.images] == [given, None]
    [note] = receipt.events
    assert note.code == "image-missing"
    assert "1 of 2, the first: y.jpg" in note.detail
    with pytest.raises(DataError, match="no such folder of images"):
        coco.read(ReadSource(file, images=tmp_path / "none"), Receipt())


def test_counts_hold_what_is_kept_and_what_is_dropped(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", record("x.jpg", boxes=[[0, 0, 2, 2], [0, 0, "x", 2], [1, 1, 3, 3]]))
    receipt = Receipt()
    dataset = coco.read(ReadSource(file), receipt)
    assert (receipt.images_in, dict(receipt.classes_in)) == (1, {"cat": 3})
    assert len(dataset.annotations) == 2
    receipt.count_out(1, {"cat": 2})
    receipt.check_sums()


def test_subsets_of_a_folder(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path / "robo" / split / "_annotations.coco.json", record(f"{split}.jpg"))
    assert coco.subsets(tmp_path / "robo") == ("train", "valid")
    dataset = coco.read(ReadSource(tmp_path / "robo", subset="valid"), Receipt())
    assert dataset.images[0].file_name == "valid.jpg"
    for name in ("instances_train2017", "instances_val2017"):
        write(tmp_path / "ms" / "annotations" / f"{name}.json", record(f"{name}.jpg"))
    for subset in ("instances_val2017", "val2017", "val"):
        dataset = coco.read(ReadSource(tmp_path / "ms", subset=subset), Receipt())
        assert dataset.images[0].file_name == "instances_val2017.jpg"
    with pytest.raises(DataError, match=r"several COCO files.*allowed: train, valid"):
        coco.read(ReadSource(tmp_path / "robo"), Receipt())
    with pytest.raises(DataError, match=r"no subset 'vaild'; allowed: train, valid; did you mean 'valid'"):
        coco.read(ReadSource(tmp_path / "robo", subset="vaild"), Receipt())
    with pytest.raises(DataError, match="has no subsets"):
        coco.read(ReadSource(tmp_path / "robo" / "train" / "_annotations.coco.json", subset="train"), Receipt())
    with pytest.raises(DataError, match="no COCO file"):
        coco.read(ReadSource(picture(tmp_path / "none" / "x.jpg").parent), Receipt())


@pytest.mark.parametrize("target", ["out.json", "out"])
def test_writing_gives_the_same_set_back(tmp_path: Path, target: str) -> None:
    file = write(tmp_path / "a.json", record("x.jpg", boxes=[[0.5, 0, 2, 2]]) | {"info": {"year": 2020}})
    dataset = coco.read(ReadSource(file), Receipt())
    [written] = coco.write(dataset, tmp_path / target, Receipt())
    assert written == (tmp_path / target if target.endswith(".json") else tmp_path / target / "annotations.json")
    again = coco.read(ReadSource(written), Receipt())
    assert (again.annotations, again.categories, again.extra) == (
        dataset.annotations,
        dataset.categories,
        dataset.extra,
    )


def test_roboflows_category_of_the_whole_project_goes_where_no_split_uses_it(tmp_path: Path) -> None:
    above = {"id": 0, "name": "cells", "supercategory": "none"}
    below = {"id": 1, "name": "round", "supercategory": "cells"}

    def split(name: str, category_id: int, *categories: dict[str, Any]) -> Path:
        content = record("x.jpg", boxes=[[0, 0, 2, 2]])
        content["annotations"][0]["category_id"] = category_id
        return write(tmp_path / name / "_annotations.coco.json", content | {"categories": list(categories)})

    def read(path: Path) -> tuple[list[Any], list[str]]:
        receipt = Receipt()
        dataset = coco.read(ReadSource(path), receipt)
        details = [event.detail for event in receipt.events if event.code == "class-placeholder"]
        return [category.id for category in dataset.categories], details

    train = split("train", 1, above, below)
    assert read(train) == ([1], ["category 0, 'cells': left out, no object has it"])
    split("valid", 0, above, below)
    assert read(train) == ([0, 1], ["category 0, 'cells': kept, since 1 objects have it"])
    assert read(split("plain", 0, above)) == ([0], [])
    assert read(split("other", 0, above, below | {"supercategory": "animal"})) == ([0, 1], [])


@pytest.mark.real
def test_real_sets(real_data: Path) -> None:
    for path, images, objects in (("fruit_nuts", 18, 165), ("one_set_nine_formats/coco1.0", 4, 23)):
        receipt = Receipt()
        dataset = coco.read(ReadSource(real_data / path), receipt)
        assert (len(dataset.images), len(dataset.annotations)) == (images, objects)
        assert all(image.path is not None and image.path.is_file() for image in dataset.images)
        assert (receipt.images_in, receipt.annotations_in) == (images, objects)


def one(name: str = "a.jpg") -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": name, "width": 20, "height": 10}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "cat"}],
    }


CAPTIONS = {**one(), "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            {
                "annotations/instances_train2017.json": one(),
                "annotations/instances_val2017.json": one(),
                "annotations/captions_train2017.json": CAPTIONS,
                "annotations/person_keypoints_val2017.json": one(),
            },
            ("instances_train2017", "instances_val2017"),
        ),
        ({"train/labels.json": one(), "val/labels.json": one()}, ("train", "val")),
        ({"train/annotations/a.json": one(), "val/annotations/a.json": one()}, ("train", "val")),
        ({"labels.json": one(), "data/labels.json": one()}, ()),
    ],
)
def test_folders_of_coco_files(tmp_path: Path, read: Any, layout: dict[str, Any], expected: tuple[str, ...]) -> None:
    for name, content in layout.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    assert load_format("coco").subsets(tmp_path) == expected
    assert detect_format(tmp_path)[0] == "coco"
    for subset in expected:
        _, receipt = read("coco", tmp_path, subset=subset)
        skipped = [event.where for event in receipt.events if event.code == "file-skipped"]
        assert len(skipped) == subset.startswith("instances_")


def test_images_in_data_beside_the_file(tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"labels.json": json.dumps(one()), "data/a.jpg": (20, 10)})
    assert read("coco", tmp_path)[0].images[0].path == tmp_path / "data" / "a.jpg"
