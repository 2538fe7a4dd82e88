"""Sets laid out as tools and public sets lay them out: told apart, every object read, every image found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtune.data.formats import ReadSource, detect_format, read_source
from cvtune.data.parts import read_parts
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

PICTURE = (64, 48)
ROWS = "0 0.5 0.5 0.2 0.4\n1 0.25 0.25 0.1 0.1\n"
DOTA = "10.0 10.0 40.0 10.0 40.0 30.0 10.0 30.0 plane 0\n"
KITTI = "0 0 1.5 10.0 10.0 30.0 20.0 1.5 1.6 3.8 1 2 3 0.1"
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax"


def splits(*names: str, **content: Any) -> dict[str, Any]:
    """Each file in a folder of each split; "%" stands for the split's name."""
    return {
        f"{split}/{name.replace('%', split)}": value.replace("%", split) if isinstance(value, str) else value
        for split in names
        for name, value in content.items()
    }


def voc(name: str) -> str:
    return (
        f"<annotation><folder></folder><filename>{name}</filename><path>{name}</path><source><database>roboflow.com"
        "</database></source><size><width>64</width><height>48</height><depth>3</depth></size><segmented>0</segmented>"
        "<object><name>cat</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><occluded>0"
        "</occluded><bndbox><xmin>1</xmin><xmax>20</xmax><ymin>3</ymin><ymax>30</ymax></bndbox></object></annotation>"
    )


def coco(name: str) -> str:
    return json.dumps(
        {
            "images": [{"id": 0, "file_name": name, "width": 64, "height": 48}],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, 10, 10.5], "segmentation": []}],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )


def labelme(name: str) -> str:
    shape = {"label": "cat", "points": [[1, 2], [20, 2], [20, 30]], "shape_type": "polygon"}
    return json.dumps({"shapes": [shape], "imagePath": name, "imageData": None, "imageHeight": 48, "imageWidth": 64})


NEU = ((1, "train", "crazing"), (1, "train", "patches"), (9, "validation", "crazing"))
TRACKS = (
    "<annotations><version>1.1</version><meta><task><size>3</size><original_size><width>64</width><height>48</height>"
    "</original_size><labels><label><name>cat</name></label></labels></task></meta>"
    '<track id="4" label="cat"><box frame="0" outside="0" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="10" ybr="20"/>'
    '<box frame="1" outside="0" occluded="0" keyframe="0" xtl="2" ytl="2" xbr="11" ybr="20"/>'
    '<box frame="2" outside="1" occluded="0" keyframe="1" xtl="2" ytl="2" xbr="11" ybr="20"/></track></annotations>'
)
STUDIO = [
    {
        "id": 1, "image": "/data/upload/a.jpg", "annotator": 1, "annotation_id": 1,
        "label": [{"x": 1, "y": 2, "width": 10, "height": 10, "rotation": 0, "rectanglelabels": ["cat"],
                   "original_width": 64, "original_height": 48}],
    },
    {"id": 2, "image": "/data/upload/b.jpg", "annotator": 1, "annotation_id": 2},
]  # fmt: skip

