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
