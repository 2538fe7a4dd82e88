"""prepare: from sources to the canonical view, and everything that it drops, mends or refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools.coco import COCO

from cvtune.data.coco import load_coco
from cvtune.data.images import image_header, read_rgb
from cvtune.data.prepare import Prepared, prepare
from cvtune.errors import DataError
from cvtune.runs import RunDir, read_json
from cvtune.spec import Spec

SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]
Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a COCO file and its images; returns the file's path.

    `objects`: (image number, category id, bbox, more keys); `names`: file names; `categories`: id -> name.
    """

    def write(
        name: str,
        objects: list[tuple[Any, ...]],
        names: list[str] | None = None,
        categories: dict[Any, str] | None = None,
        size: tuple[int, int] = (40, 30),
        pictures: bool = True,
        ids: list[Any] | None = None,
    ) -> str:
        names = names or [f"{name}{i}.png" for i in range(2)]
        ids = ids or list(range(len(names)))
        categories = categories or {7: "cat", 3: "dog"}
        for n, file_name in enumerate(names):
            path = tmp_path / "images" / file_name
            if pictures and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                Pillow.new("RGB", size, (len(name), n, 0)).save(path)
        record = {
            "images": [
                {"id": i, "file_name": n, "width": size[0], "height": size[1]} for i, n in zip(ids, names, strict=True)
            ],
            "annotations": [
                {"id": n, "image_id": ids[image], "category_id": category, "bbox": box, **(more[0] if more else {})}
                for n, (image, category, box, *more) in enumerate(objects)
            ],
            "categories": [{"id": i, "name": n} for i, n in categories.items()],
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(record))
        return str(path)

    return write


def run_prepare(tmp_path: Path, task: Any = "detect", **data: Any) -> tuple[Prepared, RunDir]:
    run = RunDir(tmp_path / "run")
    spec = Spec.model_validate({"name": "x", "model": {"family": "f"}, "data": data})
    return prepare(spec, run, task=task), run


def codes(prepared: Prepared) -> dict[str, int]:
    return dict(prepared.receipt.counts)


def canonical(run: RunDir, split: str) -> dict[str, Any]:
    record: dict[str, Any] = read_json(run.data(split))
    return record


def test_the_canonical_view(tmp_path: Path, make: Make) -> None:
    train = make("train", [(0, 3, [1, 2, 10, 5]), (1, 7, [0, 0, 40, 30], {"ignore": 1, "area": 900})], ids=["a", "b"])
    val = make("val", [(1, 9, [3, 3, 4, 4])], categories={9: "cat", 7: "dog"}, ids=[100, 50])
    prepared, run = run_prepare(tmp_path, train=train, val=val)
    assert (prepared.class_map.names, prepared.class_map.source_ids) == (("cat", "dog"), (7, 3))
    assert run.class_map() == prepared.class_map
    record = canonical(run, "train")
    assert [(c["id"], c["name"]) for c in record["categories"]] == [(1, "cat"), (2, "dog")]
    assert [image["id"] for image in record["images"]] == [1, 2]
    assert [image["file_name"] for image in record["images"]] == [
        str(tmp_path / "images" / f"train{i}.png") for i in range(2)
    ]
    assert record["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 10, 5], "area": 50, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [0, 0, 40, 30], "area": 900, "iscrowd": 0},
    ]
    # The same class has another id there: joined by name.
    assert [a["category_id"] for a in canonical(run, "val")["annotations"]] == [1]
    assert canonical(run, "val")["categories"] == record["categories"]
    assert read_json(run.images) == {
        "train": [
            {"id": 1, "source_id": "a", "file_name": "train0.png"},
            {"id": 2, "source_id": "b", "file_name": "train1.png"},
        ],
        "val": [
            {"id": 1, "source_id": 100, "file_name": "val0.png"},
            {"id": 2, "source_id": 50, "file_name": "val1.png"},
        ],
    }
    receipt = read_json(run.receipt)
    assert receipt["annotations"] == {"in": 3, "out": 3, "dropped": 0}
    assert receipt["counts"] == {"categories-merged": 1}
    assert not run.data("test").exists()


