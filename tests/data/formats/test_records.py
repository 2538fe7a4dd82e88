"""VoTT, imagefolder, MOTS and TFRecord."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cvtune.data.coco import Annotation, Category, Dataset, Image, Rle
from cvtune.data.convert import convert
from cvtune.data.formats import imagefolder, tfrecord, vott
from cvtune.data.formats.mask_images import png_of_mask
from cvtune.data.formats.tf_example import masked_crc32c, read_examples
from cvtune.data.geometry import rle_to_mask
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError

Files = Callable[..., Path]


def asset(regions: list[Any], name: str = "a.jpg") -> dict[str, Any]:
    return {"asset": {"name": name, "size": {"width": 20, "height": 10}}, "regions": regions}


def region(**fields: Any) -> dict[str, Any]:
    box = {"left": 1, "top": 2, "width": 3, "height": 4}
    return {"type": "RECTANGLE", "tags": ["cat"], "boundingBox": box, **fields}


def test_vott_tags_in_order_and_one_file_an_asset(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    export = {"tags": [{"name": "dog"}, {"name": "cat"}], "assets": {"x": asset([region(tags=["cat", "pet"])])}}
    files(tmp_path / "one", {"p-export.json": json.dumps(export)})
    dataset, receipt = read("vott", tmp_path / "one")
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "dog"), (2, "cat")]
    assert (dataset.annotations[0].bbox_xywh, dataset.annotations[0].category_id) == ((1, 2, 3, 4), 2)
    assert codes(receipt, "repair") == ["class-several"]
    files(tmp_path / "two", {f"{i}-asset.json": json.dumps(asset([region()], f"{i}.jpg")) for i in "ab"})
    assert [i.file_name for i in read("vott", tmp_path / "two")[0].images] == ["a.jpg", "b.jpg"]
    assert vott.subsets(tmp_path / "two") == ()


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (region(boundingBox={"left": 1}), "box-not-numeric"),
        (region(boundingBox=None), "box-missing"),
        (region(tags=[]), "class-missing"),
        (region(type="POINT"), "shape-without-area"),
        (region(type="CLOUD"), "shape-unknown"),
        (region(type="POLYGON", points=[{"x": 1, "y": 2}]), "mask-degenerate"),
        ("x", "value-malformed"),
    ],
)
def test_bad_regions_of_vott(tmp_path: Path, files: Files, read: Any, codes: Any, item: Any, code: str) -> None:
    files(tmp_path, {"p.json": json.dumps({"assets": {"x": asset([item])}})})
    dataset, receipt = read("vott", tmp_path)
    assert not dataset.annotations
    assert codes(receipt, "drop") == [code]


@pytest.mark.parametrize(
    ("objects", "classes", "boxes"),
    [
        ({"bbox": [[1, 2, 3, 4], [2, 2, 3, 4]], "categories": [7, 0]}, [(0, "0"), (7, "7")], 2),
        ({"bbox": [[1, 2, 3, 4]], "label": ["cat"]}, [(1, "cat")], 1),
        (
            [{"bbox": [1, 2, 3, 4], "category": "cat"}, {"bbox": [1, 2, 3], "category": "dog"}],
            [(1, "cat"), (2, "dog")],
            1,
        ),
        ({"bbox": [[1, 2, 3, 4]], "categories": []}, [], 0),
        ({"bbox": [], "categories": []}, [], 0),
        (None, [], 0),
    ],
)
def test_imagefolder_objects_as_lists_or_as_list(
    tmp_path: Path, files: Files, read: Any, objects: Any, classes: Any, boxes: int
) -> None:
    line = json.dumps({"file_name": "a.png", "objects": objects, "note": "x"})
    files(tmp_path, {"metadata.jsonl": f"{line}\n\n", "a.png": (20, 10)})
    dataset, _ = read("imagefolder", tmp_path)
    assert [(c.id, c.name) for c in dataset.categories] == classes
    assert len(dataset.annotations) == boxes
    assert dataset.images[0].extra == {"note": "x"}


def test_imagefolder_corners_are_told_from_sizes(tmp_path: Path, files: Files, read: Any) -> None:
    objects = {"bbox": [[8, 2, 19, 9], [12, 5, 18, 10], [1, 1, 5, 5]], "label": ["c"] * 3}
    line = json.dumps({"file_name": "a.png", "objects": objects})
    files(tmp_path, {"metadata.jsonl": line, "a.png": (20, 10)})
    dataset, receipt = read("imagefolder", tmp_path)
    assert [a.bbox_xywh for a in dataset.annotations] == [(8, 2, 11, 7), (12, 5, 6, 5), (1, 1, 4, 4)]
    assert receipt.counts["box-layout-found"] == 1


def test_imagefolder_splits_share_names_but_not_images(tmp_path: Path, files: Files, read: Any) -> None:
    line = json.dumps({"file_name": "a.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": ["c"]}})
    for part, size in (("train", (20, 10)), ("test", (30, 10))):
        files(tmp_path, {f"{part}/metadata.jsonl": line, f"{part}/a.png": size})
    assert imagefolder.subsets(tmp_path) == ("test", "train")
    train, _ = read("imagefolder", tmp_path, subset="train")
    assert [(i.id, i.file_name, i.width) for i in train.images] == [(2, "train/a.png", 20)]
    files(tmp_path, {"train/metadata.jsonl": f"{line}\n{{"})
    with pytest.raises(DataError, match=r"metadata\.jsonl: line 2 is not valid JSON"):
        read("imagefolder", tmp_path)


def test_imagefolder_keeps_crowds_and_says_what_is_lost(tmp_path: Path, read: Any) -> None:
    mask = (np.array([1.0, 1, 5, 1, 5, 5]),)
    annotations = (
        Annotation(1, 1, 5, (1, 1, 4, 4), 8, True, mask),
        Annotation(2, 1, 5, (1.5, 1, 4, 4), 16, extra={"score": 1}),
    )
    receipt = Receipt()
    imagefolder.write(Dataset((Image(1, "a.png", 20, 10),), annotations, (Category(5, "x"),)), tmp_path, receipt)
    assert {"mask-lost", "attributes-lost", "images-not-written"} == set(receipt.counts)
    after, _ = read("imagefolder", tmp_path)
    assert [(a.bbox_xywh, a.iscrowd) for a in after.annotations] == [((1, 1, 4, 4), True), ((1.5, 1, 4, 4), False)]


def test_mots_tracks_and_regions_to_ignore(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    values = np.zeros((10, 20), np.uint16)
    values[0:3, 0:4], values[5:9, 5:9], values[0:2, 10:20], values[9, 0] = 1005, 2001, 10000, 4000
    (tmp_path / "instances" / "0002").mkdir(parents=True)
    Pillow.fromarray(values).save(tmp_path / "instances" / "0002" / "000000.png")
    files(tmp_path, {"training/image_02/0002/000000.png": (20, 10)})
    dataset, receipt = read("mots", tmp_path)
    car, walker = dataset.annotations
    assert (car.category_id, car.extra, car.area) == (1, {"track_id": 5}, 12)
    assert (walker.category_id, walker.bbox_xywh) == (2, (5, 5, 4, 4))
    [image] = dataset.images
    assert image.file_name == "training/image_02/0002/000000.png"
    ignored = image.extra["ignore_mask"]
    assert rle_to_mask(Rle((10, 20), ignored["counts"].encode())).sum() == 20
    assert codes(receipt, "drop") == ["class-unknown"]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(*fields: tuple[int, bytes]) -> bytes:
    return b"".join(varint(number << 3 | 2) + varint(len(content)) + content for number, content in fields)


def example(features: dict[str, list[Any]]) -> bytes:
    entries = []
    for name, values in features.items():
        if isinstance(values[0], bytes):
            feature = message((1, message(*((1, value) for value in values))))
        elif isinstance(values[0], float):
            feature = message((2, message((1, struct.pack(f"<{len(values)}f", *values)))))
        else:
            feature = message((3, message((1, b"".join(map(varint, values))))))
        entries.append((1, message((1, name.encode()), (2, feature))))
    return message((1, message(*entries)))


def record(features: dict[str, list[Any]]) -> bytes:
    content = example(features)
    head = struct.pack("<Q", len(content))
    return head + struct.pack("<I", masked_crc32c(head)) + content + struct.pack("<I", masked_crc32c(content))


def features(**more: list[Any]) -> dict[str, list[Any]]:
    found = {"image/filename": [b"a.jpg"], "image/width": [200], "image/height": [100]}
    for key, value in (("xmin", 0.1), ("ymin", 0.2), ("xmax", 0.5), ("ymax", 0.6)):
        found[f"image/object/bbox/{key}"] = [value]
    return {**found, "image/object/class/text": [b"cat"], "image/object/class/label": [3], **more}  # type: ignore[dict-item]


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, B.4: CRC-32C of 32 zeros is 8A9136AA.
    plain = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == (((plain >> 15) | (plain << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_tfrecord_boxes_flags_and_label_map(tmp_path: Path, files: Files, read: Any, codes: Any) -> None:
    more = {"image/object/difficult": [1], "image/encoded": [b"x" * 300], "image/neg": [-5]}
    content = record(features(**more)) + record(
        features(**{"image/filename": [b"b.jpg"], "image/object/class/text": [b""]})
    )
    files(
        tmp_path, {"train.tfrecord": content, "map.pbtxt": "item { id: 3 name: 'cat' }\nitem { name: \"dog\" id: 9 }"}
    )
    dataset, receipt = read("tfrecord", tmp_path)
    assert [(c.id, c.name) for c in dataset.categories] == [(3, "cat"), (9, "dog")]
    assert [a.bbox_xywh for a in dataset.annotations] == [pytest.approx((20, 20, 80, 40), abs=1e-3)] * 2
    assert dataset.annotations[0].extra == {"difficult": 1}
    assert {"image-embedded", "image-missing"} <= set(codes(receipt, "note"))
    assert [e["image/neg"] for _, e in read_examples(tmp_path / "train.tfrecord") if "image/neg" in e] == [[-5]]


def test_tfrecord_masks_and_shards(tmp_path: Path, files: Files, read: Any) -> None:
    mask = np.zeros((100, 200), np.bool_)
    mask[10:20, 30:50] = True
    content = record(features(**{"image/object/mask": [png_of_mask(mask)]}))
    for part in ("train.record-00000-of-00002", "train.record-00001-of-00002", "val.record"):
        files(tmp_path, {part: content})
    assert tfrecord.subsets(tmp_path) == ("train", "val")
    train, _ = read("tfrecord", tmp_path, subset="train")
    assert [a.bbox_xywh for a in train.annotations] == [(30, 10, 20, 10)] * 2
    val, _ = read("tfrecord", tmp_path, subset="val")
    assert [i.id for i in val.images] == [3]


def test_tfrecord_of_one_name_in_folders_of_splits_and_its_images(tmp_path: Path, files: Files) -> None:
    buffer = io.BytesIO()
    Pillow.new("RGB", (200, 100)).save(buffer, "PNG")
    more = {"image/encoded": [buffer.getvalue()], "image/filename": [b"x/a.png"], "image/object/class/text": [b""]}
    for split in ("train", "valid"):
        files(tmp_path / "set" / split, {"Cats.tfrecord": record(features(**more)) * 2})
        files(tmp_path / "set" / split, {"Cats_label_map.pbtxt": "item { name: 'cat', id: 3 }"})
    assert tfrecord.subsets(tmp_path / "set") == ("train", "valid")
    receipt = convert(tmp_path / "set", tmp_path / "out", place="copy")
    assert receipt.counts["image-extracted"] == 2
    for split in ("train", "valid"):
        document = json.loads((tmp_path / "out" / f"{split}.json").read_text())
        assert [image["file_name"] for image in document["images"]] == ["x/a.png", "x/a-2.png"]
        assert [category["name"] for category in document["categories"]] == ["cat"]
        for name in ("a.png", "a-2.png"):
            assert (tmp_path / "out/images" / split / "x" / name).read_bytes() == buffer.getvalue()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda content: content[:-10], "record 2 is cut short|ends within record 2"),
        (lambda content: content[: len(content) // 2 + 5], "record 2 is damaged"),
        (
            lambda content: content[: len(content) // 2] + b"\x01" + content[len(content) // 2 + 1 :],
            "record 2 is damaged",
        ),
    ],
)
def test_damaged_records_are_named(tmp_path: Path, files: Files, read: Any, damage: Any, what: str) -> None:
    files(tmp_path, {"a.record": damage(record(features()) * 2)})
    with pytest.raises(DataError, match=rf"a\.record: .*({what})"):
        read("tfrecord", tmp_path)
