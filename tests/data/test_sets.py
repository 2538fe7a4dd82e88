"""split, merge and draw on whole sets: files, receipts, names."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import load_coco
from cvtune.data.convert import convert
from cvtune.data.draw_set import draw_set
from cvtune.data.merge_sets import merge_sets, parse_renames
from cvtune.data.split_set import parse_split, split_set
from cvtune.errors import DataError, SpecError
from cvtune.spec import SplitSpec


def made(root: Path, names: list[str], classes: list[str], ids: list[int] | None = None, colour: int = 90) -> Path:
    """A COCO set of 40 x 30 images, each with an object of every class."""
    images, annotations = [], []
    for i, name in enumerate(names, start=1):
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("RGB", (40, 30), (colour, i % 200, 5)).save(path)
        images.append({"id": i, "file_name": name, "width": 40, "height": 30})
        for k in range(len(classes)):
            record = {"id": len(annotations) + 1, "image_id": i, "category_id": (ids or [1, 2, 3])[k], "iscrowd": 0}
            annotations.append(record | {"bbox": [5 * k, 5, 8, 8], "area": 64})
    categories = [{"id": (ids or [1, 2, 3])[k], "name": name} for k, name in enumerate(classes)]
    record = {"images": images, "annotations": annotations, "categories": categories}
    (root / "all.json").write_text(json.dumps(record))
    return root / "all.json"


def receipt_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "receipt.json").read_text())
    return record


@pytest.mark.parametrize("stratify", [False, True])
def test_a_split_writes_a_file_a_part_with_ids_as_they_were(stratify: bool, tmp_path: Path) -> None:
    source = made(tmp_path / "set", [f"v{i % 10}_{i}.png" for i in range(60)], ["cat", "dog"], [7, 3])
    out = tmp_path / "out"
    _, parts = split_set(source, out, SplitSpec(val=0.2, test=0.2, by="prefix"), stratify)
    assert sorted(path.name for path in out.iterdir()) == ["receipt.json", "test.json", "train.json", "val.json"]
    sets = {name: load_coco(out / f"{name}.json", source.parent / "images") for name in ("train", "val", "test")}
    videos = {name: {image.file_name.split("_")[0] for image in part.images} for name, part in sets.items()}
    assert not videos["train"] & videos["val"]
    assert sum(map(len, videos.values())) == 10
    whole = load_coco(source)
    assert sorted(a.id for part in sets.values() for a in part.annotations) == [a.id for a in whole.annotations]
    assert all(part.categories == whole.categories for part in sets.values())
    record = receipt_of(out)
    assert record["to"]["split"]["parts"] == parts
    assert record["to"]["split"]["by"] == "prefix"
    assert record["annotations"] == {"in": 120, "out": 120, "dropped": 0}
    assert record["inputs"][0]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    for output in record["outputs"]:
        assert output["sha256"] == hashlib.sha256((out / output["path"]).read_bytes()).hexdigest()


def test_new_images_move_no_old_one(tmp_path: Path) -> None:
    few = made(tmp_path / "few", [f"{i}.png" for i in range(30)], ["cat"])
    many = made(tmp_path / "many", [f"{i}.png" for i in range(50)], ["cat"])
    for source in (few, many):
        split_set(source, source.parent / "out", SplitSpec(val=0.3))
    val = [{image.file_name for image in load_coco(s.parent / "out" / "val.json").images} for s in (few, many)]
    assert val[0] == {name for name in val[1] if int(name.split(".")[0]) < 30}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 1.5}, r"^split: --val 1\.5: input should be less than 1$"),
        ({"val": 0.6, "test": 0.5}, r"^split: got val 0\.6 and test 0\.5; their sum must be below 1, the rest is"),
        ({"by": "folder"}, "^split: --by: got 'folder'; allowed: image, prefix or field:NAME$"),
    ],
)
def test_impossible_shares_are_told_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as raised:
        parse_split(**{"val": 0.15, "test": 0.0, "by": "image", "seed": 0, **options})
    assert "\n" not in str(raised.value)


def test_a_split_never_replaces_its_source(tmp_path: Path) -> None:
    source = made(tmp_path, ["a.png", "b.png", "c.png"], ["cat"])
    source = source.rename(tmp_path / "train.json")
    with pytest.raises(DataError, match="would replace the source"):
        split_set(source, tmp_path, SplitSpec(val=0.3))
    assert len(load_coco(source).images) == 3


def in_parts(root: Path) -> Path:
    """train and val, whose images have the same names in folders of their own and other widths."""
    for part, width in (("train", 40), ("val", 50)):
        images = []
        for i in range(1, 21):
            path = root / "images" / part / f"v{i % 5}_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.new("RGB", (width, 30), (width, i, 5)).save(path)
            images.append({"id": i, "file_name": path.name, "width": width, "height": 30})
        box = {"category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 0, "area": 81}
        annotations = [{"id": i, "image_id": i, **box} for i in range(1, 21)]
        record = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{part}.json").write_text(json.dumps(record))
    return root


def test_images_that_parts_call_alike_stay_apart_in_a_split(tmp_path: Path) -> None:
    split_set(in_parts(tmp_path / "set"), tmp_path / "out", SplitSpec(val=0.4, by="prefix"))
    sets = {name: load_coco(tmp_path / "out" / f"{name}.json") for name in ("train", "val")}
    images = [image for part in sets.values() for image in part.images]
    assert len({image.file_name for image in images}) == 40
    for image in images:
        assert image.path is not None
        with Pillow.open(image.path) as file:
            assert file.size == (image.width, image.height)
    # One video in two parts is one group.
    videos = {name: {Path(image.file_name).name.split("_")[0] for image in part.images} for name, part in sets.items()}
    assert not videos["train"] & videos["val"]


def test_images_outside_of_the_source_are_found_again(tmp_path: Path) -> None:
    source = made(tmp_path / "photos", ["d/1.png", "d/2.png", "3.png", "4.png"], ["cat"])
    source = source.rename(tmp_path / "notes.json")
    notes = tmp_path / "deep" / "notes" / "notes.json"
    notes.parent.mkdir(parents=True)
    source.rename(notes)
    there = tmp_path / "photos" / "images"
    split_set(notes, tmp_path / "out" / "a" / "split", SplitSpec(val=0.5), images=there)
    # What was made of what was made, too.
    merge_sets([tmp_path / "out" / "a" / "split"], tmp_path / "out" / "b" / "merged")
    convert(tmp_path / "out" / "b" / "merged", tmp_path / "out" / "c" / "again")
    for file in ("a/split/train.json", "a/split/val.json", "b/merged/annotations.json", "c/again/annotations.json"):
        found = load_coco(tmp_path / "out" / file).images
        assert found
        assert [image.path for image in found] == [there / image.file_name for image in found]


def test_what_an_earlier_call_wrote_makes_way(tmp_path: Path) -> None:
    source, out = made(tmp_path / "set", [f"{i}.png" for i in range(9)], ["cat"]), tmp_path / "out"
    split_set(source, out, SplitSpec(val=0.3, test=0.3))
    (out / "mine.json").write_text("{}")
    split_set(source, out, SplitSpec(val=0.3))
    assert sorted(path.name for path in out.iterdir()) == ["mine.json", "receipt.json", "train.json", "val.json"]
    assert receipt_of(out)["counts"]["output-removed"] == 1
    # But neither what somebody changed nor what is read now.
    (out / "val.json").write_text((out / "val.json").read_text() + "\n")
    merge_sets([out / "train.json"], out)
    assert sorted(path.name for path in out.iterdir()) == [
        "annotations.json", "mine.json", "receipt.json", "train.json", "val.json",
    ]  # fmt: skip


def test_sets_are_merged_by_class_name(tmp_path: Path) -> None:
    a = made(tmp_path / "a", ["1.png", "2.png"], ["cat", "dog"], [1, 2])
    b = made(tmp_path / "b", ["1.png", "3.png"], ["dog", "puppy", "eel"], [1, 2, 9], colour=150)
    merge_sets([a, b], tmp_path / "out", {"puppy": "dog"})
    merged = load_coco(tmp_path / "out" / "annotations.json", tmp_path)
    names = {category.id: category.name for category in merged.categories}
    assert Counter(names[x.category_id] for x in merged.annotations) == {"cat": 2, "dog": 6, "eel": 2}
    # Only what several sets call the same gets the folder that tells it apart.
    assert [image.file_name for image in merged.images] == ["a/images/1.png", "2.png", "b/images/1.png", "3.png"]
    record = receipt_of(tmp_path / "out")
    assert record["counts"]["class-renamed"] == 1
    assert record["to"]["classes"] == {"cat": 2, "dog": 6, "eel": 2}
    assert record["annotations"] == {"in": 10, "out": 10, "dropped": 0}
    assert len(record["from"]) == len(record["inputs"]) == 2


def test_images_of_one_name_that_were_not_found_are_noted(tmp_path: Path) -> None:
    sets = [made(tmp_path / name, ["1.png", f"{name}.png"], ["cat"]) for name in ("a", "b")]
    for name in ("a", "b"):
        (tmp_path / name / "images" / "1.png").unlink()
    [event] = [event for event in merge_sets(sets, tmp_path / "out").events if event.code == "image-doubled"]
    assert event.detail == "2 images that were not found have the name of another one, the first: 1.png"


def test_names_that_are_nearly_the_same_are_noted(tmp_path: Path) -> None:
    a = made(tmp_path / "a", ["1.png"], ["Traffic Light", "cat"])
    b = made(tmp_path / "b", ["2.png"], ["traffic_light", "cats"])
    receipt = merge_sets([a, b], tmp_path / "out")
    notes = [event.detail for event in receipt.events if event.code == "classes-alike"]
    assert notes == ["'traffic_light' and 'Traffic Light'; --rename 'traffic_light=Traffic Light' joins them"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["car"], "got 'car'; allowed: OLD=NEW"),
        (["=x"], "got '=x'"),
        (["a=b", "a=c"], "'a' gets two names, 'b' and 'c'"),
    ],
)
def test_wrong_renames(texts: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_renames(texts)


def test_a_class_that_nobody_has_cannot_be_renamed(tmp_path: Path) -> None:
    source = made(tmp_path, ["1.png"], ["cat"])
    with pytest.raises(DataError, match="no set has the class 'cta'; allowed: cat; did you mean 'cat'"):
        merge_sets([source], tmp_path / "out", {"cta": "x"})


def test_drawings_are_one_a_file_or_a_grid(tmp_path: Path) -> None:
    source = made(tmp_path / "set", [f"d/{i}.png" for i in range(7)], ["cat"])
    drawn = draw_set(source, tmp_path / "out", count=3)
    assert len(drawn) == 3
    with (
        Pillow.open(drawn[0]) as picture,
        Pillow.open(source.parent / "images" / drawn[0].relative_to(tmp_path / "out")) as plain,
    ):
        assert picture.size == plain.size
        assert not np.array_equal(np.asarray(picture), np.asarray(plain))
    [sheet] = draw_set(source, tmp_path / "sheet.png", count=5)
    with Pillow.open(sheet) as picture:
        assert picture.width > 3 * 400
        assert picture.height > 2 * 300
    assert draw_set(source, tmp_path / "out", as_grid=True) == [tmp_path / "out" / "grid.png"]


def test_a_grid_draws_lines_and_names_alike_on_small_and_large_images(tmp_path: Path) -> None:
    source = made(tmp_path / "set", ["small.png", "large.png"], ["cat"])
    record = json.loads(source.read_text())
    box = [0.25, 0.5, 0.5, 0.5]  # shares of the image
    for image, annotation, size in zip(record["images"], record["annotations"], [(8, 6), (3200, 2400)], strict=True):
        Pillow.new("RGB", size, (90, 90, 90)).save(tmp_path / "set" / "images" / image["file_name"])
        image.update(width=size[0], height=size[1])
        x, y, w, h = (share * side for share, side in zip(box, size * 2, strict=True))
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        annotation.update(bbox=[x, y, w, h], area=w * h, segmentation=[corners])
    source.write_text(json.dumps(record))
    [sheet] = draw_set(source, tmp_path / "sheet.png")
    with Pillow.open(sheet) as picture:
        drawn = np.asarray(picture)
    cells = [drawn[6:306, left : left + 400] for left in (6, 412)]
    np.testing.assert_array_equal(*cells)
    assert (cells[0][250, 200] != 90).any()  # the mask
    assert (cells[0][:120] == 90).all()


def test_drawings_of_one_stem_are_two_files(tmp_path: Path) -> None:
    source = made(tmp_path / "set", ["a.png", "a.bmp"], ["cat"])
    drawn = draw_set(source, tmp_path / "out")
    assert len({path.name for path in drawn}) == len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("set/images", "would replace a file of the set; choose another folder with `-o`"),
        ("set/images/a.png", "would replace a file of the set"),
        ("set", "would be taken for an image of the set"),
        ("sheet.jpg", r"drawings are PNG, got \.jpg; allowed: a folder, or a grid's name ending in \.png"),
    ],
)
def test_nothing_of_the_set_is_drawn_over(out: str, message: str, tmp_path: Path) -> None:
    source = made(tmp_path / "set", ["a.png", "b.png"], ["cat"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=message):
        draw_set(source, tmp_path / out)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_choice_of_images_is_the_same_each_time_and_prefers_those_with_objects(tmp_path: Path) -> None:
    source = made(tmp_path / "set", [f"{i}.png" for i in range(20)], ["cat"])
    record = json.loads(source.read_text())
    record["annotations"] = [a for a in record["annotations"] if a["image_id"] <= 4]
    source.write_text(json.dumps(record))
    first = [path.name for path in draw_set(source, tmp_path / "a", count=4)]
    assert first == ["0.png", "1.png", "2.png", "3.png"]
    assert [p.name for p in draw_set(source, tmp_path / "b", count=6)] == [
        p.name for p in draw_set(source, tmp_path / "c", count=6)
    ]


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    source = made(tmp_path / "set", ["a.png"], ["cat"])
    (tmp_path / "set" / "images" / "a.png").unlink()
    with pytest.raises(DataError, match="none of its images was found; give their folder with --images"):
        draw_set(source, tmp_path / "out")


@pytest.mark.real
def test_real_sets_are_split_merged_and_drawn(tmp_path: Path, real_data: Path) -> None:
    _, parts = split_set(real_data / "bccd", tmp_path / "split", SplitSpec(val=0.2), stratify=True)
    for name, n in parts["val"]["classes"].items():
        assert n / (n + parts["train"]["classes"][name]) == pytest.approx(0.2, abs=0.01)
    sets = [real_data / "one_set_nine_formats" / name for name in ("grapes", "phones")]
    receipt = merge_sets([*sets, real_data / "fruit_nuts"], tmp_path / "merged")
    assert receipt.annotations_out == receipt.annotations_in == 39 + 10 + 165
    [sheet] = draw_set(real_data / "fruit_nuts", tmp_path / "sheet.png", count=4)
    assert sheet.stat().st_size > 100_000
