"""Polygons, rotated boxes and turned boxes of VOC's objects, and the XML of VOC's relatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtune.data.formats import detect_format

Corners = tuple[tuple[float, float], ...]

TRIANGLE: Corners = ((4, 2), (14, 2), (14, 8))
BROKEN: Corners = ((4.5, 2), (14, 2), (14, 8.25))


def xml(*inner: str) -> str:
    objects = "".join(f"<object><name>cat</name>{text}</object>" for text in inner)
    return f"<annotation><size><width>20</width><height>10</height></size>{objects}</annotation>"


def box(x0: float, y0: float, x1: float, y1: float) -> str:
    return f"<bndbox><xmin>{x0}</xmin><xmax>{x1}</xmax><ymin>{y0}</ymin><ymax>{y1}</ymax></bndbox>"


def numbered(corners: Corners) -> str:
    """A polygon as Roboflow, Colabeler and ModelArts write it."""
    return "<polygon>" + "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(corners)) + "</polygon>"


def points(corners: Corners) -> str:
    return "<polygon>" + "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in corners) + "</polygon>"


def corners_of(*corners: float) -> str:
    """A rotated box as DIOR-R writes it."""
    sides = ("left_top", "right_top", "right_bottom", "left_bottom")
    pairs = zip(sides, corners[::2], corners[1::2], strict=True)
    return "<robndbox>" + "".join(f"<x_{s}>{x}</x_{s}><y_{s}>{y}</y_{s}>" for s, x, y in pairs) + "</robndbox>"


def turned(degrees: float | str) -> str:
    return f"<attributes><attribute><name>rotation</name><value>{degrees}</value></attribute></attributes>"


SQUARE: Corners = ((4, 2), (14, 2), (14, 8), (4, 8))
ROTATED = "<robndbox><cx>9</cx><cy>5</cy><w>10</w><h>6</h><angle>0</angle></robndbox>"
EDGE = box(0, 0, 1, 1)  # counts pixels from 0
NOT_EDGE = box(1, 1, 20, 2)  # from 1

# Other objects of the file, and the one -> its box, its corners (None: no mask), codes of what happened.
OBJECTS: dict[str, tuple[str, str, Any, Any, list[str]]] = {
    "a polygon alone": ("", numbered(TRIANGLE), (4, 2, 10, 6), TRIANGLE, []),
    "of points": ("", points(TRIANGLE) + "<bndbox/>", None, None, ["box-not-numeric"]),
    "a polygon of points and a box": (EDGE, points(TRIANGLE) + box(4, 2, 14, 8), (4, 2, 10, 6), TRIANGLE, []),
    "closed": ("", numbered((*TRIANGLE, TRIANGLE[0])), (4, 2, 10, 6), TRIANGLE, []),
    "fractions": ("", numbered(BROKEN), (4.5, 2, 9.5, 6.25), BROKEN, []),
    "a polygon of a set from 1 stays": (NOT_EDGE, numbered(TRIANGLE), (4, 2, 10, 6), TRIANGLE, []),
    "it counts as its box does": (
        NOT_EDGE, numbered(TRIANGLE) + box(4, 2, 14, 8), (3, 1, 11, 7), ((3, 1), (13, 1), (13, 7)), [],
    ),
    "a pixel from its box": (NOT_EDGE, numbered(TRIANGLE) + box(5, 3, 15, 9), (4, 2, 11, 7), TRIANGLE, []),
    "out of the image": (
        "", numbered(((10, 2), (30, 2), (30, 8), (10, 8))), (10, 2, 10, 6), ((10, 2), (20, 2), (20, 8), (10, 8)),
        ["mask-clipped"],
    ),
    "outside": ("", numbered(((30, 2), (40, 2), (40, 8))), None, None, ["box-outside"]),
    "two points": ("", numbered(((4, 2), (14, 2))), None, None, ["mask-degenerate"]),
    "two points and a box": (
        EDGE, numbered(((4, 2), (14, 2))) + box(4, 2, 14, 8), (4, 2, 10, 6), None, ["mask-degenerate"],
    ),
    "no number": ("", numbered(((4, 2), (14, 2), ("x", 8))), None, None, ["mask-degenerate"]),  # type: ignore[arg-type]
    "another thing than its box": (
        EDGE, numbered(((16, 2), (19, 2), (19, 8))) + box(4, 2, 14, 8), (4, 2, 10, 6), None, ["mask-not-read"],
    ),
    "corners of a rotated box": ("", corners_of(4, 2, 14, 2, 14, 8, 4, 8), (4, 2, 10, 6), SQUARE, []),
    "a rotated box and an upright one": (
        EDGE, ROTATED + box(4, 2, 14, 8), (4, 2, 10, 6), SQUARE, ["rotation-as-polygon"],
    ),
    "a turned box": (
        EDGE, box(6, 4, 12, 6) + turned("90.0"), (8, 2, 2, 6), ((10, 2), (10, 8), (8, 8), (8, 2)),
        ["rotation-as-polygon"],
    ),
    "a box that is not turned": (EDGE, box(4, 2, 14, 8) + turned("0.0"), (4, 2, 10, 6), None, []),
    "turned by a word": (EDGE, box(4, 2, 14, 8) + turned("left"), (4, 2, 10, 6), None, []),
}  # fmt: skip


@pytest.mark.parametrize("case", OBJECTS)
def test_shapes_of_objects(case: str, tmp_path: Path, files: Any, read: Any, codes: Any) -> None:
    others, text, bbox, corners, said = OBJECTS[case]
    files(tmp_path, {"a.xml": xml(*filter(None, (others, text)))})
    assert detect_format(tmp_path)[0] == "voc"
    dataset, receipt = read("voc", tmp_path)
    assert codes(receipt, "drop") + codes(receipt, "repair") == said
    found = dataset.annotations[bool(others) :]
    if bbox is None:
        assert not found
        return
    [annotation] = found
    assert annotation.bbox_xywh == pytest.approx(bbox)
    if corners is None:
        assert annotation.segmentation is None
        return
    [polygon] = annotation.segmentation
    assert polygon.tolist() == pytest.approx(np.ravel(corners).tolist())
    x, y = np.array(corners).T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert annotation.area == pytest.approx(area, abs=max(8, 0.3 * area))  # counted in pixels
    assert "rotation" not in annotation.extra.get("attributes", {})


def test_several_polygons_are_parts(tmp_path: Path, files: Any, read: Any) -> None:
    files(tmp_path, {"a.xml": xml(numbered(TRIANGLE) + numbered(((15, 2), (18, 2), (18, 8))))})
    [annotation] = read("voc", tmp_path)[0].annotations
    assert [len(part) for part in annotation.segmentation] == [6, 6]
    assert annotation.bbox_xywh == (4, 2, 14, 6)


FAIR1M = (
    "<annotation><source><filename>0.tif</filename></source><size><width>20</width><height>10</height></size><objects>"
    "<object><coordinate>pixel</coordinate><type>rectangle</type><possibleresult><name>Van</name></possibleresult>"
    "<points><point>4.0,2.0</point><point>14.0,2.0</point><point>14.0,8.0</point><point>4.0,8.0</point>"
    "<point>4.0,2.0</point></points></object></objects></annotation>"
)
COLABELER = (
    "<doc><path>F:\\pets\\0.tif</path><outputs><object><item><name>Van</name>"
    f"{numbered(SQUARE)}</item></object></outputs><labeled>true</labeled>"
    "<size><width>20</width><height>10</height><depth>3</depth></size></doc>"
)
HRSC = (
    "<HRSC_Image><Img_FileName>0</Img_FileName><Img_FileFmt>tif</Img_FileFmt><Img_SizeWidth>20</Img_SizeWidth>"
    "<Img_SizeHeight>10</Img_SizeHeight><HRSC_Objects><HRSC_Object><Class_ID>Van</Class_ID><difficult>1</difficult>"
    "<box_xmin>5</box_xmin><box_ymin>3</box_ymin><box_xmax>14</box_xmax><box_ymax>8</box_ymax><mbox_cx>9</mbox_cx>"
    "<mbox_cy>5</mbox_cy><mbox_w>10</mbox_w><mbox_h>6</mbox_h><mbox_ang>0</mbox_ang></HRSC_Object></HRSC_Objects>"
    "</HRSC_Image>"
)


@pytest.mark.parametrize("text", [FAIR1M, COLABELER, HRSC], ids=["FAIR1M", "Colabeler", "HRSC2016"])
def test_relatives(text: str, tmp_path: Path, files: Any, read: Any) -> None:
    files(tmp_path, {"Annotations/0.xml": text, "images/0.tif": (20, 10)})
    assert detect_format(tmp_path)[0] == "voc"
    dataset, _ = read("voc", tmp_path)
    [image], [annotation] = dataset.images, dataset.annotations
    assert (image.file_name, image.width, image.height) == ("0.tif", 20, 10)
    assert [c.name for c in dataset.categories] == ["Van"]
    assert annotation.bbox_xywh == (4, 2, 10, 6)
    assert annotation.segmentation[0].reshape(-1, 2).tolist() == [list(corner) for corner in SQUARE]


def test_objects_in_degrees_on_earth_are_dropped(tmp_path: Path, files: Any, read: Any, codes: Any) -> None:
    files(tmp_path, {"Annotations/0.xml": FAIR1M.replace(">pixel<", ">geodegree<")})
    dataset, receipt = read("voc", tmp_path)
    assert not dataset.annotations
    assert codes(receipt, "drop") == ["box-missing"]