def test_the_canonical_files_are_plain_coco(tmp_path: Path, make: Make) -> None:
    train = make("train", [(0, 3, [2, 2, 10, 10], {"segmentation": SQUARE})])
    _, run = run_prepare(tmp_path, train=train, val=make("val", [(0, 3, [1, 1, 3, 3])]))
    coco = COCO(str(run.data("train")))
    assert coco.annToMask(coco.loadAnns([1])[0]).sum() == 100
    assert all(image.path is not None for image in load_coco(run.data("train")).images)


@pytest.mark.parametrize(
    ("box", "expected", "area", "code"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 12, None),
        ([-5, 2, 10, 4], [0, 2, 5, 4], 20, "box-clipped"),
        ([35, 25, 10, 10], [35, 25, 5, 5], 25, "box-clipped"),
        ([5, 5, 0.4, 10], [4.7, 5, 1, 10], 10, "box-grown"),
        ([39.8, 5, 0.2, 0.1], [39, 4.55, 1, 1], 1, "box-grown"),
        ([-5, 5, 5.2, 3], [0, 5, 1, 3], 3, "box-grown"),
        ([0.1, 0.2, 39.9, 29.8], [0.1, 0.2, 39.9, 29.8], 39.9 * 29.8, None),
    ],
)
def test_boxes_lie_inside_and_have_a_pixel(
    tmp_path: Path, make: Make, box: list[float], expected: list[float], area: float, code: str | None
) -> None:
    prepared, run = run_prepare(tmp_path, train=make("train", [(0, 3, box)]), val=make("val", []))
    [annotation] = canonical(run, "train")["annotations"]
    assert annotation["bbox"] == pytest.approx(expected)
    assert annotation["area"] == pytest.approx(area)
    x, y, w, h = annotation["bbox"]
    assert x >= 0
    assert y >= 0
    assert x + w <= 40 * (1 + 1e-9)
    assert y + h <= 30 * (1 + 1e-9)
    assert min(w, h) >= 1
    assert (code in codes(prepared)) if code else not {"box-clipped", "box-grown"} & set(codes(prepared))


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ([5, 5, 0, 3], "box-zero-area"),
        ([5, 5, 3, 0], "box-zero-area"),
        ([50, 5, 3, 3], "box-outside"),
        ([5, -9, 3, 3], "box-outside"),
    ],
)
def test_boxes_that_are_none_are_dropped(tmp_path: Path, make: Make, box: list[float], code: str) -> None:
    train = make("train", [(0, 3, [1, 1, 5, 5]), (1, 7, box)])
    prepared, run = run_prepare(tmp_path, train=train, val=make("val", []))
    assert len(canonical(run, "train")["annotations"]) == 1
    [drop] = [event for event in prepared.receipt.events if event.kind == "drop"]
    assert (drop.code, drop.category, drop.where) == (code, "cat", "train: annotation 1 of train1.png")
    assert prepared.summaries["train"].per_class == {"cat": 0, "dog": 1}
    assert codes(prepared)["class-without-objects"] == 1


def test_masks_keep_their_area_when_boxes_are_clipped_and_an_area_of_0_is_filled(tmp_path: Path, make: Make) -> None:
    outside = [[100, 100, 110, 100, 110, 110]]
    train = make(
        "train",
        [
            (0, 3, [-1, 2, 13, 10], {"segmentation": SQUARE, "area": 77}),
            (0, 3, [2, 2, 10, 10], {"segmentation": SQUARE, "area": 0}),
            (0, 3, [2, 2, 10, 10], {"segmentation": outside, "area": 0}),
        ],
    )
    prepared, run = run_prepare(tmp_path, "segment", train=train, val=make("val", []))
    assert [(a["bbox"], a["area"]) for a in canonical(run, "train")["annotations"]] == [
        ([0, 2, 12, 10], 77),
        ([2, 2, 10, 10], 100),
    ]
    assert codes(prepared)["mask-empty"] == 1


