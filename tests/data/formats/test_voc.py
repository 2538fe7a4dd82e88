"""Pascal VOC: layouts, origin, damaged boxes, subsets, round trips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Annotation, Category, Dataset, Image, Rle
from cvtune.data.formats import ReadSource, detect_format, voc
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

Box = Sequence[Any]


def xml(
    name: str | None, boxes: Sequence[tuple[str, Box | None]], size: tuple[Any, Any] | None = (100, 80), inner: str = ""
) -> str:
    objects = ""
    for label, box in boxes:
        corners = (
            ""
            if box is None
            else "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        )
        bndbox = "" if box is None else f"<bndbox>{corners}</bndbox>"
        objects += f"<object><name>{escape(label)}</name>{inner}{bndbox}</object>"
    sized = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    named = f"<filename>{name}</filename>" if name is not None else ""
    return f"<annotation>{named}{sized}{objects}</annotation>"


def picture(path: Path, size: tuple[int, int] = (100, 80)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", size).save(path)


def devkit(root: Path, files: dict[str, str], lists: dict[str, str] | None = None) -> Path:
    for stem, text in files.items():
        target = root / "Annotations" / f"{stem}.xml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for name, text in (lists or {}).items():
        target = root / "ImageSets" / "Main" / f"{name}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return root


def read(path: Path, **options: Any) -> tuple[Dataset, Receipt]:
    receipt = Receipt()
    dataset = voc.read(ReadSource(path, **options), receipt)
    kept: dict[str, int] = {}
    names = {c.id: c.name for c in dataset.categories}
    for annotation in dataset.annotations:
        kept[names[annotation.category_id]] = kept.get(names[annotation.category_id], 0) + 1
    receipt.count_out(len(dataset.images), kept)
    receipt.check_sums()
    return dataset, receipt


def codes(receipt: Receipt, kind: str) -> list[str]:
    return [event.code for event in receipt.events if event.kind == kind]


@pytest.mark.parametrize(
    ("boxes", "origin", "code", "first"),
    [
        ([(1, 1, 100, 40)], 1, "origin-found", (0, 0, 100, 40)),
        ([(2, 2, 20, 80)], 1, "origin-found", (1, 1, 19, 79)),
        ([(0, 5, 20, 20)], 0, "origin-found", (0, 5, 20, 15)),
        ([(5, 0, 100, 20)], 0, "origin-found", (5, 0, 95, 20)),
        ([(5, 5, 20, 20), (0, 1, 3, 3)], 0, "origin-found", (5, 5, 15, 15)),
        ([(0.4, 5, 20.5, 20)], 0, "origin-found", (0.4, 5, 20.1, 15)),
        ([(5.5, 5, 20, 20)], 0, "origin-found", (5.5, 5, 14.5, 15)),
        ([(5.5, 5, 100, 20)], 0, "origin-found", (5.5, 5, 94.5, 15)),
        ([(5.5, 5, 20, 20), (5, 5, 20, 20)], 1, "origin-assumed", (4.5, 4, 15.5, 16)),
        # A box that is dropped is no evidence.
        ([(5, 5, 20, 20), (0, 0, 0, 0)], 1, "origin-assumed", (4, 4, 16, 16)),
    ],
)
def test_the_origin_is_decided_by_evidence(
    tmp_path: Path, boxes: list[Box], origin: int, code: str, first: Box
) -> None:
    root = devkit(tmp_path, {"a": xml("a.jpg", [("x", box) for box in boxes])})
    dataset, receipt = read(root)
    event = next(event for event in receipt.events if event.code.startswith("origin"))
    assert (event.code, event.detail[0]) == (code, str(origin))
    assert dataset.annotations[0].bbox_xywh == pytest.approx(first)
    assert dataset.annotations[0].area == pytest.approx(first[2] * first[3])


@pytest.mark.parametrize(("origin", "expected"), [(0, (5, 5, 15, 15)), (1, (4, 4, 16, 16))])
def test_a_given_origin_holds(tmp_path: Path, origin: Any, expected: Box) -> None:
    dataset, receipt = read(devkit(tmp_path, {"a": xml("a.jpg", [("x", (5, 5, 20, 20))])}), origin=origin)
    assert dataset.annotations[0].bbox_xywh == expected
    assert codes(receipt, "note")[0] == "origin-given"


def test_the_origin_is_that_of_the_folder_not_of_the_subset(tmp_path: Path) -> None:
    root = devkit(
        tmp_path,
        {"a": xml("a.jpg", [("x", (5, 5, 20, 20))]), "b": xml("b.jpg", [("x", (0, 0, 9, 9))])},
        {"train": "a", "val": "b"},
    )
    train, receipt = read(root, subset="train")
    assert train.annotations[0].bbox_xywh == (5, 5, 15, 15)
    assert "b.xml object 1 starts at 0" in receipt.events[0].detail


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ((7, 5, 7, 20), "box-zero-area"),
        ((7, 5, 9, 5), "box-zero-area"),
        ((9, 5, 7, 20), "box-inverted"),
        ((7, 25, 9, 20), "box-inverted"),
        (("x", 5, 7, 20), "box-not-numeric"),
        (("", 5, 7, 20), "box-not-numeric"),
        (("nan", 5, 7, 20), "box-not-numeric"),
        ((7, 5, "inf", 20), "box-not-numeric"),
        (None, "box-missing"),
        ((200, 5, 220, 20), "box-outside"),
        ((5, -30, 20, -5), "box-outside"),
    ],
)
def test_bad_boxes_are_dropped_with_place_and_values(tmp_path: Path, box: Box | None, code: str) -> None:
    good = ("x", (1, 1, 50, 50))
    root = devkit(tmp_path, {"a": xml("a.jpg", [good, ("y", box)])})
    dataset, receipt = read(root)
    assert len(dataset.annotations) == 1
    [drop] = [event for event in receipt.events if event.kind == "drop"]
    assert (drop.code, drop.where, drop.category) == (code, "Annotations/a.xml object 2", "y")
    for value in box or ():
        assert str(value) in drop.detail


def test_an_object_without_a_name_is_dropped(tmp_path: Path) -> None:
    dataset, receipt = read(devkit(tmp_path, {"a": xml("a.jpg", [(" ", (1, 1, 9, 9)), ("x", (1, 1, 9, 9))])}))
    assert [c.name for c in dataset.categories] == ["x"]
    assert codes(receipt, "drop") == ["class-missing"]
    assert receipt.to_json()["annotations"] == {"in": 2, "out": 1, "dropped": 1}


def test_boxes_that_stick_out_are_clipped(tmp_path: Path) -> None:
    dataset, receipt = read(devkit(tmp_path, {"a": xml("a.jpg", [("x", (-4, 5, 120, 90))])}))
    assert dataset.annotations[0].bbox_xywh == (0, 4, 100, 76)
    assert codes(receipt, "repair") == ["box-clipped"]


def test_extra_fields_are_kept_and_losses_said(tmp_path: Path) -> None:
    inner = (
        "<pose>Left</pose><truncated>1</truncated><difficult>1</difficult><occluded>0</occluded>"
        "<attributes><attribute><name>colour</name><value>red</value></attribute></attributes>"
        "<part><name>head</name></part><polygon/><depth_m>3</depth_m>"
    )
    dataset, receipt = read(devkit(tmp_path, {"a": xml("a.jpg", [("x", (1, 1, 9, 9))], inner=inner)}))
    assert dataset.annotations[0].extra == {
        "name": "x",
        "pose": "Left",
        "truncated": 1,
        "difficult": 1,
        "occluded": 0,
        "attributes": {"colour": "red"},
    }
    details = {event.code: event.detail for event in receipt.events if event.kind == "note"}
    assert details["difficult-kept"] == "1 objects"
    assert details["parts-lost"] == "1 <part>"
    assert details["mask-not-read"] == "<polygon> of 1 objects"
    assert details["attributes-lost"] == "<depth_m> of 1 objects"


def test_names_are_sorted_and_ids_do_not_depend_on_the_subset(tmp_path: Path) -> None:
    files = {
        "c": xml("c.jpg", [("zebra", (1, 1, 9, 9)), ("ant", (1, 1, 9, 9))]),
        "b": xml("b.jpg", []),
        "a": xml("a.jpg", [("bee", (1, 1, 9, 9))]),
    }
    root = devkit(tmp_path, files, {"train": "c\nb\n", "val": "a\n", "all": "a\nb\nc", "ant_train": "a -1\nc  1\n"})
    whole, _ = read(root)
    train, receipt = read(root, subset="train")
    assert [(c.id, c.name) for c in whole.categories] == [(1, "ant"), (2, "bee"), (3, "zebra")]
    assert train.categories == whole.categories
    assert [(image.id, image.file_name) for image in train.images] == [(3, "c.jpg"), (2, "b.jpg")]
    by_id = {a.id: a for a in whole.annotations}
    assert train.annotations
    assert all(by_id[a.id] == a for a in train.annotations)
    assert receipt.to_json()["images"]["in"] == 2
    assert voc.subsets(root) == ("all", "train", "val")
    flagged, _ = read(root, subset="ant_train")
    assert [image.file_name for image in flagged.images] == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ("trian", "no subset 'trian'; allowed: dot, gone, train; did you mean 'train'"),
        ("gone", "1 of the 2 images of subset 'gone' have no .xml file.*nothing"),
        ("dot", "1 of the 2 images of subset 'dot' have no .xml file.*first: [.];"),
        ("empty", "is empty"),
        ("../Main/train", "no subset"),
    ],
)
def test_wrong_subsets(tmp_path: Path, subset: str, message: str) -> None:
    root = devkit(tmp_path, {"a": xml("a.jpg", [])}, {"train": "a", "gone": "a\nnothing", "dot": "a\n.", "empty": ""})
    with pytest.raises(DataError, match=message):
        read(root, subset=subset)


@pytest.mark.parametrize(
    ("says", "file"),
    [
        ("a.jpg", "JPEGImages/a.jpg"),
        ("a", "JPEGImages/a.jpg"),
        ("a.jpg", "JPEGImages/a.JPG"),
        ("A.png", "JPEGImages/a.jpeg"),
        (None, "JPEGImages/a.jpg"),
        ("", "images/a.png"),
        ("wrong.jpg", "Annotations/a.jpg"),
        ("a.jpg", "a.jpg"),
        ("C:\\x\\a.jpg", "JPEGImages/a.jpg"),
    ],
)
def test_images_are_found_by_name_or_stem(tmp_path: Path, says: str | None, file: str) -> None:
    picture(tmp_path / file)
    dataset, receipt = read(devkit(tmp_path, {"a": xml(says, [])}))
    assert dataset.images[0].path == tmp_path / file
    assert dataset.images[0].file_name == Path(file).name
    assert codes(receipt, "note") == (["file-name-differs"] if says == "wrong.jpg" else [])


def test_images_of_subfolders_and_of_a_given_folder(tmp_path: Path) -> None:
    root = devkit(tmp_path / "set", {"s/a": xml("s/a.jpg", []), "t/a": xml("a.jpg", [])})
    for folder in ("s", "t"):
        picture(tmp_path / "pictures" / folder / "a.jpg")
    dataset, _ = read(root, images=tmp_path / "pictures")
    assert [image.file_name for image in dataset.images] == ["s/a.jpg", "t/a.jpg"]
    assert all(image.path == tmp_path / "pictures" / image.file_name for image in dataset.images)
    with pytest.raises(DataError, match="no such folder of images"):
        read(root, images=tmp_path / "none")


def test_files_that_were_renamed_after_labelling_are_told_apart(tmp_path: Path) -> None:
    root = devkit(tmp_path, {"new1": xml("new2.jpg", []), "new2": xml("old.jpg", [])})
    picture(tmp_path / "JPEGImages" / "new1.jpg")
    picture(tmp_path / "JPEGImages" / "new2.jpg")
    dataset, receipt = read(root)
    assert [image.file_name for image in dataset.images] == ["new1.jpg", "new2.jpg"]
    assert codes(receipt, "note") == ["file-name-differs", "file-name-differs"]


def test_a_missing_image_is_kept_with_a_note_where_its_size_is_known(tmp_path: Path) -> None:
    dataset, receipt = read(devkit(tmp_path, {"a": xml("a.jpg", [("x", (1, 1, 9, 9))])}))
    assert dataset.images[0].path is None
    assert "image-missing" in codes(receipt, "note")
    with pytest.raises(DataError, match=r"b\.xml: has no image size, and its image b\.jpg was not found"):
        read(devkit(tmp_path / "b", {"b": xml("b.jpg", [], size=None)}))


def test_missing_images_that_are_called_alike_bear_the_names_of_their_files(tmp_path: Path) -> None:
    root = devkit(tmp_path, {name: xml(says, [("x", (1, 1, 9, 9))]) for name, says in zip("abc", "xxy", strict=True)})
    assert [image.file_name for image in read(root)[0].images] == ["a", "b", "y"]


def test_an_image_without_size_and_file_is_dropped_where_others_have_one(tmp_path: Path) -> None:
    files = {"a": xml("a.jpg", [("x", (1, 1, 9, 9))]), "b": xml("b.jpg", [("x", (1, 1, 9, 9))], size=None)}
    dataset, receipt = read(devkit(tmp_path, files))
    assert [image.file_name for image in dataset.images] == ["a.jpg"]
    (event,) = [event for event in receipt.events if event.kind == "drop"]
    assert (event.code, event.where, event.images, event.annotations) == (
        "image-size-missing", "Annotations/b.xml", 1, 1,
    )  # fmt: skip


@pytest.mark.parametrize("size", [None, (0, 0), ("", ""), ("x", 80)])
def test_a_missing_size_comes_from_the_image(tmp_path: Path, size: Any) -> None:
    picture(tmp_path / "JPEGImages" / "a.png", (64, 48))
    dataset, receipt = read(devkit(tmp_path, {"a": xml("a.png", [("x", (1, 1, 64, 48))], size=size)}))
    assert (dataset.images[0].width, dataset.images[0].height) == (64, 48)
    assert codes(receipt, "repair") == ["image-size-filled"]
    assert dataset.annotations[0].bbox_xywh == (0, 0, 64, 48)


@pytest.mark.parametrize(
    ("xmls", "images"),
    [
        ("{split}/{name}.xml", "{split}/{name}.jpg"),
        ("{split}/annotations/{name}.xml", "{split}/images/{name}.jpg"),
        ("{split}/{name}.xml", "images/{split}/{name}.jpg"),
    ],
)
def test_folders_of_splits(tmp_path: Path, xmls: str, images: str) -> None:
    for split, size in (("train", (30, 20)), ("valid", (50, 40))):
        target = tmp_path / xmls.format(split=split, name="a")
        target.parent.mkdir(parents=True)
        target.write_text(xml("a.jpg", [("x", (1, 1, 9, 9))], size=size))
        picture(tmp_path / images.format(split=split, name="a"), size)
    assert voc.subsets(tmp_path) == ("train", "valid")
    assert detect_format(tmp_path)[0] == "voc"
    for split, size in (("train", (30, 20)), ("valid", (50, 40))):
        dataset, _ = read(tmp_path, subset=split)
        (image,) = dataset.images
        assert image.path == tmp_path / images.format(split=split, name="a")
        assert image.file_name == images.format(split=split, name="a")
        assert (image.width, image.height) == size
    assert len(read(tmp_path)[0].annotations) == 2


def test_a_folder_of_annotations_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text(xml("a.jpg", [("x", (1, 1, 9, 9))]))
    picture(tmp_path / "images" / "a.jpg")
    assert detect_format(tmp_path)[0] == "voc"
    assert read(tmp_path)[0].images[0].path == tmp_path / "images" / "a.jpg"


def test_a_written_set_says_where_its_pixels_start(tmp_path: Path) -> None:
    boxes = (Annotation(1, 1, 1, (3.5, 4.25, 5.0, 6.0), 30.0),)
    dataset = Dataset((Image(1, "a.jpg", 30, 20),), boxes, (Category(1, "x"),))
    voc.write(dataset, tmp_path, Receipt())
    again, receipt = read(tmp_path)
    assert again.annotations[0].bbox_xywh == boxes[0].bbox_xywh
    assert next(event.detail for event in receipt.events if event.code == "origin-found") == (
        "1-based: Annotations/a.xml says so"
    )


@pytest.mark.parametrize(
    ("declared", "encoding", "noted"),
    [
        ("", "latin-1", True),
        ("utf-8", "latin-1", True),
        ("ISO-8859-1", "latin-1", False),
        ("windows-1252", "cp1252", False),
        ("", "utf-16", False),
        ("utf-8", "utf-8-sig", False),
    ],
)
def test_files_in_any_encoding(tmp_path: Path, declared: str, encoding: str, noted: bool) -> None:
    picture(tmp_path / "a.jpg")
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    (tmp_path / "a.xml").write_bytes((head + xml("a.jpg", [("café", (5, 6, 20, 30))])).encode(encoding))
    assert detect_format(tmp_path)[0] == "voc"
    dataset, receipt = read(tmp_path)
    assert [category.name for category in dataset.categories] == ["café"]
    assert ("text-encoding" in receipt.counts) is noted


def test_an_encoding_of_several_bytes_a_letter(tmp_path: Path) -> None:
    head = '<?xml version="1.0" encoding="GB2312"?>\n'
    (tmp_path / "a.xml").write_bytes((head + xml("a.jpg", [("猫", (5, 6, 20, 30))])).encode("gb2312"))
    assert [category.name for category in read(tmp_path)[0].categories] == ["猫"]


def test_a_damaged_file_among_others_is_named(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.xml").write_text(xml(f"{name}.jpg", [("x", (5, 6, 20, 30))]))
    (tmp_path / "b.xml").write_text("")
    assert detect_format(tmp_path)[0] == "voc"
    with pytest.raises(DataError, match=r"b\.xml: not valid XML"):
        read(tmp_path)


def test_layouts(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    picture(flat / "a.jpg")
    (flat / "a.xml").write_text(xml("a.jpg", [("x", (1, 1, 9, 9))]))
    (flat / "annotations.xml").write_text("<annotations/>")
    dataset, receipt = read(flat)
    assert dataset.images[0].path == flat / "a.jpg"
    assert codes(receipt, "note")[0] == "file-skipped"
    single, _ = read(flat / "a.xml")
    assert single.annotations == dataset.annotations
    devkit(tmp_path / "kit" / "VOC2007", {"a": xml("a.jpg", [])})
    assert len(read(tmp_path / "kit")[0].images) == 1
    assert len(read(tmp_path / "kit" / "VOC2007" / "Annotations")[0].images) == 1
    devkit(tmp_path / "kit" / "VOC2012", {"a": xml("a.jpg", [])})
    with pytest.raises(DataError, match=r"several VOC sets \(VOC2007, VOC2012\)"):
        read(tmp_path / "kit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "not valid XML"),
        ("", "not valid XML"),
        ('<!DOCTYPE a [<!ENTITY x "boom">]><annotation><filename>&x;</filename></annotation>', "entities"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "entities"),
    ],
)
def test_malformed_and_hostile_xml_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"bad\.xml.*{message}"):
        read(devkit(tmp_path, {"bad": text}))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a.xml": xml("a.jpg", [("x", (1, 1, 9, 9))]), "a.jpg": "", "classes.txt": "x"}, True),
        ({"Annotations/a.xml": xml("a.jpg", [])}, True),
        ({"a.xml": "<annotations><image/></annotations>"}, False),
        ({"a.xml": "<annotation><imagesize/><object><polygon/></object></annotation>"}, False),
        ({"a.xml": xml("a.jpg", []), "a.json": "[]", "b.json": "[]"}, False),
        ({"a.jpg": ""}, False),
    ],
)
def test_detection_looks_at_content(tmp_path: Path, files: dict[str, str], found: bool) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert (voc.detect(tmp_path) is not None) == found


def awkward() -> Dataset:
    images = (
        Image(4, "a.jpg", 100, 80),
        Image(9, "sub/b.png", 33, 44, extra={"folder": "sub"}),
        Image(11, "e.jpg", 5, 5),
    )
    boxes: list[tuple[float, float, float, float]] = [
        (0, 0, 100, 80),
        (1, 2, 30, 40),
        (0.25, 3.75, 10.5, 2.125),
        (0, 0, 33, 44),
    ]
    annotations = [
        Annotation(i, images[i % 2].id, 7 - i % 2, box, box[2] * box[3], i == 1, None, {"name": "<cow> & calf"})
        for i, box in enumerate(boxes)
    ]
    annotations[2] = Annotation(
        2, 4, 7, boxes[2], boxes[2][2] * boxes[2][3], False, None,
        {"difficult": 1, "pose": "Left", "attributes": {"colour": "r<d"}, "score": 0.5},
    )  # fmt: skip
    return Dataset(images, tuple(annotations), (Category(7, "<cow> & calf"), Category(6, "ant")))


def test_a_round_trip_keeps_boxes_names_flags_and_empty_images(tmp_path: Path) -> None:
    before, receipt = awkward(), Receipt()
    files = voc.write(before, tmp_path, receipt)
    assert [f.relative_to(tmp_path).as_posix() for f in files] == [
        "Annotations/a.xml",
        "Annotations/sub/b.xml",
        "Annotations/e.xml",
    ]
    after, _ = read(tmp_path)
    assert {i.file_name: (i.width, i.height) for i in after.images} == {
        i.file_name: (i.width, i.height) for i in before.images
    }
    assert objects(after) == objects(before)
    kept = next(a for a in after.annotations if a.extra.get("difficult"))
    assert kept.extra["pose"] == "Left"
    assert kept.extra["attributes"] == {"colour": "r<d", "score": "0.5"}
    assert [event.code for event in receipt.events] == ["attributes-lost"]
    assert "category ids" in receipt.events[0].detail


def objects(dataset: Dataset) -> list[tuple[Any, ...]]:
    names = {c.id: c.name for c in dataset.categories}
    files = {i.id: i.file_name for i in dataset.images}
    return sorted(
        (files[a.image_id], names[a.category_id], a.iscrowd, *(round(v, 9) for v in a.bbox_xywh))
        for a in dataset.annotations
    )


def test_what_voc_cannot_hold_is_on_the_receipt(tmp_path: Path) -> None:
    receipt = Receipt()
    polygon = (np.array([1.0, 1, 5, 1, 5, 5]),)
    rle = Rle((20, 20), b"00d0")
    annotations = (
        Annotation(1, 1, 1, (1, 1, 4, 4), 8, False, polygon),
        Annotation(2, 1, 1, (1, 1, 4, 4), 8, True, rle),
        Annotation(3, 1, 1, (-2, 1, 6, 4), 24),
        Annotation(4, 1, 1, (19.5, 3, 0.5, 4), 2, False, None, {"keypoints": [1, 2, 3]}),
    )
    voc.write(Dataset((Image(1, "a.jpg", 20, 20),), annotations, (Category(1, "x"),)), tmp_path, receipt)
    assert codes(receipt, "repair") == ["mask-lost", "mask-lost", "box-clipped", "box-grown"]
    assert ("attributes-lost", "keypoints of 1 objects") in [(e.code, e.detail) for e in receipt.events]
    after, _ = read(tmp_path)
    assert [a.bbox_xywh for a in after.annotations] == [(1, 1, 4, 4), (1, 1, 4, 4), (0, 1, 4, 4), (18, 3, 2, 4)]


def test_images_of_one_stem_get_files_of_their_own_and_none_leaves_the_folder(tmp_path: Path) -> None:
    images = tuple(Image(i, name, 9, 9) for i, name in enumerate(["a.jpg", "a.png", "../a.jpg", "/abs/a.jpg"]))
    files = voc.write(Dataset(images, (), (Category(1, "x"),)), tmp_path / "out", Receipt())
    assert len(set(files)) == 4
    assert all(file.resolve().is_relative_to(tmp_path / "out" / "Annotations") for file in files)


@pytest.mark.real
def test_blood_cells(real_data: Path) -> None:
    shared: dict[Any, Any] = {}
    counts = {}
    for subset in ("train", "val", "test"):
        dataset, receipt = read(real_data / "bccd", subset=subset, shared=shared)
        assert [c.name for c in dataset.categories] == ["Platelets", "RBC", "WBC"]
        assert all(image.path is not None and image.path.is_file() for image in dataset.images)
        origin = next(event for event in receipt.events if event.code == "origin-found")
        assert origin.detail.startswith("1-based: no box starts below 1 and 545 of 4,886")
        dropped = [(e.code, e.where.split(" ")[0]) for e in receipt.events if e.kind == "drop"]
        counts[subset] = (len(dataset.images), receipt.annotations_in, len(dataset.annotations), dropped)
        x0, y0, w, h = np.array([a.bbox_xywh for a in dataset.annotations]).T
        assert x0.min() == y0.min() == 0
        assert (x0 + w).max() == 640
        assert (y0 + h).max() == 480
    assert [counts[s][0] for s in counts] == [205, 87, 72]
    assert sum(counts[s][1] for s in counts) == 4888
    assert sum(counts[s][2] for s in counts) == 4886
    assert sorted(drop for s in counts for drop in counts[s][3]) == [
        ("box-zero-area", "Annotations/BloodImage_00338.xml"),
        ("box-zero-area", "Annotations/BloodImage_00343.xml"),
    ]


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "images", "boxes"), [("labelImg", 4, 25), ("voc1.1", 4, 20), ("phones/vocs", 2, 10)]
)
def test_other_real_sets(real_data: Path, folder: str, images: int, boxes: int) -> None:
    path = real_data / "one_set_nine_formats" / folder
    assert voc.detect(path) is not None
    given = path.parent / "images" if folder.startswith("phones") else None
    dataset, _ = read(path, images=given)
    assert (len(dataset.images), len(dataset.annotations)) == (images, boxes)
    assert all(image.path is not None for image in dataset.images)


@pytest.mark.real
def test_a_round_trip_of_real_data(real_data: Path, tmp_path: Path) -> None:
    before, _ = read(real_data / "bccd")
    voc.write(before, tmp_path, Receipt())
    after, receipt = read(tmp_path)
    assert objects(after) == objects(before)
    assert len(after.images) == 364
    assert codes(receipt, "drop") == []


@pytest.mark.parametrize("listed", ["a", "a.jpg", "JPEGImages/a.jpg", r"C:\V\JPEGImages\a.jpg", "./Annotations/a.xml"])
def test_lists_may_name_images_by_their_paths(tmp_path: Path, listed: str) -> None:
    content = {name: xml(f"{name}.jpg", [("x", (5, 6, 20, 30))]) for name in "ab"}
    root = devkit(tmp_path, content)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text(f"{listed}\r\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("b\r\n")
    assert [image.file_name for image in read(root, subset="train")[0].images] == ["a.jpg"]
