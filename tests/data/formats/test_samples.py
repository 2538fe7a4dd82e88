"""A tiny set of every format: told apart, read with sums that hold, written and read back, and damaged at random."""

from __future__ import annotations

import base64
import json
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from pyarrow import Table, parquet

from cvtune.data.coco import Annotation, Category, Dataset, Image, Rle
from cvtune.data.formats import FORMATS, ReadSource, detect_format, load_format
from cvtune.data.formats.mask_images import png_of_mask
from cvtune.data.formats.tf_example import masked_crc32c
from cvtune.data.geometry import mask_to_rle, rle_iou, segmentation_to_rle
from cvtune.data.receipt import Receipt
from cvtune.errors import CvtuneError, UnsupportedError

SIZE = (60, 40)
Sample = Callable[[Path], None]
SAMPLES: dict[str, Sample] = {}


def sample(name: str) -> Callable[[Sample], Sample]:
    def add(make: Sample) -> Sample:
        SAMPLES[name] = make
        return make

    return add


def put(path: Path, content: Any) -> None:
    """Write text, JSON, an array as PNG, or (None) a plain picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        Pillow.new("RGB", SIZE, (90, 120, 60)).save(path)
    elif isinstance(content, np.ndarray):
        Pillow.fromarray(content).save(path)
    elif isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps(content))


def canvas(*boxes: tuple[int, int, int, int, int], dtype: Any = np.uint8) -> np.ndarray:
    """Boxes x0, y0, x1, y1, value drawn on zeros."""
    values = np.zeros((SIZE[1], SIZE[0]), dtype)
    for x0, y0, x1, y1, value in boxes:
        values[y0:y1, x0:x1] = value
    return values


@sample("masks")
def dsb(root: Path) -> None:
    for name in ("aa", "bb"):
        put(root / "train" / name / "images" / f"{name}.png", None)
        put(root / "train" / name / "masks" / "one.png", canvas((2, 3, 12, 13, 255)))
        put(root / "train" / name / "masks" / "two.png", canvas((20, 5, 30, 25, 255), (22, 8, 24, 12, 0)))


@sample("masks: ids")
def ids(root: Path) -> None:
    put(root / "images" / "a.jpg", None)
    put(root / "masks" / "a.png", canvas((2, 3, 12, 13, 1), (20, 5, 30, 25, 2)))


@sample("cityscapes")
def cityscapes(root: Path) -> None:
    put(root / "leftImg8bit/train/bonn/bonn_0_1_leftImg8bit.png", None)
    values = canvas(
        (0, 0, 60, 10, 23), (5, 5, 20, 20, 26000), (30, 5, 40, 20, 24001), (42, 5, 50, 9, 26), dtype=np.int32
    )
    put(root / "gtFine/train/bonn/bonn_0_1_gtFine_instanceIds.png", values.astype(np.uint16))


@sample("cityscapes: polygons")
def cityscapes_polygons(root: Path) -> None:
    objects = [
        {"label": "sky", "polygon": [[0, 0], [60, 0], [60, 10], [0, 10]]},
        {"label": "car", "polygon": [[5, 5], [20, 5], [20, 20], [5, 20]]},
        {"label": "persongroup", "polygon": [[30, 5], [40, 5], [40, 20], [30, 20]]},
    ]
    put(
        root / "gtFine/val/bonn/bonn_0_1_gtFine_polygons.json",
        {"imgHeight": 40, "imgWidth": 60, "objects": objects},
    )


def voc_xml(name: str, objects: str) -> str:
    size = "<size><width>60</width><height>40</height></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def voc_object(name: str, *corners: float) -> str:
    box = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


@sample("voc: masks")
def voc_masks(root: Path) -> None:
    put(root / "JPEGImages" / "a.jpg", None)
    put(
        root / "Annotations" / "a.xml",
        voc_xml("a.jpg", voc_object("cat", 3, 4, 12, 13) + voc_object("dog", 21, 6, 30, 25)),
    )
    put(root / "SegmentationObject" / "a.png", canvas((2, 3, 12, 13, 1), (20, 5, 30, 25, 2), (0, 30, 9, 31, 255)))


@sample("voc: rotated")
def voc_rotated(root: Path) -> None:
    put(root / "a.jpg", None)
    box = "<cx>30</cx><cy>20</cy><w>20</w><h>6</h><angle>0.5</angle>"
    put(
        root / "a.xml",
        voc_xml("a", f"<object><type>robndbox</type><name>ship</name><robndbox>{box}</robndbox></object>"),
    )


@sample("voc: imagenet")
def voc_imagenet(root: Path) -> None:
    put(root / "Data" / "DET" / "val" / "i_1.JPEG", None)
    put(root / "Annotations" / "DET" / "val" / "i_1.xml", voc_xml("i_1", voc_object("n02084071", 3, 4, 12, 13)))
    put(root / "ImageSets" / "DET" / "val.txt", "i_1 1\n")


@sample("csv")
def tf_csv(root: Path) -> None:
    put(root / "images" / "a.jpg", None)
    rows = ["a.jpg,60,40,cat,2,3,12,13", "a.jpg,60,40,dog,20,5,30.5,25", "b.jpg,60,40,,,,,"]
    put(root / "labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + "\n".join(rows) + "\n")


@sample("csv: shares")
def shares_csv(root: Path) -> None:
    put(root / "a.png", None)
    put(root / "train.csv", "image_id;label;x_center;y_center;w;h\na;cat;0.5;0.5;0.25;0.5\na;cat;0.25;0.5;0.1;0.5\n")


@sample("openimages")
def openimages(root: Path) -> None:
    put(root / "validation" / "abc.jpg", None)
    head = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    rows = ["abc,xclick,/m/01,1,0.1,0.5,0.2,0.6,1,0,0,0,0", "abc,xclick,/m/02,1,0.5,0.9,0.2,0.6,0,0,1,0,0"]
    put(root / "validation-annotations-bbox.csv", "\n".join([head, *rows]))
    put(root / "class-descriptions-boxable.csv", "/m/01,Cat\n/m/02,Dog\n")
    put(root / "masks" / "m.png", canvas((6, 8, 30, 24, 255)))
    head = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
    put(root / "validation-annotations-object-segmentation.csv", f"{head}\nm.png,abc,/m/01,x,0.1,0.5,0.2,0.6,0.9,\n")


@sample("kitti")
def kitti(root: Path) -> None:
    put(root / "training" / "image_2" / "000001.png", None)
    rest = "1.5 1.6 3.9 1.0 1.5 20.1 0.5"
    lines = [
        f"Car 0.10 1 -1.57 2.50 3.00 12.25 13.00 {rest}",
        "DontCare -1 -1 -10 30 5 40 9 -1 -1 -1 -1000 -1000 -1000 -10",
    ]
    put(root / "training" / "label_2" / "000001.txt", "\n".join(lines) + "\n")


@sample("datumaro")
def datumaro(root: Path) -> None:
    put(root / "images" / "train" / "a.jpg", None)
    rest = {"attributes": {"is_crowd": False, "occluded": True}, "group": 0, "z_order": 1}
    annotations = [
        {"id": 1, "type": "bbox", "label_id": 0, "bbox": [2, 3, 10, 10], **rest},
        {"id": 2, "type": "polygon", "label_id": 1, "points": [20, 5, 30, 5, 30, 25], **rest},
        {"id": 3, "type": "ellipse", "label_id": 1, "points": [40, 5, 50, 25], **rest},
        {"id": 4, "type": "mask", "label_id": 0, "rle": {"size": [40, 60], "counts": [810, 5, 35, 5, 1545]}, **rest},
    ]
    labels = [{"name": name, "parent": ""} for name in ("cat", "dog")]
    item = {"id": "a", "annotations": annotations, "image": {"path": "a.jpg", "size": [40, 60]}}
    put(root / "annotations" / "train.json", {"categories": {"label": {"labels": labels}}, "items": [item]})


@sample("lvis")
def lvis(root: Path) -> None:
    put(root / "train2017" / "a.jpg", None)
    image = {
        "id": 1, "coco_url": "http://x/train2017/a.jpg", "width": 60, "height": 40, "neg_category_ids": [2],
        "not_exhaustive_category_ids": [],
    }  # fmt: skip
    polygon = [[20, 5, 30, 5, 30, 25]]
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [20, 5, 10, 20],
        "area": 100,
        "segmentation": polygon,
    }
    categories = [
        {"id": 1, "name": "cat", "frequency": "r", "synset": "cat.n.01"},
        {"id": 2, "name": "d", "frequency": "f"},
    ]
    put(root / "lvis_v1_train.json", {"images": [image], "annotations": [annotation], "categories": categories})


@sample("supervisely")
def supervisely(root: Path) -> None:
    put(root / "ds1" / "img" / "a.jpg", None)
    put(root / "meta.json", {"classes": [{"title": "cat", "shape": "any", "id": 7}, {"title": "dog", "shape": "any"}]})
    bitmap = base64.b64encode(zlib.compress(png_of_mask(canvas((0, 0, 5, 6, 1))[:6, :5] > 0))).decode()
    objects = [
        {"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[2, 3], [12, 13]], "interior": []}},
        {
            "classTitle": "dog",
            "geometryType": "polygon",
            "points": {"exterior": [[20, 5], [30, 5], [30, 25]], "interior": [[[26, 8], [28, 8], [28, 10]]]},
        },
        {"classTitle": "dog", "geometryType": "bitmap", "bitmap": {"data": bitmap, "origin": [40, 20]}},
    ]
    put(root / "ds1" / "ann" / "a.jpg.json", {"size": {"height": 40, "width": 60}, "objects": objects, "tags": []})


@sample("oidv4")
def oidv4(root: Path) -> None:
    for part in ("train", "validation"):
        put(root / "OID" / "Dataset" / part / "Cat" / "1a.jpg", None)
        put(root / "OID" / "Dataset" / part / "Cat" / "Label" / "1a.txt", "Cat 2.0 3.0 12.0 13.5\nTea cup 20 5 30 25\n")


@sample("csv: a line an image")
def csv_of_images(root: Path) -> None:
    put(root / "a.jpg", None)
    put(root / "_classes.txt", "cat\ndog\n")
    put(root / "_annotations.txt", "a.jpg 2,3,12,13,0 20,5,30,25,1\n")


@sample("csv: boxes in a cell")
def csv_of_cells(root: Path) -> None:
    put(root / "a.jpg", None)
    put(root / "t.csv", "image_name,BoxesString,domain\na.jpg,2 3 12 13;20 5 30 25,x\n")


@sample("dota")
def dota(root: Path) -> None:
    for part in ("train", "val"):
        put(root / part / "images" / "P1.png", None)
        lines = [
            "imagesource:GoogleEarth",
            "gsd:0.146",
            "5 5 20 8 18 20 3 17 large-vehicle 1",
            "30 5 40 5 40 9 30 9 ship 0",
        ]
        put(root / part / "labelTxt" / "P1.txt", "\n".join(lines) + "\n")


@sample("visdrone")
def visdrone(root: Path) -> None:
    put(root / "images" / "a.jpg", None)
    put(root / "annotations" / "a.txt", "2,3,10,10,1,4,0,1\n20,5,10,20,0,11,1,0\n40,5,9,9,0,0,0,0\n")


@sample("wider_face")
def wider_face(root: Path) -> None:
    put(root / "WIDER_train" / "images" / "0--Parade" / "a.jpg", None)
    put(root / "WIDER_train" / "images" / "0--Parade" / "b.jpg", None)
    faces = ["0--Parade/a.jpg", "2", "2 3 10 10 0 0 0 0 0 0 ", "20 5 10 20 2 0 1 1 0 0 "]
    faces += ["0--Parade/b.jpg", "0", "0 0 0 0 0 0 0 0 0 0 "]
    put(root / "wider_face_split" / "wider_face_train_bbx_gt.txt", "\n".join(faces) + "\n")


@sample("mot")
def mot(root: Path) -> None:
    for frame in (1, 2):
        put(root / "train" / "S-02" / "img1" / f"00000{frame}.jpg", None)
    info = "name=S-02\nimDir=img1\nframeRate=30\nseqLength=2\nimWidth=60\nimHeight=40\nimExt=.jpg"
    put(root / "train" / "S-02" / "seqinfo.ini", f"[Sequence]\n{info}\n")
    put(root / "train" / "S-02" / "gt" / "gt.txt", "1,1,3,4,10,10,1,1,0.9\n1,2,21,6,10,20,0,3,1\n")


@sample("vott")
def vott(root: Path) -> None:
    put(root / "a b.jpg", None)
    box = {"left": 2, "top": 3, "width": 10.5, "height": 10}
    points = [{"x": 20, "y": 5}, {"x": 30, "y": 5}, {"x": 30, "y": 25}]
    regions = [
        {"type": "RECTANGLE", "tags": ["cat"], "boundingBox": box, "points": []},
        {"type": "POLYGON", "tags": ["dog", "pet"], "points": points},
    ]
    asset = {"asset": {"name": "a%20b.jpg", "size": {"width": 60, "height": 40}}, "regions": regions}
    put(root / "x-export.json", {"name": "x", "tags": [{"name": "dog"}, {"name": "cat"}], "assets": {"id1": asset}})


@sample("bdd100k")
def bdd100k(root: Path) -> None:
    rle = mask_to_rle(canvas((40, 5, 50, 25, 1)) > 0)
    polygon = [[20, 5], [30, 5], [30, 25], [25, 25], [20, 25]]
    labels = [
        {
            "id": "7",
            "category": "car",
            "box2d": {"x1": 2.5, "y1": 3, "x2": 12, "y2": 13},
            "attributes": {"crowd": True},
        },
        {"id": "8", "category": "bus", "poly2d": [{"vertices": polygon, "types": "LLCCL", "closed": True}]},
        {"id": "9", "category": "bus", "rle": {"counts": rle.counts.decode(), "size": [40, 60]}},
    ]
    for part in ("train", "val"):
        put(root / "images" / part / f"{part}-1.jpg", None)
        frame = {"name": f"{part}-1.jpg", "attributes": {"weather": "clear"}, "timestamp": 10000, "labels": labels}
        put(root / "labels" / f"det_{part}.json", {"frames": [frame], "config": {"categories": [{"name": "bus"}]}})


@sample("bdd100k: a file an image")
def bdd100k_images(root: Path) -> None:
    put(root / "images" / "0a-1b.jpg", None)
    box = {"x1": 2.5, "y1": 3, "x2": 12, "y2": 13}
    area = [[20, 5, "L"], [30, 5, "L"], [30, 25, "L"]]
    objects = [{"category": "car", "id": 0, "box2d": box}, {"category": "area/drivable", "id": 1, "poly2d": area}]
    put(root / "labels" / "0a-1b.json", {"name": "0a-1b", "frames": [{"timestamp": 10000, "objects": objects}]})


def darwin_annotations() -> list[dict[str, Any]]:
    ring = [{"x": x, "y": y} for x, y in ((20, 5), (30, 5), (30, 25), (20, 25))]
    return [
        {"name": "cat", "id": "a", "bounding_box": {"x": 2, "y": 3, "w": 10, "h": 10.5}, "slot_names": ["0"]},
        {"name": "dog", "id": "b", "polygon": {"paths": [ring]}, "instance_id": {"value": 3}},
        {"name": "dog", "id": "c", "ellipse": {"center": {"x": 45, "y": 15}, "radius": {"x": 5, "y": 9}, "angle": 0.2}},
        {"name": "sunny", "id": "d", "tag": {}},
        {"name": "cat", "id": "e", "mask": {}},
        {
            "name": "__raster_layer__",
            "id": "f",
            "raster_layer": {"dense_rle": [0, 1810, 1, 5, 0, 585], "mask_annotation_ids_mapping": {"e": 1}},
        },
    ]


@sample("darwin")
def darwin(root: Path) -> None:
    put(root / "images" / "sub" / "a.jpg", None)
    slot = {"type": "image", "slot_name": "0", "width": 60, "height": 40, "source_files": [{"file_name": "a.jpg"}]}
    item = {"name": "a.jpg", "path": "/sub", "slots": [slot]}
    put(root / "annotations" / "a.json", {"version": "2.0", "item": item, "annotations": darwin_annotations()})


@sample("darwin: 1.0")
def darwin_1(root: Path) -> None:
    for part in ("train", "test"):
        put(root / part / "images" / "a.jpg", None)
        image = {"width": 60, "height": 40, "original_filename": "a.jpg", "filename": "a.jpg", "path": "/"}
        annotations = darwin_annotations()
        annotations[1]["polygon"]["path"] = annotations[1]["polygon"].pop("paths")[0]
        put(root / part / "a.json", {"dataset": "x", "image": image, "annotations": annotations})


@sample("sagemaker")
def sagemaker(root: Path) -> None:
    for part in ("train", "test"):
        put(root / "images" / part / f"{part}.jpg", None)
        boxes = [
            {"class_id": 0, "left": 2, "top": 3, "width": 10, "height": 10.5},
            {"class_id": 5, "left": 20, "top": 5, "width": 10, "height": 20},
        ]
        line = {
            "source-ref": f"s3://bucket/{part}/{part}.jpg",
            "job": {"image_size": [{"width": 60, "height": 40, "depth": 3}], "annotations": boxes},
            "job-metadata": {
                "objects": [{"confidence": 0.8}, {"confidence": 0.9}],
                "class-map": {"0": "dog", "5": "bone"},
                "type": "groundtruth/object-detection",
                "creation-date": "2018-10-18T22:18:13.527256",
            },
        }
        put(root / f"{part}.manifest", json.dumps(line) + "\n")


@sample("labelbox")
def labelbox(root: Path) -> None:
    objects = [
        {"name": "cat", "feature_id": "f", "bounding_box": {"top": 3, "left": 2, "height": 10, "width": 10.5}},
        {"name": "dog", "polygon": [{"x": 20, "y": 5}, {"x": 30, "y": 5}, {"x": 30, "y": 25}, {"x": 20, "y": 5}]},
    ]
    rows = []
    for name in ("a", "b"):
        put(root / "images" / f"{name}.jpg", None)
        labels = [{"label_kind": "Default", "annotations": {"objects": objects, "classifications": []}}]
        row = {"data_row": {"id": "c1", "external_id": f"{name}.jpg", "row_data": f"https://x/{name}.jpg?s=1"}}
        rows.append(row | {"media_attributes": {"width": 60, "height": 40}, "projects": {"p": {"labels": labels}}})
    put(root / "export.ndjson", "\n".join(map(json.dumps, rows)) + "\n")


@sample("labelbox: older")
def labelbox_older(root: Path) -> None:
    put(root / "a.jpg", None)
    objects = [
        {"title": "Cat", "value": "cat", "featureId": "f", "bbox": {"top": 3, "left": 2, "height": 10, "width": 10.5}},
        {"title": "Dog", "value": "dog", "polygon": [{"x": 20, "y": 5}, {"x": 30, "y": 5}, {"x": 30, "y": 25}]},
    ]
    label = {"objects": objects, "classifications": []}
    put(root / "export.json", [{"ID": "1", "Labeled Data": "https://x/a.jpg", "External ID": "a.jpg", "Label": label}])


@sample("odgt")
def odgt(root: Path) -> None:
    for part in ("train", "val"):
        put(root / "Images" / f"{part},1a0b.jpg", None)
        boxes = [
            {"fbox": [2, 3, 10, 10], "vbox": [2, 3, 9, 8], "hbox": [3, 3, 2, 2], "tag": "person", "extra": {"occ": 1}},
            {"fbox": [20, 5, 10, 20], "vbox": [20, 5, 10, 20], "tag": "mask", "extra": {"ignore": 1}},
        ]
        put(root / f"annotation_{part}.odgt", json.dumps({"ID": f"{part},1a0b", "gtboxes": boxes}) + "\n")


@sample("isat")
def isat(root: Path) -> None:
    put(root / "a.jpg", None)
    info = {"description": "ISAT", "folder": "/home/me", "name": "a.jpg", "width": 60, "height": 40, "depth": 3}
    rest = {"area": 1.0, "layer": 1.0, "bbox": None, "iscrowd": False, "note": ""}
    objects = [
        {"category": "cat", "group": 1, "segmentation": [[2, 3], [12, 3], [12, 13]], **rest},
        {"category": "dog", "group": 2, "segmentation": [[20, 5], [30, 5], [30, 25.5]], **rest},
        {"category": "dog", "group": 2, "segmentation": [[40, 5], [50, 5], [50, 25]], **rest},
    ]
    put(root / "a.json", {"info": info, "objects": objects})
    put(root / "isat.yaml", "label:\n- color: '#000000'\n  name: __background__\n- color: '#ef2929'\n  name: dog\n")


@sample("superannotate")
def superannotate(root: Path) -> None:
    put(root / "a.jpg", None)
    rest = {
        "probability": 100,
        "groupId": 0,
        "attributes": [{"id": 1, "groupId": 2, "name": "2", "groupName": "doors"}],
    }
    points = {"x1": 2, "x2": 12.5, "y1": 3, "y2": 13}
    instances = [
        {"type": "bbox", "className": "cat", "classId": 7, "points": points, **rest},
        {"type": "polygon", "className": "dog", "classId": 9, "points": [20, 5, 30, 5, 30, 25], "exclude": [], **rest},
        {"type": "ellipse", "classId": 9, "cx": 45, "cy": 15, "rx": 5, "ry": 9, "angle": 20, **rest},
    ]
    metadata = {"name": "a.jpg", "width": 60, "height": 40, "status": "Completed"}
    put(root / "a.jpg.json", {"metadata": metadata, "instances": instances, "tags": [], "comments": []})
    put(root / "classes" / "classes.json", [{"id": 9, "name": "dog", "attribute_groups": []}, {"id": 7, "name": "cat"}])


@sample("imagefolder")
def imagefolder(root: Path) -> None:
    for part in ("train", "test"):
        put(root / part / "a.png", None)
        objects = {"bbox": [[2, 3, 10, 10], [20, 5, 10, 20.5]], "categories": [0, 3]}
        put(root / part / "metadata.jsonl", json.dumps({"file_name": "a.png", "objects": objects}) + "\n")


@sample("imagefolder: csv")
def imagefolder_csv(root: Path) -> None:
    put(root / "a.png", None)
    objects = '[{""bbox"": [2, 3, 10, 10], ""label"": ""cat""}]'
    put(root / "metadata.csv", f'file_name,objects\na.png,"{objects}"\n')


@sample("mots")
def mots(root: Path) -> None:
    put(root / "images" / "0002" / "000001.jpg", None)
    values = canvas((2, 3, 12, 13, 1001), (20, 5, 30, 25, 2007), (40, 0, 60, 9, 10000), dtype=np.int32)
    put(root / "instances" / "0002" / "000001.png", values.astype(np.uint16))


def message(*fields: tuple[int, bytes]) -> bytes:
    """Fields of Protocol Buffers, all of the kind with a length (here below 2 ** 14)."""
    out = b""
    for number, content in fields:
        size = len(content)
        out += bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7]) + content
    return out


def example(**features: Any) -> bytes:
    """A tf.train.Example of lists of bytes, floats or integers below 128."""
    entries = []
    for name, values in features.items():
        if isinstance(values[0], bytes):
            feature = message((1, message(*((1, value) for value in values))))
        elif isinstance(values[0], float):
            feature = message((2, message((1, struct.pack(f"<{len(values)}f", *values)))))
        else:
            feature = message((3, message((1, bytes(values)))))
        key = "image/" + name.replace("__", "/")
        entries.append((1, message((1, key.encode()), (2, feature))))
    return message((1, message(*entries)))


def record(content: bytes) -> bytes:
    head = struct.pack("<Q", len(content))
    return head + struct.pack("<I", masked_crc32c(head)) + content + struct.pack("<I", masked_crc32c(content))


@sample("tfrecord")
def tfrecord(root: Path) -> None:
    boxes = {"xmin": [0.1, 0.5], "ymin": [0.2, 0.25], "xmax": [0.3, 0.75], "ymax": [0.4, 0.5]}
    content = example(
        filename=[b"a.jpg"], width=[60], height=[40], encoded=[b"jpeg"], object__class__text=[b"cat", b"dog"],
        object__class__label=[1, 2], object__is_crowd=[0, 1],
        **{f"object__bbox__{key}": values for key, values in boxes.items()},
    )  # fmt: skip
    put(root / "train.record-00000-of-00001", record(content))
    put(root / "label_map.pbtxt", "item {\n id: 1\n name: 'cat'\n}\nitem {\n id: 2\n name: 'dog'\n}\n")


@sample("huggingface")
def huggingface(root: Path) -> None:
    objects = {"bbox": [[6.0, 8, 12, 8], [30.0, 10, 15, 10]], "category": [0, 1], "area": [96, 150]}
    row = {"image": {"bytes": b"", "path": "a.jpg"}, "width": 60, "height": 40, "objects": objects}
    (root / "data").mkdir()
    parquet.write_table(Table.from_pylist([row]), root / "data" / "train-00000-of-00001.parquet")
    put(
        root / "README.md",
        "---\ndataset_info:\n  features:\n  - name: objects\n    sequence:\n    - name: category\n"
        "      dtype:\n        class_label:\n          names:\n            '0': cat\n            '1': dog\n---\nText\n",
    )


def read(name: str, path: Path, **options: Any) -> tuple[Dataset, Receipt]:
    receipt = Receipt()
    dataset = load_format(name).read(ReadSource(path, **options), receipt)
    names = {c.id: c.name for c in dataset.categories}
    receipt.count_out(len(dataset.images), Counter(names[a.category_id] for a in dataset.annotations))
    receipt.check_sums()
    return dataset, receipt


@pytest.mark.parametrize("name", SAMPLES)
def test_each_is_claimed_by_its_own_format_alone(name: str, tmp_path: Path) -> None:
    SAMPLES[name](tmp_path)
    found, evidence = detect_format(tmp_path)
    assert found == name.split(":")[0]
    assert evidence


@pytest.mark.parametrize("name", SAMPLES)
def test_objects_are_read_and_every_file_named(name: str, tmp_path: Path) -> None:
    SAMPLES[name](tmp_path)
    dataset, receipt = read(name.split(":")[0], tmp_path)
    assert dataset.annotations
    assert receipt.files
    assert all(file.is_file() for file in receipt.files)
    assert all(event.kind != "drop" for event in receipt.events)
    for annotation in dataset.annotations:
        x, y, w, h = annotation.bbox_xywh
        assert w > 0
        assert h > 0
        assert x >= 0
        assert y >= 0
        assert x + w <= SIZE[0]
        assert y + h <= SIZE[1]


def things(dataset: Dataset, masks: bool, crowds: bool, digits: int) -> list[Any]:
    names = {c.id: c.name for c in dataset.categories}
    images = {i.id: i for i in dataset.images}
    found = []
    for a in dataset.annotations:
        image = images[a.image_id]
        mask = None
        if masks and a.segmentation is not None:
            mask = segmentation_to_rle(a.segmentation, (image.height, image.width)).counts
        box = tuple(round(v, digits) for v in a.bbox_xywh)
        found.append((image.file_name, names[a.category_id], box, mask, crowds and a.iscrowd))
    return sorted(found, key=repr)


def general() -> Dataset:
    """Boxes, a polygon, a mask with a hole, a crowd, an empty image, a name with markup."""
    hole = canvas((30, 10, 50, 30, 1), (35, 15, 40, 20, 0))
    polygon = np.array([3.0, 4, 20, 4, 20, 30, 3, 30])
    return Dataset(
        (Image(1, "a.jpg", *SIZE), Image(2, "b.jpg", *SIZE), Image(3, "empty.jpg", *SIZE)),
        (
            Annotation(1, 1, 1, (3, 4, 17, 26), 442, False, (polygon,)),
            Annotation(2, 1, 2, (30, 10, 20, 20), 375, False, mask_to_rle(hole)),
            Annotation(3, 2, 2, (1, 2, 30, 20), 600, False, (np.array([1.0, 2, 31, 2, 31, 22, 1, 22]),)),
        ),
        (Category(1, "ant&<bee>"), Category(2, "cow/calf")),
    )


WRITTEN = {  # format -> (masks are kept, digits of boxes that are kept)
    "masks": (True, 6),
    "voc": (False, 6),
    "csv": (False, 6),
    "kitti": (False, 6),
    "datumaro": (True, 6),
    "dota": (False, 1),
    "imagefolder": (False, 6),
    "lvis": (True, 6),
    "supervisely": (True, 6),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    masks, digits = WRITTEN[name]
    before, receipt = general(), Receipt()
    for image in before.images:
        put(tmp_path / "images" / image.file_name, None)
    names = {c.id: c.name for c in before.categories}
    receipt.count_in(3, Counter(names[a.category_id] for a in before.annotations))
    receipt.count_out(3, Counter(names[a.category_id] for a in before.annotations))
    files = load_format(name).write(before, tmp_path, receipt)
    receipt.check_sums()
    assert files
    assert all(file.is_file() for file in files)
    assert detect_format(tmp_path)[0] == name
    after, _ = read(name, tmp_path, images=tmp_path / "images")
    assert things(after, masks, False, digits) == things(before, masks, False, digits)
    assert {i.file_name for i in after.images} >= {"a.jpg", "b.jpg"}
    again = Receipt()
    load_format(name).write(after, tmp_path / "second", again)
    twice, _ = read(name, tmp_path / "second", images=tmp_path / "images")
    assert things(twice, masks, True, 9) == things(after, masks, True, 9)


@pytest.mark.parametrize("name", sorted({name.split(":")[0] for name in SAMPLES} - set(WRITTEN)))
def test_the_others_are_read_only(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=f"{name!r} is read only"):
        load_format(name).write(general(), tmp_path, Receipt())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_what_cannot_be_written_is_a_loss_and_no_error(name: str, tmp_path: Path) -> None:
    receipt = Receipt()
    rle = Rle((40, 60), mask_to_rle(canvas()).counts)
    dataset = Dataset(
        (Image(7, "../x y.jpg", *SIZE, extra={"k": [1]}), Image(9, "/abs/ü.jpg", *SIZE)),
        (
            Annotation(1, 7, 5, (-5, 3, 12, 4), 20, True, None, {"score": 0.5, "deep": {"a": [None]}}),
            Annotation("two", 7, 5, (1, 1, 0, 0), 0, False, rle),
            Annotation(3, 9, 5, (100, 100, 5, 5), 25, False, (np.array([100.0, 100, 105, 100, 105, 105]),)),
        ),
        (Category(5, 'a,"b";\tc d'), Category(6, "unused", "animal")),
    )
    names = {c.id: c.name for c in dataset.categories}
    counts = Counter(names[a.category_id] for a in dataset.annotations)
    receipt.count_in(2, counts)
    receipt.count_out(2, counts)
    out = tmp_path / "out"
    files = load_format(name).write(dataset, out, receipt)
    receipt.check_sums()
    assert receipt.events
    assert all(file.resolve().is_relative_to(out.resolve()) for file in files)


def attempt(name: str, path: Path) -> None:
    """Only errors that a user can mend may come out."""
    module = load_format(name)
    module.detect(path)
    try:
        read(name, path)
        for part in module.subsets(path):
            read(name, path, subset=part)
    except CvtuneError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    assert len(message) < 1500


DAMAGE = st.tuples(
    st.integers(0, 10**6),
    st.sampled_from(["cut", "flip", "insert", "delete", "value"]),
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=4),
    st.sampled_from(
        [b"NaN", b"-1", b"1e999", b"Infinity", b"null", b'"x"', b"[]", b"{}", b"99999999999999999999", b"", b"\r", b","]
    ),
)


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(damage=st.lists(DAMAGE, min_size=1, max_size=2))
def test_damaged_files_give_errors_of_one_line(
    name: str, damage: list[tuple[int, str, int, bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    try:
        SAMPLES[name](root)
        files = sorted(file for file in root.rglob("*") if file.is_file())
        for which, how, where, noise, value in damage:
            file = files[which % len(files)]
            content = file.read_bytes()
            at = where % (len(content) + 1)
            file.write_bytes(
                {
                    "cut": content[:at],
                    "flip": content[:at] + noise + content[at + len(noise) :],
                    "insert": content[:at] + noise + content[at:],
                    "delete": content[:at] + content[at + len(noise) * 3 :],
                    "value": _with_value(content, at, value),
                }[how]
            )
        attempt(name.split(":")[0], root)
    finally:
        shutil.rmtree(root)


def _with_value(content: bytes, at: int, value: bytes) -> bytes:
    """The number at or after `at` replaced."""
    start = next((i for i in range(at, len(content)) if content[i : i + 1].isdigit()), len(content))
    end = next((i for i in range(start, len(content)) if content[i] not in b"0123456789."), len(content))
    return content[:start] + value + content[end:]


TEXTS = {".json", ".csv", ".txt", ".xml", ".jsonl", ".ini", ".pbtxt", ".manifest", ".ndjson", ".odgt"}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "crlf"])
def test_texts_of_other_encodings_and_line_ends(name: str, encoding: str, tmp_path: Path) -> None:
    SAMPLES[name](tmp_path)
    form = name.split(":")[0]
    before = things(read(form, tmp_path)[0], True, True, 6)
    for file in tmp_path.rglob("*"):
        if file.suffix in TEXTS:
            text = file.read_text()
            mixed = "".join(line + ("\r\n" if i % 2 else "\n") for i, line in enumerate(text.splitlines()))
            file.write_bytes(mixed.encode() if encoding == "crlf" else text.encode(encoding))
    assert detect_format(tmp_path)[0] == form
    assert things(read(form, tmp_path)[0], True, True, 6) == before


@pytest.mark.parametrize("name", SAMPLES)
def test_links_in_a_circle_do_not_hang(name: str, tmp_path: Path) -> None:
    SAMPLES[name](tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    attempt(name.split(":")[0], tmp_path)


@pytest.mark.real
@pytest.mark.parametrize(
    "path",
    [
        "bccd", "fruit_nuts", "nuclei",
        *(f"one_set_nine_formats/{name}" for name in (
            "CreateML", "coco1.0", "cvat1.1", "grapes", "labelImg", "labelme", "labelme3.0", "phones", "via", "voc1.1",
            "yolo", "yolo1.1",
        )),
    ],
)  # fmt: skip
def test_real_sets_are_not_claimed_by_others(real_data: Path, path: str) -> None:
    mine = sorted({name.split(":")[0] for name in SAMPLES})
    claimed = [name for name in mine if load_format(name).detect(real_data / path)]
    own = {"nuclei": ["masks"], "one_set_nine_formats/voc1.1": ["voc"], "one_set_nine_formats/labelImg": ["voc"]}
    assert claimed == own.get(path, ["voc"] if path == "bccd" else [])


def test_samples_are_of_formats_that_exist() -> None:
    assert {name.split(":")[0] for name in SAMPLES} <= set(FORMATS)
    assert rle_iou(mask_to_rle(canvas((0, 0, 2, 2, 1))), mask_to_rle(canvas((0, 0, 2, 2, 1)))) == 1
