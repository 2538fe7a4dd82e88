"""VGG Image Annotator: versions, shapes, which attribute is the class, round trips."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Dataset
from cvtune.data.formats import detect_format, via
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

RECT = {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 40}
ELLIPSE = {"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10}


def region(shape: Any = RECT, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes or {"label": "a"}}


def export(*regions: Any, name: str = "x.jpg", **more: Any) -> str:
    return json.dumps(
        {f"{name}1": {"filename": name, "size": 1, "regions": list(regions), "file_attributes": {}, **more}}
    )


def version_3() -> dict[str, Any]:
    shapes = [[2, 10, 20, 30, 40], [7, 1, 1, 9, 1, 9, 9], [3, 50, 40, 5], [4, 50, 40, 5, 6], [6, 1, 1, 2, 2], [1, 5, 5]]
    metadata = {
        f"1_{n}": {"vid": "1", "flg": 0, "z": [], "xy": xy, "av": {"1": "0", "2": "dark"}}
        for n, xy in enumerate(shapes)
    }
    return {
        "project": {"pid": "x"}, "config": {},
        "attribute": {"1": {"aname": "class", "options": {"0": "a"}}, "2": {"aname": "light", "options": {}}},
        "file": {"7": {"fid": "7", "fname": "x.jpg", "src": ""}},
        "metadata": metadata | {"1_z": {"vid": "1", "xy": [], "av": {"2": "day"}}, "9": {"vid": "gone", "xy": [1]}},
        "view": {"1": {"fid_list": ["7"]}},
    }  # fmt: skip


def table(rows: list[list[str]], *head: str) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return "".join(f"{line}\n" for line in head) + stream.getvalue()


HEADER = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
HEADER += ["region_shape_attributes", "region_attributes"]
ROW = ["x.jpg", "1", "{}", "1", "0", json.dumps(RECT), '{"label":"a"}']


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.json", export(region())),
        ("v.json", json.dumps({"_via_settings": {}, "_via_img_metadata": json.loads(export(region()))})),
        ("v.json", json.dumps({"x.jpg1": {"fileref": "", "filename": "x.jpg", "regions": {"0": region()}}})),
        ("v.json", export(region(), name="https://host/a%20b/x.jpg?size=1")),
        ("v.json", "\ufeff" + export(region())),
        ("v.csv", table([HEADER, ROW])),
        ("v.csv", table([["#filename", *HEADER[1:]], ROW]).replace("\r", "")),
    ],
)  # fmt: skip
def test_versions(tmp_path: Path, read: Any, files: Any, name: str, text: str) -> None:
    root = files(tmp_path, {name: text, "x.jpg": (100, 80)})
    assert detect_format(root)[0] == "via"
    dataset, receipt = read("via", root)
    [image], [annotation] = dataset.images, dataset.annotations
    assert (image.file_name, image.width, annotation.bbox_xywh) == ("x.jpg", 100, (10, 20, 30, 40))
    assert dataset.categories[0].name == "a"
    assert [(e.code, e.detail) for e in receipt.events] == [
        ("class-found", "'label', the only attribute: on 1 of 1 regions, 1 values")
    ]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_version_3(tmp_path: Path, read: Any, files: Any, codes: Any, kind: str) -> None:
    project = version_3()
    text = json.dumps(project)
    if kind == "csv":
        head = (
            "# Exported using VGG Image Annotator",
            f"# ATTRIBUTE = {json.dumps(project['attribute'])}",
            "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata",
        )
        rows = [
            [key, '["x.jpg"]', "0", "[]", json.dumps(m["xy"]), json.dumps(m["av"])]
            for key, m in project["metadata"].items()
            if m["vid"] == "1"
        ]
        text = table(rows, *head)
    root = files(tmp_path, {f"v.{kind}": text, "x.jpg": (100, 80)})
    assert detect_format(root)[0] == "via"
    dataset, receipt = read("via", root)
    assert [a.bbox_xywh[2:] for a in dataset.annotations] == [
        (30, 40), (8, 8), pytest.approx((10, 10)), pytest.approx((10, 12)),
    ]  # fmt: skip
    assert {c.name for c in dataset.categories} == {"a"}
    assert dataset.annotations[0].extra == {"attributes": {"light": "dark"}}
    assert dataset.images[0].extra == {"file_attributes": {"light": "day"}}
    assert codes(receipt, "drop") == ["shape-without-area"] * 2
    assert "'class', of class, light: on 6 of 6" in receipt.events[0].detail


@pytest.mark.parametrize(
    ("shape", "box", "area"),
    [
        (RECT, (10, 20, 30, 40), 1200),
        ({"name": "rect", "x": -5, "y": "20", "width": 30, "height": 40.0}, (0, 20, 25, 40), 1000),
        ({"name": "polygon", "all_points_x": [10, 20, 20], "all_points_y": [10, 10, 30]}, (10, 10, 10, 20), 100),
        ({"name": "circle", "cx": 50, "cy": 40, "r": 20}, (30, 20, 40, 40), math.pi * 400),
        (ELLIPSE, (30, 30, 40, 20), math.pi * 200),
        (ELLIPSE | {"theta": math.pi / 2}, (40, 20, 20, 40), math.pi * 200),
    ],
)  # fmt: skip
def test_shapes(tmp_path: Path, read: Any, files: Any, shape: Any, box: Any, area: float) -> None:
    dataset, _ = read("via", files(tmp_path, {"v.json": export(region(shape)), "x.jpg": (100, 80)}))
    assert dataset.annotations[0].bbox_xywh == pytest.approx(box, abs=0.1)
    assert dataset.annotations[0].area == pytest.approx(area, rel=0.06)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (region({"name": "point", "cx": 1, "cy": 2}), "shape-without-area"),
        (region({"name": "polyline", "all_points_x": [1], "all_points_y": [1]}), "shape-without-area"),
        (region({"name": "star"}), "shape-unknown"),
        (region({}), "shape-unknown"),
        (region({"name": "rect", "x": 1}), "box-not-numeric"),
        (region({"name": "rect", "x": 1, "y": 1, "width": -4, "height": 4}), "box-inverted"),
        (region({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]}), "mask-degenerate"),
        (region({"name": "polygon", "all_points_x": [1, 2, math.inf], "all_points_y": [1, 2, 3]}), "mask-degenerate"),
        (region({"name": "circle", "cx": 1, "cy": 2, "r": 0}), "mask-degenerate"),
        (region(RECT, label=""), "class-missing"),
        (region(7), "value-malformed"),
        ("region", "value-malformed"),
    ],
)
def test_what_is_dropped(tmp_path: Path, read: Any, files: Any, codes: Any, wrong: Any, code: str) -> None:
    root = files(tmp_path, {"v.json": export(region(), wrong), "x.jpg": (100, 80)})
    dataset, receipt = read("via", root)
    assert len(dataset.annotations) == 1
    assert codes(receipt, "drop") == [code]
    assert next(e.where for e in receipt.events if e.kind == "drop") == "v.json x.jpg region 2"


@pytest.mark.parametrize(
    ("attributes", "key", "names"),
    [
        ([{"class": "a", "colour": "red"}, {"class": "b", "colour": "red"}], "class", ["a", "b"]),
        ([{"Type": "a", "id": "1"}, {"Type": "b", "id": "2"}], "Type", ["a", "b"]),
        ([{"fruit": "a", "id": "1"}, {"fruit": "a", "id": "2"}], "fruit", ["a"]),
        ([{"name": "", "fruit": "a"}, {"name": "", "fruit": "b"}], "fruit", ["a", "b"]),
        ([{"what": {"a": True, "b": False}}, {"what": {"b": True}}], "what", ["a", "b"]),
        ([{"n": 3}, {"n": 4}], "n", ["3", "4"]),
        # A known name that hardly any region has is not the class.
        ([{"kind": "a"}, {"kind": "a"}, {"kind": "b", "label": "?"}], "kind", ["a", "b"]),
    ],
)
def test_which_attribute_is_the_class(
    tmp_path: Path, read: Any, files: Any, attributes: list[Any], key: str, names: list[str]
) -> None:
    regions = [region({**RECT, "x": n}, **given) for n, given in enumerate(attributes)]
    dataset, receipt = read("via", files(tmp_path, {"v.json": export(*regions), "x.jpg": (100, 80)}))
    assert [c.name for c in dataset.categories] == names
    assert receipt.events[0].detail.startswith(repr(key))


def test_no_attribute_and_several_classes(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    bare = {"shape_attributes": RECT, "region_attributes": {}}
    dataset, receipt = read("via", files(tmp_path, {"v.json": export(bare), "x.jpg": (100, 80)}))
    assert ([c.name for c in dataset.categories], codes(receipt, "note")) == (["object"], ["class-assumed"])
    several = region(RECT, what={"a": True, "b": True})
    dataset, receipt = read("via", files(tmp_path, {"v.json": export(several)}))
    assert ([c.name for c in dataset.categories], codes(receipt, "repair")) == (["a"], ["class-several"])


def test_folders_are_subsets_and_json_goes_before_csv(tmp_path: Path, read: Any, files: Any, codes: Any) -> None:
    content = {f"{part}/via.json": export(region(), name="x.jpg") for part in ("train", "val")}
    files(tmp_path, content | {"train/x.jpg": (100, 80), "val/x.jpg": (90, 80), "val/v.csv": "region_shape_attributes"})
    assert via.subsets(tmp_path) == ("train", "val")
    dataset, receipt = read("via", tmp_path)
    assert [(i.file_name, i.width) for i in dataset.images] == [("train/x.jpg", 100), ("val/x.jpg", 90)]
    assert "file-skipped" in codes(receipt, "note")
    assert len(read("via", tmp_path, subset="val")[0].images) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.json", '{"a": {"filename": ', r"v\.json: not valid JSON at line 1"),
        ("v.json", "[]", "expected an object, got list"),
        ("v.json", '{"a": {"regions": []}}', "must be an object with a 'filename'"),
        ("v.json", '{"_via_img_metadata": []}', "must be an object, got list"),
        ("v.json", export(name="x").replace("[]", "5"), "'regions' must be a list"),
        ("v.csv", "a,b\n1,2", "line 1 must name filename"),
        ("v.csv", "# CSV_HEADER = metadata_id\n1,2", "row 1 has 2 columns"),
        ("v.json", export(region()), "none of its 1 images has a known size"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, read: Any, files: Any, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read("via", files(tmp_path, {name: text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["out", "out/v.csv"])
def test_a_round_trip_keeps_what_one_polygon_can_say(
    tmp_path: Path, read: Any, objects: Any, overlap: Any, codes: Any, awkward: Dataset, target: str
) -> None:
    receipt = Receipt()
    [written] = via.write(awkward, tmp_path / target, receipt)
    assert codes(receipt, "repair") == ["parts-bridged", "holes-filled"]
    for image in awkward.images:
        (tmp_path / "out" / image.file_name).parent.mkdir(exist_ok=True)
        Pillow.new("L", (image.width, image.height)).save(tmp_path / "out" / image.file_name)
    after, _ = read("via", written)
    assert [i.file_name for i in after.images] == [i.file_name for i in awkward.images]
    plain = [n for n, a in enumerate(awkward.annotations) if n not in {2, 3}]
    both = [Dataset(d.images, tuple(d.annotations[n] for n in plain), d.categories) for d in (awkward, after)]
    assert objects(both[0]) == objects(both[1])
    for n in (2, 3):
        assert overlap(awkward.annotations[n], after.annotations[n], awkward.images[0]) > 0.9
        assert awkward.annotations[n].iscrowd == after.annotations[n].iscrowd


@pytest.mark.real
@pytest.mark.parametrize(("file", "regions"), [("via_region_data.json", 42), ("via_region_data.csv", 25), ("", 42)])
def test_the_real_set(real_data: Path, tmp_path: Path, read: Any, objects: Any, file: str, regions: int) -> None:
    path = real_data / "one_set_nine_formats" / "via"
    assert detect_format(path / file)[0] == "via"
    before, receipt = read("via", path / file)
    assert (len(before.images), receipt.annotations_in) == (4, regions)
    assert [e.code for e in receipt.events if e.kind == "drop"] == ["shape-without-area"] * 2
    doubled = [e.detail for e in receipt.events if e.code == "object-doubled"]
    assert len(doubled) == (regions == 42)
    [written] = via.write(before, tmp_path, Receipt())
    assert objects(read("via", written, images=path)[0]) == objects(before)
