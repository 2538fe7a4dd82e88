"""`cvtune init`: what it finds, and that its spec is one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from cvtune.backends import BACKENDS, load_backend
from cvtune.errors import DataError, SpecError
from cvtune.init import look_at, write_first_spec
from cvtune.spec_file import load_spec

VOC = (
    "<annotation><filename>{name}.png</filename><size><width>64</width><height>48</height><depth>3</depth></size>"
    "<object><name>{label}</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object>"
    "</annotation>"
)


def coco(path: Path, images: int = 3, masks: bool = False, names: Sequence[str] = ("cat", "dog")) -> Path:
    """A COCO file, and its images in `images` beside it."""
    folder = path.parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    record: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
    }
    for i in range(images):
        name = f"{path.stem}-{i}.png"
        Image.new("RGB", (64, 48), (i, 0, 0)).save(folder / name)
        record["images"].append({"id": i, "file_name": name, "width": 64, "height": 48})
        polygon = {"segmentation": [[2, 2, 20, 2, 20, 20]]} if masks else {}
        record["annotations"].append(
            {"id": i, "image_id": i, "category_id": i % len(names), "bbox": [2, 2, 18, 18], "area": 9, "iscrowd": 0}
            | polygon
        )
    path.write_text(json.dumps(record))
    return path


def voc(root: Path, lists: dict[str, list[str]]) -> Path:
    """A VOC set with the image lists that are asked for."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name in dict.fromkeys(name for names in lists.values() for name in names):
        (root / "Annotations" / f"{name}.xml").write_text(VOC.format(name=name, label="cell"))
        Image.new("RGB", (64, 48)).save(root / "JPEGImages" / f"{name}.png")
    for part, names in lists.items():
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")
    return root


def uncommented(text: str) -> str:
    """The spec with every optional key in use."""
    return re.sub(r"^(\s+)# ([a-z_]+: )", r"\1\2", text, flags=re.MULTILINE)


def test_a_folder_of_coco_files_gives_its_splits(tmp_path: Path) -> None:
    for name, images in (("instances_train2017", 4), ("instances_val2017", 2)):
        coco(tmp_path / "set" / f"{name}.json", images)
    lines = write_first_spec(tmp_path / "set", tmp_path / "spec.yaml")
    assert lines[1:] == [
        "train: 4 images, 4 objects",
        "val: 2 images, 2 objects",
        "classes: cat 2, dog 2",
        f"wrote {tmp_path / 'spec.yaml'}; next: cvtune plan {tmp_path / 'spec.yaml'}",
    ]
    assert lines[0].startswith("format: coco (")
    spec = load_spec(tmp_path / "spec.yaml")
    assert (spec.data.train[0].annotations, spec.data.train[0].subset) == (tmp_path / "set", "instances_train2017")
    assert spec.data.val[0].subset == "instances_val2017"
    assert spec.data.split is None
    assert (spec.model.family, spec.name) == ("faster_rcnn", "set-faster-rcnn")


def test_a_coco_file_brings_those_beside_it(tmp_path: Path) -> None:
    for name in ("train", "val", "test", "other"):
        coco(tmp_path / f"{name}.json")
    (tmp_path / "val_predictions.json").write_text("[]")
    (tmp_path / "train_size.json").write_text("{}")
    found = look_at(tmp_path / "train.json")
    assert {split: part.annotations.name for split, part in found.splits.items()} == {
        "train": "train.json",
        "val": "val.json",
        "test": "test.json",
    }
    assert found.left_out == ()


def test_the_nearest_name_is_taken_where_several_fit(tmp_path: Path) -> None:
    for name in ("boxes_train", "masks_train", "boxes_val", "masks_val"):
        coco(tmp_path / f"{name}.json")
    found = look_at(tmp_path / "masks_train.json")
    assert [part.annotations.name for part in found.splits.values()] == ["masks_train.json", "masks_val.json"]
    assert set(found.left_out) == {"boxes_train", "boxes_val"}


