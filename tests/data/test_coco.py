"""COCO JSON in and out: what is kept, mended, dropped and refused."""

from __future__ import annotations

import codecs
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cvtune.data.coco import (
    Annotation,
    Category,
    Dataset,
    Image,
    Rle,
    load_coco,
    save_coco,
    to_coco_json,
)
from cvtune.data.geometry import mask_to_rle, rle_to_json, rle_to_mask, segmentation_area
from cvtune.data.receipt import Receipt
from cvtune.errors import DataError, RunError

TRIANGLE = [1, 1, 9, 1, 9, 7]
MASK = np.zeros((8, 10), bool)
MASK[2:5, 3:7] = True
RLE = rle_to_json(mask_to_rle(MASK))
RUNS = {"size": [8, 10], "counts": [26, 3, 5, 3, 5, 3, 5, 3, 27]}

Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a value, or bytes as they are, to a file."""

    def write(content: Any) -> Path:
        path = tmp_path / "set" / "data.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def coco(*annotations: dict[str, Any], **top: Any) -> dict[str, Any]:
    """One image of 10 x 8 pixels with id 7, two categories; annotations are completed."""
    filled = [{"id": i, "image_id": 7, "category_id": 3, **a} for i, a in enumerate(annotations, 1)]
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 10, "height": 8}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": filled,
    } | top


def events(receipt: Receipt) -> list[tuple[str, str, str]]:
    return [(event.kind, event.code, event.where) for event in receipt.events]


def plain(value: Any) -> Any:
    """Something that == compares whole, arrays included, and that keeps 1 and 1.0 apart."""
    if isinstance(value, np.ndarray):
        return ("array", str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, Dataset | Image | Annotation | Category | Rle):
        return (type(value).__name__, *(plain(getattr(value, name)) for name in value.__dataclass_fields__))
    if isinstance(value, tuple | list):
        return (type(value).__name__, *map(plain, value))
    if isinstance(value, dict):
        return ("dict", *((key, plain(item)) for key, item in sorted(value.items())))
    return (type(value).__name__, value)


# --- what is kept


def test_a_file_with_everything(write: Write) -> None:
    content = {
        "info": {"year": 2024},
        "licenses": [{"id": 1}],
        "videos": [],
        "images": [{"id": 0, "file_name": "sub/ä.jpg", "width": 10, "height": 8, "license": 1, "date": None}],
        "categories": [{"id": 5, "name": "人", "supercategory": "animal", "keypoints": ["nose"]}],
        "annotations": [
            {
                "id": 0,
                "image_id": 0,
                "category_id": 5,
                "bbox": [1, 2, 3.5, 4],
                "area": 12,
                "iscrowd": 1,
                "segmentation": RUNS,
                "keypoints": [1, 2, 2],
                "attributes": {"occluded": True},
                "score": 0.25,
            }
        ],
    }
    dataset = load_coco(write(content))
    assert dataset.extra == {"info": {"year": 2024}, "licenses": [{"id": 1}], "videos": []}
    assert dataset.images == (Image(0, "sub/ä.jpg", 10, 8, None, {"license": 1, "date": None}),)
    assert dataset.categories == (Category(5, "人", "animal", {"keypoints": ["nose"]}),)
    extra = {"keypoints": [1, 2, 2], "attributes": {"occluded": True}, "score": 0.25}
    expected = Annotation(0, 0, 5, (1.0, 2.0, 3.5, 4.0), 12.0, True, mask_to_rle(MASK), extra)
    assert plain(dataset.annotations) == plain((expected,))


def test_the_smallest_file(write: Write) -> None:
    dataset = load_coco(write({"images": [], "categories": [], "annotations": []}))
    assert dataset == Dataset((), (), ())
    dataset = load_coco(write(coco({"bbox": [1, 2, 3, 4]})))
    assert dataset.annotations == (Annotation(1, 7, 3, (1, 2, 3, 4), 12.0),)
    assert dataset.images[0].path is None
    assert dataset.categories[0].supercategory is None


def test_images_without_annotations_stay(write: Write) -> None:
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 5, "height": 4} for i in (4, 2, 900, 0)]
    dataset = load_coco(write(coco(images=images)))
    assert [image.id for image in dataset.images] == [4, 2, 900, 0], "in the order of the file"


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [(0, 0), (1.0, 1), ("x-1", "x-1"), ("1", "1"), (10**15, 10**15), (2**70, 2**70), (-3, -3)],
)
def test_ids_of_every_kind(write: Write, given_id: Any, expected: Any) -> None:
    content = coco({"id": given_id, "image_id": given_id, "category_id": given_id, "bbox": [0, 0, 1, 1]})
    content["images"][0]["id"] = given_id
    content["categories"][1]["id"] = given_id
    dataset = load_coco(write(content))
    annotation = dataset.annotations[0]
    for found in (dataset.images[0].id, dataset.categories[1].id, annotation.id, annotation.image_id):
        assert plain(found) == plain(expected)
    assert plain(annotation.category_id) == plain(expected)


def test_an_id_and_its_text_are_two_ids(write: Write) -> None:
    with pytest.raises(DataError, match="no category has its category_id '3'; allowed: 3"):
        load_coco(write(coco({"category_id": "3", "bbox": [0, 0, 1, 1]})))


def test_with_a_receipt_what_is_clearly_meant_is_read(write: Write) -> None:
    content = coco({"category_id": "3", "image_id": "7", "bbox": ["1", "2", "3", "4.5"]})
    content["categories"].append({"id": "9", "name": 12})
    content["images"].append({"id": 8, "file_name": "other.png", "width": "20", "height": "10.0"})
    receipt = Receipt()
    dataset = load_coco(write(content), receipt=receipt)
    (annotation,) = dataset.annotations
    assert (annotation.category_id, annotation.image_id, annotation.bbox_xywh) == (3, 7, (1, 2, 3, 4.5))
    assert dataset.categories[-1].name == "12"
    assert (dataset.images[-1].width, dataset.images[-1].height) == (20, 10)
    assert [event.code for event in receipt.events] == ["value-repaired"] * 4


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": None, "height": None}])
def test_an_image_without_size_and_file_is_dropped_with_its_annotations(write: Write, size: dict[str, Any]) -> None:
    content = coco({"bbox": [0, 0, 1, 1]}, {"bbox": [0, 0, 1, 1], "image_id": 8})
    content["images"].append({"id": 8, "file_name": "none.png", **size})
    receipt = Receipt()
    dataset = load_coco(write(content), receipt=receipt)
    assert ([image.id for image in dataset.images], len(dataset.annotations)) == ([7], 1)
    assert [(event.code, event.images, event.annotations) for event in receipt.events] == [
        ("image-size-missing", 1, 0),
        ("image-size-missing", 0, 1),
    ]


def test_polygons_of_many_parts(write: Write) -> None:
    parts = [TRIANGLE, [0, 0, 2, 0, 2, 2, 0, 2], [5.5, 1.25, 6, 1, 6, 2]]
    both = coco({"segmentation": parts, "bbox": [0, 0, 9, 7]}, {"segmentation": parts[::-1], "bbox": [0, 0, 9, 7]})
    first, second = load_coco(write(both)).annotations
    assert [p.tolist() for p in first.segmentation] == parts
    assert [p.tolist() for p in second.segmentation] == parts[::-1]
    assert all(p.dtype == np.float64 and not p.flags.writeable for p in first.segmentation)


def test_polygons_stay_with_their_annotation_over_many_chunks(write: Write) -> None:
    annotations = []
    for n in range(1000):
        row: dict[str, Any] = {"bbox": [0, 0, 1, 1], "area": 1}
        if n % 3 == 0:
            row["segmentation"] = [[n, 0, n + 1, 0, n + 1, k + 1] for k in range(1 + n % 4)]
        elif n % 3 == 1:
            row["segmentation"] = RUNS
        annotations.append(row | ({"image_id": 8} if n % 50 == 0 else {}))
    annotations[500]["segmentation"] = [[500, None, 1, 1, 1, 1], [500, 0, 1, 1, 2, 2]]
    receipt = Receipt()
    dataset = load_coco(write(coco(*annotations)), receipt=receipt)
    assert receipt.counts == {"image-not-listed": 20}
    assert len(dataset.annotations) == 980
    for annotation in dataset.annotations:
        n = annotation.id - 1
        if n % 3 == 0:
            assert len(annotation.segmentation) == 1 + n % 4
            assert [part[0] for part in annotation.segmentation] == [n] * (1 + n % 4)
        else:
            assert isinstance(annotation.segmentation, Rle) == (n % 3 == 1)


@pytest.mark.parametrize("segmentation", [RUNS, RLE])
def test_rle_compressed_and_not(write: Write, segmentation: Any) -> None:
    (annotation,) = load_coco(write(coco({"segmentation": segmentation, "bbox": [3, 2, 4, 3]}))).annotations
    assert (rle_to_mask(annotation.segmentation) == MASK).all()
    assert annotation.area == 12.0


@pytest.mark.parametrize("nothing", [[], [[]], None, {}, ""])
def test_an_empty_segmentation_is_none(write: Write, nothing: Any) -> None:
    receipt = Receipt()
    (annotation,) = load_coco(write(coco({"segmentation": nothing, "bbox": [0, 0, 2, 3]})), receipt=receipt).annotations
    assert annotation.segmentation is None
    assert annotation.area == 6.0
    assert receipt.events == []


@pytest.mark.parametrize(
    ("row", "area"),
    [
        ({"bbox": [0, 0, 2, 3]}, 6.0),
        ({"bbox": [0, 0, 2, 3], "area": 5.5}, 5.5),
        ({"bbox": [0, 0, 2, 3], "area": 0}, 0.0),
        ({"bbox": [0, 0, 2, 3], "area": None}, 6.0),
        ({"bbox": [0, 0, 2, 3], "area": "5"}, 6.0),
        ({"bbox": [0, 0, 2, 3], "area": -1}, 6.0),
        ({"bbox": [0, 0, 2, 3], "area": math.nan}, 6.0),
        ({"bbox": [0, 0, 10, 8], "segmentation": RLE}, 12.0),
        # not the formula's 10 * 8 / 2, but the pixels that the mask has within the image
        ({"bbox": [0, 0, 10, 8], "segmentation": [[-10, 0, 4, 0, 4, 5, -10, 5]]}, 20.0),
        ({"bbox": [0, 0, 10, 8], "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4], [2, 0, 6, 0, 6, 4, 2, 4]]}, 24.0),
    ],
)
def test_a_stated_area_is_kept_and_a_missing_one_is_the_masks(write: Write, row: Any, area: float) -> None:
    receipt = Receipt()
    (annotation,) = load_coco(write(coco(row)), receipt=receipt).annotations
    assert plain(annotation.area) == plain(area)
    assert receipt.events == []


@pytest.mark.parametrize(("value", "crowd"), [(0, False), (1, True), (True, True), (False, False), (None, False)])
def test_crowds(write: Write, value: Any, crowd: bool) -> None:
    (annotation,) = load_coco(write(coco({"bbox": [0, 0, 1, 1], "iscrowd": value}))).annotations
    assert annotation.iscrowd is crowd


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([4, 4, 2, 4], [4, 5, 2, 6]),
        ([4, "4", 2], [4, "4", 2]),
        (["a", "a", None], ["a", 2, 1]),
        ([2**70, 2**70], [2**70, 2**70 + 1]),
    ],
)
def test_annotations_that_share_an_id_get_free_ones(given: list[Any], expected: list[Any], write: Write) -> None:
    receipt = Receipt()
    records = [{"bbox": [1, 2, 3, 4], "id": annotation_id} for annotation_id in given]
    path = write(coco(*records))
    assert [annotation.id for annotation in load_coco(path, receipt=receipt).annotations] == expected
    assert bool(receipt.counts["annotation-ids-renumbered"]) == (given != expected)


def test_annotations_without_an_id_get_free_ones(write: Write) -> None:
    content = coco(*({"bbox": [n, 0, 1, 1]} for n in range(5)))
    content["annotations"][0]["id"] = 40
    for n in (1, 3):
        del content["annotations"][n]["id"]
    content["annotations"][4]["id"] = "text"
    receipt = Receipt()
    found = load_coco(write(content), receipt=receipt).annotations
    assert [(a.id, a.bbox_xywh[0]) for a in found] == [(40, 0), (41, 1), (3, 2), (42, 3), ("text", 4)]
    assert events(receipt) == [("note", "annotation-ids-renumbered", "data.json")]


def test_records_without_other_keys_share_one_mapping(write: Write) -> None:
    dataset = load_coco(write(coco({"bbox": [0, 0, 1, 1]}, {"bbox": [1, 1, 1, 1]})))
    assert dataset.annotations[0].extra is dataset.annotations[1].extra
    assert dataset.annotations[0].image_id is dataset.images[0].id
    assert plain(pickle.loads(pickle.dumps(dataset))) == plain(dataset)


# --- what is mended, and what is lost


@pytest.mark.parametrize(
    ("row", "code", "box", "parts"),
    [
        ({"segmentation": [TRIANGLE]}, "box-from-mask", (1, 1, 8, 6), [TRIANGLE]),
        ({"segmentation": [TRIANGLE], "bbox": None}, "box-from-mask", (1, 1, 8, 6), [TRIANGLE]),
        ({"segmentation": [TRIANGLE], "bbox": []}, "box-from-mask", (1, 1, 8, 6), [TRIANGLE]),
        ({"segmentation": RUNS}, "box-from-mask", (3, 2, 4, 3), RUNS),
        ({"segmentation": [[5, 5, 90, 5, 90, 6]]}, "box-from-mask", (5, 5, 5, 1), [[5, 5, 90, 5, 90, 6]]),
        ({"segmentation": [TRIANGLE, [1, 1, 2, 2]], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, [TRIANGLE]),
        ({"segmentation": [[1, 1], TRIANGLE], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, [TRIANGLE]),
        ({"segmentation": [[*TRIANGLE, 5]], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, [TRIANGLE]),
        ({"segmentation": [[1, 1, 2, 2, 3]], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, None),
        ({"segmentation": [[1, 1, 2, 2]], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, None),
        ({"segmentation": [[1, 1, None, 2, 3, 3]], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, None),
        ({"segmentation": [[1, 1, math.nan, 2, 3, 3], TRIANGLE], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None,
         [TRIANGLE]),
        ({"segmentation": [["x", 1, 2, 2, 3, 3], TRIANGLE], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, [TRIANGLE]),
        ({"segmentation": [{"x": 1}, TRIANGLE], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, [TRIANGLE]),
        ({"segmentation": [TRIANGLE, 5], "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, [TRIANGLE]),
        ({"segmentation": "polygon", "bbox": [0, 0, 1, 1]}, "mask-degenerate", None, None),
        ({"segmentation": TRIANGLE, "bbox": [0, 0, 1, 1]}, "value-repaired", None, [TRIANGLE]),
        ({"iscrowd": "1", "bbox": [0, 0, 1, 1]}, "value-repaired", None, None),
    ],
)  # fmt: skip
def test_what_is_mended_is_on_the_receipt(write: Write, row: Any, code: str, box: Any, parts: Any) -> None:
    receipt = Receipt()
    path = write(coco({"bbox": [9, 9, 1, 1]}, row, {"bbox": [0, 0, 1, 1], "segmentation": [TRIANGLE]}))
    _, annotation, last = load_coco(path, receipt=receipt).annotations
    assert events(receipt) == [("repair", code, "data.json annotation 2")]
    assert receipt.events[0].category == "cat"
    assert annotation.bbox_xywh == (box or (0, 0, 1, 1))
    found = to_coco_json(Dataset((), (annotation,), ()))["annotations"][0].get("segmentation")
    assert found == (RLE if parts is RUNS else parts)
    assert last.segmentation[0].tolist() == TRIANGLE
    load_coco(path)  # nothing is lost, so no receipt is needed


def test_points_as_pairs_are_polygons(write: Write) -> None:
    pairs = [[[1, 1], [9, 1], [9, 7]]]
    (annotation,) = load_coco(write(coco({"segmentation": pairs, "bbox": [0, 0, 1, 1]}))).annotations
    assert [part.tolist() for part in annotation.segmentation] == [TRIANGLE]


@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        ({"bbox": [1, 2, 3]}, "box-not-numeric", r"\[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, 4, 5]}, "box-not-numeric", "must be"),
        ({"bbox": {"x": 1}}, "box-not-numeric", "'x'"),
        ({"bbox": "1,2,3,4"}, "box-not-numeric", "1,2,3,4"),
        ({"bbox": ["1", "2", "three", "4"]}, "box-not-numeric", "'1'"),
        ({"bbox": [1, 2, None, 4]}, "box-not-numeric", "None"),
        ({"bbox": [1, 2, True, 4]}, "box-not-numeric", "True"),
        ({"bbox": [1, 2, math.nan, 4]}, "box-not-numeric", "nan"),
        ({"bbox": [1, 2, math.inf, 4]}, "box-not-numeric", "inf"),
        ({"bbox": [1, 2, 10**400, 4]}, "box-not-numeric", "0000"),
        ({"bbox": [1, 2, -3, 4]}, "box-inverted", "-3"),
        ({"bbox": [1, 2, 3, -0.5], "segmentation": [TRIANGLE]}, "box-inverted", "-0.5"),
        ({}, "box-missing", "neither a bbox nor a usable segmentation"),
        ({"segmentation": []}, "box-missing", "neither"),
        ({"segmentation": [[50, 50, 60, 50, 60, 60]]}, "mask-empty", "covers nothing"),
        ({"segmentation": {"size": [8, 10], "counts": [80]}}, "mask-empty", "covers nothing"),
        ({"bbox": [0, 0, 1, 1], "image_id": 8}, "image-not-listed", "its image id 8 is not among the 1 images"),
        ({"bbox": [0, 0, 1, 1], "image_id": "8"}, "image-not-listed", "its image id '8'"),
        ({"bbox": [0, 0, 1, 1], "segmentation": RLE | {"size": [10, 8]}}, "mask-invalid",
         r"size \[10, 8\] is not its image's \[height, width\] = \[8, 10\]"),
        ({"bbox": [0, 0, 1, 1], "segmentation": RUNS | {"counts": [26, 3]}}, "mask-invalid", "add up to 29"),
        ({"bbox": [0, 0, 1, 1], "segmentation": RLE | {"counts": "###"}}, "mask-invalid", "are broken"),
        ({"bbox": [0, 0, 1, 1], "segmentation": {"counts": "1"}}, "mask-invalid", "needs 'size'"),
    ],
)  # fmt: skip
def test_what_is_lost_is_on_the_receipt_or_an_error(write: Write, row: Any, code: str, said: str) -> None:
    receipt = Receipt()
    path = write(coco({"bbox": [0, 0, 1, 1]}, row, {"bbox": [0, 0, 1, 1], "segmentation": [TRIANGLE]}))
    kept = load_coco(path, receipt=receipt).annotations
    assert [annotation.id for annotation in kept] == [1, 3]
    assert kept[1].segmentation[0].tolist() == TRIANGLE
    assert events(receipt) == [("drop", code, "data.json annotation 2")]
    assert receipt.classes_dropped == {"cat": 1}
    with pytest.raises(DataError, match=rf"data\.json: annotation 2: .*{said}") as caught:
        load_coco(path)
    assert "\n" not in str(caught.value)


def test_a_box_that_sticks_out_or_has_no_area_is_kept_as_it_is(write: Write) -> None:
    rows = [{"bbox": [-5, -5, 100, 100]}, {"bbox": [1, 1, 0, 0]}]
    dataset = load_coco(write(coco(*rows)))
    assert [a.bbox_xywh for a in dataset.annotations] == [(-5, -5, 100, 100), (1, 1, 0, 0)]


# --- what is refused


def without(key: str, of: str) -> dict[str, Any]:
    content = coco({"bbox": [0, 0, 1, 1]})
    del content[of][0][key]
    return content


def changed(of: str, **values: Any) -> dict[str, Any]:
    content = coco({"bbox": [0, 0, 1, 1]})
    content[of][0] |= values
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("annotations", category_id=4),
         r"annotation 1: no category has its category_id 4; allowed: 3 \(cat\), 9 \(dog\)"),
        (changed("annotations", category_id=None), "annotation 1: 'category_id' must be an integer or a string, got N"),
        (changed("annotations", category_id=1.5), "annotation 1: 'category_id' must be .* got 1.5"),
        (changed("annotations", image_id=[7]), r"annotation 1: 'image_id' must be .* got \[7\]"),
        (changed("annotations", image_id=True), "annotation 1: 'image_id' must be .* got True"),
        (changed("annotations", id=[1]), r"annotation #1: 'id' must be .* got \[1\]"),
        (changed("annotations", iscrowd=2), "annotation 1: 'iscrowd' must be 0 or 1, got 2"),
        (without("category_id", "annotations"), "annotation 1: the key 'category_id' is missing; got the keys"),
        (without("image_id", "annotations"), "annotation 1: the key 'image_id' is missing"),
        (without("id", "images"), r"images\[0\]: the key 'id' is missing"),
        (without("file_name", "images"), r"images\[0\]: the key 'file_name' is missing"),
        (without("width", "images"), "image 7: 'width' must be a positive integer, got None"),
        (changed("images", height="8"), "image 7: 'height' must be a positive integer, got '8'"),
        (changed("images", height=0), "image 7: 'height' must be a positive integer, got 0"),
        (changed("images", height=7.5), "image 7: 'height' must be a positive integer, got 7.5"),
        (changed("images", file_name=""), "'file_name' must be a non-empty string, got ''"),
        (changed("images", file_name=5), "'file_name' must be a non-empty string, got 5"),
        (without("id", "categories"), r"categories\[0\]: the key 'id' is missing"),
        (without("name", "categories"), r"categories\[0\]: the key 'name' is missing"),
        (changed("categories", name=[5]), r"categories\[0\]: 'name' must be a string, got .5."),
        (changed("categories", id=9), "category id 9 is given twice, to 'cat' and 'dog'"),
        (changed("categories", id=9.0), "category id 9 is given twice, to 'cat' and 'dog'"),
        (coco(images=[{"id": i, "file_name": f"{n}.jpg", "width": 5, "height": 4} for n, i in enumerate("aba")]),
         "image id 'a' is given twice, to '0.jpg' and '2.jpg'"),
        (coco(images={}), "'images' must be a list of objects, got dict"),
        (coco(annotations=None), "'annotations' must be a list of objects, got NoneType"),
        (coco(categories=["cat"]), r"categories\[0\] must be an object, got str"),
        (coco(annotations=[[]]), r"annotations\[0\] must be an object, got list"),
        ({}, "the key 'images', 'annotations', 'categories' is missing; got the keys none"),
        ({"images": [], "shapes": []}, "'annotations', 'categories' is missing; got the keys 'images', 'shapes'"),
        ([{"image_id": 1}], "holds a list at its top level .as COCO results"),
        ("text", "holds no object at its top level"),
        (b"", "the file is empty"),
        (b'{"images": [],\n "annotations": [{"id": 1, "bb', "ends too early, at line 2, byte 45: it was cut short"),
        (b'{"images": [],\n\n "annotations": [1 2]}', "not valid JSON at line 3, byte 35: expected ',' or ']'"),
        (b'{"images": [NaN],\n "annotations": [1 2]}', "not valid JSON at line 2, byte 37"),
        (b"<annotation/>", "not valid JSON at line 1, byte 0"),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "\xe4"}]}', "UTF-8"),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "\\ud83d"}]}', "at line 1, byte 7"),
        (b'{"images": [], "annotations": [{"id": "\xe4"}], "categories": []}', "UTF-8"),
        (b'{"images": [], "annotations": [], "categories": [], "info": "\xe4"}', "info is not valid JSON: .*UTF-8"),
        (b'{"images": ' + b"[" * 200_000, "not valid JSON"),
    ],
)  # fmt: skip
def test_what_is_not_coco_is_refused_in_one_line(write: Write, content: Any, message: str) -> None:
    path = write(content)
    with pytest.raises(DataError, match=message) as caught:
        load_coco(path, receipt=Receipt())
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read: No such file"):
        load_coco(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        load_coco(tmp_path)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.replace("12.5", "NaN").encode(),
        lambda text: text.replace("12.5", "-Infinity").encode(),
        lambda text: text.replace("12.5", "1e999").encode(),
    ],
)
def test_what_some_tools_write_although_it_is_no_json(write: Write, encode: Callable[[str], bytes]) -> None:
    text = json.dumps(coco({"bbox": [0, 0, 2, 3], "area": 12.5, "note": "NaN ä"}), ensure_ascii=False)
    (annotation,) = load_coco(write(encode(text))).annotations
    assert annotation.area == (12.5 if "12.5" in encode(text).decode("latin-1").replace("\0", "") else 6.0)
    assert annotation.extra == {"note": "NaN ä"}


# --- images


@pytest.mark.parametrize(
    ("file_name", "where", "found"),
    [
        ("a.jpg", "set/a.jpg", True),
        ("a.jpg", "set/images/a.jpg", True),
        ("a.jpg", "images/a.jpg", True),
        ("sub/a.jpg", "set/sub/a.jpg", True),
        ("sub\\a.jpg", "set/sub/a.jpg", True),
        ("../a.jpg", "set/images/a.jpg", True),
        ("C:\\data\\a.jpg", "set/images/a.jpg", True),
        ("a.jpg", "elsewhere/a.jpg", False),
        ("a\0.jpg", "set/a.jpg", False),
        ("a" * 5000, "set/a.jpg", False),
    ],
)
def test_images_are_found_around_the_file(
    tmp_path: Path, write: Write, file_name: str, where: str, found: bool
) -> None:
    image = tmp_path / where
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    dataset = load_coco(write(changed("images", file_name=file_name)))
    assert dataset.images[0].path == (image if found else None)
    assert dataset.images[0].file_name == file_name


def test_images_are_found_in_the_folder_given_and_by_absolute_names(tmp_path: Path, write: Write) -> None:
    image = tmp_path / "elsewhere" / "a.jpg"
    image.parent.mkdir()
    image.touch()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").touch()
    assert load_coco(write(coco()), image.parent).images[0].path == image
    assert load_coco(write(changed("images", file_name=str(image)))).images[0].path == image
    # a name does not lead out of the folder
    image.with_name("b.jpg").touch()
    assert load_coco(write(changed("images", file_name="../elsewhere/b.jpg")), tmp_path / "set").images[0].path is None


@pytest.mark.parametrize("size", [(10**9, 10**9), (2**21, 1), (10**400, 10**400)])
def test_a_size_that_no_image_has_is_read_from_the_image(tmp_path: Path, write: Write, size: tuple[int, int]) -> None:
    Pillow.new("RGB", (9, 8)).save(tmp_path / "a.png")
    far = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1e308, 1e308, 1, 1, -1e308, 5]]}
    record = {"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}
    path = write({"images": [record], "annotations": [far], "categories": [{"id": 1, "name": "x"}]})
    receipt = Receipt()
    [image] = load_coco(path, receipt=receipt).images
    assert (image.width, image.height) == (9, 8)
    assert [event.code for event in receipt.events][:2] == ["image-size-implausible", "image-size-filled"]
    with pytest.raises(DataError, match="too large"):
        load_coco(path)


def test_a_missing_size_is_read_from_the_image(tmp_path: Path, write: Write) -> None:
    content = changed("images", width=None, height=None)
    path = write(content)
    exif = Pillow.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Pillow.new("RGB", (8, 10)).save(tmp_path / "set" / "a.jpg", exif=exif)
    receipt = Receipt()
    (image,) = load_coco(path, receipt=receipt).images
    assert (image.width, image.height) == (10, 8)
    assert events(receipt) == [("repair", "image-size-filled", "data.json image 7")]


# --- writing

IDS = st.integers(-(2**53), 2**53) | st.text(max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KNOWN = {
    *("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "file_name", "width", "height"),
    *("name", "supercategory", "images", "annotations", "categories"),
}
EXTRA = st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda key: key not in KNOWN), JSON, max_size=3)
SIZES = st.integers(1, 12)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    images = tuple(
        Image(image_id, draw(st.text("abä/.", min_size=1, max_size=9)), draw(SIZES), draw(SIZES), None, draw(EXTRA))
        for image_id in draw(st.lists(IDS, unique=True, max_size=3))
    )
    categories = tuple(
        Category(category_id, draw(st.text(max_size=9)), draw(st.none() | st.text(max_size=5)), draw(EXTRA))
        for category_id in draw(st.lists(IDS, unique=True, min_size=1, max_size=3))
    )
    annotations = []
    for annotation_id in draw(st.lists(IDS, unique=True, max_size=4)) if images else []:
        image = draw(st.sampled_from(images))
        polygons = st.lists(
            st.lists(st.tuples(FLOATS, FLOATS), min_size=3, max_size=5).map(
                lambda points: np.array(points, np.float64).reshape(-1)
            ),
            min_size=1,
            max_size=3,
        ).map(tuple)
        bits = st.lists(st.booleans(), min_size=image.width * image.height, max_size=image.width * image.height)
        masks = bits.map(lambda b, image=image: mask_to_rle(np.array(b).reshape(image.height, image.width)))
        x, y, w, h = (draw(st.floats(-1e300, 1e300)) for _ in range(4))
        annotations.append(
            Annotation(
                annotation_id,
                image.id,
                draw(st.sampled_from(categories)).id,
                (x, y, abs(w), abs(h)),
                abs(draw(FLOATS)),
                draw(st.booleans()),
                draw(st.none() | polygons | masks),
                draw(EXTRA),
            )
        )
    return Dataset(images, tuple(annotations), categories, draw(EXTRA))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(datasets())
def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "saved" / "data.json"
    save_coco(dataset, path)
    assert plain(load_coco(path)) == plain(dataset)
    # the same by the standard library, so that it is JSON, and by way of to_coco_json
    assert json.loads(path.read_bytes()) == json.loads(json.dumps(to_coco_json(dataset), allow_nan=False))
    path.write_text(json.dumps(to_coco_json(dataset)))
    assert plain(load_coco(path)) == plain(dataset)


def test_the_form_that_is_written(write: Write) -> None:
    rows = [
        {"bbox": [1, 2, 3, 4], "keypoints": [1, 2, 2], "segmentation": [TRIANGLE], "iscrowd": 0},
        {"bbox": [3, 2, 4, 3], "area": 12, "segmentation": RUNS, "iscrowd": 1},
        {"bbox": [3, 2, 4, 3]},
    ]
    content = to_coco_json(load_coco(write(coco(*rows, info={"year": 1}, licenses=[]))))
    assert content["info"] == {"year": 1}
    assert content["licenses"] == []
    assert content["images"] == [{"id": 7, "file_name": "a.jpg", "width": 10, "height": 8}]
    assert content["categories"] == [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}]
    first, second, third = content["annotations"]
    assert first["segmentation"] == [TRIANGLE]
    assert first["keypoints"] == [1, 2, 2]
    assert first["area"] == segmentation_area((np.array(TRIANGLE, float),), (8, 10))
    assert second["segmentation"] == RLE
    assert isinstance(second["segmentation"]["counts"], str)
    assert plain(second["iscrowd"]) == plain(1)
    assert plain(second["bbox"]) == plain([3.0, 2.0, 4.0, 3.0])
    assert "segmentation" not in third


@pytest.mark.parametrize(
    "annotation",
    [
        Annotation(1, 7, 3, (0, 0, math.nan, 1), 1.0),
        Annotation(1, 7, 3, (0, 0, 1, 1), math.inf),
        Annotation(1, 7, 3, (0, 0, 1, 1), 1.0, False, (np.array([0, 0, 1, 1, np.nan, 1]),)),
    ],
)
def test_what_json_cannot_say_is_not_written(tmp_path: Path, annotation: Annotation) -> None:
    path = tmp_path / "data.json"
    path.write_text("old")
    with pytest.raises(DataError, match=r"annotation 1 of image 7: .* must be finite"):
        save_coco(Dataset((), (annotation,), ()), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        save_coco(Dataset((), (), ()), tmp_path / "file" / "data.json")


# --- real files


@pytest.mark.real
def test_fruit_nuts(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "fruit_nuts" / "trainval.json"
    receipt = Receipt()
    dataset = load_coco(path, receipt=receipt)
    assert receipt.events == []
    assert (len(dataset.images), len(dataset.annotations)) == (18, 165)
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "date"), (2, "fig"), (3, "hazelnut")]
    assert dataset.images[0].id == 0
    assert dataset.extra == {}
    assert all(image.path is not None and image.path.is_file() for image in dataset.images)
    original = json.loads(path.read_bytes())
    assert to_coco_json(dataset) == {key: original[key] for key in ("categories", "images", "annotations")}
    # the stated areas are those of the polygons, which the masks' pixels come near
    for annotation in dataset.annotations:
        pixels = segmentation_area(annotation.segmentation, (600, 800))
        assert pixels == pytest.approx(annotation.area, rel=0.03)
    save_coco(dataset, tmp_path / "saved.json")
    again = load_coco(tmp_path / "saved.json", path.parent / "images")
    assert plain(again) == plain(dataset)


@pytest.mark.real
def test_ellipses_as_crowds(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "one_set_nine_formats" / "coco1.0" / "annotations" / "instances_default.json"
    receipt = Receipt()
    dataset = load_coco(path, receipt=receipt)
    assert receipt.events == []
    assert len(dataset.annotations) == 23
    crowds = [a for a in dataset.annotations if a.iscrowd]
    assert len(crowds) == 2
    for crowd in crowds:
        assert isinstance(crowd.segmentation, Rle)
        assert crowd.segmentation.size_hw == (643, 588)
        assert crowd.area == segmentation_area(crowd.segmentation, (643, 588))
    assert sum(a.segmentation is None for a in dataset.annotations) == 18
    assert all("occluded" in a.extra["attributes"] for a in dataset.annotations)
    assert set(dataset.extra) == {"info", "licenses"}
    assert all(image.path is not None for image in dataset.images)
    save_coco(dataset, tmp_path / "saved.json")
    assert plain(load_coco(tmp_path / "saved.json", path.parent.parent / "images")) == plain(dataset)
