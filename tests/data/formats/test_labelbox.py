"""Labelbox's exports: shapes, several labels and projects, names of images, lines and lists, both generations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.formats import detect_format, load_format
from cvtune.errors import DataError

BOX = {"top": 3, "left": 2, "height": 12, "width": 10.5}
GOOD = {"name": "x", "bounding_box": BOX}
TRIANGLE = [{"x": 20, "y": 5}, {"x": 30, "y": 5}, {"x": 30, "y": 25}]


def label(*objects: Any, date: str = "", **more: Any) -> dict[str, Any]:
    return {"annotations": {"objects": list(objects)} | more, "label_details": {"created_at": date}}


def row(*labels: Any, size: Any = (60, 40), **data: Any) -> dict[str, Any]:
    media = {"width": size[0], "height": size[1]}
    named = {"id": "c1", "external_id": "a.jpg"} | data
    return {"data_row": named, "media_attributes": media, "projects": {"p": {"name": "P", "labels": list(labels)}}}


def older(*objects: Any, **more: Any) -> dict[str, Any]:
    return {"DataRow ID": "d", "Labeled Data": "https://x/a.jpg", "Label": {"objects": list(objects)}} | more


def export(path: Path, *rows: Any, name: str = "export.ndjson") -> Path:
    lines = "\n".join(map(json.dumps, rows)) + "\n"
    (path / name).write_text(json.dumps(rows, indent=1) if name.endswith(".json") else lines)
    return path


@pytest.mark.parametrize(
    ("item", "bbox", "area"),
    [
        (GOOD, (2, 3, 10.5, 12), 126),
        ({"name": "x", "polygon": TRIANGLE}, (20, 5, 10, 20), 100),
        ({"title": "x", "bbox": BOX}, (2, 3, 10.5, 12), 126),
        ({"value": "x", "polygon": TRIANGLE}, (20, 5, 10, 20), 100),
    ],
)
def test_shapes(item: Any, bbox: Any, area: float, tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"a.jpg": (60, 40)})
    for content in row(label(item)), older(item):
        dataset, receipt = read("labelbox", export(tmp_path, content))
        (annotation,) = dataset.annotations
        assert (annotation.bbox_xywh, annotation.area) == (bbox, area)
        assert [c.name for c in dataset.categories] == ["x"]
        assert receipt.files == [tmp_path / "export.ndjson"]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"name": "x", "line": TRIANGLE}, "shape-without-area"),
        ({"name": "x", "point": {"x": 1, "y": 2}}, "shape-without-area"),
        ({"name": "x", "mask": {"url": "https://x/m"}}, "mask-missing-file"),
        ({"name": "x", "composite_mask": {"url": "https://x/m", "color_rgb": [1, 2, 3]}}, "mask-missing-file"),
        ({"title": "x", "instanceURI": "https://x/m"}, "mask-missing-file"),
        ({"name": "x", "annotation_kind": "TextEntity"}, "shape-unknown"),
        ({"bounding_box": BOX}, "class-missing"),
        ({"name": "x", "bounding_box": {"top": 1}}, "box-not-numeric"),
        ({"name": "x", "polygon": None}, "mask-degenerate"),
        ({"name": "x", "polygon": [{"x": 1}, 2, {"x": 1, "y": 2}]}, "mask-degenerate"),
        (3, "value-malformed"),
    ],
)
def test_what_is_no_object_is_dropped(item: Any, code: str, tmp_path: Path, read: Any, codes: Any) -> None:
    dataset, receipt = read("labelbox", export(tmp_path, row(label(GOOD, item))))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]


@pytest.mark.parametrize(("dates", "counts"), [(("2024", "2023"), 0), (("2023", "2024"), 1), (("", ""), 1)])
def test_the_latest_of_several_labels_counts(dates: Any, counts: int, tmp_path: Path, read: Any, codes: Any) -> None:
    boxes = [GOOD | {"bounding_box": BOX | {"left": left}} for left in (2, 20)]
    labels = [label(boxes[0], date=dates[0]), label(boxes[1], date=dates[1])]
    dataset, receipt = read("labelbox", export(tmp_path, row(*labels)))
    assert [a.bbox_xywh[0] for a in dataset.annotations] == [(2, 20)[counts]]
    assert codes(receipt, "drop") == ["object-superseded"]
    rows = [older(box, **{"Created At": date}) for box, date in zip(boxes, dates, strict=True)]
    media = {"Media Attributes": {"width": 60, "height": 40}}
    dataset, receipt = read("labelbox", export(tmp_path, *(r | media for r in rows)))
    assert len(dataset.images) == 1
    assert [a.bbox_xywh[0] for a in dataset.annotations] == [(2, 20)[counts]]
    assert codes(receipt, "drop") == ["object-superseded"]


def test_all_projects_are_read(tmp_path: Path, read: Any) -> None:
    content = row(label(GOOD))
    content["projects"]["q"] = {"labels": [label(GOOD | {"name": "y"})]}
    dataset, _ = read("labelbox", export(tmp_path, content))
    assert [(a.category_id, a.extra["project"]) for a in dataset.annotations] == [(1, "P"), (2, "2")]


def test_answers_and_ids_are_kept(tmp_path: Path, read: Any, codes: Any) -> None:
    classifications = [
        {"name": "hidden", "radio_answer": {"name": "partly", "classifications": []}},
        {"name": "damage", "checklist_answers": [{"name": "dented"}, {"name": "wet"}]},
        {"name": "note", "text_answer": {"content": "loaded"}},
        {"title": "old", "answer": {"title": "yes", "value": "y"}},
        {"name": "none"},
        7,
    ]
    item = GOOD | {"feature_id": "f1", "classifications": classifications}
    content = row(label(item, classifications=[{"name": "time", "radio_answer": {"name": "night"}}]))
    dataset, receipt = read("labelbox", export(tmp_path, content))
    answers = {"hidden": "partly", "damage": ["dented", "wet"], "note": "loaded", "old": "yes"}
    assert dict(dataset.annotations[0].extra) == {"feature_id": "f1", "attributes": answers}
    assert "image-tags-lost" in codes(receipt, "note")


def test_rows_without_labels_and_frames_of_videos(tmp_path: Path, read: Any, codes: Any) -> None:
    video = row({"annotations": {"frames": {"1": {"objects": {"f": GOOD}}, "2": {"objects": {"f": GOOD}}}}})
    catalogue = {"data_row": {"id": "c2", "external_id": "b.jpg"}, "media_attributes": {"width": 9, "height": 9}}
    dataset, receipt = read("labelbox", export(tmp_path, row(), video, catalogue, row(label())))
    assert len(dataset.images) == 4
    assert codes(receipt, "drop") == ["shape-unknown"] * 2
    assert codes(receipt, "note").count("label-missing") == 1


def test_older_rows_that_are_skipped_or_of_the_first_export(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    files(tmp_path, {f"{name}.jpg": (60, 40) for name in "abc"})
    first = {"Labeled Data": "https://x/b.jpg", "Label": {"Car": [{"geometry": TRIANGLE}, {"geometry": TRIANGLE}]}}
    skipped = {"Labeled Data": "https://x/c.jpg", "Label": "Skip"}
    dataset, receipt = read("labelbox", export(tmp_path, older(GOOD), first, skipped, name="export.json"))
    assert [image.file_name for image in dataset.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert dict(receipt.classes_dropped) == {"Car": 2}
    assert codes(receipt, "note") == ["label-missing"]


@pytest.mark.parametrize(
    ("data", "called"),
    [
        ({"external_id": "a.jpg", "global_key": "k"}, "a.jpg"),
        ({"external_id": None, "global_key": "d/k.png"}, "d/k.png"),
        ({"external_id": "7", "global_key": None, "row_data": "https://x/y/r.jpg?Expires=1"}, "r.jpg"),
        ({"external_id": None, "row_data": "https://x/y/r"}, "r"),
    ],
)
def test_names_of_images(data: Any, called: str, tmp_path: Path, read: Any) -> None:
    dataset, _ = read("labelbox", export(tmp_path, row(label(GOOD), **data)))
    assert dataset.images[0].file_name == called


def test_an_image_is_found_by_any_of_its_names(tmp_path: Path, read: Any, files: Any) -> None:
    files(tmp_path, {"images/r.jpg": (60, 40)})
    content = row(label(GOOD), global_key="k.jpg", row_data="https://x/y/r.jpg?s=1")
    dataset, _ = read("labelbox", export(tmp_path, content))
    assert dataset.images[0].path == tmp_path / "images" / "r.jpg"


@pytest.mark.parametrize("name", ["export.ndjson", "export.jsonl", "export.json"])
@pytest.mark.parametrize("count", [1, 5])
def test_lines_and_lists(name: str, count: int, tmp_path: Path, read: Any) -> None:
    export(tmp_path, *[row(label(GOOD), external_id=f"{n}.jpg") for n in range(count)], name=name)
    assert detect_format(tmp_path)[0] == detect_format(tmp_path / name)[0] == "labelbox"
    assert len(read("labelbox", tmp_path)[0].images) == count
    (tmp_path / name).write_text(json.dumps(row(label(GOOD))))
    assert detect_format(tmp_path)[0] == "labelbox"
    assert len(read("labelbox", tmp_path)[0].images) == 1


def test_splits(tmp_path: Path, read: Any) -> None:
    export(tmp_path, row(label(GOOD | {"name": "y"})), name="train.ndjson")
    export(tmp_path, row(label(GOOD)), name="val.ndjson")
    assert load_format("labelbox").subsets(tmp_path) == ("train", "val")
    dataset, _ = read("labelbox", tmp_path, subset="val")
    assert [(a.image_id, a.category_id) for a in dataset.annotations] == [(2, 1)]


@pytest.mark.parametrize("line", ["[]", '{"data_row": {"id": 1', '{"a": 1}'])
def test_a_broken_line_is_named(line: str, tmp_path: Path, read: Any) -> None:
    file = export(tmp_path, row(label(GOOD)), row(label(GOOD))) / "export.ndjson"
    file.write_text(file.read_text() + line)
    assert detect_format(tmp_path)[0] == "labelbox"
    with pytest.raises(DataError, match=r"export\.ndjson: line 3"):
        read("labelbox", tmp_path)