@pytest.mark.parametrize(("name", "masks", "family"), [("labels", True, "mask_rcnn"), ("val", False, "faster_rcnn")])
def test_a_lone_file_is_split(name: str, masks: bool, family: str, tmp_path: Path) -> None:
    path = coco(tmp_path / f"{name}.json", masks=masks)
    lines = write_first_spec(path, tmp_path / "spec.yaml")
    assert any(line.startswith("val: none found") for line in lines)
    spec = load_spec(tmp_path / "spec.yaml")
    assert spec.data.split is not None
    assert spec.data.split.val == 0.15
    assert spec.data.train[0].annotations == path
    assert spec.model.family == family


def test_voc_lists_are_splits(tmp_path: Path) -> None:
    lists = {"train": ["a", "b"], "val": ["c"], "trainval": ["a", "b", "c"], "test": ["d"]}
    found = look_at(voc(tmp_path / "cells", lists))
    assert found.format == "voc"
    assert {split: (part.subset, part.images) for split, part in found.splits.items()} == {
        "train": ("train", 2),
        "val": ("val", 1),
        "test": ("test", 1),
    }
    assert found.left_out == ("trainval",)
    assert found.per_class == {"cell": 2}
    assert found.median_size_wh == (64, 48)


def test_trainval_is_trained_on_where_there_is_no_train(tmp_path: Path) -> None:
    found = look_at(voc(tmp_path / "cells", {"trainval": ["a", "b"], "test": ["c"]}))
    assert {split: part.subset for split, part in found.splits.items()} == {"train": "trainval", "test": "test"}


def test_a_single_list_is_trained_on_whatever_its_name(tmp_path: Path) -> None:
    found = look_at(voc(tmp_path / "cells", {"default": ["a", "b"]}))
    assert {split: part.subset for split, part in found.splits.items()} == {"train": "default"}


FAMILIES = [(name, family) for name in BACKENDS for family in load_backend(name).models()]


@pytest.mark.parametrize(("backend", "family"), FAMILIES)
def test_every_optional_key_may_be_used(backend: str, family: str, tmp_path: Path) -> None:
    coco(tmp_path / "train.json", names=("a 'quoted' name", "no", "x: y # z", "[b]"))
    coco(tmp_path / "val.json")
    path = tmp_path / "spec.yaml"
    write_first_spec(tmp_path / "train.json", path, family, backend=backend)
    text = path.read_text()
    commented = text.count("\n  # ")
    assert (load_spec(path).backend, load_spec(path).model.family) == (backend, family)
    path.write_text(uncommented(text))
    spec = load_spec(path)
    assert path.read_text().count("\n  # ") == 1
    assert commented > 14
    assert spec.data.classes == ("a 'quoted' name", "no", "x: y # z", "[b]")
    assert spec.train.ema == 0.998
    assert spec.train.early_stopping is not None
    assert spec.data.augment == ({"HorizontalFlip": {"p": 0.5}},)


@pytest.mark.parametrize("folder", ["plain", "with blank", "it's: #odd", "no", "2012", "ünï"])
def test_any_folder_name_is_written_so_that_it_is_read_back(folder: str, tmp_path: Path) -> None:
    path = coco(tmp_path / folder / "train.json")
    write_first_spec(path, tmp_path / "spec.yaml")
    spec = load_spec(tmp_path / "spec.yaml")
    assert spec.data.train[0].annotations == path
    assert str(tmp_path) not in (tmp_path / "spec.yaml").read_text()


def test_a_far_data_set_is_named_by_its_whole_path(tmp_path: Path) -> None:
    path = coco(tmp_path / "data" / "train.json")
    (tmp_path / "a/b/c").mkdir(parents=True)
    write_first_spec(path, tmp_path / "a/b/c/spec.yaml")
    assert f"annotations: {path}" in (tmp_path / "a/b/c/spec.yaml").read_text()


