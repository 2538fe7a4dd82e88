"""Sets in JSON as their owners keep them: folders, file names and keys that tools and people make of the formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.coco import Dataset
from cvtune.data.convert import convert
from cvtune.data.formats import detect_format
from cvtune.data.parts import read_parts
from cvtune.errors import DataError

PICTURE = (64, 48)


def coco(*names: str, **changes: Any) -> dict[str, Any]:
    """A set of one object an image."""
    return {
        "images": [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 10, 10], "segmentation": []}
            for i in range(len(names))
        ],
        "categories": [{"id": 1, "name": "cat"}],
        **changes,
    }


def via(**regions: Any) -> dict[str, Any]:
    """Version 2: images a.jpg, ... with a rectangle for each of their lists of attributes."""
    return {
        f"{name}.jpg1": {
            "filename": f"{name}.jpg", "size": 1, "file_attributes": {},
            "regions": [{"shape_attributes": {"name": "rect", "x": 5 * n, "y": 2, "width": 8, "height": 9},
                         "region_attributes": attributes} for n, attributes in enumerate(listed)],
        }
        for name, listed in regions.items()
    }  # fmt: skip


def drawn(label: str | None, x: int = 10, **more: Any) -> dict[str, Any]:
    """A result of Label Studio: a rectangle."""
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0}
    return {
        "id": f"{label}{x}", "type": "rectanglelabels" if label else "rectangle", "from_name": "label",
        "to_name": "image", "original_width": 64, "original_height": 48,
        "value": value | ({"rectanglelabels": [label]} if label else {}), **more,
    }  # fmt: skip


def task(*results: Any, image: str = "/data/upload/1/0a1b2c3d-a.jpg", **more: Any) -> dict[str, Any]:
    """A task of Label Studio with one annotation."""
    return {"id": 1, "data": {"image": image}, "annotations": [{"id": 7, "result": list(results)}], **more}


def stored(number: int, image: str, *results: Any, **more: Any) -> dict[str, Any]:
    """An annotation as Label Studio writes it to a storage, a file each."""
    return {"id": number, "result": list(results), "task": {"id": image, "data": {"image": f"s3://b/{image}"}}, **more}


def vott(image: str, *tags: str, **asset: Any) -> dict[str, Any]:
    """An asset of VoTT with a rectangle for each tag."""
    box = {"left": 5, "top": 6, "width": 7, "height": 8}
    return {
        "asset": {"name": image, "path": f"file:C:/x/{image}", "size": {"width": 64, "height": 48}, "type": 1, **asset},
        "regions": [{"type": "RECTANGLE", "tags": [tag], "boundingBox": box} for tag in tags],
    }


def sly(*classes: str) -> dict[str, Any]:
    """An image of Supervisely with a rectangle for each class."""
    objects = [
        {"classTitle": name, "geometryType": "rectangle", "points": {"exterior": [[1, 2], [9 + n, 9]], "interior": []}}
        for n, name in enumerate(classes)
    ]
    return {"size": {"width": 64, "height": 48}, "tags": [], "objects": objects}


def datumaro(image: str) -> dict[str, Any]:
    """One image and object of Datumaro."""
    box = {"id": 0, "type": "bbox", "group": 0, "label_id": 0, "bbox": [1, 2, 10, 10]}
    item = {"id": image, "annotations": [box], "image": {"path": f"{image}.jpg", "size": [48, 64]}}
    return {"info": {}, "categories": {"label": {"labels": [{"name": "cat"}]}}, "items": [item]}


SLY_META = {"classes": [{"title": "dog", "shape": "any", "id": 70}, {"title": "cat", "shape": "any", "id": 9}]}

# Files, format, the objects of each class in each part, the codes of the receipt's events.
SETS: dict[str, tuple[dict[str, Any], str, dict[str | None, dict[str, int]], set[str]]] = {
    "COCO, named one level too high": (
        {"COCO/train.json": coco("a.png"), "COCO/test.json": coco("b.png", "c.png"),
         "PNG/a.png": PICTURE, "PNG/b.png": PICTURE, "PNG/c.png": PICTURE},
        "coco", {"test": {"cat": 2}, "train": {"cat": 1}}, set(),
    ),
    "COCO, the whole beside its parts": (
        {"annotations.json": coco("a.jpg", "b.jpg", "c.jpg"), "test.json": coco("b.jpg", "c.jpg"),
         "train.json": coco("a.jpg"), **{f"images/{name}.jpg": PICTURE for name in "abc"}},
        "coco", {"test": {"cat": 2}, "train": {"cat": 1}}, {"subset-covered"},
    ),
    "COCO, several files in each folder": (
        {"one/x.json": coco("a.jpg"), "one/y.json": coco("b.jpg"), "two/z.json": coco("c.jpg"),
         "one/a.jpg": PICTURE, "one/b.jpg": PICTURE, "two/c.jpg": PICTURE},
        "coco", {"one_x": {"cat": 1}, "one_y": {"cat": 1}, "two": {"cat": 1}}, set(),
    ),
    "COCO, instances and stuff": (
        {f"annotations/{kind}_val2017.json": coco("a.jpg") for kind in ("instances", "stuff", "person_keypoints")}
        | {"val2017/a.jpg": PICTURE},
        "coco", {None: {"cat": 1}}, {"file-skipped"},
    ),
    "COCO, records under their ids": (
        {"a.json": coco("a.jpg", annotations={"7": {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}},
                        categories={"1": "cat", "2": "dog"}), "a.jpg": PICTURE},
        "coco", {None: {"cat": 1}}, {"value-repaired"},
    ),
    "COCO, an image listed for each of its objects": (
        {"a.json": coco("a.jpg", images=[{"id": 0, "file_name": "a.jpg", "width": 64, "height": 48}] * 2),
         "a.jpg": PICTURE},
        "coco", {None: {"cat": 1}}, {"value-repaired"},
    ),
    "VIA, project, export and table": (
        {"data/train/via_project.json": {"_via_settings": {}, "_via_img_metadata": via(a=[{"type": "cup"}], b=[])},
         "data/train/via_region_data.json": via(a=[{"type": "cup"}], b=[]),
         "data/train/via_region_data.csv": "filename,file_size,file_attributes,region_count,region_id,"
         "region_shape_attributes,region_attributes\n",
         "data/train/a.jpg": PICTURE, "data/train/b.jpg": PICTURE,
         "data/val/via_region_data.json": via(a=[{"type": "cup"}]), "data/val/a.jpg": PICTURE},
        "via", {"train": {"cup": 1}, "val": {"cup": 1}}, {"file-skipped", "class-found"},
    ),
    "VIA, a file for each part": (
        {"annotations/via_train.json": via(a=[{"label": "cup"}]), "annotations/via_val.json": via(b=[{"label": "cup"}]),
         "images/train/a.jpg": PICTURE, "images/val/b.jpg": PICTURE},
        "via", {"train": {"cup": 1}, "val": {"cup": 1}}, {"class-found"},
    ),
    "VIA, the tool's own attributes": (
        {"a.json": via(a=[{"name": "not_defined", "type": kind, "image_quality": {"good": True}} for kind in
                          ("cup", "bird")]), "a.jpg": PICTURE},
        "via", {None: {"bird": 1, "cup": 1}}, {"class-found"},
    ),
    "VIA, an attribute without values": (
        {"a.json": via(a=[{"Pigeon": {}}, {"Pigeon": {}}]), "a.jpg": PICTURE},
        "via", {None: {"Pigeon": 2}}, {"class-found"},
    ),
    "VIA, an attribute for each class": (
        {"a.json": via(a=[{"Car": "1"}, {"Van": "yes"}, {"Van": "yes", "iscrowd": "0"}]), "a.jpg": PICTURE},
        "via", {None: {"Car": 1, "Van": 2}}, {"class-found"},
    ),
    "VIA, an attribute that was forgotten": (
        {"a.json": via(a=[{"label": ""}]), "a.jpg": PICTURE}, "via", {None: {"object": 1}}, {"class-assumed"},
    ),
    "VIA, an image that was added twice": (
        {"a.json": via(a=[{"label": "cup"}]) | {"a.jpg2": {**via(a=[{"label": "hat"}])["a.jpg1"], "size": 2}},
         "a.jpg": PICTURE},
        "via", {None: {"cup": 1, "hat": 1}}, {"class-found", "image-doubled"},
    ),
    "Label Studio, an image under the uploaded file's name": (
        {"p.json": [task(drawn("cat"), image="/image1", file_upload="0a1b2c3d-a.jpg")], "a.jpg": PICTURE},
        "label_studio", {None: {"cat": 1}}, set(),
    ),
    "Label Studio, a task a file": (
        {"1.json": task(drawn("cat")), "2.json": task(drawn("dog"), image="s3://b/b.jpg"),
         "a.jpg": PICTURE, "b.jpg": PICTURE},
        "label_studio", {None: {"cat": 1, "dog": 1}}, set(),
    ),
    "Label Studio, an annotation a file": (
        {"1.json": stored(1, "a.jpg", drawn("cat")), "2.json": stored(2, "b.jpg", drawn("dog")),
         "3.json": stored(3, "a.jpg", drawn("dog"), drawn("cat", 50)), "a.jpg": PICTURE, "b.jpg": PICTURE},
        "label_studio", {None: {"cat": 1, "dog": 2}}, {"object-superseded"},
    ),
    "Label Studio, two images a task": (
        {"p.json": [{**task(drawn("cat", to_name="before"), drawn("dog", to_name="after"), drawn("dog", 40,
                     to_name="after")), "data": {"before": "a.jpg", "after": "b.jpg", "note": "x"}}],
         "a.jpg": PICTURE, "b.jpg": PICTURE},
        "label_studio", {None: {"cat": 1, "dog": 2}}, set(),
    ),
    "Label Studio, pages": (
        {"p.json": [{**task(drawn("cat", item_index=0), drawn("dog", item_index=1)),
                     "data": {"pages": ["a.jpg", "b.jpg"]}},
                    {**task(drawn("cat", to_name="page_1")), "data": {"pages": [{"url": "c.jpg"}, {"url": "d.jpg"}]}}],
         **{f"{name}.jpg": PICTURE for name in "abcd"}},
        "label_studio", {None: {"cat": 2, "dog": 1}}, set(),
    ),
    "Label Studio, an image that the data do not name": (
        {"p.json": [task(drawn("cat"), drawn("dog", to_name="other"), drawn("dog", 40, to_name="image"))],
         "a.jpg": PICTURE},
        "label_studio", {None: {"cat": 1, "dog": 1}}, {"image-not-listed"},
    ),
    "Label Studio, choices instead of labels": (
        {"p.json": [task(drawn(None), {**drawn(None), "type": "choices", "value": {"choices": ["cat"]}})],
         "a.jpg": PICTURE},
        "label_studio", {None: {"cat": 1}}, {"class-found"},
    ),
    "Label Studio, predictions alone": (
        {"p.json": [{"data": {"image": "a.jpg"}, "predictions": [{"result": [drawn("cat")]}]}], "a.jpg": PICTURE},
        "label_studio", {None: {}}, {"predictions-left-out"},
    ),
    "VoTT, exports of splits": (
        {"train-export.json": {"tags": [{"name": "dog"}], "assets": {"1": vott("a.jpg", "dog")}},
         "test-export.json": {"tags": [{"name": "dog"}], "assets": {"2": vott("b.jpg", "dog", "cat")}},
         "a.jpg": PICTURE, "b.jpg": PICTURE},
        "vott", {"test": {"dog": 1, "cat": 1}, "train": {"dog": 1}}, set(),
    ),
    "VoTT, frames of a video": (
        {"x-export.json": {"assets": {"1": vott("m.mp4", type=2), "2": vott("m.mp4#t=1.5", "dog", type=3)}},
         "m.mp4#t=1.5.jpg": PICTURE},
        "vott", {None: {"dog": 1}}, {"file-skipped"},
    ),
    "Supervisely, datasets within datasets, named one level too high": (
        {"1_Project/meta.json": SLY_META, "1_Project/one/ann/a.jpg.json": sly("cat"),
         "1_Project/one/img/a.jpg": PICTURE,
         "1_Project/one/datasets/two/ann/a.jpg.json": sly("cat", "dog"),
         "1_Project/one/datasets/two/img/a.jpg": PICTURE},
        "supervisely", {"one": {"cat": 1}, "one_two": {"cat": 1, "dog": 1}}, set(),
    ),
    "Datumaro, folders of splits": (
        {"x/train/annotations/default.json": datumaro("a"), "x/train/images/default/a.jpg": PICTURE,
         "x/val/annotations/default.json": datumaro("a"), "x/val/images/default/a.jpg": PICTURE},
        "datumaro", {"train": {"cat": 1}, "val": {"cat": 1}}, set(),
    ),
    "Roboflow, COCO in the folder of an archive": (
        {"x.coco/train/_annotations.coco.json": coco("a.jpg"), "x.coco/train/a.jpg": PICTURE,
         "x.coco/valid/_annotations.coco.json": coco("b.jpg"), "x.coco/valid/b.jpg": PICTURE},
        "coco", {"train": {"cat": 1}, "valid": {"cat": 1}}, set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SETS)
def test_sets_as_their_owners_keep_them(case: str, tmp_path: Path, files: Any) -> None:
    content, format, classes, codes = SETS[case]
    files(tmp_path, {n: v if isinstance(v, str | tuple) else json.dumps(v) for n, v in content.items()})
    assert detect_format(tmp_path)[0] == format
    source = read_parts(tmp_path)
    found: dict[str | None, dict[str, int]] = {}
    for part in source.parts:
        names = {category.id: category.name for category in part.dataset.categories}
        counted = found.setdefault(part.name, {})
        for annotation in part.dataset.annotations:
            counted[names[annotation.category_id]] = counted.get(names[annotation.category_id], 0) + 1
        assert all(image.path is not None for image in part.dataset.images)
    assert found == classes
    receipts = [source.rest, *(part.receipt for part in source.parts)]
    assert {event.code for receipt in receipts for event in receipt.events} == codes


def test_a_part_that_is_named_as_a_split_is_kept_whatever_the_others_hold(tmp_path: Path, files: Any) -> None:
    content = {"train.json": coco("a.jpg", "b.jpg"), "fold_0.json": coco("a.jpg"), "fold_1.json": coco("b.jpg")}
    files(tmp_path, {**{name: json.dumps(value) for name, value in content.items()}, "a.jpg": (64, 48)})
    assert [part.name for part in read_parts(tmp_path).parts] == ["fold_0", "fold_1", "train"]


def test_objects_lie_on_the_image_that_they_were_drawn_on(tmp_path: Path, files: Any, read: Any) -> None:
    content, _, _, _ = SETS["Label Studio, pages"]
    files(tmp_path, {n: v if isinstance(v, tuple) else json.dumps(v) for n, v in content.items()})
    dataset, _ = read("label_studio", tmp_path)
    names = {image.id: image.file_name for image in dataset.images}
    assert sorted(names.values()) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [names[annotation.image_id] for annotation in dataset.annotations] == ["a.jpg", "b.jpg", "d.jpg"]


POINT = {**drawn(None), "type": "keypointlabels", "value": {"x": 1, "y": 2, "keypointlabels": ["nose"]}}
CUP = via(a=[{"label": "cat"}])["a.jpg1"]
DOT = {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {"label": "nose"}}
WITH_POINTS: dict[str, dict[str, Any]] = {
    "label_studio": {"p.json": [task(drawn("cat"), POINT)]},
    "via": {"a.json": {"a.jpg1": {**CUP, "regions": [*CUP["regions"], DOT]}}},
    "labelme": {
        "a.json": {"imagePath": "a.jpg", "imageHeight": 48, "imageWidth": 64, "shapes": [
            {"label": "cat", "points": [[1, 2], [9, 8]], "shape_type": "rectangle"},
            {"label": "nose", "points": [[1, 2]], "shape_type": "point"},
        ]},
    },
    "supervisely": {
        "ann/a.jpg.json": {**sly("cat"), "objects": [*sly("cat")["objects"], {
            "classTitle": "nose", "geometryType": "point", "points": {"exterior": [[1, 2]], "interior": []}}]},
    },
    "vott": {
        "x-export.json": {"assets": {"1": {**vott("a.jpg"), "regions": [
            *vott("a.jpg", "cat")["regions"], {"type": "POINT", "tags": ["nose"], "points": [{"x": 1, "y": 2}]}]}}},
    },
}  # fmt: skip


@pytest.mark.parametrize("format", WITH_POINTS)
def test_classes_of_points_alone_are_no_classes(format: str, tmp_path: Path, files: Any, read: Any) -> None:
    content = {name: json.dumps(value) for name, value in WITH_POINTS[format].items()}
    files(tmp_path, {**content, "a.jpg": PICTURE})
    dataset, receipt = read(format, tmp_path)
    assert [category.name for category in dataset.categories] == ["cat"]
    assert receipt.classes_dropped == {"nose": 1}


def test_tasks_of_videos_are_said_to_be_so(tmp_path: Path, files: Any, read: Any) -> None:
    moved = {"type": "videorectangle", "value": {"labels": ["cat"], "sequence": [{"frame": 1, "x": 1}]}}
    files(tmp_path, {"p.json": json.dumps([{"data": {"video": "a.mp4"}, "annotations": [{"result": [moved]}]}])})
    with pytest.raises(DataError, match="its tasks are of videos, whose frames are not read"):
        read("label_studio", tmp_path)


def test_classes_keep_the_ids_of_their_project_from_above_it(tmp_path: Path, files: Any, read: Any) -> None:
    files(tmp_path, {"p/meta.json": json.dumps(SLY_META), "p/one/ann/a.jpg.json": json.dumps(sly("cat"))})
    for path in (tmp_path, tmp_path / "p", tmp_path / "p/one", tmp_path / "p/one/ann"):
        dataset, _ = read("supervisely", path)
        assert [(category.id, category.name) for category in dataset.categories] == [(70, "dog"), (9, "cat")]


def test_sets_below_a_folder_that_is_none_are_named(tmp_path: Path, files: Any) -> None:
    content = {"a/x/one.json": coco("a.jpg"), "notes/annotations.json": {"images": 1}}
    files(tmp_path, {name: json.dumps(value) for name, value in content.items()} | {"readme.md": "x"})
    with pytest.raises(DataError, match=r"2 folders, 1 \.md; sets lie below it: a \(coco\); give one of them; known"):
        detect_format(tmp_path)


def test_annotations_of_no_objects_are_said_to_be_so(tmp_path: Path, files: Any) -> None:
    content = coco("a.jpg", annotations=[{"image_id": 0, "file_name": "a.png", "segments_info": []}])
    files(tmp_path, {"annotations/panoptic_val.json": json.dumps(content)})
    with pytest.raises(DataError, match=r"its annotations are of no objects; their keys are .* segments_info"):
        detect_format(tmp_path)


def test_the_folder_that_a_set_lies_in_says_nothing_of_its_images(tmp_path: Path, files: Any) -> None:
    files(tmp_path / "test", {"far/off/train/a.jpg": PICTURE, "labels.json": json.dumps(coco("a.jpg"))})
    [part] = read_parts(tmp_path / "test").parts
    assert part.dataset.images[0].path == tmp_path / "test/far/off/train/a.jpg"


def xyxy(dataset: Dataset) -> list[float]:
    """The box of the only object."""
    x, y, w, h = dataset.annotations[0].bbox_xywh
    return [x, y, x + w, y + h]


@pytest.mark.parametrize("format", ["coco", "datumaro"])
@pytest.mark.parametrize(
    ("attributes", "box"),
    [
        ({"occluded": False, "rotation": 90.0}, (35, 5, 45, 45)),
        ({"occluded": False, "rotation": 0.0}, (20, 20, 60, 30)),
        ({"rotation": 90.0}, (20, 20, 60, 30)),
        ({"occluded": False, "rotation": "left"}, (20, 20, 60, 30)),
    ],
)
def test_boxes_that_cvat_turned(
    format: str, attributes: dict[str, Any], box: tuple[int, ...], tmp_path: Path, files: Any, read: Any, codes: Any
) -> None:
    content = coco("a.jpg") if format == "coco" else datumaro("a")
    record = (content if format == "coco" else content["items"][0])["annotations"][0]
    record.update(bbox=[20, 20, 40, 10], attributes=attributes)
    files(tmp_path, {"annotations/instances_default.json": json.dumps(content), "images/a.jpg": PICTURE})
    dataset, receipt = read(format, tmp_path)
    turned = box == (35, 5, 45, 45)
    assert xyxy(dataset) == pytest.approx(box)
    assert (codes(receipt, "repair") == ["rotation-as-polygon"]) == turned
    if turned:
        [polygon] = dataset.annotations[0].segmentation
        assert polygon.tolist() == pytest.approx([45, 5, 45, 45, 35, 45, 35, 5])
        for again in ("coco", "datumaro"):
            convert(tmp_path, tmp_path / "out" / again, format, again)
            assert xyxy(read(again, tmp_path / "out" / again)[0]) == pytest.approx(box)