def test_classes_may_be_chosen_and_ordered(tmp_path: Path, make: Make) -> None:
    categories = {1: "a", 2: "b", 3: "c"}
    train = make("train", [(0, i, [1, 1, 5, 5]) for i in (1, 2, 3, 3)], categories=categories)
    val = make("val", [(0, i, [1, 1, 5, 5]) for i in (1, 2, 4)], categories={1: "b", 2: "c", 4: "new"})
    prepared, run = run_prepare(tmp_path, train=train, val=val, classes=["c", "a"])
    assert (prepared.class_map.names, prepared.class_map.source_ids) == (("c", "a"), (3, 1))
    assert [a["category_id"] for a in canonical(run, "train")["annotations"]] == [2, 1, 1]
    assert [a["category_id"] for a in canonical(run, "val")["annotations"]] == [1]
    drops = [(e.code, e.where, e.category, e.annotations) for e in prepared.receipt.events if e.kind == "drop"]
    assert drops == [
        ("class-dropped", "data.train", "b", 1),
        ("class-dropped", "data.val", "b", 1),
        ("class-not-in-train", "data.val", "new", 1),
    ]
    with pytest.raises(DataError, match=r"data\.classes: 'dogg' is not in the data"):
        run_prepare(tmp_path, train=train, val=val, classes=["dogg"])


def test_sources_are_merged_by_class_name(tmp_path: Path, make: Make) -> None:
    one = make("one", [(0, 7, [1, 1, 5, 5])], ids=[1, 2])
    two = make("two", [(0, 7, [1, 1, 5, 5])], categories={7: "dog", 8: "cow"}, ids=[2, 3])
    prepared, run = run_prepare(tmp_path, train=[one, two], val=make("val", []))
    assert prepared.class_map.names == ("cat", "dog", "cow")
    assert [a["category_id"] for a in canonical(run, "train")["annotations"]] == [1, 2]
    listed = read_json(run.images)["train"]
    assert [(i["source_id"], i["original_id"], i["file_name"]) for i in listed] == [
        (1, 1, "one0.png"),
        (2, 2, "one1.png"),
        (3, 2, "two0.png"),
        (4, 3, "two1.png"),
    ]
    assert codes(prepared)["image-ids-renumbered"] == 1


def test_a_split_takes_val_and_test_out_of_train(tmp_path: Path, make: Make) -> None:
    names = [f"v{i // 4}_{i}.png" for i in range(80)]
    train = make("all", [(i, 3, [1, 1, 5, 5]) for i in range(80)], names=names)
    data = {"train": train, "split": {"val": 0.25, "test": 0.2, "by": "prefix", "seed": 1}}
    prepared, run = run_prepare(tmp_path, **data)
    listed = read_json(run.images)
    videos = {split: {image["file_name"].split("_")[0] for image in images} for split, images in listed.items()}
    assert set(videos) == {"train", "val", "test"}
    assert sum(map(len, videos.values())) == 20
    assert sorted(image["source_id"] for images in listed.values() for image in images) == list(range(80))
    assert codes(prepared) == {"split-made": 1, "class-without-objects": 1}
    assert prepared.receipt.to_json()["images"] == {"in": 80, "out": 80, "dropped": 0}
    again, other = run_prepare(tmp_path / "again", **data)
    assert read_json(other.images) == listed
    assert again.summaries == prepared.summaries


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, r"there are no validation data; give data\.val, or .*split: \{val: 0\.15\}"),
        ({"val": True, "split": {}}, r"data\.split: .*data\.val gives some; remove one"),
        ({"test": True, "split": {"test": 0.1}}, r"data\.split\.test: .*data\.test gives some"),
    ],
)
def test_where_validation_comes_from_must_be_clear(
    tmp_path: Path, make: Make, more: dict[str, Any], message: str
) -> None:
    train = make("train", [(0, 3, [1, 1, 5, 5])])
    more = {key: train if value is True else value for key, value in more.items()}
    with pytest.raises(DataError, match=message):
        run_prepare(tmp_path, train=train, **more)


def test_an_older_preparation_leaves_nothing_behind(tmp_path: Path, make: Make) -> None:
    train, val = make("train", [(0, 3, [1, 1, 5, 5])]), make("val", [])
    _, run = run_prepare(tmp_path, train=train, val=val, test=make("test", []))
    (run.path / "data" / "images" / "train").mkdir(parents=True)
    (run.path / "data" / "images" / "train" / "old.png").touch()
    assert run.data("test").exists()
    run_prepare(tmp_path, train=train, val=val)
    assert not run.data("test").exists()
    assert not (run.path / "data" / "images").exists()