def test_images_that_are_not_there_are_said(tmp_path: Path) -> None:
    path = coco(tmp_path / "train.json")
    (tmp_path / "images" / "train-0.png").unlink()
    lines = write_first_spec(path, tmp_path / "spec.yaml")
    assert "train: 1 image file was not found; give their folder with --images, or as data.train.images" in lines
    assert "  # 1 image file was not found: add `images: FOLDER` above\n" in (tmp_path / "spec.yaml").read_text()
    load_spec(tmp_path / "spec.yaml")


def test_the_folder_of_the_images_may_be_given(tmp_path: Path) -> None:
    path = coco(tmp_path / "parts" / "train.json")
    coco(tmp_path / "parts" / "val.json")
    (tmp_path / "parts" / "images").rename(tmp_path / "far")
    lines = write_first_spec(path, tmp_path / "spec.yaml", images=tmp_path / "far")
    assert not any("not found" in line for line in lines)
    spec = load_spec(tmp_path / "spec.yaml")
    assert [source.images for source in (*spec.data.train, *spec.data.val)] == [tmp_path / "far"] * 2


def test_parts_that_are_no_splits_are_one_set(tmp_path: Path) -> None:
    found = look_at(voc(tmp_path, {"one": ["a"], "two": ["b"]}))
    assert {split: (part.subset, part.images) for split, part in found.splits.items()} == {"train": (None, 2)}


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    path = coco(tmp_path / "train.json")
    out = tmp_path / "spec.yaml"
    with pytest.raises(SpecError, match=r"--family: unknown family, got 'fasterrcnn'.*did you mean 'faster_rcnn'"):
        write_first_spec(path, out, "fasterrcnn")
    with pytest.raises(SpecError, match="--family: unknown family, got 'ssdlite'"):
        write_first_spec(path, out, "ssdlite", backend="detectron2")
    with pytest.raises(SpecError, match=r"unknown backend, got 'mmdett'.*did you mean 'mmdet'"):
        write_first_spec(path, out, backend="mmdett")
    write_first_spec(path, out)
    before = out.read_text()
    with pytest.raises(SpecError, match=r"spec\.yaml: exists already; `--force` replaces it"):
        write_first_spec(path, out, "fcos")
    assert out.read_text() == before
    write_first_spec(path, out, "fcos", force=True)
    assert load_spec(out).model.family == "fcos"
    with pytest.raises(DataError, match="no such file or folder"):
        write_first_spec(tmp_path / "none", tmp_path / "new.yaml")
    with pytest.raises(DataError, match=r"none of its parts is named as a training set: one, val; call one `train`"):
        look_at(voc(tmp_path / "cells", {"one": ["a"], "val": ["b"]}))
    empty = coco(tmp_path / "empty" / "labels.json", images=0)
    with pytest.raises(DataError, match="0 images and no object"):
        write_first_spec(empty, tmp_path / "new.yaml")
    assert not (tmp_path / "new.yaml").exists()


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "images", "family", "classes"),
    [
        ("bccd", {"train": 205, "val": 87, "test": 72}, "faster_rcnn", {"RBC", "WBC", "Platelets"}),
        ("fruit_nuts", {"train": 18}, "mask_rcnn", {"date", "fig", "hazelnut"}),
    ],
)
def test_real_sets_get_a_spec(
    folder: str, images: dict[str, int], family: str, classes: set[str], real_data: Path, tmp_path: Path
) -> None:
    found = look_at(real_data / folder)
    assert {split: part.images for split, part in found.splits.items()} == images
    assert set(found.per_class) == classes
    assert all(part.missing_images == 0 for part in found.splits.values())
    path = tmp_path / "spec.yaml"
    write_first_spec(real_data / folder, path)
    spec = load_spec(path)
    assert spec.model.family == family
    assert {"train": spec.data.train, "val": spec.data.val, "test": spec.data.test}.keys() >= images.keys()
    assert bool(spec.data.val) == (spec.data.split is None)
    path.write_text(uncommented(path.read_text()))
    assert set(load_spec(path).data.classes) == classes
