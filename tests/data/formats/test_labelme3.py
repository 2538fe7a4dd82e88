"""LabelMe 3.0 XML: objects, masks, parts, images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Dataset, Rle
from cvtune.data.formats import detect_format, labelme3
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, UnsupportedError

SQUARE = "10,10 30,10 30,20 10,20"


def polygon(points: str = SQUARE, inner: str = "", name: str = "a") -> str:
    corners = "".join("<pt><x>{}</x><y>{}</y></pt>".format(*p.split(",")) for p in points.split())
    return f"<object><name>{name}</name>{inner}<polygon>{corners}</polygon></object>"


def xml(*objects: str, name: str = "x.jpg", folder: str = "", size: bool = True) -> str:
    sized = "<imagesize><nrows>80</nrows><ncols>100</ncols></imagesize>" if size else ""
    head = f"<filename>{name}</filename><folder>{folder}</folder>{sized}"
    return f"<annotation>{head}{''.join(objects)}</annotation>"


def png(mask: Any) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(mask).save(stream, "PNG")
    return stream.getvalue()


def segm(name: str, box: tuple[int, int, int, int] = (10, 20, 13, 21)) -> str:
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>a</name><segm><mask>{name}</mask><box>{corners}</box></segm></object>"


@pytest.mark.parametrize(
    ("text", "box", "masked"),
    [
        (polygon(), (10, 10, 20, 10), True),
        (polygon(inner="<type>bounding_box</type>"), (10, 10, 20, 10), False),
        (polygon(inner="<type>bounding_box</type><attributes>rotation=90.0</attributes>"), (15, 5, 10, 20), True),
        (segm("whole.png"), (5, 6, 7, 8), True),
        (segm("cut.png"), (10, 20, 3, 1), True),
        (segm("colour.png"), (5, 6, 7, 8), True),
    ],
)
def test_objects(tmp_path: Path, read: Any, files: Any, text: str, box: Any, masked: bool) -> None:
    whole = np.zeros((80, 100), np.uint8)
    whole[6:14, 5:12] = 255
    colour = np.zeros((80, 100, 4), np.uint8)
    colour[6:14, 5:12] = (0, 9, 0, 153)
    masks = {"whole": whole, "cut": np.full((1, 3), 255, np.uint8), "colour": colour}
    files(tmp_path, {"x.xml": xml(text)} | {f"Masks/{k}.png": png(v) for k, v in masks.items()})
    dataset, _ = read("labelme3", tmp_path)
    [annotation] = dataset.annotations
    assert annotation.bbox_xywh == pytest.approx(box)
    assert (annotation.segmentation is not None) == masked


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (polygon(inner="<deleted>1</deleted>"), "object-deleted"),
        (polygon("1,1 2,2"), "mask-degenerate"),
        (polygon("1,1 2,nan 3,4"), "mask-degenerate"),
        (polygon("1,1 2,x 3,4"), "mask-degenerate"),
        (polygon(name=""), "class-missing"),
        (segm("none.png"), "mask-missing-file"),
        (segm("../../x.xml"), "mask-missing-file"),
        (segm("bad.png"), "mask-invalid"),
        ("<object><name>a</name></object>", "box-missing"),
    ],
)
def test_what_is_dropped(tmp_path: Path, read: Any, files: Any, codes: Any, text: str, code: str) -> None:
    dataset, receipt = read("labelme3", files(tmp_path, {"x.xml": xml(polygon(), text), "Masks/bad.png": b"?"}))
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]
    assert receipt.events[0].where == "x.xml object 2"


def test_parts_attributes_and_folders(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    inner = "<id>{}</id><parts><ispartof>{}</ispartof></parts><attributes>a=1, b</attributes><occluded>yes</occluded>"
    objects = [polygon(inner=inner.format(0, "")), polygon("50,50 60,50 60,60", inner=inner.format(1, 0))]
    objects.append(polygon("50,50 60,50 60,60", inner=inner.format(2, 0), name="wheel"))
    files(tmp_path, {"Annotations/one/x.xml": xml(*objects, folder="one", size=False), "Images/one/x.jpg": (100, 80)})
    files(tmp_path, {"Annotations/two/x.xml": xml(polygon(), folder="two"), "Images/two/x.jpg": (100, 80)})
    dataset, receipt = read("labelme3", tmp_path / "Annotations")
    assert [i.file_name for i in dataset.images] == ["one/x.jpg", "two/x.jpg"]
    assert all(i.path is not None for i in dataset.images)
    assert [len(a.segmentation) for a in dataset.annotations] == [2, 1, 1]
    assert dataset.annotations[0].extra == {"attributes": {"a": "1", "b": "1"}, "occluded": 1}
    assert codes(receipt, "repair") == ["image-size-filled", "parts-joined"]
    assert [c.name for c in read("labelme3", tmp_path / "Annotations", subset="two")[0].categories] == ["a", "wheel"]


def test_folders_of_the_web_tool(tmp_path: Path, read: Any, files: Any) -> None:
    where = "users/me/one"
    content = {
        f"Annotations/{where}/x.xml": xml(segm("x_mask_0.png"), folder=where),
        f"Images/{where}/x.jpg": (100, 80),
    }
    files(tmp_path, content | {f"Masks/{where}/x_mask_0.png": png(np.full((1, 3), 255, np.uint8))})
    assert detect_format(tmp_path)[0] == "labelme3"
    dataset, _ = read("labelme3", tmp_path)
    assert [(i.file_name, i.path is not None) for i in dataset.images] == [(f"{where}/x.jpg", True)]
    assert [a.bbox_xywh for a in dataset.annotations] == [(10, 20, 3, 1)]


def test_an_angle_that_was_applied_is_no_attribute(tmp_path: Path, read: Any, files: Any) -> None:
    inner = "<type>bounding_box</type><attributes>rotation=90.0{}</attributes>"
    files(tmp_path, {"x.xml": xml(polygon(inner=inner.format(", red")), polygon(inner=inner.format("")))})
    dataset, _ = read("labelme3", tmp_path)
    assert [a.extra for a in dataset.annotations] == [{"attributes": {"red": "1"}}, {}]


def test_malformed_and_hostile_files_are_refused(tmp_path: Path, read: Any, files: Any) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "boom">]><annotation><imagesize/>&x;</annotation>'
    for text, message in (("<annotation>", "not valid XML"), (bomb, "entities"), ("<a/>", "none of its 1 .xml files")):
        with pytest.raises(DataError, match=message):
            read("labelme3", files(tmp_path, {"x.xml": text}))


def test_it_is_read_only(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="can be read only; write 'labelme'"):
        labelme3.write(Dataset((), (), ()), tmp_path, Receipt())


@pytest.mark.real
def test_the_real_set(real_data: Path, read: Any) -> None:
    path = real_data / "one_set_nine_formats" / "labelme3.0"
    assert detect_format(path)[0] == "labelme3"
    dataset, receipt = read("labelme3", path)
    assert (len(dataset.images), len(dataset.annotations), receipt.events) == (4, 23, [])
    coco, _ = read("coco", real_data / "one_set_nine_formats" / "coco1.0")
    # COCO has the same ellipses as RLE: the masks are the same to the pixel.
    masks = {a.segmentation for a in coco.annotations if isinstance(a.segmentation, Rle)}
    assert {a.segmentation for a in dataset.annotations if isinstance(a.segmentation, Rle)} == masks
