"""Ground Truth's manifests: several jobs, class ids, images of S3, lines that are not labelled, files of lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.formats import detect_format, load_format
from cvtune.errors import DataError

BOX = {"class_id": 1, "left": 2, "top": 3, "width": 10, "height": 12}


def job(name: str, *boxes: Any, classes: Any = None, date: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"class-map": {"1": "cat", "4": "dog"} if classes is None else classes, "creation-date": date}
    size = [{"width": 60, "height": 40, "depth": 3}]
    return {
        name: {"annotations": list(boxes), "image_size": size},
        f"{name}-metadata": metadata | {"type": "groundtruth/object-detection"} | more,
    }


def manifest(path: Path, *lines: Any, name: str = "output.manifest") -> Path:
    records = [{"source-ref": f"s3://b/f/{n}.jpg"} | line for n, line in enumerate(lines)]
    (path / name).write_text("\n".join(map(json.dumps, records)) + "\n\n")
    return path


def test_boxes_ids_and_confidence(tmp_path: Path, read: Any) -> None:
    objects = [{"confidence": 0.25}]
    dataset, receipt = read("sagemaker", manifest(tmp_path, job("j", BOX, BOX | {"class_id": "4"}, objects=objects)))
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "cat"), (4, "dog")]
    assert [(a.category_id, a.bbox_xywh) for a in dataset.annotations] == [(1, (2, 3, 10, 12)), (4, (2, 3, 10, 12))]
    assert [dict(a.extra) for a in dataset.annotations] == [{"confidence": 0.25}, {}]
    assert [(i.file_name, i.width, i.height) for i in dataset.images] == [("0.jpg", 60, 40)]
    assert receipt.files == [tmp_path / "output.manifest"]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (BOX | {"class_id": 2}, "class-unknown"),
        (BOX | {"class_id": "x"}, "class-unknown"),
        ({key: value for key, value in BOX.items() if key != "class_id"}, "class-missing"),
        ({"class_id": 1, "vertices": [{"x": 1, "y": 2}]}, "box-missing"),
        (BOX | {"left": None}, "box-not-numeric"),
        (BOX | {"height": -5}, "box-inverted"),
        (BOX | {"left": 90}, "box-outside"),
        ([1], "value-malformed"),
    ],
)
def test_what_is_no_object_is_dropped(record: Any, code: str, tmp_path: Path, read: Any, codes: Any) -> None:
    dataset, receipt = read("sagemaker", manifest(tmp_path, job("j", BOX, record)))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]


@pytest.mark.parametrize(("dates", "counts"), [(("2019", "2018"), 0), (("2018", "2019"), 1), (("", ""), 1)])
def test_the_latest_job_counts(dates: Any, counts: int, tmp_path: Path, read: Any, codes: Any) -> None:
    boxes = [BOX, BOX | {"left": 20}]
    line = job("first", boxes[0], date=dates[0]) | job("adjusted", boxes[1], boxes[1], date=dates[1])
    dataset, receipt = read("sagemaker", manifest(tmp_path, line))
    assert {a.bbox_xywh[0] for a in dataset.annotations} == {boxes[counts]["left"]}
    assert codes(receipt, "drop") == ["object-superseded"] * (2 - counts)


def test_ids_that_mean_other_classes_on_other_lines_are_numbered_by_name(tmp_path: Path, read: Any) -> None:
    lines = [job("j", BOX, classes={"1": "zebra"}), job("j", BOX, classes={"1": "ant"})]
    dataset, _ = read("sagemaker", manifest(tmp_path, *lines))
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "ant"), (2, "zebra")]
    assert [a.category_id for a in dataset.annotations] == [2, 1]


def test_other_answers_are_noted(tmp_path: Path, read: Any, codes: Any) -> None:
    lines = [
        job("j"),
        {"c": 0, "c-metadata": {"class-name": "cat", "type": "groundtruth/image-classification"}},
        {"m-ref": "s3://b/m.png", "m-ref-metadata": {"type": "groundtruth/semantic-segmentation"}},
        {},
    ]
    pictures = {"width": 60, "height": 40}
    lines = [
        line | {"z": {"annotations": [], "image_size": [pictures]}} if n < 3 else line for n, line in enumerate(lines)
    ]
    dataset, receipt = read("sagemaker", manifest(tmp_path, *lines))
    assert len(dataset.images) == 3
    assert codes(receipt, "note") == ["image-tags-lost", "mask-not-read", "label-missing", "image-missing"]


def test_the_output_of_a_job_is_found_and_images_by_the_path_of_their_address(
    tmp_path: Path, read: Any, files: Any
) -> None:
    folder = tmp_path / "job" / "manifests" / "output"
    folder.mkdir(parents=True)
    lines = [{"source-ref": f"s3://bucket/{place}/a.jpg"} | job("j", BOX) for place in ("x", "y")]
    manifest(folder, *lines)
    files(tmp_path, {"images/x/a.jpg": (60, 40), "images/y/a.jpg": (60, 40)})
    assert detect_format(tmp_path)[0] == "sagemaker"
    dataset, _ = read("sagemaker", tmp_path)
    assert [image.path for image in dataset.images] == [tmp_path / f"images/{place}/a.jpg" for place in "xy"]


@pytest.mark.parametrize("name", ["manifest.json", "train.jsonl", "a.manifest"])
def test_names_of_files(name: str, tmp_path: Path, read: Any) -> None:
    manifest(tmp_path, job("j", BOX), job("j", BOX), name=name)
    assert detect_format(tmp_path)[0] == detect_format(tmp_path / name)[0] == "sagemaker"
    assert len(read("sagemaker", tmp_path / name)[0].images) == 2


def test_splits(tmp_path: Path, read: Any) -> None:
    manifest(tmp_path, job("j", BOX), name="train.manifest")
    manifest(tmp_path, {}, job("j", BOX), name="validation.manifest")
    assert load_format("sagemaker").subsets(tmp_path) == ("train", "val")
    dataset, receipt = read("sagemaker", tmp_path, subset="val")
    assert [image.id for image in dataset.images] == [3]
    assert receipt.images_dropped == 1


@pytest.mark.parametrize("line", ['{"source-ref": 1}', "[]", '{"source-ref": "a.jpg"', "x"])
def test_a_broken_line_is_named(line: str, tmp_path: Path, read: Any) -> None:
    file = manifest(tmp_path, job("j", BOX)) / "output.manifest"
    file.write_text(file.read_text().strip() + "\n" + line + "\n")
    assert detect_format(tmp_path)[0] == "sagemaker"
    with pytest.raises(DataError, match=r"output\.manifest: line 2"):
        read("sagemaker", tmp_path)
    file.write_text(line + "\n" + file.read_text())
    with pytest.raises(DataError, match=r"output\.manifest: line 1"):
        read("sagemaker", file)


def test_other_json_beside_it_is_left_out(tmp_path: Path, read: Any, codes: Any) -> None:
    manifest(tmp_path, job("j", BOX))
    (tmp_path / "notes.json").write_text('{\n  "a": 1\n}')
    assert detect_format(tmp_path)[0] == "sagemaker"
    dataset, _ = read("sagemaker", tmp_path)
    assert len(dataset.annotations) == 1