def test_empty_images_and_crowds(tmp_path: Path, make: Make) -> None:
    crowd = {"iscrowd": 1, "segmentation": {"size": [30, 40], "counts": [0, 300, 900]}}
    names = ["full.png", "crowd.png", "empty.png"]
    train = make("train", [(0, 3, [1, 1, 5, 5]), (1, 3, [0, 0, 10, 30], crowd)], names=names)
    val = make("val", [(0, 3, [0, 0, 10, 30], crowd)])
    prepared, run = run_prepare(tmp_path, train=train, val=val)
    summary = prepared.summaries["train"]
    assert (summary.images, summary.annotations, summary.crowds, summary.empty_images) == (3, 1, 1, 2)
    assert [a["iscrowd"] for a in canonical(run, "train")["annotations"]] == [0, 1]

    prepared, run = run_prepare(tmp_path, train=train, val=val, keep_empty_images=False)
    assert [i["file_name"] for i in read_json(run.images)["train"]] == ["full.png"]
    assert prepared.summaries["val"].images == 2
    assert codes(prepared)["image-empty-dropped"] == 2
    assert prepared.receipt.to_json()["annotations"] == {"in": 3, "out": 2, "dropped": 1}

    prepared, run = run_prepare(tmp_path, train=train, val=val, crowd="drop")
    assert codes(prepared)["crowd-dropped"] == 2
    assert prepared.summaries["train"].crowds == prepared.summaries["val"].crowds == 0


@pytest.mark.parametrize("how", ["error", "box", "drop"])
def test_missing_masks(tmp_path: Path, make: Make, how: str) -> None:
    objects = [(0, 3, [2, 2, 10, 10], {"segmentation": SQUARE}), *[(1, 7, [1, 1, 5, 6])] * 4]
    data = {"train": make("train", objects), "val": make("val", []), "missing_masks": how}
    if how == "error":
        with pytest.raises(
            DataError,
            match=r"data\.train: 4 objects have no mask.*annotation 1 of train1.png, .*annotation 3 of .*, \.\.\.;",
        ):
            run_prepare(tmp_path, "segment", **data)
    else:
        prepared, run = run_prepare(tmp_path, "segment", **data)
        found = canonical(run, "train")["annotations"]
        assert len(found) == (5 if how == "box" else 1)
        assert codes(prepared)[{"box": "mask-from-box", "drop": "mask-missing"}[how]] == 4
        if how == "box":
            assert found[1]["segmentation"] == [[1, 1, 6, 1, 6, 7, 1, 7]]
            assert found[1]["area"] == 30
    prepared, _ = run_prepare(tmp_path, **data)
    assert (prepared.summaries["train"].annotations, prepared.summaries["train"].with_masks) == (5, 1)


def test_images_in_two_splits_are_noted(tmp_path: Path, make: Make) -> None:
    train = make("train", [(0, 3, [1, 1, 5, 5])], names=["a.png", "b.png", "c.png"])
    val = make("val", [], names=["a.png", "sub/b.png", "sub/c.png"])
    (tmp_path / "images" / "sub" / "b.png").write_bytes((tmp_path / "images" / "b.png").read_bytes())
    Pillow.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "images" / "sub" / "c.png")
    prepared, _ = run_prepare(tmp_path, train=train, val=val)
    [event] = [event for event in prepared.receipt.events if event.code == "train-val-leak"]
    assert (event.where, event.detail) == ("data.train and data.val", "2 images: a.png, b.png")


def test_an_image_that_is_listed_twice_is_noted(tmp_path: Path, make: Make) -> None:
    train = make("train", [(0, 3, [1, 1, 5, 5])], names=["a.png", "b.png", "sub/../a.png"])
    prepared, _ = run_prepare(tmp_path, train=train, val=make("val", []))
    [event] = [event for event in prepared.receipt.events if event.code == "image-doubled"]
    assert (event.where, event.detail) == ("data.train", "1 files, the first: a.png")


