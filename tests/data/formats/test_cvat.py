"""CVAT XML for images: shapes, labels, subsets, round trips."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.coco import Annotation, Category, Dataset, Image, Rle
from cvtune.data.formats import cvat, detect_format
from cvtune.data.geometry import rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

BOX = '<box label="a" xtl="10" ytl="20" xbr="30" ybr="{}"{}/>'
ELLIPSE = '<ellipse label="a" cx="50" cy="40" rx="20" ry="10"{}/>'
ROUND, TURNED = ["shape-approximated"], ["rotation-as-polygon"]
SQUARE = '<polygon label="a" points="10,10;20,10;20,20;10,20"/>'


def xml(*shapes: str, labels: str = "", name: str = "x.jpg", more: str = "") -> str:
    listed = "".join(f"<label><name>{label}</name></label>" for label in labels.split())
    image = f'<image id="0" name="{name}" width="100" height="80">{"".join(shapes)}</image>'
    return f"<annotations><version>1.1</version><meta><task><labels>{listed}</labels></task></meta>{image}{more}</annotations>"  # noqa: E501


@pytest.mark.parametrize(
    ("shape", "box", "area", "codes_"),
    [
        ('<box label="a" xtl="10" ytl="20" xbr="30" ybr="40"/>', (10, 20, 20, 20), 400, []),
        ('<box label="a" xtl="10" ytl="20" xbr="30" ybr="40" rotation="360.0"/>', (10, 20, 20, 20), 400, []),
        (BOX.format(60, ' rotation="90"'), (0, 30, 40, 20), 800, TURNED),
        (SQUARE, (10, 10, 10, 10), 100, []),
        (ELLIPSE.format(""), (30, 30, 40, 20), math.pi * 200, ROUND),
        (ELLIPSE.format(' rotation="90"'), (40, 20, 20, 40), math.pi * 200, ROUND),
        ('<mask label="a" rle="1, 2, 3" left="4" top="5" width="3" height="2"/>', (5, 5, 2, 1), 2, []),
        ('<mask label="a" rle="0,6" left="98" top="5" width="3" height="2"/>', (98, 5, 2, 2), 4, ["mask-clipped"]),
        ('<box label="a" xtl="-5" ytl="20" xbr="30" ybr="40"/>', (0, 20, 30, 20), 600, ["box-clipped"]),
    ],
)  # fmt: skip
def test_shapes(
    tmp_path: Path, read: Any, files: Any, codes: Any, shape: str, box: Any, area: float, codes_: list[str]
) -> None:
    dataset, receipt = read("cvat", files(tmp_path, {"annotations.xml": xml(shape, labels="b a")}))
    [annotation] = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx(box, abs=0.1)
    assert annotation.area == pytest.approx(area, rel=0.02)
    assert dataset.categories == (Category(1, "b"), Category(2, "a"))
    assert annotation.category_id == 2
    assert codes(receipt, "repair") == codes_


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ('<polyline label="a" points="1,2;3,4"/>', "shape-without-area"),
        ('<points label="a" points="1,2"/>', "shape-without-area"),
        ('<skeleton label="a"><points label="b" points="1,2"/></skeleton>', "shape-without-area"),
        ('<cuboid label="a"/>', "shape-unknown"),
        ('<polygon label="a" points="1,2;3;4,5"/>', "mask-degenerate"),
        ('<polygon label="a"/>', "mask-degenerate"),
        ('<polygon label="" points="1,2;3,3;4,5"/>', "class-missing"),
        ('<box label="a" xtl="10" ytl="20" xbr="nan" ybr="40"/>', "box-not-numeric"),
        ('<box label="a" xtl="10" ytl="20"/>', "box-not-numeric"),
        ('<box label="a" xtl="10" ytl="20" xbr="5" ybr="40" rotation="3"/>', "box-inverted"),
        ('<ellipse label="a" cx="1" cy="1" rx="-1" ry="1"/>', "mask-degenerate"),
        ('<mask label="a" rle="1, 2" left="4" top="5" width="3" height="2"/>', "mask-invalid"),
        ('<mask label="a" rle="x" left="4" top="5" width="3" height="2"/>', "mask-invalid"),
        ('<mask label="a" rle="6" left="4" top="5" width="3" height="2"/>', "mask-empty"),
        ('<mask label="a" rle="6" left="4" top="5" width="1e9" height="2"/>', "mask-invalid"),
    ],
)
def test_what_is_dropped(tmp_path: Path, read: Any, files: Any, codes: Any, shape: str, code: str) -> None:
    dataset, receipt = read("cvat", files(tmp_path, {"annotations.xml": xml(SQUARE, shape, labels="a")}))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]
    assert receipt.events[0].where == "annotations.xml image x.jpg shape 2"


def test_attributes_groups_tags_and_labels_that_meta_lacks(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    far = '<polygon label="{}" occluded="1" z_order="3" group_id="7" points="{}"/>'
    shapes = [
        far.format("a", "1,1;5,1;5,5"),
        far.format("a", "11,1;15,1;15,5"),
        far.format("z", "1,1;5,1;5,5"),
        '<box label="b" xtl="1" ytl="1" xbr="2" ybr="3"><attribute name="colour">red</attribute>'
        '<attribute name="iscrowd">true</attribute></box>',
        '<tag label="sunny"/>',
    ]
    dataset, receipt = read("cvat", files(tmp_path, {"annotations.xml": xml(*shapes, labels="b a b")}))
    assert [c.name for c in dataset.categories] == ["b", "a", "z"]
    assert [len(a.segmentation or ()) for a in dataset.annotations] == [2, 1, 0]
    assert dataset.annotations[0].extra == {"occluded": 1, "z_order": 3, "group_id": 7}
    assert dataset.annotations[2].extra == {"attributes": {"colour": "red"}}
    assert dataset.annotations[2].iscrowd
    assert codes(receipt, "note") == ["image-tags-lost", "image-missing"]
    assert codes(receipt, "repair") == ["parts-joined"]


def test_subsets_of_a_project_and_images_of_one_name(tmp_path: Path, read: Any, files: Any) -> None:
    image = '<image id="{}" name="{}" subset="{}" width="9" height="9"><box label="{}" xtl="1" ytl="1" xbr="2" ybr="3"/></image>'  # noqa: E501
    images = image.format(0, "one/a.jpg", "Train", "a") + image.format(1, "two/a.jpg", "Val", "b")
    root = files(tmp_path, {"annotations.xml": f"<annotations>{images}</annotations>", "images/a.jpg": (9, 9)})
    assert cvat.subsets(root) == ("Train", "Val")
    dataset, _ = read("cvat", root)
    # Which of the two the lone a.jpg is cannot be told.
    assert [(i.file_name, i.path) for i in dataset.images] == [("one/a.jpg", None), ("two/a.jpg", None)]
    files(tmp_path, {"images/two/a.jpg": (9, 9)})
    val, _ = read("cvat", root, subset="Val")
    assert val.images[0].path == tmp_path / "images" / "two" / "a.jpg"
    assert [(c.id, c.name) for c in val.categories] == [(1, "a"), (2, "b")]
    with pytest.raises(DataError, match="no subset 'Vall'; allowed: Train, Val; did you mean 'Val'"):
        read("cvat", root, subset="Vall")


def video(meta: str, *tracks: tuple[str, str]) -> str:
    """<annotations> of tracks: (attributes, `frame:xbr` of its boxes)."""
    text = f"<annotations><meta>{meta}</meta>"
    for n, (attributes, boxes) in enumerate(tracks):
        text += f'<track id="{n}" label="car" {attributes}>'
        for frame, right in (box.split(":") for box in boxes.split()):
            text += f'<box frame="{frame}" outside="0" xtl="1" ytl="1" xbr="{right}" ybr="5"/>'
        text += "</track>"
    return text + "</annotations>"


def test_frames_are_numbered_as_in_the_video(tmp_path: Path, read: Any, files: Any) -> None:
    size = "<original_size><width>20</width><height>10</height></original_size>"
    step = "<start_frame>10</start_frame><stop_frame>19</stop_frame><frame_filter>step=3</frame_filter>"
    files(tmp_path, {"annotations.xml": video(f"<task><size>4</size>{step}{size}</task>", ("", "10:5"))})
    files(tmp_path, {f"images/frame_{n:06d}.PNG": (20, 10) for n in (0, 10, 11, 13, 16, 19)})
    dataset, _ = read("cvat", tmp_path)
    assert [image.extra["frame"] for image in dataset.images] == [10, 13, 16, 19]
    assert all(image.path for image in dataset.images)


def test_videos_of_a_project_are_told_apart(tmp_path: Path, read: Any, files: Any) -> None:
    tasks = "".join(
        f"<task><id>{n}</id><mode>interpolation</mode><size>2</size><subset>{part}</subset>"
        f"<original_size><width>{w}</width><height>10</height></original_size></task>"
        for n, part, w in ((8, "Test", 40), (6, "Train", 9), (7, "Train", 20), (9, "Train", 60))  # 6 has no track
    )
    of = [f'task_id="{n}" subset="{part}"' for n, part in ((7, "Train"), (8, "Test"), (9, "Train"))]
    tracks = [(of[0], "0:15 1:15"), (of[1], "0:35"), (of[2], "0:55")]
    files(tmp_path, {"annotations.xml": video(f"<project><tasks>{tasks}</tasks></project>", *tracks)})
    frames = ("Train/0_1", "Train/1_1", "Train/0_2", "Test/0")
    names = [name.replace("/", "/frame_00000") for name in (*frames, "Train/0", "Train/1")]
    files(tmp_path, {f"images/{name}.PNG": (9, 9) for name in names})
    assert cvat.subsets(tmp_path) == ("Train", "Test")
    train, _ = read("cvat", tmp_path, subset="Train")
    assert [(i.file_name, i.width) for i in train.images] == [
        ("Train/frame_000000_1.PNG", 20), ("Train/frame_000001_1.PNG", 20), ("Train/frame_000000_2.PNG", 60),
    ]  # fmt: skip
    assert all(image.path for image in train.images)
    assert [a.bbox_xywh[2] for a in train.annotations] == [14, 14, 54]
    test, _ = read("cvat", tmp_path, subset="Test")
    assert [(i.file_name, i.width) for i in test.images] == [("Test/frame_000000.PNG", 40)]


def test_images_of_no_subset_are_those_of_the_default_one(tmp_path: Path, read: Any, files: Any) -> None:
    image = '<image id="{}" name="{}.jpg" width="9" height="9" {}/>'
    files(tmp_path, {"a.xml": f"<annotations>{image.format(0, 'a', '')}</annotations>"})
    files(tmp_path, {"b.xml": "<annotations>" + image.format(1, "b", 'subset="Train"') + "</annotations>"})
    assert cvat.subsets(tmp_path) == ("default", "Train")
    dataset, _ = read("cvat", tmp_path, subset="default")
    assert [i.file_name for i in dataset.images] == ["a.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><image", "not valid XML"),
        ("<a/>", "none of its 1 .xml files is of CVAT"),
        ('<!DOCTYPE a [<!ENTITY x "boom">]><annotations><meta/>&x;</annotations>', "entities"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, read: Any, files: Any, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read("cvat", files(tmp_path, {"x.xml": text}))


@pytest.mark.parametrize("target", ["out", "out.xml"])
def test_a_round_trip_keeps_all(tmp_path: Path, read: Any, objects: Any, awkward: Dataset, target: str) -> None:
    receipt = Receipt()
    [written] = cvat.write(awkward, tmp_path / target, receipt)
    assert sorted((e.code, e.detail.split(" ")[0]) for e in receipt.events) == [
        ("attributes-lost", "category"),
        ("attributes-lost", "score"),
    ]
    assert detect_format(written)[0] == "cvat"
    after, again = read("cvat", written)
    assert objects(after) == objects(awkward)
    assert [i.file_name for i in after.images] == [i.file_name for i in awkward.images]
    assert [c.name for c in after.categories] == [c.name for c in awkward.categories]
    assert {e.code for e in again.events} == {"image-missing", "parts-joined"}


def test_a_group_that_would_join_two_objects_is_left_out(tmp_path: Path, read: Any) -> None:
    polygon = (np.array([1.0, 1, 5, 1, 5, 5]),)
    extra = {"group_id": 4, "attributes": {"a<": "\x01\n>"}}
    annotations = tuple(Annotation(i, 1, 1, (1, 1, 4, 4), 8, False, polygon, extra) for i in (1, 2))
    before = Dataset((Image(1, "/abs/x.jpg", 9, 9),), annotations, (Category(1, "a"),))
    receipt = Receipt()
    after, _ = read("cvat", cvat.write(before, tmp_path, receipt)[0])
    assert len(after.annotations) == 2
    assert [e.code for e in receipt.events] == ["image-renamed", "value-repaired"]
    assert after.annotations[0].extra == {"attributes": {"a<": "?\n>"}}


@pytest.mark.real
def test_the_real_set(real_data: Path, tmp_path: Path, read: Any, objects: Any, overlap: Any) -> None:
    path = real_data / "one_set_nine_formats"
    assert detect_format(path / "cvat1.1")[0] == "cvat"
    before, receipt = read("cvat", path / "cvat1.1")
    assert (len(before.images), receipt.annotations_in, len(before.annotations)) == (4, 25, 23)
    coco, _ = read("coco", path / "coco1.0")
    assert [(c.id, c.name) for c in before.categories] == [(c.id, c.name) for c in coco.categories]
    # The same ellipses, as CVAT's own export rasterises them.
    masks = [a for a in coco.annotations if isinstance(a.segmentation, Rle)]
    shapes = next(i for i in coco.images if i.file_name == "shapes.jpg")
    for mask in masks:
        assert rle_to_mask(mask.segmentation).any()
        assert max(overlap(mask, a, shapes) for a in before.annotations if a.image_id == 3 and a.segmentation) > 0.97
    [written] = cvat.write(before, tmp_path, Receipt())
    assert objects(read("cvat", written)[0]) == objects(before)
