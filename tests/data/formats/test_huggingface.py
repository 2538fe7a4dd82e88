"""Hugging Face's tables: splits, class names, images inside, forms of objects and boxes; Parquet and Arrow."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as Pillow
from pyarrow import parquet

from cvtune.data.convert import convert
from cvtune.data.formats import ReadSource, detect_format, huggingface
from cvtune.data.formats.box_layout import BoxNumbers
from cvtune.data.formats.huggingface_columns import part_of
from cvtune.errors import DataError, MissingDependencyError

Rows = list[dict[str, Any]]


def picture(width: int = 60, height: int = 40, kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Pillow.new("RGB", (width, height)).save(content, kind)
    return content.getvalue()


def row(objects: Any, name: str | None = "a.jpg", **more: Any) -> dict[str, Any]:
    return {"image": {"bytes": picture(), "path": name}, "width": 60, "height": 40, "objects": objects, **more}


def put(file: Path, rows: Rows, features: Any = None, arrow: bool = False) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if features is not None:
        said = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": said})
    if arrow:
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        parquet.write_table(table, file, row_group_size=2)
    return file


BOX = {"bbox": [[6.0, 8, 12, 8]], "category": [1]}
LABELS = {"names": ["cat", "dog"], "_type": "ClassLabel"}
FEATURES: dict[str, Any] = {
    "sequence of a struct": {"objects": {"feature": {"bbox": {}, "category": LABELS}, "_type": "Sequence"}},
    "struct of sequences": {"objects": {"bbox": {}, "category": {"feature": LABELS, "_type": "Sequence"}}},
    "list of a struct": {"objects": [{"bbox": {}, "category": LABELS}]},
}


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("arrow", [False, True])
def test_names_of_the_schema_and_splits(tmp_path: Path, read: Any, features: Any, arrow: bool) -> None:
    suffix = "arrow" if arrow else "parquet"
    for part, shards in (("train", 2), ("test", 1)):
        for i in range(shards):
            rows = [row(BOX, f"{part}{i}{n}.jpg") for n in range(3)]
            put(tmp_path / f"data/{part}-{i:05d}-of-{shards:05d}.{suffix}", rows, features, arrow)
    assert detect_format(tmp_path)[0] == "huggingface"
    assert huggingface.subsets(tmp_path) == ("test", "train")
    train, receipt = read("huggingface", tmp_path, subset="train")
    assert [(c.id, c.name) for c in train.categories] == [(0, "cat"), (1, "dog")]
    assert [i.file_name for i in train.images] == [f"train{i}{n}.jpg" for i in range(2) for n in range(3)]
    assert [i.id for i in train.images] == [4, 5, 6, 7, 8, 9]
    assert {(a.category_id, a.bbox_xywh) for a in train.annotations} == {(1, (6, 8, 12, 8))}
    assert receipt.counts["image-embedded"] == 1
    with pytest.raises(DataError, match="no subset 'trian'; allowed: test, train; did you mean 'train'"):
        read("huggingface", tmp_path, subset="trian")


NAMES = "class_label:\n          names:\n            '1': dog\n            '0': cat\n"
CARDS = {
    "sequence": f"- name: objects\n    sequence:\n    - name: category\n      dtype:\n        {NAMES}",
    "list": "- name: objects\n    list:\n    - name: category\n      dtype: {class_label: {names: [cat, dog]}}\n",
    "struct": f"- name: objects\n    struct:\n    - name: category\n      list:\n        {NAMES}",
}
# Eight lines, each of which refers to the last one nine times.
BOMB = "a: &a [1]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi"))


@pytest.mark.parametrize("card", [*CARDS, "none", "broken", "bomb"])
def test_names_of_the_card(tmp_path: Path, read: Any, card: str) -> None:
    put(tmp_path / "data/train-00000-of-00001.parquet", [row(BOX)])
    text = f"dataset_info:\n  features:\n  {CARDS.get(card, '- name: image')}"
    (tmp_path / "README.md").write_text(f"---\n{ {'broken': '[', 'bomb': BOMB}.get(card, text) }\n---\nA set.\n")
    dataset, receipt = read("huggingface", tmp_path)
    expected = [(0, "cat"), (1, "dog")] if card in CARDS else [(1, "1")]
    assert [(c.id, c.name) for c in dataset.categories] == expected
    assert (tmp_path / "README.md" in receipt.files) == (card in CARDS)


OBJECTS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "a list of objects": (
        row([{"bbox": [6.0, 8, 12, 8], "label": "dog", "iscrowd": 1}]),
        [("dog", (6, 8, 12, 8), True)],
    ),
    "columns of their own": (
        {"image": {"bytes": picture(), "path": "a"}, "bboxes": [[6.0, 8, 12, 8]], "labels": ["x"]},
        [("x", (6, 8, 12, 8), False)],
    ),
    "named numbers": (
        row({"bbox": [{"xmin": 6, "ymin": 8, "xmax": 18, "ymax": 16}], "label": ["x"]}),
        [("x", (6, 8, 12, 8), False)],
    ),
    "lists of corners": (
        row({"xmin": [6], "ymin": [8], "xmax": [18], "ymax": [16], "label": ["x"]}),
        [("x", (6, 8, 12, 8), False)],
    ),
    "no classes": (row({"bbox": [[6.0, 8, 12, 8]]}), [("object", (6, 8, 12, 8), False)]),
    "no objects": (row({"bbox": [[6.0, 8, 12, 8]], "label": ["x"]}), [("x", (6, 8, 12, 8), False)]),
    "polygons": (
        row({"bbox": [[6.0, 8, 12, 8]], "label": ["x"], "segmentation": [[[6.0, 8, 18, 8, 18, 16]]]}),
        [("x", (6, 8, 12, 8), False)],
    ),
}


@pytest.mark.parametrize(("given", "expected"), OBJECTS.values(), ids=OBJECTS)
def test_forms_of_objects(tmp_path: Path, read: Any, given: Any, expected: Any) -> None:
    put(tmp_path / "train.parquet", [given])
    dataset, _ = read("huggingface", tmp_path)
    names = {c.id: c.name for c in dataset.categories}
    assert [(names[a.category_id], a.bbox_xywh, a.iscrowd) for a in dataset.annotations] == expected


@pytest.mark.parametrize(
    ("category", "bbox", "code"),
    [
        (7, [6.0, 8, 12, 8], "class-unknown"),
        (-1, [6.0, 8, 12, 8], "class-missing"),
        (None, [6.0, 8, 12, 8], "class-missing"),
        (1, [6.0, 8, 12], "box-not-numeric"),
        (1, [6.0, float("nan"), 12, 8], "box-not-numeric"),
        (1, None, "box-missing"),
        (1, [600.0, 8, 12, 8], "box-outside"),
    ],
)
def test_bad_objects_are_dropped_by_row(
    tmp_path: Path, read: Any, codes: Any, category: Any, bbox: Any, code: str
) -> None:
    good = row(BOX)
    put(tmp_path / "train.parquet", [good, row({"bbox": [bbox], "category": [category]})], FEATURES["list of a struct"])
    dataset, receipt = read("huggingface", tmp_path)
    assert len(dataset.annotations) == 1
    [drop] = [event for event in receipt.events if event.kind == "drop"]
    assert (drop.code, drop.where) == (code, "train.parquet row 2 object 0")


def boxes(kind: str, normalised: bool = False, count: int = 40, areas: bool = False) -> tuple[BoxNumbers, Any]:
    """Numbers of random boxes of a kind, and what they are as left, top, width, height."""
    generator = np.random.default_rng(0)
    numbers, expected = BoxNumbers(), []
    for _ in range(count):
        x, y = generator.uniform(0, (500, 380)).tolist()
        w, h = generator.uniform(5, (640 - x, 480 - y)).tolist()
        shown = {
            "corner and size": (x, y, w, h),
            "corners": (x, y, x + w, y + h),
            "centre and size": (x + w / 2, y + h / 2, w, h),
        }[kind]
        scale = (640, 480, 640, 480) if normalised else (1, 1, 1, 1)
        numbers.add([v / s for v, s in zip(shown, scale, strict=True)], (640, 480), w * h if areas else float("nan"))
        expected.append((shown, (x, y, x + w, y + h)))
    return numbers, expected


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("areas", [False, True])
@pytest.mark.parametrize("kind", ["corner and size", "corners", "centre and size"])
def test_what_four_numbers_are(kind: str, normalised: bool, areas: bool) -> None:
    if kind == "centre and size" and areas:
        return  # areas tell no centre from a corner, and nobody writes both
    numbers, _ = boxes(kind, normalised, areas=areas)
    layout = numbers.layout()
    assert (layout.kind, layout.normalised) == (kind, normalised)
    assert ("stated area" in layout.evidence) == areas


def test_corners_are_told_and_shares_become_pixels(tmp_path: Path, read: Any) -> None:
    corners = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1.0, 1.0], [0.6, 0.1, 0.9, 0.9]]
    put(tmp_path / "train.parquet", [row({"bbox": corners, "label": ["x"] * 3})])
    dataset, receipt = read("huggingface", tmp_path)
    assert [a.bbox_xywh for a in dataset.annotations] == [
        pytest.approx(box) for box in [(6, 8, 12, 8), (30, 20, 30, 20), (36, 4, 18, 32)]
    ]
    [note] = [event for event in receipt.events if event.code == "box-layout-found"]
    assert note.detail.startswith("corners, in shares of the image: of 3 boxes are inside out")


def test_images_are_taken_out_under_the_names_of_the_annotations(tmp_path: Path) -> None:
    rows = [row(BOX, "x/a.jpg"), row(BOX, "y/a.jpg"), row(BOX, None)]
    rows[2]["image"]["bytes"] = picture(kind="PNG")
    put(tmp_path / "set/data/train-00000-of-00001.parquet", rows, FEATURES["list of a struct"])
    convert(tmp_path / "set", tmp_path / "out", place="copy")
    document = json.loads((tmp_path / "out/annotations.json").read_text())
    names = [image["file_name"] for image in document["images"]]
    assert names == ["a.jpg", "a-2.jpg", "train_000003.jpg"]
    for name, content in zip(names, (r["image"]["bytes"] for r in rows), strict=True):
        assert (tmp_path / "out/images" / name).read_bytes() == content
    receipt = json.loads((tmp_path / "out/receipt.json").read_text())
    assert receipt["counts"]["image-extracted"] == 1
    assert "image-missing" not in receipt["counts"]


def test_sizes_and_suffixes_come_from_the_images_where_the_table_has_none(tmp_path: Path, read: Any) -> None:
    rows = [{"image": {"bytes": picture(30, 20, "PNG"), "path": None}, "objects": BOX}]
    put(tmp_path / "train/0000.parquet", rows)
    dataset, _ = read("huggingface", tmp_path)
    assert [(i.file_name, i.width, i.height) for i in dataset.images] == [("train_000001.png", 30, 20)]
    assert [name for name, _ in huggingface.embedded_images(ReadSource(tmp_path))] == ["train_000001.png"]


def test_paths_instead_of_images(tmp_path: Path, files: Any, read: Any) -> None:
    put(tmp_path / "train.parquet", [{"file_name": "images/a.jpg", "objects": BOX, "place": "x", "tags": ["y"]}])
    files(tmp_path, {"images/a.jpg": (60, 40)})
    dataset, receipt = read("huggingface", tmp_path)
    assert [(i.path, i.width, i.extra) for i in dataset.images] == [(tmp_path / "images/a.jpg", 60, {"place": "x"})]
    assert [e.detail for e in receipt.events if e.code == "attributes-lost"] == ["the columns tags"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("data/train-00000-of-00001.parquet", "train"),
        ("data/train-00000-of-00001-0123456789abcdef.parquet", "train"),
        ("data/train_clean-00000-of-00001.parquet", "train_clean"),
        ("default/validation/0000.parquet", "validation"),
        ("test/part-3.parquet", "test"),
        ("cppe-5-train.parquet", "train"),
        ("train.parquet", "train"),
        ("data-00000-of-00001.arrow", "train"),
        ("test/data-00000-of-00001.arrow", "test"),
        ("birds.parquet", "birds"),
    ],
)
def test_splits_by_the_names_of_files_and_folders(name: str, part: str) -> None:
    assert part_of(Path("/set") / name, Path("/set")) == part


def test_configurations_are_not_added_up(tmp_path: Path) -> None:
    for config in ("full", "mini"):
        put(tmp_path / config / "train-00000-of-00001.parquet", [row(BOX)])
    assert detect_format(tmp_path)[0] == "huggingface"
    with pytest.raises(DataError, match=r"several configurations \(full, mini\); give the path of one"):
        huggingface.subsets(tmp_path)
    assert huggingface.subsets(tmp_path / "full") == ()


def test_a_damaged_table_is_an_error_of_one_line(tmp_path: Path, read: Any) -> None:
    file = put(tmp_path / "train.parquet", [row(BOX) for _ in range(5)])
    content = file.read_bytes()
    for length in range(0, len(content), 97):
        file.write_bytes(content[:length])
        with pytest.raises(DataError) as error:
            read("huggingface", file)
        assert "\n" not in str(error.value)
        assert huggingface.detect(tmp_path) is None


@pytest.mark.parametrize(
    ("suffix", "format", "kind"), [("arrow", "huggingface", "Arrow"), ("parquet", "csv", "Parquet")]
)
def test_without_pyarrow_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, format: str, kind: str
) -> None:
    put(tmp_path / f"train.{suffix}", [row(BOX)], arrow=suffix == "arrow")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert detect_format(tmp_path)[0] == format
    with pytest.raises(MissingDependencyError, match=rf"{kind} needs pyarrow.*: pip install 'cvtune\[parquet\]'"):
        convert(tmp_path, tmp_path / "out")


def test_names_of_the_card_are_texts(tmp_path: Path, read: Any) -> None:
    put(tmp_path / "data/train-00000-of-00001.parquet", [row(BOX)])
    labels = "{class_label: {names: {0: no, 1: yes}}}"
    features = f"  - name: objects\n    list:\n    - name: category\n      dtype: {labels}\n"
    (tmp_path / "README.md").write_text(f"---\ndataset_info:\n  features:\n{features}---\nA set.\n")
    assert [category.name for category in read("huggingface", tmp_path)[0].categories] == ["no", "yes"]