def picture(path: Path, kind: str) -> np.ndarray[Any, Any]:
    """Write a 40x30 (stored) picture; returns the pixels as displayed."""
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image, exif = Pillow.fromarray(rgb), Pillow.Exif()
    if kind.startswith("exif"):
        exif[0x0112] = int(kind[4:])
        image.save(path, "PNG", exif=exif)
    elif kind == "alpha":
        Pillow.fromarray(np.dstack([rgb, rgb[..., 0]])).save(path)
    elif kind == "palette":
        image.quantize(16).save(path)
    else:
        image.save(path)
    return read_rgb(path)


@pytest.mark.parametrize(
    ("kind", "size", "code"),
    [
        ("plain", (40, 30), None),
        ("exif6", (30, 40), "image-exif-turned"),
        ("exif6", (40, 30), "image-exif-ignored"),
        ("exif3", (40, 30), "image-exif-ambiguous"),
        ("alpha", (40, 30), "image-alpha"),
        ("palette", (40, 30), "image-palette"),
    ],
)
def test_images_that_readers_disagree_on_get_a_copy(
    tmp_path: Path, make: Make, kind: str, size: tuple[int, int], code: str | None
) -> None:
    source = tmp_path / "images" / "odd one.png"
    source.parent.mkdir()
    displayed = picture(source, kind)
    if code == "image-exif-ignored":
        displayed = read_rgb(source, exif=False)
    train = make("train", [(0, 3, [1, 1, 5, 5])], names=["odd one.png"], size=size)
    prepared, run = run_prepare(tmp_path, train=train, val=make("val", []))
    [image] = canonical(run, "train")["images"]
    path = Path(image["file_name"])
    assert path.is_absolute()
    assert path == (source if code is None else run.path / "data" / "images" / "train" / "1-odd_one.png")
    assert read_json(run.images)["train"][0]["file_name"] == "odd one.png"
    np.testing.assert_array_equal(read_rgb(path), displayed)
    assert image_header(path).orientation == 1
    assert image_header(path).size_wh == size
    assert (codes(prepared).get(code) == 1) if code else (codes(prepared) == {"class-without-objects": 1})


@pytest.mark.parametrize("how", ["missing", "damaged", "size", "cut"])
def test_bad_images_are_refused_or_skipped(tmp_path: Path, make: Make, how: str) -> None:
    names = ["good.png", "bad.png", "fine.png"]
    train = make("train", [(i, 3, [1, 1, 5, 5]) for i in (0, 1, 1, 2)], names=names)
    bad = tmp_path / "images" / "bad.png"
    if how == "missing":
        bad.unlink()
    elif how == "damaged":
        bad.write_bytes(b"nothing")
    elif how == "size":
        Pillow.new("RGB", (41, 30)).save(bad)
    else:  # cut off, which shows when a copy is made
        picture(bad, "alpha")
        bad.write_bytes(bad.read_bytes()[:2000])
    data = {"train": train, "val": make("val", [])}
    with pytest.raises(DataError, match=r"data\.train: 1 of 3 images cannot be used: .*bad\.png.*skip_bad_images"):
        run_prepare(tmp_path, **data)
    prepared, run = run_prepare(tmp_path, **data, skip_bad_images=True)
    assert [image["file_name"] for image in read_json(run.images)["train"]] == ["good.png", "fine.png"]
    assert [a["image_id"] for a in canonical(run, "train")["annotations"]] == [1, 2]
    [drop] = [event for event in prepared.receipt.events if event.kind == "drop"]
    code = {"missing": "image-missing", "size": "image-size-differs"}.get(how, "image-unreadable")
    assert (drop.code, drop.where, drop.images, drop.annotations) == (code, "train: bad.png", 1, 2)
    assert prepared.receipt.to_json()["annotations"] == {"in": 4, "out": 2, "dropped": 2}