# Files, format, subsets, images, objects by class.
LAYOUTS: dict[str, tuple[dict[str, Any], str, tuple[str, ...], int, dict[str, int]]] = {
    "Roboflow, YOLO": (
        {
            **splits("train", "valid", "test", **{"images/a_%.rf.abc.jpg": PICTURE, "labels/a_%.rf.abc.txt": ROWS}),
            "data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\n"
            "names: ['cat', 'dog']\n\nroboflow:\n  workspace: x\n  license: CC BY 4.0\n",
            "README.dataset.txt": "x\n",
            "README.roboflow.txt": "x\n",
        },
        "yolo", ("train", "val", "test"), 3, {"cat": 3, "dog": 3},
    ),
    "Roboflow, COCO": (
        {
            **splits("train", "valid", **{"_annotations.coco.json": coco("%.jpg"), "%.jpg": PICTURE}),
            "README.roboflow.txt": "x\n",
        },
        "coco", ("train", "valid"), 2, {"cat": 2},
    ),
    "Roboflow, VOC": (
        {**splits("train", "valid", **{"%.xml": voc("%.jpg"), "%.jpg": PICTURE}), "README.roboflow.txt": "x\n"},
        "voc", ("train", "valid"), 2, {"cat": 2},
    ),
    "Roboflow, Create ML": (
        splits("train", "valid", **{
            "_annotations.createml.json": json.dumps([{"image": "%.jpg", "annotations": [
                {"label": "cat", "coordinates": {"x": 20, "y": 20, "width": 10, "height": 10}}]}]),
            "%.jpg": PICTURE,
        }),
        "createml", ("train", "valid"), 2, {"cat": 2},
    ),
    "Roboflow, TensorFlow CSV": (
        splits("train", "valid", **{"_annotations.csv": f"{CSV}\n%.jpg,64,48,cat,1,2,30,40\n", "%.jpg": PICTURE}),
        "csv", ("train", "valid"), 2, {"cat": 2},
    ),
    "Ultralytics, coco128": (
        {
            "coco128.yaml": "path: ../datasets/coco128\ntrain: images/train2017\nval: images/train2017\ntest:\n"
            "names:\n  0: cat\n  1: dog\ndownload: https://example.org/coco128.zip\n",
            "images/train2017/1.jpg": PICTURE, "images/train2017/2.jpg": PICTURE, "labels/train2017/1.txt": ROWS,
        },
        "yolo", (), 2, {"cat": 1, "dog": 1},
    ),
    "CVAT, Ultralytics": (
        {
            "data.yaml": "names:\n  0: cat\n  1: dog\npath: .\ntrain: train.txt\n",
            "train.txt": "data/images/train/a.jpg\n", "labels/train/a.txt": ROWS, "images/train/a.jpg": PICTURE,
        },
        "yolo", (), 1, {"cat": 1, "dog": 1},
    ),
    "Label Studio, YOLO": (
        {"classes.txt": "cat\ndog\n", "notes.json": {"categories": [{"id": 0, "name": "cat"}], "info": {}},
         "images/abc-a.jpg": PICTURE, "labels/abc-a.txt": ROWS},
        "yolo", (), 1, {"cat": 1, "dog": 1},
    ),
    "Label Studio, COCO": (
        {"result.json": coco("images/abc-a.jpg"), "images/abc-a.jpg": PICTURE}, "coco", (), 1, {"cat": 1},
    ),
    "Label Studio, JSON-MIN": (
        {"p.json": STUDIO, "a.jpg": PICTURE, "b.jpg": PICTURE}, "label_studio", (), 2, {"cat": 1},
    ),
    "Kaggle, VOC": ({"annotations/a.xml": voc("a.png"), "images/a.png": PICTURE}, "voc", (), 1, {"cat": 1}),
    "VOCdevkit": (
        {
            "VOCdevkit/VOC2007/Annotations/1.xml": voc("1.jpg"), "VOCdevkit/VOC2007/JPEGImages/1.jpg": PICTURE,
            "VOCdevkit/VOC2007/ImageSets/Main/train.txt": "1\n", "VOCdevkit/VOC2007/ImageSets/Main/val.txt": "\n",
        },
        "voc", (), 1, {"cat": 1},
    ),
    "NEU-DET on Kaggle": (
        {
            **{f"NEU-DET/{p}/annotations/{n}_{i}.xml": voc(f"{n}_{i}.jpg") for i, p, n in NEU},
            **{f"NEU-DET/{p}/images/{n}/{n}_{i}.jpg": PICTURE for i, p, n in NEU},
        },
        "voc", ("train", "validation"), 3, {"cat": 3},
    ),
    "TensorFlow's object detection": (
        {
            **splits("images/train", "images/test", **{"1.xml": voc("1.jpg"), "1.jpg": PICTURE}),
            "data/train_labels.csv": f"{CSV}\n1.jpg,64,48,cat,1,3,20,30\n",
            "data/test_labels.csv": f"{CSV}\n1.jpg,64,48,cat,1,3,20,30\n",
            "training/labelmap.pbtxt": "item {\n  id: 1\n  name: 'cat'\n}\n",
        },
        "voc", ("test", "train"), 2, {"cat": 2},
    ),
    "VOC, folders of classes": (
        {f"{name}/{name}_1.{kind}": voc(f"{name}_1.jpg") if kind == "xml" else PICTURE
         for name in ("apple", "pear") for kind in ("xml", "jpg")},
        "voc", (), 2, {"cat": 2},
    ),
    "RDD2022": (
        {
            **{f"{c}/train/annotations/xmls/{c}_1.xml": voc(f"{c}_1.jpg") for c in ("Czech", "India")},
            **{f"{c}/{split}/images/{c}_{n}.jpg": PICTURE
               for c in ("Czech", "India") for n, split in ((1, "train"), (2, "test"))},
        },
        "voc", (), 2, {"cat": 2},
    ),
    "LabelMe, folders of jobs": (
        splits("job_1", "job_2", **{"a.json": labelme("a.jpg"), "a.jpg": PICTURE}),
        "labelme", (), 2, {"cat": 2},
    ),
    "DroneVehicle": (
        {
            **{f"train/trainlabel{r}/0000{n}.xml": voc("DJI_0458") for r in ("", "r") for n in (1, 2)},
            **{f"train/trainimg{r}/0000{n}.jpg": PICTURE for r in ("", "r") for n in (1, 2)},
        },
        "voc", (), 4, {"cat": 4},
    ),
    "Stanford Dogs": (
        {
            **{f"Annotation/n1-{name}/n1_{name}": voc(says) for name, says in (("beagle", "%s"), ("pug", "n1_pug"))},
            **{f"Images/n1-{name}/n1_{name}.jpg": PICTURE for name in ("beagle", "pug")},
        },
        "voc", (), 2, {"cat": 2},
    ),
    "VOC, annotations and images in splits": (
        {
            **{f"annotations/{split}/a.xml": voc("a.jpg") for split in ("train", "val")},
            **{f"images/{split}/a.jpg": PICTURE for split in ("train", "val")},
        },
        "voc", ("train", "val"), 2, {"cat": 2},
    ),
    "LabelMe, labels and images in splits": (
        {
            **{f"labels/{split}/a.json": labelme(f"..\\..\\images\\{split}\\a.jpg") for split in ("train", "val")},
            **{f"images/{split}/a.jpg": PICTURE for split in ("train", "val")},
        },
        "labelme", ("train", "val"), 2, {"cat": 2},
    ),
    "LabelMe, splits of labels and images": (
        splits("train", "val", **{"labels/a.json": labelme("..\\images\\a.jpg"), "images/a.jpg": PICTURE}),
        "labelme", ("train", "val"), 2, {"cat": 2},
    ),
    "FiftyOne, VOC": ({"labels/a.xml": voc("a.jpg"), "data/a.jpg": PICTURE}, "voc", (), 1, {"cat": 1}),
    "VOC, with the lists that Keras' YOLO makes of it": (
        {"VOC2007/Annotations/1.xml": voc("1.jpg"), "VOC2007/JPEGImages/1.jpg": PICTURE,
         "2007_train.txt": "/home/x/VOC2007/JPEGImages/1.jpg 1,3,20,30,0\n"},
        "voc", (), 1, {"cat": 1},
    ),
    "FiftyOne, COCO": ({"labels.json": coco("a.jpg"), "data/a.jpg": PICTURE}, "coco", (), 1, {"cat": 1}),
    "CVAT, COCO": (
        {"annotations/instances_default.json": coco("a.jpg"), "images/default/a.jpg": PICTURE},
        "coco", (), 1, {"cat": 1},
    ),
    "CVAT, video": ({"annotations.xml": TRACKS, "images/frame_000002.PNG": PICTURE}, "cvat", (), 3, {"cat": 2}),
    "DOTA 1.5": (
        splits("train", "val", **{
            "labelTxt-v1.5/DOTA-v1.5_%/P1.txt": f"imagesource:GoogleEarth\ngsd:0.14\n{DOTA}",
            "labelTxt-v1.5/DOTA-v1.5_%/P2.txt": "imagesource:GoogleEarth\ngsd:null\n",
            "images/P1.png": PICTURE, "images/P2.png": PICTURE,
        }),
        "dota", ("train", "val"), 4, {"plane": 2},
    ),
    "KITTI, tracking": (
        {
            "training/label_02/0000.txt": f"0 -1 DontCare -1 -1 -10 10 1 20 9 -1000 -1000 -1000 -10 -1 -1 -1\n"
            f"0 1 Car {KITTI}\n2 1 Car {KITTI}\n",
            **{f"training/image_02/0000/{frame:06d}.png": PICTURE for frame in range(3)},
        },
        "kitti", (), 3, {"Car": 2},
    ),
    "MOT17": (
        {
            "MOT17/train/MOT17-02/gt/gt.txt": "1,1,1,2,10,10,1,1,0.5\n2,1,2,2,10,10,1,1,1\n",
            "MOT17/train/MOT17-02/img1/000001.jpg": PICTURE, "MOT17/train/MOT17-02/img1/000002.jpg": PICTURE,
        },
        "mot", (), 2, {"pedestrian": 2},
    ),
    "Open Images": (
        {
            "oidv6-train-annotations-bbox.csv": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,"
            "IsTruncated,IsGroupOf,IsDepiction,IsInside,XClick1X\n01,xclick,/m/01,1,0.1,0.5,0.2,0.6,0,0,1,0,0,0.1\n"
            "01,xclick,/m/02,1,0.1,0.5,0.2,0.6,-1,-1,-1,-1,-1,0.1\n",
            "class-descriptions-boxable.csv": '/m/01,Cat\n/m/02,"Dog, big"\n', "train/01.jpg": PICTURE,
        },
        "openimages", (), 1, {"Cat": 1, "Dog, big": 1},
    ),
    "OIDv4 toolkit": (
        {
            "OID/csv_folder/class-descriptions-boxable.csv": "/m/01,Cat\n/m/02,Tea cup\n",
            "OID/csv_folder/train-annotations-bbox.csv": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n"
            "01,xclick,/m/01,1,0.1,0.5,0.2,0.6\n99,xclick,/m/01,1,0.1,0.5,0.2,0.6\n",
            **splits("train", "validation", **{
                "Cat/01%.jpg": PICTURE, "Cat/Label/01%.txt": "Cat 1.5 2.0 30.25 40.0\n",
                "Tea cup/01%.jpg": PICTURE, "Tea cup/Label/01%.txt": "Tea cup 20.0 30.0 1.0 2.0\n",
            }),
        },
        "oidv4", ("train", "validation"), 2, {"Cat": 2, "Tea cup": 2},
    ),
    "Ground truth of an mAP tool": (
        {"input/ground-truth/a.txt": "cat 2 10 30 40\ndog 39 15 56 41 difficult\n",
         "input/detection-results/a.txt": "cat 0.47 0 13 44 44\n", "input/images-optional/a.jpg": PICTURE},
        "oidv4", (), 1, {"cat": 1, "dog": 1},
    ),
    "Roboflow, Keras' YOLO": (
        splits("train", "valid", **{"_annotations.txt": "%.jpg 1,2,30,40,0 5,6,7,8,1\n", "_classes.txt": "cat\ndog\n",
                                    "%.jpg": PICTURE}),
        "csv", ("train", "valid"), 2, {"cat": 2, "dog": 2},
    ),
    "Ultralytics, DOTA": (
        {"DOTAv1.yaml": "path: DOTAv1\ntrain: images/train\nnames:\n  0: plane\n", "images/train/P1.jpg": PICTURE,
         "labels/train/P1.txt": "0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2\n", "labels/train_original/P1.txt": DOTA},
        "yolo", (), 1, {"plane": 1},
    ),
    "CVAT, Ultralytics with parts": (
        {
            "data.yaml": "names:\n  0: cat\n  1: dog\npath: .\nTrain: Train.txt\nValidation: Validation.txt\n",
            **{f"{s}.txt": f"data/images/{s}/a.jpg\n" for s in ("Train", "Validation")},
            **{f"labels/{s}/a.txt": ROWS for s in ("Train", "Validation")},
            **{f"images/{s}/a.jpg": PICTURE for s in ("Train", "Validation")},
        },
        "yolo", ("train", "validation"), 2, {"cat": 2, "dog": 2},
    ),
    "Kaggle, CSV of one cell": (
        {"train.csv": 'image_id,width,height,bbox\na,64,48,"[1.0, 2.0, 10.0, 12.0]"\n', "train/a.jpg": PICTURE},
        "csv", (), 1, {"object": 1},
    ),
    "RetinaNet's CSV": (
        {"annotations.csv": "imgs/a.jpg,1,2,10,12,cat\nimgs/b.jpg,,,,,\n", "classes.csv": "cat,0\n",
         "imgs/a.jpg": PICTURE, "imgs/b.jpg": PICTURE},
        "csv", (), 2, {"cat": 1},
    ),
    "Hugging Face": (
        {"train/metadata.jsonl": '{"file_name": "a.jpg", "objects": {"bbox": [[1, 2, 10, 10]], "categories": [0]}}\n',
         "train/a.jpg": PICTURE},
        "imagefolder", (), 1, {"0": 1},
    ),
    "Hugging Face, keys of their own, three folders deep": (
        {"data/images/train/metadata.jsonl": '{"file_name": "a.jpg", "bbox": [[1, 2, 10, 10]], "label": ["cat"]}\n',
         "data/images/train/a.jpg": PICTURE},
        "imagefolder", (), 1, {"cat": 1},
    ),
    "VisDrone": (
        {"VisDrone2019-DET-train/annotations/a.txt": "1,2,10,10,1,4,0,0\n3,3,5,5,1,11,0,0,\n",
         "VisDrone2019-DET-train/images/a.jpg": PICTURE},
        "visdrone", (), 1, {"car": 1, "others": 1},
    ),
    "VisDrone, videos": (
        {"VisDrone2019-VID-val/annotations/uav1.txt": "1,0,1,2,9,9,1,4,0,0\n1,1,20,20,9,9,0,0,0,0\n"
         "3,0,3,3,5,5,1,10,0,1\n",
         **{f"VisDrone2019-VID-val/sequences/uav1/000000{frame}.jpg": PICTURE for frame in (1, 2, 3)}},
        "visdrone", (), 3, {"car": 1, "motor": 1},
    ),
    "RetinaFace": (
        {"train/label.txt": f"# 0--Parade/a.jpg\n1 2 10 10 {'3.5 4.5 0.0 ' * 5}0.82\n20 5 9 9 {'-1.0 ' * 15}0.2\n"
         f"# 0--Parade/b.jpg\n5 5 10 10 {'3.5 4.5 0.0 ' * 5}0.9\n",
         "train/images/0--Parade/a.jpg": PICTURE, "train/images/0--Parade/b.jpg": PICTURE,
         "val/wider_val.txt": "/0--Parade/c.jpg\n", "val/images/0--Parade/c.jpg": PICTURE},
        "wider_face", (), 2, {"face": 3},
    ),
    "BDD100K, detection": (
        {
            **{f"images/100k/{split}/{split}-{n}.jpg": PICTURE for split in ("train", "val") for n in (1, 2)},
            **{f"labels/det_20/det_{split}.json": [
                {"name": f"{split}-1.jpg", "attributes": {"weather": "clear"}, "timestamp": 10000,
                 "labels": [{"id": "0", "category": "car", "box2d": {"x1": 1.5, "y1": 2, "x2": 20, "y2": 30}}]},
                {"name": f"{split}-2.jpg", "attributes": {"weather": "clear"}, "timestamp": 10000},
            ] for split in ("train", "val")},
        },
        "bdd100k", ("train", "val"), 4, {"car": 2},
    ),
    "BDD100K, tracking": (
        {
            **{f"images/track/{s}/{v}/{v}-0000001.jpg": PICTURE for s, v in (("train", "0a-1b"), ("val", "2c-3d"))},
            **{f"labels/box_track_20/{s}/{v}.json": [
                {"name": f"{v}-0000001.jpg", "videoName": v, "frameIndex": 0,
                 "labels": [{"id": "7", "category": "car", "attributes": {"crowd": False},
                             "box2d": {"x1": 1.5, "y1": 2, "x2": 20, "y2": 30}}]},
            ] for s, v in (("train", "0a-1b"), ("val", "2c-3d"))},
        },
        "bdd100k", ("train", "val"), 2, {"car": 2},
    ),
    "V7 Darwin, a release": (
        {
            "releases/latest/annotations/a.json": {
                "version": "2.0", "annotations": [{"name": "cat", "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}],
                "item": {"name": "a.jpg", "path": "/", "slots": [{"type": "image", "width": 64, "height": 48}]},
            },
            "releases/latest/annotations/.v7/metadata.json": {"version": "1.0", "classes": []},
            "images/a.jpg": PICTURE,
        },
        "darwin", (), 1, {"cat": 1},
    ),
    "Ground Truth, a job's output": (
        {
            "job/manifests/output/output.manifest": json.dumps({
                "source-ref": "s3://bucket/images/a.jpg",
                "job": {"image_size": [{"width": 64, "height": 48, "depth": 3}],
                        "annotations": [{"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4}]},
                "job-metadata": {"class-map": {"0": "cat"}, "type": "groundtruth/object-detection"},
            }) + "\n",
            "job/manifests/intermediate/1/output.manifest": '{"source-ref": "s3://bucket/images/a.jpg"}\n',
            "images/a.jpg": PICTURE,
        },
        "sagemaker", (), 1, {"cat": 1},
    ),
    "CrowdHuman": (
        {
            **{f"annotation_{s}.odgt": json.dumps({"ID": f"{s},1a", "gtboxes": [
                {"fbox": [1, 2, 30, 40], "vbox": [1, 2, 20, 30], "hbox": [3, 2, 5, 5], "tag": "person",
                 "head_attr": {"ignore": 0}, "extra": {"box_id": 0, "occ": 0}}]}) for s in ("train", "val")},
            "Images/train,1a.jpg": PICTURE, "Images/val,1a.jpg": PICTURE,
        },
        "odgt", ("train", "val"), 2, {"person": 2},
    ),
    "SuperAnnotate": (
        {
            "a.jpg": PICTURE, "classes/classes.json": [{"id": 1, "name": "cat", "attribute_groups": []}],
            "a.jpg___objects.json": {"metadata": {"name": "a.jpg", "width": 64, "height": 48}, "instances": [
                {"type": "bbox", "classId": 1, "points": {"x1": 1, "x2": 3, "y1": 2, "y2": 4}}]},
        },
        "superannotate", (), 1, {"cat": 1},
    ),
    "WIDER FACE": (
        {"wider_face_split/wider_face_train_bbx_gt.txt": "0--Parade/a.jpg\n1\n1 2 10 10 0 0 0 0 0 0 \n0--Parade/b.jpg\n"
         "0\n0 0 0 0 0 0 0 0 0 0 \n",
         "WIDER_train/images/0--Parade/a.jpg": PICTURE, "WIDER_train/images/0--Parade/b.jpg": PICTURE},
        "wider_face", (), 2, {"face": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts_of_tools(case: str, tmp_path: Path, files: Any) -> None:
    content, format, subsets, images, classes = LAYOUTS[case]
    files(tmp_path, {n: v if isinstance(v, str | tuple | bytes) else json.dumps(v) for n, v in content.items()})
    assert detect_format(tmp_path)[0] == format
    source = read_parts(tmp_path)
    assert tuple(part.name for part in source.parts if part.name) == subsets
    assert sum(len(part.dataset.images) for part in source.parts) == images
    found: dict[str, int] = {}
    called: list[str] = []
    for part in source.parts:
        names = {category.id: category.name for category in part.dataset.categories}
        for annotation in part.dataset.annotations:
            found[names[annotation.category_id]] = found.get(names[annotation.category_id], 0) + 1
        assert not part.receipt.classes_dropped
        called += [image.file_name for image in part.dataset.images]
        if case != "CVAT, video":  # of which the archive has no images
            assert all(image.path is not None and image.path.suffix for image in part.dataset.images)
    assert found == classes
    assert len(set(called)) == len(called)


def test_tables_of_other_images_are_no_copy(tmp_path: Path, files: Any) -> None:
    files(tmp_path, {"images/1.xml": voc("1.jpg"), "data/all.csv": f"{CSV}\n2.jpg,64,48,cat,1,3,20,30\n"})
    with pytest.raises(DataError, match="several formats fit"):
        detect_format(tmp_path)


@pytest.mark.parametrize("format", ["voc", "cvat", "labelme3", "yolo", "kitti", "labelme", "masks"])
def test_a_wrong_format_is_told_with_the_right_one(format: str, tmp_path: Path, files: Any) -> None:
    files(tmp_path, {"train.json": coco("a.jpg")})
    for path in (tmp_path, tmp_path / "train.json"):
        with pytest.raises(DataError, match=f"; it was read as {format}, but its content is of coco: train.json with"):
            read_parts(path, format)
        with pytest.raises(DataError, match=f"; it was read as {format}, but its content is of coco: train.json with"):
            read_source(ReadSource(path), format, Receipt())


def test_a_fault_in_the_right_format_stays_as_it_is(tmp_path: Path, files: Any) -> None:
    files(tmp_path, {"train.json": coco("a.jpg")})
    with pytest.raises(DataError, match="no subset 'val'") as caught:
        read_parts(tmp_path, "coco", subset="val")
    assert "read as" not in str(caught.value)


def test_a_folder_of_images_alone(tmp_path: Path, files: Any) -> None:
    files(tmp_path, {"images/a.jpg": PICTURE})
    with pytest.raises(DataError, match=r"holds 1 \.jpg, images alone; give the folder above"):
        detect_format(tmp_path / "images")


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(Exception, match="an archive; unpack it"):
        detect_format(tmp_path / "set.zip")