@pytest.mark.parametrize(
    ("objects", "names", "message"),
    [
        ([], ["a.png"], "not one object is left"),
        ([(0, 3, [1, 1, 0, 5])], ["a.png"], "not one object is left"),
    ],
)
def test_data_that_nothing_can_be_learned_from_is_refused(
    tmp_path: Path, make: Make, objects: list[Any], names: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        run_prepare(tmp_path, train=make("train", objects, names=names), val=make("val", []))


@pytest.mark.parametrize("split", ["val", "test"])
def test_data_of_other_classes_cannot_score(split: str, tmp_path: Path, make: Make) -> None:
    data = {"train": make("train", [(0, 3, [1, 1, 5, 5])]), "val": make("val", [(0, 7, [1, 1, 5, 5])])}
    other = make("other", [(0, 1, [1, 1, 5, 5]), (1, 2, [1, 1, 5, 5])], categories={1: "pear", 2: "apple"})
    message = rf"data\.{split}: none of its 2 objects is of a class of the training data, got pear, apple; .* cat, dog;"
    with pytest.raises(DataError, match=message):
        run_prepare(tmp_path, **{**data, split: other})
    # One of a class that is trained on is enough, and so are none at all: images of background.
    for objects in ([(0, 1, [1, 1, 5, 5]), (1, 2, [1, 1, 5, 5])], []):
        some = make("some", objects, categories={1: "dog", 2: "apple"})
        assert run_prepare(tmp_path, **{**data, split: some})[0].summaries[split].images == 2


def test_a_source_without_images_is_refused(tmp_path: Path, make: Make) -> None:
    (tmp_path / "none.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(DataError, match=r"data\.val: its sources hold no image"):
        run_prepare(tmp_path, train=make("train", [(0, 3, [1, 1, 5, 5])]), val=str(tmp_path / "none.json"))


def test_the_summary(tmp_path: Path, make: Make) -> None:
    objects = [(0, 3, [0, 0, 10, 10]), (0, 3, [0, 0, 20, 20], {"segmentation": SQUARE}), (1, 7, [0, 0, 30, 30])]
    prepared, _ = run_prepare(tmp_path, train=make("train", objects), val=make("val", []))
    record = prepared.summaries["train"].to_json()
    assert (
        json.loads(json.dumps(record))
        == record
        == {
            "images": 2,
            "annotations": 3,
            "crowds": 0,
            "empty_images": 0,
            "with_masks": 1,
            "rle_masks": 0,
            "per_class": {"cat": 1, "dog": 2},
            "box_sizes": [11, 15, 20, 25, 29],
            "image_size_wh": [40, 30],
            "max_objects": 2,
        }
    )
    assert prepared.summaries["val"].to_json()["box_sizes"] == []


def bccd(real_data: Path) -> dict[str, Any]:
    return {s: {"annotations": str(real_data / "bccd"), "subset": s} for s in ("train", "val", "test")}


@pytest.mark.real
def test_blood_cells(tmp_path: Path, real_data: Path) -> None:
    prepared, run = run_prepare(tmp_path, **bccd(real_data))
    assert prepared.class_map.names == ("Platelets", "RBC", "WBC")
    assert [s.images for s in prepared.summaries.values()] == [205, 87, 72]
    assert sum(s.annotations for s in prepared.summaries.values()) == 4886
    assert prepared.receipt.to_json()["classes"] == {
        "Platelets": {"in": 361, "out": 361, "dropped": 0},
        "RBC": {"in": 4155, "out": 4153, "dropped": 2},
        "WBC": {"in": 372, "out": 372, "dropped": 0},
    }
    assert codes(prepared) == {"box-zero-area": 2, "origin-found": 3}
    for split in ("train", "val", "test"):
        record = canonical(run, split)
        assert all(Path(image["file_name"]).is_file() for image in record["images"])
        x, y, w, h = np.array([a["bbox"] for a in record["annotations"]]).T
        assert min(x.min(), y.min()) >= 0
        assert (x + w).max() <= 640
        assert (y + h).max() <= 480


@pytest.mark.real
def test_real_masks(tmp_path: Path, real_data: Path) -> None:
    data = {"train": str(real_data / "fruit_nuts" / "trainval.json"), "split": {"val": 0.3}}
    prepared, run = run_prepare(tmp_path, "segment", **data)
    assert prepared.class_map.names == ("date", "fig", "hazelnut")
    assert sum(s.images for s in prepared.summaries.values()) == 18
    assert sum(s.with_masks for s in prepared.summaries.values()) == 165
    assert {0} < {image["source_id"] for images in read_json(run.images).values() for image in images}
